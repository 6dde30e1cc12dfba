"""Releases what was pushed.

read → lock → settle → plan → lint → backup → rehearse → apply + record → deploy → prove → notify

Until *apply* every failure ends as refused: nothing was touched.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, replace

import psycopg

from autopilot.alerts import wording
from autopilot.audit import journal, schema
from autopilot.audit.journal import Run
from autopilot.backups import dump, restore
from autopilot.clock import elapsed_ms
from autopilot.errors import AutopilotError, Refused
from autopilot.events import Noted, told
from autopilot.migrations import apply as applying
from autopilot.migrations import history
from autopilot.migrations.files import Listing
from autopilot.migrations.lint import lint
from autopilot.migrations.plan import Plan, Policy
from autopilot.migrations.segments import Migration
from autopilot.migrations.wire import Limits, Stamp
from autopilot.postgres import clients, embedded, lock
from autopilot.postgres.blockers import blockers, end_backend
from autopilot.postgres.clients import Installation
from autopilot.postgres.pooler import require_direct
from autopilot.postgres.session import (
    READER_NAME,
    RUN_PREFIX,
    Connection,
    Server,
    connect,
    look,
    require_writable,
    session,
)
from autopilot.workflows import planning
from autopilot.workflows.ending import as_error, ended_badly, outcome_of, record_failure
from autopilot.workflows.logbook import Logbook, Wish
from autopilot.workflows.notices import announce, as_told, tell_channel
from autopilot.workflows.outcome import Outcome
from autopilot.workflows.proof import prove, trigger
from autopilot.workflows.reading import reached
from autopilot.workflows.rehearsal import rehearse
from autopilot.workflows.resume import settle
from autopilot.workflows.world import World


@dataclass(frozen=True, slots=True, kw_only=True)
class Tools:
    """The programs a release needs, found before anything is touched."""

    dump_client: Installation | None
    scratch: Installation | None


def release(world: World, wish: Wish) -> Outcome:
    """The release story. Never raises for what goes wrong on the way: the outcome tells it."""
    book = Logbook(begun_s=world.clock.monotonic_s())
    try:
        summary = _released(world, wish, book)
    except (Exception, KeyboardInterrupt) as cause:  # noqa: BLE001 - every end is told, this one too
        return ended_badly(world, wish, book, as_error(cause, book))
    outcome = "released" if book.applied or book.deploy is not None else "nothing_to_do"
    return outcome_of(world, wish, book, outcome, summary=summary, error=None)


def _released(world: World, wish: Wish, book: Logbook) -> str:
    files = planning.read_files(world)
    world.reached("L1")
    world = _reach(world)
    tools, server = _preflight(world, wish, book, files)
    with _locked(world, wish) as holder, session(world.database_url, application_name=RUN_PREFIX + wish.run.run_id) as connection:
        try:
            return _under_lock(world, wish, book, files, tools, server, connection, holder)
        except (Exception, KeyboardInterrupt) as cause:
            error = as_error(cause, book)
            record_failure(world, wish, book, error, connection)
            raise error from cause


def _reach(world: World) -> World:
    """The world with the target's address as every session and pg_dump shall use it."""
    found = reached(world.settings)
    for warning in found.warnings:
        world.tell(Noted(text=warning, level="warning"))
    return replace(world, settings=replace(world.settings, database_url=found.url))


def _under_lock(
    world: World,
    wish: Wish,
    book: Logbook,
    files: Listing,
    tools: Tools,
    server: Server,
    connection: Connection,
    holder: Connection,
) -> str:
    owed = _settle(world, wish, book, server, connection)
    migrations = _plan(world, wish, book, files, connection)
    if migrations:
        if not (wish.backup or wish.destroy_data):
            planning.refuse_loss(migrations)
        if wish.backup and tools.dump_client is None:  # nothing was pending before the lock was ours
            tools = _tools(world, wish, server)
        _lint(world, book, migrations, server)
        _back_up_and_rehearse(world, wish, book, migrations, tools, server, connection)
        _apply(world, wish, book, migrations, server, connection, holder)
        owed = book.migration_log_id
    _deploy(world, wish, book, connection, owed=owed)
    return _close(world, wish, book, connection, migrations)


