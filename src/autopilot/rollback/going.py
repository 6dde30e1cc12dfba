"""What has to go on the way back, what goes with it for a moment, and whose things stand in the way. Pure; never CASCADE."""

from __future__ import annotations

from dataclasses import dataclass, field

from autopilot.rollback.case import Case
from autopilot.rollback.difference import Pair
from autopilot.rollback.snapshot import Key, Thing
from autopilot.rollback.undo.columns import retyped
from autopilot.rollback.undo.table import KINDS

TYPES = {"enum", "domain", "composite", "range", "base_type"}
#: What of a new table goes into the trash with it. The rest would hold, or serve, what is undone.
_STAY = {"column", "default", "index", "constraint", "sequence"}
#: What ALTER COLUMN … TYPE does not put right by itself.
_BOUND_TO_TYPE = {"view", "matview", "rule", "policy", "trigger", "function", "procedure", "publication_table", "default"}
_IMPLIED = {"v", "m", "c"}


@dataclass(slots=True, kw_only=True)
class Going:
    """By keys of now. `go`: dropped; what was there before is made again afterwards."""

    case: Case
    go: dict[Key, None] = field(default_factory=dict)
    #: New tables, and new types that their columns are of: moved to the trash schema.
    trash: dict[Key, None] = field(default_factory=dict)
    #: Parts that stay with a table in the trash.
    stay: set[Key] = field(default_factory=set)
    #: Columns that are there before and now and get their old type back.
    retype: dict[Key, None] = field(default_factory=dict)
    #: Columns in the trash whose type goes: they become text.
    as_text: dict[Key, None] = field(default_factory=dict)
    conflicts: list[str] = field(default_factory=list)
    #: What the migration made, by keys of now.
    new: frozenset[Key]

    def made_again(self) -> list[Pair]:
        return [pair for key in self.go if (pair := self.case.pair(key)) is not None]


def going(case: Case) -> Going:
    found = Going(case=case, new=case.new)
    _new_tables(found)
    for thing in case.added:
        if thing.key not in found.trash and thing.key not in found.stay and not _implied(thing):
            found.go[thing.key] = None
    for pair in case.changed:
        _changed(found, pair)
    _spread(found)
    return found


def _implied(thing: Thing) -> bool:
    return thing.kind == "column" and (thing.facts["of"] in _IMPLIED or bool(thing.facts["inherited"]))


def _new_tables(found: Going) -> None:
    now = found.case.now
    found.trash.update((thing.key, None) for thing in found.case.added if thing.kind == "table")
    for thing in now.things:
        table = now.table(thing)
        column = now.by_key.get(thing.owned_by) if thing.owned_by else None
        owner = now.table(column) if column is not None else table
        if owner is None or owner.key not in found.trash or thing.key == owner.key or thing.kind not in _STAY:
            continue
        if not (thing.kind == "constraint" and thing.facts["type"] == "f"):
            found.stay.add(thing.key)


def _changed(found: Going, pair: Pair) -> None:
    case, kind = found.case, KINDS[pair.before.kind]
    if (pair.redefined or pair.facts()) and kind.alter(pair, case.before, case.now) is None:
        found.go[pair.after.key] = None
    elif pair.before.kind == "column" and retyped(pair) and pair.before.facts["of"] in {"r", "p", "f"}:
        _retype(found, pair.after)


def _retype(found: Going, column: Thing) -> None:
    """With the same column of partitions and heirs, which follow it."""
    now = found.case.now
    found.retype[column.key] = None
    for table in now.things:
        if table.kind == "table" and column.parent in (table.loose.get("parents") or ()):
            for heir in now.children.get(table.key, ()):
                if heir.kind == "column" and heir.name == column.name and heir.key not in found.retype:
                    _retype(found, heir)


def _spread(found: Going) -> None:
    """Until nobody is left who needs something that goes and does not know of it."""
    seen: set[tuple[Key, bool]] = set()
    while True:
        todo = [(k, False) for k in (*found.go, *found.trash, *found.stay) if (k, False) not in seen]
        todo += [(k, True) for k in found.retype if (k, True) not in seen]
        if not todo:
            return
        for key, only_type in todo:
            seen.add((key, only_type))
            for needs in found.case.now.needed_by.get(key, ()):
                _concern(found, found.case.now.by_key[needs], found.case.now.by_key[key], only_type=only_type)


def _concern(found: Going, thing: Thing, needed: Thing, *, only_type: bool) -> None:
    """thing needs what goes, moves to the trash or (only_type) changes its type."""
    if thing.key in found.stay:
        _in_the_trash(found, thing, needed)
    elif thing.key not in found.go and thing.key not in found.trash and (not only_type or _bound_to_type(thing)):
        _stands_upon(found, thing, needed)


def _bound_to_type(thing: Thing) -> bool:
    return thing.kind in _BOUND_TO_TYPE or (thing.kind == "column" and bool(thing.facts["generated"]))


def _stands_upon(found: Going, thing: Thing, needed: Thing) -> None:
    pair = found.case.pair(thing.key)
    if pair is None or (needed.kind == "schema" and pair.before.schema == pair.after.schema):
        if not _implied(thing) and thing.key not in found.new:
            _conflict(found, thing, needed)
        return
    if needed.kind == "schema":
        return  # it goes back to the schema that it came from
    if needed.key in found.trash or needed.key in found.stay:
        _on_a_trashed_table(found, thing, pair)
    elif thing.kind == "column" and thing.facts["of"] in {"r", "p", "f"}:
        _column(found, thing, needed)
    elif thing.kind == "table":
        _conflict(found, thing, needed)
    elif thing.kind != "sequence":  # which leaves the column first
        found.go[thing.key] = None


def _on_a_trashed_table(found: Going, thing: Thing, pair: Pair) -> None:
    if thing.kind == "table" or (pair.redefined and KINDS[thing.kind].alter(pair, found.case.before, found.case.now) is not None):
        return  # it leaves its parent, or is replaced where it stands
    if thing.kind == "column":
        _conflict(found, thing, thing)
    else:
        found.go[thing.key] = None


def _column(found: Going, thing: Thing, needed: Thing) -> None:
    if thing.facts["generated"]:
        found.go[thing.key] = None
    elif needed.kind in TYPES or (needed.kind == "extension" and thing.key in found.retype):
        _retype(found, thing)
    elif thing.key not in found.retype and needed.kind != "default":
        _conflict(found, thing, needed)


def _in_the_trash(found: Going, thing: Thing, needed: Thing) -> None:
    """A part of a table in the trash: its rows are what matters."""
    new = found.case.pair(needed.key) is None
    if thing.kind != "column":
        if needed.key in found.go:
            found.stay.discard(thing.key)
            found.go[thing.key] = None
    elif needed.kind in TYPES and new:
        _kept_type(found, needed.key)
    elif needed.key in found.go:
        found.as_text[thing.key] = None


def _kept_type(found: Going, key: Key) -> None:
    """A new type stays for the sake of the columns in the trash, and so do the types that it is made of."""
    found.go.pop(key, None)
    found.trash[key] = None
    for needs, needed in found.case.now.needs:
        if needs == key and needed in found.go and found.case.now.by_key[needed].kind in TYPES:
            _kept_type(found, needed)


def _conflict(found: Going, thing: Thing, needed: Thing) -> None:
    paths = found.case.now.paths
    found.conflicts.append(f"{paths[thing.key]} needs {paths[needed.key]}, which is to be undone")
