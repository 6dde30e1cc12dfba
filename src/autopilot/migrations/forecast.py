"""How long production will take, and whom it will keep waiting for how long, from what was observed on a copy.

A statement is taken to last as long as on the copy, times how much slower the target counts (`pace`), and where it writes,
times what durability costs; each transaction adds its round trips. A lock is held from the statement that takes it until the
COMMIT. How far off that is, `benchmarks/forecast.py` measures and docs/release.md tells.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from autopilot.clock import Clock
from autopilot.migrations.locks import MODES, Lock, is_gentle, keeps_waiting
from autopilot.migrations.observed import Observed, Transaction
from autopilot.migrations.segments import Migration
from autopilot.migrations.statements import Statement
from autopilot.migrations.work import estimate_ms
from autopilot.postgres.bounded import patient
from autopilot.postgres.queries import named
from autopilot.postgres.session import Connection

_COUNT = named(__file__, "forecast.sql")["count"]
#: What fsync, full page images and the rest of the server's work add to a statement that writes: the copy runs without.
#: Median of benchmarks/forecast.py.
DURABILITY = 1.3
#: Behind one look at the clock on the copy lies the look itself.
_LOOK_MS = 0.3
_COUNTS = 4
#: The same counting on two machines says nothing beyond these. A target that counts faster is not taken to be faster: what a
#: statement waits for, a disk, a lock or a clock, does not get quicker with it.
_SLOWEST, _FASTEST = 20.0, 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How the target compares with the copy."""

    #: How many times as long the target takes for the same counting.
    ratio: float = 1.0
    #: Round trip to the target.
    trip_ms: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Blocked:
    """A relation whose readers or writers have to wait."""

    relation: str
    mode: str
    duration_ms: float

    @property
    def keeps_waiting(self) -> str:
        return keeps_waiting(self.mode)

    def document(self) -> dict[str, Any]:
        return {
            "relation": self.relation, "mode": self.mode, "keeps_waiting": self.keeps_waiting, "duration_ms": self.duration_ms,
        }  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    duration_ms: float
    #: The longest first.
    blocked: tuple[Blocked, ...]


def counting_ms(connection: Connection) -> float:
    """How long the server takes to count and hash 40,000 numbers: about 12 ms of one core's work."""
    with patient(connection, 30):
        row = connection.execute(_COUNT).fetchone()
    return float(row[0]) if row is not None else 0.0


def trip_ms(connection: Connection, clock: Clock) -> float:
    """One round trip to the server, at best of three."""
    times = []
    for _ in range(3):
        begun_s = clock.monotonic_s()
        connection.execute("SELECT")
        times.append((clock.monotonic_s() - begun_s) * 1000)
    return round(min(times), 3)


def compared(target: Connection, copy: Connection, clock: Clock) -> Pace:
    """Each counts in turn, so that what else the machines do meanwhile troubles both."""
    counts = [(counting_ms(target), counting_ms(copy)) for _ in range(_COUNTS)]
    return pace(
        target_ms=min(of for of, _ in counts), copy_ms=min(of for _, of in counts), trip_ms=trip_ms(target, clock),
    )  # fmt: skip


def pace(*, target_ms: float, copy_ms: float, trip_ms: float) -> Pace:
    """`target_ms` and `copy_ms` are of `counting_ms`."""
    return Pace(ratio=min(_SLOWEST, max(_FASTEST, target_ms / max(copy_ms, 0.001))), trip_ms=trip_ms)


def forecast(transactions: Iterable[Transaction], pace: Pace) -> Forecast:
    """Of all of them, one after the other."""
    found = tuple(transactions)
    blocked = sorted((b for t in found for b in _blocked(t, pace)), key=lambda b: -b.duration_ms)
    return Forecast(duration_ms=round(sum(_whole_ms(t, pace) for t in found), 1), blocked=_longest(blocked))


def by_file(transactions: Iterable[Transaction], pace: Pace) -> dict[str, tuple[tuple[Observed, ...], Forecast]]:
    """By version: what the file's statements did, and the forecast for the file by itself."""
    apart: dict[str, list[Transaction]] = {}
    for transaction in transactions:
        for version in dict.fromkeys(s.version for s in transaction.statements):
            own = tuple(s for s in transaction.statements if s.version == version)
            apart.setdefault(version, []).append(Transaction(statements=own, alone=transaction.alone))
    return {version: (tuple(s for t in own for s in t.statements), forecast(own, pace)) for version, own in apart.items()}


def by_size(migration: Migration, size_bytes: Mapping[str, int]) -> Forecast:
    """For a file that was never rehearsed: from its text and the size of the tables it names, nothing else."""
    effects = dict(zip((s.start for s in migration.statements), migration.effects, strict=False))
    return forecast(
        (
            Transaction(
                statements=tuple(_guessed(migration, s, effects[s.start].locks, size_bytes) for s in segment.statements),
                alone=segment.kind == "alone",
            )
            for segment in migration.segments
        ),
        Pace(),
    )


def _guessed(migration: Migration, statement: Statement, locks: tuple[Lock, ...], size_bytes: Mapping[str, int]) -> Observed:
    return Observed(
        version=migration.version, file=migration.file.file, line=statement.line,
        number=migration.statements.index(statement), statement=statement.shown(),
        duration_ms=estimate_ms(statement.works, size_bytes), locks=locks,
    )  # fmt: skip


def _whole_ms(transaction: Transaction, pace: Pace) -> float:
    # a message and its COMMIT; for a statement that stands alone an intent row and the row that it is done
    return sum(_ms(s, pace) for s in transaction.statements) + (4 if transaction.alone else 2) * pace.trip_ms


def _ms(statement: Observed, pace: Pace) -> float:
    writes = bool(statement.rewritten or statement.written)
    return max(0.0, statement.duration_ms - _LOOK_MS) * pace.ratio * (DURABILITY if writes else 1.0)


def _blocked(transaction: Transaction, pace: Pace) -> Iterator[Blocked]:
    """From the end: what is locked by a statement stays so through all that follow, and the round trip of the COMMIT."""
    modes: dict[str, str] = {}
    since_ms: dict[str, float] = {}
    left_ms = pace.trip_ms
    for statement in reversed(transaction.statements):
        left_ms += _ms(statement, pace)
        for lock in statement.locks:
            if _stands_in_the_way(lock):
                since_ms[lock.relation] = left_ms
                modes[lock.relation] = max(lock.mode, modes.get(lock.relation, lock.mode), key=MODES.index)
    for relation, mode in modes.items():
        yield Blocked(relation=relation, mode=mode, duration_ms=round(since_ms[relation], 1))


def _stands_in_the_way(lock: Lock) -> bool:
    return not is_gentle(lock.mode)


def _longest(blocked: list[Blocked]) -> tuple[Blocked, ...]:
    """One a relation: it may be locked by several transactions, one after the other."""
    first: dict[str, Blocked] = {}
    for found in blocked:
        first.setdefault(found.relation, found)
    return tuple(first.values())
