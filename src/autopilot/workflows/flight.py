"""Flies a release, under the lock.

settle → plan → lint → backup → rehearse → apply + record → deploy → prove → (what waited for that) → notify
"""

from __future__ import annotations

from collections import Counter

from autopilot.alerts import wording
from autopilot.audit import journal, schema
from autopilot.deploys import hosts
from autopilot.errors import AutopilotError, Stranded
from autopilot.events import Noted, told
from autopilot.measures import about_in_words, counted
from autopilot.migrations import history
from autopilot.migrations.files import Listing
from autopilot.migrations.lint import Finding, lint
from autopilot.migrations.locks import Lock, is_gentle, strongest
from autopilot.migrations.plan import Plan
from autopilot.migrations.segments import Migration
from autopilot.postgres.session import Connection, Server
from autopilot.workflows import cutting, planning, trash
from autopilot.workflows.applying import apply_and_record
from autopilot.workflows.cutting import Order
from autopilot.workflows.logbook import Logbook, Wish
from autopilot.workflows.notices import announce, as_told, deliver, died, written
from autopilot.workflows.preflight import Cleared, Tools, tools
from autopilot.workflows.resume import settle
from autopilot.workflows.world import World


def fly(world: World, wish: Wish, book: Logbook, cleared: Cleared, *, connection: Connection, holder: Connection) -> str:
    """The release from the lock on; returns its closing words. Raises AutopilotError for what goes wrong on the way."""
    owed = _settle(world, wish, book, cleared.server, connection)
    order = _plan(world, wish, book, cleared, connection)
    if order.all:
        found = _tools(world, wish, cleared, order, connection)
        _lint(world, book, order.all, cleared)
        _secure(world, wish, book, order, found, cleared.server, connection)
    if order.now:
        _say_locks(world, book, order)
        apply_and_record(world, wish, book, order.now, cleared.server, connection=connection, holder=holder)
        owed = book.migration_log_id
    _deploy(world, wish, book, connection, owed=owed, waited_for=bool(order.waiting))
    if order.waiting:
        _apply_what_waited(world, wish, book, order, cleared.server, connection, holder)
    return _close(world, wish, book, connection, cleared.files)


def _settle(world: World, wish: Wish, book: Logbook, server: Server, connection: Connection) -> int | None:
    """Returns the migration_log id of a deploy that an earlier run still owes."""
    with told(world.tell, world.clock, "settle", "Settling what earlier runs left open") as step:
        _sweep(world)
        new = schema.ensure(connection, server, admins=world.settings.admins)
        journal.open_run(connection, wish.run)
        book.opened = True
        world.reached("L4")
        settled = settle(
            connection, run_id=wish.run.run_id, clock=world.clock, step=step,
            died=lambda run, words, is_whole: died(world, connection, run, words=words, is_whole=is_whole),
        )  # fmt: skip
        first = "made the schema automation; nothing was left open" if new and new[0] == 1 else "nothing was left open"
        expired = trash.sweep(world, connection).words
        step.says("; ".join((*(settled.sentences or (first,)), *([expired] if expired else []))))
    return settled.deploy_owed


def _sweep(world: World) -> None:
    """Removes what dead runs left on this machine: half-written backups, scratch servers."""
    from autopilot.postgres import embedded

    if world.settings.backups_dir.is_dir():
        from autopilot.backups import partial, work

        partial.sweep(world.settings.backups_dir)
        work.sweep(world.settings.backups_dir)
    embedded.sweep()


