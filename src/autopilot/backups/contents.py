"""An archive's table of contents, and what of it is left out where an extension is only stood in for."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

#: "3; 2615 16386 SCHEMA - app owner": number, two oids, what it is, its schema or -, its name and owner.
_LINE = re.compile(r"^(?P<id>\d+); \d+ \d+ (?P<what>[A-Z][A-Z ]*[A-Z]) (?P<schema>\S+) (?P<rest>.*)$")
_COMMENT_ON = re.compile(r"^EXTENSION (?P<name>.+)$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    #: The line as pg_restore wants it back.
    line: str
    what: str
    schema: str
    name: str


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
