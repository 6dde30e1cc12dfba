"""The catalog at one moment, object by object and known by OID: what a way back starts from and is measured against."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any

import msgspec
import psycopg

from autopilot.postgres.queries import named

_QUERIES = named(__file__, "snapshot.sql")
#: Where rows go that nobody may lose and the application should not see.
TRASH = "autopilot_trash"
#: Kept by Autopilot or by other programs; no part of what a migration makes.
LEFT_OUT = ("automation", "supabase_migrations", TRASH)
_KINDS = (
    "schema", "extension", "relation", "column", "default", "constraint", "index", "sequence", "function", "type", "trigger",
    "rule", "policy", "statistics", "collation", "operator", "operator_class", "cast", "text_search", "dictionary",
    "event_trigger", "publication", "publication_table", "foreign_data_wrapper", "server", "user_mapping", "default_privileges",
)  # fmt: skip

#: What GRANT does not know, and columns, of which few have any.
_WITHOUT_GRANTS = {
    "extension", "default", "constraint", "index", "trigger", "rule", "policy", "statistics", "collation", "operator",
    "operator_class", "cast", "text_search_configuration", "text_search_dictionary", "event_trigger", "publication",
    "publication_table", "user_mapping", "column",
}  # fmt: skip

#: An object's place in the catalog: "pg_class:16402", a column "pg_class:16402:3".
Key = str
#: Who ("" is PUBLIC), what, and whether they may pass it on.
Grant = tuple[str, str, bool]


class Thing(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One object. What is compared is everything but `catalog`, `oid`, `ours` and `loose`."""

    kind: str
    catalog: str
    oid: int
    #: A column's number, else 0.
    sub: int = 0
    schema: str | None = None
    name: str
    #: What tells it from others of its name, as a function's arguments: "(integer, text)".
    tag: str = ""
    #: What it is part of: a column's table, a trigger's table, a domain's constraint.
    parent: Key | None = None
    #: The column that a sequence belongs to.
    owned_by: Key | None = None
    #: The table of a thing whose name is not within it: statistics, membership of a publication.
    on_table: Key | None = None
    owner: str | None = None
    #: Whether the role that read this may act as its owner.
    ours: bool = True
    comment: str | None = None
    #: None where there can be no grants.
    acl: tuple[Grant, ...] | None = None
    acl_is_default: bool = True
    labels: dict[str, str] = msgspec.field(default_factory=dict)
    #: Plain values, compared as they are.
    facts: dict[str, Any] = msgspec.field(default_factory=dict)
    #: Definitions as PostgreSQL writes them, all names qualified.
    text: dict[str, Any] = msgspec.field(default_factory=dict)
    #: The same definitions by OIDs: equal as long as nothing but names changed.
    shape: str | None = None
    #: Told, never compared: counters, estimates.
    loose: dict[str, Any] = msgspec.field(default_factory=dict)

    @property
    def key(self) -> Key:
        return f"{self.catalog}:{self.oid}:{self.sub}" if self.sub else f"{self.catalog}:{self.oid}"


