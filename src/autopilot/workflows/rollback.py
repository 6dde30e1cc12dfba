"""Goes back on releases that are in.

lock → settle → which releases → what would be lost? → one transaction (each undone, the newest first; proven; ledger, log)
→ notify

Until the COMMIT nothing is changed. What a release kept (rows, columns, tables) comes back; what users wrote since stays.
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
from autopilot.rollback.snapshot import decode
from autopilot.workflows.holding import locked
from autopilot.workflows.notices import tell_channel
from autopilot.workflows.one_transaction import in_one_transaction
from autopilot.workflows.reading import reach
from autopilot.workflows.resume import settle
from autopilot.workflows.undoing import Back, go_back
from autopilot.workflows.world import World


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    run: Run
    #: Back to before this run, or to the state that this backup holds; None: the last release.
    to: str | None = None
    accept_data_loss: bool = False
    #: Rows that somebody changed since are put back all the same; what they were is kept in the trash.
    overwrite: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class WentBack:
    run_id: str
    releases: tuple[Release, ...]
    sentences: tuple[str, ...]
    duration_ms: int

    @property
    def versions(self) -> tuple[str, ...]:
        return _versions(self.releases)


def rollback(world: World, wish: Wish) -> WentBack:
    """Raises Refused (nothing to undo, unknown name, data would be lost, conflicts), RolledBack, Stranded, Locked."""
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
            tell_channel(
                world,
                wording.did_not_go_back(
                    _told(world, wish, (), begun_s), message=cause.message, state=cause.state, hint=cause.hint
                ),
            )
        raise


def _under_lock(world: World, wish: Wish, connection: Connection, begun_s: float) -> WentBack:
    with told(world.tell, world.clock, "settle", "Settling what earlier runs left open") as step:
        server = look(connection)
        require_writable(server)
        schema.ensure(connection, server, admins=world.settings.admins)
        journal.open_run(connection, wish.run)
        settled = settle(connection, run_id=wish.run.run_id, clock=world.clock, step=step)
        step.says("; ".join(settled.sentences) or "nothing was left open")
    try:
        chosen = _chosen(world, wish, connection)
        with told(world.tell, world.clock, "undo", f"Going back on {_runs(chosen)}") as step:
            backs = undone_together(
                world, step, connection, chosen, run=wish.run, begun_s=begun_s, accept_data_loss=wish.accept_data_loss,
                overwrite=wish.overwrite,
            )  # fmt: skip
            step.says("as it was before, and proven")
    except AutopilotError as cause:
        state = "stopped" if isinstance(cause, Stopped) else cause.outcome
        _end(world, wish, connection, state=state, notes=cause.message)
        raise
    world.reached("X7")
    sentences = tuple(dict.fromkeys(s for back in backs for s in back.sentences))
    _end(world, wish, connection, state="went_back", notes=_summary(chosen, sentences))
    tell_channel(world, wording.went_back(_told(world, wish, chosen, begun_s), text=_summary(chosen, sentences)))
    return WentBack(run_id=wish.run.run_id, releases=chosen, sentences=sentences, duration_ms=elapsed_ms(world.clock, begun_s))


def _end(world: World, wish: Wish, connection: Connection, *, state: str, notes: str) -> None:
    """Writes how it ended; where the link is gone on a new one, and where that cannot be had the next run does it."""
    with contextlib.suppress(psycopg.Error, AutopilotError):
        if not connection.closed:
            journal.close_run(connection, wish.run.run_id, state=state, notes=notes)
            return
        with session(world.database_url, application_name=RUN_PREFIX + wish.run.run_id) as fresh:
            journal.close_run(fresh, wish.run.run_id, state=state, notes=notes)


def _chosen(world: World, wish: Wish, connection: Connection) -> tuple[Release, ...]:
    with told(world.tell, world.clock, "choose", "Looking for the way back") as step:
        chosen = pick(ways_back.releases(connection), to=wish.to)
        require_way(chosen, accept_data_loss=wish.accept_data_loss)
        step.says(f"{_runs(chosen)}: {', '.join(_versions(chosen))}")
    world.reached("X1")
    return chosen


def pick(releases: tuple[Release, ...], *, to: str | None) -> tuple[Release, ...]:
    """The releases to go back on, the newest first: all of the last run, or all since before `to`.

    Raises Refused (`nothing_to_undo`, `unknown_run`).
    """
    if not releases:
        raise Refused(
            "No release of Autopilot is in here that could be undone.",
            code="nothing_to_undo", hint="`autopilot log` shows what was done.",
        )  # fmt: skip
    wanted = releases[0].run_id if to is None else to
    places = [n for n, r in enumerate(releases) if wanted in {r.run_id, r.backup_file}]
    if not places:
        raise Refused(
            f"No release that is in, and no backup of one, is called {wanted!r}.",
            code="unknown_run", hint="`autopilot log` names the runs, `autopilot backup list` the backups.",
        )  # fmt: skip
    return _whole(releases, max(places) + 1)


def _whole(releases: tuple[Release, ...], count: int) -> tuple[Release, ...]:
    """The first `count`, and those before them of which a later one went on with a file: a version goes back in one piece."""
    while count < len(releases) and set(releases[count].versions) & {v for r in releases[:count] for v in r.versions}:
        count += 1
    return releases[:count]


def require_way(chosen: Sequence[Release], *, accept_data_loss: bool) -> None:
    """Raises Refused (`no_way_back_recorded`, `would_lose_data`)."""
    unknown = [r.run_id for r in chosen if not r.has_before]
    if unknown:
        raise Refused(
            f"What the database was before run {', '.join(unknown)} was not written down (it is from before Autopilot did that,"
            " or too old).",
            code="no_way_back_recorded", hint="`autopilot rollback --plan` shows the other ways back.",
        )  # fmt: skip
    loses = list(dict.fromkeys(s for r in chosen for s in r.loses))
    if loses and not accept_data_loss:
        raise Refused(
            f"Going back on {_runs(chosen)} would lose data: {'; '.join(loses[:5])}.",
            code="would_lose_data",
            hint="Push a migration that undoes it instead; or take the loss with --accept-data-loss."
            " `autopilot rollback --plan` shows the ways.",
        )


def _nothing(_backs: Sequence[Back]) -> None:
    """There is nothing more to do in the transaction."""


def undone_together(
    world: World, step: Step, connection: Connection, chosen: Sequence[Release], *, run: Run, begun_s: float,
    accept_data_loss: bool = False, overwrite: bool = False, closing: Callable[[Sequence[Back]], None] = _nothing,
) -> tuple[Back, ...]:  # fmt: skip
    """All of them in one transaction, the newest first, and `closing` in it at last; again where others hold the tables.

    Raises what `go_back` raises, RolledBack, Stranded and Stopped.
    """

    def one(release: Release) -> Back:
        back = _back(world, connection, release, accept_data_loss=accept_data_loss, overwrite=overwrite)
        ways_back.undone(
            connection, run, release, notes=_summary((release,), back.sentences), remade=back.undone.remade,
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


def _back(world: World, connection: Connection, release: Release, *, accept_data_loss: bool, overwrite: bool) -> Back:
    before, after = ways_back.snapshots(connection, release.migration_log_id)
    if before is None or release.kept_as is None:  # pragma: no cover - `require_way` has looked
        raise AssertionError
    places = ways_back.remade_since(connection, release.migration_log_id)
    return go_back(
        connection, before=at_keys(decode(before), places), after=None if after is None else at_keys(decode(after), places),
        kept_as=release.kept_as, token=f"u{release.migration_log_id}", accept_loss=accept_data_loss, theirs=not overwrite,
        lock_timeout_s=world.settings.lock_timeout_s, keep_days=world.settings.trash_keep_days,
    )  # fmt: skip


def _versions(chosen: Sequence[Release]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(v for r in chosen for v in r.versions))


def _runs(chosen: Sequence[Release]) -> str:
    runs = list(dict.fromkeys(r.run_id for r in chosen))
    return f"run {runs[0]}" if len(runs) == 1 else f"{len(runs)} runs ({', '.join(runs)})"


def _summary(chosen: Sequence[Release], sentences: Sequence[str]) -> str:
    versions = ", ".join(_versions(chosen))
    more = f" {'; '.join(sentences[:8])}." if sentences else ""
    return f"Went back on {_runs(chosen)}: {versions} undone, the database is as it was before.{more}"


def _told(world: World, wish: Wish, chosen: Sequence[Release], begun_s: float) -> wording.Release:
    return wording.Release(
        environment_name=world.settings.environment_name, commit_sha=chosen[0].commit_sha if chosen else None,
        triggered_by=wish.run.triggered_by, run_id=wish.run.run_id, files=_versions(chosen),
        backup_file=chosen[-1].backup_file if chosen else None, duration_ms=elapsed_ms(world.clock, begun_s),
    )  # fmt: skip
