"""What became of each object between two snapshots, pure: matched by OID first, so that a rename is a rename."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from autopilot.rollback.snapshot import Key, Snapshot, Thing

#: Their names are made of the names of what they speak of.
_NAMED_AFTER_OTHERS = {"publication_table", "cast", "default_privileges", "user_mapping", "default"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """One object then and now."""

    before: Thing
    after: Thing

    @property
    def same_object(self) -> bool:
        """False where it was dropped and made again under its name."""
        return self.before.key == self.after.key

    @property
    def redefined(self) -> bool:
        """Its definition changed, and not only the names of what it speaks of."""
        changed = self.before.text != self.after.text
        return changed and not (self.same_object and self.before.shape == self.after.shape)

    @property
    def changed(self) -> bool:
        return self.redefined or _plain(self.before) != _plain(self.after)

    @property
    def moved(self) -> bool:
        """Another name or schema."""
        if self.before.kind in _NAMED_AFTER_OTHERS:
            return False
        return self.before.name != self.after.name or (self.before.schema != self.after.schema and self.before.kind != "index")

    def facts(self) -> tuple[str, ...]:
        """The names of the plain values that differ."""
        names = {*self.before.facts, *self.after.facts}
        return tuple(sorted(n for n in names if self.before.facts.get(n) != self.after.facts.get(n)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """Objects by what became of them; `pairs` holds everything that is in both, changed or not."""

    added: tuple[Thing, ...]
    removed: tuple[Thing, ...]
    changed: tuple[Pair, ...]
    renamed: tuple[Pair, ...]
    pairs: tuple[Pair, ...] = field(repr=False)
    #: From the key then, or now, to the pair.
    then: Mapping[Key, Pair] = field(repr=False)
    now: Mapping[Key, Pair] = field(repr=False)

    def __bool__(self) -> bool:
        return bool(self.added or self.removed or self.changed or self.renamed)


def diff(before: Snapshot, after: Snapshot) -> Difference:
    """What a migration did to the catalog, from before it and after it."""
    pairs = _pairs(before, after)
    then = {pair.before.key: pair for pair in pairs}
    now = {pair.after.key: pair for pair in pairs}
    return Difference(
        added=tuple(t for t in after.things if t.key not in now),
        removed=tuple(t for t in before.things if t.key not in then),
        changed=tuple(p for p in pairs if p.changed),
        renamed=tuple(p for p in pairs if p.moved),
        pairs=pairs,
        then=then,
        now=now,
    )


def portrait(snapshot: Snapshot) -> dict[str, dict[str, Any]]:
    """Everything by its name, without OIDs: two databases with equal portraits are alike in all that is compared."""
    known = {}
    for thing in snapshot.things:
        words = {name: value for name, value in thing.text.items() if value is not None}
        facts = {name: value for name, value in thing.facts.items() if value is not None}
        known[snapshot.paths[thing.key]] = {
            **facts, **words, "owner": thing.owner, "comment": thing.comment, "grants": thing.acl, "labels": thing.labels,
        }  # fmt: skip
    return known


def _plain(thing: Thing) -> tuple[Any, ...]:
    return (thing.facts, thing.owner, thing.comment, thing.acl, thing.labels)


def _pairs(before: Snapshot, after: Snapshot) -> tuple[Pair, ...]:
    """By key; what is left by kind, whole and name, whole things before their parts."""
    partner: dict[Key, Thing] = {}
    taken: set[Key] = set()
    for thing in after.things:
        then = before.by_key.get(thing.key)
        if then is not None and then.kind == thing.kind:
            partner[thing.key] = then
            taken.add(then.key)
    left = {before.paths[t.key]: t for t in before.things if t.key not in taken and not _holds_rows(t)}
    parts = {(t.parent, t.kind, t.name, t.tag): t for t in left.values() if t.parent is not None}
    for thing in sorted((t for t in after.things if t.key not in partner and not _holds_rows(t)), key=lambda t: _depth(after, t)):
        whole = None if thing.parent is None else partner.get(thing.parent)
        if thing.parent is None:
            then = left.get(after.paths[thing.key])
        else:
            then = None if whole is None else parts.get((whole.key, thing.kind, thing.name, thing.tag))
        if then is not None and then.key not in taken:
            partner[thing.key] = then
            taken.add(then.key)
    return tuple(Pair(before=partner[t.key], after=t) for t in after.things if t.key in partner)


def _holds_rows(thing: Thing) -> bool:
    """A table or column made anew under an old name is not the old one: its rows are others."""
    return thing.kind == "table" or (thing.kind == "column" and thing.facts["of"] in {"r", "p"})


def _depth(snapshot: Snapshot, thing: Thing) -> int:
    parent = snapshot.parent(thing)
    return 0 if parent is None else 1 + _depth(snapshot, parent)
