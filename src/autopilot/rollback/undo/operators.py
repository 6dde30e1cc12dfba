"""Collations, operators and casts; operator classes and base types are told, and not made again."""

from __future__ import annotations

from autopilot.rollback.snapshot import Snapshot, Thing
from autopilot.rollback.undo.kind import Commands, Kind
from autopilot.rollback.undo.words import literal, name, ref

_PROVIDERS = {"i": "icu", "c": "libc", "b": "builtin"}
_CONTEXTS = {"a": " AS ASSIGNMENT", "i": " AS IMPLICIT", "e": ""}


def _create_collation(thing: Thing, before: Snapshot) -> Commands:
    f = thing.facts
    words = [f"PROVIDER = {_PROVIDERS[f['provider']]}"]
    words += [f"LOCALE = {literal(f['locale'])}"] if f["locale"] else []
    words += [f"{word.upper()} = {literal(f[word])}" for word in ("lc_collate", "lc_ctype") if f[word] and not f["locale"]]
    words += [] if f["deterministic"] else ["DETERMINISTIC = false"]
    words += [f"RULES = {literal(f['rules'])}"] if f["rules"] else []
    return [f"CREATE COLLATION {ref(before, thing)} ({', '.join(words)})"]


def _create_operator(thing: Thing, _before: Snapshot) -> Commands:
    t = thing.text
    words = [f"FUNCTION = {t['function']}"]
    words += [f"{word} = {t[key]}" for word, key in (("LEFTARG", "left"), ("RIGHTARG", "right")) if t[key]]
    words += [f"{word.upper()} = OPERATOR({t[word]})" for word in ("commutator", "negator") if t[word]]
    words += [f"{word.upper()} = {t[word]}" for word in ("restrict", "join") if t[word]]
    words += [word.upper() for word in ("hashes", "merges") if thing.facts[word]]
    return [f"CREATE OPERATOR {name(thing.schema)}.{thing.name} ({', '.join(words)})"]


def _create_cast(thing: Thing, _before: Snapshot) -> Commands:
    ways = {"f": f"WITH FUNCTION {thing.text['function']}", "i": "WITH INOUT", "b": "WITHOUT FUNCTION"}
    return [f"CREATE CAST {thing.name} {ways[thing.facts['method']]}{_CONTEXTS[thing.facts['context']]}"]


def cannot_be_made(_thing: Thing, _before: Snapshot) -> Commands:
    return []


COLLATION = Kind(rank=5, create=_create_collation)
OPERATOR = Kind(rank=14, create=_create_operator)
OPERATOR_CLASS = Kind(rank=15, create=cannot_be_made)
BASE_TYPE = Kind(rank=9, create=cannot_be_made)
CAST = Kind(rank=16, create=_create_cast)
