"""Applies migrations exactly once: statements and ledger rows commit together, or none of them does."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field

from autopilot.clock import Clock, elapsed_ms
from autopilot.errors import RolledBack, Stranded
from autopilot.migrations import alone, failure, recut, wire
from autopilot.migrations.observed import Watch
from autopilot.migrations.segments import Migration
from autopilot.migrations.unit import Part, Unit, gathered, together, units
from autopilot.migrations.wire import Keeping, Limits, Stamp
from autopilot.postgres.message import Answer, Complaint, ConnectionLost, DeadlinePassed, Patience, ask, send
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

    #: The session that the files run on.
    connection: Connection
    #: Another session, for rows of ours that stand outside a file's transaction.
    ledger: Connection
    limits: Limits
    clock: Clock
    chance: random.Random
    #: Finds out on a new session what came of a transaction id: "committed", "aborted" or "unknown".
    settle: Callable[[str], str]
    #: Told after each file: (files done, files in all).
    progress: Callable[[int, int], None]
    #: Who keeps the session with this process id waiting, each in a few words.
    blockers: Callable[[int], tuple[str, ...]] = lambda _pid: ()
    #: Ends a session that ignores a cancel request.
    end_backend: Callable[[int], None] = lambda _pid: None
    #: Told in a sentence what is found of an earlier run's attempt.
    tell: Callable[[str], None] = lambda _sentence: None
    #: Told which named point of the work is reached.
    reached: Callable[[str], None] = lambda _point: None
    #: "auto": all at once where that changes nothing; "push": all at once or not at all; "file": one by one.
    transaction: str = "auto"
    #: How many locks one transaction may surely take there (`unit.lock_room`); None where that is not known.
    lock_room: int | None = None
    #: Told what each transaction did, statement by statement, once it is committed; None = nobody looks.
    watch: Watch | None = None
    #: What else is said within a part, so that the way back loses nothing.
    keeping: Callable[[Part], Keeping] = lambda _part: Keeping()


@dataclass(slots=True)
class _Flight:
    """How far this run has come."""

    done: list[Applied] = field(default_factory=list)
    #: The version whose session settings are in force.
    live: str | None = None
    #: Whether the session is as at first.
    fresh: bool = False
    #: Who was seen in the way while the last message waited.
    seen: tuple[str, ...] = ()


def apply(migrations: tuple[Migration, ...], target: Target, stamp: Stamp) -> tuple[Applied, ...]:
    """Runs what is not yet done of `migrations`, in order, each with its ledger row.

    All of them commit at once where that changes nothing else (see `unit.units`).
    Raises RolledBack when nothing of them is in, Stranded when some of them are; KeyboardInterrupt passes
    through after the open transaction is rolled back.
    """
    flight = _Flight()
    begun = alone.begun(target.ledger, tuple(m.version for m in migrations))
    left = tuple(recut.as_begun(m, begun[m.version]) if m.version in begun else m for m in migrations)
    whole = _at_once(left, target)
    while left:
        now = left if whole else left[:1]
        begun_s = target.clock.monotonic_s()
        try:
            for unit in units(now, transaction="push"):
                _run(unit, target, stamp, flight)
        except recut.CommitsByItself as found:
            left = tuple(recut.with_alone(m, found.position) if m.version == found.version else m for m in left)
            whole = whole and _at_once(left, target)
            continue
        except (RolledBack, Stranded) as cause:
            raise failure.after(cause, done=tuple(a.file for a in flight.done), migrations=migrations) from cause
        ms = elapsed_ms(target.clock, begun_s)
        flight.done += [Applied(version=m.version, file=m.file.file, statements=len(m.statements), duration_ms=ms) for m in now]
        left = left[len(now) :]
        target.progress(len(flight.done), len(migrations))
        target.reached("A3")
    return tuple(flight.done)


def _at_once(migrations: tuple[Migration, ...], target: Target) -> bool:
    return together(migrations, transaction=target.transaction, lock_room=target.lock_room)


def _run(unit: Unit, target: Target, stamp: Stamp, flight: _Flight) -> None:
    """A transaction or a stand-alone statement, unless an earlier run has done it."""
    part = unit.parts[0]
    if not part.migration.transactional:
        mark = alone.progress(target.ledger, part.migration.version).get(part.number)
        if mark is not None and mark.state == "done":
            return
        if part.segment.kind == "alone":
            _make_ready(part, target, flight)
            begun_s = target.clock.monotonic_s()
            alone.run(
                part, target.connection, target.ledger, patience=_patience(target, flight, point="A10"),
                run_id=stamp.run_id, mark=mark, reached=target.reached, tell=target.tell,
            )  # fmt: skip
            if target.watch is not None:
                target.watch.ran_alone(part, elapsed_ms(target.clock, begun_s))
            target.reached("A11")
            unit = Unit(parts=(part.closing(),))
    _transaction(unit, target, stamp, flight)


def _make_ready(part: Part, target: Target, flight: _Flight) -> None:
    """A file begins on a session that is as at first; within a file its own settings last.

    Raises what `ask` raises.
    """
    if flight.live == part.migration.version:
        texts = wire.impatient_again(part, target.limits)
    else:
        texts = () if flight.fresh else wire.fresh(target.limits)
        texts += wire.settings_left(part)
    if texts:
        complaint = ask(target.connection, ";\n".join(texts), timeout_s=30).complaint
        if complaint is not None:
            raise failure.not_ready(complaint, part)
    flight.live, flight.fresh = part.migration.version, False


def _patience(target: Target, flight: _Flight, *, point: str, parts: int = 1) -> Patience:
    def waiting(pid: int) -> None:
        flight.seen = target.blockers(pid) or flight.seen

    return Patience(
        timeout_s=target.limits.apply_timeout_s * parts,
        waiting=waiting,
        sent=lambda: target.reached(point),
        end_backend=target.end_backend,
    )


def _transaction(unit: Unit, target: Target, stamp: Stamp, flight: _Flight) -> None:
    """One transaction, tried again while a lock is taken; nothing is held between tries."""
    tries = max(1, target.limits.lock_tries)
    for attempt in range(1, tries + 1):
        complaint, error = _attempt(unit, target, stamp, flight, attempt=attempt)
        if error is None:
            return
        if complaint is None or complaint.sqlstate not in _TRY_AGAIN or attempt == tries:
            raise error
        target.clock.sleep(target.chance.uniform(0.5, 1.5) * min(8.0, 0.125 * 2**attempt))


def _attempt(
    unit: Unit, target: Target, stamp: Stamp, flight: _Flight, *, attempt: int
) -> tuple[Complaint | None, Exception | None]:
    target.reached("A1")
    xid: str | None = None
    flight.seen = ()
    parts, limits = unit.parts[:1], wire.patient(unit, target.limits)
    try:
        if target.watch is not None:
            target.watch.begun(target.connection)
        for parts in gathered(unit.parts):
            _make_ready(parts[0], target, flight)
            then = wire.fresh(limits) if len(unit.parts) > 1 else ()
            opens = wire.opening(unit, limits) if xid is None else ()
            look = None if target.watch is None else target.watch.look
            message = wire.message(parts, stamp, target.connection, opens=opens, then=then, look=look, keeping=target.keeping)
            patience = _patience(target, flight, point="A2", parts=len(parts))
            answer = send(target.connection, message.text, patience=patience, copy_data=message.copy_rows)
            if answer.complaint is not None:
                met = message.met(answer)
                _roll_back(target.connection)
                flight.live, flight.fresh = (None, False) if parts[0].number == 0 else (flight.live, False)
                recut.raise_if_it_commits(answer, met)
                return answer.complaint, failure.rejected(answer, met, tries=attempt, blockers=flight.seen)
            xid = _sound(answer, message, target.connection, xid)
            if target.watch is not None:
                target.watch.ran(message, answer)
            if then:
                flight.live, flight.fresh = None, True
    except (ConnectionLost, DeadlinePassed) as cause:
        raise failure.interrupted(parts, cause) from cause
    except KeyboardInterrupt:
        _roll_back(target.connection)
        raise
    target.reached("A6")
    return None, _commit(unit, target, flight, str(xid))


def _commit(unit: Unit, target: Target, flight: _Flight, xid: str) -> Exception | None:
    """Sends COMMIT, and with it what makes the session fresh for the next file.

    When the answer does not come, the server is asked what came of the transaction.
    """
    part = unit.parts[-1]
    text = ";\n".join(("COMMIT", *wire.fresh(target.limits))) if part.last else "COMMIT"
    patience = Patience(
        timeout_s=target.limits.apply_timeout_s, sent=lambda: target.reached("A7"), end_backend=target.end_backend
    )
    try:
        reply = send(target.connection, text, patience=patience)
    except (ConnectionLost, DeadlinePassed) as cause:
        return failure.after_doubt(target.settle(xid), unit, cause)
    except KeyboardInterrupt:
        # the request is out: find out what came of it before anything else is said
        if target.settle(xid) == "committed":
            return None
        raise
    target.reached("A8")
    if target.watch is not None:
        target.watch.committed()
    if not reply.finished or reply.finished[0][0] != "COMMIT":
        return failure.rejected_commit(reply.complaint, part)
    if part.last:
        flight.live, flight.fresh = None, reply.complaint is None
    return None


def _sound(answer: Answer, message: wire.Message, connection: Connection, xid: str | None) -> str | None:
    """The transaction's id, where it is the same before and after each part; `xid` is what an earlier message gave.

    Raises RolledBack or Stranded, after a rollback.
    """
    for envelope in message.envelopes:
        before, after = _xid(answer, envelope.xid_before), _xid(answer, envelope.xid_after)
        xid = xid or before
        if after is None or not before == after == xid:
            _roll_back(connection)
            raise failure.row_gone(envelope.part) if after is None else failure.escaped(envelope.part)
    return xid


def _xid(answer: Answer, index: int) -> str | None:
    row = answer.finished[index][1]
    return row[0] if row else None


def _roll_back(connection: Connection) -> None:
    """Leaves the failed transaction; a session that cannot even do that is closed, and the server rolls back."""
    if connection.closed:
        return
    try:
        ask(connection, "ROLLBACK", timeout_s=10)
    except (ConnectionLost, DeadlinePassed):
        connection.close()
