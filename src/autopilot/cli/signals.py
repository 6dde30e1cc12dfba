"""SIGINT and SIGTERM as one exception, raised once: cleaning up is not interrupted by impatience."""

from __future__ import annotations

import contextlib
import signal
import sys
from collections.abc import Iterator
from types import FrameType

from autopilot import interrupts

_seen: list[int] = []


def last() -> int | None:
    """The signal that was raised, if one was."""
    return _seen[-1] if _seen else None


@contextlib.contextmanager
def raised_once() -> Iterator[None]:
    """Within the block the first SIGINT, SIGTERM or SIGHUP raises Interrupted; later ones are only answered."""

    def handle(number: int, _frame: FrameType | None) -> None:
        if _seen:
            sys.stderr.write("Already stopping: rolling back and writing down how it ended.\n")
            return
        _seen.append(number)
        interrupts.arrive(number)

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, former in before.items():
            signal.signal(number, former)
        _seen.clear()
