"""What is there of the schemas that a backup will replace."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from autopilot.postgres.queries import named
from autopilot.rollback.live import Session, quoted
from autopilot.rollback.quarantine.choice import Room, Staying

_QUERIES = named(__file__, "inventory.sql")


@dataclass(frozen=True, slots=True, kw_only=True)
class Schema:
    oid: int
    name: str
    #: Objects of extensions lie in it: it stays, and is emptied of the rest.
    shared: bool
    #: Ours to rename; `public` is not where the database's owner does not own it.
    owned: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Object:
    """Something that ALTER … SET SCHEMA moves by itself."""

    #: "pg_class", …
    catalog: str
    oid: int
    schema: str
    #: As in ALTER: "TABLE", "ROUTINE", …
    word: str
    #: With its schema and arguments, as in ALTER.
    identity: str
    #: Whether the role may move it.
    owned: bool
    #: Whether LOCK TABLE knows it.
    lockable: bool

    def to(self, schema: str) -> str:
        return f"ALTER {self.word} {self.identity} SET SCHEMA {quoted(schema)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Inventory:
    schemas: tuple[Schema, ...]
    #: Those that the role may move, parents before partitions.
    objects: tuple[Object, ...]
    staying: Staying
    room: Room

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(s.name for s in self.schemas)

    @property
    def tables(self) -> tuple[str, ...]:
        """Quoted and qualified, in the one order in which they are locked."""
        return tuple(o.identity for o in self.objects if o.lockable)

    @property
    def views(self) -> tuple[Object, ...]:
        return tuple(o for o in self.objects if o.word in {"VIEW", "MATERIALIZED VIEW"})


def schemas(connection: Session, *, never: Iterable[str]) -> tuple[Schema, ...]:
    """The schemas that are the role's to fill; never one of `never`, an extension's, or a quarantine."""
    rows = connection.execute(_QUERIES["schemas"], {"never": sorted(never)}).fetchall()
    return tuple(Schema(oid=r[0], name=r[1], shared=r[2], owned=r[3]) for r in rows)


def objects(connection: Session, names: Sequence[str]) -> tuple[Object, ...]:
    rows = connection.execute(_QUERIES["objects"], {"schemas": list(names)}).fetchall()
    return tuple(
        Object(catalog=r[0], oid=r[1], schema=r[2], word=r[3], identity=r[4], owned=r[5], lockable=r[6]) for r in rows if r[5]
    )


def read(connection: Session, *, never: Iterable[str], needed_bytes: int, free_bytes: int | None = None) -> Inventory:
    """Everything there that a replacement has to know; `plain_names` must be in force."""
    found = schemas(connection, never=never)
    which = {"schemas": [s.name for s in found]}
    counted = connection.execute(_QUERIES["counted"], which).fetchone() or (0, 0, False, 0, 0)
    return Inventory(
        schemas=found,
        objects=objects(connection, which["schemas"]),
        staying=Staying(
            brought=frozenset(connection.execute(_QUERIES["brought"], which).fetchall()),
            foreign=frozenset(connection.execute(_QUERIES["foreign"], which).fetchall()),
        ),
        room=Room(
            objects=int(counted[0]), may_create=counted[2], max_locks_per_transaction=counted[3], sessions=counted[4],
            needed_bytes=max(needed_bytes, int(counted[1])), free_bytes=free_bytes,
        ),
    )  # fmt: skip


def extensions(connection: Session) -> frozenset[str]:
    return frozenset(row[0] for row in connection.execute("SELECT extname::text FROM pg_catalog.pg_extension"))


def columns(connection: Session, table: str) -> tuple[str, ...]:
    """The names of a table's columns that take rows; none where there is no such table."""
    return tuple(row[0] for row in connection.execute(_QUERIES["columns"], {"table": table}))


def boundary_drops(connection: Session, names: Sequence[str]) -> tuple[str, ...]:
    """Commands that let go of the rows of tables that stay."""
    return tuple(row[0] for row in connection.execute(_QUERIES["own_boundary_keys"], {"schemas": list(names)}))


@dataclass(frozen=True, slots=True, kw_only=True)
class Counter:
    """Where a sequence stands."""

    last: int
    given_out: bool
    grows: bool

    def further_than(self, other: Counter) -> bool:
        if self.last == other.last:
            return self.given_out and not other.given_out
        return (self.last > other.last) == self.grows


def counters(connection: Session, names: Sequence[str]) -> Mapping[tuple[str, str], Counter]:
    """By schema and name."""
    found = {}
    for schema, name, grows in connection.execute(_QUERIES["sequences"], {"schemas": list(names)}).fetchall():
        row = connection.execute(f"SELECT last_value, is_called FROM {quoted(schema)}.{quoted(name)}".encode()).fetchone()
        if row is not None:
            found[schema, name] = Counter(last=row[0], given_out=row[1], grows=grows)
    return found


@contextmanager
def plain_names(connection: Session) -> Iterator[None]:
    """Inside the block every name is told, and read, with its schema; the transaction is the caller's."""
    row = connection.execute("SELECT current_setting('search_path'), set_config('search_path', '', true)").fetchone()
    yield
    connection.execute("SELECT set_config('search_path', %s, true)", ((row or ("",))[0],))
