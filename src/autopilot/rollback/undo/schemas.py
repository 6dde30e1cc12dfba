"""Schemas and extensions."""

from __future__ import annotations

from autopilot.rollback.difference import Pair
from autopilot.rollback.snapshot import Snapshot, Thing
from autopilot.rollback.undo.kind import Commands, Kind
from autopilot.rollback.undo.words import literal, name


def _create_schema(thing: Thing, _before: Snapshot) -> Commands:
    return [f"CREATE SCHEMA {name(thing.name)}"]


def _create_extension(thing: Thing, _before: Snapshot) -> Commands:
    return [f"CREATE EXTENSION {name(thing.name)} SCHEMA {name(thing.facts['in'])} VERSION {literal(thing.facts['version'])}"]


def _alter_extension(pair: Pair, _before: Snapshot, _now: Snapshot) -> Commands:
    then, commands = pair.before, []
    if "in" in pair.facts():
        commands.append(f"ALTER EXTENSION {name(then.name)} SET SCHEMA {name(then.facts['in'])}")
    if "version" in pair.facts():
        commands.append(f"ALTER EXTENSION {name(then.name)} UPDATE TO {literal(then.facts['version'])}")
    return commands


SCHEMA = Kind(rank=0, create=_create_schema)
EXTENSION = Kind(rank=1, create=_create_extension, alter=_alter_extension)
