"""Work that goes on beside the story, and what waits for it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

T = TypeVar("T")

_LOOK_UP_S = 0.2


@dataclass(slots=True, kw_only=True)
class Meanwhile(Generic[T]):
    """Call it to wait for the result; what the work raised is raised again there."""

    thread: threading.Thread
    _came: list[T | BaseException] = field(default_factory=list)

    def __call__(self) -> T:
        while self.thread.is_alive():
            self.thread.join(_LOOK_UP_S)  # a signal that comes just before a wait without end would be heard at that end
        if isinstance(self._came[0], BaseException):
            raise self._came[0]
        return self._came[0]


def meanwhile(work: Callable[[], T], *, name: str) -> Meanwhile[T]:
    """Begins `work` on a thread of its own, which a run that is stopped does not wait for."""
    came: list[T | BaseException] = []

    def run() -> None:
        try:
            came.append(work())
        except BaseException as cause:  # noqa: BLE001 - raised again by whoever waits
            came.append(cause)

    thread = threading.Thread(target=run, name=name, daemon=True)
    thread.start()
    return Meanwhile(thread=thread, _came=came)
