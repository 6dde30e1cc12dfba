"""Route 3: the schema is undone, and what the trash does not keep of the release comes from the release's backup.

Conditions: one release, its catalog recorded, nothing in the way, its own backup good and holding what is missing.
Loses: what was written between the backup and the release there, and what a backup cannot tell apart.
"""

from __future__ import annotations

from autopilot.measures import span_in_words
from autopilot.rollback.routes.facts import Facts
from autopilot.rollback.routes.route import Route, command


def route(facts: Facts) -> Route | None:
    if not facts.steps:
        return None
    return Route(
        name="merge rows from the backup", how="by_command", key="merge", why_not=_why_not(facts), cost=_COST,
        command=command(facts, "merge", accept_loss=True), would_lose=_loses(facts), since=facts.since,
        text=f"Undoes the schema and, in the same transaction, takes from {facts.backup_file or 'the backup'} what the trash"
        f" does not keep{_brings(facts)}. Rows that others wrote or changed since stay theirs.",
        file=facts.backup_file, in_the_way=facts.in_the_way,
    )  # fmt: skip


_COST = "the tables concerned are locked while their rows are read from the backup and compared: seconds for each million rows"


def _brings(facts: Facts) -> str:
    return f": {', '.join(facts.merge.brings)}" if facts.merge.brings else ""


def _loses(facts: Facts) -> tuple[str, ...]:
    gap = span_in_words(facts.merge.gap_s)
    between = f"what others wrote into those tables between the backup and the release ({gap}): that comes back as in the backup"
    return (between, *facts.merge.leaves)


def _why_not(facts: Facts) -> tuple[str, ...]:
    if not facts.backup_file:
        return ("the release has no backup",)
    found = [] if facts.backup_good else [f"{facts.backup_file} cannot be used: {facts.backup_why}"]
    unknown = [step.run_id for step in facts.steps if not step.recorded]
    if unknown:
        return (*found, f"what the database was before run {', '.join(unknown)} was not written down")
    if len(facts.steps) > 1:
        return (*found, "it undoes one release at a time: name the last one")
    if not found and facts.merge.why_not:
        found.append(facts.merge.why_not)
    return (*found, *(f"in the way: {conflict}" for conflict in facts.in_the_way.conflicts))
