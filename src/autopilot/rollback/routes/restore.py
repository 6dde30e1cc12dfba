"""Route 4: a backup takes the place of everything that the role owns; what was there lies in quarantine, to be salvaged.

Conditions: a good backup of this database. Schemas of the platform (auth, storage, …) and automation are left alone.
Loses: nothing for good; every row written since the backup is out of the application's sight until it is salvaged.
"""

from __future__ import annotations

from autopilot.measures import about_in_words, size_in_words
from autopilot.rollback.routes.facts import Copy, Facts, losses
from autopilot.rollback.routes.route import Route, command

#: A restore takes two to four times as long as its dump.
_AS_LONG = 3


def route(facts: Facts) -> Route | None:
    if facts.copy is None and facts.backup_file is None:
        return None
    why_not = _why_not(facts)
    other = facts.copy is not None and facts.copy.file != facts.backup_file
    return Route(
        name="restore from backup", how="by_command", key="restore", why_not=why_not, cost=_cost(facts.copy),
        command=command(facts, "restore", accept_loss=True, to=facts.copy.file if other and facts.copy is not None else None),
        loses=losses(facts.rows_then, facts.rows_now), may_lose_more=True, would_lose=_loses(facts.copy),
        since=facts.since, file=None if facts.copy is None else facts.copy.file, text=_text(facts, facts.copy),
    )  # fmt: skip


def _text(facts: Facts, copy: Copy | None) -> str:
    if copy is None:
        return "Puts a backup in the place of everything that the role owns; what is there now goes to quarantine."
    instead = ""
    if copy.file != facts.backup_file and facts.backup_file:
        instead = f" {facts.backup_file} cannot be used ({facts.backup_why}): this is the next older good one."
    more = [run for run in copy.runs if run not in {step.run_id for step in facts.steps}]
    also = f" Goes back on {', '.join(more)} too." if more else ""
    without = f" It does not hold the rows of {', '.join(facts.without_data)}: the live ones stay." if facts.without_data else ""
    return (
        f"Puts {copy.file}, taken {copy.taken_at:%Y-%m-%d %H:%M} UTC, in the place of everything that the role owns, in one"
        " transaction. What is there now stays beside it, in quarantine; `autopilot salvage` brings rows over from there."
        f"{instead}{also}{without} Schemas of the platform, as auth and storage, are left as they are."
    )


def _loses(copy: Copy | None) -> tuple[str, ...]:
    if copy is None:
        return ()
    at = f"{copy.taken_at:%Y-%m-%d %H:%M} UTC"
    aside = f"every row written or changed since {at} goes to quarantine, out of sight until it is salvaged"
    return (f"{aside}; what was deleted since is there again",)


def _cost(copy: Copy | None) -> str:
    if copy is None:
        return ""
    lasts = about_in_words(_AS_LONG * copy.took_ms)
    room = f", and takes {size_in_words(copy.database_bytes)} more on the server" if copy.database_bytes else ""
    return (
        f"the application stands still for about {lasts} (three times as long as the dump took); with --staged only for the swap,"
        f" a second or two{room}"
    )


def _why_not(facts: Facts) -> tuple[str, ...]:
    if facts.copy is None:
        return (f"{facts.backup_file} cannot be used ({facts.backup_why}), and there is no older good one",)
    if facts.copy.holds_undone:
        runs = ", ".join(facts.copy.holds_undone)
        return (f"{facts.copy.file} holds what run {runs} had applied, which was gone back on since: name an older backup",)
    more = [run for run in facts.copy.runs if run not in {step.run_id for step in facts.steps}]
    if facts.copy.file != facts.backup_file and more:
        instead = f"the next older good one would go back on run {', '.join(more)} as well"
        return (f"{facts.backup_file} cannot be used ({facts.backup_why}), and {instead}: name it (--to {facts.copy.file})",)
    return ()
