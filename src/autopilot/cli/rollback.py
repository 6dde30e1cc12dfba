"""`autopilot rollback`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from autopilot.cli.frame import Frame, emit, options, say
from autopilot.cli.world import quiet_world

if TYPE_CHECKING:
    from autopilot.rollback.routes.facts import Key
    from autopilot.workflows.rollback import WentBack


@click.command("rollback")
@click.option("--plan", "plan_only", is_flag=True, help="Show the ways back and what each would lose. Changes nothing.")
@click.option("--to", metavar="RUN|BACKUP", help="Back to before this run, or to what this backup holds; default: the last run.")
@click.option(
    "--route", type=click.Choice(["undo", "merge", "restore"]),
    help="undo: reverse commands and the trash. merge: the same, and from the release's backup what the trash lacks. restore: a"
    " backup in the place of everything; what was there goes to quarantine. Default: the cheapest that loses nothing.",
)  # fmt: skip
@click.option("--staged", is_flag=True, help="Restore: build it beside the live data first; only the swap makes others wait.")
@click.option("--accept-data-loss", is_flag=True, help="Go back although something would be lost. --plan says what.")
@click.option(
    "--overwrite", is_flag=True,
    help="Put rows back also where somebody changed them since; what they were then is kept in the trash.",
)  # fmt: skip
@click.option("--triggered-by", metavar="WHO", help="Who or what asked for this; default: the GitHub actor or the local user.")
@options(directory=False)
def command(
    frame: Frame, *, plan_only: bool, to: str | None, route: Key | None, staged: bool, accept_data_loss: bool, overwrite: bool,
    triggered_by: str | None,
) -> int:  # fmt: skip
    """Go back on the last release, or on several: the schema as it was, what the release changed or dropped put back.

    Everything happens in one transaction and is proven in it. Rows written since stay; those in tables or columns that
    go are kept in the schema autopilot_trash (`autopilot trash list`). Where something would be lost, it refuses, says
    what, and names the next route with its command; --accept-data-loss takes that. After --route restore every row
    written since the backup lies in quarantine: `autopilot salvage list` shows it. The undone files are pending again:
    take them out of the directory, or mend them, before the next release.
    """
    if not plan_only:
        _require_sense(route, staged=staged)
        return _go_back(
            frame, to=to, route=route, staged=staged, accept_data_loss=accept_data_loss, overwrite=overwrite,
            triggered_by=triggered_by,
        )  # fmt: skip
    from autopilot.cli.ways_back import described, document
    from autopilot.workflows.rollback_plan import rollback_plan

    found = rollback_plan(quiet_world(frame), to=to)
    if frame.as_json:
        emit(document(found))
    else:
        say(described(found))
    return 0


def _require_sense(route: Key | None, *, staged: bool) -> None:
    from autopilot.errors import UsageError

    if staged and route != "restore":
        raise UsageError(
            "--staged belongs to --route restore.", code="staged_without_restore", hint="Add --route restore, or leave it out."
        )


def _go_back(
    frame: Frame, *, to: str | None, route: Key | None, staged: bool, accept_data_loss: bool, overwrite: bool,
    triggered_by: str | None,
) -> int:  # fmt: skip
    import os
    import secrets
    from dataclasses import replace

    from autopilot.audit.journal import Run
    from autopilot.cli.migrate import who
    from autopilot.cli.telling import teller
    from autopilot.cli.world import telling_world
    from autopilot.killpoints import from_environment
    from autopilot.workflows.rollback import Wish, rollback

    run = Run(run_id=secrets.token_hex(4), commit_sha=None, triggered_by=triggered_by or who())
    wish = Wish(run=run, to=to, route=route, staged=staged, accept_data_loss=accept_data_loss, overwrite=overwrite)
    with teller() as tell:
        found = rollback(replace(telling_world(frame, tell), reached=from_environment(os.environ)), wish)
    if frame.as_json:
        emit({
            "run_id": found.run_id, "outcome": "went_back", "route": found.route, "undone": list(found.versions),
            "runs": list(dict.fromkeys(r.run_id for r in found.releases)), "notes": list(found.sentences),
            "backup_file": found.backup_file, "quarantine": found.quarantine, "duration_ms": found.duration_ms,
        })  # fmt: skip
    else:
        say("\n".join(_told(found)))
    return 0


def _told(found: WentBack) -> list[str]:
    undone = ", ".join(found.versions) or "no release"
    if found.route != "restore":
        return [f"Undone: {undone}. The database is as it was before.", *found.sentences]
    return [
        f"{found.backup_file} is in place. Undone: {undone}.",
        *found.sentences,
        "Nothing that was written since is gone:",
        f"  autopilot salvage list {found.quarantine}          what it has that the live tables have not, table by table",
        f"  autopilot salvage apply {found.quarantine}         brings the new rows over; writes nothing over",
        f"  autopilot salvage drop {found.quarantine} --yes    removes it for good, once nobody misses anything",
    ]
