"""Sessions on the target that a dead run left behind, told by their application name."""

from __future__ import annotations

from dataclasses import dataclass

from autopilot.postgres.queries import named
from autopilot.postgres.session import RUN_PREFIX, Connection

_QUERIES = named(__file__, "session.sql")


@dataclass(frozen=True, slots=True, kw_only=True)
class Orphan:
    pid: int
    run_id: str
    #: Whether it is in a statement or a transaction.
    is_busy: bool


def alive(connection: Connection) -> tuple[Orphan, ...]:
    """Working sessions of other runs; to be asked only by whoever holds the lock."""
    rows = connection.execute(_QUERIES["alive"], (RUN_PREFIX,)).fetchall()
    return tuple(Orphan(pid=pid, run_id=name.removeprefix(RUN_PREFIX), is_busy=busy) for pid, name, busy in rows)


def terminate(connection: Connection, pid: int) -> None:
    connection.execute("SELECT pg_catalog.pg_terminate_backend(%s)", (pid,))
