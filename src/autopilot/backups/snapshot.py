"""One moment of a database, held open while it is read."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

from autopilot.postgres.queries import named
from autopilot.postgres.session import Connection

_QUERIES = named(__file__, "snapshot.sql")

#: Whoever reads the snapshot waits this long for a table that someone holds exclusively, then fails.
LOCK_WAIT_MS = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """What pg_dump is told to read, and where that stands."""

    name: str
    lsn: str | None
    database: str
    database_oid: int
    system_identifier: str | None
    role: str
    #: How many tables have rows of their own.
    tables: int
    #: Which transactions it sees: pg_current_snapshot() as text.
    sees: str


@contextlib.contextmanager
def snapshot(connection: Connection) -> Iterator[Snapshot]:
    """Exports a snapshot; open until the block ends."""
    with connection.transaction():
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        connection.execute("SET LOCAL row_security = off")
        connection.execute("SET LOCAL statement_timeout = 0")
        connection.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
        connection.execute(f"SET LOCAL lock_timeout = {LOCK_WAIT_MS}".encode())
        row = connection.execute(_QUERIES["moment"]).fetchone()
        if row is None:  # pragma: no cover - a SELECT without FROM has a row
            raise AssertionError
        yield Snapshot(
            name=row[0], database=row[1], database_oid=row[2], lsn=row[3], role=row[4], tables=row[5],
            sees=row[6],
            system_identifier=_system_identifier(connection),
        )  # fmt: skip


def _system_identifier(connection: Connection) -> str | None:
    row = connection.execute(_QUERIES["may_ask_identity"]).fetchone()
    if row is None or not row[0]:
        return None
    row = connection.execute(_QUERIES["identity"]).fetchone()
    return None if row is None else str(row[0])
