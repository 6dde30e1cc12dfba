"""What lies in quarantine since a backup was put in place: shown, brought over, or given up. What changes something, locks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import psycopg

from autopilot.errors import RolledBack
from autopilot.events import told
from autopilot.measures import size_in_words
from autopilot.postgres.bounded import patient
from autopilot.postgres.session import RUN_PREFIX, Connection, look, require_writable, session
from autopilot.rollback.quarantine import salvage as quarantines
from autopilot.rollback.quarantine.salvage import Brought, Difference, Quarantine
from autopilot.workflows.holding import locked
from autopilot.workflows.reading import reach, reached
from autopilot.workflows.world import World

#: Nobody's reads and writes queue longer behind a table that rows are brought to.
_LOCK_TIMEOUT = "SET LOCAL lock_timeout = '3s'"


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What one restore set aside, and how it differs from what is live."""

    token: str
    schemas: tuple[Quarantine, ...]
    #: Tables that differ.
    tables: tuple[Difference, ...]


def listed(world: World) -> tuple[Quarantine, ...]:
    """Every quarantine there is, the oldest first."""
    with _looking(world) as connection:
        return quarantines.listed(connection)


def one(world: World, *, token: str) -> tuple[Quarantine, ...]:
    """The schemas that one restore set aside. Raises Refused (`unknown_quarantine`)."""
    with _looking(world) as connection:
        return quarantines.one(connection, token)


def shown(world: World, *, token: str) -> Found:
    """Table by table what only the quarantine has, or has differently. Raises Refused (`unknown_quarantine`)."""
    with _looking(world) as connection:
        those = quarantines.one(connection, token)
        return Found(token=token, schemas=those, tables=quarantines.differences(connection, those))


def apply(
    world: World, *, token: str, run_id: str, tables: frozenset[str] = frozenset(), overwrite: bool = False
) -> tuple[Brought, ...]:
    """Brings new rows over and commits; what is there stays unless told.

    Raises Refused (`unknown_quarantine`), Locked, RolledBack (`salvage_locked`, `salvage_failed`, `database_lost`).
    """
    with _changing(world, run_id) as connection:
        those = quarantines.one(connection, token)
        with told(world.tell, world.clock, "salvage", f"Bringing rows over from {_named(those)}") as step:
            connection.execute(_LOCK_TIMEOUT)
            found = quarantines.bring(connection, those, tables=tables, overwrite=overwrite)
            rows, left = sum(b.inserted + b.overwritten for b in found), sum(b.left for b in found)
            step.says(f"{rows:,} rows brought over, {left:,} stay in quarantine")
        return found


def give_up(world: World, *, token: str, run_id: str) -> tuple[str, ...]:
    """Drops a quarantine for good and returns its schemas' names. Raises as `apply` does."""
    with _changing(world, run_id) as connection:
        those = quarantines.one(connection, token)
        with told(world.tell, world.clock, "salvage", f"Removing {_named(those)}") as step:
            connection.execute(_LOCK_TIMEOUT)
            quarantines.drop(connection, those)
            step.says(f"{_named(those)} removed, {size_in_words(sum(q.size_bytes for q in those))}")
        return tuple(q.name for q in those)


def _named(those: tuple[Quarantine, ...]) -> str:
    return ", ".join(q.name for q in those)


@contextmanager
def _looking(world: World) -> Iterator[Connection]:
    """A session in one transaction, in which all of it is as at one moment."""
    with (
        session(reached(world.settings).url, application_name="autopilot") as connection,
        patient(connection, world.settings.backup_timeout_s),
        connection.transaction(),
    ):
        yield connection


@contextmanager
def _changing(world: World, run_id: str) -> Iterator[Connection]:
    """A session in a transaction under the run's lock, which is committed at the end of the block."""
    world = reach(world)
    with (
        locked(world, run_id),
        session(world.database_url, application_name=RUN_PREFIX + run_id) as connection,
        patient(connection, world.settings.backup_timeout_s),
        _explained(),
    ):
        require_writable(look(connection))
        with connection.transaction():
            yield connection


@contextmanager
def _explained() -> Iterator[None]:
    """PostgreSQL's refusals as ours."""
    try:
        yield
    except (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected) as cause:
        raise RolledBack(
            f"Others hold the tables: {cause.diag.message_primary}.",
            code="salvage_locked", hint="Run again when they are done.", retryable=True,
        ) from cause  # fmt: skip
    except psycopg.Error as cause:
        if cause.diag.sqlstate is None:
            raise RolledBack(
                f"The database went away: {' '.join(str(cause).split())}",
                code="database_lost", hint="Run again when it answers.", retryable=True,
            ) from cause  # fmt: skip
        raise RolledBack(
            f"PostgreSQL refused it: {cause.diag.message_primary}.",
            code="salvage_failed", hint="Do as the message says, then run again; or bring single tables over with --table.",
        ) from cause  # fmt: skip
