"""Another migration that reverses the change, released like any other."""

from __future__ import annotations

from autopilot.rollback.routes.facts import Facts
from autopilot.rollback.routes.route import Route


def route(_facts: Facts) -> Route:
    return Route(
        name="a migration that undoes it", how="by_hand", cost="that of a release",
        text="Push a new migration that reverses the change; it is rehearsed on a copy first like any other.",
    )  # fmt: skip
