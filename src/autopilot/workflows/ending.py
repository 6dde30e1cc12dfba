"""How a release ends: written to the audit trail, told to the channel, made into one outcome."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator

import psycopg

from autopilot.alerts import wording
from autopilot.audit import journal
from autopilot.clock import elapsed_ms
from autopilot.errors import AutopilotError, Locked, Refused, Stopped, Stranded, UsageError, unexpected
from autopilot.events import Noted
from autopilot.migrations import history
from autopilot.postgres.session import RUN_PREFIX, Connection, session
from autopilot.workflows.logbook import Logbook, Wish
from autopilot.workflows.notices import as_told, tell_channel
from autopilot.workflows.outcome import Outcome
from autopilot.workflows.world import World


def ended_badly(world: World, wish: Wish, book: Logbook, error: AutopilotError) -> Outcome:
    """Tells the channel, unless the fault is in the call itself, and makes the outcome."""
    if book.announced or not isinstance(error, UsageError | Locked | Stopped):
        release_now = as_told(world, wish, book)
        tell_channel(world, wording.failed(release_now, message=error.message, state=error.state, hint=error.hint))
    return outcome_of(world, wish, book, error.outcome, summary=error.message, error=error)


def as_error(cause: BaseException, book: Logbook) -> AutopilotError:
    """Whatever ended the story, as one of our errors."""
    if isinstance(cause, AutopilotError):
        return cause
    if isinstance(cause, KeyboardInterrupt):
        return _stopped(cause, book)
    return _lost(cause, book) if isinstance(cause, psycopg.Error) else unexpected(cause)


def record_failure(world: World, wish: Wish, book: Logbook, error: AutopilotError, connection: Connection) -> None:
    """Writes how it ended, while the lock is still held. What cannot be written now, the next run settles."""
    if not book.opened:
        return
    state = "stopped" if isinstance(error, Stopped) else error.outcome
    try:
        with _open_journal(world, wish, connection) as journal_session:
            _divide(book, history.read(journal_session).applied, error)
            _record_migration(world, wish, book, error, journal_session)
            journal.close_run(journal_session, wish.run.run_id, state=state, notes=error.message)
    except (psycopg.Error, AutopilotError) as trouble:
        text = f"How this run ended could not be written to the database ({type(trouble).__name__}); the next run settles it."
        world.tell(Noted(text=text, level="warning"))


def _divide(book: Logbook, applied: frozenset[str], error: AutopilotError) -> None:
    """Which versions of this run are in, by the ledger."""
    if book.migration_log_id is None:
        return
    everything = (*book.applied, *book.pending)
    book.applied = tuple(v for v in everything if v in applied)
    book.pending = tuple(v for v in everything if v not in applied)
    if isinstance(error, Stopped) and book.applied and book.pending:
        error.state = f"Applied and recorded: {', '.join(book.applied)}. Not applied: {', '.join(book.pending)}."


@contextlib.contextmanager
def _open_journal(world: World, wish: Wish, connection: Connection) -> Iterator[Connection]:
    if not connection.closed and not connection.broken:
        yield connection
        return
    with session(world.database_url, application_name=RUN_PREFIX + wish.run.run_id) as fresh:
        yield fresh


def _record_migration(world: World, wish: Wish, book: Logbook, error: AutopilotError, connection: Connection) -> None:
    ms = elapsed_ms(world.clock, book.begun_s)
    if book.migration_log_id is None:
        backup_file = None if book.backup is None else book.backup.manifest.file
        journal.migration_refused(
            connection,
            wish.run,
            versions=book.pending,
            notes=error.state,
            error=error.message,
            backup_file=backup_file,
            duration_ms=ms,
        )
    elif book.deploy is None and not book.pending:
        return  # the migration itself is in; what failed afterwards has its own row
    else:
        journal.migration_ended(
            connection, book.migration_log_id, status="failure", notes=error.state, duration_ms=ms, error=error.message
        )


def _stopped(cause: KeyboardInterrupt, book: Logbook) -> Stopped:
    number = int(getattr(cause, "signal_number", signal.SIGINT))
    if book.migration_log_id is None:
        return Stopped(
            number, message="Stopped by a signal before anything was applied.", state="Nothing was touched.", outcome="refused"
        )
    if not book.pending:
        return Stopped(
            number,
            message="Stopped by a signal after the migrations were applied.",
            state="The migrations are applied and recorded; the deploy is not proven. The next run makes up for it.",
            outcome="stranded",
        )
    left = " ".join(note for note in getattr(cause, "__notes__", ()) if note)
    return Stopped(
        number,
        message="Stopped by a signal while migrations were being applied.",
        state=f"What was under way is cancelled. {left}" if left else None,
        outcome="stranded" if left else "rolled_back",
    )


def _lost(cause: psycopg.Error, book: Logbook) -> AutopilotError:
    """A session of our own failed: the database went away, or refused a row of ours."""
    words = " ".join(str(cause).split())
    hint = "Check that the server answers, then run again: it is settled first."
    if book.migration_log_id is None:
        return Refused(f"The database could not be worked with: {words}", code="database_lost", hint=hint, retryable=True)
    if not book.pending:
        return Stranded(
            f"The database went away after the migrations were applied: {words}",
            code="database_lost",
            state="The migrations are applied and recorded; the deploy is not proven.",
            hint=hint,
            retryable=True,
        )
    return Stranded(  # parts of a file may be in: "as it was" would be a guess
        f"The database went away: {words}",
        code="database_lost",
        state="What was not committed is rolled back by the server; its ledger tells what is in.",
        hint=hint,
        retryable=True,
    )


def outcome_of(world: World, wish: Wish, book: Logbook, outcome: str, *, summary: str, error: AutopilotError | None) -> Outcome:
    return Outcome(
        run_id=wish.run.run_id,
        outcome=outcome,
        applied=book.applied,
        pending=book.pending,
        backup=book.backup,
        rehearsal=book.rehearsal,
        deploy=book.deploy,
        findings=book.findings,
        error=error,
        duration_ms=elapsed_ms(world.clock, book.begun_s),
        summary=summary,
    )
