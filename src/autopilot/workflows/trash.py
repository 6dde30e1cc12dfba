"""What migrations would have destroyed and Autopilot kept: shown, put back by hand, and removed when its time is over."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import psycopg

from autopilot.audit import ways_back
from autopilot.errors import AutopilotError, Refused, RolledBack
from autopilot.measures import size_in_words
from autopilot.postgres import lock
from autopilot.postgres.session import RUN_PREFIX, Connection, look, require_writable, session
from autopilot.rollback import by_hand, trash
from autopilot.rollback.trash import Kept
from autopilot.workflows.reading import reached, reader
from autopilot.workflows.world import World

#: Nobody's reads and writes queue longer behind a table that comes back, or goes.
_LOCK_TIMEOUT = "SET LOCAL lock_timeout = '3s'"
#: A release does not wait for who reads in the trash: the next one finds it again.
_SWEEP_LOCK_TIMEOUT = "SET LOCAL lock_timeout = '200ms'"


@dataclass(frozen=True, slots=True, kw_only=True)
class PutBack:
    kept: Kept
    #: What was done, in a sentence.
    told: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Emptied:
    """What is to go, and whether it went."""

    kept: tuple[Kept, ...]
    removed: bool

    @property
    def size_bytes(self) -> int:
        return sum(k.size_bytes for k in self.kept)


def listed(world: World, *, run_id: str | None = None) -> tuple[Kept, ...]:
    """`autopilot trash list`. Raises what `reader` raises, and Refused (`foreign_trash_schema`)."""
    with reader(world.settings) as connection:
        return tuple(k for k in trash.listed(connection) if run_id is None or run_id in {k.run_id, k.run})


def restore(world: World, entry_id: int) -> PutBack:
    """`autopilot trash restore`: one entry, whole or not at all. Raises what `by_hand.put_back` does, Locked and RolledBack."""
    with _writer(world) as connection:
        kept = trash.one(connection, entry_id)
        return PutBack(kept=kept, told=by_hand.put_back(connection, kept))


def empty(world: World, *, older_than_days: int | None, run_id: str | None, really: bool) -> Emptied:
    """`autopilot trash empty`: without `really` only what would go. Raises as `restore` does."""
    if not really:
        return Emptied(kept=_doomed(world, listed(world), older_than_days, run_id), removed=False)
    with _writer(world) as connection:
        chosen = _doomed(world, trash.listed(connection), older_than_days, run_id)
        for kept in chosen:
            _remove(connection, kept)
    return Emptied(kept=chosen, removed=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Swept:
    """What a release found expired."""

    gone: tuple[Kept, ...] = ()
    #: What stays for now, and why, in words.
    left: tuple[tuple[Kept, str], ...] = ()

    @property
    def words(self) -> str:
        """Nothing where nothing had expired."""
        size = size_in_words(sum(k.size_bytes for k in self.gone))
        found = [f"{len(self.gone)} expired from the trash, {size}"] if self.gone else []
        if self.left:
            kept, why = self.left[0]
            found.append(f"{len(self.left)} expired in the trash could not go (entry {kept.id}: {why})")
        return "; ".join(found)


def sweep(world: World, connection: Connection) -> Swept:
    """What has expired goes, each in a transaction of its own, under the lock that the caller holds. Never fails.

    Unlike `trash empty` it takes nothing along that somebody made upon what is kept.
    """
    try:
        expired = trash.doomed(trash.listed(connection), now=world.clock.now())
    except (psycopg.Error, AutopilotError):
        return Swept()
    gone: list[Kept] = []
    left: dict[int, tuple[Kept, str]] = {}
    for kept in (*expired, *reversed(expired)):  # what another entry refers to can go once that one has gone
        if kept in gone or connection.closed:
            continue
        try:
            with connection.transaction():
                connection.execute(_SWEEP_LOCK_TIMEOUT)
                _remove(connection, kept, alone=True)
        except psycopg.Error as cause:
            left[kept.id] = (kept, cause.diag.message_primary or type(cause).__name__)
        else:
            gone.append(kept)
            left.pop(kept.id, None)
    return Swept(gone=tuple(gone), left=tuple(left.values()))


def _remove(connection: Connection, kept: Kept, *, alone: bool = False) -> None:
    """Removes it; where a release would need it to be undone, that is written down as lost."""
    trash.remove(connection, kept, alone=alone)
    if kept.restored_at is None and kept.how != "conflicts" and ways_back.known(connection):
        ways_back.emptied(connection, kept.run_id, f"{kept.name}: not in the trash any more")


def _doomed(world: World, kept: tuple[Kept, ...], older_than_days: int | None, run_id: str | None) -> tuple[Kept, ...]:
    if run_id is not None and not any(run_id in {k.run_id, k.run} for k in kept):
        raise Refused(
            f"Nothing in the trash is of a run {run_id}.",
            code="unknown_trash", hint="`autopilot trash list` shows what is kept, and of which runs.",
        )  # fmt: skip
    return trash.doomed(kept, now=world.clock.now(), older_than_days=older_than_days, run_id=run_id)


@contextmanager
def _writer(world: World) -> Iterator[Connection]:
    """A transaction under the lock that releases hold too."""
    url, own = reached(world.settings).url, secrets.token_hex(4)
    wait_s = world.settings.lock_wait_s
    with (
        lock.held(url, run_id=own, wait_s=wait_s, clock=world.clock, waiting=lambda _holder: None),
        session(url, application_name=f"{RUN_PREFIX}{own}") as connection,
    ):
        require_writable(look(connection))
        try:
            with connection.transaction():
                connection.execute(_LOCK_TIMEOUT)
                yield connection
        except psycopg.errors.LockNotAvailable as cause:
            raise RolledBack(
                f"A table stayed locked: {cause.diag.message_primary}.",
                code="lock_not_available", hint="Run again; who holds it is in pg_stat_activity.", retryable=True,
            ) from cause  # fmt: skip
        except (psycopg.IntegrityError, psycopg.DataError, psycopg.ProgrammingError) as cause:
            raise RolledBack(
                f"PostgreSQL refused it: {cause.diag.message_primary}.",
                code="trash_not_restored", hint="Mend what PostgreSQL names, then run again.",
            ) from cause  # fmt: skip
        except psycopg.OperationalError as cause:
            raise RolledBack(
                f"The database went away: {' '.join(str(cause).split())}",
                code="database_lost", hint="Run again when it answers.", retryable=True,
            ) from cause  # fmt: skip