def _plan(world: World, wish: Wish, book: Logbook, cleared: Cleared, connection: Connection) -> Order:
    with told(world.tell, world.clock, "plan", f"Reading {world.settings.migrations_dir} against the ledger") as step:
        plan = planning.decide(cleared.files, connection, planning.allowed(world, wish))
        step.says(planning.summary(plan))
        _follow(world, wish, connection, plan)
        order = cutting.in_order(cutting.migrations(plan, connection, known=cleared.pending), wish)
    for migration in order.all:
        if not migration.statements:
            world.tell(Noted(text=f"{migration.file.file} holds no statement: it is recorded, and nothing runs."))
    if order.waiting and (why := cutting.never_proven(world, wish)):
        names = planning.listed(tuple(m.file.file for m in order.waiting))
        world.tell(Noted(text=f"{names} waits until a new deploy is proven healthy; {why}.", level="warning"))
        book.waiting = _versions(order.waiting)
        order = Order(now=order.now, waiting=())
    else:
        book.waiting = _versions(order.waiting)
    book.pending, book.files = _versions(order.now), tuple(m.file.file for m in order.all)
    return order


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


def _tools(world: World, wish: Wish, cleared: Cleared, order: Order, connection: Connection) -> Tools:
    """Under the lock more may be pending than before it."""
    if not (wish.backup or wish.destroy_data):
        cutting.refuse_loss(order.all)
    known = cleared.tools
    return tools(world, wish, cleared.server, connection) if wish.backup and known.dump_client is None else known


def _lint(world: World, book: Logbook, migrations: tuple[Migration, ...], cleared: Cleared) -> None:
    with told(world.tell, world.clock, "lint", f"Linting {counted(len(migrations), 'migration')}") as step:
        as_before = {m.file.file for m in migrations} == {m.file.file for m in cleared.pending}
        report = cleared.linted() if as_before else lint(migrations, server_major=cleared.server.major)
        book.findings = report.findings
        step.says(report.unavailable or _summed_up(report.findings))
        if report.unavailable:
            step.skips(report.unavailable)
    for finding in report.findings:
        if finding.severity != "info":
            level = "warning" if finding.severity == "danger" else "note"
            world.tell(Noted(text=f"{finding.file}:{finding.line}: {finding.message} [{finding.rule}]", level=level))


def _summed_up(findings: tuple[Finding, ...]) -> str:
    counts = Counter(f.severity for f in findings)
    return ", ".join(f"{counts[s]} {s}" for s in ("danger", "warning", "info") if counts[s]) or "nothing to remark"


def _secure(world: World, wish: Wish, book: Logbook, order: Order, found: Tools, server: Server, connection: Connection) -> None:
    if found.dump_client is None:
        world.tell(Noted(text="No backup and no rehearsal, as asked: the target is all there is.", level="warning"))
        announce(world, wish, book, connection)
        return
    from autopilot.workflows import safety_net

    safety_net.spread(world, wish, book, order, found, server, connection)


def _say_locks(world: World, book: Logbook, order: Order) -> None:
    """Which locks somebody may have to wait for, as the rehearsal saw them; without one, as the text shows them."""
    book.locks = book.rehearsal.locks if book.rehearsal is not None else locks_by_text(order.all)
    foretold = None if book.rehearsal is None or book.rehearsal.kind == "schema" else book.rehearsal.forecast
    held_ms = {} if foretold is None else {b.relation: b.duration_ms for b in foretold.blocked}
    strong = sorted((lock for lock in book.locks if not is_gentle(lock.mode)), key=lambda k: -held_ms.get(k.relation, 0))
    for lock in strong[:10]:
        how_long = f", about {about_in_words(held_ms[lock.relation])}" if lock.relation in held_ms else ""
        text = f"Locks {lock.relation} in {lock.mode} mode: {lock.keeps_waiting} wait while it is held{how_long}."
        world.tell(Noted(text=text))
    if len(strong) > 10:
        world.tell(Noted(text=f"… and {len(strong) - 10} more relations."))
    if foretold is not None:
        world.tell(Noted(text=f"Predicted for {world.settings.environment_name}: about {about_in_words(foretold.duration_ms)}."))


def locks_by_text(migrations: tuple[Migration, ...]) -> tuple[Lock, ...]:
    """The strongest lock on each relation that was there before the push, as far as the files' text shows it."""
    return strongest(lock for m in migrations for effect in m.effects for lock in effect.locks)


