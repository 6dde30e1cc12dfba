"""Who keeps a session waiting, told while it waits: afterwards nobody knows."""

from __future__ import annotations

import psycopg

from autopilot.postgres.queries import named
from autopilot.postgres.session import Connection

_QUERIES = named(__file__, "session.sql")


def blockers(connection: Connection, pid: int) -> tuple[str, ...]:
    """Each session that stands in the way of `pid`: process, user, application, since when, doing what.

    Asked on another session; one that has itself gone away knows of none.
    """
    try:
        rows = connection.execute(_QUERIES["blockers"], (pid,)).fetchall()
    except psycopg.OperationalError:
        return ()
    return tuple(
        f"pid {other} (user {user}, application {application or 'unnamed'}, {state} for {int(seconds or 0)} s: {query})"
        for other, user, application, state, seconds, query in rows
    )


def end_backend(connection: Connection, pid: int) -> None:
    """Ends a session that ignores a cancel request; it may be gone already."""
    try:
        connection.execute("SELECT pg_catalog.pg_terminate_backend(%s)", (pid,))
    except psycopg.OperationalError:
        return
