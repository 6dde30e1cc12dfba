"""What is read back from the audit trail, for `status` and `log`."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

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


def open_incidents(connection: Connection) -> int:
    row = connection.execute(_QUERIES["open_incidents"]).fetchone()
    return 0 if row is None or row[0] is None else int(row[0])


def migration_of(connection: Connection, run_or_backup: str | None) -> LastMigration | None:
    """The newest migration, or that of a run or backup by name."""
    row = connection.execute(_QUERIES["migration_of"], {"wanted": run_or_backup}).fetchone()
    if row is None:
        return None
    return LastMigration(run_id=row[0], status=row[1], versions=tuple(row[2]), backup_file=row[3])
