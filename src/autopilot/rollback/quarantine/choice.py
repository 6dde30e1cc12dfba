"""Pure: which schemas are replaced, which of the archive's items run in their place and when, and whether there is room."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from autopilot.errors import Refused
from autopilot.measures import size_in_words
from autopilot.rollback.quarantine.archive import Entry

#: Of all the locks that the server's table surely holds, one transaction takes at most this share.
LOCK_SHARE = 0.7
#: Each object is locked once as it steps aside and once as it is made.
LOCKS_EACH = 2

_ABOUT = frozenset({"ACL", "COMMENT", "SECURITY LABEL"})
_NEVER = frozenset({
    "SCHEMA", "DEFAULT ACL", "EXTENSION", "SUBSCRIPTION", "PUBLICATION", "PUBLICATION TABLES IN SCHEMA", "EVENT TRIGGER",
    "STATISTICS DATA",
})  # fmt: skip
_ROWS, _NUMBERS, _PUBLISHED, _REFRESH = "TABLE DATA", "SEQUENCE SET", "PUBLICATION TABLE", "MATERIALIZED VIEW DATA"
_BONDS = frozenset({"TRIGGER", "POLICY", "ROW SECURITY"})
_KEY = "FK CONSTRAINT"
_KIND = re.compile(r"^(?:[A-Z]+ )+")
_ASIDE = re.compile(r"__[qr]_[0-9a-f]{8}\Z")
_NAME_BYTES = 63


@dataclass(frozen=True, slots=True, kw_only=True)
class Stages:
    """The archive's items in the order in which they are replayed."""

    extensions: tuple[Entry, ...]
    #: Schemas that are not there any more, with their rights.
    schemas: tuple[Entry, ...]
    definitions: tuple[Entry, ...]
    rows: tuple[Entry, ...]
    #: Indexes, primary and unique keys, and views that wait for them.
    keys: tuple[Entry, ...]
    foreign_keys: tuple[Entry, ...]
    #: Triggers, policies.
    bonds: tuple[Entry, ...]
    #: Owners' rights and comments.
    said: tuple[Entry, ...]
    refreshes: tuple[Entry, ...]
    numbers: tuple[Entry, ...]
    publications: tuple[Entry, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Staying:
    """(schema, name) of what stays in the schemas although they are replaced."""

    #: What extensions brought.
    brought: frozenset[tuple[str, str]] = frozenset()
    #: Relations of other roles.
    foreign: frozenset[tuple[str, str]] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """What the server has and a replacement needs."""

    objects: int
    max_locks_per_transaction: int
    #: max_connections + max_prepared_transactions.
    sessions: int
    may_create: bool
    needed_bytes: int
    #: On the server's disk, where that is known.
    free_bytes: int | None = None

    @property
    def locks(self) -> int:
        return self.objects * LOCKS_EACH

    @property
    def lock_room(self) -> int:
        return int(LOCK_SHARE * self.max_locks_per_transaction * self.sessions)


def require_room(room: Room) -> None:
    """Raises Refused (`too_many_objects`, `no_create_right`, `no_room_on_server`), with the numbers."""
    if not room.may_create:
        raise Refused(
            "The role may not make schemas in this database, and the quarantine is one.",
            code="no_create_right",
            hint="GRANT CREATE ON DATABASE to the role, then run again.",
        )
    if room.locks >= room.lock_room:
        raise Refused(
            f"There are too many objects for one transaction: {room.objects:,} objects take about {room.locks:,} locks, and"
            f" {LOCK_SHARE:.0%} of {room.max_locks_per_transaction} * {room.sessions} = {room.lock_room:,} may be taken.",
            code="too_many_objects",
            hint="Raise max_locks_per_transaction on the server (it takes a restart), or restore into a new database.",
        )
    if room.free_bytes is not None and room.free_bytes < room.needed_bytes:
        raise Refused(
            f"There is no room on the server: what is put back takes about {size_in_words(room.needed_bytes)} beside what is"
            f" there, and {size_in_words(room.free_bytes)} are free.",
            code="no_room_on_server",
            hint="Make the server's disk larger, then run again.",
        )


def aside(schema: str, token: str, *, letter: str) -> str:
    """`<schema>__q_<token>`, at most 63 bytes long. letter: "q" for the quarantine, "r" for what is being made ready."""
    end = f"__{letter}_{token}"
    return schema.encode()[: _NAME_BYTES - len(end)].decode("utf-8", "ignore") + end


def is_aside(schema: str) -> bool:
    """Whether it is called like one that stepped aside: a backup may hold those too, and they are not made again."""
    return _ASIDE.search(schema) is not None


def schemas_in(entries: Iterable[Entry]) -> tuple[str, ...]:
    """The schemas that an archive's items make or lie in."""
    found = [e.name if e.what == "SCHEMA" else e.schema for e in entries]
    return tuple(sorted({name for name in found if name != "-"}))


def stages(
    entries: Sequence[Entry],
    schemas: Iterable[str],
    *,
    missing: Iterable[str],
    extensions: Iterable[str],
    staying: Staying,
    owners: Collection[str],
) -> Stages:
    """The items that make `schemas` what they were.

    missing: those of `schemas` that are not there. extensions: those that are there. owners: the roles
    that we may act as.
    """
    inside, there, lost = frozenset(schemas), frozenset(extensions), frozenset(missing)
    own = frozenset((e.schema, base(e)) for e in entries if e.what not in _ABOUT)
    mine = [
        e for e in entries if e.schema in inside and e.what not in _NEVER and e.owner in owners and not _stays(e, staying, own)
    ]
    rest = [
        e for e in mine if e.section != "data" and e.what not in _ABOUT | _BONDS | {_KEY, _PUBLISHED, _REFRESH, _ROWS, _NUMBERS}
    ]
    return Stages(
        extensions=tuple(e for e in entries if e.what == "EXTENSION" and e.name not in there),
        schemas=tuple(e for e in entries if _of_schema(e) in lost),
        definitions=tuple(e for e in rest if e.section == "pre"),
        rows=tuple(e for e in mine if e.what == _ROWS),
        keys=tuple(e for e in rest if e.section == "post"),
        foreign_keys=tuple(e for e in mine if e.what == _KEY),
        bonds=tuple(e for e in mine if e.what in _BONDS),
        said=tuple(e for e in mine if e.what in _ABOUT and e.section != "data"),
        refreshes=tuple(e for e in mine if e.what == _REFRESH),
        numbers=tuple(e for e in mine if e.what == _NUMBERS),
        publications=tuple(e for e in mine if e.what == _PUBLISHED),
    )


def of_others(entries: Iterable[Entry], schemas: Collection[str], owners: Collection[str]) -> frozenset[tuple[str, str]]:
    """(schema, name) of what others own there, and what thus is not made again."""
    return frozenset(
        (e.schema, base(e)) for e in entries if e.schema in schemas and e.what not in _ABOUT and e.owner not in owners
    )


def _of_schema(entry: Entry) -> str | None:
    """The schema that an item makes or speaks of."""
    if entry.what == "SCHEMA":
        return entry.name
    return entry.name.removeprefix("SCHEMA ") if entry.what in _ABOUT and entry.name.startswith("SCHEMA ") else None


def _stays(entry: Entry, staying: Staying, own: frozenset[tuple[str, str]]) -> bool:
    place = (entry.schema, base(entry))
    return place in staying.foreign or (entry.what in _ABOUT and place in staying.brought and place not in own)


def base(entry: Entry) -> str:
    """The name of the relation, routine or type that an item makes, is a part of, or speaks of."""
    name = entry.name
    if entry.what in _ABOUT:
        kind = _KIND.match(name)
        name = name[kind.end() :] if kind is not None else name
        if kind is not None and kind[0] == "COLUMN ":
            name = name.partition(".")[0]
        name = name.rpartition(" ON ")[2]
    elif entry.what == _PUBLISHED:
        name = name.partition(" ")[2]
    elif entry.what in _BONDS | {_KEY, "CONSTRAINT", "CHECK CONSTRAINT", "DEFAULT", "RULE"}:
        name = name.partition(" ")[0]
    return name.partition("(")[0]
