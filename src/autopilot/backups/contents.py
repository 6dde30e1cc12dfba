"""An archive's table of contents: what of it is left out, and in which passes the rest is restored."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

#: "3; 2615 16386 SCHEMA - app owner": number, two oids, what it is, its schema or -, its name and owner.
_LINE = re.compile(r"^(?P<id>\d+); \d+ \d+ (?P<what>[A-Z][A-Z ]*[A-Z]) (?P<schema>\S+) (?P<rest>.*)$")
_COMMENT_ON = re.compile(r"^EXTENSION (?P<name>.+)$")
_ROWS = frozenset({"TABLE DATA", "BLOB", "BLOBS", "BLOB METADATA"})
#: Without it nobody could tell what is applied.
_LEDGER = frozenset({"automation", "supabase_migrations"})
#: What is said about an item, and comes with it.
_ABOUT = frozenset({"ACL", "COMMENT", "SECURITY LABEL"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    #: The line as pg_restore wants it back.
    line: str
    what: str
    schema: str
    name: str

    @property
    def number(self) -> str:
        return self.line.partition(";")[0]


def items(listed: str) -> tuple[Item, ...]:
    """The items of `pg_restore --list`, in order; its comments are none."""
    found = (_LINE.match(line) for line in listed.splitlines())
    return tuple(
        Item(line=m[0], what=m["what"], schema=m["schema"], name=m["rest"].rpartition(" ")[0]) for m in found if m is not None
    )


def extensions(found: Iterable[Item]) -> tuple[str, ...]:
    return tuple(item.name for item in found if item.what == "EXTENSION")


def without(
    found: Sequence[Item], *, extensions: frozenset[str], schemas: frozenset[str], shared: frozenset[str]
) -> tuple[Item, ...]:
    """The items but for those extensions, whatever lies in `schemas`, and rights on what lies in `shared` ones."""
    return tuple(item for item in found if not _belongs(item, extensions, schemas, shared))


def _belongs(item: Item, extensions: frozenset[str], schemas: frozenset[str], shared: frozenset[str]) -> bool:
    if item.what == "EXTENSION":
        return item.name in extensions
    if item.what == "COMMENT" and (on := _COMMENT_ON.match(item.name)) is not None:
        return on["name"].strip() in extensions
    return item.schema in schemas or (item.what == "ACL" and item.schema in shared)


def without_rows(found: Sequence[Item]) -> tuple[Item, ...]:
    """The items but for rows and large objects; the ledger's stay."""
    return tuple(i for i in found if i.what not in _ROWS or (i.what == "TABLE DATA" and i.schema in _LEDGER))


#: What opens tables, and so may call users' functions: constants in generated columns, keys and index expressions are
#: worked out when a definition is read. The rest only writes definitions down.
_CALLING = frozenset({
    "TABLE", "FOREIGN TABLE", "TABLE ATTACH", "DEFAULT", "VIEW", "MATERIALIZED VIEW", "MATERIALIZED VIEW DATA", "SEQUENCE",
    "SEQUENCE OWNED BY", "SEQUENCE SET", "TABLE DATA", "RULE", "INDEX", "INDEX ATTACH", "CONSTRAINT", "CHECK CONSTRAINT",
    "FK CONSTRAINT", "TRIGGER", "POLICY", "ROW SECURITY", "STATISTICS",
})  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Passes:
    """An archive's items in the order in which they are restored."""

    #: Schemas, then extensions: nothing of a user's is there yet.
    first: tuple[Item, ...] = ()
    definitions: tuple[Item, ...] = ()
    data: tuple[Item, ...] = ()
    #: Indexes, keys, triggers, policies, and views that are filled.
    rest: tuple[Item, ...] = ()
    #: Rights and comments.
    said: tuple[Item, ...] = ()
    #: What only superusers can own, and what would watch the rest being made.
    last: tuple[Item, ...] = ()


def passes(found: Sequence[Item], *, before_data: frozenset[str], data: frozenset[str]) -> Passes:
    """Each of `found` in its pass; the sets: numbers in pg_restore's sections. Subscriptions are in none: they call out."""
    sorted_out: dict[str, list[Item]] = {name: [] for name in Passes.__dataclass_fields__}
    for item in found:
        if not _is(item, "SUBSCRIPTION"):
            sorted_out[_pass(item, before_data, data)].append(item)
    return Passes(**{name: tuple(those) for name, those in sorted_out.items()})


def _pass(item: Item, before_data: frozenset[str], data: frozenset[str]) -> str:
    if _is(item, "EVENT TRIGGER") or _is(item, "PUBLICATION"):
        return "last"
    if item.what in {"SCHEMA", "EXTENSION"}:
        return "first"
    if item.what in _ABOUT or item.what == "DEFAULT ACL":
        return "said"
    if item.number in data:
        return "data"
    return "definitions" if item.number in before_data else "rest"


def stretches(found: Sequence[Item]) -> Iterator[tuple[bool, tuple[Item, ...]]]:
    """`found` in its order, cut where it changes whether users' functions may be called."""
    for calling, those in itertools.groupby(found, key=lambda item: item.what in _CALLING):
        yield calling, tuple(those)


def _is(item: Item, what: str) -> bool:
    """Whether it is one, a part of one, or something said about one."""
    return item.what == what or item.what.startswith(f"{what} ") or (item.what in _ABOUT and item.name.startswith(f"{what} "))
