"""Indexes that no constraint owns, and extended statistics."""

from __future__ import annotations

from autopilot.rollback.difference import Pair
from autopilot.rollback.snapshot import Snapshot, Thing
from autopilot.rollback.undo.kind import Commands, Kind
from autopilot.rollback.undo.words import options, ref


def _create(index: Thing, _before: Snapshot) -> Commands:
    """Those of partitions first, by their own names: the one on the whole table finds them and takes them in."""
    parts = index.loose.get("of_partitions") or []
    return [*parts, index.text["definition"].replace(" ON ONLY ", " ON ", 1)]


def _alter(pair: Pair, _before: Snapshot, _now: Snapshot) -> Commands | None:
    # one that was invalid and is valid now is left so: nothing but an accident makes an index invalid
    lost = pair.before.facts["valid"] and not pair.after.facts["valid"]
    return None if lost or _otherwise(pair) else []


def _otherwise(pair: Pair) -> bool:
    """Whether more than its options differs (those are part of the definition too)."""
    return pair.redefined and not (pair.same_object and pair.before.shape == pair.after.shape)


def _finish(then: Thing, now: Thing | None, before: Snapshot) -> Commands:
    if now is None:
        targets = then.facts["statistics"] or []
    else:
        was = dict(then.facts["statistics"] or [])
        has = dict(now.facts["statistics"] or [])
        targets = [(n, was.get(n, -1)) for n in {**was, **has} if was.get(n) != has.get(n)]
    commands = [f"ALTER INDEX {ref(before, then)} ALTER COLUMN {n} SET STATISTICS {t}" for n, t in targets]
    tails = [] if now is None else options(then.facts["options"], now.facts["options"])
    return commands + [f"ALTER INDEX {ref(before, then)} {tail}" for tail in tails]


def _create_statistics(thing: Thing, _before: Snapshot) -> Commands:
    return [thing.text["definition"]]


def _alter_statistics(pair: Pair, _before: Snapshot, _now: Snapshot) -> Commands | None:
    return None if pair.redefined else []


def _finish_statistics(then: Thing, now: Thing | None, before: Snapshot) -> Commands:
    target = then.facts["target"]
    same = target == (-1 if now is None else now.facts["target"])
    return [] if same else [f"ALTER STATISTICS {ref(before, then)} SET STATISTICS {target}"]


INDEX = Kind(rank=41, create=_create, alter=_alter, finish=_finish)
STATISTICS = Kind(rank=42, create=_create_statistics, alter=_alter_statistics, finish=_finish_statistics)
