"""What is read back from the audit trail, for `status` and `log`."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from autopilot.postgres.queries import named
from autopilot.postgres.session import Connection

_QUERIES = named(__file__, "reports.sql")


@dataclass(frozen=True, slots=True, kw_only=True)
class Activity:
    activity_at: datetime
    #: "migration", "rollback", "deploy" or "health".
    kind: str
    status: str
    summary: str
    commit_sha: str | None
    run_id: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LastRun:
    run_id: str
    started_at: datetime
    finished_at: datetime | None
    state: str
    commit_sha: str | None
    triggered_by: str
    notes: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LastMigration:
    """A `migration_log` row, as the way back needs it."""

    run_id: str
    status: str
    versions: tuple[str, ...]
    backup_file: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RehearsedFile:
    """What a file's newest rehearsal foretold."""

    rehearsed_at: datetime
    predicted_ms: float
    #: `{"relation", "mode", "keeps_waiting", "duration_ms"}` each, the longest first.
    blocked: tuple[dict[str, Any], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoreTest:
    """A restore of a backup, in a rehearsal or by `backup restore-test`."""

    tested_at: datetime
    backup_file: str
    #: "success" or "failure".
    status: str
    notes: str


def restore_tests(connection: Connection) -> tuple[RestoreTest | None, RestoreTest | None]:
    """The newest, and the newest that brought a backup back as it was."""
    known = connection.execute(_QUERIES["knows_restore_tests"]).fetchone()
    rows = connection.execute(_QUERIES["restore_tests"]).fetchall() if known is not None and known[0] else []
    found = [RestoreTest(tested_at=at, backup_file=file, status=status, notes=notes) for at, file, status, notes in rows]
    return (found[0] if found else None), next((t for t in found if t.status == "success"), None)


def restore_point(connection: Connection, name: str) -> str | None:
    """How to go back to the restore point of that name."""
    known = connection.execute(_QUERIES["knows_restore_points"]).fetchone()
    row = connection.execute(_QUERIES["restore_point"], (name,)).fetchone() if known is not None and known[0] else None
    return None if row is None else str(row[0])


def exists(connection: Connection) -> bool:
    """Whether Autopilot has been here before."""
    row = connection.execute(_QUERIES["exists"]).fetchone()
    return row is not None and bool(row[0])


def timeline(connection: Connection, *, since: datetime | None, limit: int) -> tuple[Activity, ...]:
    """The newest `limit` events since `since`, oldest first."""
    rows = connection.execute(
        _QUERIES["timeline"],
        {"since": since, "limit": limit},
    ).fetchall()
    return tuple(
        Activity(activity_at=at, kind=kind, status=status, summary=summary, commit_sha=commit, run_id=run)
        for at, kind, status, summary, commit, run in reversed(rows)
    )


def last_run(connection: Connection) -> LastRun | None:
    row = connection.execute(_QUERIES["last_run"]).fetchone()
    if row is None:
        return None
    run_id, started, finished, state, commit, by, notes = row
    return LastRun(
        run_id=run_id,
        started_at=started,
        finished_at=finished,
        state=state,
        commit_sha=commit,
        triggered_by=by,
        notes=notes,
    )


def rehearsed(connection: Connection, sha256s: tuple[str, ...]) -> dict[str, RehearsedFile]:
    """By SHA-256: the newest rehearsal of a file with that very text."""
    row = connection.execute(_QUERIES["knows_rehearsals"]).fetchone()
    if not sha256s or row is None or not row[0]:
        return {}
    return {
        sha256: RehearsedFile(rehearsed_at=at, predicted_ms=predicted_ms, blocked=tuple(blocked))
        for sha256, at, predicted_ms, blocked in connection.execute(_QUERIES["rehearsed"], (list(sha256s),))
    }


def open_incidents(connection: Connection) -> int:
    row = connection.execute(_QUERIES["open_incidents"]).fetchone()
    return 0 if row is None or row[0] is None else int(row[0])


def migration_of(connection: Connection, run_or_backup: str | None) -> LastMigration | None:
    """The newest migration, or that of a run or backup by name."""
    row = connection.execute(_QUERIES["migration_of"], {"wanted": run_or_backup}).fetchone()
    if row is None:
        return None
    return LastMigration(run_id=row[0], status=row[1], versions=tuple(row[2]), backup_file=row[3])
