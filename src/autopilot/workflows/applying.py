"""Applies cut migrations to the target: log row → files, each with its ledger row → log row."""

from __future__ import annotations

import contextlib

import psycopg

from autopilot.audit import journal, ways_back
from autopilot.audit.journal import Run
from autopilot.clock import elapsed_ms
from autopilot.errors import AutopilotError, Refused
from autopilot.events import Noted, told
from autopilot.measures import counted
from autopilot.migrations import apply as applying
from autopilot.migrations.segments import Migration
from autopilot.migrations.unit import lock_room
from autopilot.migrations.wire import Limits, Stamp
from autopilot.postgres import lock
from autopilot.postgres.blockers import blockers, end_backend
from autopilot.postgres.bounded import patient
from autopilot.postgres.session import READER_NAME, RUN_PREFIX, Connection, Server, connect, session
from autopilot.rollback.snapshot import encode, read
from autopilot.workflows import cutting, planning, replay_slot
from autopilot.workflows.held_back import HeldBack, held_back
from autopilot.workflows.logbook import Logbook, Wish
from autopilot.workflows.world import World


def apply_and_record(
    world: World, wish: Wish, book: Logbook, migrations: tuple[Migration, ...], server: Server, *,
    connection: Connection, holder: Connection, after_deploy: bool = False,
) -> None:  # fmt: skip
    """Applies `migrations`, which are `book.pending`, and moves them to `book.applied`.

    Raises Refused (`lock_lost`), RolledBack and Stranded.
    """
    apart = cutting.apart(world, migrations, server)
    files = tuple(m.file.file for m in migrations)
    count = counted(len(files), "migration")
    with told(world.tell, world.clock, "apply", f"Applying {count} to {world.settings.environment_name}") as step:
        if not lock.is_held(holder):
            raise Refused("The lock was lost before anything was applied.", code="lock_lost", hint="Run again.", retryable=True)
        book.migration_log_id = journal.migration_begun(
            connection, wish.run, versions=book.pending, notes=f"applying {planning.listed(files)}",
            backup_file=book.backup_name, after_deploy=after_deploy,
        )  # fmt: skip
        book.changes |= {c for m in migrations for c in m.changes}
        kept = _prepare_way_back(world, wish, book, migrations, connection)
        begun_s = world.clock.monotonic_s()
        with session(world.database_url, application_name=RUN_PREFIX + wish.run.run_id) as working:
            target = applying.Target(
                connection=working, ledger=connection, limits=_limits(world, server), clock=world.clock, chance=world.chance,
                settle=lambda xid: what_became_of(world, xid), transaction=world.settings.transaction, reached=world.reached,
                blockers=lambda pid: blockers(holder, pid), end_backend=lambda pid: end_backend(holder, pid),
                tell=lambda sentence: world.tell(Noted(text=sentence)), lock_room=lock_room(server.lock_table),
                progress=lambda done, total: step.progress(done, total, "files"), keeping=kept.keeping,
            )  # fmt: skip
            done = applying.apply(migrations, target, stamp(wish.run))
        book.applied, book.pending = (*book.applied, *(a.version for a in done)), ()
        ways_back.ended(connection, book.migration_log_id, after=encode(read(connection)).decode())
        how = _how(migrations, apart)
        journal.migration_ended(
            connection, book.migration_log_id, status="success", duration_ms=elapsed_ms(world.clock, begun_s),
            notes=f"{planning.listed(files)} applied, {how}",
        )  # fmt: skip
        step.says(f"{', '.join(files) if len(files) < 4 else f'{len(done)} files'}, {how}")


def _prepare_way_back(
    world: World, wish: Wish, book: Logbook, migrations: tuple[Migration, ...], connection: Connection
) -> HeldBack:
    """What is kept while the files apply, and the catalog as it is before: written down before the first statement."""
    log_id, r = book.migration_log_id, book.rehearsal
    if log_id is None:  # pragma: no cover - its row is written just before
        raise AssertionError
    kept = held_back(
        connection, migrations, None if r is None else r.transactions, kept_as=f"{wish.run.run_id}.{log_id}",
        keep_days=world.settings.trash_keep_days, keeps_rows=world.settings.keep_rows != "off",
        not_watched={} if r is None else r.spared,
    )  # fmt: skip
    proof = None if r is None else r.way_back
    loses = kept.loses if proof is None else tuple(dict.fromkeys((*kept.loses, *proof.loses)))
    ways_back.prune(connection, keep_days=world.settings.trash_keep_days)
    ways_back.begun(
        connection, log_id, run_id=wish.run.run_id, kept_as=kept.kept_as, versions=tuple(m.version for m in migrations),
        before=encode(read(connection)).decode(), proven=None if proof is None else proof.proven, loses=loses,
    )  # fmt: skip
    for sentence in loses[:5]:
        world.tell(Noted(text=f"No way back without loss: {sentence}.", level="warning"))
    replay_slot.settle_need(world, book, migrations, loses)
    return kept


def _how(migrations: tuple[Migration, ...], apart: str | None) -> str:
    """How they were committed, in words."""
    if len(migrations) > 1:
        return "in one transaction" if apart is None else "one by one, each with its ledger row"
    return "in one transaction" if migrations[0].transactional else f"in {len(migrations[0].segments)} parts"


def _limits(world: World, server: Server) -> Limits:
    return Limits(
        lock_timeout_s=world.settings.lock_timeout_s,
        gentle_lock_timeout_s=world.settings.gentle_lock_timeout_s,
        lock_tries=world.settings.lock_tries,
        apply_timeout_s=world.settings.apply_timeout_s,
        checks_client=server.checks_client,
    )


def stamp(run: Run) -> Stamp:
    """What a ledger row says of the run."""
    return Stamp(run_id=run.run_id, triggered_by=run.triggered_by, commit_sha=run.commit_sha)


def what_became_of(world: World, xid: str) -> str:
    """Asks the server on a new session how a transaction ended, for as long as it is worth it."""
    deadline_s = world.clock.monotonic_s() + 30
    answer = "unknown"
    while world.clock.monotonic_s() < deadline_s:
        try:
            with (
                contextlib.closing(connect(world.database_url, application_name=READER_NAME, timeout_s=5)) as connection,
                patient(connection, 5),
            ):
                row = connection.execute("SELECT pg_catalog.pg_xact_status(%s::xid8)", (xid,)).fetchone()
                answer = str(row[0]) if row is not None and row[0] is not None else "unknown"
        except (AutopilotError, psycopg.Error):
            answer = "unknown"
        if answer in {"committed", "aborted"}:
            return answer
        world.clock.sleep(0.5)
    return answer
