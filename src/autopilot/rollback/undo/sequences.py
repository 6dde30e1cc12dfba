"""Sequences of their own, and those of serial columns. None is ever rewound."""

from __future__ import annotations

from autopilot.rollback.difference import Pair
from autopilot.rollback.snapshot import Snapshot, Thing
from autopilot.rollback.undo.kind import Commands, Kind
from autopilot.rollback.undo.words import literal, name, of, ref


def _parameters(thing: Thing) -> str:
    f = thing.facts
    cycle = "CYCLE" if f["cycle"] else "NO CYCLE"
    return (
        f"AS {f['type']} INCREMENT BY {f['increment']} MINVALUE {f['min']} MAXVALUE {f['max']}"
        f" START WITH {f['start']} CACHE {f['cache']} {cycle}"
    )


def _create(thing: Thing, before: Snapshot) -> Commands:
    persistence = "UNLOGGED " if thing.facts["persistence"] == "u" else ""
    return [f"CREATE {persistence}SEQUENCE {ref(before, thing)} {_parameters(thing)}"]


def _alter(pair: Pair, before: Snapshot, _now: Snapshot) -> Commands:
    changed = set(pair.facts())
    commands = [f"ALTER SEQUENCE {ref(before, pair.before)} {_parameters(pair.before)}"] if changed - {"persistence"} else []
    if "persistence" in changed:
        word = "UNLOGGED" if pair.before.facts["persistence"] == "u" else "LOGGED"
        commands.append(f"ALTER SEQUENCE {ref(before, pair.before)} SET {word}")
    return commands


def loosened(pair: Pair, now: Snapshot) -> Commands:
    """Leaves a column that was not its own, by the names of now, before that column goes and takes it along."""
    moved = pair.after.owned_by is not None and pair.before.owned_by != pair.after.owned_by
    return [f"ALTER SEQUENCE {ref(now, pair.after)} OWNED BY NONE"] if moved else []


def _finish(then: Thing, now: Thing | None, before: Snapshot) -> Commands:
    commands: Commands = []
    column = None if then.owned_by is None else before.by_key.get(then.owned_by)
    if column is not None and (now is None or now.owned_by != then.owned_by):
        commands.append(f"ALTER SEQUENCE {ref(before, then)} OWNED BY {ref(before, column)}")
    if now is None:
        commands += _continued(then, column, before)
    return commands


def _continued(then: Thing, column: Thing | None, before: Snapshot) -> Commands:
    """Where it was known to be, or after what its column holds: a number is never given twice."""
    known = then.loose.get("last_value")
    regclass = f"{literal(ref(before, then))}::pg_catalog.regclass"
    if column is None:
        return [] if known is None else [f"SELECT setval({regclass}, {known})"]
    highest = f"greatest(max({name(column.name)}), {known if known is not None else 'NULL'})"
    return [f"SELECT setval({regclass}, {highest}) FROM {of(before, column)} HAVING {highest} >= {then.facts['min']}"]


SEQUENCE = Kind(rank=23, create=_create, alter=_alter, finish=_finish)
