"""Gives things that stay their names and schemas of before, also where they have swapped them."""

from __future__ import annotations

from collections.abc import Sequence

from autopilot.rollback.case import Case
from autopilot.rollback.difference import Pair
from autopilot.rollback.going import TYPES
from autopilot.rollback.snapshot import Key, Snapshot, Thing
from autopilot.rollback.statement import Phase, Statement
from autopilot.rollback.undo.words import NOUNS, name, of

_RELATIONS = {"table", "view", "matview", "foreign_table", "index", "sequence"}
_FUNCTIONS = {"function", "procedure", "aggregate"}
_ON_A_TABLE = {"trigger", "policy", "rule"}
_ORDER = {
    "schema": 0,
    **dict.fromkeys(_RELATIONS, 1),
    **dict.fromkeys(TYPES, 2),
    "collation": 2,
    "column": 4,
    **dict.fromkeys(_FUNCTIONS, 3),
}


def renames(case: Case, gone: set[Key]) -> list[Statement]:
    """gone: keys of now that are dropped, or moved to the trash with all their parts, by then."""
    moved = [p for p in case.changed if p.moved and p.after.key not in gone and not _with_its_table(case, p)]
    moved.sort(key=lambda p: (_ORDER.get(p.before.kind, 5), case.before.paths[p.before.key]))
    schemas = {p.after.name: p.before.name for p in case.whole.pairs if p.before.kind == "schema"}
    taken = {_place(t, schemas) for t in case.now.things if t.key not in gone}
    aside = [p for p in moved if _place(p.before, {}) in taken or _both(p, schemas)]
    statements = []
    for group in sorted({_ORDER.get(p.before.kind, 5) for p in moved}):
        here = [p for p in moved if _ORDER.get(p.before.kind, 5) == group]
        temporary = {p.after.key: f"{case.token}_{p.after.oid}_{p.after.sub}" for p in here if p in aside}
        statements += [
            _named(case, pair, _schema_now(pair, schemas), pair.after.name, temporary[pair.after.key])
            for pair in here
            if pair.after.key in temporary
        ]
        for pair in sorted(here, key=lambda p: p.after.key in temporary):
            current = temporary.get(pair.after.key, pair.after.name)
            statements += _placed(case, pair, current, schemas)
    return [Statement(phase=Phase.RENAME, text=text, about=about) for text, about in statements]


def _with_its_table(case: Case, pair: Pair) -> bool:
    """A serial column's sequence moves with the table; a partition's column is renamed with its parent's."""
    then, now = pair.before, pair.after
    if then.kind == "column":
        return bool(then.facts["inherited"])
    return (
        then.kind == "sequence"
        and now.owned_by is not None
        and then.name == now.name
        and case.now.by_key.get(now.owned_by) is not None
    )


def _schema_now(pair: Pair, schemas: dict[str, str]) -> str | None:
    """Where it is once the schemas have their names back."""
    return None if pair.after.schema is None else schemas.get(pair.after.schema, pair.after.schema)


def _both(pair: Pair, schemas: dict[str, str]) -> bool:
    return pair.before.name != pair.after.name and _schema_now(pair, schemas) != pair.before.schema


def _place(thing: Thing, schemas: dict[str, str]) -> tuple[str | None, ...]:
    """Two things cannot be at one place."""
    schema = None if thing.schema is None else schemas.get(thing.schema, thing.schema)
    if thing.kind in _RELATIONS or thing.kind in TYPES:
        return ("relation or type", schema, thing.name)
    if thing.kind in _FUNCTIONS:
        return ("function", schema, thing.name, thing.tag)
    return (thing.kind, schema, thing.parent, thing.name, thing.tag)


def _placed(case: Case, pair: Pair, current: str, schemas: dict[str, str]) -> list[tuple[str, str]]:
    here, target = _schema_now(pair, schemas), pair.before.schema
    found = []
    if here != target and pair.before.kind != "index":
        text = f"ALTER {NOUNS[pair.before.kind]} {_called(pair, here, current)} SET SCHEMA {name(target)}"
        found.append((text, case.before.paths[pair.before.key]))
        here = target
    if current != pair.before.name:
        found.append(_named(case, pair, here, current, pair.before.name))
    return found


def _called(pair: Pair, schema: str | None, current: str) -> str:
    then = pair.before
    arguments = f"({then.text['arguments'] or ('*' if then.kind == 'aggregate' else '')})" if then.kind in _FUNCTIONS else ""
    return f"{name(schema, current)}{arguments}" + (f" {then.tag}" if then.kind == "operator" else "")


def _named(case: Case, pair: Pair, schema: str | None, current: str, wanted: str) -> tuple[str, str]:
    then, about = pair.before, case.before.paths[pair.before.key]
    if then.kind in {"column", "constraint"}:
        head = f"ALTER {_noun_of_parent(case.before, then)} {of(case.before, then)} RENAME {NOUNS[then.kind]}"
        return f"{head} {name(current)} TO {name(wanted)}", about
    if then.kind in _ON_A_TABLE:
        return f"ALTER {NOUNS[then.kind]} {name(current)} ON {of(case.before, then)} RENAME TO {name(wanted)}", about
    return f"ALTER {NOUNS[then.kind]} {_called(pair, schema, current)} RENAME TO {name(wanted)}", about


def _noun_of_parent(snapshot: Snapshot, thing: Thing) -> str:
    parent = snapshot.parent(thing)
    return "TABLE" if parent is None else {"composite": "TYPE"}.get(parent.kind, NOUNS[parent.kind])


def locked_first(tables: Sequence[str]) -> tuple[str, ...]:
    """One order for everybody who locks several."""
    return tuple(sorted(set(tables)))
