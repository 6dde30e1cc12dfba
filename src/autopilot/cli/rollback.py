"""`autopilot rollback`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from autopilot.cli.frame import Frame, emit, options, say
from autopilot.cli.world import quiet_world

if TYPE_CHECKING:
    from autopilot.rollback.route import Held, Loss, Route, Step, WayBack


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
    from autopilot.workflows.rollback_plan import rollback_plan

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
                "command": r.command,
                "loses": _counted(r.loses),
                "may_lose_more": r.may_lose_more,
                "would_lose": list(r.would_lose),
                "proven": r.proven,
                "releases": [_step_document(s) for s in r.steps],
                "in_the_way": list(r.in_the_way.conflicts),
                "to_trash": list(r.in_the_way.to_trash),
                "written_since": None if r.written is None else _counted(r.written),
            }
            for r in found.routes
        ],
    }


def _counted(losses: tuple[Loss, ...]) -> list[dict[str, Any]]:
    return [{"table": x.table, "rows_then": x.rows_then, "rows_now": x.rows_now} for x in losses]


def _step_document(step: Step) -> dict[str, Any]:
    return {
        "run_id": step.run_id, "versions": list(step.versions), "whole": step.is_whole, "proven": step.proven,
        "loses": list(step.loses),
        "kept": None
        if step.held is None
        else [{"what": h.name, "how": h.how, "rows": h.rows, "size_bytes": h.size_bytes} for h in step.held],
    }  # fmt: skip


def _described(found: WayBack) -> str:
    lines = [found.summary]
    for number, route in enumerate(found.routes, start=1):
        lines += ["", f"{number}. {route.name}" + (f": `{route.command}`" if route.command else ""), f"   {route.text}"]
        lines += _steps(route)
        lines += [f"   Loses: {_losses(route)}", *(f"     {sentence}" for sentence in route.would_lose)]
        lines += [f"     {loss.words()}" for loss in route.loses]
    return "\n".join(lines)


def _steps(route: Route) -> list[str]:
    """What the way back in one transaction would do, release by release."""
    if not route.steps:
        return []
    lines = []
    for number, step in enumerate(route.steps, start=1):
        lines += [f"   {number}) run {step.run_id}: {', '.join(step.versions)}; {_PROOF[step.proven]}", *_held(step)]
    lines += [f"   Goes to the trash with its rows: {', '.join(route.in_the_way.to_trash)}"] if route.in_the_way.to_trash else []
    lines += [f"   In the way now: {conflict}" for conflict in route.in_the_way.conflicts]
    if route.written is None:
        return [*lines, "   Written since: not counted, as there is no good backup to count against. All of it stays."]
    counts = ["   Written since the backup (rows counted; changed rows do not show). All of it stays:"]
    counts += [f"     {loss.words()}" for loss in route.written] or ["     no table has more or fewer rows"]
    return [*lines, *counts]


_PROOF = {
    True: "flown forward, back and forward again in its rehearsal",
    False: "its rehearsal showed that something does not come back",
    None: "no rehearsal has proven it: it is proven when it is gone, before COMMIT",
}


def _held(step: Step) -> list[str]:
    from autopilot.measures import size_in_words

    if step.held is None:
        return ["      kept in autopilot_trash: only its owner can see it"]
    return [f"      kept: {h.name}, {_counted_in_words(h)}{size_in_words(h.size_bytes)}" for h in step.held]


def _counted_in_words(held: Held) -> str:
    if held.rows is None:
        return "the table itself, "
    return f"{held.rows} images of rows (before and after), " if held.how == "images" else f"{held.rows} rows, "


def _losses(route: Route) -> str:
    if route.would_lose:
        return "this, and only when told to:"
    if not route.loses and not route.may_lose_more:
        return "nothing."
    if not route.loses:
        return "no table has more or fewer rows than the backup; rows changed since are not counted."
    return "these tables differ from the backup; rows changed since are not counted:"
