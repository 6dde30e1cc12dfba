"""Applies migrations exactly once: statements and ledger rows commit together, or none of them does."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from autopilot.clock import Clock, elapsed_ms
from autopilot.errors import RolledBack, Stranded
from autopilot.migrations import alone, failure, wire
from autopilot.migrations.segments import Migration
from autopilot.migrations.unit import Part, Unit, units
from autopilot.migrations.wire import Limits, Stamp
from autopilot.postgres.message import Complaint, ConnectionLost, DeadlinePassed, ask
from autopilot.postgres.session import Connection

#: lock_not_available, deadlock_detected: the whole transaction lets go and tries again.
_TRY_AGAIN = {"55P03", "40P01"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    version: str
    file: str
    statements: int
    duration_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where and how to apply."""

    connection: Connection
    limits: Limits
    clock: Clock
    chance: random.Random
    #: Finds out on a new session what came of a transaction id: "committed", "aborted" or "unknown".
    settle: Callable[[str], str]
    #: Told after each file: (files done, files in all).
    progress: Callable[[int, int], None]


def apply(migrations: tuple[Migration, ...], target: Target, stamp: Stamp) -> tuple[Applied, ...]:
    """Runs what is not yet done of `migrations`, in order, each with its ledger row.

    All of them commit at once where that changes nothing else (see `unit.units`).
    Raises RolledBack when nothing of them is in, Stranded when some of them are; KeyboardInterrupt passes
    through after the open transaction is rolled back.
    """
    done: list[Applied] = []
    finished_files = 0
    for unit in units(migrations):
        begun_s = target.clock.monotonic_s()
        try:
            _run(unit, target, stamp)
        except RolledBack as cause:
            raise failure.after(cause, done=tuple(a.file for a in done), migrations=migrations) from cause
        ms = elapsed_ms(target.clock, begun_s)
        for part in unit.parts:
            if part.last:
                file = part.migration.file
                finished_files += 1
                done.append(
                    Applied(version=file.version, file=file.file, statements=len(part.migration.statements), duration_ms=ms)
                )
        target.progress(finished_files, len(migrations))
    return tuple(done)


def _run(unit: Unit, target: Target, stamp: Stamp) -> None:
    part = unit.parts[0]
    if not part.migration.transactional:
        mark = alone.progress(target.connection, part.migration.version).get(part.number)
        if mark is not None and mark.state == "done":
            return
        if part.segment.kind == "alone":
            alone.run(part, target.connection, timeout_s=target.limits.apply_timeout_s, run_id=stamp.run_id, mark=mark)
            unit = Unit(parts=(part.closing(),))
    _transaction(unit, target, stamp)


def _transaction(unit: Unit, target: Target, stamp: Stamp) -> None:
    """One transaction, tried again while a lock is taken; nothing is held between tries."""
    tries = max(1, target.limits.lock_tries)
    for attempt in range(1, tries + 1):
        complaint, error = _attempt(unit, target, stamp, attempt=attempt)
        if error is None:
            return
        if complaint is None or complaint.sqlstate not in _TRY_AGAIN or attempt == tries:
            raise error
        target.clock.sleep(target.chance.uniform(0.5, 1.5) * min(8.0, 0.125 * 2**attempt))


def _attempt(unit: Unit, target: Target, stamp: Stamp, *, attempt: int) -> tuple[Complaint | None, Exception | None]:
    xid: str | None = None
    try:
        for part in unit.parts:
            envelope = wire.envelope(part, stamp, target.connection, limits=target.limits, opens=xid is None)
            answer = ask(target.connection, envelope.text, timeout_s=target.limits.apply_timeout_s)
            if answer.complaint is not None:
                _roll_back(target.connection)
                return answer.complaint, failure.rejected(answer, part, envelope, tries=attempt)
            xid = xid or answer.finished[envelope.xid_before][1][0]
            if xid is None or xid != answer.finished[envelope.xid_after][1][0]:
                _roll_back(target.connection)
                raise _escaped(part)
    except (ConnectionLost, DeadlinePassed) as cause:
        raise failure.interrupted(part, cause) from cause
    except KeyboardInterrupt:
        _roll_back(target.connection)
        raise
    return None, _commit(unit, target, str(xid))


def _commit(unit: Unit, target: Target, xid: str) -> Exception | None:
    """Sends COMMIT. When its answer does not come, the server is asked what came of the transaction."""
    try:
        reply = ask(target.connection, "COMMIT", timeout_s=target.limits.apply_timeout_s)
    except (ConnectionLost, DeadlinePassed) as cause:
        return _after_doubt(target.settle(xid), unit, cause)
    except KeyboardInterrupt:
        # the request is out: find out what came of it before anything else is said
        if target.settle(xid) == "committed":
            return None
        raise
    return None if reply.complaint is None else failure.rejected_commit(reply.complaint, unit.parts[-1].migration)


def _after_doubt(outcome: str, unit: Unit, cause: Exception) -> Exception | None:
    files = ", ".join(part.migration.file.file for part in unit.parts)
    if outcome == "committed":
        return None
    if outcome == "aborted":
        error: Exception = RolledBack(
            f"The connection broke while {files} was being committed, and the server undid it.",
            code="connection_lost",
            hint="Run again.",
            retryable=True,
        )
    else:
        error = Stranded(
            f"The connection broke while {files} was being committed, and the server cannot be asked what came of it.",
            code="commit_in_doubt",
            state="Either wholly applied and recorded or not at all; the server's ledger knows which.",
            hint="Run again as soon as the server answers: it is settled first, and nothing is applied twice.",
            retryable=True,
        )
    error.__cause__ = cause
    return error


def _escaped(part: Part) -> Stranded:
    return Stranded(
        f"{part.migration.file.file} ended its own transaction on the way (a procedure that commits?).",
        code="partially_applied",
        state="What the file did before that stays; the rest was rolled back, and the ledger does not list the file.",
        hint="Look at what the file did, undo or finish it by hand, and take the COMMIT out of the procedure it calls.",
    )


def _roll_back(connection: Connection) -> None:
    """Leaves the failed transaction; a session that cannot even do that is closed, and the server rolls back."""
    if connection.closed:
        return
    try:
        ask(connection, "ROLLBACK", timeout_s=10)
    except (ConnectionLost, DeadlinePassed):
        connection.close()
