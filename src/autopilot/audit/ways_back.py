"""What each release left behind so that it can be undone, as rows. Snapshots are JSON text here; what they say is not read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from psycopg.types.json import Jsonb

from autopilot.audit.journal import Run
from autopilot.postgres.queries import named
from autopilot.postgres.session import Connection

_QUERIES = named(__file__, "ways_back.sql")


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """A release that is in, as the way back needs it."""

    migration_log_id: int
    run_id: str
    ran_at: datetime
    versions: tuple[str, ...]
    backup_file: str | None
    #: By which the trash knows what it kept; None of releases from before there was one.
    kept_as: str | None
    #: Whether its way back was flown on a copy; None: not tried.
    proven: bool | None
    #: What going back would lose, in sentences.
    loses: tuple[str, ...]
    has_before: bool
    has_after: bool
    commit_sha: str | None
    #: Whether all that it was to apply is in.
    is_whole: bool


def begun(
    connection: Connection, log_id: int, *, run_id: str, kept_as: str, versions: tuple[str, ...], before: str,
    proven: bool | None, loses: tuple[str, ...],
) -> None:  # fmt: skip
    """Before the first statement: the catalog as it is. `before` is JSON."""
    connection.execute(_QUERIES["begun"], (log_id, run_id, kept_as, list(versions), before, proven, list(loses)))


def ended(connection: Connection, log_id: int, *, after: str) -> None:
    """After the last: the catalog as the release left it."""
    connection.execute(_QUERIES["ended"], (after, log_id))


def unended(connection: Connection) -> int | None:
    """The newest release, where nobody saw the catalog as it left it."""
    row = connection.execute(_QUERIES["unended"]).fetchone()
    return None if row is None else int(row[0])


def known(connection: Connection) -> bool:
    """Whether the audit trail has a place for ways back: it has not where no run was since there are any."""
    row = connection.execute(_QUERIES["known"]).fetchone()
    return row is not None and bool(row[0])


def may_undo(connection: Connection) -> bool:
    """Whether this session's role may act as the one that releases run as; where there was none yet, it may be that one."""
    row = connection.execute(_QUERIES["may_undo"]).fetchone()
    return row is None or bool(row[0])


def releases(connection: Connection) -> tuple[Release, ...]:
    """What is in and not undone, the newest first."""
    return tuple(
        Release(
            migration_log_id=row[0], run_id=row[1], ran_at=row[2], versions=tuple(row[3]), backup_file=row[4], kept_as=row[5],
            proven=row[6], loses=tuple(row[7]), has_before=row[8], has_after=row[9], commit_sha=row[10], is_whole=row[11],
        )
        for row in connection.execute(_QUERIES["releases"])
    )  # fmt: skip


def snapshots(connection: Connection, log_id: int) -> tuple[str | None, str | None]:
    """The catalog before and after, as JSON."""
    row = connection.execute(_QUERIES["snapshots"], (log_id,)).fetchone()
    return (None, None) if row is None else (row[0], row[1])


def last_recorded(connection: Connection) -> tuple[str, datetime, str] | None:
    """The newest release's catalog after it, when it was applied, and its run."""
    row = connection.execute(_QUERIES["last_recorded"]).fetchone()
    return None if row is None else (str(row[0]), row[1], str(row[2]))


def undone(connection: Connection, run: Run, release: Release, *, notes: str, duration_ms: int, remade: Mapping[str, str]) -> int:
    """The rows of a release that is undone in this transaction: its versions are pending again. Returns the migration_log id."""
    versions = list(release.versions)
    forget(connection, release.versions)
    connection.execute(_QUERIES["undone"], (run.run_id, notes, Jsonb(dict(remade)), release.migration_log_id))
    row = connection.execute(
        _QUERIES["rolled_back"],
        (release.commit_sha, notes, release.backup_file, duration_ms, run.triggered_by, run.run_id, versions),
    ).fetchone()
    return 0 if row is None else int(row[0])


def marked_undone(connection: Connection, run: Run, release: Release, *, notes: str) -> None:
    """A release that a backup took the place of; `put_in_place` writes the rest."""
    connection.execute(_QUERIES["undone"], (run.run_id, notes, Jsonb({}), release.migration_log_id))


def put_in_place(
    connection: Connection, run: Run, *, versions: tuple[str, ...], backup_file: str, notes: str, duration_ms: int,
    remade: Mapping[str, str],
) -> int:  # fmt: skip
    """The log row of a backup that took the place of everything, and where its objects are now. Returns its migration_log id.

    versions: those that are pending again besides the releases that are marked undone.
    """
    forget(connection, versions)
    row = connection.execute(
        _QUERIES["rolled_back"],
        (run.commit_sha, notes, backup_file, duration_ms, run.triggered_by, run.run_id, list(versions)),
    ).fetchone()
    log_id = 0 if row is None else int(row[0])
    made_anew(connection, run, log_id, remade=remade, notes=notes)
    return log_id


