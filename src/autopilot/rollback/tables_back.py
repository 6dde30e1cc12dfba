"""Dropped tables come back: a moved one as it was, with all that is its own; a copied one as rows for a table of its name."""

from __future__ import annotations

import json
from dataclasses import dataclass

import psycopg

from autopilot.errors import Refused
from autopilot.measures import counted
from autopilot.postgres.queries import named
from autopilot.rollback import live
from autopilot.rollback.live import Live, Session, quoted, run
from autopilot.rollback.trash import Kept
from autopilot.rollback.undo.words import literal

_QUERIES = named(__file__, "tables_back.sql")


@dataclass(frozen=True, slots=True, kw_only=True)
class Landed:
    """What became of a table."""

    rows: int
    #: What is not as it was, in sentences.
    notes: tuple[str, ...] = ()


def move(connection: Session, kept: Kept) -> Landed:
    """Gives a moved table its place and its names again, and the foreign keys that crossed the boundary.

    A key that rows written since break comes back NOT VALID: it binds what is written from now on.
    Raises Refused (`trash_name_taken`, `trash_schema_missing`, `trash_incomplete`).
    """
    names = json.dumps(kept.details["names"])
    _refuse_taken(connection, kept, names)
    moved = connection.execute(_QUERIES["names_now"], {"names": names}).fetchall()
    for word, schema, name, own_schema, _ in moved:
        if word in {"TABLE", "STATISTICS"}:
            run(connection, f"ALTER {word} {quoted(schema)}.{quoted(name)} SET SCHEMA {quoted(own_schema)}")
    for word, schema, name, _, own_name in connection.execute(_QUERIES["names_now"], {"names": names}).fetchall():
        run(connection, f"ALTER {word} {quoted(schema)}.{quoted(name)} RENAME TO {quoted(own_name)}")
        if kept.is_undone and word == "TABLE":
            _commented(connection, f"{quoted(schema)}.{quoted(own_name)}")
    notes = [*_attached(connection, kept), *_keys(connection, kept)]
    return Landed(rows=kept.rows or 0, notes=tuple(notes))


def _commented(connection: Session, table: str) -> None:
    """In the trash it told where it came from; its own comment stands in there."""
    row = connection.execute(_QUERIES["comment"], (table,)).fetchone()
    ours = json.loads(row[0]) if row is not None and row[0] and row[0].startswith("{") else {}
    if "from" in ours:
        own = ours.get("comment")
        run(connection, f"COMMENT ON TABLE {table} IS {'NULL' if own is None else literal(own)}")


def _refuse_taken(connection: Session, kept: Kept, names: str) -> None:
    held = connection.execute(_QUERIES["called_now"], (kept.table_oid,)).fetchone()
    if held is None or not held[1]:
        raise Refused(
            f"What was kept of {kept.name} is not in the trash any more.",
            code="trash_incomplete", hint="Somebody removed or moved it by hand; a backup may hold it.",
        )  # fmt: skip
    taken = connection.execute(_QUERIES["taken"], (names,)).fetchone()
    if taken is None:
        return
    schema, name, missing = taken
    if missing:
        raise Refused(
            f"{kept.name} cannot come back: the schema {schema} is not there.",
            code="trash_schema_missing", hint=f"CREATE SCHEMA {quoted(schema)}, then run again.",
        )  # fmt: skip
    raise Refused(
        f"{kept.name} cannot come back: {schema}.{name} is taken by something else.",
        code="trash_name_taken",
        hint=f"Rename {schema}.{name}, or drop it if nobody needs it; then run again. Nothing is overwritten.",
    )  # fmt: skip


def _attached(connection: Session, kept: Kept) -> list[str]:
    attach = kept.details.get("attach")
    if not attach:
        return []
    parent = connection.execute(_QUERIES["called_now"], (attach["parent"],)).fetchone()
    if parent is None:
        return [f"{attach['name']} is gone, of which it was a partition"]
    place = f"{quoted(kept.schema)}.{quoted(kept.table)}"
    reason = _tried(connection, f"ALTER TABLE {parent[0]} ATTACH PARTITION {place} {attach['bound']}")
    return [] if reason is None else [f"it is not a partition of {parent[0]} again: {reason}"]


