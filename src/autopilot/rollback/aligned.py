"""A recorded catalog in terms of the live one: tables made anew under their names, and who may act as whom today. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from autopilot.rollback.snapshot import Key, Snapshot, Thing


@dataclass(frozen=True, slots=True, kw_only=True)
class Aligned:
    recorded: Snapshot
    #: Tables and columns that somebody dropped and made again: the rows in them are others. By their keys now.
    remade: frozenset[Key]


def aligned(recorded: Snapshot, live: Snapshot, *, roles: frozenset[str]) -> Aligned:
    """roles: those that the role of `live` may act as.

    `diff` takes a table made anew for another one. Whoever puts things back wants to know it as the table of that name.
    """
    places = {}
    for thing in recorded.things:
        if thing.key not in live.by_key and holds_rows(thing):
            there = live.by_path.get(recorded.paths[thing.key])
            if there is not None and there.kind == thing.kind and there.key not in recorded.by_key:
                places[thing.key] = there.key
    moved = _in_its_order(at_keys(recorded, places), live)
    return Aligned(recorded=_with_rights(moved, roles), remade=frozenset(places.values()))


def _in_its_order(recorded: Snapshot, live: Snapshot) -> Snapshot:
    """Lists that PostgreSQL writes in the order of a table's columns: a column that came back stands at the end."""

    def ordered(thing: Thing) -> Thing:
        there = live.by_path.get(recorded.paths[thing.key]) if thing.kind in {"statistics", "publication_table"} else None
        return thing if there is None or _words(there) != _words(thing) else msgspec.structs.replace(thing, text=there.text)

    return msgspec.structs.replace(recorded, things=tuple(ordered(thing) for thing in recorded.things))


def _words(thing: Thing) -> list[str]:
    return sorted(word for value in thing.text.values() for word in re.split(r"[\s,\[\]]+", str(value)))


def holds_rows(thing: Thing) -> bool:
    return thing.kind == "table" or (thing.kind == "column" and thing.facts["of"] in {"r", "p"})


def at_keys(snapshot: Snapshot, places: Mapping[Key, Key]) -> Snapshot:
    """The same catalog with some objects at other keys."""
    if not places:
        return snapshot
    return msgspec.structs.replace(
        snapshot,
        things=tuple(at_key(thing, places) for thing in snapshot.things),
        edges=tuple((places.get(a, a), places.get(b, b)) for a, b in snapshot.edges),
    )


def at_key(thing: Thing, places: Mapping[Key, Key]) -> Thing:
    """The thing with its own key and all that it speaks of moved."""
    catalog, oid, sub = _parts(places.get(thing.key, thing.key))
    loose = dict(thing.loose)
    if loose.get("parents"):
        loose["parents"] = [places.get(key, key) for key in loose["parents"]]
    if loose.get("refers_to"):
        loose["refers_to"] = places.get(loose["refers_to"], loose["refers_to"])

    def moved(key: Key | None) -> Key | None:
        return None if key is None else places.get(key, key)

    return msgspec.structs.replace(
        thing, catalog=catalog, oid=oid, sub=sub, loose=loose, parent=moved(thing.parent), owned_by=moved(thing.owned_by),
        on_table=moved(thing.on_table),
    )  # fmt: skip


def _parts(key: Key) -> tuple[str, int, int]:
    catalog, oid, *sub = key.split(":")
    return catalog, int(oid), int(sub[0]) if sub else 0


def _with_rights(snapshot: Snapshot, roles: frozenset[str]) -> Snapshot:
    """Whose things are ours today: the role that recorded them may have been another one."""

    def owner(thing: Thing) -> str | None:
        here: Thing | None = thing
        while here is not None and here.owner is None:
            here = snapshot.parent(here)
        return None if here is None else here.owner

    def ours(thing: Thing) -> bool:
        who = thing.facts.get("role") if thing.kind == "default_privileges" else owner(thing)
        return thing.ours if who is None else who in roles

    return msgspec.structs.replace(
        snapshot, things=tuple(msgspec.structs.replace(thing, ours=ours(thing)) for thing in snapshot.things)
    )
