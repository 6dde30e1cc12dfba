"""How the session speaks while an archive is replayed: its settings, its long answers, and its complaints as ours."""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Callable, Iterator, Sequence

import psycopg
from psycopg import errors
from psycopg.pq import TransactionStatus

from autopilot.errors import AutopilotError, RolledBack
from autopilot.postgres.bounded import BoundedConnection, patient
from autopilot.postgres.message import ConnectionLost, DeadlinePassed, Patience, send
from autopilot.rollback.quarantine.inventory import Inventory

Connection = BoundedConnection

#: What pg_restore would set, but for this transaction alone. Locks on what stays (auth.users) are not waited for without end.
#: Without jit: to compile our questions about the catalog takes ten times as long as to answer them.
_SETTINGS = {
    "search_path": "", "check_function_bodies": "off", "row_security": "off", "xmloption": "content",
    "standard_conforming_strings": "on", "client_min_messages": "warning", "statement_timeout": "0", "lock_timeout": "10s",
    "idle_in_transaction_session_timeout": "60s", "default_tablespace": "", "transform_null_equals": "off",
    "jit": "off",
}  # fmt: skip
_ONLY_SINCE = {"transaction_timeout": (170000, "0"), "client_connection_check_interval": (140000, "2s")}
#: While a table is waited for, everybody who comes later waits behind us: briefly, then we let go and come again.
_PATIENCE_MS = 300
_POLITE_TRIES = 25
_PAUSE_S = (0.02, 0.2)
_BUSY = (errors.LockNotAvailable, errors.DeadlockDetected, errors.QueryCanceled)


@contextlib.contextmanager
def settled(connection: Connection, timeout_s: float) -> Iterator[None]:
    """The settings and the patience for the block; what stood there stands there again at its end.

    The transaction is the caller's. Raises ValueError outside of one.
    """
    if connection.info.transaction_status != TransactionStatus.INTRANS:
        raise ValueError("this works inside the caller's transaction")
    version, wanted = connection.info.server_version, dict(_SETTINGS)
    wanted |= {name: value for name, (since, value) in _ONLY_SINCE.items() if version >= since}
    before = {}
    with patient(connection, timeout_s):
        for name, value in wanted.items():
            row = connection.execute("SELECT current_setting(%s, true)", (name,)).fetchone()
            if row is not None and row[0] is not None and _can(connection, name, value):
                before[name] = row[0]
        yield
        for name, value in before.items():
            connection.execute("SELECT set_config(%s, %s, true)", (name, value))


def _can(connection: Connection, name: str, value: str) -> bool:
    """Sets it; False on a platform that knows no such setting's value."""
    try:
        with connection.transaction():
            connection.execute("SELECT set_config(%s, %s, true)", (name, value))
    except psycopg.Error:
        if name in _ONLY_SINCE and not connection.broken:
            return False
        raise
    return True


def run(connection: Connection, text: str, *, timeout_s: float, doing: str) -> None:
    """Many commands as one message. Raises RolledBack (`quarantine_failed`) and psycopg.OperationalError."""
    if not text.strip():
        return
    try:
        answer = send(connection, text, patience=Patience(timeout_s=timeout_s))
    except ConnectionLost as cause:
        raise psycopg.OperationalError(str(cause)) from cause
    except DeadlinePassed as cause:
        raise RolledBack(
            f"{doing}: {cause}", code="quarantine_failed", hint="Look for what holds it up, or raise backup_timeout_s."
        ) from cause
    if answer.complaint is not None:
        where = _near(text, answer.complaint.position)
        raise RolledBack(
            f"{doing}: PostgreSQL says: {answer.complaint.words()}{where}",
            code="quarantine_failed",
            hint="Do as the message says and run again, or restore into a new database.",
        )


def _near(text: str, position: int | None) -> str:
    if position is None:
        return ""
    line = text[max(0, text.rfind("\n", 0, position - 1) + 1) :][:120]
    return f" (at: {' '.join(line.split())})"


def take(
    connection: Connection, read: Callable[[], Inventory], set_aside: Callable[[Inventory], None], *, wait_s: float
) -> Inventory:
    """All tables locked, in one order and at once or not at all; views first, as their readers lock them before the tables.

    Nobody waits for us longer than a moment: first we only try, then we wait briefly, let go and try again.
    set_aside: moves the views; run within what is let go of when a lock is not to be had.
    Raises RolledBack (`quarantine_locked`).
    """
    deadline_s, tries = time.monotonic() + wait_s, 0
    while True:
        tries += 1
        try:
            with connection.transaction():
                found = read()
                _wait_at_most(connection, _PATIENCE_MS)
                set_aside(found)
                _lock(connection, found.tables, at_once=tries <= _POLITE_TRIES)
                _wait_at_most(connection, None)
        except _BUSY as cause:
            if time.monotonic() >= deadline_s:
                raise RolledBack(
                    f"the tables could not be had within {wait_s:.0f} s: {cause.diag.message_primary}",
                    code="quarantine_locked", hint="Others use these tables; run again when they are done.", retryable=True,
                ) from cause  # fmt: skip
        else:
            return found
        time.sleep(random.uniform(*_PAUSE_S))  # noqa: S311 - no secret: who comes again, comes at another moment


def _lock(connection: Connection, tables: Sequence[str], *, at_once: bool) -> None:
    if tables:
        listed = ", ".join(f"ONLY {table}" for table in tables)
        connection.execute(f"LOCK TABLE {listed} IN ACCESS EXCLUSIVE MODE{' NOWAIT' if at_once else ''}".encode())


def _wait_at_most(connection: Connection, limit_ms: int | None) -> None:
    """A lock at most so long, and a whole statement at most twice as long: less than PostgreSQL waits before it ends somebody."""
    lock, whole = (_SETTINGS["lock_timeout"], "0") if limit_ms is None else (f"{limit_ms}ms", f"{limit_ms * 2}ms")
    connection.execute("SELECT set_config('lock_timeout', %s, true), set_config('statement_timeout', %s, true)", (lock, whole))


@contextlib.contextmanager
def explained() -> Iterator[None]:
    """PostgreSQL's refusals as ours. A lost link stays what it is: psycopg.OperationalError."""
    try:
        yield
    except AutopilotError:
        raise
    except (psycopg.OperationalError, psycopg.InterfaceError) as cause:
        if cause.diag.sqlstate is None:
            raise
        raise _because(cause) from cause
    except psycopg.Error as cause:
        raise _because(cause) from cause


def _because(cause: psycopg.Error) -> RolledBack:
    detail = f" ({cause.diag.message_detail})" if cause.diag.message_detail else ""
    code, hint = "quarantine_failed", "Do as the message says and run again, or restore into a new database."
    if isinstance(cause, errors.DiskFull):
        code, hint = "no_room_on_server", "Make the server's disk larger, then run again."
    return RolledBack(
        f"the backup could not be put in place: {cause.diag.message_primary or cause}{detail}", code=code, hint=hint
    )
