"""The lock that keeps two runs apart: polled, never queued for, on a session of its own.

A queued `pg_advisory_lock()` deadlocks with CREATE INDEX CONCURRENTLY of the run that holds it.
The lock is politeness; what keeps a migration from running twice is the ledger's primary key.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from autopilot.clock import Clock
from autopilot.errors import Locked
from autopilot.postgres.queries import named
from autopilot.postgres.session import LOCK_PREFIX, Connection, session
from autopilot.secret import Secret

_QUERIES = named(__file__, "session.sql")

#: "autopilo" in ASCII, as a bigint.
KEY = 0x6175746F70696C6F

_POLL_S = 0.5


@contextmanager
def held(url: Secret, *, run_id: str, wait_s: float, clock: Clock, waiting: Callable[[str], None]) -> Iterator[Connection]:
    """Holds the target's lock for the length of the block; yields the session that holds it.

    `waiting` is told once who holds it. Raises Locked when `wait_s` is over.
    """
    with session(url, application_name=f"{LOCK_PREFIX}{run_id}") as connection:
        _poll(connection, wait_s=wait_s, clock=clock, waiting=waiting)
        yield connection


def is_held(connection: Connection) -> bool:
    """Whether this very session still holds the lock. A pooler or a failover can take it away silently."""
    row = connection.execute(
        _QUERIES["is_held"],
        (KEY >> 32, KEY & 0xFFFFFFFF),
    ).fetchone()
    return row is not None and row[0] > 0


def _poll(connection: Connection, *, wait_s: float, clock: Clock, waiting: Callable[[str], None]) -> None:
    deadline_s = clock.monotonic_s() + wait_s
    told = False
    while not _try(connection):
        if clock.monotonic_s() >= deadline_s:
            raise Locked(
                f"Another run holds the lock: {_holder(connection)}; waited {wait_s:.0f} s.",
                code="locked",
                hint="Wait for that run to end and run again.",
                retryable=True,
            )
        if not told:
            waiting(_holder(connection))
            told = True
        clock.sleep(min(_POLL_S, max(0.0, deadline_s - clock.monotonic_s())))


def _try(connection: Connection) -> bool:
    row = connection.execute(_QUERIES["take_lock"], (KEY,)).fetchone()
    return row is not None and bool(row[0])


def _holder(connection: Connection) -> str:
    row = connection.execute(_QUERIES["holder"], (KEY >> 32, KEY & 0xFFFFFFFF)).fetchone()
    if row is None:
        return "a run that has just ended"
    name, since = row
    run = str(name or "an unknown session").removeprefix(LOCK_PREFIX)
    return f"run {run}, connected since {since} UTC"
