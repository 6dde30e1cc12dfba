"""SIGINT and SIGTERM as one exception, raised once: cleaning up is not interrupted by impatience."""

from __future__ import annotations

import contextlib
import signal
import sys
from collections.abc import Iterator
from types import FrameType


class Interrupted(KeyboardInterrupt):
    """A signal asked us to stop."""

    def __init__(self, signal_number: int) -> None:
        super().__init__()
        self.signal_number = signal_number


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
        raise Interrupted(number)

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, former in before.items():
            signal.signal(number, former)
        _seen.clear()
