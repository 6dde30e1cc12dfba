"""`autopilot rollback`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from autopilot.cli.frame import Frame, emit, options, say
from autopilot.cli.world import quiet_world

if TYPE_CHECKING:
    from autopilot.rollback.route import Route, WayBack


@click.command("rollback")
@click.option("--plan", "plan_only", is_flag=True, help="Show the ways back and what each would lose. Changes nothing.")
@click.option("--to", metavar="RUN|BACKUP", help="Back to before this run, or to what this backup holds; default: the last run.")
@click.option("--accept-data-loss", is_flag=True, help="Go back although something would be lost. --plan says what.")
@click.option(
    "--overwrite", is_flag=True,
    help="Put rows back also where somebody changed them since; what they were then is kept in the trash.",
)  # fmt: skip
@click.option("--triggered-by", metavar="WHO", help="Who or what asked for this; default: the GitHub actor or the local user.")
@options(directory=False)
def command(
    frame: Frame, *, plan_only: bool, to: str | None, accept_data_loss: bool, overwrite: bool, triggered_by: str | None
) -> int:
    """Go back on the last release, or on several: the schema as it was, what the release changed or dropped put back.

    Everything happens in one transaction and is proven in it. Rows written since stay; those in tables or columns that
    go are kept in the schema autopilot_trash (`autopilot trash list`). Where something would be lost, it refuses and
    says what. The undone files are pending again: take them out of the directory, or mend them, before the next release.
    """
    if not plan_only:
        return _go_back(frame, to=to, accept_data_loss=accept_data_loss, overwrite=overwrite, triggered_by=triggered_by)
    from autopilot.workflows.standing import rollback_plan

    found = rollback_plan(quiet_world(frame), to=to)
    if frame.as_json:
        emit(_document(found))
    else:
        say(_described(found))
    return 0


def _go_back(frame: Frame, *, to: str | None, accept_data_loss: bool, overwrite: bool, triggered_by: str | None) -> int:
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
    wish = Wish(run=run, to=to, accept_data_loss=accept_data_loss, overwrite=overwrite)
    with teller() as tell:
        found = rollback(replace(telling_world(frame, tell), reached=from_environment(os.environ)), wish)
    if frame.as_json:
        emit({
            "run_id": found.run_id, "outcome": "went_back", "undone": list(found.versions),
            "runs": list(dict.fromkeys(r.run_id for r in found.releases)), "notes": list(found.sentences),
            "duration_ms": found.duration_ms,
        })  # fmt: skip
    else:
        say("\n".join([f"Undone: {', '.join(found.versions)}. The database is as it was before.", *found.sentences]))
    return 0


def _document(found: WayBack) -> dict[str, Any]:
    return {
        "summary": found.summary,
        "routes": [
            {
                "name": r.name,
                "how": r.how,
                "text": r.text,
                "loses": [{"table": x.table, "rows_then": x.rows_then, "rows_now": x.rows_now} for x in r.loses],
                "may_lose_more": r.may_lose_more,
            }
            for r in found.routes
        ],
    }


def _described(found: WayBack) -> str:
    lines = [found.summary]
    for number, route in enumerate(found.routes, start=1):
        lines += ["", f"{number}. {route.name}", f"   {route.text}", f"   Loses: {_losses(route)}"]
        lines += [f"     {loss.words()}" for loss in route.loses]
    return "\n".join(lines)


def _losses(route: Route) -> str:
    if not route.loses and not route.may_lose_more:
        return "nothing."
    if not route.loses:
        return "no table has more or fewer rows than the backup; rows changed since are not counted."
    return "these tables differ from the backup; rows changed since are not counted:"
