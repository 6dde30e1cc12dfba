"""The trash: the schema autopilot_trash and its register of what migrations would have destroyed. What is not there is gone.

    listed(connection) -> tuple[Kept, …]       newest last, with the size on disk of now
    put_back(connection, kept) -> str          by hand, one entry; tells what came back. Never overwrites.
    doomed(kept, …) -> tuple[Kept, …]          pure: what `empty` would remove
    remove(connection, kept)

All in the caller's transaction. `restored_at` tells what came back; what did stays in the register until it expires.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from autopilot.errors import Refused
from autopilot.postgres.queries import named
from autopilot.rollback.live import Session, quoted
from autopilot.rollback.statement import Trashed

_QUERIES = named(__file__, "trash.sql")


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """One row of autopilot_trash.kept."""

    id: int
    run_id: str
    version: str
    statement: int
    #: "table", "column" or "rows".
    what: str
    #: "move", "copy", "images" (rows as they were and became), "conflicts" (rows that did not come back, or gave way).
    how: str
    schema: str
    table: str
    columns: tuple[str, ...]
    table_oid: int
    #: Its table in autopilot_trash; None for images, which have several.
    kept_as: str | None
    #: As last counted; of a moved table PostgreSQL's estimate.
    rows: int | None
    size_bytes: int
    kept_at: datetime
    expires_at: datetime
    restored_at: datetime | None
    notes: str | None
    details: dict[str, Any]

    @property
    def run(self) -> str:
        """The run that it is of: the register tells its releases apart by what follows a dot."""
        return self.run_id.partition(".")[0]

    @property
    def is_undone(self) -> bool:
        """Whether a way back put it here, and no migration: the application has no place for it."""
        return bool(self.details.get("undone"))

    @property
    def name(self) -> str:
        """In words, as it was called."""
        whole = f"{self.schema}.{self.table}"
        if self.what == "column":
            return f"{', '.join(self.columns)} of {whole}"
        return whole if self.what == "table" else f"rows of {whole}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """Facts on whether anything can be kept here."""

    #: There is a schema of that name; it is ours; and its register too.
    is_there: bool
    is_ours: bool
    register_is_ours: bool
    #: We may make schemas.
    may_create: bool
    role: str

    @property
    def why_not(self) -> str | None:
        """Why nothing can be kept; None where it can."""
        if not self.is_there:
            return None if self.may_create else f"the role {self.role} may not make the schema autopilot_trash in this database"
        if not self.is_ours:
            return "the schema autopilot_trash belongs to another role"
        return None if self.register_is_ours else "the register in the schema autopilot_trash belongs to another role"


def room(connection: Session) -> Room:
    there, ours, register, may_create, role = connection.execute(_QUERIES["standing"]).fetchone() or (False, True, True, True, "")
    return Room(is_there=there, is_ours=ours, register_is_ours=register, may_create=may_create, role=role)


def exists(connection: Session) -> bool:
    """Whether there is a trash. Raises Refused (`foreign_trash_schema`) where the name is somebody else's."""
    row = connection.execute(_QUERIES["look"]).fetchone()
    there, ours, registered = row or (False, True, False)
    if there and not ours:
        raise Refused(
            "The schema autopilot_trash belongs to another role.",
            code="foreign_trash_schema",
            hint="Rename or drop that schema, or run as its owner.",
        )
    return bool(registered)


def listed(connection: Session, *, run_id: str | None = None) -> tuple[Kept, ...]:
    """What is kept, in the order in which it was. Raises Refused (`foreign_trash_schema`)."""
    if not exists(connection):
        return ()
    rows = connection.execute(_QUERIES["kept"], {"run_id": run_id}).fetchall()
    sizes = dict(connection.execute(_QUERIES["sizes"]).fetchall())
    return tuple(_kept(row, sizes.get(row[0], 0)) for row in rows)


def _kept(row: Sequence[Any], size_bytes: int) -> Kept:
    return Kept(
        id=row[0], run_id=row[1], version=row[2], statement=row[3], what=row[4], how=row[5], schema=row[6], table=row[7],
        columns=tuple(row[8]), table_oid=row[9], kept_as=row[10], rows=row[11], size_bytes=size_bytes, kept_at=row[13],
        expires_at=row[14], restored_at=row[15], notes=row[16], details=json.loads(row[17]),
    )  # fmt: skip


def one(connection: Session, entry_id: int) -> Kept:
    """Raises Refused (`unknown_trash`, `foreign_trash_schema`)."""
    found = next((k for k in listed(connection) if k.id == entry_id), None)
    if found is None:
        raise Refused(
            f"There is nothing with the number {entry_id} in the trash.",
            code="unknown_trash",
            hint="`autopilot trash list` shows what is kept, with its numbers.",
        )
    return found


