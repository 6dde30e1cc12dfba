"""Constraints of tables and of domains."""

from __future__ import annotations

from autopilot.rollback.difference import Pair
from autopilot.rollback.snapshot import Snapshot, Thing
from autopilot.rollback.undo.kind import Commands, Kind
from autopilot.rollback.undo.words import name, of, options


def _head(constraint: Thing, snapshot: Snapshot) -> str:
    parent = snapshot.parent(constraint)
    noun = "TABLE" if parent is None or parent.kind == "table" else parent.kind.replace("_", " ").upper()
    return f"ALTER {noun} {of(snapshot, constraint)}"


def _create(constraint: Thing, before: Snapshot) -> Commands:
    return [f"{_head(constraint, before)} ADD CONSTRAINT {name(constraint.name)} {constraint.text['definition']}"]


def _drop(constraint: Thing, now: Snapshot) -> Commands:
    return [f"{_head(constraint, now)} DROP CONSTRAINT {name(constraint.name)}"]


def _alter(pair: Pair, before: Snapshot, _now: Snapshot) -> Commands | None:
    if pair.redefined or set(pair.facts()) - {"index_options", "validated"}:
        return None
    if "validated" not in pair.facts():
        return []
    # a constraint that was not validated can only be made so again; one that was is checked once more
    return (
        [f"{_head(pair.before, before)} VALIDATE CONSTRAINT {name(pair.before.name)}"] if pair.before.facts["validated"] else None
    )


def _finish(then: Thing, now: Thing | None, before: Snapshot) -> Commands:
    if then.facts["type"] not in {"p", "u", "x"}:
        return []
    parent = before.parent(then)
    index = name(None if parent is None else parent.schema, then.name)
    tails = options(then.facts["index_options"], None if now is None else now.facts["index_options"])
    return [f"ALTER INDEX {index} {tail}" for tail in tails if now is not None]


CONSTRAINT = Kind(rank=40, create=_create, drop=_drop, alter=_alter, finish=_finish)
