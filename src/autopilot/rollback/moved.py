"""Where objects are since they were made anew: by a way back, a repair, or a backup that took the place of everything. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from autopilot.rollback.aligned import holds_rows
from autopilot.rollback.snapshot import Key, Snapshot


def made_anew(then: Snapshot, now: Snapshot) -> dict[Key, Key]:
    """Tables and columns that are gone, and those of their name that are there now: their keys then, and now."""
    found = {}
    for thing in then.things:
        if thing.key not in now.by_key and holds_rows(thing):
            there = now.by_path.get(then.paths[thing.key])
            if there is not None:
                found[thing.key] = there.key
    return found


def moved(then: Snapshot, now: Snapshot) -> dict[Key, Key]:
    """Of everything: what a backup took the place of is still there, elsewhere. Keys then, and now.

    then: the catalog that the backup holds, at the keys from before it was put in place.
    """
    found = {}
    for thing in then.things:
        there = now.by_path.get(then.paths[thing.key])
        if there is not None and there.key != thing.key and there.kind == thing.kind and thing.kind != "schema":
            found[thing.key] = there.key
    return found


def places(found: Mapping[Key, Key]) -> dict[int, int]:
    """The same of relations alone, by OID."""
    return {
        int(was.split(":")[1]): int(has.split(":")[1])
        for was, has in found.items()
        if was.startswith("pg_class:") and was.count(":") == 1
    }
