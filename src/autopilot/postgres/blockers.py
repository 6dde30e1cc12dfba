"""Who keeps a session waiting, told while it waits: afterwards nobody knows."""

from __future__ import annotations

import psycopg

from autopilot.postgres.bounded import patient
from autopilot.postgres.queries import templates
from autopilot.postgres.session import Connection

_QUERIES = templates(__file__, "blockers.sql")

#: The wait that is asked about has a deadline of its own, which must not be held up.
_MOMENT_S = 0.5
_ANSWER_S = 5.0


def blockers(connection: Connection, pid: int) -> tuple[str, ...]:
    """Each session that stands in the way of `pid`: process, user, application, since when, doing what.

    Asked on another session, which stays open when it says nothing, as it may hold the lock. One that has gone away, or
    does not answer at once, knows of none.
    """
    try:
        rows = connection.glance(_QUERIES["blockers"].format(pid).as_string(connection), within_s=_MOMENT_S)
    except psycopg.OperationalError:
        return ()
    return tuple(
        f"pid {other} (user {user}, application {application or 'unnamed'}, {state} for {seconds} s: {query})"
        for other, user, application, state, seconds, query in rows
    )


def end_backend(connection: Connection, pid: int) -> None:
    """Ends a session that ignores a cancel request; it may be gone already."""
    try:
        with patient(connection, _ANSWER_S):
            connection.execute("SELECT pg_catalog.pg_terminate_backend(%s)", (pid,))
    except psycopg.OperationalError:
        return
