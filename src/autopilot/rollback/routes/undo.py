"""Routes 1 and 2: reverse DDL from the recorded catalog, rows from the trash, in one transaction.

Conditions: the catalog from before each release was written down, and nothing that others made since is in the way.
Loses: what the trash does not keep, or does not keep any more.
"""

from __future__ import annotations

from autopilot.measures import size_in_words
from autopilot.rollback.routes.facts import Facts, losses
from autopilot.rollback.routes.route import Route, command


def route(facts: Facts) -> Route | None:
    if not facts.steps:
        return None
    loses = tuple(dict.fromkeys(sentence for step in facts.steps for sentence in step.loses))
    proofs = {step.proven for step in facts.steps}
    return Route(
        name="undo in one transaction", how="by_command", key="undo", why_not=_why_not(facts), cost=_cost(facts),
        command=command(facts, "undo", accept_loss=bool(loses)), would_lose=loses,
        proven=False if False in proofs else None if None in proofs else True,
        steps=facts.steps, in_the_way=facts.in_the_way, since=facts.since,
        written=None if facts.rows_then is None or facts.rows_now is None else losses(facts.rows_then, facts.rows_now),
        text=f"Undoes {'them, the newest first,' if len(facts.steps) > 1 else 'it'} and proves that all is as before, or changes"
        " nothing. What it changed or dropped comes back from the trash; rows that others wrote since stay, and those that have"
        " no place any more are kept in autopilot_trash.",
    )  # fmt: skip


def _why_not(facts: Facts) -> tuple[str, ...]:
    unknown = list(dict.fromkeys(step.run_id for step in facts.steps if not step.recorded))
    found = [f"what the database was before run {', '.join(unknown)} was not written down"] if unknown else []
    return (*found, *(f"in the way: {conflict}" for conflict in facts.in_the_way.conflicts))


def _cost(facts: Facts) -> str:
    held = [h for step in facts.steps for h in step.held or ()]
    whole = sum(h.size_bytes for h in held if h.how != "move")
    rows = f" and {size_in_words(whole)} of kept rows to come back" if whole else ""
    return f"the tables concerned are locked for the commands{rows}: mostly well below a second, 200,000 rows take about three"
