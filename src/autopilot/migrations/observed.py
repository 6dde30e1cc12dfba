"""What each statement did while it ran: how long it took, what it locked, rewrote and wrote."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from autopilot.migrations.locks import MODES, Lock, strongest
from autopilot.migrations.unit import Part
from autopilot.migrations.wire import Envelope, Message
from autopilot.postgres.message import Answer, ask
from autopilot.postgres.queries import named
from autopilot.postgres.session import Connection

_LOOK = named(__file__, "observed.sql")["look"].decode()
#: pg_locks says "AccessExclusiveLock", the manual ACCESS EXCLUSIVE.
_MODES = {"".join(word.capitalize() for word in mode.split()) + "Lock": mode for mode in MODES}

#: What is checked at the end of a file is worth telling from here on.
_NOTABLE_MS = 50.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Relation:
    #: As it is shown: without its schema where that is public.
    name: str
    #: Schema and name.
    table: tuple[str, str]
    #: The number of the file that holds it; another one after a rewrite or TRUNCATE. None for what has none, as a view.
    storage: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """Rows of a relation that was there before."""

    relation: str
    inserted: int
    updated: int
    deleted: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """One statement, as it ran. Relations are those that were there before."""

    version: str
    file: str
    #: None for what is checked at the end of a file: deferred constraints and triggers.
    line: int | None
    #: Its place among the file's statements, from 0; of what is checked at the end, that of the part's first.
    number: int
    statement: str
    duration_ms: float
    #: Locks that it was the first to take, or to take in this strength.
    locks: tuple[Lock, ...] = ()
    #: Relations that have their rows in a new file since: rewritten, or emptied by TRUNCATE.
    rewritten: tuple[str, ...] = ()
    written: tuple[Written, ...] = ()
    #: Schema and name of each relation whose rows were written, and of each that was rewritten or emptied.
    wrote: tuple[tuple[str, str], ...] = ()
    refiled: tuple[tuple[str, str], ...] = ()

    def document(self) -> dict[str, Any]:
        """As it is kept, and shown to programs."""
        return {
            "line": self.line, "statement": self.statement, "duration_ms": self.duration_ms,
            "locks": [{"relation": lock.relation, "mode": lock.mode} for lock in self.locks], "rewrites": list(self.rewritten),
            "rows": [asdict(written) for written in self.written],
        }  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Transaction:
    """Statements that committed together, or one that stood alone; what they locked was locked until the last was done."""

    statements: tuple[Observed, ...]
    alone: bool = False

    @property
    def duration_ms(self) -> float:
        return sum(s.duration_ms for s in self.statements)


@dataclass(frozen=True, slots=True)
class _State:
    """One look: the moment, and by relation its modes, storage and rows written."""

    at_ms: float
    modes: Mapping[int, str]
    storage: Mapping[int, int | None]
    rows: Mapping[int, tuple[int, int, int]]


@dataclass(slots=True, kw_only=True)
class Watch:
    """Looks on while migrations run, and keeps what was committed."""

    #: By number: what was there before.
    there: Mapping[int, Relation]
    transactions: list[Transaction] = field(default_factory=list)
    _open: list[Observed] = field(default_factory=list)

    @property
    def look(self) -> str:
        """The question that is asked between statements."""
        return _LOOK.replace("{}", str(max(self.there, default=0)))

    def begun(self, connection: Connection) -> None:
        """A transaction begins, perhaps for another time. Raises what `ask` raises."""
        self._open.clear()
        if self.transactions and connection.info.server_version >= 150000:
            # what the one before has written is counted with this one's until the server has put it away
            ask(connection, "SELECT pg_catalog.pg_stat_force_next_flush()", timeout_s=30)

    def ran(self, message: Message, answer: Answer) -> None:
        """A message of it went through."""
        for envelope in message.envelopes:
            self._open.extend(self._observed(envelope, answer))

    def committed(self) -> None:
        self.transactions.append(Transaction(statements=tuple(self._open)))
        self._open.clear()

    def ran_alone(self, part: Part, duration_ms: int) -> None:
        """A statement that no transaction can hold: its locks are those that its text shows, as they are gone by now."""
        statement, migration = part.segment.statements[0], part.migration
        locks = next((e.locks for s, e in zip(migration.statements, migration.effects, strict=False) if s is statement), ())
        seen = Observed(
            version=part.migration.version, file=part.migration.file.file, line=statement.line,
            number=migration.statements.index(statement), statement=statement.shown(),
            duration_ms=float(duration_ms), locks=locks,
        )  # fmt: skip
        self.transactions.append(Transaction(statements=(seen,), alone=True))

    def _observed(self, envelope: Envelope, answer: Answer) -> Iterator[Observed]:
        file = envelope.part.migration.file
        before, *states = (self._state(answer.finished[number][1]) for number in envelope.looks)
        first = _number(envelope.part)
        texts = [(s.line, first + n, s.shown()) for n, s in enumerate(envelope.part.segment.statements)]
        for (line, number, text), after in zip(
            [*texts, (None, first, "what is checked at the end of the file")], states, strict=True
        ):
            written, refiled = self._written(before, after), self._refiled(before, after)
            seen = Observed(
                version=file.version, file=file.file, line=line, number=number, statement=text,
                duration_ms=round(max(0.0, after.at_ms - before.at_ms), 3), locks=self._locked(before, after),
                rewritten=tuple(self.there[n].name for n in refiled), written=tuple(w for _, w in written),
                wrote=tuple(self.there[n].table for n, _ in written), refiled=tuple(self.there[n].table for n in refiled),
            )  # fmt: skip
            if line is not None or seen.locks or seen.written or seen.duration_ms >= _NOTABLE_MS:
                yield seen
            before = after

    def _state(self, row: tuple[str | None, ...]) -> _State:
        modes: dict[int, str] = {}
        storage: dict[int, int | None] = {}
        rows: dict[int, tuple[int, int, int]] = {}
        for number, mode, stored, *written in json.loads(row[1] or "[]"):
            if number in self.there:
                modes[number] = max(modes.get(number, MODES[0]), _MODES[mode], key=MODES.index)
                storage[number], rows[number] = stored, (written[0], written[1], written[2])
        return _State(at_ms=float(row[0] or 0), modes=modes, storage=storage, rows=rows)

    def _locked(self, before: _State, after: _State) -> tuple[Lock, ...]:
        return strongest(
            Lock(relation=self.there[number].name, mode=mode)
            for number, mode in after.modes.items()
            if MODES.index(mode) > MODES.index(before.modes.get(number, MODES[0]))
        )

    def _refiled(self, before: _State, after: _State) -> tuple[int, ...]:
        """A rewrite locks out everybody, so whatever was rewritten is among what is locked; what was dropped has no file."""
        return tuple(
            number
            for number, storage in after.storage.items()
            if storage is not None and storage != before.storage.get(number, self.there[number].storage)
        )

    def _written(self, before: _State, after: _State) -> tuple[tuple[int, Written], ...]:
        found = []
        for number, rows in after.rows.items():
            inserted, updated, deleted = (a - b for a, b in zip(rows, before.rows.get(number, (0, 0, 0)), strict=True))
            written = Written(relation=self.there[number].name, inserted=inserted, updated=updated, deleted=deleted)
            if inserted or updated or deleted:
                found.append((number, written))
        return tuple(found)


def _number(part: Part) -> int:
    """The place of the part's first statement among the file's."""
    return sum(len(segment.statements) for segment in part.migration.segments[: part.number])


def touched(transactions: Sequence[Transaction]) -> tuple[Written, ...]:
    """The rows written of each relation; one that was rewritten or emptied is named with none."""
    total: dict[str, Written] = {}
    for statement in (s for t in transactions for s in t.statements):
        nothing = (Written(relation=name, inserted=0, updated=0, deleted=0) for name in statement.rewritten)
        for seen in (*statement.written, *nothing):
            known = total.get(seen.relation, Written(relation=seen.relation, inserted=0, updated=0, deleted=0))
            total[seen.relation] = Written(
                relation=seen.relation, inserted=known.inserted + seen.inserted, updated=known.updated + seen.updated,
                deleted=known.deleted + seen.deleted,
            )  # fmt: skip
    return tuple(total.values())


def locks(transactions: Sequence[Transaction]) -> tuple[Lock, ...]:
    """The strongest lock on each relation."""
    return strongest(lock for t in transactions for s in t.statements for lock in s.locks)
