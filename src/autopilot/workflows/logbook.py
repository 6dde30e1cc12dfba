"""What a release was asked for, and what it has come to so far."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from autopilot.audit.journal import Run

if TYPE_CHECKING:
    from autopilot.backups.dump import Backup
    from autopilot.backups.restore_points import RestorePoint
    from autopilot.migrations.lint import Finding
    from autopilot.migrations.locks import Lock
    from autopilot.rollback.destinations import Origin
    from autopilot.rollback.slot import Slot
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
    #: Files that wait for a proven deploy run before it, as the rest.
    include_waiting: bool = False


@dataclass(slots=True)
class Logbook:
    """What the run has come to so far; the outcome is made from it, however the story ends."""

    begun_s: float
    applied: tuple[str, ...] = ()
    pending: tuple[str, ...] = ()
    #: Versions that wait until the new deploy is proven.
    waiting: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    backup: Backup | None = None
    #: What stands in for a dump of a very large database.
    restore_point: RestorePoint | None = None
    #: It tells what others write from just before the backup on; None where there is none, or no need of one.
    slot: Slot | None = None
    #: Why there is none although it could be of use.
    no_slot: str | None = None
    #: The tables as they were when it was made.
    origins: tuple[Origin, ...] = ()
    #: (table, column) that the files' text gives another type.
    retyped: frozenset[tuple[str, str]] = frozenset()
    rehearsal: Rehearsed | None = None
    deploy: Deployed | None = None
    #: The locks that its files take on what was there before, as far as they are known.
    locks: tuple[Lock, ...] = ()
    findings: tuple[Finding, ...] = ()
    migration_log_id: int | None = None
    #: Classes of the statements that were to be applied (`migrations.change.KINDS`).
    changes: frozenset[str] = frozenset()
    #: Whether this run has a row of its own in the audit trail.
    opened: bool = False
    #: Whether the channel was told that something begins, and so must hear how it ends.
    announced: bool = False

    @property
    def backup_name(self) -> str | None:
        """What migration_log.backup_file says."""
        if self.restore_point is not None:
            return self.restore_point.name
        return None if self.backup is None else self.backup.manifest.file
