"""Which tables' rows a big database's backup leaves out, and whether the rest of it would still restore."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase

from autopilot.errors import Refused
from autopilot.postgres.queries import named
from autopilot.postgres.session import Connection

_QUERIES = named(__file__, "left_out.sql")
#: The ledger and the audit trail are in every backup.
_ALWAYS_IN = frozenset({"automation", "supabase_migrations"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    schema: str
    name: str
    size_bytes: int
    #: The tables that it is a partition or child of.
    parts_of: tuple[tuple[str, str], ...] = ()

    @property
    def full_name(self) -> str:
        return f"{self.schema}.{self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOut:
    tables: tuple[Table, ...] = ()
    #: Patterns that no table fits.
    unmatched: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(t.full_name for t in self.tables)

    @property
    def size_bytes(self) -> int:
        return sum(t.size_bytes for t in self.tables)


def tables(connection: Connection) -> tuple[Table, ...]:
    """Every table with rows of its own."""
    return tuple(
        Table(schema=schema, name=name, size_bytes=size, parts_of=tuple((s, n) for s, n in parts))
        for schema, name, size, parts in connection.execute(_QUERIES["tables"])
    )


def left_out(there: Iterable[Table], patterns: tuple[str, ...]) -> LeftOut:
    """The tables that "schema.table" or "schema.*" mean; a partitioned one means its partitions."""
    chosen, used = [], set()
    for table in there:
        fits = {p for p in patterns for s, n in ((table.schema, table.name), *table.parts_of) if _fits(s, n, p)}
        if fits and table.schema not in _ALWAYS_IN:
            chosen.append(table)
            used |= fits
    return LeftOut(tables=tuple(chosen), unmatched=tuple(p for p in patterns if p not in used))


def _fits(schema: str, name: str, pattern: str) -> bool:
    of_schema, _, of_name = pattern.partition(".")
    return fnmatchcase(schema, of_schema) and fnmatchcase(name, of_name)


def all_but_the_ledger(connection: Connection) -> tuple[str, ...]:
    return tuple(t.full_name for t in tables(connection) if t.schema not in _ALWAYS_IN)


def chosen(connection: Connection, patterns: tuple[str, ...]) -> LeftOut:
    """What `patterns` leave out here. Raises Refused (`cannot_leave_out`) where the rest would not restore without it."""
    there = tables(connection)
    found = left_out(there, patterns)
    names = frozenset(found.names)
    sizes = {t.full_name: t.size_bytes for t in there}
    for table, referred, constraint in connection.execute(_QUERIES["references"]):
        if referred in names and table not in names and sizes.get(table, 0) > 0:
            raise Refused(
                f"The rows of {referred} cannot be left out of the backup: {table} refers to them ({constraint}),"
                " and a restore would fail on that.",
                code="cannot_leave_out",
                hint=f"Name {table} under big_without_data too, or take {referred} out of it.",
            )
    return found
