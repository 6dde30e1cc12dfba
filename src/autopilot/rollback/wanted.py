"""What a repair leads to: the recorded catalog, with everything that somebody added since left where it is. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from autopilot.rollback.aligned import Aligned, at_key, holds_rows
from autopilot.rollback.difference import Difference, Pair, diff
from autopilot.rollback.snapshot import Grant, Key, Snapshot, Thing
from autopilot.rollback.undo.table import NOT_MADE_AGAIN

#: Columns that come and go with the query of their view.
_OF_A_VIEW = {"v", "m"}
#: What is only there because of what it is part of.
ATTACHED = {"constraint", "index", "trigger", "policy", "rule", "statistics", "publication_table", "view", "matview"}

OTHERS = "it belongs to another role"
ROWS = "its rows are gone with it"
#: Ends the reason of what waits for such rows.
LOST = "which is lost with its rows"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """recorded and live as they are, and the catalog that a repair would leave (`snapshot`).

    left: by keys of recorded, what stays as it is now, and why.
    """

    recorded: Snapshot
    live: Snapshot
    remade: frozenset[Key]
    whole: Difference
    snapshot: Snapshot
    left: Mapping[Key, str]


def wanted(
    found: Aligned, live: Snapshot, *, restoring: frozenset[Key] = frozenset(), failed: Mapping[str, str] | None = None
) -> Wanted:
    """restoring: tables and columns, by keys of recorded, whose rows come back too. failed: by path, what cannot be put back."""
    recorded, whole = found.recorded, diff(found.recorded, live)
    left = _left(recorded, live, whole, restoring, failed or {})
    return _made(found, live, whole, left)


def with_all(found: Aligned, live: Snapshot) -> Wanted:
    """The recorded catalog and all additions, as if nothing stood in the way."""
    return _made(found, live, diff(found.recorded, live), {})


def frames(found: Aligned, live: Snapshot, restoring: frozenset[Key]) -> Wanted:
    """The live catalog and the bare tables and columns that are restored, ready to take rows: nothing else is put back yet."""
    recorded, whole = found.recorded, diff(found.recorded, live)
    needs: dict[Key, list[Key]] = {}
    for a, b in recorded.needs:
        needs.setdefault(a, []).append(b)
    todo = [*restoring, *_parts_of(recorded, restoring)]
    wanted_keys: set[Key] = set()
    while todo:
        key = todo.pop()
        if key not in wanted_keys:
            wanted_keys.add(key)
            todo += needs.get(key, ())
    left = {t.key: "later" for t in whole.removed if t.key not in wanted_keys or t.kind in ATTACHED}
    left |= {p.before.key: "later" for p in whole.pairs if p.changed or p.moved}
    made = _made(found, live, whole, left)
    things = tuple(_nullable(t) if t.key in restoring else t for t in made.snapshot.things)
    return Wanted(
        recorded=recorded, live=live, remade=found.remade, whole=whole, left=left,
        snapshot=msgspec.structs.replace(made.snapshot, things=things),
    )  # fmt: skip


def _parts_of(recorded: Snapshot, whole: frozenset[Key]) -> Iterable[Key]:
    for thing in recorded.things:
        if thing.kind in {"column", "default"} and thing.parent in whole:
            yield thing.key
            yield from (c.key for c in recorded.children.get(thing.key, ()))
        if thing.kind == "sequence" and thing.owned_by is not None:
            column = recorded.by_key.get(thing.owned_by)
            if column is not None and (column.key in whole or column.parent in whole):
                yield thing.key


def _nullable(thing: Thing) -> Thing:
    """A column has no values yet."""
    return msgspec.structs.replace(thing, facts={**thing.facts, "not_null": False}) if thing.kind == "column" else thing


def is_of_a_view(thing: Thing) -> bool:
    return thing.kind == "column" and thing.facts["of"] in _OF_A_VIEW


def _left(
    recorded: Snapshot, live: Snapshot, whole: Difference, restoring: frozenset[Key], failed: Mapping[str, str]
) -> dict[Key, str]:
    left: dict[Key, str] = {}
    of_ours = _triggers_of_ours(recorded)
    for thing in whole.removed:
        if why := failed.get(recorded.paths[thing.key]) or _why_not_made(thing, restoring, of_ours):
            left[thing.key] = why
    for pair in (p for p in whole.pairs if p.changed or p.moved):
        path = recorded.paths[pair.before.key]
        why = failed.get(path) or failed.get(live.paths[pair.after.key]) or _why_not_changed(pair, of_ours)
        if why:
            left[pair.before.key] = why
    return _with_what_needs_it(recorded, whole, left)


def _triggers_of_ours(recorded: Snapshot) -> frozenset[Key]:
    """A trigger of a function of ours is ours, on whoever's table it is: the right to make triggers there is enough."""
    known = recorded.by_key
    functions = {"function", "procedure"}
    return frozenset(a for a, b in recorded.needs if known[a].kind == "trigger" and known[b].kind in functions and known[b].ours)


