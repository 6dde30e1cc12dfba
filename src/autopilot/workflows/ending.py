"""How a release ends: written to the audit trail, told to the channel, made into one outcome."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator, Mapping

import psycopg

from autopilot.audit import journal
from autopilot.clock import elapsed_ms
from autopilot.errors import AutopilotError, Locked, Refused, RolledBack, Stopped, Stranded, UsageError, unexpected
from autopilot.events import Noted
from autopilot.migrations import alone, history
from autopilot.migrations.alone import Mark
from autopilot.postgres.bounded import patient
from autopilot.postgres.message import ConnectionLost, DeadlinePassed
from autopilot.postgres.session import RUN_PREFIX, Connection, connect
from autopilot.workflows.logbook import Logbook, Wish
from autopilot.workflows.notices import composed, deliver, failure, written
from autopilot.workflows.outcome import Outcome, outcome_of
from autopilot.workflows.world import World

#: A session that is there answers a bare question in this time.
_ANSWER_S = 5.0
#: Where only the server knows what is in, it is called for this long.
_CALL_S = 30.0


def ended_badly(world: World, wish: Wish, book: Logbook, error: AutopilotError) -> Outcome:
    """Tells the channels, unless the fault is in the call itself, and makes the outcome."""
    if world.settings.channels and _concerns_others(book, error):
        notice = failure(world, wish, book, error)
        deliver(world, fresh=[composed(world, notice, run_id=wish.run.run_id, what="end")], anew=True)
    return outcome_of(world, wish, book, error.outcome, summary=error.message, error=error)


def _concerns_others(book: Logbook, error: AutopilotError) -> bool:
    return book.announced or not isinstance(error, UsageError | Locked | Stopped)


def as_error(cause: BaseException, book: Logbook) -> AutopilotError:
    """Whatever ended the story, as one of our errors."""
    if isinstance(cause, AutopilotError):
        return cause
    if isinstance(cause, KeyboardInterrupt):
        return _stopped(cause, book)
    return _lost(cause, book) if isinstance(cause, psycopg.Error | ConnectionLost | DeadlinePassed) else unexpected(cause)


def record_failure(world: World, wish: Wish, book: Logbook, error: AutopilotError, connection: Connection) -> AutopilotError:
    """Writes how it ended, while the lock is still held; returns the error as the server's own books tell it.

    What cannot be written now, the next run settles.
    """
    if not book.opened:
        return error
    call_s = 0.0 if book.migration_log_id is None else _CALL_S
    try:
        with _open_journal(world, wish, connection, call_s=call_s) as journal_session:
            if book.migration_log_id is not None:
                _divide(book, history.read(journal_session).applied)
                error = found_out(error, book, alone.begun(journal_session, book.pending))
            state = "stopped" if isinstance(error, Stopped) else error.outcome
            with journal_session.transaction():
                _record_migration(world, wish, book, error, journal_session)
                journal.close_run(journal_session, wish.run.run_id, state=state, notes=error.message)
                if _concerns_others(book, error):
                    notice = failure(world, wish, book, error)
                    written(world, journal_session, notice, run_id=wish.run.run_id, what="end")
    except (psycopg.Error, AutopilotError) as trouble:
        text = f"How this run ended could not be written to the database ({type(trouble).__name__}); the next run settles it."
        world.tell(Noted(text=text, level="warning"))
    return error


def _divide(book: Logbook, applied: frozenset[str]) -> None:
    """Which versions of this run are in, by the ledger."""
    everything = (*book.applied, *book.pending)
    book.applied = tuple(v for v in everything if v in applied)
    book.pending = tuple(v for v in everything if v not in applied)


def found_out(error: AutopilotError, book: Logbook, begun: Mapping[str, Mapping[int, Mark]]) -> AutopilotError:
    """What ended the run while it applied, told with what the ledger has of it; `begun` are parts of pending files."""
    if error.code == "commit_in_doubt" and not book.pending:
        error.state = "By now the server can be asked: all of it is applied and recorded."
    if isinstance(error, Stopped) and book.applied and book.pending:
        error.state = _in_and_out(book, begun)
    if error.code != "database_lost":
        return error
    if not book.pending:
        return _lost_after(error.message, book, hint=error.hint)
    if book.applied or begun:
        error.state = _in_and_out(book, begun)
        return error
    return RolledBack(error.message, code=error.code, hint=error.hint, retryable=True)


def _in_and_out(book: Logbook, begun: Mapping[str, Mapping[int, Mark]]) -> str:
    found = (
        ("Applied and recorded", book.applied),
        ("Begun, and gone on with by the next run", [_progress(version, marks) for version, marks in begun.items()]),
        ("Not applied", [v for v in book.pending if v not in begun]),
    )
    return " ".join(f"{what}: {', '.join(which)}." for what, which in found if which)


def _progress(version: str, marks: Mapping[int, Mark]) -> str:
    done = sum(mark.state == "done" for mark in marks.values())
    return f"{version} ({done} of its parts done{'' if done == len(marks) else ', one more under way'})"


@contextlib.contextmanager
def _open_journal(world: World, wish: Wish, connection: Connection, *, call_s: float) -> Iterator[Connection]:
    """The run's own session where it still answers, else a new one. Raises what `connect` does."""
    if _answers(connection):
        yield connection
        return
    with contextlib.closing(_called(world, wish, call_s=call_s)) as fresh:
        yield fresh


def _answers(connection: Connection) -> bool:
    try:
        with patient(connection, _ANSWER_S):
            connection.execute("SELECT")
    except psycopg.Error:
        return False
    return True


def _called(world: World, wish: Wish, *, call_s: float) -> Connection:
    """A new session, tried for until `call_s` are over: a server that restarts comes back."""
    deadline_s = world.clock.monotonic_s() + call_s
    while True:
        try:
            return connect(world.database_url, application_name=RUN_PREFIX + wish.run.run_id, timeout_s=_ANSWER_S)
        except Refused:
            if world.clock.monotonic_s() >= deadline_s:
                raise
        world.clock.sleep(0.5)


def _record_migration(world: World, wish: Wish, book: Logbook, error: AutopilotError, connection: Connection) -> None:
    ms = elapsed_ms(world.clock, book.begun_s)
    if book.migration_log_id is None:
        journal.migration_refused(
            connection,
            wish.run,
            versions=book.pending,
            notes=error.state,
            error=error.message,
            backup_file=book.backup_name,
            duration_ms=ms,
        )
    elif not book.pending:
        # what failed afterwards has its own row
        journal.migration_ended(connection, book.migration_log_id, status="success", notes=error.state, duration_ms=ms)
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


def _lost(cause: Exception, book: Logbook) -> AutopilotError:
    """A session of our own failed: the database went away, or refused a row of ours. What is in, `found_out` tells."""
    words = " ".join(str(cause).split())
    hint = "Check that the server answers, then run again: it is settled first."
    if book.migration_log_id is None:
        return Refused(f"The database could not be worked with: {words}", code="database_lost", hint=hint, retryable=True)
    message = f"The database went away: {words}"
    if not book.pending:
        return _lost_after(message, book, hint=hint)
    return Stranded(
        message,
        code="database_lost",
        state="What was not committed is rolled back by the server; it could not be asked what is in.",
        hint=hint,
        retryable=True,
    )


def _lost_after(message: str, book: Logbook, *, hint: str) -> Stranded:
    return Stranded(
        message,
        code="database_lost",
        state=f"The migrations are applied and recorded; the deploy is {'not ' if book.deploy is None else ''}proven.",
        hint=hint,
        retryable=True,
    )
