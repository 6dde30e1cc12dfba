"""One way back as a question: what the migration did, what of it is there now, and what others did since."""

from __future__ import annotations

from dataclasses import dataclass

from autopilot.rollback.difference import Difference, Pair, diff
from autopilot.rollback.snapshot import Key, Snapshot, Thing

#: Whole things: those of another role are left as they are. Parts, as a trigger on a table of another's, are ours to undo.
_PARTS = {"trigger", "policy", "constraint", "rule", "publication_table"}


def ours_to_undo(thing: Thing) -> bool:
    return thing.ours or thing.kind in _PARTS


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """before and now, and from between them only what the migration did.

    added: to be undone. removed: to be made again. changed: pairs that differ in anything, names included.
    """

    before: Snapshot
    now: Snapshot
    #: Distinguishes what this way back puts into the trash from what others did.
    token: str
    whole: Difference
    added: tuple[Thing, ...]
    removed: tuple[Thing, ...]
    changed: tuple[Pair, ...]
    conflicts: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def altered(self) -> frozenset[Key]:
        """Keys of now of what the migration changed."""
        return frozenset(pair.after.key for pair in self.changed)

    @property
    def new(self) -> frozenset[Key]:
        return frozenset(thing.key for thing in self.added)

    def pair(self, key: Key) -> Pair | None:
        """The object then and now, by its key now."""
        return self.whole.now.get(key)


def opened(before: Snapshot, after: Snapshot, now: Snapshot | None, token: str) -> Case:
    """after: right after the migration; now: today, None where nothing came between."""
    whole = diff(before, now or after)
    if now is None:
        return _without_others(
            Case(
                before=before, now=after, token=token, whole=whole, added=whole.added, removed=whole.removed,
                changed=_all_changed(whole), conflicts=(), notes=(),
            )
        )  # fmt: skip
    mine, since = diff(before, after), diff(after, now)
    removed_by_it = {thing.key for thing in mine.removed}
    kept = Case(
        before=before, now=now, token=token, whole=whole,
        added=tuple(t for t in whole.added if t.key in since.now),
        removed=tuple(t for t in whole.removed if t.key in removed_by_it),
        changed=tuple(p for p in _all_changed(whole) if _touched(mine, p)),
        conflicts=_changed_twice(whole, mine, since, now), notes=(),
    )  # fmt: skip
    return _without_others(kept)


def _all_changed(whole: Difference) -> tuple[Pair, ...]:
    return tuple(pair for pair in whole.pairs if pair.changed or pair.moved)


def _touched(mine: Difference, pair: Pair) -> bool:
    done = mine.then.get(pair.before.key)
    return done is not None and (done.changed or done.moved or not done.same_object)


def _changed_twice(whole: Difference, mine: Difference, since: Difference, now: Snapshot) -> tuple[str, ...]:
    """What the migration made or changed, and somebody changed again: theirs would be lost."""
    ours = {p.after.key for p in _all_changed(mine)} | {t.key for t in mine.added}
    still = {p.after.key for p in _all_changed(whole)} | {t.key for t in whole.added}
    return tuple(
        f"{now.paths[p.after.key]} was changed again since the migration"
        for p in since.pairs
        if p.before.key in ours and p.after.key in still and (p.redefined or p.facts() or p.moved)
    )


def _without_others(case: Case) -> Case:
    """Leaves what belongs to roles that we are no member of."""
    left = [case.now.paths[t.key] for t in case.added if not ours_to_undo(t)]
    left += [case.before.paths[t.key] for t in case.removed if not ours_to_undo(t)]
    left += [case.now.paths[p.after.key] for p in case.changed if not ours_to_undo(p.after)]
    return Case(
        before=case.before, now=case.now, token=case.token, whole=case.whole,
        added=tuple(t for t in case.added if ours_to_undo(t)), removed=tuple(t for t in case.removed if ours_to_undo(t)),
        changed=tuple(p for p in case.changed if ours_to_undo(p.after)), conflicts=case.conflicts,
        notes=(*case.notes, *(f"{path} belongs to another role and is left as it is" for path in left)),
    )  # fmt: skip