def made_anew(connection: Connection, run: Run, log_id: int, *, remade: Mapping[str, str], notes: str) -> None:
    """Objects that are others since that row of the log, by their keys: releases before it are undone with that in mind."""
    if remade:
        connection.execute(
            _QUERIES["made_anew"],
            {"id": log_id, "run_id": run.run_id, "kept_as": f"{run.run_id}.{log_id}", "remade": Jsonb(dict(remade)),
             "notes": notes},
        )  # fmt: skip


def transactions(connection: Connection, versions: tuple[str, ...]) -> tuple[str, ...]:
    """The numbers (xid) of the transactions that applied them."""
    return tuple(row[0] for row in connection.execute(_QUERIES["transactions"], {"versions": list(versions)}).fetchall())


def first_after(connection: Connection, log_id: int) -> str:
    """The number of a transaction right after the release, or after the last restore since."""
    row = connection.execute(_QUERIES["first_after"], {"id": log_id}).fetchone()
    return "0" if row is None else str(row[0])


def ways_gone_since(connection: Connection, log_id: int) -> tuple[str, ...]:
    """Runs that went back on later releases: what they put back bears their numbers, and counts as written since."""
    return tuple(row[0] for row in connection.execute(_QUERIES["ways_gone_since"], {"id": log_id}).fetchall())


@dataclass(frozen=True, slots=True, kw_only=True)
class Rehearsed:
    """What a release wrote to one table in its rehearsal, on its backup's rows."""

    #: Without its schema where that is public.
    relation: str
    inserted: int
    updated: int
    deleted: int
    emptied: bool = False


def rehearsed(connection: Connection, release: Release) -> tuple[Rehearsed, ...]:
    """Nothing where there was no rehearsal."""
    asked = {"run_id": release.run_id, "versions": list(release.versions)}
    emptied = {row[0] for row in connection.execute(_QUERIES["rehearsed_emptied"], asked).fetchall()}
    rows = connection.execute(_QUERIES["rehearsed_rows"], asked).fetchall()
    found = [
        Rehearsed(relation=r[0], inserted=r[1], updated=r[2], deleted=r[3], emptied=r[0] in emptied) for r in rows
    ]  # fmt: skip
    seen = {one.relation for one in found}
    return (
        *found,
        *(Rehearsed(relation=r, inserted=0, updated=0, deleted=0, emptied=True) for r in sorted(emptied - seen)),
    )


def undone_since(connection: Connection, at: datetime) -> tuple[str, ...]:
    """Runs that were in at that time and were gone back on since."""
    return tuple(row[0] for row in connection.execute(_QUERIES["undone_since"], {"at": at}).fetchall())


def applied_since(connection: Connection, at: datetime) -> tuple[str, ...]:
    return tuple(row[0] for row in connection.execute(_QUERIES["applied_since"], (at,)).fetchall())


def emptied(connection: Connection, kept_as: str, loss: str) -> None:
    """Something that the release's way back needs is gone."""
    connection.execute(_QUERIES["emptied"], (loss, kept_as))


def went_back_at_once(connection: Connection, run_id: str, *, notes: str) -> None:
    """The end of a run that undid itself."""
    connection.execute(_QUERIES["went_back_at_once"], (notes, run_id))


def forget(connection: Connection, versions: tuple[str, ...], *, progress: str = "[]") -> None:
    """Those versions are not in any more: they are pending again, or begun as `progress` tells."""
    for query in ("forget_supabase", "forget_segments", "forget_ledger"):
        connection.execute(_QUERIES[query], (list(versions),))
    connection.execute(_QUERIES["put_progress"], (progress,))


def progress(connection: Connection, versions: tuple[str, ...]) -> str:
    """How far files that were begun have come: their rows, for `forget`."""
    row = connection.execute(_QUERIES["progress"], (list(versions),)).fetchone()
    return "[]" if row is None else str(row[0])


def begun_before(connection: Connection, versions: tuple[str, ...], *, run_id: str) -> bool:
    """Whether parts of those files were applied by an earlier run."""
    row = connection.execute(_QUERIES["begun_before"], (list(versions), run_id)).fetchone()
    return row is not None and bool(row[0])


def remade_since(connection: Connection, log_id: int) -> dict[str, str]:
    """Keys of tables and columns at the time of a release, and those that they have since later releases were undone."""
    places: dict[str, str] = {}
    for (found,) in connection.execute(_QUERIES["remade"], (log_id,)).fetchall():
        places = {then: found.get(now, now) for then, now in places.items()} | found
    return places


def remade_since_recorded(connection: Connection) -> dict[str, str]:
    """The same since the release whose catalog is the last recorded."""
    row = connection.execute(_QUERIES["last_recorded_id"]).fetchone()
    return {} if row is None else remade_since(connection, int(row[0]))


def prune(connection: Connection, *, keep_days: int) -> None:
    connection.execute(_QUERIES["prune"], (keep_days,))
