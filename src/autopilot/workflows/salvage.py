"""What lies in quarantine since a backup was put back: shown, brought over, or given up."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from autopilot.postgres.bounded import patient
from autopilot.postgres.session import RUN_PREFIX, Connection, session
from autopilot.rollback.quarantine import salvage as quarantines
from autopilot.rollback.quarantine.salvage import Brought, Difference, Quarantine
from autopilot.workflows.reading import reached
from autopilot.workflows.world import World


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What one restore set aside, and how it differs from what is live."""

    token: str
    schemas: tuple[Quarantine, ...]
    #: Tables that differ.
    tables: tuple[Difference, ...]


def listed(world: World) -> tuple[Quarantine, ...]:
    """Every quarantine there is, the oldest first."""
    with _working(world, "salvage") as connection:
        return quarantines.listed(connection)


def one(world: World, *, token: str) -> tuple[Quarantine, ...]:
    """The schemas that one restore set aside. Raises Refused (`unknown_quarantine`)."""
    with _working(world, "salvage") as connection:
        return quarantines.one(connection, token)


def shown(world: World, *, token: str) -> Found:
    """Table by table what only the quarantine has, or has differently. Raises Refused (`unknown_quarantine`)."""
    with _working(world, "salvage") as connection:
        those = quarantines.one(connection, token)
        return Found(token=token, schemas=those, tables=quarantines.differences(connection, those))


def apply(
    world: World, *, token: str, run_id: str, tables: frozenset[str] = frozenset(), overwrite: bool = False
) -> tuple[Brought, ...]:
    """Brings new rows over and commits; what is there stays unless told. Raises Refused (`unknown_quarantine`)."""
    with _working(world, run_id) as connection:
        return quarantines.bring(connection, quarantines.one(connection, token), tables=tables, overwrite=overwrite)


def give_up(world: World, *, token: str, run_id: str) -> tuple[str, ...]:
    """Drops a quarantine for good and returns its schemas' names. Raises Refused (`unknown_quarantine`)."""
    with _working(world, run_id) as connection:
        those = quarantines.one(connection, token)
        quarantines.drop(connection, those)
        return tuple(q.name for q in those)


@contextmanager
def _working(world: World, run_id: str) -> Iterator[Connection]:
    """A session in a transaction, which is committed at the end of the block."""
    with (
        session(reached(world.settings).url, application_name=RUN_PREFIX + run_id) as connection,
        patient(connection, world.settings.backup_timeout_s),
        connection.transaction(),
    ):
        yield connection
