"""Whether two addresses lead to one server. Asks, and writes nothing."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import datetime

from autopilot.postgres.queries import named
from autopilot.postgres.session import READER_NAME, Connection, session
from autopilot.secret import Secret

_QUERIES = named(__file__, "identity.sql")


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """What a server says of itself. A branch or physical copy shares the system identifier, and nothing else."""

    pid: int
    database: str
    #: To the microsecond: no two servers share it.
    started_at: datetime
    in_recovery: bool
    #: None where it may not be asked.
    system_identifier: str | None


def identity(connection: Connection) -> Identity:
    row = connection.execute(_QUERIES["who"]).fetchone()
    if row is None:  # pragma: no cover - a SELECT without FROM has a row
        raise AssertionError
    known = connection.execute(_QUERIES["system_identifier"]).fetchone() if row[4] else None
    return Identity(
        pid=row[0], database=row[1], started_at=row[2], in_recovery=row[3], system_identifier=None if known is None else known[0]
    )


def same_server(target: Identity, other: Identity, *, seen: bool) -> str | None:
    """Why both are one server, in words; None where they are two. `seen`: the one lists a session of ours on the other."""
    if seen:
        return f"it lists our own session on the target's database {target.database}"
    known = (target.system_identifier, other.system_identifier)
    if target.started_at == other.started_at and (None in known or known[0] == known[1]):
        return f"both were started at {target.started_at:%Y-%m-%d %H:%M:%S.%f}"
    return None


def look_at_both(target: Secret, other: Secret) -> tuple[Identity, Identity, str | None]:
    """The target's identity, the other's, and why they are one server. Raises what connecting raises."""
    names = [f"{READER_NAME}-{secrets.token_hex(6)}" for _ in range(2)]
    with session(target, application_name=names[0]) as here, session(other, application_name=names[1]) as there:
        mine, theirs = identity(here), identity(there)
        seen = _sees(there, mine.pid, names[0]) or _sees(here, theirs.pid, names[1])
    return mine, theirs, same_server(mine, theirs, seen=seen)


def _sees(connection: Connection, pid: int, name: str) -> bool:
    row = connection.execute(_QUERIES["sees"], (pid, name)).fetchone()
    return row is not None and bool(row[0])
