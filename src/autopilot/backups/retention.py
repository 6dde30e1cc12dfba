"""Which backups are kept, and why. Pure: what is known goes in, a verdict for each backup comes out."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from autopilot.backups.catalog import Entry
from autopilot.backups.manifest import Manifest


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    keep_days: int = 30
    keep_last: int = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Tells databases apart, also those of one name."""

    database: str
    database_oid: int
    system_identifier: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What the entries themselves do not tell."""

    #: The database whose runs we know of; backups of others are left alone.
    database: Identity
    #: Runs and backups of releases whose end is not final.
    unconfirmed_runs: frozenset[str] = frozenset()
    unconfirmed_files: frozenset[str] = frozenset()
    #: Whether the newest attempt to take a backup failed: then what is there is all there is.
    last_failed: bool = False
    #: Backups that were restored at least once; None where nobody keeps count.
    restored: frozenset[str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    file: str
    prune: bool
    why: str


def of(manifest: Manifest) -> Identity:
    return Identity(database=manifest.database, database_oid=manifest.database_oid, system_identifier=manifest.system_identifier)


def weigh(entries: Iterable[Entry], policy: Policy, facts: Facts, *, now: datetime) -> tuple[Verdict, ...]:
    """A verdict for each entry, newest first. Whatever is in doubt is kept."""
    newest_first = sorted(entries, key=_age_key, reverse=True)
    good_before, proven_before, verdicts = 0, False, []
    for entry in newest_first:
        why = _reason_to_keep(entry, policy, facts, now=now, newer_good=good_before, newer_proven=proven_before)
        verdicts.append(Verdict(file=entry.file, prune=why is None, why=why or f"older than {policy.keep_days} days"))
        if _is_good(entry, facts):
            good_before += 1
            proven_before = proven_before or facts.restored is None or entry.file in facts.restored
    return tuple(verdicts)


def _reason_to_keep(  # noqa: PLR0911 - one way out for each reason
    entry: Entry, policy: Policy, facts: Facts, *, now: datetime, newer_good: int, newer_proven: bool
) -> str | None:
    if entry.manifest is None:
        return "its manifest cannot be relied on: look at it, and remove it by hand"
    if of(entry.manifest) != facts.database:
        return "of another database"
    if facts.last_failed:
        return "the newest attempt to take a backup failed: nothing is pruned until one succeeds"
    if entry.file in facts.unconfirmed_files or entry.manifest.run_id in facts.unconfirmed_runs:
        return f"run {entry.manifest.run_id} is not settled"
    if now - entry.manifest.taken_at <= timedelta(days=policy.keep_days):
        return f"not older than {policy.keep_days} days"
    if newer_good < policy.keep_last:
        return f"among the last {policy.keep_last}"
    if not newer_proven:
        return "no newer one was restored yet"
    return None


def _is_good(entry: Entry, facts: Facts) -> bool:
    return entry.state == "good" and entry.manifest is not None and of(entry.manifest) == facts.database


def _age_key(entry: Entry) -> tuple[bool, float, str]:
    """By the time it was taken; those that do not tell come last."""
    if entry.manifest is None:
        return (False, 0.0, entry.file)
    return (True, entry.manifest.taken_at.timestamp(), entry.file)
