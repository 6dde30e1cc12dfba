"""What commands alone cannot bring back, and queries that find rows which the way back would cut. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable

from autopilot.rollback.case import Case
from autopilot.rollback.difference import Pair
from autopilot.rollback.going import Going
from autopilot.rollback.snapshot import Thing
from autopilot.rollback.statement import Cannot, Phase, Statement
from autopilot.rollback.undo.columns import retyped
from autopilot.rollback.undo.table import NOT_MADE_AGAIN
from autopilot.rollback.undo.words import literal, name, ref

#: Routes that keep or hold rows, by the names that the plan shows.
PRE_IMAGE, MERGE, QUARANTINE = "pre-image/trash", "merge from backup", "quarantine restore"
_ROWS = (PRE_IMAGE, MERGE, QUARANTINE)
_LADDERS = (
    ("smallint", "integer", "bigint", "numeric"),
    ("real", "double precision"),
    ("date", "timestamp without time zone"),
)
_TEXTS = {"text", "character varying"}
_SIZED = re.compile(r"^(character varying|numeric|bit varying|timestamp(?:tz)?|time)\((\d+)(?:,(\d+))?\)(.*)$")


def cannot(case: Case) -> list[Cannot]:
    tables = {t.key for t in case.removed if t.kind == "table"}
    found = []
    for thing in case.removed:
        path = case.before.paths[thing.key]
        if thing.kind == "table" and not thing.facts["partitioned"]:
            found.append(Cannot(about=path, sentence=f"{path} was dropped: it comes back empty", routes=_ROWS))
        elif thing.kind == "column" and thing.facts["of"] in {"r", "p"} and thing.parent not in tables:
            if not thing.facts["generated"] and not thing.facts["inherited"]:
                found.append(Cannot(about=path, sentence=f"{path} was dropped: it comes back empty, as the last", routes=_ROWS))
        elif thing.kind in NOT_MADE_AGAIN:
            found.append(Cannot(about=path, sentence=f"{path} was dropped: a person makes it again", routes=(QUARANTINE,)))
    for pair in case.changed:
        found += _changed(case, pair)
    return found


def _changed(case: Case, pair: Pair) -> Iterable[Cannot]:
    path, then, now = case.before.paths[pair.before.key], pair.before, pair.after
    if then.kind == "column" and retyped(pair) and not then.facts["inherited"] and then.facts["of"] in {"r", "p"}:
        was, has = then.text["type"], now.text["type"]
        if not then.facts["generated"] and not widens(was, has) and not _label_lists_nest(case, was, has):
            sentence = f"{path} became {has}: what of its {was} values did not fit is not there any more"
            yield Cannot(about=path, sentence=sentence, routes=_ROWS)
    if then.kind == "enum" and not pair.same_object:
        lost = [label for label in then.facts["labels"] or () if label not in (now.facts["labels"] or ())]
        if lost:
            sentence = f"{path} lost {', '.join(lost)}: rows that held it were given another label"
            yield Cannot(about=path, sentence=sentence, routes=_ROWS)
    if then.kind in NOT_MADE_AGAIN and pair.changed and (pair.redefined or pair.facts()):
        yield Cannot(about=path, sentence=f"{path} was changed: a person changes it back", routes=(QUARANTINE,))


def _label_lists_nest(case: Case, was: str, has: str) -> bool:
    """Two enums of which the one now has every label of the one before."""
    labels = {}
    for snapshot in (case.before, case.now):
        for thing in snapshot.things:
            if thing.kind == "enum":
                labels[snapshot is case.before, _type_name(thing)] = thing.facts["labels"] or []
    then, now = labels.get((True, was)), labels.get((False, has))
    return then is not None and ((now is not None and set(then) <= set(now)) or has in {"text", "character varying"})


def _type_name(thing: Thing) -> str:
    simple = re.compile(r"^[a-z_][a-z0-9_]*$")
    return ".".join(p if simple.match(p) else name(p) for p in (thing.schema, thing.name) if p is not None)


def widens(was: str, has: str) -> bool:
    """Whether every value of the one type is a value of the other, so that nothing was cut off between them."""
    if was == has or has in _TEXTS:
        return True
    sized_was, sized_has = _SIZED.match(was), _SIZED.match(has)
    plain_was = sized_was[1] + sized_was[4] if sized_was else was
    if plain_was == has:
        return True
    if sized_was and sized_has and plain_was == sized_has[1] + sized_has[4]:
        return _room(sized_has) >= _room(sized_was) and int(sized_has[3] or 0) >= int(sized_was[3] or 0)
    return any(plain_was in ladder and has in ladder and ladder.index(plain_was) <= ladder.index(has) for ladder in _LADDERS)


def _room(sized: re.Match[str]) -> int:
    """Digits before the point, or length."""
    return int(sized[2]) - int(sized[3] or 0)


def checks(found: Going) -> list[Statement]:
    """Queries by the names of now, each counting rows that do not fit what was."""
    case = found.case
    pairs = {p.after.key: p for p in case.whole.pairs if p.before.kind == "column" and p.before.facts["of"] in {"r", "p"}}
    statements: list[Statement] = []
    for key in found.retype:
        if key in pairs and not pairs[key].before.facts["inherited"] and not pairs[key].before.facts["generated"]:
            statements += _fits(found, pairs[key])
    for pair in case.changed:
        if pair.after.key in pairs and pair.before.facts["not_null"] and not pair.after.facts["not_null"]:
            statements.append(_filled(case, pair))
    return statements


def _fits(found: Going, pair: Pair) -> Iterable[Statement]:
    case, then, now = found.case, pair.before, pair.after
    path, column, table = case.now.paths[now.key], name(now.name), ref(case.now, case.now.by_key[now.parent or ""])
    known = _labels_then(found, pair)
    if known is not None:
        where = f"{column}::text NOT IN ({', '.join(literal(label) for label in known)})" if known else f"{column} IS NOT NULL"
        sentence = f"{{rows}} of {table} with a label in {path} that did not exist before"
    elif widens(now.text["type"], then.text["type"]) or "." in then.text["type"] or _exotic(now):
        return  # it fits, or the cast itself refuses what does not
    else:
        where = f"({column}::{then.text['type']})::{now.text['type']}::text IS DISTINCT FROM {column}::text"
        sentence = f"{{rows}} of {table} with a value in {path} that {then.text['type']} cannot hold"
    text = f"SELECT count(*) FROM {table} WHERE {where}"
    yield Statement(phase=Phase.CHECK, text=text, about=path, sentence=sentence)


def _exotic(column: Thing) -> bool:
    """Types of one's own are reached by way of text, and text refuses what it cannot be."""
    return "." in column.text["type"]


def _labels_then(found: Going, pair: Pair) -> list[str] | None:
    enums = {_type_name(t): t for t in found.case.before.things if t.kind == "enum"}
    enum = enums.get(pair.before.text["type"])
    return None if enum is None else list(enum.facts["labels"] or ())


def _filled(case: Case, pair: Pair) -> Statement:
    now = pair.after
    table, path = ref(case.now, case.now.by_key[now.parent or ""]), case.now.paths[now.key]
    return Statement(
        phase=Phase.CHECK, about=path, text=f"SELECT count(*) FROM {table} WHERE {name(now.name)} IS NULL",
        sentence=f"{{rows}} of {table} with nothing in {path}, which was NOT NULL before",
    )  # fmt: skip
