"""A route back as it is told, and all of them in order."""

from __future__ import annotations

from dataclasses import dataclass

from autopilot.rollback.routes.facts import NOTHING_IN_THE_WAY, Facts, InTheWay, Key, Loss, Since, Step


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    name: str
    #: "by_command" (`command` does it), "by_hand" or "not_needed".
    how: str
    text: str
    #: As --route names it; None of what `rollback` does not do.
    key: Key | None = None
    #: Who waits for it, and how long, roughly.
    cost: str = ""
    #: Conditions that are not met, in sentences; none: it can be taken.
    why_not: tuple[str, ...] = ()
    command: str | None = None
    #: What would be lost, in sentences.
    would_lose: tuple[str, ...] = ()
    #: Tables whose number of rows is not that of the backup, where the backup would take their place.
    loses: tuple[Loss, ...] = ()
    #: True where what is counted cannot show all that would be lost, as changed rows.
    may_lose_more: bool = False
    #: Whether a rehearsal has proven it; None: not tried, or there is nothing to prove.
    proven: bool | None = None
    steps: tuple[Step, ...] = ()
    in_the_way: InTheWay = NOTHING_IN_THE_WAY
    #: Tables whose number of rows is not that of the backup; None: not counted. They are not lost here.
    written: tuple[Loss, ...] | None = None
    since: tuple[Since, ...] | None = None
    #: The backup that it takes rows from.
    file: str | None = None

    @property
    def is_possible(self) -> bool:
        return not self.why_not

    @property
    def loses_something(self) -> bool:
        return bool(self.would_lose or self.loses or self.may_lose_more)

    @property
    def what_it_loses(self) -> str:
        """In one sentence, without its full stop."""
        told = [*self.would_lose, *(loss.words() for loss in self.loses)]
        return "; ".join(told[:5]) + (f"; and {len(told) - 5} more" if len(told) > 5 else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class WayBack:
    """Routes, the cheapest first, and why the first is best."""

    summary: str
    routes: tuple[Route, ...]
    #: Runs whose going back counts among what was written since the release.
    gone_since: tuple[str, ...] = ()


def command(facts: Facts, key: Key, *, accept_loss: bool, to: str | None = None) -> str:
    """The exact command that takes a route; undo is what `rollback` takes unless told otherwise."""
    words = ["autopilot rollback", "" if key == "undo" and not accept_loss else f"--route {key}"]
    words += [f"--to {to or facts.to}" if to or facts.to else "", "--accept-data-loss" if accept_loss else ""]
    return " ".join(word for word in words if word)
