"""Types of one's own: enums, domains, composites, ranges."""

from __future__ import annotations

from autopilot.rollback.difference import Pair
from autopilot.rollback.snapshot import Snapshot, Thing
from autopilot.rollback.undo.kind import Commands, Kind
from autopilot.rollback.undo.words import literal, name, ref


def _create_enum(thing: Thing, before: Snapshot) -> Commands:
    labels = ", ".join(literal(label) for label in thing.facts["labels"] or ())
    return [f"CREATE TYPE {ref(before, thing)} AS ENUM ({labels})"]


def _alter_enum(pair: Pair, before: Snapshot, _now: Snapshot) -> Commands | None:
    """Labels that were renamed get their names back; one that is new cannot be dropped, so the type is made anew."""
    if "labels" not in pair.facts():
        return []
    was, has = pair.before.loose["labels"] or {}, pair.after.loose["labels"] or {}
    if was.keys() != has.keys():
        return None
    here = f"ALTER TYPE {ref(before, pair.before)} RENAME VALUE"
    changed = [(has[oid], was[oid]) for oid in was if was[oid] != has[oid]]
    aside = [f"{here} {literal(now)} TO {literal(f'{n}.autopilot')}" for n, (now, _) in enumerate(changed)]
    return aside + [f"{here} {literal(f'{n}.autopilot')} TO {literal(then)}" for n, (_, then) in enumerate(changed)]


def _create_domain(thing: Thing, before: Snapshot) -> Commands:
    collation = f" COLLATE {thing.text['collation']}" if thing.text["collation"] else ""
    default = f" DEFAULT {thing.text['default']}" if thing.text["default"] else ""
    not_null = " NOT NULL" if thing.facts["not_null"] else ""
    return [f"CREATE DOMAIN {ref(before, thing)} AS {thing.text['of']}{collation}{default}{not_null}"]


def _alter_domain(pair: Pair, before: Snapshot, _now: Snapshot) -> Commands | None:
    then, now = pair.before, pair.after
    if any(then.text[word] != now.text[word] for word in ("of", "collation")) and pair.redefined:
        return None
    here, commands = f"ALTER DOMAIN {ref(before, then)}", []
    if then.text["default"] != now.text["default"] and pair.redefined:
        commands.append(f"{here} SET DEFAULT {then.text['default']}" if then.text["default"] else f"{here} DROP DEFAULT")
    if then.facts["not_null"] != now.facts["not_null"]:
        commands.append(f"{here} {'SET' if then.facts['not_null'] else 'DROP'} NOT NULL")
    return commands


def _attribute(attribute: list[str | None]) -> str:
    label, kind, collation = attribute
    return f"{name(label)} {kind}{f' COLLATE {collation}' if collation else ''}"


def _create_composite(thing: Thing, before: Snapshot) -> Commands:
    return [f"CREATE TYPE {ref(before, thing)} AS ({', '.join(_attribute(a) for a in thing.text['attributes'] or ())})"]


def _alter_composite(pair: Pair, before: Snapshot, _now: Snapshot) -> Commands | None:
    """Attributes by their numbers: renamed, added and retyped ones go back; one that was dropped asks for a type made anew."""
    if not pair.redefined:
        return []
    was, has = pair.before.loose["attributes"] or {}, pair.after.loose["attributes"] or {}
    if not was.keys() <= has.keys():
        return None
    here = f"ALTER TYPE {ref(before, pair.before)}"
    then, now = ({a[0]: a for a in t.text["attributes"] or ()} for t in (pair.before, pair.after))
    commands = [f"{here} DROP ATTRIBUTE {name(has[number])}" for number in has if number not in was]
    commands += [f"{here} RENAME ATTRIBUTE {name(has[n])} TO {name(was[n])}" for n in was if was[n] != has[n]]
    for number in was:
        wanted, there = then[was[number]], now[has[number]]
        if wanted[1:] != there[1:]:
            collation = f" COLLATE {wanted[2]}" if wanted[2] else ""
            commands.append(f"{here} ALTER ATTRIBUTE {name(wanted[0])} TYPE {wanted[1]}{collation}")
    return commands


def _create_range(thing: Thing, before: Snapshot) -> Commands:
    words = [f"{word} = {value}" for word, value in thing.text["range"].items() if value]
    return [f"CREATE TYPE {ref(before, thing)} AS RANGE ({', '.join(words)})"]


def _alter_range(pair: Pair, _before: Snapshot, _now: Snapshot) -> Commands | None:
    return None if pair.redefined else []


ENUM = Kind(rank=10, create=_create_enum, alter=_alter_enum)
DOMAIN = Kind(rank=11, create=_create_domain, alter=_alter_domain)
COMPOSITE = Kind(rank=11, create=_create_composite, alter=_alter_composite)
RANGE = Kind(rank=11, create=_create_range, alter=_alter_range)
