"""Rows of one table in two places, held against each other by key: what only one has, and what both have differently.

Only SQL is made here; `s` is a row as it was kept, `l` a live one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from autopilot.rollback.live import ForeignKey, Live, quoted


@dataclass(frozen=True, slots=True, kw_only=True)
class Apart:
    """A live table, and where its rows are kept."""

    table: Live
    #: Where they are kept, quoted.
    kept: str
    #: Live column → its value in a kept row `s`, as the live column's type.
    values: Mapping[str, str]

    @property
    def key(self) -> tuple[str, ...] | None:
        """What tells rows apart in both places."""
        key = self.table.key
        return key if key is not None and all(k in self.values for k in key) else None

    @property
    def same(self) -> str:
        """The condition that `s` and `l` are one row."""
        pairs = []
        for name in self.key or ():
            column = self.table.column(name)
            pairs.append(f"l.{quoted(name)} {column.equal if column else '='} ({self.values[name]})")
        return " AND ".join(pairs)

    @property
    def differs(self) -> str:
        """As text, because not every type knows equality."""
        written = [c.name for c in self.table.columns if c.name in self.values and c.name not in (self.key or ())]
        pairs = [f"l.{quoted(name)}::text IS DISTINCT FROM ({self.values[name]})::text" for name in written]
        return f"({' OR '.join(pairs)})" if pairs else "false"

    @property
    def writable(self) -> tuple[str, ...]:
        return tuple(c.name for c in self.table.columns if c.name in self.values and not c.generated)

    def only_kept(self) -> str:
        """FROM … WHERE: kept rows that are not live."""
        return f"FROM {self.kept} s WHERE NOT EXISTS (SELECT FROM {self.table.sql} l WHERE {self.same})"

    def only_live(self, condition: str = "true") -> str:
        return f"FROM {self.table.sql} l WHERE {condition} AND NOT EXISTS (SELECT FROM {self.kept} s WHERE {self.same})"

    def both(self, condition: str = "true") -> str:
        """FROM … WHERE: rows that are in both places and differ."""
        return f"FROM {self.kept} s JOIN {self.table.sql} l ON {self.same} WHERE {condition} AND {self.differs}"

    def insert(self, *, condition: str = "true") -> str:
        """Kept rows that are not live, their parents being there."""
        listed = ", ".join(quoted(name) for name in self.writable)
        values = ", ".join(f"({self.values[name]})" for name in self.writable)
        parents = " AND ".join(self.has_parent(key) for key in self.table.refers_to) or "true"
        ending = "" if self.table.checks_late else " ON CONFLICT DO NOTHING"
        return (
            f"INSERT INTO {self.table.sql} ({listed}) OVERRIDING SYSTEM VALUE SELECT {values} {self.only_kept()}"
            f" AND {condition} AND {parents}{ending}"
        )

    def update(self, *, condition: str = "true") -> str:
        """Live rows become what they are in the other place."""
        written = [name for name in self.writable if name not in (self.key or ()) and not self._fixed(name)]
        parents = " AND ".join(self.has_parent(key) for key in self.table.refers_to) or "true"
        if not written:
            return f"SELECT FROM {self.table.sql} WHERE false"
        values = ", ".join(f"{quoted(name)} = ({self.values[name]})" for name in written)
        which = f"{self.same} AND {condition} AND {self.differs} AND {parents}"
        return f"UPDATE {self.table.sql} l SET {values} FROM {self.kept} s WHERE {which}"

    def _fixed(self, name: str) -> bool:
        column = self.table.column(name)
        return column is not None and column.fixed

    def has_parent(self, key: ForeignKey) -> str:
        """The condition that a kept row's parent is there, or comes with it."""
        if not all(name in self.values for name in key.child_columns):
            return "true"
        absent = " OR ".join(f"({self.values[name]}) IS NULL" for name in key.child_columns)
        equal = " AND ".join(
            f"p.{quoted(theirs)} {operator} ({self.values[ours]})"
            for theirs, ours, operator in zip(key.parent_columns, key.child_columns, key.equal, strict=True)
        )
        found = f"{absent} OR EXISTS (SELECT FROM {key.parent} p WHERE {equal})"
        if key.parent_oid == self.table.oid:
            own = " AND ".join(
                f"({self.values[theirs].replace('s.', 'k.', 1)})::text = ({self.values[ours]})::text"
                for theirs, ours in zip(key.parent_columns, key.child_columns, strict=True)
            )
            found += f" OR EXISTS (SELECT FROM {self.kept} k WHERE {own})"
        return f"({found})"
