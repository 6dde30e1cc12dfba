"""Triggers, rules and event triggers."""

from __future__ import annotations

from autopilot.rollback.difference import Pair
from autopilot.rollback.snapshot import TRASH, Snapshot, Thing
from autopilot.rollback.undo.kind import Commands, Kind
from autopilot.rollback.undo.words import literal, name, of

_STATES = {"O": "ENABLE", "D": "DISABLE", "R": "ENABLE REPLICA", "A": "ENABLE ALWAYS"}


def _create(trigger: Thing, _before: Snapshot) -> Commands:
    return [trigger.text["definition"]]


def _drop(trigger: Thing, now: Snapshot) -> Commands:
    """On a table of another role only the TRIGGER privilege may be there, which replaces and does not drop.

    So the trigger is led to a function of our own and goes with it: nothing else hangs on that function.
    """
    if trigger.ours:
        return [f"DROP TRIGGER {name(trigger.name)} ON {of(now, trigger)}"]
    stand_in = f"{name(TRASH)}.{name(f'of_trigger_{trigger.oid}')}"
    return [
        f"CREATE SCHEMA IF NOT EXISTS {name(TRASH)}",
        f"CREATE FUNCTION {stand_in}() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'",
        f"CREATE OR REPLACE TRIGGER {name(trigger.name)} AFTER INSERT ON {of(now, trigger)} EXECUTE FUNCTION {stand_in}()",
        f"DROP FUNCTION {stand_in}() CASCADE",
    ]


def _alter(pair: Pair, _before: Snapshot, _now: Snapshot) -> Commands | None:
    if not pair.redefined:
        return []
    if pair.before.text["definition"].startswith("CREATE TRIGGER") and pair.after.text["definition"].startswith("CREATE TRIGGER"):
        return [pair.before.text["definition"].replace("CREATE TRIGGER", "CREATE OR REPLACE TRIGGER", 1)]
    return None


def _finish(then: Thing, now: Thing | None, before: Snapshot) -> Commands:
    # replacing a trigger turns it on again
    enabled = "O" if now is None else now.facts["enabled"]
    if then.facts["enabled"] == enabled and not (now is not None and Pair(before=then, after=now).redefined and enabled != "O"):
        return []
    parent = before.parent(then)
    noun = {"foreign_table": "FOREIGN TABLE"}.get("table" if parent is None else parent.kind, "TABLE")
    return [f"ALTER {noun} {of(before, then)} {_STATES[then.facts['enabled']]} TRIGGER {name(then.name)}"]


def _create_rule(rule: Thing, _before: Snapshot) -> Commands:
    return [rule.text["definition"].removesuffix(";")]


def _alter_rule(pair: Pair, _before: Snapshot, _now: Snapshot) -> Commands | None:
    if not pair.redefined:
        return []
    return [pair.before.text["definition"].removesuffix(";").replace("CREATE RULE", "CREATE OR REPLACE RULE", 1)]


def _finish_rule(then: Thing, now: Thing | None, before: Snapshot) -> Commands:
    if then.facts["enabled"] == ("O" if now is None else now.facts["enabled"]):
        return []
    return [f"ALTER TABLE {of(before, then)} {_STATES[then.facts['enabled']]} RULE {name(then.name)}"]


def _create_event_trigger(trigger: Thing, _before: Snapshot) -> Commands:
    tags = trigger.facts["tags"]
    when = f" WHEN TAG IN ({', '.join(literal(tag) for tag in tags)})" if tags else ""
    head = f"CREATE EVENT TRIGGER {name(trigger.name)} ON {trigger.facts['event']}"
    return [f"{head}{when} EXECUTE FUNCTION {trigger.text['function']}()"]


def _alter_event_trigger(pair: Pair, _before: Snapshot, _now: Snapshot) -> Commands | None:
    return None if pair.redefined or set(pair.facts()) - {"enabled"} else []


def _finish_event_trigger(then: Thing, now: Thing | None, _before: Snapshot) -> Commands:
    if then.facts["enabled"] == ("O" if now is None else now.facts["enabled"]):
        return []
    return [f"ALTER EVENT TRIGGER {name(then.name)} {_STATES[then.facts['enabled']]}"]


TRIGGER = Kind(rank=50, create=_create, drop=_drop, alter=_alter, finish=_finish)
RULE = Kind(rank=51, create=_create_rule, alter=_alter_rule, finish=_finish_rule)
EVENT_TRIGGER = Kind(rank=60, create=_create_event_trigger, alter=_alter_event_trigger, finish=_finish_event_trigger)