def _deploy(world: World, wish: Wish, book: Logbook, connection: Connection, *, owed: int | None, waited_for: bool) -> None:
    if not wish.deploy or (owed is None and not waited_for):
        return
    from autopilot.workflows.deploying import trigger
    from autopilot.workflows.proof import answers_already, prove

    if owed is None:
        book.deploy = answers_already(world, connection, wish.run)
        if book.deploy is not None:
            world.tell(Noted(text=f"No new deploy is needed: {book.deploy.words}."))
            return
    elif book.migration_log_id is None:
        world.tell(Noted(text="An earlier run applied its migrations but its deploy was never proven: making up for it."))
    with told(world.tell, world.clock, "deploy", "Asking the host for a deploy") as step:
        begun = trigger(world, step, connection, wish.run, migration_log_id=owed)
    with told(world.tell, world.clock, "prove", "Proving that the site is healthy on it") as step:
        book.deploy = prove(world, step, connection, wish.run, begun=begun)


def _apply_what_waited(
    world: World, wish: Wish, book: Logbook, order: Order, server: Server, connection: Connection, holder: Connection
) -> None:
    """The files that waited for the deploy, now that it is proven."""
    names = planning.listed(tuple(m.file.file for m in order.waiting))
    if book.deploy is None or not book.deploy.proven:
        why = "nothing was deployed" if book.deploy is None else book.deploy.words
        text = f"{names} still waits: {why}. Let the health API echo the commit, or run with --include-waiting."
        world.tell(Noted(text=text, level="warning"))
        return
    before = book.applied
    book.pending, book.waiting = book.waiting, ()
    try:
        apply_and_record(world, wish, book, order.waiting, server, connection=connection, holder=holder, after_deploy=True)
    except AutopilotError as cause:
        raise _after_the_deploy(cause, names, before) from cause


def _after_the_deploy(cause: AutopilotError, names: str, before: tuple[str, ...]) -> AutopilotError:
    """What waited failed: the rest of the release is in and healthy, and that is not taken back."""
    if cause.outcome not in {"rolled_back", "refused"} or cause.code == "stopped":
        return cause
    done = f"{', '.join(before)} applied, the new deploy is proven healthy; " if before else "The new deploy is proven healthy; "
    return Stranded(
        cause.message, code=cause.code, hint=cause.hint, retryable=cause.retryable, where=cause.where,
        state=f"{done}{names}, which waited for that, is not in and still pending.",
    )  # fmt: skip


def _close(world: World, wish: Wish, book: Logbook, connection: Connection, files: Listing) -> str:
    waits = (
        f" {len(book.waiting)} still {'waits' if len(book.waiting) == 1 else 'wait'} for a proven deploy." if book.waiting else ""
    )
    if not book.applied and book.deploy is None:
        journal.close_run(connection, wish.run.run_id, state="nothing_to_do")
        deliver(world, connection)
        return f"Nothing else is pending.{waits}" if waits else planning.nothing_pending(files)
    proven = "" if book.deploy is None else book.deploy.words
    asked = wish.deploy and hosts.chosen(world.settings) is not None
    deploy = ("Deploy triggered: " if asked else "No deploy was asked for. ") + (f"{proven}." if proven else "")
    with connection.transaction():
        journal.close_run(connection, wish.run.run_id, state="released", notes=proven or None)
        notice = wording.succeeded(as_told(world, wish, book), deploy=deploy.strip())
        fresh = written(world, connection, notice, run_id=wish.run.run_id, what="end")
    deliver(world, connection, fresh=fresh)
    words = f" {proven[:1].upper()}{proven[1:]}." if proven else ""
    done = f"{counted(len(book.applied), 'migration')} applied." if book.applied else "The deploy was made up for."
    return f"{done}{words}{waits}"


def _versions(migrations: tuple[Migration, ...]) -> tuple[str, ...]:
    return tuple(m.version for m in migrations)
