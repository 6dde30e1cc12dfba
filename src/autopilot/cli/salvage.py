"""`autopilot salvage …`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from autopilot.cli.frame import Frame, emit, options, say
from autopilot.cli.world import quiet_world

if TYPE_CHECKING:
    from autopilot.rollback.quarantine.salvage import Brought, Difference, Quarantine
    from autopilot.workflows.salvage import Found


@click.group("salvage")
def command() -> None:
    """What lies in quarantine since a backup was put in place (`autopilot rollback --route restore`).

    Everything that was there, with every row written after the backup, lies in schemas beside the live ones (public__q_…), which
    nobody else may use, until it is dropped. To look at it: SELECT * FROM public__q_….orders;
    """


@command.command("list")
@click.argument("token", required=False)
@options(directory=False)
def list_salvage(frame: Frame, *, token: str | None) -> int:
    """List the quarantines with their sizes; with TOKEN, table by table what one has that the live tables have not.

    With TOKEN every row of both is read.
    """
    from autopilot.workflows.salvage import listed, shown

    world = quiet_world(frame)
    if token is None:
        there = listed(world)
        if frame.as_json:
            emit([_document(q) for q in there])
        else:
            say("\n".join(_line(q) for q in there) if there else "There is no quarantine.")
        return 0
    found = shown(world, token=token)
    if frame.as_json:
        emit({"token": token, "schemas": [_document(q) for q in found.schemas], "tables": [_difference(d) for d in found.tables]})
    else:
        say(_shown(found))
    return 0


@command.command("apply")
@click.argument("token")
@click.option("--table", "tables", multiple=True, metavar="SCHEMA.TABLE", help="Only this table; may be given more than once.")
@click.option("--overwrite", is_flag=True, help="Rows that changed since become what the quarantine has of them.")
@options(directory=False)
def apply(frame: Frame, *, token: str, tables: tuple[str, ...], overwrite: bool) -> int:
    """Bring the new rows of a quarantine over, parents before children. Writes nothing over unless told.

    Rows that were deleted since the backup are not deleted again: `salvage list TOKEN` counts them.
    """
    from autopilot.cli.telling import teller
    from autopilot.cli.world import telling_world
    from autopilot.workflows.salvage import apply as bring

    with teller() as tell:
        found = bring(
            telling_world(frame, tell), token=token, run_id=_run_id(), tables=frozenset(tables), overwrite=overwrite
        )  # fmt: skip
    if frame.as_json:
        emit([_brought_document(b) for b in found])
    else:
        say("\n".join([*(_brought(b) for b in found), *_next(token, found)]) if found else "Nothing is to be brought over.")
    return 0


@command.command("drop")
@click.argument("token")
@click.option("--yes", "really", is_flag=True, help="Do it. Without, only show what would go.")
@options(directory=False)
def drop(frame: Frame, *, token: str, really: bool) -> int:
    """Remove a quarantine for good. Without --yes it shows what would go and removes nothing."""
    from autopilot.cli.telling import teller
    from autopilot.cli.world import telling_world
    from autopilot.workflows.salvage import give_up, one

    those, names = one(quiet_world(frame), token=token), tuple[str, ...]()
    if really:
        with teller() as tell:
            names = give_up(telling_world(frame, tell), token=token, run_id=_run_id())
    if frame.as_json:
        emit({"removed": bool(names), "schemas": [q.name for q in those], "size_bytes": sum(q.size_bytes for q in those)})
    else:
        ending = "Removed for good." if names else "Nothing was removed: add --yes to remove these."
        say("\n".join([*(_line(q) for q in those), ending]))
    return 0


def _run_id() -> str:
    import secrets

    return secrets.token_hex(4)


def _document(q: Quarantine) -> dict[str, Any]:
    return {
        "token": q.token, "schema": q.schema, "quarantine": q.name, "run_id": q.run_id, "at": q.at, "tables": q.tables,
        "size_bytes": q.size_bytes,
    }  # fmt: skip


def _difference(d: Difference) -> dict[str, Any]:
    return {"table": d.table, "new": d.new, "changed": d.changed, "deleted": d.deleted, "note": d.note}


def _line(q: Quarantine) -> str:
    from autopilot.measures import size_in_words

    held = f"{_count(q.tables, 'table')}, {size_in_words(q.size_bytes)}"
    return f"{q.token}  {q.schema} lies in {q.name}: {held}, since {q.at[:16]} (run {q.run_id})"


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def _shown(found: Found) -> str:
    if not found.tables:
        return "Every table is as in the quarantine."
    return "\n".join(f"{d.table}: {_counts(d)}" + (f" ({d.note})" if d.note else "") for d in found.tables)


def _counts(d: Difference) -> str:
    counted = ((d.new, "new since the backup"), (d.changed, "changed since"), (d.deleted, "deleted since"))
    return ", ".join(f"{count:,} {what}" for count, what in counted if count) or "no rows"


def _brought_document(b: Brought) -> dict[str, Any]:
    return {"table": b.table, "inserted": b.inserted, "overwritten": b.overwritten, "left": b.left, "refused": b.refused}


def _brought(b: Brought) -> str:
    parts = [f"{_count(b.inserted, 'row')} brought over"]
    parts += [f"{b.overwritten:,} written over"] if b.overwritten else []
    parts += [f"PostgreSQL refused some: {b.refused}"] if b.refused else []
    why = "" if b.refused else ": their parent is not there, or their place is taken"
    parts += [f"{b.left:,} left{why}"] if b.left else []
    return f"{b.table}: {', '.join(parts)}"


def _next(token: str, found: tuple[Brought, ...]) -> list[str]:
    if not any(b.left or b.refused for b in found):
        return [f"`autopilot salvage list {token}` shows what still differs."]
    return [
        f"What is left stays in quarantine. Mend what keeps it out (a default, a parent), then: autopilot salvage apply {token}"
    ]
