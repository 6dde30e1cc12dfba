"""Time: the only place that asks the machine what time it is, or waits."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    def now(self) -> datetime:
        """Wall time, UTC, aware."""

    def monotonic_s(self) -> float: ...

    def sleep(self, seconds: float) -> None: ...


@dataclass(frozen=True, slots=True)
class SystemClock:
    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic_s(self) -> float:
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)


def elapsed_ms(clock: Clock, since_s: float) -> int:
    """Whole milliseconds since a `monotonic_s()` reading."""
    return int((clock.monotonic_s() - since_s) * 1000)
