"""What a release was asked for, and what it has come to so far."""

from __future__ import annotations

from dataclasses import dataclass

from autopilot.audit.journal import Run
from autopilot.backups.dump import Backup
from autopilot.migrations.lint import Finding
from autopilot.workflows.outcome import Deployed, Rehearsed


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What the user asked for."""

    run: Run
    deploy: bool = True
    rehearsal: bool = True
    backup: bool = True
    #: Rows may be destroyed even where no backup holds them.
    destroy_data: bool = False
    allow_out_of_order: bool = False
    accept_edited: frozenset[str] = frozenset()


@dataclass(slots=True)
class Logbook:
    """What the run has come to so far; the outcome is made from it, however the story ends."""

    begun_s: float
    applied: tuple[str, ...] = ()
    pending: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    backup: Backup | None = None
    rehearsal: Rehearsed | None = None
    deploy: Deployed | None = None
    findings: tuple[Finding, ...] = ()
    migration_log_id: int | None = None
    #: Whether this run has a row of its own in the audit trail.
    opened: bool = False
    #: Whether the channel was told that something begins, and so must hear how it ends.
    announced: bool = False
