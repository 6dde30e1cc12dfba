"""Route 0: PostgreSQL undid the transaction itself. Costs nothing, loses nothing."""

from __future__ import annotations

from autopilot.rollback.routes.facts import Facts
from autopilot.rollback.routes.route import Route


def route(_facts: Facts) -> Route:
    return Route(
        name="transaction abort", how="not_needed", cost="nothing",
        text="PostgreSQL undid the migration together with its ledger row; nothing is left to undo.",
    )  # fmt: skip
