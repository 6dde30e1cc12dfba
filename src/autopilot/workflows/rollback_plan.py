"""The ways back from where the target stands, and what each would lose: `rollback --plan`. Writes nothing."""

from __future__ import annotations

from autopilot.postgres.session import look
from autopilot.rollback.route import way_back
from autopilot.rollback.routes.route import WayBack
from autopilot.workflows.choosing import facts
from autopilot.workflows.reading import reader
from autopilot.workflows.world import World


def rollback_plan(world: World, *, to: str | None) -> WayBack:
    """`autopilot rollback --plan`: the routes from the last release, or from the run or backup named by `to`.

    Raises Refused (`unknown_run`).
    """
    with reader(world.settings) as connection:
        look(connection)
        return way_back(facts(world, connection, to=to))
