"""`autopilot deploy`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from autopilot.cli.frame import Frame, emit, options, say

if TYPE_CHECKING:
    from autopilot.audit.journal import LoggedDeploy, Run
    from autopilot.deploys.deploy import Deploy
    from autopilot.workflows.deploy_by_hand import Standing
    from autopilot.workflows.outcome import Deployed
    from autopilot.workflows.world import World


@click.group("deploy")
def command() -> None:
    """Ask for a deploy, see which is live, go back to a good one, publish one, lock and unlock."""


@command.command("trigger", short_help="Ask the host for a deploy and wait for it.")
@click.option("--commit", "commit_sha", metavar="SHA", help="The commit that is to answer; default: the repository's HEAD.")
@options(directory=False)
def trigger(frame: Frame, *, commit_sha: str | None) -> int:
    """Ask the host for a deploy, wait until it is built and published, and prove that it answers healthily.

    A deploy of the same commit that an earlier, broken off run asked for is followed, and not asked for again.
    """
    from pathlib import Path

    from autopilot.cli.migrate import commit_to_release
    from autopilot.workflows.deploy_by_hand import ask

    with commit_to_release(commit_sha, Path()) as found:
        return _run(frame, found(), ask)


@command.command("status", short_help="Show what is live, and the last deploys.")
@options(directory=False)
def status(frame: Frame) -> int:
    """Show what visitors see, the last deploys, and the one that `restore` would go back to. Writes nothing."""
    from autopilot.cli.world import quiet_world
    from autopilot.workflows.deploy_by_hand import status as standing

    found = standing(quiet_world(frame))
    if frame.as_json:
        emit(_document(found))
    else:
        say(_described(found))
    return 0


@command.command("restore", short_help="Publish an earlier deploy again.")
@click.argument("deploy_id", metavar="[DEPLOY]", required=False)
@options(directory=False)
def restore(frame: Frame, *, deploy_id: str | None) -> int:
    """Publish an earlier deploy again, the last good one by default, lock it where the host can, and prove it."""
    from autopilot.workflows.deploy_by_hand import restore as restored

    return _run(frame, None, lambda world, run: restored(world, run, deploy_id))


@command.command("promote", short_help="Publish a deploy that is built already.")
@click.argument("deploy_id", metavar="DEPLOY")
@options(directory=False)
def promote(frame: Frame, *, deploy_id: str) -> int:
    """Publish a deploy that is built and that visitors do not see yet, and prove it."""
    from autopilot.workflows.deploy_by_hand import promote as promoted

    return _run(frame, None, lambda world, run: promoted(world, run, deploy_id))


@command.command("lock", short_help="Keep later deploys from being published.")
@click.argument("deploy_id", metavar="[DEPLOY]", required=False)
@options(directory=False)
def lock(frame: Frame, *, deploy_id: str | None) -> int:
    """Keep later deploys from being published by themselves. Writes nothing in the database."""
    return _hold(frame, deploy_id, on=True)


@command.command("unlock", short_help="Let later deploys be published again.")
@click.argument("deploy_id", metavar="[DEPLOY]", required=False)
@options(directory=False)
def unlock(frame: Frame, *, deploy_id: str | None) -> int:
    """Let later deploys be published by themselves again."""
    return _hold(frame, deploy_id, on=False)


def _hold(frame: Frame, deploy_id: str | None, *, on: bool) -> int:
    from autopilot.cli.world import quiet_world
    from autopilot.workflows.deploy_by_hand import hold

    found = hold(quiet_world(frame), deploy_id, on=on)
    if frame.as_json:
        emit({"outcome": "locked" if on else "unlocked", "deploy": _deploy_document(found)})
    else:
        say(f"Deploy {found.id} is {'locked: later ones are not published by themselves' if on else 'not locked any more'}.")
    return 0


def _run(frame: Frame, commit_sha: str | None, does: Callable[[World, Run], Deployed | None]) -> int:
    import os
    import secrets
    from dataclasses import replace

    from autopilot.audit.journal import Run
    from autopilot.cli.migrate import who
    from autopilot.cli.telling import teller
    from autopilot.cli.world import telling_world
    from autopilot.killpoints import from_environment

    run = Run(run_id=secrets.token_hex(4), commit_sha=commit_sha, triggered_by=who())
    with teller() as tell:
        done = does(replace(telling_world(frame, tell), reached=from_environment(os.environ)), run)
    if frame.as_json:
        emit({"outcome": "deployed", "run_id": run.run_id, "deploy": None if done is None else _deployed_document(done)})
    else:
        say("Done." if done is None else f"Done: {done.words}.")
    return 0


def _deployed_document(done: Deployed) -> dict[str, Any]:
    return {
        "platform": done.platform, "deploy_id": done.deploy_id, "status": done.status, "proven": done.proven, "notes": done.words,
    }  # fmt: skip


def _document(found: Standing) -> dict[str, Any]:
    return {
        "platform": found.platform, "can": list(found.can), "live": None if found.live is None else _deploy_document(found.live),
        "way_back": None if found.way_back is None else _logged_document(found.way_back) | {"is_there": found.is_there},
        "deploys": [_logged_document(d) for d in found.logged],
    }  # fmt: skip


def _deploy_document(deploy: Deploy) -> dict[str, Any]:
    return {
        "id": deploy.id, "state": deploy.state, "said": deploy.said, "commit": deploy.commit, "branch": deploy.branch,
        "title": deploy.title, "url": deploy.url, "created_at": deploy.created_at, "error": deploy.error or None,
        "locked": deploy.is_locked,
    }  # fmt: skip


def _logged_document(logged: LoggedDeploy) -> dict[str, Any]:
    return {
        "id": logged.id, "deployed_at": logged.deployed_at, "platform": logged.platform, "deploy_id": logged.deploy_id,
        "status": logged.status, "commit": logged.commit_sha, "notes": logged.notes,
    }  # fmt: skip


def _described(found: Standing) -> str:
    live, back = found.live, found.way_back
    lines = [f"Host         {found.platform}; it can: {', '.join(found.can)}"]
    if live is not None:
        commit = f", commit {live.commit[:12]}" if live.commit else ""
        lines.append(f"Live         {live.id}{commit}{', locked' if live.is_locked else ''}")
    else:
        lines.append("Live         " + ("none yet" if "published" in found.can else "not told: only a hook is set up"))
    if back is not None:
        there = {True: "", False: ", and the host has it no more", None: ", which the host cannot publish by itself"}[
            found.is_there
        ]
        lines.append(f"Way back     {back.deploy_id}, good on {back.deployed_at:%Y-%m-%d %H:%M} UTC{there}")
    else:
        lines.append("Way back     none known")
    lines += [f"  {d.deployed_at:%Y-%m-%d %H:%M} UTC  {d.status:9}  {d.deploy_id or '-'}  {d.notes or ''}" for d in found.logged]
    return "\n".join(lines)