def _preflight(world: World, wish: Wish, book: Logbook, files: Listing) -> tuple[Tools, Server]:
    """Everything that can be refused without writing a byte on the target."""
    with told(world.tell, world.clock, "connect", "Looking at the target") as step:
        with session(world.database_url, application_name=READER_NAME) as connection:
            world.reached("L2")
            require_direct(connection, lambda: session(world.database_url, application_name=READER_NAME))
            server = look(connection)
            require_writable(server)
            plan = planning.decide(files, connection, _policy(world, wish))
            book.pending, book.files = tuple(f.version for f in plan.pending), tuple(f.file for f in plan.pending)
            pending = planning.migrations(plan)
            planning.refuse_apart(world, pending)
            if not (wish.backup or wish.destroy_data):
                planning.refuse_loss(pending)
            schema.require_rights(connection, server)
        if wish.backup and plan.pending:
            dump.prepare(world.settings.backups_dir, database_bytes=server.size_bytes)
        tools = _tools(world, wish, server) if plan.pending else Tools(dump_client=None, scratch=None)
        step.says(f"PostgreSQL {server.version}, database {server.database}, role {server.role}")
    return tools, server


def _tools(world: World, wish: Wish, server: Server) -> Tools:
    if not wish.backup:
        return Tools(dump_client=None, scratch=None)
    found = clients.installations(world.settings.postgres_bin_dir)
    dump_client = clients.for_dump(found, server_major=server.major)
    scratch = (
        clients.for_scratch(found, server_major=server.major, at_least=dump_client.major)
        if wish.rehearsal and world.settings.rehearsal == "required"
        else None
    )
    return Tools(dump_client=dump_client, scratch=scratch)


@contextlib.contextmanager
def _locked(world: World, wish: Wish) -> Iterator[Connection]:
    with contextlib.ExitStack() as stack:
        with told(world.tell, world.clock, "lock", "Taking the lock") as step:
            holder = stack.enter_context(
                lock.held(
                    world.database_url, run_id=wish.run.run_id, wait_s=world.settings.lock_wait_s, clock=world.clock,
                    waiting=lambda who: world.tell(Noted(text=f"Waiting for the lock, which {who} holds.")),
                )
            )  # fmt: skip
            step.says("no other run is under way")
        world.reached("L3")
        yield holder


def _settle(world: World, wish: Wish, book: Logbook, server: Server, connection: Connection) -> int | None:
    """Returns the migration_log id of a deploy that an earlier run still owes."""
    with told(world.tell, world.clock, "settle", "Settling what earlier runs left open") as step:
        _sweep(world)
        new = schema.ensure(connection, server, admins=world.settings.admins)
        journal.open_run(connection, wish.run)
        book.opened = True
        world.reached("L4")
        settled = settle(connection, run_id=wish.run.run_id, clock=world.clock, step=step)
        first = "made the schema automation; nothing was left open" if new and new[0] == 1 else "nothing was left open"
        step.says("; ".join(settled.sentences) or first)
    return settled.deploy_owed


def _sweep(world: World) -> None:
    """Removes what dead runs left on this machine: half-written backups, scratch servers."""
    if world.settings.backups_dir.is_dir():
        dump.sweep(world.settings.backups_dir)
    embedded.sweep()


def _plan(world: World, wish: Wish, book: Logbook, files: Listing, connection: Connection) -> tuple[Migration, ...]:
    with told(world.tell, world.clock, "plan", f"Reading {world.settings.migrations_dir} against the ledger") as step:
        plan = planning.decide(files, connection, _policy(world, wish))
        step.says(planning.summary(plan))
        _follow(world, wish, connection, plan)
        migrations = planning.migrations(plan)
        book.pending, book.files = tuple(m.version for m in migrations), tuple(m.file.file for m in migrations)
    return migrations


def _policy(world: World, wish: Wish) -> Policy:
    return planning.policy(world, allow_out_of_order=wish.allow_out_of_order, accept_edited=wish.accept_edited)


