"""Functions, procedures and aggregates, from their definitions as PostgreSQL writes them."""

from __future__ import annotations

from autopilot.rollback.difference import Pair
from autopilot.rollback.snapshot import Snapshot, Thing
from autopilot.rollback.undo.kind import Commands, Kind
from autopilot.rollback.undo.words import literal, name

_MODIFY = {"r": "READ_ONLY", "s": "SHAREABLE", "w": "READ_WRITE"}
_PARALLEL = {"s": "SAFE", "r": "RESTRICTED", "u": "UNSAFE"}


def _create(thing: Thing, _before: Snapshot) -> Commands:
    return [thing.text["definition"].rstrip()]


def _alter(pair: Pair, _before: Snapshot, _now: Snapshot) -> Commands | None:
    """CREATE OR REPLACE keeps what stands upon it, and changes no result, no name of an argument and takes no default away."""
    if not pair.redefined and not pair.facts():
        return []
    then, now = pair.before, pair.after
    same = all(then.text[word] == now.text[word] for word in ("arguments", "result"))
    if not same or then.facts["defaults"] < now.facts["defaults"] or then.kind != now.kind:
        return None
    return [then.text["definition"].rstrip()]


def _create_aggregate(thing: Thing, _before: Snapshot) -> Commands:
    a = thing.text["aggregate"]
    words = [f"SFUNC = {a['sfunc']}", f"STYPE = {a['stype']}"]
    words += [
        f"{word.upper()} = {a[word]}" for word in ("sspace", "finalfunc", "combinefunc", "serialfunc", "deserialfunc") if a[word]
    ]
    if a["finalfunc"]:
        words += ["FINALFUNC_EXTRA"] if a["finalfunc_extra"] else []
        words += [f"FINALFUNC_MODIFY = {_MODIFY[a['finalfunc_modify']]}"]
    words += [f"INITCOND = {literal(a['initcond'])}"] if a["initcond"] is not None else []
    words += [f"{word.upper()} = {a[word]}" for word in ("msfunc", "minvfunc", "mstype", "mfinalfunc") if a[word]]
    words += [f"MINITCOND = {literal(a['minitcond'])}"] if a["minitcond"] is not None else []
    words += [f"SORTOP = OPERATOR({a['sortop']})"] if a["sortop"] else []
    words += [f"PARALLEL = {_PARALLEL[a['parallel']]}"] + (["HYPOTHETICAL"] if a["kind"] == "h" else [])
    arguments = thing.text["arguments"] or "*"
    return [f"CREATE AGGREGATE {name(thing.schema, thing.name)}({arguments}) ({', '.join(words)})"]


def _alter_aggregate(pair: Pair, _before: Snapshot, _now: Snapshot) -> Commands | None:
    return None if pair.redefined else []


FUNCTION = Kind(rank=12, create=_create, alter=_alter)
AGGREGATE = Kind(rank=13, create=_create_aggregate, alter=_alter_aggregate)
