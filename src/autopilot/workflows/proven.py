"""How well backups are proven: when one was last restored, whether it came back, when the next test is due."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from autopilot.audit.reports import RestoreTest
from autopilot.measures import span_in_words

#: "failing": the newest test failed. "overdue": no good one within the span. "never": none at all. "off": no schedule.
ProofState = Literal["fresh", "overdue", "failing", "never", "off"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoreTestStanding:
    state: ProofState
    #: The newest test, and the newest that brought a backup back.
    last: RestoreTest | None
    last_good: RestoreTest | None
    #: When the next one is due; None = no schedule.
    due_at: datetime | None
    words: str

    @property
    def is_worrying(self) -> bool:
        return self.state in {"overdue", "failing", "never"}

    def is_due(self, now: datetime) -> bool:
        return self.due_at is not None and (self.state == "failing" or now >= self.due_at)


def standing(
    last: RestoreTest | None, last_good: RestoreTest | None, *, every_s: float | None, now: datetime
) -> RestoreTestStanding:
    """From the newest test, the newest good one, and how often there shall be one."""
    due_at = None if every_s is None else now if last_good is None else last_good.tested_at + timedelta(seconds=every_s)
    state = _state(last, last_good, due_at, now)
    return RestoreTestStanding(
        state=state, last=last, last_good=last_good, due_at=due_at, words=_words(state, last, last_good, due_at, now)
    )


def _state(last: RestoreTest | None, last_good: RestoreTest | None, due_at: datetime | None, now: datetime) -> ProofState:
    if last is not None and last.status != "success":
        return "failing"
    if due_at is None:
        return "off"
    if last_good is None:
        return "never"
    return "overdue" if now >= due_at else "fresh"


def _words(
    state: ProofState, last: RestoreTest | None, last_good: RestoreTest | None, due_at: datetime | None, now: datetime
) -> str:
    good = (
        "no backup was ever restored here"
        if last_good is None
        else (f"{last_good.backup_file} came back {span_in_words((now - last_good.tested_at).total_seconds())} ago")
    )
    if state == "failing" and last is not None:
        return f"FAILING: {last.backup_file} did not come back at {last.tested_at:%Y-%m-%d %H:%M} UTC ({last.notes}); {good}"
    if state in {"overdue", "never"}:
        late = "" if due_at is None or last_good is None else f" by {span_in_words((now - due_at).total_seconds())}"
        return f"OVERDUE{late}: {good}; run `autopilot backup restore-test`"
    return good + (f"; the next test is due {due_at:%Y-%m-%d %H:%M} UTC" if due_at is not None else "; no schedule")
