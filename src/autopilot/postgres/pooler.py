"""Finds out whether a session is one: behind a transaction pooler, each transaction may meet another backend.

A lock taken there stays on a backend that is handed to somebody else, and outlives the run by an hour.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager

import psycopg

from autopilot.postgres.address import transaction_pooler
from autopilot.postgres.lock import KEY
from autopilot.postgres.session import Connection

_PID = b"SELECT pg_catalog.pg_backend_pid()"
_PID_AND_LOCK = (
    b"SELECT pg_catalog.pg_backend_pid(), EXISTS (SELECT FROM pg_catalog.pg_locks"
    b" WHERE locktype = 'advisory' AND granted AND pid = pg_catalog.pg_backend_pid())"
)
_OURS = f"locktype = 'advisory' AND granted AND objsubid = 1 AND classid = {KEY >> 32} AND objid = {KEY & 0xFFFFFFFF}"
_UNLOCK = (
    f"SELECT pg_catalog.pg_advisory_unlock({KEY}) FROM pg_catalog.pg_locks WHERE pid = pg_catalog.pg_backend_pid() AND {_OURS}"
).encode()
_ROUNDS = 2

Pids = tuple[Sequence[int], Sequence[int]]


def transaction_pooled(first: Sequence[int], second: Sequence[int]) -> bool:
    """Whether backends seen on two sessions open at once show a transaction pooler.

    A session has one backend as long as it lasts, and shares it with nobody.
    """
    return len(set(first)) > 1 or len(set(second)) > 1 or not set(first).isdisjoint(second)


def require_direct(connection: Connection, another: Callable[[], AbstractContextManager[Connection]]) -> None:
    """Raises Refused (`transaction_pooler`); best called before any lock is taken.

    One round trip. PostgreSQL names the backend at login, and a pooler names none of the server's: only where the two
    differ is `another` session opened, to tell a transaction pool from a session pool.
    """
    if _pid(connection) == connection.info.backend_pid:
        return
    with another() as other:
        _require(connection, other)


def require_session(lock_session: Connection, working_session: Connection) -> None:
    """The same for two sessions that are open anyway, the first of which holds the lock.

    One round trip where all is well. A lock that a quiet pool's backend has kept is let go before the refusal.
    Raises Refused (`transaction_pooler`).
    """
    row = lock_session.execute(_PID_AND_LOCK).fetchone()
    at_login = lock_session.info.backend_pid
    if row is not None and row == (at_login, True) and working_session.info.backend_pid != at_login:
        return
    _require(lock_session, working_session)


def _require(first: Connection, second: Connection) -> None:
    params = first.info.get_parameters()
    try:
        seen = _crossed(first, second)
    except psycopg.errors.ProtocolViolation as cause:
        # PgBouncer in statement mode: "transaction blocks not allowed"
        if "transaction blocks not allowed" not in str(cause):
            raise
        raise transaction_pooler(params, "it lets nobody begin a transaction (statement mode)") from None
    if transaction_pooled(*seen):
        _let_go(first, second)
        raise transaction_pooler(params, "two of our sessions met one backend, or one session several")


def _crossed(first: Connection, second: Connection) -> Pids:
    """The backends that two sessions meet while they take turns at holding one in a transaction.

    Ends with the first proof: in a pool of one, the second question of a pair would wait for ever. The first two
    questions find a pool that goes round, the turns one that hands out what came back last.
    """
    seen: tuple[list[int], list[int]] = ([_pid(first)], [])
    seen[0].append(_pid(first))
    for _ in range(_ROUNDS):
        for holder, other in ((1, 0), (0, 1)):
            sessions = (first, second)
            with sessions[holder].transaction(force_rollback=True):
                for turn in (holder, other):
                    seen[turn].append(_pid(sessions[turn]))
                    if transaction_pooled(*seen):
                        return seen
    return seen


def _let_go(first: Connection, second: Connection) -> None:
    """Unlocks our key on whichever backend of the pool kept it; a busy pool may hide that backend from us."""
    with contextlib.suppress(psycopg.Error):
        for session in (first, second) * _ROUNDS:
            session.execute(_UNLOCK)


def _pid(connection: Connection) -> int:
    row = connection.execute(_PID).fetchone()
    if row is None:  # pragma: no cover - a SELECT without FROM has a row
        raise AssertionError
    return int(row[0])
