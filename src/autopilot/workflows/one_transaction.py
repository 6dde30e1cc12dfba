"""The one transaction in which releases are gone back on: all of it is in, or nothing, and which is found out."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable
from typing import TypeVar

import psycopg
from psycopg import errors

from autopilot.errors import AutopilotError, RolledBack, Stopped, Stranded
from autopilot.postgres.bounded import patient
from autopilot.postgres.session import Connection
from autopilot.workflows.applying import what_became_of
from autopilot.workflows.world import World

T = TypeVar("T")
_AS_BEFORE = "Rolled back: the releases are in as before."


def in_one_transaction(world: World, connection: Connection, work: Callable[[], T]) -> T:
    """Does `work` and commits it, asking the server where the answer does not come.

    Raises what `work` raises, with nothing of it in; RolledBack (`undo_locked`, `connection_lost`, `undo_failed`), Stopped,
    and Stranded (`commit_in_doubt`).
    """
    with patient(connection, world.settings.apply_timeout_s):
        try:
            connection.execute("BEGIN")
            row = connection.execute(
                "SELECT pg_catalog.pg_current_xact_id()::text, pg_catalog.set_config('lock_timeout', %s, true)",
                (f"{world.settings.lock_timeout_s * 1000:.0f}ms",),
            ).fetchone()
            done = work()
        except (psycopg.Error, AutopilotError, KeyboardInterrupt) as cause:
            _let_go(connection)
            raise (_as_error(cause) if isinstance(cause, psycopg.Error | KeyboardInterrupt) else cause) from cause
        _commit(world, connection, "" if row is None else str(row[0]))
    return done


def _let_go(connection: Connection) -> None:
    """A link that is gone took its transaction with it."""
    if not connection.closed:
        with contextlib.suppress(psycopg.OperationalError):
            connection.execute("ROLLBACK")


def _as_error(cause: psycopg.Error | KeyboardInterrupt) -> AutopilotError:
    """What ended going back before its COMMIT, told as ours: nothing of it is in."""
    if isinstance(cause, KeyboardInterrupt):
        return Stopped(
            int(getattr(cause, "signal_number", signal.SIGINT)), message="Stopped by a signal while going back.",
            state="Going back was rolled back: the releases are in as before.",
        )  # fmt: skip
    words = cause.diag.message_primary or " ".join(str(cause).split())
    if isinstance(cause, errors.LockNotAvailable | errors.DeadlockDetected | errors.QueryCanceled):
        hint = "Others use these tables; run again when they are done, or wait longer."
        return RolledBack(f"Going back was refused: {words}.", code="undo_locked", hint=hint, state=_AS_BEFORE, retryable=True)
    if isinstance(cause, psycopg.OperationalError):
        return RolledBack(
            f"The connection broke while going back: {words}.", code="connection_lost", hint="Run again when the server answers.",
            state=_AS_BEFORE, retryable=True,
        )  # fmt: skip
    return RolledBack(
        f"Going back failed: {words}.", code="undo_failed", state=_AS_BEFORE,
        hint=cause.diag.message_hint or "Do as the message says; then run again.",
    )  # fmt: skip


def _commit(world: World, connection: Connection, xid: str) -> None:
    """Where the answer does not come, the server is asked what came of it."""
    try:
        connection.execute("COMMIT")
    except (psycopg.OperationalError, KeyboardInterrupt) as cause:
        match what_became_of(world, xid):
            case "committed":
                return
            case "aborted":
                _let_go(connection)
                if isinstance(cause, KeyboardInterrupt):
                    raise _as_error(cause) from cause
                raise RolledBack(
                    "The connection broke while going back was being committed, and the server undid it.",
                    code="connection_lost", hint="Run again.", retryable=True, state=_AS_BEFORE,
                ) from cause  # fmt: skip
        raise Stranded(
            "The connection broke while going back was being committed, and the server cannot be asked what came of it.",
            code="commit_in_doubt", state="Either all of it is undone and recorded, or nothing; the server's ledger knows which.",
            hint="Run `autopilot status` as soon as the server answers.", retryable=True,
        ) from cause  # fmt: skip
