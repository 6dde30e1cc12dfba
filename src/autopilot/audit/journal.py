"""What a run writes about itself: its own row, then migration, deployment and health rows."""

from __future__ import annotations

import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg.types.json import Jsonb

from autopilot import __version__
from autopilot.postgres.queries import named
from autopilot.postgres.session import Connection

_QUERIES = named(__file__, "journal.sql")


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """Who runs, for which commit, on whose behalf."""

    run_id: str
    commit_sha: str | None
    triggered_by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenRun:
    """A run that left something open, and what it had begun."""

    run: Run
    #: Whether its own row has an end, and only its migration's has none.
    has_end: bool
    migration_log_id: int | None
    versions: tuple[str, ...]
    backup_file: str | None


def open_run(connection: Connection, run: Run) -> None:
    connection.execute(
        _QUERIES["open_run"],
        (run.run_id, run.commit_sha, run.triggered_by, socket.gethostname(), __version__),
    )


def nothing_to_do(connection: Connection, run: Run) -> None:
    """The whole of a run that found nothing to do, in one row."""
    connection.execute(
        _QUERIES["nothing_to_do"],
        (run.run_id, run.commit_sha, run.triggered_by, socket.gethostname(), __version__),
    )


def is_at_rest(connection: Connection) -> bool:
    """Whether no run is under way, and none has left anything open."""
    row = connection.execute(_QUERIES["at_rest"]).fetchone()
    return row is not None and bool(row[0]) and deploy_owed(connection) is None


def runs_among(connection: Connection, ids: tuple[str, ...]) -> frozenset[str]:
    """Which of them are runs."""
    rows = connection.execute(_QUERIES["runs_among"], (list(ids),)).fetchall() if ids else []
    return frozenset(row[0] for row in rows)


def close_run(connection: Connection, run_id: str, *, state: str, notes: str | None = None) -> None:
    connection.execute(
        _QUERIES["close_run"],
        (state, notes, run_id),
    )


def left_open(connection: Connection, *, but: str) -> tuple[OpenRun, ...]:
    """Runs still called running, or whose migration is still called pending, oldest first.

    Whoever holds the lock knows that they are dead.
    """
    rows = connection.execute(
        _QUERIES["left_open"],
        (but,),
    ).fetchall()
    return tuple(
        OpenRun(
            run=Run(run_id=run_id, commit_sha=commit, triggered_by=by),
            has_end=has_end,
            migration_log_id=log_id,
            versions=tuple(versions),
            backup_file=backup,
        )
        for run_id, commit, by, has_end, log_id, versions, backup in rows
    )


def migration_begun(
    connection: Connection,
    run: Run,
    *,
    versions: tuple[str, ...],
    notes: str,
    backup_file: str | None,
    after_deploy: bool = False,
) -> int:
    """A `pending` row, written before the first statement; returns its id. After the deploy it owes none."""
    row = connection.execute(
        _QUERIES["migration_begun"],
        (run.commit_sha, notes, backup_file, run.triggered_by, run.run_id, list(versions), after_deploy),
    ).fetchone()
    return _id(row)


def migration_ended(
    connection: Connection,
    log_id: int,
    *,
    status: str,
    notes: str,
    duration_ms: int | None,
    error: str | None = None,
) -> None:
    """Gives a `pending` row its end; one that has an end keeps it."""
    connection.execute(
        _QUERIES["migration_ended"],
        (status, notes, duration_ms, error, log_id),
    )


def migration_refused(
    connection: Connection,
    run: Run,
    *,
    versions: tuple[str, ...],
    notes: str,
    error: str,
    backup_file: str | None,
    duration_ms: int,
) -> None:
    """A `failure` row for a release that ended before the first statement."""
    connection.execute(
        _QUERIES["migration_refused"],
        {
            "commit_sha": run.commit_sha, "notes": notes, "backup_file": backup_file, "duration_ms": duration_ms, "error": error,
            "triggered_by": run.triggered_by, "run_id": run.run_id, "versions": list(versions),
        },
    )  # fmt: skip


def edit_accepted(connection: Connection, run: Run, *, version: str, file: str) -> None:
    """That somebody took an edited file as it is now."""
    notes = f"{file} was edited after it was applied and is taken as it is now, without being run, as {run.triggered_by} asked"
    connection.execute(_QUERIES["edit_accepted"], (run.commit_sha, notes, run.triggered_by, run.run_id, [version]))


