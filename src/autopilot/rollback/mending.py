"""The commands that put back what is missing or changed: one transaction, then what would keep others waiting. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from autopilot.rollback.aligned import Aligned
from autopilot.rollback.reverse import way_back
from autopilot.rollback.snapshot import Key, Snapshot, Thing
from autopilot.rollback.statement import Phase, Reversal, Statement
from autopilot.rollback.undo.words import name
from autopilot.rollback.wanted import Wanted, frames, wanted

_TOKEN = "repair"  # noqa: S105 - begins names, opens nothing
_INDEX = re.compile(r"^CREATE (UNIQUE )?INDEX ")
_DROP_INDEX = "DROP INDEX "


@dataclass(frozen=True, slots=True, kw_only=True)
class Apart:
    """What runs after the transaction, by itself: building an index, validating a constraint. about: its path as recorded."""

    about: str
    statements: tuple[str, ...]
    #: Takes away an index that was half built.
    undo: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Mending:
    wanted: Wanted
    statements: tuple[Statement, ...]
    apart: tuple[Apart, ...]
    notes: tuple[str, ...]

    @property
    def is_needed(self) -> bool:
        return bool(self.statements or self.apart)


def mending(
    found: Aligned, live: Snapshot, *, restoring: frozenset[Key] = frozenset(), failed: Mapping[str, str] | None = None
) -> Mending:
    """What cannot be put back is left, with what needs it, until the rest can: `wanted.left` says what and why."""
    known = dict(failed or {})
    while True:
        goal = wanted(found, live, restoring=restoring, failed=known)
        reversal = way_back(goal.snapshot, live, token=_TOKEN)
        more = {path: why for path, why in _impossible(goal, reversal, restoring).items() if path not in known}
        if not more:
            return _cut(goal, reversal)
        known |= more


def framing(found: Aligned, live: Snapshot, *, restoring: frozenset[Key]) -> tuple[Statement, ...]:
    """Makes the tables and columns that are restored, empty and with nothing on them."""
    return way_back(frames(found, live, restoring).snapshot, live, token=_TOKEN).statements


def _impossible(goal: Wanted, reversal: Reversal, restoring: frozenset[Key]) -> dict[str, str]:
    empty = {goal.recorded.paths[key] for key in restoring}
    found = {c.about: c.sentence for c in reversal.cannot if c.about not in empty and not _part_of(c.about, empty)}
    for pair in goal.whole.pairs:
        path, now = goal.recorded.paths[pair.before.key], goal.live.paths[pair.after.key]
        if pair.changed and pair.before.key not in goal.left:
            against = [c for c in reversal.conflicts if now in c or path in c]
            against += ["rows would have to be moved away" for t in reversal.moves_to_trash if t.origin == now]
            if against:
                found[path] = against[0]
    return found


def _part_of(about: str, tables: set[str]) -> bool:
    return any(about.startswith(f"column {table.partition(' ')[2]}.") for table in tables)


def _cut(goal: Wanted, reversal: Reversal) -> Mending:
    """Parts the statements into those of the transaction and those that run apart."""
    alone = {goal.snapshot.paths[t.key]: t for t in goal.snapshot.things if _stands_alone(goal, t)}
    checks = {goal.snapshot.paths[t.key]: t for t in goal.snapshot.things if _is_checked_late(goal, t)}
    names = _names_now(goal)
    inside: list[Statement] = []
    outside: dict[str, list[str]] = {}
    for statement in reversal.statements:
        path = names.get(statement.about, statement.about) if statement.phase is Phase.DROP else statement.about
        if path in alone:
            outside.setdefault(path, []).append(_concurrently(statement.text))
        elif path in checks and statement.phase in {Phase.BUILD, Phase.BIND}:
            if " VALIDATE CONSTRAINT " in statement.text:
                outside.setdefault(path, []).append(statement.text)
            else:
                inside.append(_not_valid(statement))
                outside.setdefault(path, []).append(_validation(statement.text))
        else:
            inside.append(statement)
    apart = [Apart(about=path, statements=tuple(texts), undo=_undo(alone.get(path))) for path, texts in outside.items()]
    return Mending(wanted=goal, statements=tuple(inside), apart=tuple(apart), notes=reversal.notes)


def _names_now(goal: Wanted) -> dict[str, str]:
    """What is dropped is spoken of by its path now."""
    return {goal.live.paths[p.after.key]: goal.snapshot.paths[p.before.key] for p in goal.whole.pairs}


def _stands_alone(goal: Wanted, thing: Thing) -> bool:
    """An index that is made and that nothing else put back now stands upon: it can be built while others read and write."""
    if thing.kind != "index" or not _is_new(goal, thing) or thing.loose.get("of_partitions") is not None:
        return False
    table = goal.snapshot.parent(thing)
    if table is None or _is_new(goal, table) or table.facts.get("partitioned") or " ON ONLY " in thing.text["definition"]:
        return False
    if thing.name in {table.text.get("replica_index"), table.text.get("clustered_on")}:
        return False
    return not any(_is_new(goal, goal.snapshot.by_key[k]) for k in goal.snapshot.needed_by.get(thing.key, ()))


def _is_new(goal: Wanted, thing: Thing) -> bool:
    """Whether it is made by the repair: missing now, or made anew."""
    pair = goal.whole.then.get(thing.key)
    if pair is None:
        return thing.key not in goal.live.by_key
    return thing.kind == "index" and (pair.redefined or (thing.facts["valid"] and not pair.after.facts["valid"]))


def _is_checked_late(goal: Wanted, thing: Thing) -> bool:
    if thing.kind != "constraint" or thing.facts["type"] not in {"c", "f"} or not thing.facts["validated"]:
        return False
    table = goal.snapshot.parent(thing)
    return table is not None and table.kind == "table" and not table.facts["partitioned"] and not _is_new(goal, table)


def _not_valid(statement: Statement) -> Statement:
    return Statement(phase=statement.phase, text=f"{statement.text} NOT VALID", about=statement.about)


def _validation(text: str) -> str:
    """ALTER TABLE x ADD CONSTRAINT y … → ALTER TABLE x VALIDATE CONSTRAINT y."""
    head, _, rest = text.partition(" ADD CONSTRAINT ")
    called = re.match(r'"(?:[^"]|"")*"', rest)
    return f"{head} VALIDATE CONSTRAINT {called[0] if called else rest.split()[0]}"


def _concurrently(text: str) -> str:
    if text.startswith(_DROP_INDEX):
        return f"{_DROP_INDEX}CONCURRENTLY IF EXISTS {text.removeprefix(_DROP_INDEX)}"
    return _INDEX.sub(lambda m: f"CREATE {m[1] or ''}INDEX CONCURRENTLY ", text)


def _undo(index: Thing | None) -> str | None:
    return None if index is None else f"{_DROP_INDEX}CONCURRENTLY IF EXISTS {name(index.schema, index.name)}"
