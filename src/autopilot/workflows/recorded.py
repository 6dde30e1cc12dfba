"""The catalog as the last release recorded it, and how the live one stands to it. Writes nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

import msgspec
import psycopg

from autopilot.audit import ways_back
from autopilot.errors import Refused
from autopilot.postgres.session import Connection
from autopilot.rollback import putting_back
from autopilot.rollback.adopting import adoption
from autopilot.rollback.aligned import Aligned, aligned
from autopilot.rollback.drift import Drift, drifts
from autopilot.rollback.mending import mending
from autopilot.rollback.snapshot import Snapshot, decode, read


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How the live catalog stands to the recorded one, and what a repair would do."""

    database: str
    recorded_at: datetime
    #: The release that recorded it.
    run_id: str
    drifts: tuple[Drift, ...]
    #: As they would run: in one transaction, then each by itself.
    statements: tuple[str, ...]
    apart: tuple[str, ...]
    notes: tuple[str, ...]
    #: A migration file for what was added by hand.
    adoption: str | None

    @property
    def to_repair(self) -> tuple[Drift, ...]:
        return tuple(d for d in self.drifts if d.remedy in {"put_back", "restore", "person"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """The catalog as a release left it."""

    snapshot: Snapshot
    at: datetime
    run_id: str
    database: str


def recorded(connection: Connection) -> Recorded:
    """Raises Refused (`no_recorded_catalog`, `recorded_on_another_major`, `unreadable_catalog`)."""
    found = _last(connection)
    if found is None:
        raise Refused(
            "No release has recorded the catalog of this database yet: there is nothing to compare it with.",
            code="no_recorded_catalog",
            hint="Release with `autopilot migrate` once; each release records the catalog as it leaves it.",
        )
    snapshot, at, run_id = found
    was, has = snapshot.version_num // 10000, connection.info.server_version // 10000
    if was != has:
        raise Refused(
            f"The catalog was recorded on PostgreSQL {was}, and this is {has}: they write definitions differently.",
            code="recorded_on_another_major", hint="Release with `autopilot migrate` once; that records the catalog anew.",
        )  # fmt: skip
    return Recorded(snapshot=snapshot, at=at, run_id=run_id, database=connection.info.dbname)


def _last(connection: Connection) -> tuple[Snapshot, datetime, str] | None:
    """The catalog as the last release left it, when that was, and its run. Raises Refused (`unreadable_catalog`)."""
    try:
        found = ways_back.last_recorded(connection)
    except (psycopg.errors.UndefinedTable, psycopg.errors.InvalidSchemaName):
        return None
    if found is None:
        return None
    try:
        return decode(found[0]), found[1], found[2]
    except msgspec.DecodeError as cause:
        raise Refused(
            f"The catalog that run {found[2]} recorded cannot be read: {cause}.",
            code="unreadable_catalog", hint="Release with `autopilot migrate`: it records the catalog anew.",
        ) from cause  # fmt: skip


def standing(connection: Connection) -> Standing:
    """Only asks. Raises what `recorded` raises."""
    before, live = recorded(connection), read(connection)
    found = aligned(before.snapshot, live, roles=putting_back.roles(connection))
    todo = mending(found, live)
    listed = drifts(todo.wanted)
    added = [d.sentence for d in listed if d.remedy == "adopt"]
    at = f"run {before.run_id} of {before.at:%Y-%m-%d %H:%M} UTC"
    return Standing(
        database=before.database, recorded_at=before.at, run_id=before.run_id, drifts=listed, notes=todo.notes,
        statements=tuple(s.text for s in todo.statements), apart=tuple(t for a in todo.apart for t in a.statements),
        adoption=adoption(found, live, database=before.database, recorded_at=at, what=added) if added else None,
    )  # fmt: skip


def comparison(connection: Connection) -> Callable[[Snapshot], Aligned]:
    """Aligns a live catalog with the recorded one."""
    before, roles = recorded(connection).snapshot, putting_back.roles(connection)
    return lambda live: aligned(before, live, roles=roles)
