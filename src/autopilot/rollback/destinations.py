"""Where the changes of a live table go: the table as it was when its backup was taken, in what was restored from that.

A live table is known by its OID and its columns by their numbers, whatever they are called by now: what the release renamed is
found again, and what it made anew under an old name is not taken for the old one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from autopilot.postgres.bounded import BoundedConnection
from autopilot.postgres.queries import named
from autopilot.rollback import live
from autopilot.rollback.carried import Name, NoPlace, Source, Table
from autopilot.rollback.decoding import Change, Datum
from autopilot.rollback.live import Live, quoted

_QUERIES = named(__file__, "replayed.sql")
_CONSTANT = re.compile(r"(?:'[^']*(?:''[^']*)*'|-?[0-9.]+|true|false)(?:::[\w .\"\[\](),]+)?\Z")
_NOT_THERE = "the table is not there before the release"


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """A table as it was when others' writes began to be kept."""

    name: Name
    oid: int
    #: Another one since: it was rewritten.
    filenode: int
    #: By their numbers.
    columns: Mapping[int, str]


def origins(connection: BoundedConnection) -> tuple[Origin, ...]:
    rows = connection.execute(_QUERIES["tables"]).fetchall()
    return tuple(Origin(name=(r[0], r[1]), oid=r[2], filenode=r[3], columns=dict(zip(r[4], r[5], strict=True))) for r in rows)


def untold(connection: BoundedConnection, *, never: frozenset[str]) -> tuple[str, ...]:
    """ "schema.table" of which no slot tells anything, but for the schemas `never`."""
    return tuple(row[0] for row in connection.execute(_QUERIES["untold"], {"never": sorted(never)}).fetchall())


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """Where the restored tables are, and the live ones."""

    #: Of each schema that is replaced: where its restored objects lie now, and where its live ones. What is written elsewhere
    #: stands there anyhow.
    restored: Mapping[str, str]
    live: Mapping[str, str]
    #: (schema, name) of what stays in them as it is.
    stays: frozenset[Name]
    origins: tuple[Origin, ...]
    #: (table, column) that the release's text gives another type, perhaps the same one with other values.
    retyped: frozenset[Name] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Now:
    """A live table."""

    name: Name
    oid: int
    #: Live column → what it was called. What came since is called so that it can be no other.
    columns: Mapping[str, str]
    rewritten: bool


@dataclass(slots=True, kw_only=True)
class Destinations:
    """The tables that are met, each looked up once."""

    connection: BoundedConnection
    goal: Goal
    found: dict[Name, Table | None] = field(default_factory=dict)
    #: Live tables by their former names, and former names by those of now; None: it came since.
    now: dict[Name, _Now] = field(default_factory=dict)
    former: dict[Name, Name | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        home = {place: schema for schema, place in self.goal.live.items()}
        then = {origin.oid: origin for origin in self.goal.origins}
        for schema, name, oid, filenode, numbers, columns in self.connection.execute(_QUERIES["tables"]).fetchall():
            called, origin = (home.get(schema, schema), name), then.get(oid)
            self.former[called] = None if origin is None else origin.name
            if origin is not None:
                names = {c: origin.columns.get(n, f"{c} (made since)") for n, c in zip(numbers, columns, strict=True)}
                rewritten = filenode != origin.filenode
                self.now[origin.name] = _Now(name=called, oid=oid, columns=names, rewritten=rewritten)

    def name_of(self, told: Name, *, begun: bool) -> Name:
        """What a table was called. begun: whether the release had. Raises NoPlace for one that came since."""
        if not begun or told not in self.former:
            return told
        former = self.former[told]
        if former is None:
            raise NoPlace(_NOT_THERE)
        return former

    def as_before(self, name: Name, change: Change, *, begun: bool) -> Change:
        """The change with its columns called as before the release."""
        now = self.now.get(name) if begun else None
        if now is None or all(live == was for live, was in now.columns.items()):
            return change
        columns = now.columns

        def renamed(told: tuple[Datum, ...] | None) -> tuple[Datum, ...] | None:
            return None if told is None else tuple(d._replace(name=columns.get(d.name, d.name)) for d in told)

        return Change(schema=name[0], table=name[1], what=change.what, old=renamed(change.old), new=renamed(change.new))

    def at(self, name: Name) -> Table | None:
        """None of what a query fills. Raises NoPlace where there was no such table."""
        if name not in self.found:
            self.found[name] = self._read(name)
        return self.found[name]

    def tables(self) -> tuple[Live, ...]:
        return tuple(table.to for table in self.found.values() if table is not None)

    def _read(self, name: Name) -> Table | None:
        where = {"schema": self.goal.restored.get(name[0], name[0]), "name": name[1]}
        row = self.connection.execute(_QUERIES["identity"], {"oid": 0, **where}).fetchone()
        if row is None:
            raise NoPlace(_NOT_THERE)
        table = live.read(self.connection, oid=0, **where)
        if table is None:
            return None
        types = {c.name: _at_home(c.type, self.goal.restored) for c in table.columns}
        source = self._source(name)
        return Table(
            to=table, words=".".join(name), key=tuple(row[2]), whole=row[1] == "f" and not row[2], types=types, source=source,
            unsure=self._unsure(name, types, source), live_key=self._live_key(name),
        )  # fmt: skip

    def _live_key(self, name: Name) -> frozenset[str] | None:
        now = self.now.get(name)
        if now is None:
            return None
        row = self.connection.execute(_QUERIES["identity"], {"oid": now.oid, "schema": None, "name": None}).fetchone()
        return None if row is None else frozenset(now.columns.get(column, column) for column in row[2])

    def _source(self, name: Name) -> dict[str, Source] | None:
        now = self.now.get(name)
        if now is None:
            return None
        rows = self.connection.execute(_QUERIES["source"], {"oid": now.oid}).fetchall()
        return {
            now.columns.get(column, column): Source(
                type=_at_home(kind, self.goal.live), here=kind, generated=generated,
                fillers=frozenset(v for v in (missing, self._constant(default)) if v is not None),
            )
            for column, kind, generated, default, missing in rows
        }  # fmt: skip

    def _unsure(self, name: Name, types: Mapping[str, str], source: Mapping[str, Source] | None) -> frozenset[str]:
        """Columns of which the release may have made other values without a word: all of a table that was rewritten, no one
        knows why."""
        now = self.now.get(name)
        if now is None or source is None or not now.rewritten:
            return frozenset()
        spoken = {was for column, was in now.columns.items() if {(name[1], was), (name[1], column)} & self.goal.retyped}
        others = {c for c, s in source.items() if c in types and s.type != types[c]}
        return frozenset(spoken | others or set(types))

    def _constant(self, default: str | None) -> str | None:
        if default is None or _CONSTANT.match(default) is None:
            return None
        row = self.connection.execute(f"SELECT ({default})::text".encode()).fetchone()
        return None if row is None else row[0]


def _at_home(kind: str, places: Mapping[str, str]) -> str:
    """A type's name, by the schema that it is usually in."""
    for schema, place in places.items():
        for spelled in (f"{place}.", f"{quoted(place)}."):
            if kind.startswith(spelled):
                return f"{quoted(schema)}.{kind.removeprefix(spelled)}"
        if kind.startswith(f"{schema}."):
            return f"{quoted(schema)}.{kind.removeprefix(f'{schema}.')}"
    return kind
