"""Row level security policies. While one is changed there is no moment without it: all is one transaction."""

from __future__ import annotations

from autopilot.rollback.difference import Pair
from autopilot.rollback.snapshot import Snapshot, Thing
from autopilot.rollback.undo.kind import Commands, Kind
from autopilot.rollback.undo.words import name, of

_COMMANDS = {"*": "ALL", "r": "SELECT", "a": "INSERT", "w": "UPDATE", "d": "DELETE"}


def _roles(policy: Thing) -> str:
    return ", ".join(name(role) if role else "PUBLIC" for role in policy.facts["roles"])


def _create(policy: Thing, before: Snapshot) -> Commands:
    kind = "PERMISSIVE" if policy.facts["permissive"] else "RESTRICTIVE"
    using = f" USING ({policy.text['using']})" if policy.text["using"] else ""
    check = f" WITH CHECK ({policy.text['check']})" if policy.text["check"] else ""
    command = _COMMANDS[policy.facts["command"]]
    return [
        f"CREATE POLICY {name(policy.name)} ON {of(before, policy)} AS {kind} FOR {command} TO {_roles(policy)}{using}{check}"
    ]


def _alter(pair: Pair, before: Snapshot, _now: Snapshot) -> Commands | None:
    then, now = pair.before, pair.after
    same = all(then.facts[fact] == now.facts[fact] for fact in ("command", "permissive"))
    taken = any(now.text[word] and not then.text[word] for word in ("using", "check"))
    if not same or taken:
        return None
    words = [f"TO {_roles(then)}"] if then.facts["roles"] != now.facts["roles"] else []
    if pair.redefined:
        words += [f"USING ({then.text['using']})"] if then.text["using"] else []
        words += [f"WITH CHECK ({then.text['check']})"] if then.text["check"] else []
    return [f"ALTER POLICY {name(then.name)} ON {of(before, then)} {' '.join(words)}"] if words else []


POLICY = Kind(rank=52, create=_create, alter=_alter)
