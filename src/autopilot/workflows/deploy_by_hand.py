"""Deploys without a release: ask for one, show where they stand, go back to a good one, publish one, lock and unlock.

Whatever moves a deploy holds the lock and writes its row first, as a release does; lock and unlock only speak to the host.
"""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import psycopg

from autopilot.audit import journal, schema
from autopilot.audit.journal import LoggedDeploy, Run
from autopilot.deploys import hosts
from autopilot.deploys.asking import is_there
from autopilot.deploys.deploy import Deploy, Host
from autopilot.errors import AutopilotError, Refused, Stopped, UsageError
from autopilot.events import Noted, told
from autopilot.postgres.session import RUN_PREFIX, Connection, look, require_writable, session
from autopilot.workflows.deploying import Begun, Row, trigger
from autopilot.workflows.holding import locked
from autopilot.workflows.outcome import Deployed
from autopilot.workflows.proof import prove
from autopilot.workflows.reading import reach, reader
from autopilot.workflows.resume import settle
from autopilot.workflows.world import World


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What the host and the log say of deploys; None where nobody can tell."""

    platform: str
    can: tuple[str, ...]
    #: What visitors see.
    live: Deploy | None
    #: The good deploy before that, and whether the host still has it.
    way_back: LoggedDeploy | None
    is_there: bool | None
    logged: tuple[LoggedDeploy, ...]


def status(world: World) -> Standing:
    """`autopilot deploy status`: reads, and writes nothing. Raises UsageError (`no_host`, …) and what the host raises."""
    host = _host(world)
    logged = _logged(world)
    live_id = None if host.published is None else host.published()
    live = None if live_id is None or host.look is None else host.look(live_id)
    back = way_back(logged, platform=host.platform, live_id=live_id)
    return Standing(
        platform=host.platform, can=tuple(sorted(host.can)), live=live, logged=logged[:10], way_back=back,
        is_there=None if back is None or back.deploy_id is None else is_there(host, back.deploy_id),
    )  # fmt: skip


def way_back(logged: tuple[LoggedDeploy, ...], *, platform: str, live_id: str | None) -> LoggedDeploy | None:
    """The newest deploy that was proven good and is not the one that visitors see."""
    good = (d for d in logged if d.status == "success" and d.platform == platform and d.deploy_id is not None)
    return next((d for d in good if d.deploy_id != live_id), None)


def ask(world: World, run: Run) -> Deployed | None:
    """`autopilot deploy trigger`. Raises Stranded (`deploy_*`), Locked, Refused and UsageError."""
    _host(world)
    with _under_lock(world, run) as (reached, connection):
        with told(reached.tell, reached.clock, "deploy", "Asking the host for a deploy") as step:
            begun = trigger(reached, step, connection, run, migration_log_id=None, is_released=False)
        with told(reached.tell, reached.clock, "prove", "Proving that the site is healthy on it") as step:
            return prove(reached, step, connection, run, begun=begun, is_released=False)


def restore(world: World, run: Run, deploy_id: str | None) -> Deployed | None:
    """`autopilot deploy restore`: publishes an earlier deploy, the last good one by default, and locks it where that can be.

    Raises as `ask` does, and Refused (`no_way_back`, `way_back_gone`).
    """
    host = _host(world)
    moves = _able(host, host.restore, "restore")
    with _under_lock(world, run) as (reached, connection):
        target = deploy_id or _last_good(host, journal.deploys_so_far(connection))
        if is_there(host, target) is False:
            raise Refused(
                f"The deploy {target} is not at the host any more, or was never built.", code="way_back_gone",
                hint="`autopilot deploy status` lists others; or deploy an earlier commit.",
            )  # fmt: skip
        return _moved(reached, run, connection, host, target, moves, lock=host.lock)


def promote(world: World, run: Run, deploy_id: str) -> Deployed | None:
    """`autopilot deploy promote`: publishes a deploy that is built. Raises as `ask` does."""
    host = _host(world)
    moves = _able(host, host.promote, "promote")
    with _under_lock(world, run) as (reached, connection):
        return _moved(reached, run, connection, host, deploy_id, moves, lock=None)


def hold(world: World, deploy_id: str | None, *, on: bool) -> Deploy:
    """`autopilot deploy lock` and `unlock`: of the deploy that visitors see where none is named. Raises as the host does."""
    host = _host(world)
    moves = _able(host, host.lock if on else host.unlock, "lock" if on else "unlock")
    target = deploy_id or (None if host.published is None else host.published())
    if target is None:
        raise Refused("No deploy is published yet.", code="no_way_back", hint="Name one.")
    return moves(target)


def _moved(
    world: World, run: Run, connection: Connection, host: Host, target: str, moves: Callable[[str], Deploy],
    *, lock: Callable[[str], Deploy] | None,
) -> Deployed | None:  # fmt: skip
    """Row → publish → lock → proof that it is this one's commit that answers."""
    known = None if host.look is None else host.look(target)
    run = replace(run, commit_sha=None if known is None else known.commit)
    deployment_id = journal.deployment_intended(
        connection, run, platform=host.platform, url=world.settings.site_url, migration_log_id=None
    )
    with told(world.tell, world.clock, "publish", f"Publishing {target}") as step:
        row = Row(world=world, step=step, connection=connection, id=deployment_id, platform=host.platform, is_released=False)
        try:
            deploy = moves(target)
            row.moved(deploy, f"deploy {target} is published")
            if lock is not None:
                lock(target)
                row.moved(deploy, f"deploy {target} is published, and locked: later ones are not published by themselves")
        except AutopilotError as cause:
            row.failed(
                cause.message, code=cause.code, hint=cause.hint, retryable=cause.retryable,
                state="`autopilot deploy status` tells what visitors see.",
            )  # fmt: skip
    with told(world.tell, world.clock, "prove", "Proving that the site is healthy on it") as step:
        begun = Begun(deployment_id=deployment_id, platform=host.platform, deploy=deploy)
        return prove(world, step, connection, run, begun=begun, is_released=False)


