"""How the live catalog differs from the recorded one, difference by difference, in words. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from autopilot.rollback.aligned import holds_rows
from autopilot.rollback.changed_words import Change, Severity, changes
from autopilot.rollback.snapshot import Key, Snapshot, Thing
from autopilot.rollback.wanted import LOST, OTHERS, ROWS, Wanted, is_of_a_view

#: "put_back" by `--apply`, "restore" by `--apply --restore-tables`, "adopt" by a migration, a "person", or "none": it is well so.
Remedy = Literal["put_back", "restore", "adopt", "person", "none"]

#: What protects rows, or holds them.
_DANGER = {"table", "column", "policy", "constraint", "trigger", "rule", "sequence"}
_ORDER = {"danger": 0, "warning": 1, "note": 2}
_NOUNS = {
    "matview": "materialized view", "enum": "type", "composite": "type", "range": "type", "base_type": "type",
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """One difference. object: its path as recorded, or now where it is new: "policy public.orders.own_rows"."""

    what: Literal["missing", "changed", "renamed", "added"]
    kind: str
    object: str
    severity: Severity
    sentence: str
    remedy: Remedy
    #: Why it is not simply put back.
    why: str = ""


def drifts(goal: Wanted) -> tuple[Drift, ...]:
    """The worst first; parts of what is missing or new are told with it."""
    found = [*_missing(goal), *_changed(goal), *_added(goal)]
    return tuple(sorted(found, key=lambda d: (_ORDER[d.severity], d.object, d.sentence)))


def called(snapshot: Snapshot, thing: Thing) -> str:
    """As people speak of it: "policy own_rows on public.orders"."""
    noun, parent = _NOUNS.get(thing.kind, thing.kind.replace("_", " ")), snapshot.parent(thing)
    if thing.kind == "default" and parent is not None:
        return f"default of {_path(snapshot, parent)}"
    if thing.kind == "publication_table" and parent is not None:
        return f"publication {parent.name} for {thing.name}"
    if parent is None or thing.kind == "column":
        return f"{noun} {_path(snapshot, thing)}"
    return f"{noun} {thing.name}{thing.tag} on {_path(snapshot, parent)}"


def _path(snapshot: Snapshot, thing: Thing) -> str:
    return snapshot.paths[thing.key].partition(" ")[2]


def _missing(goal: Wanted) -> Iterator[Drift]:
    recorded, gone = goal.recorded, {t.key for t in goal.whole.removed}
    for thing in goal.whole.removed:
        if thing.parent in gone or is_of_a_view(thing) or thing.owned_by in gone:
            continue
        why = goal.left.get(thing.key, "")
        parts = _parts_in_words([t for t in goal.whole.removed if t.parent == thing.key and not holds_rows(t)])
        sentence = f"{called(recorded, thing)} is missing" + (f", with {parts}" if parts and thing.kind == "table" else "")
        yield Drift(
            what="missing", kind=thing.kind, object=recorded.paths[thing.key], sentence=sentence, why=_why(why, thing),
            remedy=_remedy(why), severity="note" if why == OTHERS else "danger" if thing.kind in _DANGER else "warning",
        )  # fmt: skip


def _remedy(why: str) -> Remedy:
    if why == ROWS or why.endswith(LOST):
        return "restore"
    return "none" if why == OTHERS else "person" if why else "put_back"


def _why(why: str, thing: Thing) -> str:
    if why == ROWS and thing.kind == "column":
        return "its values are gone with it: --apply --restore-tables brings it back with those of the newest backup"
    return "its rows are gone with it: --apply --restore-tables brings it back from the newest backup" if why == ROWS else why


def _parts_in_words(things: list[Thing]) -> str:
    counts: dict[str, int] = {}
    for thing in things:
        counts[thing.kind.replace("_", " ")] = counts.get(thing.kind.replace("_", " "), 0) + 1
    plurals = {"index": "indexes", "policy": "policies", "statistics": "statistics", "publication table": "publications"}
    return ", ".join(f"{n} {kind if n == 1 else plurals.get(kind, kind + 's')}" for kind, n in sorted(counts.items()))


def _changed(goal: Wanted) -> Iterator[Drift]:
    recorded, live = goal.recorded, goal.live
    for pair in goal.whole.pairs:
        path, name = recorded.paths[pair.before.key], called(recorded, pair.before)
        if pair.after.key in goal.remade and (pair.before.kind == "table" or pair.before.parent not in goal.remade):
            yield Drift(
                what="changed", kind=pair.before.kind, object=path, severity="note", remedy="none",
                sentence=f"{name} was dropped and made again since: what is in it need not be what was in it",
            )  # fmt: skip
        if pair.moved and not is_of_a_view(pair.before):
            why = goal.left.get(pair.before.key, "")
            yield Drift(
                what="renamed", kind=pair.before.kind, object=path, severity="note" if why == OTHERS else "danger",
                sentence=f"{name} is called {_path(live, pair.after)} now", remedy=_remedy(why), why=why,
            )  # fmt: skip
        for change in () if is_of_a_view(pair.before) and _follows(goal, pair.before) else changes(pair):
            yield _told(goal, pair.before.key, path, name, change)


def _follows(goal: Wanted, column: Thing) -> bool:
    pair = None if column.parent is None else goal.whole.then.get(column.parent)
    return pair is not None and pair.redefined


def _told(goal: Wanted, key: Key, path: str, name: str, change: Change) -> Drift:
    why = goal.left.get(key, "")
    kind, others = goal.recorded.by_key[key].kind, why == OTHERS
    severity: Severity = "note" if others else change.severity
    sentence = f"{name} {change.words}"
    if change.is_added:
        remedy: Remedy = "none" if others or change.is_better else "adopt"
        return Drift(
            what="added", kind=kind, object=path, severity=severity, sentence=sentence, remedy=remedy, why=why if others else ""
        )
    return Drift(what="changed", kind=kind, object=path, severity=severity, sentence=sentence, remedy=_remedy(why), why=why)


def _added(goal: Wanted) -> Iterator[Drift]:
    live, new = goal.live, {t.key for t in goal.whole.added}
    for thing in goal.whole.added:
        if thing.parent in new or is_of_a_view(thing) or thing.owned_by in new:
            continue
        ours = thing.ours
        yield Drift(
            what="added", kind=thing.kind, object=live.paths[thing.key], severity="note", remedy="adopt" if ours else "none",
            sentence=f"{called(live, thing)} was added by hand", why="" if ours else OTHERS,
        )  # fmt: skip
