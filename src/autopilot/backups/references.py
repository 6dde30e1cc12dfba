"""Which backups the audit trail may still need."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from autopilot.backups.retention import Identity
from autopilot.postgres.queries import named
from autopilot.postgres.session import Connection

_QUERIES = named(__file__, "references.sql")
_SNAPSHOT = named(__file__, "snapshot.sql")


@dataclass(frozen=True, slots=True, kw_only=True)
class References:
    runs: frozenset[str] = frozenset()
    files: frozenset[str] = frozenset()
    #: When a release last failed before it had a backup, with no backup since.
    failed_at: datetime | None = None
    #: Backups that were restored and came back as they were; None where that is not written down.
    restored: frozenset[str] | None = None


def identity(connection: Connection) -> Identity:
    """The database as its backups' manifests call it."""
    database, oid = connection.execute(_QUERIES["who"]).fetchall()[0]
    may_ask = connection.execute(_SNAPSHOT["may_ask_identity"]).fetchone()
    row = connection.execute(_SNAPSHOT["identity"]).fetchone() if may_ask is not None and may_ask[0] else None
    return Identity(database=database, database_oid=oid, system_identifier=None if row is None else str(row[0]))


def read(connection: Connection) -> References:
    """From a database that has the schema automation."""
    rows = connection.execute(_QUERIES["unconfirmed"]).fetchall()
    failed = connection.execute(_QUERIES["last_attempt"]).fetchone()
    counts = connection.execute(_QUERIES["counts_restores"]).fetchone()
    restored = connection.execute(_QUERIES["restored"]).fetchall() if counts is not None and counts[0] else None
    return References(
        runs=frozenset(row[0] for row in rows),
        files=frozenset(row[1] for row in rows if row[1] is not None),
        failed_at=None if failed is None else failed[0],
        restored=None if restored is None else frozenset(row[0] for row in restored),
    )