class Snapshot(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """Every object that a migration can make or change, and who needs whom (needs, needed)."""

    version_num: int
    #: Who read it: objects made by them need no change of owner.
    role: str
    things: tuple[Thing, ...]
    edges: tuple[tuple[Key, Key], ...]

    @cached_property
    def by_key(self) -> dict[Key, Thing]:
        return {thing.key: thing for thing in self.things}

    @cached_property
    def children(self) -> dict[Key, tuple[Thing, ...]]:
        """By the key of what they are part of."""
        found: dict[Key, list[Thing]] = {}
        for thing in self.things:
            if thing.parent is not None:
                found.setdefault(thing.parent, []).append(thing)
        return {key: tuple(things) for key, things in found.items()}

    @cached_property
    def needed_by(self) -> dict[Key, tuple[Key, ...]]:
        """Who needs this; parts need their whole, and a table's need is that of its columns too."""
        found: dict[Key, list[Key]] = {}
        for needs, needed in self.needs:
            found.setdefault(needed, []).append(needs)
        return {key: tuple(dict.fromkeys(keys)) for key, keys in found.items()}

    @cached_property
    def needs(self) -> tuple[tuple[Key, Key], ...]:
        known = self.by_key
        drawn = [(a, b) for a, b in self.edges if a in known and b in known]
        parts = [(thing.key, thing.parent) for thing in self.things if thing.parent is not None and thing.parent in known]
        return (*drawn, *parts)

    @cached_property
    def paths(self) -> dict[Key, str]:
        """What people call each thing: "column public.orders.note", unique within a snapshot."""
        return {thing.key: f"{thing.kind} {self._path(thing)}" for thing in self.things}

    @cached_property
    def by_path(self) -> dict[str, Thing]:
        return {self.paths[thing.key]: thing for thing in self.things}

    def parent(self, thing: Thing) -> Thing | None:
        return None if thing.parent is None else self.by_key.get(thing.parent)

    def columns(self, table: Thing, numbers: Sequence[int]) -> tuple[str, ...]:
        """The names of a table's columns, in the order of the numbers."""
        names = {c.sub: c.name for c in self.children.get(table.key, ()) if c.kind == "column"}
        return tuple(names[number] for number in numbers)

    def table(self, thing: Thing) -> Thing | None:
        """The table or view that a thing is, or is part of, however deep."""
        here: Thing | None = thing
        while here is not None and (here.catalog != "pg_class" or here.sub or here.kind in {"index", "sequence"}):
            here = self.by_key.get(here.on_table) if here.on_table is not None else self.parent(here)
        return here

    def _path(self, thing: Thing) -> str:
        parent = self.parent(thing)
        if thing.kind == "index" or parent is None:
            return f"{thing.schema}.{thing.name}{thing.tag}" if thing.schema is not None else f"{thing.name}{thing.tag}"
        return f"{self._path(parent)}.{thing.name}{thing.tag}"


def read(connection: psycopg.Connection[Any], *, schemas: Sequence[str] | None = None) -> Snapshot:
    """Reads the catalog as it is for the transaction at hand (or, in autocommit, in one of its own): three round trips.

    schemas: only these; None means all but the system's, Autopilot's own and what extensions brought.
    Raises psycopg.Error, and leaves `search_path` and `jit` as they were.
    """
    given = {"left_out": list(LEFT_OUT), "schemas": None if schemas is None else list(schemas)}
    with connection.transaction(), _quiet(connection, given) as (role, spaces):
        whole = _whole(connection.info.server_version)
        answer = connection.execute(whole, {"spaces": spaces}, prepare=False).fetchone()
    if answer is None:  # an aggregate always answers
        raise AssertionError
    *kinds, labels, edges, alias, classes = answer
    marks: dict[Key, dict[str, str]] = {}
    for mark in msgspec.json.decode(labels or "[]"):
        marks.setdefault(mark["key"], {})[mark["provider"]] = mark["label"]
    things = [thing for text in kinds if text for thing in msgspec.json.decode(text, type=list[Thing])]
    others = {thing.key for thing in things if thing.catalog == "pg_class" and not thing.ours}
    return Snapshot(
        version_num=connection.info.server_version,
        role=role,
        things=tuple(sorted((_completed(thing, marks, others) for thing in things), key=lambda t: (t.kind, t.oid, t.sub))),
        edges=_edges(edges or "", alias or "", msgspec.json.decode(classes)),
    )


def encode(snapshot: Snapshot) -> bytes:
    """As JSON, for the audit trail."""
    return msgspec.json.encode(snapshot)


def decode(document: bytes | str) -> Snapshot:
    """Raises msgspec.DecodeError where the document is no snapshot."""
    return msgspec.json.decode(document, type=Snapshot)


def _edges(drawn: str, alias: str, classes: dict[str, str]) -> tuple[tuple[Key, Key], ...]:
    """In terms of things."""
    stands_for: dict[tuple[str, str], Key] = {}
    for row in filter(None, alias.split(";")):
        of_class, of_object, of_kind, number, part = row.split(",")
        stands_for[of_class, of_object] = _key(classes[of_kind], number, part)
    found = set()
    for row in filter(None, drawn.split(";")):
        of_class, of_object, part, other_class, other, other_part = row.split(",")
        needs = stands_for.get((of_class, of_object)) or _key(classes[of_class], of_object, part)
        needed = stands_for.get((other_class, other)) or _key(classes[other_class], other, other_part)
        if needs != needed:
            found.add((needs, needed))
    return tuple(sorted(found))


def _key(catalog: str, oid: str, part: str) -> Key:
    return f"{catalog}:{oid}" if part == "0" else f"{catalog}:{oid}:{part}"


def _completed(thing: Thing, marks: dict[Key, dict[str, str]], others: set[Key]) -> Thing:
    """With what the query leaves to us: the order of grants, labels, and whose a column is."""
    changes: dict[str, Any] = {}
    if thing.acl:
        changes["acl"] = tuple(sorted(set(thing.acl)))
    elif thing.kind not in _WITHOUT_GRANTS:
        changes["acl"] = ()
    if thing.key in marks:
        changes["labels"] = marks[thing.key]
    if thing.kind == "column" and thing.parent in others:
        changes["ours"] = False
    return msgspec.structs.replace(thing, **changes) if changes else thing


@contextlib.contextmanager
def _quiet(connection: psycopg.Connection[Any], given: dict[str, Any]) -> Iterator[tuple[str, list[int]]]:
    """The role and the OIDs of the schemas, while the session is set for reading."""
    row = connection.execute(_QUERIES["quiet"], given).fetchone()
    if row is None:
        raise AssertionError
    yield row[2], row[3] or []
    connection.execute(_QUERIES["loud"], row[:2])


def _whole(server_version: int) -> bytes:
    """All kinds in one statement."""
    parts = [b"(select json_agg(x)::text from (%s\n) x)" % _QUERIES[name] for name in (*_KINDS, "labels")]
    parts += [b"(%s)" % _QUERIES[name] for name in ("edges", "alias", "classes")]
    text = b"select " + b",\n".join(parts)
    if server_version < 150000:  # columns that came with 15
        text = text.replace(b"pg_get_expr(r.prqual, r.prrelid)", b"''").replace(b"r.prattrs::text", b"''")
        text = text.replace(b"md5(r.prqual::text)", b"''")
    if server_version < 140000:  # columns that came with 14
        text = text.replace(b"a.attcompression", b"''").replace(b"p.prosqlbody::text", b"''")
    return text