def _follow(world: World, wish: Wish, connection: Connection, plan: Plan) -> None:
    """The ledger goes with renamed files, and with edited ones that the user accepts; both are written down."""
    for renamed in plan.renamed:
        history.follow(connection, was=renamed.was.version, file=renamed.now)
        world.tell(Noted(text=f"{renamed.was.file} is now called {renamed.now.file}: the ledger follows."))
    for file in plan.accepted:
        with connection.transaction():
            history.accept_edited(
                connection, version=file.version, file=file.file, sha256=file.sha256, normalized_sha256=file.normalized_sha256
            )
            journal.edit_accepted(connection, wish.run, version=file.version, file=file.file)
        world.tell(Noted(text=f"{file.file} is taken as it is now, as asked; its new text was not run.", level="warning"))


def _lint(world: World, book: Logbook, migrations: tuple[Migration, ...], server: Server) -> None:
    with told(world.tell, world.clock, "lint", f"Linting {_count(migrations)}") as step:
        report = lint(migrations, server_major=server.major)
        book.findings = report.findings
        step.says(report.unavailable or planning.findings_summary(report.findings))
        if report.unavailable:
            step.skips(report.unavailable)
    for finding in report.findings:
        if finding.severity != "info":
            level = "warning" if finding.severity == "danger" else "note"
            world.tell(Noted(text=f"{finding.file}:{finding.line}: {finding.message} [{finding.rule}]", level=level))


def _back_up_and_rehearse(
    world: World,
    wish: Wish,
    book: Logbook,
    migrations: tuple[Migration, ...],
    tools: Tools,
    server: Server,
    connection: Connection,
) -> None:
    if tools.dump_client is None:
        world.tell(Noted(text="No backup and no rehearsal, as asked: the target is all there is.", level="warning"))
        announce(world, wish, book)
        return
    with told(world.tell, world.clock, "backup", "Backing up") as step:
        source = dump.Source(
            url=world.database_url, client=tools.dump_client, size_bytes=server.size_bytes,
            application_name=RUN_PREFIX + wish.run.run_id,
            compression="zstd" if clients.zstd(tools.dump_client) else "1",
        )  # fmt: skip
        book.backup = dump.take(
            source, world.settings.backups_dir, connection=connection, run_id=wish.run.run_id, commit_sha=wish.run.commit_sha,
            clock=world.clock, timeout_s=world.settings.backup_timeout_s,
            progress=lambda written: step.progress(written, None, "bytes"),
        )  # fmt: skip
        manifest = book.backup.manifest
        rows = sum(manifest.rows.values())
        step.says(f"{manifest.file}: {size(manifest.size_bytes)}, {len(manifest.rows)} tables, {rows:,} rows, read back whole")
    announce(world, wish, book)
    if tools.scratch is None:
        world.tell(Noted(text="No rehearsal, as asked: the target is the first to see these migrations.", level="warning"))
        return
    with told(world.tell, world.clock, "rehearse", "Rehearsing on the restored backup") as step:
        book.rehearsal = rehearse(
            world, step, backup=book.backup, migrations=migrations, roles=restore.roles(connection),
            server=server, scratch=tools.scratch, stamp=_stamp(wish.run),
        )  # fmt: skip
        r = book.rehearsal
        step.says(
            f"restored in {r.restore_ms / 1000:.1f} s, applied in {r.apply_ms} ms on PostgreSQL {r.server_version} ({r.origin})"
        )


