"""Text search configurations and dictionaries."""

from __future__ import annotations

from autopilot.rollback.difference import Pair
from autopilot.rollback.snapshot import Snapshot, Thing
from autopilot.rollback.undo.kind import Commands, Kind
from autopilot.rollback.undo.words import ref


def _create(thing: Thing, before: Snapshot) -> Commands:
    here = ref(before, thing)
    return [f"CREATE TEXT SEARCH CONFIGURATION {here} (PARSER = {thing.text['parser']})", *_mapped(thing, here)]


def _mapped(thing: Thing, here: str) -> Commands:
    dictionaries: dict[str, list[str]] = {}
    for token, dictionary in thing.text["mappings"] or ():
        dictionaries.setdefault(token, []).append(dictionary)
    return [
        f"ALTER TEXT SEARCH CONFIGURATION {here} ADD MAPPING FOR {token} WITH {', '.join(found)}"
        for token, found in dictionaries.items()
    ]


def _alter(pair: Pair, before: Snapshot, _now: Snapshot) -> Commands | None:
    if not pair.redefined:
        return []
    if pair.before.text["parser"] != pair.after.text["parser"]:
        return None
    here = ref(before, pair.before)
    tokens = dict.fromkeys(token for token, _ in pair.after.text["mappings"] or ())
    return [*(f"ALTER TEXT SEARCH CONFIGURATION {here} DROP MAPPING FOR {t}" for t in tokens), *_mapped(pair.before, here)]


def _create_dictionary(thing: Thing, before: Snapshot) -> Commands:
    options = f", {thing.facts['options']}" if thing.facts["options"] else ""
    return [f"CREATE TEXT SEARCH DICTIONARY {ref(before, thing)} (TEMPLATE = {thing.facts['template']}{options})"]


CONFIGURATION = Kind(rank=7, create=_create, alter=_alter)
DICTIONARY = Kind(rank=6, create=_create_dictionary)