def _why_not_made(thing: Thing, restoring: frozenset[Key], of_ours: frozenset[Key]) -> str | None:
    if not thing.ours and thing.key not in of_ours:
        return OTHERS
    if thing.kind in NOT_MADE_AGAIN:
        return "no command of Autopilot's makes it again"
    if holds_rows(thing) and thing.key not in restoring and thing.parent not in restoring and not _computed(thing):
        return ROWS
    return None


def _computed(thing: Thing) -> bool:
    return thing.kind == "column" and bool(thing.facts["generated"])


def _why_not_changed(pair: Pair, of_ours: frozenset[Key]) -> str | None:
    if not pair.after.ours and pair.before.key not in of_ours:
        return (
            OTHERS if not pair.before.ours else f"{pair.after.owner} owns it now, and only that role or a superuser gives it back"
        )
    if pair.before.owner is not None and not pair.before.ours:
        return OTHERS
    if pair.before.kind in NOT_MADE_AGAIN and (pair.redefined or pair.facts()):
        return "no command of Autopilot's changes it back"
    if pair.before.kind == "extension" and "version" in pair.facts():
        return "its version is the platform's business"
    return None


def _with_what_needs_it(recorded: Snapshot, whole: Difference, left: dict[Key, str]) -> dict[Key, str]:
    """What is missing and needs something that stays missing waits for it; so does what was redefined without it."""
    changed = {p.before.key for p in whole.pairs if p.redefined}
    todo = [key for key in left if key not in whole.then]
    while todo:
        key = todo.pop()
        for needs in recorded.needed_by.get(key, ()):
            if needs not in left and (needs not in whole.then or needs in changed):
                lost = left[key] == ROWS or left[key].endswith(LOST)
                left[needs] = f"it needs {recorded.paths[key]}, {LOST if lost else 'which is missing'}"
                if needs not in whole.then:
                    todo.append(needs)
    return left


def _made(found: Aligned, live: Snapshot, whole: Difference, left: Mapping[Key, str]) -> Wanted:
    recorded, places = found.recorded, {p.after.key: p.before.key for p in whole.pairs}
    as_now: set[Key] = set()
    things = []
    for thing in recorded.things:
        pair = whole.then.get(thing.key)
        follows = thing.parent if is_of_a_view(thing) else thing.key
        if pair is None:
            if thing.key not in left and follows not in left:
                things.append(thing)
        elif thing.key in left or follows in left:
            as_now.add(thing.key)
            things.append(at_key(pair.after, places))
        else:
            things.append(merged(pair))
    for thing in whole.added:
        if not is_of_a_view(thing) or (there := whole.now.get(thing.parent or "")) is None or there.before.key in left:
            as_now.add(thing.key)
            things.append(at_key(thing, places))
    edges = {edge for edge in recorded.edges if edge[0] not in as_now}
    edges |= {(a, b) for x, y in live.edges if (a := places.get(x, x)) in as_now for b in [places.get(y, y)]}
    snapshot = msgspec.structs.replace(recorded, role=live.role, things=tuple(things), edges=tuple(sorted(edges)))
    return Wanted(recorded=recorded, live=live, remade=found.remade, whole=whole, snapshot=snapshot, left=left)


def merged(pair: Pair) -> Thing:
    """As it was, with what somebody put on top: grants, a comment, row level security, NOT NULL, labels of an enum."""
    then, now = pair.before, pair.after
    facts, loose, text, shape = dict(then.facts), dict(then.loose), then.text, then.shape
    for safer in ("rls", "force_rls", "valid", "validated", "not_null"):
        if safer in facts:
            facts[safer] = then.facts[safer] or now.facts[safer]
    if then.kind == "enum" and _extends(now.facts["labels"], then.facts["labels"]):
        facts["labels"], loose = now.facts["labels"], now.loose
    if then.kind == "composite" and _extends(now.text["attributes"], then.text["attributes"]):
        text, shape, loose = now.text, now.shape, now.loose
    return msgspec.structs.replace(
        then, facts=facts, loose=loose, text=text, shape=shape, acl=_grants(pair), labels={**now.labels, **then.labels},
        comment=now.comment if then.comment is None else then.comment,
    )  # fmt: skip


def _extends(now: list[Any] | None, then: list[Any] | None) -> bool:
    """Whether everything that was there is there, in its order."""
    rest = iter(now or ())
    return all(item in rest for item in then or ())


def added_grants(pair: Pair) -> frozenset[Grant]:
    """Grants on top of those recorded, as they are once the object has its owner back."""
    return frozenset(_as_owned(pair)) - frozenset(pair.before.acl or ())


def lost_grants(pair: Pair) -> frozenset[Grant]:
    """A right that may now be passed on too is not lost."""
    has = _as_owned(pair)
    return frozenset(g for g in pair.before.acl or () if g not in has and (g[0], g[1], True) not in has)


def _grants(pair: Pair) -> tuple[Grant, ...] | None:
    if pair.before.acl is None:
        return None
    every = {*pair.before.acl, *_as_owned(pair)}
    return tuple(sorted(g for g in every if g[2] or (g[0], g[1], True) not in every))


def _as_owned(pair: Pair) -> set[Grant]:
    then, now = pair.before, pair.after
    if then.owner is None or now.owner == then.owner:
        return set(now.acl or ())
    return {(then.owner if who == now.owner else who, what, pass_on) for who, what, pass_on in now.acl or ()}
