"""Publications and the tables in them."""

from __future__ import annotations

from autopilot.rollback.difference import Pair
from autopilot.rollback.snapshot import Snapshot, Thing
from autopilot.rollback.undo.kind import Commands, Kind
from autopilot.rollback.undo.words import name, names, of, ref


def _settings(thing: Thing) -> str:
    kinds = ", ".join(word for word in ("insert", "update", "delete", "truncate") if thing.facts[word])
    return f"(publish = '{kinds}', publish_via_partition_root = {str(thing.facts['via_root']).lower()})"


def _create(thing: Thing, _before: Snapshot) -> Commands:
    everything = " FOR ALL TABLES" if thing.facts["all_tables"] else ""
    return [f"CREATE PUBLICATION {name(thing.name)}{everything} WITH {_settings(thing)}"]


def _alter(pair: Pair, _before: Snapshot, _now: Snapshot) -> Commands | None:
    if "all_tables" in pair.facts():
        return None
    return [f"ALTER PUBLICATION {name(pair.before.name)} SET {_settings(pair.before)}"] if pair.facts() else []


def _table(member: Thing, snapshot: Snapshot) -> str:
    found = None if member.on_table is None else snapshot.by_key.get(member.on_table)
    return member.name if found is None else ref(snapshot, found)


def _create_member(member: Thing, before: Snapshot) -> Commands:
    columns = f" ({names(member.text['columns'])})" if member.text["columns"] else ""
    where = f" WHERE ({member.text['where']})" if member.text["where"] else ""
    return [f"ALTER PUBLICATION {of(before, member)} ADD TABLE ONLY {_table(member, before)}{columns}{where}"]


def _drop_member(member: Thing, now: Snapshot) -> Commands:
    return [f"ALTER PUBLICATION {of(now, member)} DROP TABLE ONLY {_table(member, now)}"]


def _alter_member(pair: Pair, _before: Snapshot, _now: Snapshot) -> Commands | None:
    return None if pair.redefined else []


PUBLICATION = Kind(rank=61, create=_create, alter=_alter)
PUBLICATION_TABLE = Kind(rank=62, create=_create_member, drop=_drop_member, alter=_alter_member)
