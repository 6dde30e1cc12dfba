"""`autopilot trash …`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from autopilot.cli.frame import Frame, emit, options, say
from autopilot.cli.world import quiet_world

if TYPE_CHECKING:
    from autopilot.rollback.trash import Kept
    from autopilot.workflows.trash import Emptied


@click.group("trash")
def command() -> None:
    """What migrations would have destroyed: dropped tables and columns, rows as they were.

    It lies in the schema autopilot_trash of the database itself, which nobody else may use, for trash_keep_days (30).
    """


@command.command("list", short_help="List what is kept, with its size and until when.")
@click.option("--run", "run_id", metavar="RUN", help="Only what this run left.")
@options(directory=False)
def list_trash(frame: Frame, *, run_id: str | None) -> int:
    """List what is kept, in the order in which it was, with its size and until when."""
    from autopilot.workflows.trash import listed

    found = listed(quiet_world(frame), run_id=run_id)
    if frame.as_json:
        emit([_document(kept) for kept in found])
    else:
        say(_listed(found) if found else "The trash is empty.")
    return 0


@command.command("restore", short_help="Put one entry back.")
@click.argument("entry_id", metavar="ID", type=int)
@options(directory=False)
def restore(frame: Frame, *, entry_id: int) -> int:
    """Put one entry back: a table in its place, a column's values, rows that were deleted.

    Writes nothing over: what stands in the way is named, and nothing is done. To undo a whole run: `autopilot rollback`.
    """
    from autopilot.workflows.trash import restore as put_back

    done = put_back(quiet_world(frame), entry_id)
    if frame.as_json:
        emit({"id": done.kept.id, "restored": done.kept.name, "told": done.told})
    else:
        say(done.told)
    return 0


@command.command("empty", short_help="Remove what has expired.")
@click.option(
    "--older-than", "days", type=click.IntRange(min=0), metavar="DAYS", help="What is kept for longer than so many days."
)
@click.option("--run", "run_id", metavar="RUN", help="What this run left.")
@click.option("--yes", "really", is_flag=True, help="Do it. Without, only show what would go.")
@options(directory=False)
def empty(frame: Frame, *, days: int | None, run_id: str | None, really: bool) -> int:
    """Remove what has expired; with --older-than or --run, what they name. What is gone cannot be undone any more.

    Without --yes it shows what would go and removes nothing.
    """
    from autopilot.workflows.trash import empty as remove

    found = remove(quiet_world(frame), older_than_days=days, run_id=run_id, really=really)
    if frame.as_json:
        emit({"removed": found.removed, "size_bytes": found.size_bytes, "entries": [_document(k) for k in found.kept]})
    else:
        say(_emptied(found))
    return 0


def _document(kept: Kept) -> dict[str, Any]:
    return {
        "id": kept.id, "run_id": kept.run, "version": kept.version, "statement": kept.statement, "what": kept.what,
        "how": kept.how, "schema": kept.schema, "table": kept.table, "columns": list(kept.columns), "kept_as": kept.kept_as,
        "rows": kept.rows, "size_bytes": kept.size_bytes, "kept_at": kept.kept_at, "expires_at": kept.expires_at,
        "restored_at": kept.restored_at, "notes": kept.notes,
    }  # fmt: skip


def _listed(found: tuple[Kept, ...]) -> str:
    lines = [f"{k.id:>6}  {k.what:<6}  {_place(k)}: {_rows(k)}{_size(k.size_bytes)}, {_origin(k)}, {_standing(k)}" for k in found]
    return "\n".join([*lines, f"{len(found)} in all, {_size(sum(k.size_bytes for k in found))}."])


def _place(kept: Kept) -> str:
    return f"{kept.schema}.{kept.table}" if kept.what == "rows" else kept.name


def _origin(kept: Kept) -> str:
    """The release that destroyed it, or the way back that found no place for it."""
    return f"of run {kept.run}, undone" if kept.is_undone else f"of run {kept.run} ({kept.version})"


def _rows(kept: Kept) -> str:
    from autopilot.measures import counted

    if kept.rows is None:
        return ""
    if kept.how == "images":
        return f"{counted(kept.rows, 'row version')} (before and after), "
    if kept.how == "conflicts":
        return f"{counted(kept.rows, 'row')} that gave way or did not come back, to look at in autopilot_trash.{kept.kept_as}, "
    if kept.how == "move" and not kept.rows:
        return "rows not counted, "
    return f"{'about ' if kept.how == 'move' else ''}{counted(kept.rows, 'row')}, "


def _standing(kept: Kept) -> str:
    if kept.restored_at is not None:
        return f"came back {kept.restored_at:%Y-%m-%d %H:%M} UTC"
    return f"until {kept.expires_at:%Y-%m-%d}"


def _emptied(found: Emptied) -> str:
    from autopilot.measures import counted

    if not found.kept:
        return "Nothing has expired: there is nothing to remove."
    size = _size(found.size_bytes)
    if found.removed:
        return f"{counted(len(found.kept), 'entry', 'entries')} removed for good, {size}."
    return _listed(found.kept) + f"\nNothing was removed: add --yes to remove these, {size}."


def _size(size_bytes: int) -> str:
    from autopilot.measures import size_in_words

    return size_in_words(size_bytes)