def images(connection: Session, kept: Kept) -> tuple[tuple[str, int, list[dict[str, Any]]], ...]:
    """The tables that hold rows as they were and became: name, OID of the table they are of, its columns then."""
    rows = connection.execute(_QUERIES["images_of"], (kept.id,)).fetchall()
    return tuple((row[0], row[1], json.loads(row[2])) for row in rows)


def came_back(connection: Session, kept: Kept, *, notes: str) -> Kept:
    connection.execute(_QUERIES["restored"], (notes, kept.id))
    return replace(kept, notes=notes)


def follow(connection: Session, places: Mapping[int, int]) -> None:
    """What is kept of tables that are others now, by their OIDs then and now, belongs to those."""
    if places and exists(connection):
        listed_places = json.dumps([{"was": was, "now": now} for was, now in places.items()])
        for query in ("follow_kept", "follow_images"):
            connection.execute(_QUERIES[query], (listed_places,))


def doomed(
    kept: Sequence[Kept], *, now: datetime, older_than_days: int | None = None, run_id: str | None = None
) -> tuple[Kept, ...]:
    """What is to go: of one run, or kept longer than so many days, or both; without either, what has expired."""
    if older_than_days is None and run_id is None:
        return tuple(k for k in kept if k.expires_at <= now)
    chosen = [k for k in kept if run_id is None or run_id in {k.run_id, k.run}]
    if older_than_days is None:
        return tuple(chosen)
    return tuple(k for k in chosen if k.kept_at <= now - timedelta(days=older_than_days))


def remove(connection: Session, kept: Kept, *, alone: bool = False) -> None:
    """Drops what the entry holds, and the entry. What came back is not in the trash any more, and is not touched.

    alone: only if nobody made anything upon it. Raises psycopg.errors.DependentObjectsStillExist then.
    """
    names = [kept.kept_as, kept.details.get("after"), *(name for name, _, _ in images(connection, kept))]
    for name in names:
        if name:
            connection.execute(f"DROP TABLE IF EXISTS autopilot_trash.{quoted(name)}{'' if alone else ' CASCADE'}".encode())
    connection.execute(_QUERIES["forget"], (kept.id,))


def register_undone(connection: Session, found: Sequence[tuple[Trashed, int]], *, kept_as: str, keep_days: int) -> None:
    """Puts what a way back has just moved or copied here, with its rows, into the register. Partitions come with their table."""
    if not found:
        return
    for query in ("schema", "moments", "register", "images"):
        connection.execute(_QUERIES[query])
    called = [part for entry, _ in found for part in (entry.name, *(r[2] for r in entry.renamed))]
    there = {name: (oid, parent) for name, oid, parent in connection.execute(_QUERIES["trashed"], (called,)).fetchall()}
    by_oid = {there[entry.name][0]: entry for entry, _ in found}
    below: dict[int, list[Trashed]] = {oid: [entry] for oid, entry in by_oid.items()}
    for oid, entry in by_oid.items():
        if (root := _root(oid, there, by_oid)) != oid:
            below[root].append(entry)
    for entry, rows in found:
        oid = there[entry.name][0]
        if _root(oid, there, by_oid) == oid:
            whole = below[oid]
            names = [(there[new][0], was, word) for part in whole for word, was, new in part.renamed if new in there]
            connection.execute(
                _QUERIES["register_undone"],
                {"run_id": f"{kept_as}.undo", "schema": entry.schema, "table": entry.table, "columns": list(entry.columns),
                 "table_oid": oid if entry.what == "table" else entry.oid, "oid": oid, "rows": rows, "days": keep_days,
                 "key": json.dumps(entry.key or None), "moved": json.dumps([there[p.name][0] for p in whole]),
                 "names": json.dumps(names), "numbers": json.dumps(dict(entry.numbers)) if entry.what == "columns" else None},
            )  # fmt: skip


def _root(oid: int, there: Mapping[str, tuple[int, int | None]], known: Mapping[int, Trashed]) -> int:
    """The table of which it is a partition, however deep, as far as that came along."""
    parent = there[known[oid].name][1]
    return oid if parent is None or parent not in known else _root(parent, there, known)


def new_id(connection: Session) -> int:
    row = connection.execute("SELECT nextval('autopilot_trash.moments')").fetchone()
    return int((row or (0,))[0])


def fitted(name: str) -> str:
    """A name of at most 63 bytes."""
    return name.encode()[:63].decode("utf-8", "ignore")


def register_conflicts(connection: Session, *, of: Kept, kept_id: int, kept_as: str, rows: int, notes: str) -> None:
    """Puts a table of rows that did not come back, or gave way, into the register; it stays as long as its origin would have."""
    size = connection.execute("SELECT pg_total_relation_size(%s::regclass)", (f"autopilot_trash.{quoted(kept_as)}",)).fetchone()
    connection.execute(
        _QUERIES["register_conflicts"],
        {"id": kept_id, "kept_as": kept_as, "rows": rows, "bytes": (size or (0,))[0], "notes": notes, "of": of.id},
    )
