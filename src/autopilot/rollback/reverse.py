"""The commands that lead from a later catalog back to an earlier one, losing nothing. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from autopilot.rollback import keeping, losses
from autopilot.rollback.case import opened
from autopilot.rollback.difference import Pair
from autopilot.rollback.going import TYPES, Going, going
from autopilot.rollback.names import locked_first, renames
from autopilot.rollback.order import needed_first
from autopilot.rollback.snapshot import TRASH, Key, Snapshot, Thing
from autopilot.rollback.statement import Phase, Reversal, Statement
from autopilot.rollback.undo import columns, sequences, tables
from autopilot.rollback.undo.privileges import everybodys
from autopilot.rollback.undo.table import KINDS
from autopilot.rollback.undo.words import NOUNS, name, ref


def way_back(before: Snapshot, after: Snapshot, now: Snapshot | None = None, *, token: str = "undo") -> Reversal:  # noqa: S107
    """How the migration between `before` and `after` is undone in a database that is as `now` (None: as `after`).

    token: begins every name in the trash schema; unique to this way back. Pure, and the same for the same snapshots.
    """
    case = opened(before, after, now, token)
    found = going(case)
    keep, trashed = keeping.kept(found)
    statements = [
        *losses.checks(found), *keep, *_loosened(found), *_dropped(found), *renames(case, _gone(found)), *_built(found),
        *_finished(found), *_cleaned(found),
    ]  # fmt: skip
    return Reversal(
        statements=tuple(sorted(statements, key=lambda s: s.phase)),
        moves_to_trash=tuple(trashed),
        cannot=tuple(losses.cannot(case)),
        conflicts=tuple(dict.fromkeys((*case.conflicts, *found.conflicts))),
        notes=(*case.notes, *_notes(found)),
        locks=_locks(found),
    )


def _gone(found: Going) -> set[Key]:
    return {*found.go, *found.trash, *found.stay}


def _statements(phase: Phase, about: str, texts: Iterable[str]) -> list[Statement]:
    return [Statement(phase=phase, text=text, about=about) for text in texts]


def _loosened(found: Going) -> list[Statement]:
    case, statements, altered = found.case, list[Statement](), found.case.altered
    for pair in case.whole.pairs:
        if pair.before.kind == "sequence" and pair.after.key not in found.stay:
            texts = sequences.loosened(pair, case.now)
        elif pair.before.kind == "table" and pair.after.key in altered:
            texts = tables.loosened(pair, case.now)
        else:
            continue
        statements += _statements(Phase.LOOSEN, case.now.paths[pair.after.key], texts)
    return statements


def _aside(found: Going) -> dict[Key, str]:
    """Types that columns are still of: they step aside by name, and go when the columns have the type of before."""
    needed = {b for a, b in found.case.now.edges if a in found.retype or a in found.as_text}
    types = [k for k in found.go if k in needed and found.case.now.by_key[k].kind in TYPES and found.case.pair(k) is not None]
    return {key: f"{found.case.token}_y_{found.case.now.by_key[key].oid}" for key in types}


def _dropped(found: Going) -> list[Statement]:
    case, aside = found.case, _aside(found)
    things = needed_first((case.now.by_key[key] for key in found.go), case.now)
    statements = []
    for thing in reversed(things):
        if thing.kind == "schema" or (thing.kind == "column" and _with_its_whole(found, thing)):
            continue
        texts = KINDS[thing.kind].drop(thing, case.now)
        if thing.key in aside:
            texts = [f"ALTER {NOUNS[thing.kind]} {ref(case.now, thing)} RENAME TO {name(aside[thing.key])}"]
        statements += _statements(Phase.DROP, case.now.paths[thing.key], texts)
    return statements


def _with_its_whole(found: Going, column: Thing) -> bool:
    return column.parent in found.go


def _built(found: Going) -> list[Statement]:
    """Makes again what is missing and alters what stayed, in the order in which before needs it."""
    case = found.case
    made = {t.key: t for t in case.removed} | {p.before.key: p.before for p in found.made_again()}
    altered = {p.before.key: p for p in case.changed if p.after.key not in found.go and p.before.key not in made}
    for key in found.retype:
        pair = case.pair(key)
        if pair is not None and pair.before.key not in made:
            altered.setdefault(pair.before.key, pair)
    part_of = _come_along(made)
    nodes = [t for key, t in made.items() if key not in part_of] + [p.before for p in altered.values()]
    statements = []
    late: set[Key] = set()
    needs = _needs(case.before)
    for thing in needed_first(nodes, case.before, part_of=part_of):
        pair, path = altered.get(thing.key), case.before.paths[thing.key]
        texts = KINDS[thing.kind].create(thing, case.before) if pair is None else _altered(found, pair)
        if thing.kind in _BINDS or not late.isdisjoint(needs.get(thing.key, ())):
            late.add(thing.key)
        statements += _statements(Phase.BIND if thing.key in late else Phase.BUILD, path, texts)
        if pair is None:
            statements += columns.bound(thing, case.before)
    return statements


#: What rows have to fit, or what reads them.
_BINDS = {"constraint", "index", "statistics", "view", "matview", "trigger", "rule", "policy", "publication_table"}


def _needs(snapshot: Snapshot) -> dict[Key, set[Key]]:
    found: dict[Key, set[Key]] = {}
    for dependent, needed in snapshot.needs:
        found.setdefault(dependent, set()).add(needed)
    return found


def _come_along(made: dict[Key, Thing]) -> dict[Key, Key]:
    """Columns that are made with their table, and defaults that are made with their column."""
    found: dict[Key, Key] = {}
    for thing in made.values():
        if thing.kind == "column" and thing.parent in made:
            found[thing.key] = thing.parent
    for thing in made.values():
        if columns.inlined(thing) and thing.parent in made and thing.parent not in found:
            found[thing.key] = thing.parent
    return found


def _altered(found: Going, pair: Pair) -> list[str]:
    case = found.case
    texts = KINDS[pair.before.kind].alter(pair, case.before, case.now) or [] if pair.redefined or pair.facts() else []
    anew = pair.after.key in found.retype and not columns.retyped(pair) and not pair.before.facts["inherited"]
    return [columns.retype(pair.before, case.before), *texts] if anew else texts


def _finished(found: Going) -> list[Statement]:
    case = found.case
    made = {t.key: t for t in case.removed} | {p.before.key: p.before for p in found.made_again()}
    pairs: list[tuple[Thing, Thing | None]] = [(thing, None) for thing in made.values()]
    pairs += [(p.before, p.after) for p in case.changed if p.before.key not in made]
    pairs.sort(key=lambda p: (KINDS[p[0].kind].rank, case.before.paths[p[0].key]))
    statements = []
    for then, now in pairs:
        texts = [*KINDS[then.kind].finish(then, now, case.before), *everybodys(then, now, case.before, case.now)]
        statements += _statements(Phase.FINISH, case.before.paths[then.key], texts)
    return statements


def _cleaned(found: Going) -> list[Statement]:
    case, statements = found.case, list[Statement]()
    schemas = {p.after.name: p.before.name for p in case.whole.pairs if p.before.kind == "schema"}
    asides = _aside(found)
    for thing in reversed(needed_first((case.now.by_key[key] for key in asides), case.now)):
        place = name(schemas.get(thing.schema or "", thing.schema), asides[thing.key])
        in_use = any(b == thing.key and a in found.stay for a, b in case.now.edges)
        text = f"ALTER TYPE {place} SET SCHEMA {name(TRASH)}" if in_use else f"DROP TYPE {place}"
        statements += _statements(Phase.CLEAN, case.now.paths[thing.key], [text])
    for key in found.go:
        thing = case.now.by_key[key]
        if thing.kind == "schema":
            statements += _statements(Phase.CLEAN, case.now.paths[key], [f"DROP SCHEMA {name(thing.name)}"])
    return statements


def _notes(found: Going) -> list[str]:
    case, altered = found.case, found.case.altered
    between = [p.before for p in found.made_again() if p.same_object and p.after.key not in altered and p.before.kind != "column"]
    notes = [f"{case.before.paths[t.key]} stands in between: it is dropped and made again as it was" for t in between]
    notes += [
        f"{case.before.paths[p.before.key]} was invalid before and is valid now: it is left so"
        for p in case.changed
        if p.before.kind == "index" and not p.before.facts["valid"] and p.after.facts["valid"]
    ]
    notes += [
        f"{case.before.paths[p.before.key]} becomes an heir again: what it inherits counts as its own columns too"
        for p in case.changed
        if p.before.kind == "table" and p.redefined and p.before.text["parents"] and not p.before.facts["partition"]
    ]
    return notes


def _locks(found: Going) -> tuple[str, ...]:
    """Tables of now that a command takes hold of in a way that keeps others out."""
    case, wanted = found.case, dict[Key, None]()

    def touch(thing: Thing | None) -> None:
        table = None if thing is None else case.now.table(thing)
        if table is not None and table.kind == "table" and table.ours:
            wanted[table.key] = None
        other = None if thing is None else thing.loose.get("refers_to")
        if other is not None and (found_table := case.now.by_key.get(other)) is not None and found_table.ours:
            wanted[found_table.key] = None

    for key in (*found.go, *found.trash, *found.retype):
        touch(case.now.by_key[key])
    for pair in case.changed:
        if pair.redefined or pair.facts() or pair.moved:
            touch(pair.after)
    for thing in case.removed:
        table = case.before.table(thing)
        pair_then = None if table is None else case.whole.then.get(table.key)
        touch(None if pair_then is None else pair_then.after)
    return locked_first([ref(case.now, case.now.by_key[key]) for key in wanted])
