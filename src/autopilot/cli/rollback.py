"""`autopilot rollback`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from autopilot.cli.frame import Frame, emit, options, say
from autopilot.cli.world import quiet_world

if TYPE_CHECKING:
    from autopilot.rollback.route import Route, WayBack


@click.command("rollback")
@click.option("--plan", "plan_only", is_flag=True, help="Show the routes and what each would lose. Changes nothing.")
@click.option("--to", metavar="RUN|BACKUP", help="The release to look at, by run or backup; default: the last one.")
@options(directory=False)
def command(frame: Frame, *, plan_only: bool, to: str | None) -> int:
    """Show the way back from the last release, the least destructive route first, and what each would lose.

    A migration that fails on the target is always undone at once, with its transaction; this is about a release
    that went through. This version shows the routes (--plan) and leaves taking one to you.
    """
    if not plan_only:
        raise click.UsageError("This version plans the way back and does not take it: add --plan to see the routes.")
    from autopilot.workflows.standing import rollback_plan

    found = rollback_plan(quiet_world(frame), to=to)
    if frame.as_json:
        emit(_document(found))
    else:
        say(_described(found))
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
