"""Tables and foreign tables. One made again is empty: its rows are another route's business."""

from __future__ import annotations

from typing import Any

from autopilot.rollback.difference import Pair
from autopilot.rollback.snapshot import Key, Snapshot, Thing
from autopilot.rollback.undo.columns import declared
from autopilot.rollback.undo.kind import Commands, Kind
from autopilot.rollback.undo.words import made_options, name, options, outside_options, ref

_REPLICA = {"d": "DEFAULT", "n": "NOTHING", "f": "FULL"}
#: What CREATE TABLE makes when nothing is said.
_FRESH: dict[str, Any] = {"rls": False, "force_rls": False, "replica_identity": "d"}


def _create(thing: Thing, before: Snapshot) -> Commands:
    persistence = "UNLOGGED " if thing.facts["persistence"] == "u" else ""
    parents = [ref(before, before.by_key[key]) for key in _parents(thing)]
    key = f" PARTITION BY {thing.text['key']}" if thing.text["key"] else ""
    if thing.facts["partition"]:
        return [f"CREATE {persistence}TABLE {ref(before, thing)} PARTITION OF {parents[0]} {thing.text['bound']}{key}"]
    columns = sorted((c for c in before.children.get(thing.key, ()) if c.kind == "column"), key=lambda c: c.sub)
    if thing.text["of_type"]:
        return [f"CREATE {persistence}TABLE {ref(before, thing)} OF {thing.text['of_type']}{key}"]
    listed = ", ".join(declared(column) for column in columns if not column.facts["inherited"])
    inherits = f" INHERITS ({', '.join(parents)})" if parents else ""
    return [f"CREATE {persistence}TABLE {ref(before, thing)} ({listed}){inherits}{key}"]


def _alter(pair: Pair, before: Snapshot, _now: Snapshot) -> Commands:
    """Parents and persistence; the rest is finish."""
    then, here = pair.before, ref(before, pair.before)
    commands: Commands = []
    was, has = _parents(then), _parents(pair.after)
    if pair.redefined and (set(was) != set(has) or then.text["bound"] != pair.after.text["bound"]):
        for key in set(was) - set(has) if not then.facts["partition"] else was:
            parent = ref(before, before.by_key[key])
            tail = f"ATTACH PARTITION {here} {then.text['bound']}" if then.facts["partition"] else ""
            commands.append(f"ALTER TABLE {parent} {tail}" if tail else f"ALTER TABLE {here} INHERIT {parent}")
    if "persistence" in pair.facts():
        commands.append(f"ALTER TABLE {here} SET {'UNLOGGED' if then.facts['persistence'] == 'u' else 'LOGGED'}")
    if "method" in pair.facts() and then.facts["method"]:
        commands.append(f"ALTER TABLE {here} SET ACCESS METHOD {name(then.facts['method'])}")
    return commands


def loosened(pair: Pair, now: Snapshot) -> Commands:
    """By the names of now, before anything is dropped or moved: leaves parents that were not there, and an index that its rows
    are told apart by, which may not lose NOT NULL while it is that."""
    here = ref(now, pair.after)
    index = pair.after.text.get("replica_index")
    leave = [f"ALTER TABLE {here} REPLICA IDENTITY DEFAULT"] if index and pair.before.text["replica_index"] != index else []
    if pair.after.text["parents"] is None or not pair.redefined:
        return leave
    was, has = _parents(pair.before), _parents(pair.after)
    changed = pair.before.text["bound"] != pair.after.text["bound"]
    for parent in (ref(now, now.by_key[key]) for key in has if key not in was or changed):
        partition = f"ALTER TABLE {parent} DETACH PARTITION {here}"
        leave.append(partition if pair.after.facts["partition"] else f"ALTER TABLE {here} NO INHERIT {parent}")
    return leave


def _parents(thing: Thing) -> list[Key]:
    """What it inherits from, or is a partition of."""
    return list(thing.loose.get("parents") or ())


def _finish(then: Thing, now: Thing | None, before: Snapshot) -> Commands:
    has, here = (_FRESH if now is None else now.facts), f"ALTER TABLE {ref(before, then)}"
    tails = options(then.facts["options"], has.get("options"))
    tails += options(then.facts["toast_options"], has.get("toast_options"), prefix="toast.")
    if then.facts["rls"] != has["rls"]:
        tails.append(f"{'ENABLE' if then.facts['rls'] else 'DISABLE'} ROW LEVEL SECURITY")
    if then.facts["force_rls"] != has["force_rls"]:
        tails.append(f"{'FORCE' if then.facts['force_rls'] else 'NO FORCE'} ROW LEVEL SECURITY")
    named, now_named = then.text["replica_index"], None if now is None else now.text["replica_index"]
    if then.facts["replica_identity"] != has["replica_identity"] or named != now_named:
        identity = f"USING INDEX {name(named)}" if named else _REPLICA[then.facts["replica_identity"]]
        tails.append(f"REPLICA IDENTITY {identity}")
    clustered, now_clustered = then.text["clustered_on"], None if now is None else now.text["clustered_on"]
    if clustered != now_clustered:
        tails.append(f"CLUSTER ON {name(clustered)}" if clustered else "SET WITHOUT CLUSTER")
    return [f"{here} {tail}" for tail in tails]


def _create_foreign(thing: Thing, before: Snapshot) -> Commands:
    columns = sorted((c for c in before.children.get(thing.key, ()) if c.kind == "column"), key=lambda c: c.sub)
    tail = f"SERVER {name(thing.text['server'])}{made_options(thing.facts['foreign_options'])}"
    return [f"CREATE FOREIGN TABLE {ref(before, thing)} ({', '.join(declared(c) for c in columns)}) {tail}"]


def _alter_foreign(pair: Pair, before: Snapshot, _now: Snapshot) -> Commands | None:
    if pair.redefined:
        return None
    tail = outside_options(pair.before.facts["foreign_options"], pair.after.facts["foreign_options"])
    return [f"ALTER FOREIGN TABLE {ref(before, pair.before)} {tail}"] if tail else []


TABLE = Kind(rank=20, create=_create, alter=_alter, finish=_finish)
FOREIGN_TABLE = Kind(rank=21, create=_create_foreign, alter=_alter_foreign)
