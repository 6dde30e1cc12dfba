"""A migration file for what somebody added by hand: harmless where it is there, and making it where it is not. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

import msgspec

from autopilot.rollback.aligned import Aligned
from autopilot.rollback.difference import Pair
from autopilot.rollback.reverse import way_back
from autopilot.rollback.snapshot import Snapshot, Thing
from autopilot.rollback.statement import Phase, Statement
from autopilot.rollback.undo.words import literal, ref
from autopilot.rollback.wanted import Wanted, with_all

_HEAD = """\
-- Adopts what was added to {database} by hand since {recorded}:
{what}
-- Read it, keep what you want, and push it: where something is there already, its statement does nothing.
-- Of tables only the definition is here, not the rows.
"""
#: Beginnings that know IF NOT EXISTS, and views, which know OR REPLACE.
_KNOWING_IF = (
    r"(?:UNLOGGED )?(?:TABLE|SEQUENCE)|SCHEMA|EXTENSION|(?:UNIQUE )?INDEX|STATISTICS"
    r"|(?:MATERIALIZED )VIEW|FOREIGN TABLE|COLLATION|SERVER"
)
_GENTLE = (
    (re.compile(rf"^(CREATE (?:{_KNOWING_IF})) "), r"\1 IF NOT EXISTS "),
    (re.compile(r"^CREATE VIEW "), "CREATE OR REPLACE VIEW "),
    (re.compile(r"^(ALTER (?:FOREIGN )?TABLE .+? ADD COLUMN) "), r"\1 IF NOT EXISTS "),
)  # fmt: skip
_HARMLESS_TWICE = ("CREATE OR REPLACE ", "GRANT ", "REVOKE ", "COMMENT ", "SECURITY LABEL ")
_ADDS = re.compile(
    r"^(?:CREATE |ALTER (?:FOREIGN )?TABLE .+ ADD CONSTRAINT |ALTER DOMAIN .+ ADD |ALTER PUBLICATION .+ ADD )", re.DOTALL
)


def adoption(found: Aligned, live: Snapshot, *, database: str, recorded_at: str, what: Iterable[str]) -> str | None:
    """The file's text; None where there is nothing that a statement could make. what: sentences for its head."""
    goal = _ours(with_all(found, live))
    statements = way_back(_without_labels(goal), found.recorded, token="adopt").statements  # noqa: S106 - begins names
    texts = [*_labels(goal), *(text for s in statements if (text := _made_harmless(s)) is not None)]
    if not texts:
        return None
    head = _HEAD.format(database=database, recorded=recorded_at, what="\n".join(f"-- * {line}" for line in what))
    return head + "\n" + "\n\n".join(f"{text};" for text in texts) + "\n"


def _ours(goal: Wanted) -> Wanted:
    """Without what belongs to others, parts of their tables included."""
    known = goal.recorded.by_key
    things = tuple(_kept(t, known.get(t.key)) for t in goal.snapshot.things if t.ours or t.key in known)
    return Wanted(
        recorded=goal.recorded, live=goal.live, remade=goal.remade, whole=goal.whole, left=goal.left,
        snapshot=msgspec.structs.replace(goal.snapshot, things=things),
    )  # fmt: skip


def _kept(thing: Thing, recorded: Thing | None) -> Thing:
    return thing if thing.ours or recorded is None else recorded


def _grown(goal: Wanted) -> Iterator[tuple[Pair, Thing]]:
    for thing in goal.snapshot.things:
        pair = goal.whole.then.get(thing.key)
        if pair is None or not pair.after.ours:
            continue
        labels = thing.kind == "enum" and thing.facts["labels"] != pair.before.facts["labels"]
        if labels or (thing.kind == "composite" and thing.text["attributes"] != pair.before.text["attributes"]):
            yield pair, thing


def _without_labels(goal: Wanted) -> Snapshot:
    """Types as recorded: what was added to them is said apart, since `way_back` would make the type anew."""
    grown = {thing.key: pair for pair, thing in _grown(goal)}
    things = []
    for thing in goal.snapshot.things:
        pair = grown.get(thing.key)
        if pair is None:
            things.append(thing)
        else:
            then = pair.before
            things.append(msgspec.structs.replace(thing, facts=then.facts, text=then.text, loose=then.loose, shape=then.shape))
    return msgspec.structs.replace(goal.snapshot, things=tuple(things))


def _labels(goal: Wanted) -> Iterator[str]:
    for pair, thing in _grown(goal):
        here = f"ALTER TYPE {ref(goal.snapshot, thing)}"
        if thing.kind == "enum":
            known = list(pair.before.facts["labels"] or ())
            for place, label in enumerate(thing.facts["labels"] or ()):
                if label not in known:
                    before = thing.facts["labels"][place - 1] if place else None
                    where = f" AFTER {literal(before)}" if before is not None else f" BEFORE {literal(known[0])}" if known else ""
                    yield f"{here} ADD VALUE IF NOT EXISTS {literal(label)}{where}"
        else:
            had = {a[0] for a in pair.before.text["attributes"] or ()}
            for label, kind, collation in thing.text["attributes"] or ():
                if label not in had:
                    tail = f" COLLATE {collation}" if collation else ""
                    yield _guarded(f'{here} ADD ATTRIBUTE "{label.replace(chr(34), chr(34) * 2)}" {kind}{tail}')


def _made_harmless(statement: Statement) -> str | None:
    """None for what a file has no business with: numbers of sequences, checks."""
    text = statement.text
    if statement.phase not in {Phase.BUILD, Phase.BIND, Phase.FINISH} or text.startswith("SELECT "):
        return None
    if text.startswith(_HARMLESS_TWICE):
        return text
    for pattern, instead in _GENTLE:
        if pattern.search(text):
            return pattern.sub(instead, text, count=1)
    return _guarded(text) if _ADDS.match(text) else text


def _guarded(text: str) -> str:
    """Where the thing is there already, nothing happens."""
    tag = "$adopt$"
    while tag in text:
        tag = f"{tag[:-1]}_$"
    there = "duplicate_object OR duplicate_table OR duplicate_column OR duplicate_function"
    if " PRIMARY KEY" in text:
        there += " OR invalid_table_definition"
    return f"DO {tag} BEGIN\n{text};\nEXCEPTION WHEN {there} THEN NULL;\nEND {tag}"
