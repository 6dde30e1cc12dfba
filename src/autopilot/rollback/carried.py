"""Pure: a change that somebody made to a live row, as a statement on the restored table.

What the release itself did is not carried over, and so a live row may hold more than what somebody wrote: of an UPDATE all
columns are told, also those that only the release had changed. Of each row that the release wrote, what it left there is
remembered (as hashes); a column that still holds it was not written by anybody else.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import NamedTuple

from autopilot.rollback.decoding import Change, Datum, Unchanged
from autopilot.rollback.live import Column, Live, quoted

Name = tuple[str, str]
#: Remembered rows: about 200 bytes each.
_MOST = 2_000_000
_NOTHING_TELLS = "nothing tells which row was changed (the table has no key)"


class NoPlace(Exception):
    """The restored database has no place for a change; says why, without the row."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A live column."""

    #: By its usual schema, and as it can be written now.
    type: str
    here: str
    generated: bool
    #: What it holds where nobody wrote it, as text: its constant default, and that of rows that were there before it.
    fillers: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Where the changes of a live table go."""

    to: Live
    #: In words, as it was called.
    words: str
    #: What tells its rows apart; none where nothing does.
    key: tuple[str, ...]
    #: Without a key, all of an old row is told (REPLICA IDENTITY FULL).
    whole: bool
    #: Live columns by their former names; None where there is no live table any more.
    source: Mapping[str, Source] | None
    #: Restored columns' types, as the live ones would be called.
    types: Mapping[str, str]
    #: Columns of which the release may have made other values without a word.
    unsure: frozenset[str] = frozenset()
    #: What tells the live table's rows apart; None where there is none any more.
    live_key: frozenset[str] | None = None

    def retyped(self, name: str) -> str | None:
        """The live type, where the release may have made other values of the restored ones."""
        column = None if self.source is None else self.source.get(name)
        if column is None or name not in self.types:
            return None
        return column.here if name in self.unsure or column.type != self.types[name] else None

    @property
    def differs(self) -> bool:
        """Whether the live table's columns are others than the restored one's."""
        return self.source is not None and {n: s.type for n, s in self.source.items()} != dict(self.types)


class Told(NamedTuple):
    """A value as it was told, of a column whose type the release changes: what it became then, nothing tells."""

    type: str
    value: str | None
    #: Not the release wrote it.
    theirs: bool


#: Hashes of values; of columns whose type the release changes the values themselves.
Row = dict[str, bytes | Told]


@dataclass(slots=True)
class Known:
    """What the live row held when the release, or somebody since, last wrote it; by table and key."""

    rows: dict[tuple[Name, tuple[str, ...]], Row] = field(default_factory=dict)

    def forget_all(self, table: Name) -> None:
        self.rows = {place: row for place, row in self.rows.items() if place[0] != table}

    def learn(self, table: Table, name: Name, new: Iterable[Datum], *, theirs: bool) -> None:
        """Raises NoPlace."""
        new = tuple(new)
        key = _key(table, new)
        if key is None:
            return
        row = self.rows.setdefault((name, key), {})
        for datum in new:
            if not isinstance(datum.value, Unchanged):
                told = Told(datum.type, datum.value, theirs)
                row[datum.name] = _hash(datum.value) if table.retyped(datum.name) is None else told
        if len(self.rows) > _MOST:
            raise NoPlace(f"the release wrote more than {_MOST:,} rows: too many to tell its own writes from others'")


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    text: str
    #: The table, in words.
    table: str
    #: Without a row that it changes, the change has no place.
    must_find: bool = True


def of_release(table: Table, name: Name, change: Change, known: Known) -> None:
    """Remembers what the release left in a row. Raises NoPlace."""
    old = _key(table, change.old)
    if old is not None:
        known.rows.pop((name, old), None)
    if change.new is not None:
        known.learn(table, name, change.new, theirs=False)


def statement(table: Table, name: Name, change: Change, known: Known, *, later: bool) -> Statement | None:
    """later: whether the release had begun by then. None where nothing is left to be carried. Raises NoPlace."""
    if change.what == "delete":
        return _delete(table, name, change, known)
    if change.new is None:
        raise NoPlace("a new row is not told")
    key = _key(table, change.new)
    made: Statement | None
    if change.what == "insert":
        made = _insert(table, change.new, later=later)
    else:
        if later and change.old is None and table.live_key is not None and table.live_key != frozenset(table.key):
            raise NoPlace(_NOTHING_TELLS)  # it may have changed what is the key here
        old = _key(table, change.old) if change.old is not None else key
        row = known.rows.pop((name, old), None) if old is not None else None
        made = _update(table, change, row, later=later)
        if row is not None and key is not None:
            known.rows[name, key] = row
    tracked = key is not None and (name, key) in known.rows
    if later and (table.differs or tracked):
        known.learn(table, name, change.new, theirs=True)
    return made


def _insert(table: Table, new: tuple[Datum, ...], *, later: bool) -> Statement:
    columns, checks = [], []
    for datum, column in _with_place(table, new, None):
        columns.append((quoted(column.name), _literal(datum.value)))
        checks += _comes_through(table, datum, column) if later else []
    if not columns:
        return Statement(text=f"INSERT INTO {table.to.sql} DEFAULT VALUES", table=table.words)
    names, values = (", ".join(part) for part in zip(*columns, strict=True))
    head = f"INSERT INTO {table.to.sql} ({names}) OVERRIDING SYSTEM VALUE "
    # of VALUES alone the literals become what the columns are
    ending = f"VALUES ({values})" if not checks else _checked_values(table, new, checks)
    return Statement(text=head + ending, table=table.words)


def _checked_values(table: Table, new: tuple[Datum, ...], checks: list[str]) -> str:
    values = ", ".join(_typed(datum, column) for datum, column in _with_place(table, new, None))
    return f"SELECT {values} WHERE {' AND '.join(checks)}"


def _update(table: Table, change: Change, row: Row | None, *, later: bool) -> Statement | None:
    sets, conditions = [], []
    for datum, column in _with_place(table, change.new or (), row):
        if column.fixed or (change.old is None and column.name in table.key):
            continue
        value = _literal(datum.value)
        if later and table.retyped(column.name) is not None:
            told = None if row is None else row.get(datum.name)
            converted = _as_converted(table, datum, column, told if isinstance(told, Told) else None)
            if not isinstance(told, Told) or not told.theirs or told.type != datum.type:
                conditions.append(converted)  # who wrote it cannot be told, unless it is what the release made of it
                continue
            conditions += _comes_through(table, datum, column)
            value = f"CASE WHEN {converted} THEN {quoted(column.name)} ELSE {value} END"
        sets.append(f"{quoted(column.name)} = {value}")
    where = _where(table, change.old if change.old is not None else change.new)
    if not sets:
        if not conditions:
            return None
        return Statement(text=f"SELECT FROM ONLY {table.to.sql} WHERE {' AND '.join((where, *conditions))}", table=table.words)
    text = f"UPDATE ONLY {table.to.sql} SET {', '.join(sets)} WHERE {' AND '.join((where, *conditions))}"
    return Statement(text=text, table=table.words)


def _delete(table: Table, name: Name, change: Change, known: Known) -> Statement:
    if change.old is None:
        raise NoPlace("nothing tells which row was deleted (the table has no key)")
    key = _key(table, change.old)
    if key is not None:
        known.rows.pop((name, key), None)
    text = f"DELETE FROM ONLY {table.to.sql} WHERE {_where(table, change.old)}"
    return Statement(text=text, table=table.words, must_find=not table.key)


def _with_place(table: Table, new: Iterable[Datum], row: Row | None) -> Iterator[tuple[Datum, Column]]:
    """The columns that somebody may have written. Raises NoPlace where the restored table has none for what was written."""
    for datum in new:
        if isinstance(datum.value, Unchanged) or (row is not None and _holds(row.get(datum.name), datum)):
            continue
        column = table.to.column(datum.name)
        source = None if table.source is None else table.source.get(datum.name)
        if column is not None and (not column.generated or source is None or source.generated):
            if not column.generated:
                yield datum, column
        elif datum.value is not None and not (source is not None and (source.generated or datum.value in source.fillers)):
            raise NoPlace(f"the column {datum.name} is not there before the release")


def _where(table: Table, told: tuple[Datum, ...] | None) -> str:
    found = {d.name: d.value for d in told or () if not isinstance(d.value, Unchanged)}
    if table.key and all(found.get(name) is not None for name in table.key):
        pairs = []
        for name in table.key:
            column = table.to.column(name)
            pairs.append(f"{quoted(name)} {column.equal if column is not None else '='} {_literal(found[name])}")
        return " AND ".join(pairs)
    if not table.whole or table.key:
        raise NoPlace(_NOTHING_TELLS)
    same = " AND ".join(
        f"{quoted(c.name)}::text IS NOT DISTINCT FROM {_literal(found.get(c.name))}" for c in table.to.columns if not c.generated
    )
    return f"ctid = (SELECT ctid FROM ONLY {table.to.sql} WHERE {same} LIMIT 1)"


def _key(table: Table, told: tuple[Datum, ...] | None) -> tuple[str, ...] | None:
    if not table.key or told is None:
        return None
    found = {d.name: d.value for d in told}
    values = tuple(found.get(name) for name in table.key)
    return values if all(isinstance(v, str) for v in values) else None  # type: ignore[return-value]


def _comes_through(table: Table, datum: Datum, column: Column) -> list[str]:
    """A value of the live type that the restored one cannot hold as it is has no place there."""
    live = table.retyped(column.name)
    if live is None or datum.value is None:
        return []
    return [f"({_cast(_cast(_literal(datum.value), column.type), live)})::text = {_literal(datum.value)}"]


def _holds(was: bytes | Told | None, datum: Datum) -> bool:
    if isinstance(was, Told):
        return (was.type, was.value) == (datum.type, datum.value)
    return was == _hash(datum.value)


def _as_converted(table: Table, datum: Datum, column: Column, told: Told | None) -> str:
    """The value is what the release's new type makes of the one before: nobody else wrote it."""
    live = table.retyped(column.name) or column.type
    before = quoted(column.name) if told is None else _literal(told.value)
    through = before if told is None or "." in live else f"({before})::{told.type}"
    return f"({_cast(through, live)})::text IS NOT DISTINCT FROM {_literal(datum.value)}"


def _cast(value: str, wanted: str) -> str:
    return f"({value})::text::{wanted}" if "." in wanted else f"({value})::{wanted}"


def _typed(datum: Datum, column: Column) -> str:
    return f"{_literal(datum.value)}::{column.type}"


def _literal(value: str | Unchanged | None) -> str:
    if value is None or isinstance(value, Unchanged):
        return "NULL"
    return "'" + value.replace("'", "''") + "'"


def _hash(value: str | Unchanged | None) -> bytes:
    return b"" if not isinstance(value, str) else blake2b(value.encode(), digest_size=8).digest()
