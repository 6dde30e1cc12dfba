"""Pure: of all that was committed since a snapshot, what others wrote and what the release itself did, in order of commit.

A release's transaction is told by its rows in `automation`: nobody else writes there, and no transaction of a release that
changes anything else is without one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from autopilot.rollback import decoding
from autopilot.rollback.decoding import Change, Message, Truncate

_NUMBERS = 1 << 32
#: Where a transaction of a release says which of its files, or which part of one, it holds.
_FILES = ("table automation.applied_migrations: INSERT", "table automation.migration_segments:")
_OURS = "table automation."


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """Which transactions a snapshot sees, from pg_current_snapshot()::text: "735:741:736,739"."""

    xmin: int
    xmax: int
    under_way: frozenset[int]

    def __contains__(self, xid: str) -> bool:
        """xid: of 32 bits, as it is told; at most two billion transactions away from the snapshot."""
        distance = (int(xid) - self.xmax) % _NUMBERS
        whole = self.xmax + (distance - _NUMBERS if distance >= _NUMBERS // 2 else distance)
        return whole < self.xmin or (whole < self.xmax and whole not in self.under_way)


def seen(snapshot: str) -> Seen:
    """Raises ValueError."""
    xmin, xmax, under_way = snapshot.split(":")
    return Seen(xmin=int(xmin), xmax=int(xmax), under_way=frozenset(map(int, filter(None, under_way.split(",")))))


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """One transaction that the snapshot does not see."""

    #: Of the release, or another one of Autopilot's.
    ours: bool
    #: One of the release's files, or a part of one, is in it.
    applies: bool
    lines: tuple[str, ...]

    def changes(self) -> Iterator[Change | Truncate]:
        """Raises ValueError where a line is not understood."""
        for line in self.lines:
            found = decoding.read(line)
            if isinstance(found, Change | Truncate):
                yield found


def transactions(told: Iterable[tuple[str, str]], snapshot: Seen) -> Iterator[Written | Message]:
    """`told`: (number, line). Messages come as they come. Raises ValueError where a transaction has no end."""
    lines: list[str] = []
    inside: str | None = None
    for xid, line in told:
        if line.startswith("BEGIN "):
            inside, lines = xid, []
        elif line.startswith("COMMIT "):
            if xid != inside:
                raise ValueError("a transaction ends that did not begin")
            if lines and xid not in snapshot:
                yield _written(lines)
            inside = None
        elif line.startswith("message: "):
            yield decoding.read(line)  # type: ignore[misc]
        else:
            lines.append(line)
    if inside is not None:
        raise ValueError("a transaction is told without its end")


def _written(lines: list[str]) -> Written:
    return Written(
        ours=any(line.startswith(_OURS) for line in lines), applies=any(line.startswith(_FILES) for line in lines),
        lines=tuple(lines),
    )  # fmt: skip
