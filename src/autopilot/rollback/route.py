"""Chooses the way back from facts alone. The routes stand in one table, the cheapest first; each is a file in `routes/`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from autopilot.errors import Refused
from autopilot.rollback.routes import abort, code, forward, merge, provider, restore, undo
from autopilot.rollback.routes.facts import Facts, Key
from autopilot.rollback.routes.route import Route, WayBack

#: In the order in which they are shown.
ROUTES: tuple[Callable[[Facts], Route | None], ...] = (
    undo.route, code.route, forward.route, merge.route, restore.route, provider.restore_point, provider.point_in_time,
)  # fmt: skip
#: Where each possible one loses something: what brings most of it back first, then what disturbs least.
_LEAST_LOSS: tuple[Key, ...] = ("merge", "undo", "restore")
_SHOWS = "`autopilot rollback --plan` shows every way."


def way_back(facts: Facts) -> WayBack:
    """The routes that exist today for this release."""
    if facts.status is None or facts.run_id is None:
        return WayBack(summary="Nothing was ever applied by Autopilot here: there is nothing to undo.", routes=_of(facts))
    if facts.status in {"failure", "rollback"} and not facts.steps:
        undone = facts.last or f"The last run ({facts.run_id}) was rolled back or refused: the database is as it was before it."
        return WayBack(summary=undone, routes=_of(facts) or (abort.route(facts),))
    if facts.status == "pending":
        return WayBack(
            summary=f"The run {facts.run_id} has not ended. The next `autopilot migrate` settles it first.",
            routes=(abort.route(facts),),
        )
    if facts.restore_point is not None:
        facts = replace(facts, backup_file=None)
    lost = f" No usable backup: {facts.backup_file} is missing or damaged." if facts.backup_file and not facts.backup_good else ""
    return WayBack(
        summary=f"{_in(facts)} These ways lead back, the least destructive first.{lost}",
        routes=tuple(found for find in ROUTES if (found := find(facts)) is not None),
        gone_since=facts.gone_since,
    )


def _of(facts: Facts) -> tuple[Route, ...]:
    """Where no release is to be undone: a backup can be put in place all the same, when it is named."""
    found = restore.route(facts) if facts.to is not None and facts.copy is not None else None
    return () if found is None else (found,)


def choose(routes: Sequence[Route], *, wanted: Key | None, accept_loss: bool) -> Route:
    """The route to take. Pure.

    wanted: as --route names it; None: the cheapest that loses nothing, or with accept_loss the one that loses least.
    Raises Refused (`would_lose_data`, `no_way_back_recorded`, `undo_conflict`, `no_route`): it names the next route, its command
    and what it would lose.
    """
    known: dict[Key, Route] = {route.key: route for route in routes if route.key is not None}
    if wanted is not None:
        return _wanted(known, wanted, accept_loss=accept_loss)
    possible = [route for route in known.values() if route.is_possible]
    free = next((route for route in possible if not route.loses_something), None)
    if free is not None:
        return free
    following = next((known[key] for key in _LEAST_LOSS if key in known and known[key].is_possible), None)
    if following is None:
        raise _none(known)
    if not accept_loss:
        raise _loses(known, following)
    return following


def _wanted(known: dict[Key, Route], wanted: Key, *, accept_loss: bool) -> Route:
    route = known.get(wanted)
    if route is None or not route.is_possible:
        why = "nothing is there to go back on with it" if route is None else "; ".join(route.why_not[:5])
        others = [r for key in _LEAST_LOSS if key != wanted and (r := known.get(key)) is not None and r.is_possible]
        raise Refused(
            f"The route {wanted} cannot be taken: {why}.",
            code="no_route", hint=next_one(others[0]) if others else _SHOWS,
        )  # fmt: skip
    if route.loses_something and not accept_loss:
        raise Refused(
            f"The route {wanted} would lose something: {route.what_it_loses}.",
            code="would_lose_data", hint=f"Take that with `{_accepting(route)}`. {_SHOWS}",
        )  # fmt: skip
    return route


def next_one(route: Route) -> str:
    """The sentence that leads on to another route."""
    loses = f" It loses: {route.what_it_loses}." if route.loses_something else " It loses nothing."
    return f"The next route is {route.key} ({route.name}): `{_accepting(route)}`.{loses} {_SHOWS}"


def _accepting(route: Route) -> str:
    told = route.command or ""
    return told if "--accept-data-loss" in told or not route.loses_something else f"{told} --accept-data-loss"


def _loses(known: dict[Key, Route], following: Route) -> Refused:
    """Each way loses something, and nobody has said that it may."""
    undo_route = known.get("undo")
    if undo_route is None:
        return Refused(f"Going back would lose something: {following.what_it_loses}.", code="would_lose_data",
                       hint=next_one(following))  # fmt: skip
    if undo_route.is_possible:
        return Refused(
            f"Going back on {_runs(undo_route)} would lose data: {'; '.join(undo_route.would_lose[:5])}.",
            code="would_lose_data", hint=f"Push a migration that undoes it instead. {next_one(following)}",
        )  # fmt: skip
    return Refused(
        f"{_runs(undo_route).capitalize()} cannot be undone: {'; '.join(undo_route.why_not[:5])}.",
        code=_code(undo_route), hint=next_one(following),
    )  # fmt: skip


def _none(known: dict[Key, Route]) -> Refused:
    """No route of ours is left."""
    why = "; ".join(f"{key}: {', '.join(route.why_not[:3])}" for key, route in known.items())
    undo_route = known.get("undo")
    return Refused(
        f"No way back can be taken by command. {why or 'There is nothing to go back on'}.",
        code="no_route" if undo_route is None else _code(undo_route),
        hint="Push a migration that reverses the change. The last resort is the provider's point-in-time recovery, by hand: it"
        f" takes back everything written since, users and all. {_SHOWS}",
    )  # fmt: skip


def _code(undo_route: Route) -> str:
    return "undo_conflict" if undo_route.in_the_way.conflicts else "no_way_back_recorded"


def _runs(route: Route) -> str:
    runs = list(dict.fromkeys(step.run_id for step in route.steps))
    return f"run {runs[0]}" if len(runs) == 1 else f"{len(runs)} runs ({', '.join(runs)})"


def _in(facts: Facts) -> str:
    """What is in, in sentences."""
    last = f"{facts.last} " if facts.last else ""
    if not facts.steps:
        return f"{last}The release {facts.run_id} applied {_listed(facts.versions)}."
    runs = list(dict.fromkeys(s.run_id for s in facts.steps))
    versions = _listed(tuple(dict.fromkeys(v for s in facts.steps for v in s.versions)))
    if len(runs) > 1:
        return f"{last}{len(runs)} runs are to be gone back on ({', '.join(runs)}): {versions}."
    if facts.steps[0].is_whole:
        return f"{last}The release {runs[0]} applied {versions}."
    return f"{last}The release {runs[0]} failed half-way: not all of {versions} is in."


def _listed(versions: tuple[str, ...]) -> str:
    return ", ".join(versions[:5]) + (f" and {len(versions) - 5} more versions" if len(versions) > 5 else "")
