"""What lies in a quarantine and not in what was put back: told by table, and brought over where it overwrites nothing.

    listed(connection) -> tuple[Quarantine, …]
    differences(connection, quarantine) -> tuple[Difference, …]
    bring(connection, quarantine, …) -> tuple[Brought, …]
    drop(connection, quarantine)            for good, when nobody misses anything

All in the caller's transaction.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg

from autopilot.errors import Refused
from autopilot.postgres.queries import named
from autopilot.rollback import live
from autopilot.rollback.apart import Apart
from autopilot.rollback.live import Live, Session, quoted
from autopilot.rollback.quarantine.in_place import QUARANTINE
from autopilot.rollback.quarantine.inventory import plain_names

_QUERIES = named(__file__, "salvage.sql")


@dataclass(frozen=True, slots=True, kw_only=True)
class Quarantine:
    """One schema that stepped aside."""

    name: str
    #: What it was called.
    schema: str
    token: str
    run_id: str
    #: When it stepped aside, as the server wrote it.
    at: str
    #: The transaction whose rows are the backup's.
    rows_xid: str
    tables: int
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """A table in quarantine against the one that was put back; None where nothing tells its rows apart."""

    table: str
    #: Only in quarantine: new since the backup.
    new: int | None
    #: In both, and not the same: changed since.
    changed: int | None
    #: Only put back: deleted since.
    deleted: int | None
    #: Why rows cannot be told apart, or brought over.
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Brought:
    table: str
    inserted: int
    overwritten: int
    #: New rows that stay in quarantine: their parent is not there, or another row has their place.
    left: int
    #: Why PostgreSQL would not have new or changed rows of it; None where it took what it was given.
    refused: str | None = None


def listed(connection: Session) -> tuple[Quarantine, ...]:
    """Every quarantine of this role's, the oldest first."""
    found = []
    for schema, remark, tables, size in connection.execute(_QUERIES["listed"]).fetchall():
        told = _told(remark)
        if told is not None:
            found.append(
                Quarantine(
                    name=schema, schema=told["schema"], token=told["token"], run_id=str(told.get("run", "")),
                    at=str(told.get("at", "")),
                    rows_xid=str(told.get("rows") or told.get("xid", "")), tables=tables, size_bytes=size,
                )
            )  # fmt: skip
    return tuple(sorted(found, key=lambda q: (q.at, q.name)))


def _told(remark: str) -> dict[str, Any] | None:
    try:
        told = json.loads(remark.removeprefix(QUARANTINE))
    except ValueError:
        return None
    return told if isinstance(told, dict) and {"schema", "token"} <= told.keys() else None


def one(connection: Session, token: str) -> tuple[Quarantine, ...]:
    """The schemas that one call set aside. Raises Refused (`unknown_quarantine`)."""
    found = tuple(q for q in listed(connection) if q.token == token)
    if not found:
        known = ", ".join(sorted({q.token for q in listed(connection)})) or "there is none"
        raise Refused(
            f"There is no quarantine {token!r}.", code="unknown_quarantine", hint=f"Name one of these: {known}."
        )  # fmt: skip
    return found


def differences(connection: Session, those: Sequence[Quarantine]) -> tuple[Difference, ...]:
    """Table by table, those that differ; reads every row of both."""
    with plain_names(connection):
        return tuple(d for q in those for d in _differences(connection, q) if d.new or d.changed or d.deleted or d.note)


def _differences(connection: Session, quarantine: Quarantine) -> Iterator[Difference]:
    for name, table in _tables(connection, quarantine):
        place = f"{quarantine.schema}.{name}"
        if table is None:
            rows = _count(connection, f"FROM ONLY {_at(quarantine, name)} s")
            yield Difference(table=place, new=rows, changed=0, deleted=0, note="the backup has no such table")
            continue
        pair = _pair(connection, quarantine, name, table)
        if pair.key is None:
            yield _unkeyed(connection, place, pair)
            continue
        restored = f"l.xmin::text = (({quarantine.rows_xid}::bigint & 4294967295)::text)"
        yield Difference(
            table=place, new=_count(connection, pair.only_kept()), changed=_count(connection, pair.both()),
            deleted=_count(connection, pair.only_live(restored)),
        )  # fmt: skip


