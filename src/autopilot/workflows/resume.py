"""Settles what an earlier run left open: orphan sessions → runs → migration rows → deploys. Runs first everywhere.

Whoever holds the lock knows that every other run still called running is dead.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from autopilot.audit import journal, ways_back
from autopilot.audit.journal import OpenRun
from autopilot.clock import Clock
from autopilot.errors import Refused
from autopilot.events import Step
from autopilot.migrations import history
from autopilot.migrations.history import History
from autopilot.postgres import orphans_of_runs
from autopilot.postgres.session import Connection
from autopilot.rollback.quarantine import staged
from autopilot.rollback.snapshot import encode, read
from autopilot.workflows import replay_slot

#: Told of each dead run, what became of it, and whether all it had to apply is in; in the transaction that gives it its end.
Died = Callable[[OpenRun, str, bool], None]
#: A statement of a dead run gets this long to end by itself.
ORPHAN_GRACE_S = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """What was found and how it was put in order."""

    sentences: tuple[str, ...]
    #: migration_log id of a migration that is in and whose deploy nobody proved.
    deploy_owed: int | None


def _nobody(_run: OpenRun, _words: str, _is_whole: bool) -> None:
    """Nobody is told of it."""


def settle(connection: Connection, *, run_id: str, clock: Clock, step: Step, died: Died = _nobody) -> Settled:
    """Leaves no row `running`, `pending`, `triggered` or `building` that belongs to a dead run.

    Raises Refused (`orphan_still_running`) when a dead run's statement cannot be ended.
    """
    sentences = _end_orphans(connection, clock=clock, step=step)
    sentences += replay_slot.sweep(connection, run_id=run_id)
    sentences += (f"{name}, which an earlier run left half ready, is gone" for name in staged.sweep(connection))
    found = history.read(connection)
    for run in journal.left_open(connection, but=run_id):
        sentences.append(_settle_run(connection, run, found, died))
    for deployment_id in journal.deployments_left_open(connection):
        journal.deployment_moved(connection, deployment_id, status="failed", notes="its run ended before the deploy was proven")
    log_id = ways_back.unended(connection)
    if log_id is not None:
        ways_back.ended(connection, log_id, after=encode(read(connection)).decode())
    return Settled(sentences=tuple(sentences), deploy_owed=journal.deploy_owed(connection))


def _end_orphans(connection: Connection, *, clock: Clock, step: Step) -> list[str]:
    """Waits for statements of dead runs, then ends their sessions: what they hold is not known until they are gone."""
    deadline_s = clock.monotonic_s() + ORPHAN_GRACE_S
    found = orphans_of_runs.alive(connection)
    waiting = found
    while waiting and clock.monotonic_s() < deadline_s and any(o.is_busy for o in waiting):
        step.progress(int(ORPHAN_GRACE_S - (deadline_s - clock.monotonic_s())), int(ORPHAN_GRACE_S), "s")
        clock.sleep(0.2)
        waiting = orphans_of_runs.alive(connection)
    for orphan in waiting:
        orphans_of_runs.terminate(connection, orphan.pid)
    deadline_s = clock.monotonic_s() + 5
    while waiting and clock.monotonic_s() < deadline_s:
        clock.sleep(0.1)
        waiting = orphans_of_runs.alive(connection)
    if waiting:
        raise Refused(
            f"A session of the dead run {waiting[0].run_id} (pid {waiting[0].pid}) is still working and cannot be ended.",
            code="orphan_still_running",
            hint=f"End it as a superuser: SELECT pg_terminate_backend({waiting[0].pid}); then run again.",
            retryable=True,
        )
    return [f"a session of the dead run {o.run_id} was still open on the server and has ended" for o in found]


def _settle_run(connection: Connection, run: OpenRun, found: History, died: Died) -> str:
    words = verdict(run, found)
    with connection.transaction():
        died(run, words, set(run.versions) <= found.applied)
        return _ended(connection, run, found, words)


def _ended(connection: Connection, run: OpenRun, found: History, words: str) -> str:
    if run.migration_log_id is not None:
        status = "success" if set(run.versions) <= found.applied else "failure"
        journal.migration_ended(
            connection, run.migration_log_id, status=status, notes=words, duration_ms=None,
            error=None if status == "success" else "the run ended without a word",
        )  # fmt: skip
    if run.has_end:
        return f"the migration of run {run.run.run_id} had no end written: {words}"
    journal.close_run(connection, run.run.run_id, state="abandoned", notes=words)
    return f"run {run.run.run_id} had ended without a word: {words}"


def verdict(run: OpenRun, found: History) -> str:
    """What became of a dead run's migrations, from the ledger and the progress rows."""
    if run.migration_log_id is None:
        return "no migration was under way in it"
    inside = [v for v in run.versions if v in found.applied]
    begun = [v for v in run.versions if v in found.begun]
    outside = [v for v in run.versions if v not in found.applied | found.begun]
    if len(inside) == len(run.versions):
        return f"all it had to apply is in ({_listed(inside)})"
    if len(outside) == len(run.versions):
        return f"nothing of it is in ({_listed(outside)} not applied)"
    parts = ((inside, "in"), (begun, "begun and gone on with from where it stands"), (outside, "not"))
    return ", ".join(f"{_listed(versions)} {words}" for versions, words in parts if versions)


def _listed(versions: Sequence[str]) -> str:
    return ", ".join(versions[:5]) + (f" and {len(versions) - 5} more" if len(versions) > 5 else "")
