"""What each statement of a push means and locks, with what the push itself has made left out: nobody uses that yet."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from autopilot.migrations.change import ADDS, OWN, Change
from autopilot.migrations.locks import Lock
from autopilot.migrations.relations import key
from autopilot.migrations.statements import Statement


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    change: Change
    #: On relations that were there before the push.
    locks: tuple[Lock, ...]


def conditional(statements: Iterable[Statement]) -> frozenset[str]:
    """Keys of what is made only if it is not there: whether it is, the catalog must say."""
    return frozenset(name for s in statements if s.only_if_absent for name in s.makes)


def effects(statements: Iterable[Statement], *, there: frozenset[str]) -> tuple[Effect, ...]:
    """The effect of each statement of a whole push, in order. `there`: which of `conditional()` the catalog has."""
    own: set[str] = set()
    found = []
    for statement in statements:
        new = () if statement.only_if_absent and any(name in there for name in statement.makes) else statement.makes
        found.append(Effect(change=_change(statement, own, new), locks=_locks(statement, own)))
        own.update(new)
    return tuple(found)


def _change(statement: Statement, own: set[str], new: tuple[str, ...]) -> Change:
    if statement.only_if_absent and new:
        return ADDS
    return OWN if statement.touches and all(name in own for name in statement.touches) else statement.change


def _locks(statement: Statement, own: set[str]) -> tuple[Lock, ...]:
    return tuple(k for k in statement.locks if (name := key(k.relation)) not in own and name not in statement.makes)