def _unkeyed(connection: Session, place: str, pair: Apart) -> Difference:
    """Rows are told apart by all that is in them: what is changed counts as new and as deleted."""
    kept = "SELECT " + ", ".join(f"({value})::text" for value in pair.values.values()) + f" FROM {pair.kept} s"
    there = "SELECT " + ", ".join(f"l.{quoted(name)}::text" for name in pair.values) + f" FROM {pair.table.sql} l"
    new = _count(connection, f"FROM ({kept} EXCEPT ALL {there}) s")
    gone = _count(connection, f"FROM ({there} EXCEPT ALL {kept}) s")
    note = "nothing tells its rows apart: bring them over by hand" if new or gone else ""
    return Difference(table=place, new=new, changed=None, deleted=gone, note=note)


def bring(
    connection: Session, those: Sequence[Quarantine], *, tables: Collection[str] = (), overwrite: bool = False
) -> tuple[Brought, ...]:
    """New rows come over, parents before children; what is there stays as it is unless told to be overwritten.

    tables: "schema.table"; all of them where none is named. The user's triggers do not act: they did when the rows were written.
    """
    with plain_names(connection):
        pairs = {}
        for quarantine in those:
            for name, table in _tables(connection, quarantine):
                wanted = not tables or f"{quarantine.schema}.{name}" in tables
                if wanted and table is not None and (pair := _pair(connection, quarantine, name, table)).key is not None:
                    pairs[table.oid] = pair
        ordered = live.parents_first([pair.table for pair in pairs.values()])
        found = []
        with live.undisturbed(connection, ordered):
            for table in ordered:
                brought = _brought(connection, pairs[table.oid], overwrite=overwrite)
                if brought.inserted or brought.overwritten or brought.left or brought.refused:
                    found.append(brought)
        return tuple(found)


def _brought(connection: Session, pair: Apart, *, overwrite: bool) -> Brought:
    """One table's rows. What PostgreSQL refuses here does not keep the others from coming."""
    inserted, refused = _tried(connection, pair.insert())
    overwritten, why_not = _tried(connection, pair.update()) if overwrite else (0, None)
    left = _count(connection, pair.only_kept())
    name = f"{pair.table.schema}.{pair.table.name}"
    return Brought(table=name, inserted=inserted, overwritten=overwritten, left=left, refused=refused or why_not)


def _tried(connection: Session, command: str) -> tuple[int, str | None]:
    """How many rows it wrote, and why none, in PostgreSQL's words."""
    try:
        with connection.transaction():
            return max(0, connection.execute(command.encode()).rowcount), None
    except (psycopg.IntegrityError, psycopg.DataError) as cause:
        return 0, cause.diag.message_primary or type(cause).__name__


def drop(connection: Session, those: Sequence[Quarantine]) -> None:
    """Removes it for good."""
    for quarantine in those:
        connection.execute(f"DROP SCHEMA {quoted(quarantine.name)} CASCADE".encode())


def _tables(connection: Session, quarantine: Quarantine) -> Iterator[tuple[str, Live | None]]:
    for (name,) in connection.execute(_QUERIES["tables"], {"schema": quarantine.name}).fetchall():
        yield name, live.read(connection, oid=0, schema=quarantine.schema, name=name)


def _pair(connection: Session, quarantine: Quarantine, name: str, table: Live) -> Apart:
    kept = live.read(connection, oid=0, schema=quarantine.name, name=name)
    types = {} if kept is None else {c.name: c.type for c in kept.columns}
    values = {
        c.name: f"s.{quoted(c.name)}" + ("" if types[c.name] == c.type else f"::text::{c.type}")
        for c in table.columns
        if c.name in types
    }
    return Apart(table=table, kept=_at(quarantine, name), values=values)


def _at(quarantine: Quarantine, name: str) -> str:
    return f"{quoted(quarantine.name)}.{quoted(name)}"


def _count(connection: Session, source: str) -> int:
    row = connection.execute(f"SELECT count(*) {source}".encode()).fetchone()
    return 0 if row is None else int(row[0])