def repaired(connection: Connection, run: Run, *, notes: str, backup_file: str | None, duration_ms: int) -> int:
    """That the schema was put back as it was recorded; in the transaction that does so. Returns the row's id."""
    said = (run.commit_sha, notes, backup_file, duration_ms, run.triggered_by, run.run_id)
    return _id(connection.execute(_QUERIES["repaired"], said).fetchone())


def deployment_intended(connection: Connection, run: Run, *, platform: str, url: str | None, migration_log_id: int | None) -> int:
    """A `triggered` row, written before the host is asked; returns its id."""
    row = connection.execute(
        _QUERIES["deployment_intended"],
        (platform, url, migration_log_id, run.run_id, run.commit_sha),
    ).fetchone()
    return _id(row)


def deployment_moved(
    connection: Connection, deployment_id: int, *, status: str, notes: str, deploy_id: str | None = None
) -> None:
    """The deploy's id, once it is known, stays."""
    connection.execute(
        _QUERIES["deployment_moved"],
        {"status": status, "notes": notes, "id": deployment_id, "deploy_id": deploy_id},
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class LoggedDeploy:
    id: int
    deployed_at: datetime
    platform: str
    deploy_id: str | None
    status: str
    commit_sha: str | None
    notes: str | None


def deploys_so_far(connection: Connection) -> tuple[LoggedDeploy, ...]:
    """Newest first, as far back as anybody would go."""
    rows = connection.execute(_QUERIES["deploys_so_far"]).fetchall()
    names = LoggedDeploy.__dataclass_fields__
    return tuple(LoggedDeploy(**dict(zip(names, row, strict=True))) for row in rows)


def deploy_intended_since(connection: Connection, commit_sha: str | None) -> datetime | None:
    """When the first run that died over a deploy of this commit, not proven since, meant to ask for it; None without one."""
    row = connection.execute(_QUERIES["deploy_intended_since"], {"commit_sha": commit_sha}).fetchone()
    return None if row is None else row[0]


def deployments_left_open(connection: Connection) -> tuple[int, ...]:
    """Deployment rows with no end whose run is not running any more."""
    rows = connection.execute(_QUERIES["deployments_left_open"]).fetchall()
    return tuple(row[0] for row in rows)


def deploy_owed(connection: Connection) -> int | None:
    """The newest applied migration that a dead run left without a proven deploy, as a migration_log id."""
    row = connection.execute(_QUERIES["deploy_owed"]).fetchone()
    return None if row is None else int(row[0])


def health_seen(
    connection: Connection,
    *,
    status: str,
    response_time_ms: int,
    checks: Mapping[str, Any],
    notes: str,
    run_id: str | None,
) -> None:
    connection.execute(
        _QUERIES["health_seen"],
        (status, response_time_ms, Jsonb(dict(checks)), notes, run_id),
    )


def restore_tested(
    connection: Connection, *, backup_file: str, sha256: str, size_bytes: int, restore_ms: int | None, server_version: str,
    run_id: str, notes: str,
) -> None:  # fmt: skip
    """A backup was restored into a scratch server; `restore_ms` is None where it did not come back as it was."""
    connection.execute(
        _QUERIES["restore_tested"],
        {
            "backup_file": backup_file, "sha256": sha256, "size_bytes": size_bytes, "restore_ms": restore_ms,
            "server_version": server_version, "run_id": run_id, "notes": notes,
        },
    )  # fmt: skip


def rehearsed(connection: Connection, run_id: str, *, copy: str, files: Sequence[Mapping[str, Any]]) -> None:
    """What each file did on the copy: the columns of `rehearsed_files` by name."""
    connection.execute(_QUERIES["rehearsed"], {"run_id": run_id, "copy": copy, "files": Jsonb(list(files))})


def restore_point_made(
    connection: Connection, *, made_at: datetime, provider: str, name: str, run_id: str, how_back: str, details: Mapping[str, Any]
) -> None:
    """A provider's restore point stands in for this run's dump."""
    connection.execute(_QUERIES["restore_point_made"], (made_at, provider, name, run_id, how_back, Jsonb(dict(details))))


def _id(row: tuple[Any, ...] | None) -> int:
    if row is None:  # pragma: no cover - INSERT … RETURNING gives a row or raises
        raise AssertionError
    return int(row[0])
