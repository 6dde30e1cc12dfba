"""Who keeps a backup from reading a table, told once it gave up waiting."""

from __future__ import annotations

import contextlib

import psycopg

from autopilot.errors import Refused
from autopilot.postgres.queries import named
from autopilot.postgres.session import Connection

_QUERIES = named(__file__, "snapshot.sql")


def in_the_way(connection: Connection) -> tuple[str, ...]:
    """Each session that holds a table exclusively or queues to: never what it runs, which may hold a secret.

    What the role may not know of others stays out. Raises psycopg.Error.
    """
    return tuple(_sentence(*row) for row in connection.execute(_QUERIES["in_the_way"]))


def _sentence(
    table: str, holds: bool, pid: int, user: str, application: str | None, state: str | None, seconds: int | None,
    begun: str | None, verb: str | None,
) -> str:  # fmt: skip
    since = "" if seconds is None else f", begun {seconds} s ago at {begun} UTC"
    doing = "" if state is None else f", {state}" + (f", last {verb}" if verb else "")
    name = f", application {application}" if application else ""
    return f"{table} is {'held' if holds else 'waited for'} by pid {pid} (user {user}{name}{doing}{since})"


def explained(cause: Refused, connection: Connection) -> Refused:
    """The refusal, with who was in the way where that is what it is about."""
    if not is_about_waiting(cause):
        return cause
    found: tuple[str, ...] = ()
    with contextlib.suppress(psycopg.Error):
        found = in_the_way(connection)
    who = "; ".join(found) or "nobody holds it any more"
    return Refused(
        f"{cause.message.rstrip('.')}: {who}.",
        code="backup_blocked",
        hint="Let that session end (or end it: SELECT pg_terminate_backend(pid)), then run again." if found else "Run again.",
        retryable=True,
    )


def is_about_waiting(cause: Refused) -> bool:
    return cause.code == "backup_blocked" or isinstance(cause.__cause__, psycopg.errors.LockNotAvailable)
