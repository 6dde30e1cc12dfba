"""Goes back on releases that are in.

lock → settle → which releases → which route? → one transaction (each undone, the newest first; or a backup in the place of
everything; proven; ledger, log) → notify

Until the COMMIT nothing is changed. What a release kept (rows, columns, tables) comes back; what users wrote since stays, or of a
restore lies in quarantine.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import psycopg

from autopilot.alerts import wording
from autopilot.audit import journal, schema, ways_back
from autopilot.audit.journal import Run
from autopilot.audit.ways_back import Release
from autopilot.clock import elapsed_ms
from autopilot.errors import AutopilotError, Locked, Refused, RolledBack, Stopped, UsageError
from autopilot.events import Noted, Step, told
from autopilot.postgres.session import RUN_PREFIX, Connection, look, require_writable, session
from autopilot.rollback.aligned import at_keys
from autopilot.rollback.quarantine import staged
from autopilot.rollback.route import choose, next_one, way_back
from autopilot.rollback.routes.facts import Key
from autopilot.rollback.routes.route import Route
from autopilot.rollback.snapshot import decode
from autopilot.workflows.choosing import backups_here, facts
from autopilot.workflows.holding import locked
from autopilot.workflows.merge_back import from_backup
from autopilot.workflows.notices import died, tell_channels, written
from autopilot.workflows.one_transaction import in_one_transaction
from autopilot.workflows.putting_in_place import put_in_place
from autopilot.workflows.reading import reach
from autopilot.workflows.resume import settle
from autopilot.workflows.undoing import Back, Besides, go_back
from autopilot.workflows.which import pick, runs, since_backup, versions
from autopilot.workflows.world import World


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    run: Run
    #: Back to before this run, or to the state that this backup holds; None: the last release.
    to: str | None = None
    #: None: the cheapest that loses nothing.
    route: Key | None = None
    #: A restore is built beside the live data first.
    staged: bool = False
    accept_data_loss: bool = False
    #: Rows that somebody changed since are put back all the same; what they were is kept in the trash.
    overwrite: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class WentBack:
    run_id: str
    route: Key
    releases: tuple[Release, ...]
    sentences: tuple[str, ...]
    duration_ms: int
    #: The backup that was put in place or merged from.
    backup_file: str | None = None
    #: By which `salvage` knows what stepped aside.
    quarantine: str | None = None

    @property
    def versions(self) -> tuple[str, ...]:
        return versions(self.releases)


def rollback(world: World, wish: Wish) -> WentBack:
    """Raises Refused (nothing to undo, unknown name, data would be lost, what a route raises), RolledBack, Stranded, Locked."""
    begun_s = world.clock.monotonic_s()
    world = reach(world)
    try:
        with (
            locked(world, wish.run.run_id),
            session(world.database_url, application_name=RUN_PREFIX + wish.run.run_id) as connection,
        ):
            return _under_lock(world, wish, connection, begun_s)
    except AutopilotError as cause:
        if not isinstance(cause, UsageError | Locked):
            notice = wording.did_not_go_back(
                _told(world, wish, (), begun_s), message=cause.message, state=cause.state, hint=cause.hint, outcome=cause.outcome
            )
            tell_channels(world, notice, run_id=wish.run.run_id, what="end")
        raise


def _under_lock(world: World, wish: Wish, connection: Connection, begun_s: float) -> WentBack:
    with told(world.tell, world.clock, "settle", "Settling what earlier runs left open") as step:
        server = look(connection)
        require_writable(server)
        schema.ensure(connection, server, admins=world.settings.admins)
        journal.open_run(connection, wish.run)
        settled = settle(
            connection, run_id=wish.run.run_id, clock=world.clock, step=step,
            died=lambda run, words, is_whole: died(world, connection, run, words=words, is_whole=is_whole),
        )  # fmt: skip
        swept = (f"what an earlier run left half ready is gone: {name}" for name in staged.sweep(connection))
        step.says("; ".join((*settled.sentences, *swept)) or "nothing was left open")
    try:
        chosen, route = _chosen(world, wish, connection)
        done = _gone(world, wish, connection, chosen, route, begun_s)
    except AutopilotError as cause:
        state = "stopped" if isinstance(cause, Stopped) else cause.outcome
        _end(world, wish, connection, state=state, notes=cause.message)
        raise
    world.reached("X7")
    summary = _summary(done.releases, done.sentences, done.route, done.backup_file)
    _end(world, wish, connection, state="went_back", notes=summary)
    notice = wording.went_back(_told(world, wish, done.releases, begun_s), text=summary)
    tell_channels(world, notice, run_id=wish.run.run_id, what="end", connection=connection)
    return done


def _end(world: World, wish: Wish, connection: Connection, *, state: str, notes: str) -> None:
    """Writes how it ended; where the link is gone on a new one, and where that cannot be had the next run does it."""
    with contextlib.suppress(psycopg.Error, AutopilotError):
        if not connection.closed:
            journal.close_run(connection, wish.run.run_id, state=state, notes=notes)
            return
        with session(world.database_url, application_name=RUN_PREFIX + wish.run.run_id) as fresh:
            journal.close_run(fresh, wish.run.run_id, state=state, notes=notes)


def _chosen(world: World, wish: Wish, connection: Connection) -> tuple[tuple[Release, ...], Route | None]:
    """The releases and the route; None: they are undone, which loses nothing as far as is written down."""
    with told(world.tell, world.clock, "choose", "Looking for the way back") as step:
        chosen = pick(ways_back.releases(connection), to=wish.to, backups=() if wish.to is None else backups_here(world))
        route = None if _goes_without_asking(wish, chosen) else _route(world, wish, connection)
        if route is not None and route.key == "restore" and route.file is not None:
            chosen = since_backup(ways_back.releases(connection), route.file)
        elif not chosen:
            raise Refused(
                f"No release is in that came after {wish.to}: there is nothing to undo.", code="nothing_to_undo",
                hint=f"To put that backup in place: `autopilot rollback --route restore --to {wish.to} --accept-data-loss`.",
            )  # fmt: skip
        how = "" if route is None or route.key == "undo" else f", by the route {route.key}: {route.name}"
        what = f"{runs(chosen)}: {', '.join(versions(chosen))}" if chosen else "no release came after that backup"
        step.says(f"{what}{how}")
    if route is not None and wish.route is None and route.loses_something:
        world.tell(Noted(text=f"Taking the route {route.key}, as loss was accepted: {route.what_it_loses}.", level="warning"))
    world.reached("X1")
    return chosen, route


def _goes_without_asking(wish: Wish, chosen: Sequence[Release]) -> bool:
    """Whether undoing is possible and loses nothing, by what is written down: then nothing else needs to be looked at."""
    return wish.route in {None, "undo"} and bool(chosen) and all(r.has_before and not r.loses for r in chosen)


def _route(world: World, wish: Wish, connection: Connection) -> Route:
    found = way_back(facts(world, connection, to=wish.to))
    return choose(found.routes, wanted=wish.route, accept_loss=wish.accept_data_loss)


def _gone(
    world: World, wish: Wish, connection: Connection, chosen: tuple[Release, ...], route: Route | None, begun_s: float
) -> WentBack:
    if route is not None and route.key == "restore" and route.file is not None:
        done = put_in_place(world, wish.run, connection, chosen, file=route.file, stage=wish.staged, begun_s=begun_s)
        return WentBack(
            run_id=wish.run.run_id, route="restore", releases=chosen, sentences=done.sentences, backup_file=route.file,
            quarantine=done.token, duration_ms=elapsed_ms(world.clock, begun_s),
        )  # fmt: skip
    merges = route is not None and route.key == "merge"
    with told(world.tell, world.clock, "undo", f"Going back on {runs(chosen)}") as step, contextlib.ExitStack() as stack:
        besides = None
        if merges and route is not None and route.file is not None:
            besides = stack.enter_context(
                from_backup(world, step, connection, chosen[0], file=route.file, run_id=wish.run.run_id, overwrite=wish.overwrite)
            )
        try:
            backs = undone_together(
                world, step, connection, chosen, run=wish.run, begun_s=begun_s, accept_data_loss=wish.accept_data_loss,
                overwrite=wish.overwrite, besides=besides, route="merge" if merges else "undo",
                closing=lambda backs: _write_notice(world, wish, connection, chosen, backs, route, begun_s),
            )  # fmt: skip
        except Refused as cause:
            _lead_on(world, wish, connection, cause, but="merge" if merges else "undo")
            raise
        step.says("as it was before, and proven")
    return WentBack(
        run_id=wish.run.run_id, route="merge" if merges else "undo", releases=chosen,
        sentences=tuple(dict.fromkeys(s for back in backs for s in back.sentences)),
        backup_file=route.file if merges and route is not None else None, duration_ms=elapsed_ms(world.clock, begun_s),
    )  # fmt: skip


def _write_notice(
    world: World, wish: Wish, connection: Connection, chosen: tuple[Release, ...], backs: Sequence[Back], route: Route | None,
    begun_s: float,
) -> None:  # fmt: skip
    """That it went back, in the transaction that does so."""
    merges = route is not None and route.key == "merge"
    sentences = tuple(dict.fromkeys(s for back in backs for s in back.sentences))
    text = _summary(chosen, sentences, "merge" if merges else "undo", route.file if merges and route is not None else None)
    notice = wording.went_back(_told(world, wish, chosen, begun_s), text=text)
    written(world, connection, notice, run_id=wish.run.run_id, what="end")


def _lead_on(world: World, wish: Wish, connection: Connection, cause: Refused, *, but: Key) -> None:
    """What refuses only shows in the act: the error names the next route all the same."""
    with contextlib.suppress(psycopg.Error, AutopilotError):
        others = [r for r in way_back(facts(world, connection, to=wish.to)).routes if r.key not in {None, but, "undo"}]
        following = next((r for r in others if r.is_possible), None)
        if following is not None:
            cause.hint += f" {next_one(following)}"


def _nothing(_backs: Sequence[Back]) -> None:
    """There is nothing more to do in the transaction."""


def undone_together(
    world: World, step: Step, connection: Connection, chosen: Sequence[Release], *, run: Run, begun_s: float,
    accept_data_loss: bool = False, overwrite: bool = False, closing: Callable[[Sequence[Back]], None] = _nothing,
    besides: Besides | None = None, route: Key = "undo",
) -> tuple[Back, ...]:  # fmt: skip
    """All of them in one transaction, the newest first, and `closing` in it at last; again where others hold the tables.

    besides: what brings back, from elsewhere, what the trash lacks.
    Raises what `go_back` raises, RolledBack, Stranded and Stopped.
    """

    def one(release: Release) -> Back:
        back = _back(world, connection, release, accept_data_loss=accept_data_loss, overwrite=overwrite, besides=besides)
        ways_back.undone(
            connection, run, release, notes=_summary((release,), back.sentences, route), remade=back.undone.remade,
            duration_ms=elapsed_ms(world.clock, begun_s),
        )  # fmt: skip
        return back

    def together() -> tuple[Back, ...]:
        backs = []
        for number, release in enumerate(chosen, start=1):
            step.progress(number - 1, len(chosen), "releases")
            backs.append(one(release))
            world.reached("X3")
        connection.execute("NOTIFY pgrst, 'reload schema'")
        closing(backs)
        world.reached("X4")
        return tuple(backs)

    tries = world.settings.lock_tries
    for number in range(1, tries + 1):
        try:
            return in_one_transaction(world, connection, together)
        except RolledBack as cause:
            if cause.code != "undo_locked" or number == tries:
                raise
            world.tell(Noted(text=f"Others hold the tables; everything was let go, and is tried again ({number} of {tries})."))
            world.clock.sleep(min(5.0, 0.1 * 2**number) * world.chance.uniform(0.5, 1.5))
    raise AssertionError  # pragma: no cover - there is at least one try


def _back(
    world: World, connection: Connection, release: Release, *, accept_data_loss: bool, overwrite: bool, besides: Besides | None
) -> Back:
    before, after = ways_back.snapshots(connection, release.migration_log_id)
    if before is None or release.kept_as is None:  # pragma: no cover - `require_way` has looked
        raise AssertionError
    places = ways_back.remade_since(connection, release.migration_log_id)
    return go_back(
        connection, before=at_keys(decode(before), places), after=None if after is None else at_keys(decode(after), places),
        kept_as=release.kept_as, token=f"u{release.migration_log_id}", accept_loss=accept_data_loss, theirs=not overwrite,
        lock_timeout_s=world.settings.lock_timeout_s, keep_days=world.settings.trash_keep_days,
        besides=besides,
    )  # fmt: skip


def _summary(chosen: Sequence[Release], sentences: Sequence[str], route: Key, backup_file: str | None = None) -> str:
    more = f" {'; '.join(sentences[:8])}." if sentences else ""
    what = f"{', '.join(versions(chosen))} undone" if chosen else "nothing was to be undone"
    if route == "restore":
        return f"Put {backup_file} in place: {runs(chosen)}, {what}. Route: restore.{more}"
    return f"Went back on {runs(chosen)}: {what}, the database is as it was before.{more} Route: {route}."


def _told(world: World, wish: Wish, chosen: Sequence[Release], begun_s: float) -> wording.Release:
    return wording.Release(
        environment_name=world.settings.environment_name, commit_sha=chosen[0].commit_sha if chosen else None,
        triggered_by=wish.run.triggered_by, run_id=wish.run.run_id, files=versions(chosen),
        backup_file=chosen[-1].backup_file if chosen else None, duration_ms=elapsed_ms(world.clock, begun_s),
    )  # fmt: skip