def _keys(connection: Session, kept: Kept) -> list[str]:
    notes = []
    for key in kept.details.get("keys", []):
        table = connection.execute(_QUERIES["called_now"], (key["relation"],)).fetchone()
        known = connection.execute(_QUERIES["has_key"], (key["relation"], key["name"])).fetchone()
        if table is None or (known and known[0]):
            continue
        definition = key["definition"].removesuffix(" NOT VALID")
        add = f"ALTER TABLE {table[0]} ADD CONSTRAINT {quoted(key['name'])} {definition}"
        reason = _tried(connection, add if definition == key["definition"] else f"{add} NOT VALID")
        if reason is not None:
            weaker = _tried(connection, f"{add} NOT VALID")
            how = "binds new rows only" if weaker is None else "is not back"
            notes.append(f"the foreign key {key['name']} {how}: {reason}")
    return notes


def fill(connection: Session, kept: Kept, table: Live) -> Landed:
    """Puts the copied rows into the table of that name. Rows whose place is taken stay in the trash."""
    columns = [h for h in live.held(table, kept.details["columns"], same_table=False, numbered=False) if not h.live.generated]
    names = ", ".join(quoted(h.live.name) for h in columns)
    values = ", ".join(h.value("k") for h in columns)
    late = "" if table.checks_late else "ON CONFLICT DO NOTHING"
    done = connection.execute(
        f"INSERT INTO {table.sql} ({names}) OVERRIDING SYSTEM VALUE SELECT {values}"
        f" FROM autopilot_trash.{quoted(kept.kept_as or '')} k {late}".encode()
    )
    left = (kept.rows or 0) - done.rowcount
    notes = (f"{counted(left, 'row')} left in the trash: the same keys are taken by others",) if left else ()
    return Landed(rows=done.rowcount, notes=notes)


def make(connection: Session, kept: Kept) -> Landed:
    """Makes a table of its name from a copy: columns and rows, with their types, and nothing else.

    Raises Refused (`trash_name_taken`, `trash_schema_missing`).
    """
    columns = kept.details["columns"]
    _refuse_taken_name(connection, kept)
    parts = [
        f"k.{quoted(c['name'])}::{c['type']} AS {quoted(c['name'])}" if c["kept_as_text"] else f"k.{quoted(c['name'])}"
        for c in columns
    ]
    done = connection.execute(
        f"CREATE TABLE {quoted(kept.schema)}.{quoted(kept.table)} AS SELECT {', '.join(parts)}"
        f" FROM autopilot_trash.{quoted(kept.kept_as or '')} k".encode()
    )
    return Landed(
        rows=done.rowcount,
        notes=("its indexes, constraints, triggers, policies and grants are not back: it was kept as a copy of its rows",),
    )


def _refuse_taken_name(connection: Session, kept: Kept) -> None:
    names = json.dumps([{"schema": kept.schema, "name": kept.table, "word": "TABLE"}])
    taken = connection.execute(_QUERIES["taken"], (names,)).fetchone()
    if taken is not None and taken[2]:
        raise Refused(
            f"{kept.name} cannot come back: the schema {kept.schema} is not there.",
            code="trash_schema_missing", hint=f"CREATE SCHEMA {quoted(kept.schema)}, then run again.",
        )  # fmt: skip
    if taken is not None:
        raise Refused(
            f"{kept.name} cannot come back: that name is taken.",
            code="trash_name_taken", hint="Rename what is there, then run again. Nothing is overwritten.",
        )  # fmt: skip


def _tried(connection: Session, text: str) -> str | None:
    """Runs it; None when it went through, PostgreSQL's words when not, with the transaction as before."""
    try:
        with connection.transaction():
            run(connection, text)
    except psycopg.Error as cause:
        return str(cause.diag.message_primary)
    return None
