"""Foreign data wrappers and servers. Mappings of users hold passwords: they are told by name and never read."""

from __future__ import annotations

from autopilot.rollback.difference import Pair
from autopilot.rollback.snapshot import Snapshot, Thing
from autopilot.rollback.undo.kind import Commands, Kind
from autopilot.rollback.undo.words import literal, made_options, name, of, outside_options


def _create_wrapper(thing: Thing, _before: Snapshot) -> Commands:
    words = [f" {word.upper()} {thing.text[word]}" for word in ("handler", "validator") if thing.text[word]]
    return [f"CREATE FOREIGN DATA WRAPPER {name(thing.name)}{''.join(words)}{made_options(thing.facts['options'])}"]


def _create_server(thing: Thing, _before: Snapshot) -> Commands:
    words = [f" {word.upper()} {literal(thing.facts[word])}" for word in ("type", "version") if thing.facts[word]]
    wrapper = name(thing.text["wrapper"])
    options = made_options(thing.facts["options"])
    return [f"CREATE SERVER {name(thing.name)}{''.join(words)} FOREIGN DATA WRAPPER {wrapper}{options}"]


def _alter(pair: Pair, _before: Snapshot, _now: Snapshot) -> Commands | None:
    if pair.redefined or "type" in pair.facts():
        return None
    noun = "SERVER" if pair.before.kind == "server" else "FOREIGN DATA WRAPPER"
    version = pair.before.facts.get("version")
    tails = [f"VERSION {literal(version)}"] if "version" in pair.facts() and version else []
    changed = outside_options(pair.before.facts["options"], pair.after.facts["options"])
    tails += [changed] if changed else []
    return [f"ALTER {noun} {name(pair.before.name)} {' '.join(tails)}"] if tails else []


def _create_mapping(_thing: Thing, _before: Snapshot) -> Commands:
    return []


def _drop_mapping(thing: Thing, now: Snapshot) -> Commands:
    who = "PUBLIC" if thing.name == "public" else name(thing.name)
    return [f"DROP USER MAPPING FOR {who} SERVER {of(now, thing)}"]


WRAPPER = Kind(rank=2, create=_create_wrapper, alter=_alter)
SERVER = Kind(rank=3, create=_create_server, alter=_alter)
USER_MAPPING = Kind(rank=4, create=_create_mapping, drop=_drop_mapping)
