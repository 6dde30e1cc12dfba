"""`autopilot migrate`."""

from __future__ import annotations

import contextlib
import os
import secrets
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import click

from autopilot.cli.complaints import sentences
from autopilot.cli.frame import Frame, emit, known_secrets, new_random, options, say
from autopilot.cli.telling import teller

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from autopilot.errors import AutopilotError
    from autopilot.workflows.outcome import Outcome


@click.command("migrate")
@click.option("--no-deploy", is_flag=True, help="Apply only: neither trigger the deploy nor look at the site.")
@click.option(
    "--no-rehearsal", is_flag=True, help="Do not try the migrations on a copy first. What that catches, the target meets."
)
@click.option("--no-backup", is_flag=True, help="Take no backup; without one there is no rehearsal either.")
@click.option("--commit", metavar="SHA", help="The commit that is released; default: GITHUB_SHA, else the repository's HEAD.")
@click.option("--triggered-by", metavar="WHO", help="Who or what asked for this; default: the GitHub actor or the local user.")
@click.option("--allow-out-of-order", is_flag=True, help="Run a pending file that is older than one already applied.")
@click.option(
    "--accept-edited", multiple=True, metavar="VERSION",
    help="Take an applied file that was edited since as it is now; its text is not run. May be given several times.",
)  # fmt: skip
@click.option(
    "--include-waiting", is_flag=True,
    help="Run the files marked -- autopilot:after-deploy with the rest, without waiting for a proven deploy.",
)  # fmt: skip
@click.option("--yes-destroy-data", is_flag=True, help="With --no-backup: run even a DROP, TRUNCATE or DELETE of whole tables.")
@click.option(
    "--lock-wait", type=click.FloatRange(min=0), metavar="SECONDS", help="How long to wait for another run; default 60."
)
@options()
def command(
    frame: Frame,
    *,
    no_deploy: bool,
    no_rehearsal: bool,
    no_backup: bool,
    commit: str | None,
    triggered_by: str | None,
    allow_out_of_order: bool,
    accept_edited: tuple[str, ...],
    include_waiting: bool,
    yes_destroy_data: bool,
    lock_wait: float | None,
) -> int:
    """Release what is pending.

    Settles what an earlier run left open, takes the lock, reads the files against the ledger, lints them, backs
    the database up, restores that backup into a scratch server and applies the files there, applies them to the
    target together with their ledger rows, triggers the deploy, proves the site healthy and tells the channel.

    A file that fails in rehearsal is refused (exit 1) and the target never sees it. A file that passes there and
    fails on the target is rolled back (exit 3). With nothing pending it says so and exits 0, without a backup.
    A file with the comment `-- autopilot:after-deploy` at its head runs once the new deploy is proven healthy.
    """
    from autopilot.errors import AutopilotError

    run_id = secrets.token_hex(4)
    try:
        settings = frame.settings()
        settings.require_database()
    except AutopilotError as error:
        return _refused(frame, run_id, error)
    with commit_to_release(commit, settings.migrations_dir) as found:
        from dataclasses import replace

        from autopilot.audit.journal import Run
        from autopilot.clock import SystemClock
        from autopilot.http import request
        from autopilot.killpoints import from_environment
        from autopilot.workflows.logbook import Wish
        from autopilot.workflows.release import release
        from autopilot.workflows.world import World

        run = Run(run_id=run_id, commit_sha=found(), triggered_by=triggered_by or who())
    if lock_wait is not None:
        settings = replace(settings, lock_wait_s=lock_wait)
    wish = Wish(
        run=run, deploy=not no_deploy, rehearsal=not no_rehearsal, backup=not no_backup, destroy_data=yes_destroy_data,
        allow_out_of_order=allow_out_of_order, accept_edited=frozenset(accept_edited),
        include_waiting=include_waiting,
    )  # fmt: skip
    with teller() as tell:
        world = World(
            settings=settings,
            clock=SystemClock(),
            request=request,
            chance=new_random(),
            tell=tell,
            reached=from_environment(os.environ),
        )
        outcome = release(world, wish)
    return _show(frame, outcome)


def _refused(frame: Frame, run_id: str, error: AutopilotError) -> int:
    from autopilot.workflows.outcome import Outcome

    return _show(frame, Outcome(run_id=run_id, outcome=error.outcome, error=error, summary=error.message))


def _show(frame: Frame, outcome: Outcome) -> int:
    if frame.as_json:
        from autopilot.cli.documents import outcome_document

        emit(outcome_document(outcome, known=known_secrets()))
    if outcome.error is not None:
        click.echo(sentences(outcome.error, known=known_secrets()), err=True, nl=False)
    elif not frame.as_json:
        say(outcome.summary)
    return outcome.exit_code


@contextlib.contextmanager
def commit_to_release(given: str | None, directory: Path) -> Iterator[Callable[[], str | None]]:
    """What tells the commit under release: the given one, the CI's word, the repository's HEAD, else none. Git looks for it
    while the block does something else."""
    known = given or os.environ.get("GITHUB_SHA") or os.environ.get("COMMIT_REF")
    if known:
        yield lambda: known
        return
    from autopilot.errors import AutopilotError
    from autopilot.programs import Command, running

    command = Command(argv=("git", "-C", str(directory), "rev-parse", "HEAD"))
    with contextlib.ExitStack() as stack:
        try:
            git = stack.enter_context(running(command))
        except AutopilotError:  # no git here: a release without a commit is still a release
            yield lambda: None
            return
        yield lambda: _head(git)


def _head(git: subprocess.Popen[bytes]) -> str | None:
    try:
        out, _ = git.communicate(timeout=10)
    except subprocess.TimeoutExpired:  # a repository on a disk that hangs
        return None
    return out.decode().strip() if git.returncode == 0 else None


def who() -> str:
    if os.environ.get("GITHUB_ACTIONS"):
        actor = os.environ.get("GITHUB_ACTOR")
        return f"github_actions:{actor}" if actor else "github_actions"
    import getpass

    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        return f"uid {os.getuid()}"
