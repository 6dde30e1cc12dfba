"""The provider's own ways, which Autopilot names and never takes: its restore point, its point in time."""

from __future__ import annotations

from autopilot.rollback.routes.facts import Facts
from autopilot.rollback.routes.route import Route


def restore_point(facts: Facts) -> Route | None:
    if facts.restore_point is None:
        return None
    return Route(
        name="the provider's restore point", how="by_hand", may_lose_more=True, text=facts.restore_point,
        cost="the whole project, while the provider restores",
        would_lose=("everything written since that point, in all schemas",),
    )  # fmt: skip


def point_in_time(_facts: Facts) -> Route:
    return Route(
        name="the provider's point in time", how="by_hand", may_lose_more=True,
        cost="the whole project cannot be reached while the provider restores, for minutes to hours",
        would_lose=("everything written since that moment, in all schemas, users (auth) and the audit trail too",),
        text="The last resort, in the provider's dashboard, where point-in-time recovery is booked: the whole project goes back"
        " to a moment before the release. Replication slots have to be dropped first. Take a backup of now before it.",
    )  # fmt: skip
