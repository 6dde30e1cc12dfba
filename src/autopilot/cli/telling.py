"""Shows a run's events: a live line on a terminal, plain lines everywhere else."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, TextIO

from autopilot.cli.frame import clean, known_secrets
from autopilot.events import Event, Noted, StepEnded, StepProgress, StepStarted, Tell
from autopilot.measures import counted

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

#: In a log a long step says how far it is this often.
_PLAIN_PROGRESS_EVERY_S = 10.0

_MARKS = {"done": "✓", "skipped": "-", "failed": "✗"}
_COLOURS = {"done": "green", "skipped": "dim", "failed": "red"}


def is_lively(stream: TextIO, variables: Mapping[str, str]) -> bool:
    """Whether a live display and colour are wanted: a terminal, not a CI log, not a dumb one."""
    return stream.isatty() and not variables.get("CI") and variables.get("TERM", "") not in {"dumb", ""}


@contextlib.contextmanager
def teller() -> Iterator[Tell]:
    """Shows events on stderr for the length of the block."""
    known = known_secrets()
    if is_lively(sys.stderr, os.environ):
        with _Lively(known=known).open() as tell:
            yield tell
    else:
        yield _Plain(stream=sys.stderr, known=known).tell


@dataclass(slots=True)
class _Plain:
    stream: TextIO
    known: tuple[str, ...]
    now_s: Callable[[], float] = time.monotonic
    _last_s: float = 0.0

    def tell(self, event: Event) -> None:
        match event:
            case StepStarted():
                self._last_s = self.now_s()
            case StepProgress():
                if self.now_s() - self._last_s >= _PLAIN_PROGRESS_EVERY_S:
                    self._last_s = self.now_s()
                    self._line(f"  … {event.step}: {amount(event)}")
            case StepEnded():
                self._line(f"{_MARKS[event.state]} {event.step:<9} {event.text}{took(event.duration_ms)}")
            case Noted():
                self._line(f"  {'! ' if event.level == 'warning' else ''}{event.text}")

    def _line(self, text: str) -> None:
        with contextlib.suppress(BrokenPipeError):  # a reader that went away must not end a release
            self.stream.write(clean(" ".join(text.split("\n")), known=self.known).rstrip() + "\n")
            self.stream.flush()


@dataclass(slots=True)
class _Lively:
    """Finished steps as lines; below them the step under way, with how far it is and for how long."""

    known: tuple[str, ...]
    _progress: Progress | None = None
    _task: TaskID | None = None

    @contextlib.contextmanager
    def open(self) -> Iterator[Tell]:
        from rich.console import Console
        from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

        columns = (SpinnerColumn(), TextColumn("{task.description}"), TextColumn("[dim]{task.fields[far]}"), TimeElapsedColumn())
        with Progress(*columns, console=Console(stderr=True, highlight=False), transient=True) as self._progress:
            yield self.tell

    def tell(self, event: Event) -> None:
        match event:
            case StepStarted() if self._progress is not None:
                self._task = self._progress.add_task(self._safe(event.text), total=None, far="")
            case StepProgress() if self._progress is not None and self._task is not None:
                self._progress.update(self._task, far=amount(event))
            case StepEnded():
                self._end(event)
            case Noted():
                style = "yellow" if event.level == "warning" else "dim"
                self._print(f"  [{style}]{self._safe(event.text)}[/]")

    def _end(self, event: StepEnded) -> None:
        if self._progress is not None and self._task is not None:
            self._progress.remove_task(self._task)
            self._task = None
        colour = _COLOURS[event.state]
        mark = f"[{colour}]{_MARKS[event.state]}[/] [bold]{event.step:<9}[/]"
        self._print(f"{mark} {self._safe(event.text)}[dim]{took(event.duration_ms)}[/]")

    def _print(self, text: str) -> None:
        if self._progress is not None:
            self._progress.console.print(text)

    def _safe(self, text: str) -> str:
        from rich.markup import escape

        return escape(clean(text, known=self.known))


def amount(event: StepProgress) -> str:
    """How far a step is."""
    if event.unit == "bytes":
        return f"{event.done / (1 << 20):.1f} MiB" + (f", {event.besides}" if event.besides else "")
    if event.total is None:
        return f"{event.done:,} {event.unit}"
    return f"{event.done:,} of {counted(event.total, event.unit.removesuffix('s'))}" if len(event.unit) > 1 else _seconds(event)


def _seconds(event: StepProgress) -> str:
    return f"{event.done} of {event.total} {event.unit}"


def took(duration_ms: int) -> str:
    return "" if duration_ms < 50 else f" ({duration_ms / 1000:.1f} s)"
