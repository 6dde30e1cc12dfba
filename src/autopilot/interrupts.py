"""Signals that ask us to stop, as one exception; held back for the moment in which a child process is born.

Between a fork and the line that registers the child, an exception would leave it running with nobody to end it.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass


class Interrupted(KeyboardInterrupt):
    """A signal asked us to stop."""

    def __init__(self, signal_number: int) -> None:
        super().__init__()
        self.signal_number = signal_number


@dataclass(slots=True)
class _Door:
    """A process has one set of signals, and so there is one door."""

    held: int = 0
    waiting: int | None = None


_door = _Door()


def arrive(signal_number: int) -> None:
    """Raises Interrupted, now or as soon as nobody holds it back. For a signal handler."""
    if _door.held:
        _door.waiting = signal_number
        return
    raise Interrupted(signal_number)


@contextlib.contextmanager
def held_back() -> Iterator[None]:
    """No Interrupted inside the block; one that arrived meanwhile is raised at its end."""
    if threading.current_thread() is not threading.main_thread():
        yield  # signals are the main thread's business
        return
    _door.held += 1
    try:
        yield
    finally:
        _door.held -= 1
    if not _door.held and _door.waiting is not None:
        number, _door.waiting = _door.waiting, None
        raise Interrupted(number)
