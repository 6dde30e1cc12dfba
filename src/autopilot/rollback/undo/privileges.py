"""Owners, comments, grants and default privileges: what every kind of object has in the same way."""

from __future__ import annotations

from collections.abc import Iterable

from autopilot.rollback.difference import Pair
from autopilot.rollback.snapshot import Grant, Snapshot, Thing
from autopilot.rollback.undo.kind import Commands, Kind
from autopilot.rollback.undo.words import NOUNS, address, literal, name, of, ref

_GRANTED_ON = {
    "table": "TABLE", "view": "TABLE", "matview": "TABLE", "foreign_table": "TABLE", "sequence": "SEQUENCE", "schema": "SCHEMA",
    "function": "FUNCTION", "procedure": "PROCEDURE", "aggregate": "FUNCTION", "enum": "TYPE", "domain": "TYPE",
    "composite": "TYPE", "range": "TYPE", "base_type": "TYPE", "server": "FOREIGN SERVER",
    "foreign_data_wrapper": "FOREIGN DATA WRAPPER",
}  # fmt: skip
_DEFAULTS = {"r": "TABLES", "S": "SEQUENCES", "f": "FUNCTIONS", "T": "TYPES", "n": "SCHEMAS"}
#: Whose defaults a new object of a kind begins with.
_DEFAULT_FOR = {
    "table": "r", "view": "r", "matview": "r", "foreign_table": "r", "sequence": "S", "schema": "n", "function": "f",
    "procedure": "f", "aggregate": "f", "enum": "T", "domain": "T", "composite": "T", "range": "T", "base_type": "T",
}  # fmt: skip
_WITHOUT_OWNER = {
    "column",
    "constraint",
    "index",
    "trigger",
    "rule",
    "policy",
    "default",
    "cast",
    "publication_table",
    "extension",
}


def everybodys(then: Thing, now: Thing | None, before: Snapshot, after: Snapshot) -> Commands:
    """From now (None: just made) to then: owner, grants, comment, security labels."""
    commands: Commands = []
    if then.kind == "default_privileges":
        return commands
    if then.owner is not None and then.kind not in _WITHOUT_OWNER and then.owner != (after.role if now is None else now.owner):
        commands.append(f"ALTER {address(before, then)} OWNER TO {name(then.owner)}")
    commands += _grants(then, now, before, after)
    if then.comment != (None if now is None else now.comment) and then.kind in NOUNS:
        comment = literal(then.comment) if then.comment is not None else "NULL"
        commands.append(f"COMMENT ON {address(before, then)} IS {comment}")
    labels: dict[str, str] = {} if now is None else now.labels
    for provider in {**then.labels, **labels}:
        if then.labels.get(provider) != labels.get(provider):
            label = literal(then.labels[provider]) if provider in then.labels else "NULL"
            commands.append(f"SECURITY LABEL FOR {name(provider)} ON {address(before, then)} IS {label}")
    return commands


def _grants(then: Thing, now: Thing | None, before: Snapshot, after: Snapshot) -> Commands:
    wanted = frozenset(then.acl or ())
    if then.kind not in _GRANTED_ON and then.kind != "column":
        return []
    on = _on(then, before)
    if now is not None:
        has = _as_owned(now, then)
        return [*revoked(has - wanted, on), *granted(wanted - has, on)]
    defaults = [t for t in after.things if t.kind == "default_privileges" and t.facts["objects"] == _DEFAULT_FOR.get(then.kind)]
    if then.kind == "column" or (then.acl_is_default and not defaults):
        return granted(wanted, on) if then.kind == "column" else []
    known = {who for t in defaults for who, _, _ in t.acl or ()} | {"", then.owner or ""}
    return [f"REVOKE ALL{on.all} FROM {_who(role)}" for role in sorted(known)] + granted(wanted, on)


def _as_owned(now: Thing, then: Thing) -> frozenset[Grant]:
    """What the grants of now become when the object changes hands: the owner's own go along."""
    if now.owner == then.owner or then.owner is None:
        return frozenset(now.acl or ())
    return frozenset((then.owner if who == now.owner else who, what, pass_on) for who, what, pass_on in now.acl or ())


class _Target:
    """The end of a GRANT: `SELECT` with ` ON TABLE x`, or `SELECT (column)` with the same."""

    def __init__(self, where: str, column: str | None = None) -> None:
        self.where, self.column = where, column

    def privilege(self, what: str) -> str:
        return f"{what} ({name(self.column)}) ON {self.where}" if self.column is not None else f"{what} ON {self.where}"

    @property
    def all(self) -> str:
        return f" ON {self.where}"


def _on(thing: Thing, snapshot: Snapshot) -> _Target:
    if thing.kind == "column":
        return _Target(f"TABLE {of(snapshot, thing)}", thing.name)
    return _Target(f"{_GRANTED_ON[thing.kind]} {ref(snapshot, thing)}")


def _who(role: str) -> str:
    return name(role) if role else "PUBLIC"


def granted(grants: Iterable[Grant], on: _Target) -> Commands:
    tails = {True: " WITH GRANT OPTION", False: ""}
    return [f"GRANT {on.privilege(what)} TO {_who(who)}{tails[pass_on]}" for who, what, pass_on in sorted(grants)]


def revoked(grants: Iterable[Grant], on: _Target) -> Commands:
    return [f"REVOKE {on.privilege(what)} FROM {_who(who)}" for who, what, _ in sorted(grants)]


def _default_acl(thing: Thing, then: frozenset[Grant], has: frozenset[Grant]) -> Commands:
    where = f" IN SCHEMA {name(thing.facts['in'])}" if thing.facts["in"] else ""
    head = f"ALTER DEFAULT PRIVILEGES FOR ROLE {name(thing.facts['role'])}{where}"
    target = _Target(_DEFAULTS[thing.facts["objects"]])
    return [f"{head} {command}" for command in (*revoked(has - then, target), *granted(then - has, target))]


def _usual(thing: Thing) -> frozenset[Grant]:
    """What holds where nothing is said: a role's built-in defaults, and nothing more for a schema."""
    return frozenset((who, what, pass_on) for who, what, pass_on in thing.loose.get("usual") or ())


def _create(thing: Thing, _before: Snapshot) -> Commands:
    return _default_acl(thing, frozenset(thing.acl or ()), _usual(thing))


def _drop(thing: Thing, _now: Snapshot) -> Commands:
    return _default_acl(thing, _usual(thing), frozenset(thing.acl or ()))


def _alter(pair: Pair, _before: Snapshot, _now: Snapshot) -> Commands:
    return _default_acl(pair.before, frozenset(pair.before.acl or ()), frozenset(pair.after.acl or ()))


DEFAULT_PRIVILEGES = Kind(rank=70, create=_create, drop=_drop, alter=_alter)
