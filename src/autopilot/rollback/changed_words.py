"""What is different about an object that is there then and now, aspect by aspect. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from autopilot.rollback.difference import Pair
from autopilot.rollback.snapshot import Grant
from autopilot.rollback.undo.columns import retyped
from autopilot.rollback.wanted import added_grants, lost_grants, merged

Severity = Literal["danger", "warning", "note"]
#: Whose rights are the public's.
_EVERYBODY = {"", "anon", "authenticated"}
_STATES = {"O": "on", "D": "disabled", "R": "on for replicas only", "A": "always on"}
#: Told with another fact, or of no consequence.
_UNTOLD = {"usual_storage"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """words: go after the object's name. is_added: somebody put it on top, and it stays. is_better: and nothing is to be done."""

    words: str
    severity: Severity
    is_added: bool = False
    is_better: bool = False


def changes(pair: Pair) -> Iterator[Change]:
    then, now = pair.before, pair.after
    if then.owner != now.owner:
        yield Change(words=f"belongs to {now.owner} now, and belonged to {then.owner}", severity="warning")
    yield from _grants(pair)
    if then.comment != now.comment:
        yield _comment(then.comment, now.comment)
    if then.labels != now.labels:
        yield Change(words="has other security labels", severity="warning", is_added=merged(pair).labels == now.labels)
    yield from _facts(pair)
    yield from _definition(pair)


def _comment(then: str | None, now: str | None) -> Change:
    if then is None:
        return Change(words="was given a comment", severity="note", is_added=True)
    return Change(words="has lost its comment" if now is None else "has another comment", severity="note")


def _grants(pair: Pair) -> Iterator[Change]:
    if pair.before.acl is None:
        return
    for who, rights in _by_role(lost_grants(pair)).items():
        yield Change(words=f"has lost a grant: {rights} to {who or 'PUBLIC'}", severity="warning")
    for who, rights in _by_role(added_grants(pair)).items():
        severity: Severity = "danger" if who in _EVERYBODY else "warning"
        yield Change(words=f"was given a grant: {rights} to {who or 'PUBLIC'}", severity=severity, is_added=True)


def _by_role(grants: frozenset[Grant]) -> dict[str, str]:
    found: dict[str, list[str]] = {}
    for who, what, pass_on in sorted(grants):
        found.setdefault(who, []).append(f"{what} (with grant option)" if pass_on else what)
    return {who: ", ".join(rights) for who, rights in found.items()}


#: From then and now to words and how bad it is.
_Words = Callable[[Any, Any], tuple[str, Severity]]
_FACTS: Mapping[str, _Words] = {
    "rls": lambda _, has: (
        ("has row level security on, which was off", "note")
        if has
        else ("has row level security off: whoever may read the table reads every row", "danger")
    ),
    "force_rls": lambda _, has: (
        ("was given FORCE ROW LEVEL SECURITY", "note") if has else ("has lost FORCE on its row level security", "danger")
    ),
    "valid": lambda _, has: ("is valid now, and was not", "note") if has else ("is invalid: no query uses it", "warning"),
    "validated": lambda _, has: (
        ("is validated now, and was not", "note") if has else ("is not valid: rows that are there may break it", "warning")
    ),
    "enabled": lambda was, has: (
        f"is {_STATES.get(has, has)}, and was {_STATES.get(was, was)}", "danger" if has == "D" else "warning",
    ),
    "not_null": lambda _, has: (
        "is NOT NULL now, and was not" if has else "may be empty now, and was NOT NULL", "warning",
    ),
}  # fmt: skip


def _facts(pair: Pair) -> Iterator[Change]:
    kept, rest = merged(pair), []
    for fact in pair.facts():
        was, has = pair.before.facts.get(fact), pair.after.facts.get(fact)
        added = kept.facts.get(fact) == has
        if fact == "labels":
            yield _labels(was or [], has or [], added=added)
        elif fact in _FACTS:
            words, severity = _FACTS[fact](was, has)
            yield Change(words=words, severity=severity, is_added=added, is_better=added and fact in {"valid", "validated"})
        elif fact not in _UNTOLD:
            rest.append(fact.replace("_", " "))
    if rest:
        severity = "danger" if pair.before.kind == "policy" else "warning"
        yield Change(words=f"differs in its {', '.join(rest)}", severity=severity)


def _labels(was: list[str], has: list[str], *, added: bool) -> Change:
    if not added:
        return Change(words="has other labels, or has them in another order", severity="warning")
    return Change(words=f"was given labels: {', '.join(x for x in has if x not in was)}", severity="note", is_added=True)


_DEFINITIONS: Mapping[str, tuple[str, Severity]] = {
    "function": ("has another body or signature", "warning"),
    "procedure": ("has another body or signature", "warning"),
    "aggregate": ("is made of other functions", "warning"),
    "view": ("has another query", "warning"),
    "matview": ("has another query", "warning"),
    "policy": ("lets other rows through", "danger"),
    "table": ("inherits from another table, is another partition, or has its rows told apart by another index", "warning"),
    "trigger": ("is defined otherwise", "danger"),
    "constraint": ("is defined otherwise", "danger"),
}  # fmt: skip


def _definition(pair: Pair) -> Iterator[Change]:
    then, now = pair.before, pair.after
    if not pair.redefined:
        return
    if then.kind == "composite" and merged(pair).text == now.text:
        yield Change(words="was given attributes", severity="note", is_added=True)
    elif then.kind == "column":
        words = (
            f"is of the type {now.text['type']} now, and was {then.text['type']}" if retyped(pair) else "is computed otherwise"
        )
        yield Change(words=words, severity="warning")
    elif then.kind == "default":
        yield Change(words=f"is {now.text['expression']} now, and was {then.text['expression']}", severity="warning")
    elif not _only_not_valid(pair):
        words, severity = _DEFINITIONS.get(then.kind, ("is defined otherwise", "warning"))
        yield Change(words=words, severity=severity)


def _only_not_valid(pair: Pair) -> bool:
    """The text of a constraint says NOT VALID too."""
    was, has = (str(t.text.get("definition", "")).removesuffix(" NOT VALID") for t in (pair.before, pair.after))
    return pair.before.kind == "constraint" and was == has and "validated" in pair.facts()
