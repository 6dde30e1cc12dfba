"""How the ways back are shown: `autopilot rollback --plan`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from autopilot.rollback.routes.facts import Held, Loss, Step
    from autopilot.rollback.routes.route import Route, WayBack

_PROOF = {
    True: "flown forward, back and forward again in its rehearsal",
    False: "its rehearsal showed that something does not come back",
    None: "no rehearsal has proven it: it is proven when it is gone, before COMMIT",
}


def document(found: WayBack) -> dict[str, Any]:
    return {"summary": found.summary, "routes": [_route(r) for r in found.routes]}


def _route(r: Route) -> dict[str, Any]:
    return {
        "name": r.name,
        "route": r.key,
        "how": r.how,
        "possible": r.is_possible,
        "why_not": list(r.why_not),
        "text": r.text,
        "cost": r.cost,
        "command": r.command,
        "backup_file": r.file,
        "loses": _counted(r.loses),
        "may_lose_more": r.may_lose_more,
        "would_lose": list(r.would_lose),
        "proven": r.proven,
        "releases": [_step(s) for s in r.steps],
        "in_the_way": list(r.in_the_way.conflicts),
        "to_trash": list(r.in_the_way.to_trash),
        "written_since": None if r.written is None else _counted(r.written),
        "changed_since": None if r.since is None else [{"table": s.table, "rows": s.rows} for s in r.since],
    }


def _counted(losses: tuple[Loss, ...]) -> list[dict[str, Any]]:
    return [{"table": x.table, "rows_then": x.rows_then, "rows_now": x.rows_now} for x in losses]


def _step(step: Step) -> dict[str, Any]:
    return {
        "run_id": step.run_id, "versions": list(step.versions), "whole": step.is_whole, "proven": step.proven,
        "loses": list(step.loses),
        "kept": None
        if step.held is None
        else [{"what": h.name, "how": h.how, "rows": h.rows, "size_bytes": h.size_bytes} for h in step.held],
    }  # fmt: skip


def described(found: WayBack) -> str:
    lines = [found.summary]
    for number, route in enumerate(found.routes, start=1):
        command = f": `{route.command}`" if route.command and route.is_possible else ""
        lines += ["", f"{number}. {route.name}{command}", f"   {route.text}"]
        lines += [f"   Not possible now: {sentence.removesuffix('.')}." for sentence in route.why_not]
        lines += _steps(route)
        lines += [f"   Costs: {route.cost}."] if route.cost and route.is_possible else []
        lines += _losses(route) if route.is_possible else []
    return "\n".join([*lines, *_since(found)])


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
        return [*lines, "   Written since the backup: not counted, as there is no good one to count against. All of it stays."]
    counts = ["   Written since the backup, as exact counts of rows. All of it stays:"]
    counts += [f"     {loss.words()}" for loss in route.written] or ["     no table has more or fewer rows"]
    return [*lines, *counts]


def _held(step: Step) -> list[str]:
    from autopilot.measures import size_in_words

    if step.held is None:
        return ["      kept in autopilot_trash: only its owner can see it"]
    return [f"      kept: {h.name}, {_counted_in_words(h)}{size_in_words(h.size_bytes)}" for h in step.held]


def _counted_in_words(held: Held) -> str:
    from autopilot.measures import counted

    if held.rows is None:
        return "the table itself, "
    if held.how == "images":
        return f"{counted(held.rows, 'row version')} (before and after), "
    return f"{counted(held.rows, 'row')}, "


def _losses(route: Route) -> list[str]:
    if not route.loses_something:
        return ["   Loses: nothing."]
    lines = ["   Loses, and only when told to:", *(f"     {sentence}" for sentence in route.would_lose)]
    if route.key != "restore":
        return lines
    counted = [f"       {loss.words()}" for loss in route.loses] or ["       no table has more or fewer rows than the backup"]
    return [
        *lines,
        "     as exact counts of rows (rows that were changed, or deleted and made again, do not show here):",
        *counted,
    ]


def _since(found: WayBack) -> list[str]:
    """Who wrote since the release, once for all routes."""
    since = next((route.since for route in found.routes if route.since is not None), None)
    if since is None:
        return []
    how = "told from the transaction number that each row bears: exact for rows that are there; deleted rows bear none"
    rows = [f"  {one.words()}" for one in since] or ["  none"]
    also = f"; what run {', '.join(found.gone_since)} put back counts too" if found.gone_since else ""
    return ["", f"Rows inserted or changed since the release ({how}{also}):", *rows]