def _apply(
    world: World,
    wish: Wish,
    book: Logbook,
    migrations: tuple[Migration, ...],
    server: Server,
    connection: Connection,
    holder: Connection,
) -> None:
    apart = planning.apart(world, migrations)
    with told(world.tell, world.clock, "apply", f"Applying {_count(migrations)} to {world.settings.environment_name}") as step:
        if not lock.is_held(holder):
            raise Refused("The lock was lost before anything was applied.", code="lock_lost", hint="Run again.", retryable=True)
        backup_file = None if book.backup is None else book.backup.manifest.file
        book.migration_log_id = journal.migration_begun(
            connection, wish.run, versions=book.pending, notes=f"applying {planning.listed(book.files)}", backup_file=backup_file
        )
        begun_s = world.clock.monotonic_s()
        with session(world.database_url, application_name=RUN_PREFIX + wish.run.run_id) as working:
            target = applying.Target(
                connection=working, ledger=connection, limits=_limits(world, server), clock=world.clock, chance=world.chance,
                settle=lambda xid: _what_became_of(world, xid), transaction=world.settings.transaction, reached=world.reached,
                blockers=lambda pid: blockers(holder, pid), end_backend=lambda pid: end_backend(holder, pid),
                progress=lambda done, total: step.progress(done, total, "files"),
            )  # fmt: skip
            done = applying.apply(migrations, target, _stamp(wish.run))
        book.applied, book.pending = tuple(a.version for a in done), ()
        took_ms = elapsed_ms(world.clock, begun_s)
        how = "in one transaction" if apart is None or len(migrations) == 1 else "one by one, each with its ledger row"
        journal.migration_ended(
            connection,
            book.migration_log_id,
            status="success",
            duration_ms=took_ms,
            notes=f"{planning.listed(book.files)} applied, {how}",
        )
        step.says(f"{', '.join(book.files) if len(book.files) < 4 else f'{len(done)} files'}, {how}")


def _limits(world: World, server: Server) -> Limits:
    return Limits(
        lock_timeout_s=world.settings.lock_timeout_s,
        lock_tries=world.settings.lock_tries,
        apply_timeout_s=world.settings.apply_timeout_s,
        checks_client=server.checks_client,
    )


def _stamp(run: Run) -> Stamp:
    return Stamp(run_id=run.run_id, triggered_by=run.triggered_by, commit_sha=run.commit_sha)


def _what_became_of(world: World, xid: str) -> str:
    """Asks the server on a new session how a transaction ended, for as long as it is worth it."""
    deadline_s = world.clock.monotonic_s() + 30
    answer = "unknown"
    while world.clock.monotonic_s() < deadline_s:
        try:
            with contextlib.closing(connect(world.database_url, application_name=READER_NAME, timeout_s=5)) as connection:
                row = connection.execute("SELECT pg_catalog.pg_xact_status(%s::xid8)", (xid,)).fetchone()
                answer = str(row[0]) if row is not None and row[0] is not None else "unknown"
        except (AutopilotError, psycopg.Error):
            answer = "unknown"
        if answer in {"committed", "aborted"}:
            return answer
        world.clock.sleep(0.5)
    return answer


def _deploy(world: World, wish: Wish, book: Logbook, connection: Connection, *, owed: int | None) -> None:
    if not wish.deploy or owed is None:
        return
    if book.migration_log_id is None:
        world.tell(Noted(text="An earlier run applied its migrations but its deploy was never proven: making up for it."))
    with told(world.tell, world.clock, "deploy", "Asking the host for a deploy") as step:
        deployment_id = trigger(world, step, connection, wish.run, migration_log_id=owed)
    with told(world.tell, world.clock, "prove", "Proving that the site is healthy on it") as step:
        book.deploy = prove(world, step, connection, wish.run, deployment_id=deployment_id)


def _close(world: World, wish: Wish, book: Logbook, connection: Connection, migrations: tuple[Migration, ...]) -> str:
    if not migrations and book.deploy is None:
        journal.close_run(connection, wish.run.run_id, state="nothing_to_do")
        return "Nothing is pending: every file here is applied."
    proven = "" if book.deploy is None else book.deploy.words
    journal.close_run(connection, wish.run.run_id, state="released", notes=proven or None)
    asked = wish.deploy and world.settings.build_hook is not None
    deploy = ("Deploy triggered: " if asked else "No deploy was asked for. ") + (f"{proven}." if proven else "")
    tell_channel(world, wording.succeeded(as_told(world, wish, book), deploy=deploy.strip()))
    words = f" {proven[:1].upper()}{proven[1:]}." if proven else ""
    return f"{_count(migrations)} applied.{words}" if migrations else f"The deploy was made up for.{words}"


def _count(migrations: tuple[Migration, ...]) -> str:
    return f"{len(migrations)} migration" + ("" if len(migrations) == 1 else "s")


def size(size_bytes: int) -> str:
    """Bytes for a person."""
    return f"{size_bytes / 1024:.0f} KiB" if size_bytes < 1 << 20 else f"{size_bytes / (1 << 20):.1f} MiB"
