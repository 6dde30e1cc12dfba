"""What a run tells while it works: values, so that a terminal, a log and a test each read the same story."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from autopilot.clock import Clock


@dataclass(frozen=True, slots=True, kw_only=True)
class StepStarted:
    step: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StepProgress:
    step: str
    done: int
    #: None where the end is not known.
    total: int | None
    #: "bytes", "rows", "statements", "files" or "s".
    unit: str
    #: More of the same in words: "12 of 119 tables".
    besides: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepEnded:
    step: str
    #: "done", "skipped" or "failed".
    state: str
    text: str
    duration_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Noted:
    """Something a person should see that ends nothing."""

    text: str
    #: "note" or "warning".
    level: str = "note"


Event = StepStarted | StepProgress | StepEnded | Noted
Tell = Callable[[Event], None]


@dataclass(slots=True)
class Step:
    """An open step: `says()` sets its closing words, `progress()` shows how far it is."""

    name: str
    tell: Tell
    closing: str = ""
    state: str = "done"
    _shown: int = field(default=-1)

    def says(self, text: str) -> None:
        self.closing = text

    def skips(self, why: str) -> None:
        self.closing, self.state = why, "skipped"

    def progress(self, done: int, total: int | None, unit: str, *, besides: str = "") -> None:
        if done != self._shown:
            self._shown = done
            self.tell(StepProgress(step=self.name, done=done, total=total, unit=unit, besides=besides))


@contextmanager
def told(tell: Tell, clock: Clock, name: str, text: str) -> Iterator[Step]:
    """Tells the beginning and the end of a step, and that it failed or was stopped when it raises."""
    begun = clock.monotonic_s()
    step = Step(name=name, tell=tell)
    tell(StepStarted(step=name, text=text))
    try:
        yield step
    except BaseException as cause:
        ms = int((clock.monotonic_s() - begun) * 1000)
        ended = "stopped" if isinstance(cause, KeyboardInterrupt) else "failed"
        tell(StepEnded(step=name, state="failed", text=step.closing or ended, duration_ms=ms))
        raise
    ms = int((clock.monotonic_s() - begun) * 1000)
    tell(StepEnded(step=name, state=step.state, text=step.closing, duration_ms=ms))
