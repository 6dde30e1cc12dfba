"""How a release ended: one value, from which the exit code, the JSON document and the notice are made."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from autopilot.clock import elapsed_ms
from autopilot.errors import AutopilotError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from autopilot.backups.dump import Backup
    from autopilot.backups.restore_points import RestorePoint
    from autopilot.migrations.forecast import Forecast, Pace
    from autopilot.migrations.lint import Finding
    from autopilot.migrations.locks import Lock
    from autopilot.migrations.observed import Transaction, Written
    from autopilot.rollback.preimages import Name
    from autopilot.workflows.logbook import Logbook, Wish
    from autopilot.workflows.there_and_back import WayBackProof
    from autopilot.workflows.world import World

EXIT_CODES = {"released": 0, "nothing_to_do": 0, "refused": 1, "rolled_back": 3, "stranded": 4, "locked": 75}


@dataclass(frozen=True, slots=True, kw_only=True)
class Rehearsed:
    """What the flight on the restored backup showed."""

    server_version: str
    #: What each statement did there, by transaction.
    transactions: tuple[Transaction, ...]
    #: The strongest lock on each relation that was there before, as the scratch server's lock table showed them.
    locks: tuple[Lock, ...]
    #: Relations that were there before and were written to, with their rows.
    touched: tuple[Written, ...]
    #: What that means for the target, and how it compares with the copy.
    forecast: Forecast
    pace: Pace
    #: Tables whose rows are not kept for the way back, and why.
    spared: Mapping[Name, str]
    #: Forward, back and forward again on another copy; None where there was none.
    way_back: WayBackProof | None
    #: Where the scratch server's programs come from: "debian", "embedded", …
    origin: str
    restored_tables: int
    restored_rows: int
    restore_ms: int
    #: Extensions that the scratch server lacks and that something stood in for.
    stood_in: tuple[str, ...]
    #: "backup": it flew on the restored backup. "schema": without its rows. "copy": on a copy that was there.
    kind: str
    #: What a flight there cannot show, in words.
    blind_spots: tuple[str, ...]
    apply_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployed:
    platform: str
    #: "success" or "failed".
    status: str
    #: True when the expected commit answered, None when nothing tells which deploy answered.
    proven: bool | None
    words: str
    #: The host's, where it tells one.
    deploy_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    run_id: str
    outcome: str
    applied: tuple[str, ...] = ()
    pending: tuple[str, ...] = ()
    backup: Backup | None = None
    restore_point: RestorePoint | None = None
    rehearsal: Rehearsed | None = None
    deploy: Deployed | None = None
    findings: tuple[Finding, ...] = ()
    locks: tuple[Lock, ...] = ()
    error: AutopilotError | None = None
    duration_ms: int = 0
    summary: str = ""
    extra: dict[str, Any] = field(default_factory=dict)

    @property
    def exit_code(self) -> int:
        return EXIT_CODES[self.outcome] if self.error is None else self.error.exit_code


def outcome_of(world: World, wish: Wish, book: Logbook, outcome: str, *, summary: str, error: AutopilotError | None) -> Outcome:
    """What the book has come to."""
    return Outcome(
        run_id=wish.run.run_id,
        outcome=outcome,
        applied=book.applied,
        pending=(*book.pending, *book.waiting),
        backup=book.backup,
        restore_point=book.restore_point,
        rehearsal=book.rehearsal,
        deploy=book.deploy,
        findings=book.findings,
        locks=book.locks,
        error=error,
        duration_ms=elapsed_ms(world.clock, book.begun_s),
        summary=summary,
    )