def _host(world: World) -> Host:
    found = hosts.host(world.settings, request=world.request, clock=world.clock)
    if found is None:
        raise UsageError(
            "No host is set up that could deploy.", code="no_host",
            hint="Set " + "; or ".join(kind.needs for kind in hosts.HOSTS.values()) + ".",
        )  # fmt: skip
    return found


def _able(host: Host, does: Callable[[str], Deploy] | None, what: str) -> Callable[[str], Deploy]:
    if does is None:
        able = ", ".join(sorted(host.can))
        raise UsageError(
            f"As it is set up, {host.platform} cannot {what}; it can: {able}.", code="host_cannot",
            hint="A hook alone can only ask for a deploy: set the host's token and site too (docs/deploys.md).",
        )  # fmt: skip
    return does


def _last_good(host: Host, logged: tuple[LoggedDeploy, ...]) -> str:
    found = way_back(logged, platform=host.platform, live_id=None if host.published is None else host.published())
    if found is None or found.deploy_id is None:
        raise Refused(
            "No earlier deploy is known to have been good.", code="no_way_back",
            hint="Name one: `autopilot deploy restore DEPLOY`; the host's dashboard lists them.",
        )  # fmt: skip
    return found.deploy_id


def _logged(world: World) -> tuple[LoggedDeploy, ...]:
    """The log, where there is a database and Autopilot has been there."""
    if world.settings.database_url is None:
        return ()
    with reader(world.settings) as connection:
        try:
            return journal.deploys_so_far(connection)
        except (psycopg.errors.UndefinedTable, psycopg.errors.InvalidSchemaName):
            return ()


@contextlib.contextmanager
def _under_lock(world: World, run: Run) -> Iterator[tuple[World, Connection]]:
    """A session of the run, with what earlier runs left open settled; how the block ends is written down."""
    world = reach(world)
    with (
        locked(world, run.run_id),
        session(world.database_url, application_name=RUN_PREFIX + run.run_id) as connection,
    ):
        server = look(connection)
        require_writable(server)
        with told(world.tell, world.clock, "settle", "Settling what earlier runs left open") as step:
            schema.ensure(connection, server, admins=world.settings.admins)
            journal.open_run(connection, run)
            found = settle(connection, run_id=run.run_id, clock=world.clock, step=step)
            step.says("; ".join(found.sentences) or "nothing was left open")
            if found.deploy_owed is not None:
                text = "An earlier run's deploy was never proven; `autopilot migrate` makes up for it."
                world.tell(Noted(text=text, level="warning"))
        try:
            yield world, connection
        except KeyboardInterrupt as cause:
            journal.close_run(connection, run.run_id, state="stopped", notes="deploy: stopped by a signal")
            raise Stopped(
                int(getattr(cause, "signal_number", signal.SIGINT)), message="Stopped by a signal while deploying.",
                state="`autopilot deploy status` tells what visitors see.", outcome="stranded",
            ) from cause  # fmt: skip
        except AutopilotError as cause:
            journal.close_run(connection, run.run_id, state=cause.outcome, notes=f"deploy: {cause.message}")
            raise
        journal.close_run(connection, run.run_id, state="nothing_to_do", notes="a deploy by hand")
