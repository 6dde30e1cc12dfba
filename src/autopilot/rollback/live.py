"""A table as it is now, as far as rows that come back have to know: its columns, what tells its rows apart, whom it refers to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg

from autopilot.postgres.queries import named

_QUERIES = named(__file__, "live.sql")
_AGAIN = {"O": "ENABLE", "R": "ENABLE REPLICA", "A": "ENABLE ALWAYS"}
#: For joins of as many rows as a migration writes.
_WORK_MEM = "64MB"
_PLAIN_EQUAL = "OPERATOR(pg_catalog.=)"

Session = psycopg.Connection[Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    attnum: int
    name: str
    #: As in SQL, with its modifiers.
    type: str
    generated: bool
    #: GENERATED ALWAYS AS IDENTITY: no UPDATE may set it.
    fixed: bool
    not_null: bool
    equal: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeignKey:
    name: str
    child_oid: int
    child: str
    parent_oid: int
    parent: str
    child_columns: tuple[str, ...]
    parent_columns: tuple[str, ...]
    #: parent's column OPERATOR child's column.
    equal: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Live:
    oid: int
    schema: str
    name: str
    #: Row level security hides rows from us.
    hidden: bool
    #: It has a unique or exclusion constraint that is checked late: INSERT … ON CONFLICT is not to be had.
    checks_late: bool
    columns: tuple[Column, ...]
    #: None where nothing tells its rows apart.
    key: tuple[str, ...] | None
    refers_to: tuple[ForeignKey, ...]
    referred_by: tuple[ForeignKey, ...]

    @property
    def sql(self) -> str:
        return f"{quoted(self.schema)}.{quoted(self.name)}"

    def column(self, name: str) -> Column | None:
        return next((c for c in self.columns if c.name == name), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """A column of ours that holds values of a live one."""

    #: Our column, quoted.
    sql: str
    live: Column
    kept_type: str
    as_text: bool

    def value(self, alias: str) -> str:
        """Its value as the live column's type."""
        if self.kept_type == self.live.type and not self.as_text:
            return f"{alias}.{self.sql}"
        through = "" if self.as_text else "::text"
        return f"{alias}.{self.sql}{through}::{self.live.type}"


def run(connection: Session, text: str) -> int:
    """A command without parameters; how many rows it wrote."""
    return connection.execute(text.encode()).rowcount


def rows(connection: Session, text: str) -> list[Any]:
    """The answer to a query without parameters."""
    return connection.execute(text.encode()).fetchall()


def quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def read(connection: Session, *, oid: int, schema: str, name: str) -> Live | None:
    """The table with that OID, or else of that name; None where there is neither."""
    found = connection.execute(_QUERIES["table"], {"oid": oid, "schema": schema, "name": name}).fetchone()
    if found is None:
        return None
    which = {"oid": found[0]}
    columns = connection.execute(_QUERIES["columns"], which).fetchall()
    key = connection.execute(_QUERIES["key"], which).fetchone()
    keys = [_foreign_key(row) for row in connection.execute(_QUERIES["foreign_keys"], which).fetchall()]
    return Live(
        oid=found[0], schema=found[1], name=found[2], hidden=found[4], checks_late=found[5],
        columns=tuple(
            Column(attnum=c[0], name=c[1], type=c[2], generated=c[3], fixed=c[4], not_null=c[5], equal=c[6] or _PLAIN_EQUAL)
            for c in columns
        ),
        key=None if key is None else tuple(key[0]),
        refers_to=tuple(k for k in keys if k.child_oid == found[0]),
        referred_by=tuple(k for k in keys if k.parent_oid == found[0]),
    )  # fmt: skip


def _foreign_key(row: Sequence[Any]) -> ForeignKey:
    return ForeignKey(
        name=row[0], child_oid=row[1], child=f"{quoted(row[2])}.{quoted(row[3])}", parent_oid=row[4],
        parent=f"{quoted(row[5])}.{quoted(row[6])}", child_columns=tuple(row[7]), parent_columns=tuple(row[8]),
        equal=tuple(row[9]),
    )  # fmt: skip


def held(live: Live, columns: Sequence[Mapping[str, Any]], *, same_table: bool, numbered: bool) -> tuple[Held, ...]:
    """Which live columns the kept ones are: by number where the table is the very same, else by name.

    numbered: our columns are called c1, c2, … by the numbers that the live ones had.
    """
    by_number = {c.attnum: c for c in live.columns} if same_table else {}
    followed = {k["attnum"]: by_number[k["attnum"]] for k in columns if k["attnum"] in by_number}
    taken = {c.name for c in followed.values()}
    found = []
    for kept in columns:
        column = followed.get(kept["attnum"])
        if column is None and kept["name"] not in taken:
            column = live.column(kept["name"])
        if column is not None:
            ours = f"c{kept['attnum']}" if numbered else quoted(kept["name"])
            found.append(Held(sql=ours, live=column, kept_type=kept["type"], as_text=kept["kept_as_text"]))
    return tuple(found)


def parents_first(tables: Sequence[Live]) -> tuple[Live, ...]:
    """Who is referred to comes before who refers; where they refer to each other, as they stand."""
    known = {t.oid: t for t in tables}
    placed: dict[int, Live] = {}

    def place(table: Live, above: frozenset[int]) -> None:
        for key in table.refers_to:
            parent = known.get(key.parent_oid)
            if parent is not None and parent.oid not in above and parent.oid not in placed:
                place(parent, above | {parent.oid})
        placed.setdefault(table.oid, table)

    for table in tables:
        place(table, frozenset({table.oid}))
    return tuple(placed.values())


@contextmanager
def undisturbed(connection: Session, tables: Sequence[Live]) -> Iterator[None]:
    """The user's triggers on the tables do not act meanwhile, and row level security hides nothing; foreign keys bind as ever."""
    triggers = [row for t in tables for row in connection.execute(_QUERIES["triggers"], {"oid": t.oid}).fetchall()]
    hidden = [t.sql for t in tables if t.hidden]
    for table, trigger, _ in triggers:
        connection.execute(f"ALTER TABLE {table} DISABLE TRIGGER {trigger}".encode())
    for table in hidden:
        connection.execute(f"ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY".encode())
    memory = connection.execute("SELECT current_setting('work_mem'), set_config('work_mem', %s, true)", (_WORK_MEM,)).fetchone()
    yield
    connection.execute("SELECT set_config('work_mem', %s, true)", (memory or (_WORK_MEM,))[:1])
    for table in hidden:
        connection.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY".encode())
    for table, trigger, enabled in triggers:
        connection.execute(f"ALTER TABLE {table} {_AGAIN[enabled]} TRIGGER {trigger}".encode())
