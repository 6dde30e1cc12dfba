"""What must hold after a way back, pure: the catalog is as it was, no sequence went back, and which foreign keys to scan."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from autopilot.rollback.case import ours_to_undo
from autopilot.rollback.difference import portrait
from autopilot.rollback.snapshot import Snapshot, Thing
from autopilot.rollback.undo.words import name, ref


def differences(
    before: Snapshot, after: Snapshot, now: Snapshot, final: Snapshot, *, left: frozenset[str] = frozenset()
) -> list[str]:
    """Where `final` is not as it should: as before in all that the migration changed, as now in everything else.

    left: columns that may be empty now although they could not be before.
    """
    was, had, has = portrait(before), portrait(now), portrait(final)
    migrated = had if after is now else portrait(after)
    wrong = []
    for path in sorted({*was, *migrated, *had, *has}):
        undone = was.get(path) != migrated.get(path)
        wanted, found = (was if undone else had).get(path), has.get(path)
        if path in left and wanted and found and wanted | {"not_null": False} == found | {"not_null": False}:
            continue
        if wanted == found or (not undone and _same_but_for_names(path, now, final)) or _left_to_others(path, before, now):
            continue
        wrong.append(_told(path, wanted, found))
    return wrong


def _same_but_for_names(path: str, now: Snapshot, final: Snapshot) -> bool:
    """Somebody's view upon a table that got its name back speaks of it by that name."""
    had, has = now.by_path.get(path), final.by_path.get(path)
    return had is not None and has is not None and had.key == has.key and had.shape == has.shape and had.facts == has.facts


def _left_to_others(path: str, before: Snapshot, now: Snapshot) -> bool:
    """Things of roles that we are no member of are left as they are; so are indexes that became valid."""
    then, thing = before.by_path.get(path), now.by_path.get(path)
    if then is not None and thing is not None and then.kind == "index" and {**then.facts, "valid": True} == thing.facts:
        return True
    known = thing or then
    return known is not None and not ours_to_undo(known)


def _told(path: str, wanted: dict[str, Any] | None, found: dict[str, Any] | None) -> str:
    if found is None:
        return f"{path} is missing"
    if wanted is None:
        return f"{path} is still there"
    parts = [
        f"{key}: {wanted.get(key)!r:.200} → {found.get(key)!r:.200}"
        for key in sorted({*wanted, *found})
        if wanted.get(key) != found.get(key)
    ]
    return f"{path} differs in {'; '.join(parts)}"


def rewound(now: Snapshot, final: Snapshot) -> list[str]:
    """Sequences that would give a number again."""
    return [
        f"{path} stood at {was} and stands at {has}"
        for path, thing in final.by_path.items()
        if (was := _value(now.by_path.get(path))) is not None and was > (has := _value(thing) or 0) and _grows(thing)
    ]


def _value(thing: Thing | None) -> int | None:
    return None if thing is None else thing.loose.get("last_value")


def _grows(thing: Thing) -> bool:
    """False also where there is no counter any more."""
    step = thing.facts["increment"] if thing.kind == "sequence" else (thing.facts["sequence"] or (0, 0, 0))[2]
    return int(step) > 0


def renumbered(before: Snapshot, final: Snapshot) -> list[str]:
    """Columns that stand elsewhere than before: `SELECT *` and INSERT without a list of columns see it."""
    found = []
    for path, then in before.by_path.items():
        thing = final.by_path.get(path)
        if thing is not None and then.kind == "column" and then.facts["of"] in {"r", "p"} and then.sub != thing.sub:
            found.append(f"{path} stands at another place in its table: it was number {then.sub} and is number {thing.sub}")
    return found


def orphan_scans(final: Snapshot, tables: Sequence[str]) -> Iterable[tuple[str, str]]:
    """(foreign key, query that counts rows without a parent) for the keys from and to these tables, quoted and qualified."""
    for thing in final.things:
        if thing.kind != "constraint" or thing.facts["type"] != "f" or not thing.facts["validated"]:
            continue
        child, parent = final.parent(thing), final.by_key.get(thing.loose["refers_to"])
        if child is None or parent is None or not parent.ours or not {ref(final, child), ref(final, parent)} & set(tables):
            continue
        own, other = final.columns(child, thing.loose["key"]), final.columns(parent, thing.loose["refers_key"])
        filled = " AND ".join(f"c.{name(column)} IS NOT NULL" for column in own)
        pairs = zip(other, thing.loose["operators"], own, strict=True)
        equal = " AND ".join(f"p.{name(theirs)} OPERATOR({operator}) c.{name(ours)}" for theirs, operator, ours in pairs)
        orphan = f"{filled} AND NOT EXISTS (SELECT FROM {ref(final, parent)} p WHERE {equal})"
        yield final.paths[thing.key], f"SELECT count(*) FROM {ref(final, child)} c WHERE {orphan}"
