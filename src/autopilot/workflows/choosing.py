"""What is known when a route back is chosen: the releases, the trash, the catalog, the backups, what was written since."""

from __future__ import annotations

from dataclasses import dataclass, replace

from autopilot.audit import reports, ways_back
from autopilot.audit.reports import LastMigration
from autopilot.audit.ways_back import Release
from autopilot.backups import catalog, fingerprint
from autopilot.backups.catalog import Entry
from autopilot.backups.manifest import Manifest
from autopilot.errors import Refused
from autopilot.postgres.bounded import patient
from autopilot.postgres.session import Connection
from autopilot.rollback import row_numbers, trash
from autopilot.rollback.routes.facts import Brought, Copy, Facts, Held, InTheWay, Since, Step
from autopilot.rollback.row_numbers import Counted
from autopilot.rollback.snapshot import Snapshot
from autopilot.rollback.statement import Reversal
from autopilot.workflows import lacking
from autopilot.workflows.restore_in_place import asked_never, require_fitting
from autopilot.workflows.which import pick, since_backup
from autopilot.workflows.world import World


@dataclass(frozen=True, slots=True, kw_only=True)
class _Backup:
    """The one that is asked for, and the one to use in its place where it is no good."""

    file: str | None = None
    good: Manifest | None = None
    why: str = ""
    used: Manifest | None = None


def facts(world: World, connection: Connection, *, to: str | None) -> Facts:
    """All that `rollback.route` asks for; hashes a backup and reads every table. Raises Refused (`unknown_run`)."""
    found = reports.migration_of(connection, to) if reports.exists(connection) else None
    if to is not None and found is None and to not in backups_here(world):
        raise Refused(
            f"No run and no backup is called {to!r}.",
            code="unknown_run",
            hint="`autopilot log` names the runs, `autopilot backup list` the backups.",
        )
    known = reports.exists(connection) and ways_back.known(connection)
    releases = ways_back.releases(connection) if known else ()
    return _facts(world, connection, found, releases, _chosen(world, releases, to=to), to=to)


def backups_here(world: World) -> tuple[str, ...]:
    """Their names, whatever each is worth."""
    found = catalog.entries(world.settings.backups_dir, verify=False, secrets=world.settings.backup_access.signing)
    return tuple(entry.file for entry in found)


def _chosen(world: World, releases: tuple[Release, ...], *, to: str | None) -> tuple[Release, ...]:
    """The releases that `rollback` would go back on; none where what is named is not in."""
    try:
        return pick(releases, to=to, backups=backups_here(world))
    except Refused:
        return ()


def _facts(
    world: World, connection: Connection, found: LastMigration | None, releases: tuple[Release, ...],
    chosen: tuple[Release, ...], *, to: str | None,
) -> Facts:  # fmt: skip
    last = None if found is None else _last(found, chosen, to=to)
    if found is not None and chosen and found.status != "pending":
        # what a restore would bring is the state before the oldest of them
        found = replace(found, run_id=chosen[0].run_id, status="success", backup_file=chosen[-1].backup_file)
    elif found is not None and found.status == "success":
        found = replace(found, status="rollback")
    elif found is None and chosen:
        found = LastMigration(run_id=chosen[0].run_id, status="success", versions=(), backup_file=None)
    named = to if to in backups_here(world) else None
    backup = _backup(world, connection, named or (None if found is None else found.backup_file))
    wrote = _written(world, connection, chosen, backup.used)
    before, reversal = _reversal(connection, chosen)
    return Facts(
        run_id=None if found is None else found.run_id, status=None if found is None else found.status,
        versions=() if found is None else found.versions, backup_file=backup.file, backup_good=backup.good is not None,
        backup_why=backup.why, to=to, last=last,
        rows_then=None if backup.used is None else backup.used.rows, rows_now=_rows_now(world, connection, backup.used),
        without_data=() if backup.used is None else tuple(sorted(backup.used.without_data)),
        restore_point=None if backup.file is None else reports.restore_point(connection, backup.file),
        steps=tuple(_step(connection, release) for release in chosen), in_the_way=_in_the_way(reversal),
        copy=None if backup.used is None else _copy(connection, backup.used, releases),
        merge=_brought(connection, chosen, backup.good, before, reversal, wrote),
        since=None if wrote is None else tuple(Since(table=w.name, rows=w.since) for w in wrote if w.since),
        gone_since=ways_back.ways_gone_since(connection, chosen[0].migration_log_id) if chosen else (),
    )  # fmt: skip


def _backup(world: World, connection: Connection, file: str | None) -> _Backup:
    if file is None:
        return _Backup()
    entry = _entry(world, file)
    why = "it is not here" if entry is None else entry.why
    if entry is not None and entry.state == "good" and entry.manifest is not None:
        try:
            require_fitting(connection, entry.manifest)
        except Refused as cause:
            return _Backup(file=file, why=cause.message.removesuffix("."))
        return _Backup(file=file, good=entry.manifest, used=entry.manifest)
    secrets, directory = world.settings.backup_access.signing, world.settings.backups_dir
    older = catalog.older_good(directory, file, secrets=secrets)
    other = None if older is None else _entry(world, older)
    manifest = None if other is None else other.manifest
    if manifest is not None:
        try:
            require_fitting(connection, manifest)
        except Refused:
            manifest = None
    return _Backup(file=file, why=why.removesuffix("."), used=manifest)


def _entry(world: World, file: str) -> Entry | None:
    secrets = world.settings.backup_access.signing
    return next(iter(catalog.entries(world.settings.backups_dir, verify=True, only=file, secrets=secrets)), None)


def _copy(connection: Connection, manifest: Manifest, releases: tuple[Release, ...]) -> Copy:
    there = reports.exists(connection) and ways_back.known(connection)
    return Copy(
        file=manifest.file, taken_at=manifest.taken_at, took_ms=manifest.duration_ms, database_bytes=manifest.database_bytes,
        runs=tuple(dict.fromkeys(r.run_id for r in since_backup(releases, manifest.file))),
        holds_undone=ways_back.undone_since(connection, manifest.taken_at) if there else (),
    )  # fmt: skip


def _rows_now(world: World, connection: Connection, manifest: Manifest | None) -> dict[str, int] | None:
    """As the backup counted them: exactly, in the same schemas."""
    if manifest is None:
        return None
    aside = connection.execute(
        "SELECT nspname::text FROM pg_catalog.pg_namespace WHERE nspname ~ '__[qr]_[0-9a-f]{8}$' OR nspname = 'autopilot_trash'"
    ).fetchall()
    absent = (*manifest.absent.schemas, *(row[0] for row in aside))
    found = fingerprint.rows(
        connection, timeout_s=world.settings.backup_timeout_s, absent=absent, without=frozenset(manifest.without_data)
    )
    return {table: rows for table, rows in found.items() if table.partition(".")[0] not in absent}


def _written(
    world: World, connection: Connection, chosen: tuple[Release, ...], manifest: Manifest | None
) -> tuple[Counted, ...] | None:
    """None where there is no release to count from."""
    if not chosen:
        return None
    with patient(connection, world.settings.backup_timeout_s):
        return row_numbers.counted(
            connection, after=ways_back.first_after(connection, chosen[0].migration_log_id),
            by=ways_back.transactions(connection, chosen[-1].versions),
            never=() if manifest is None else asked_never(manifest),
        )  # fmt: skip


def _reversal(connection: Connection, chosen: tuple[Release, ...]) -> tuple[Snapshot | None, Reversal | None]:
    """Of the newest only: what stands in the way of the others shows once that is undone."""
    if not chosen or not chosen[0].has_before or not chosen[0].has_after or not ways_back.may_undo(connection):
        return None, None
    return lacking.reversal(connection, chosen[0])


def _in_the_way(reversal: Reversal | None) -> InTheWay:
    if reversal is None:
        return InTheWay()
    return InTheWay(conflicts=reversal.conflicts, to_trash=tuple(t.origin for t in reversal.moves_to_trash))


def _brought(
    connection: Connection, chosen: tuple[Release, ...], manifest: Manifest | None, before: Snapshot | None,
    reversal: Reversal | None, wrote: tuple[Counted, ...] | None,
) -> Brought:  # fmt: skip
    if len(chosen) != 1 or manifest is None or before is None or reversal is None:
        return Brought(why_not="what it would bring cannot be told")
    try:
        found = lacking.lacking(connection, chosen[0], manifest, before, reversal, wrote or ())
    except Refused as cause:  # nobody but its owner may look into the trash
        return Brought(why_not=cause.message.removesuffix("."))
    gap_s = max(0.0, (chosen[0].ran_at - manifest.taken_at).total_seconds())
    if found.is_nothing:
        why = f"the backup cannot bring it: {'; '.join(found.leaves[:3])}" if found.leaves else "the trash keeps all of it"
        return Brought(why_not=f"nothing is missing that a backup would have to bring: {why}", leaves=found.leaves, gap_s=gap_s)
    return Brought(brings=found.words(before), leaves=found.leaves, gap_s=gap_s)


def _last(found: LastMigration, chosen: tuple[Release, ...], *, to: str | None) -> str | None:
    """The newest run, where it left nothing in."""
    if found.run_id in {r.run_id for r in chosen} or found.status == "pending":
        return None
    if to is not None and found.status in {"success", "rollback"}:
        return f"Nothing of {to} is in: it was gone back on."
    if found.status == "rollback" and not found.versions:
        return f"The last run ({found.run_id}) put a backup in place."
    if found.status == "rollback":
        return f"The last run ({found.run_id}) went back on {', '.join(found.versions)}."
    return f"The run {found.run_id} was rolled back or refused: the database is as it was before it."


def _step(connection: Connection, release: Release) -> Step:
    return Step(
        run_id=release.run_id, versions=release.versions, is_whole=release.is_whole, proven=release.proven, loses=release.loses,
        recorded=release.has_before, held=_held(connection, release),
    )  # fmt: skip


def _held(connection: Connection, release: Release) -> tuple[Held, ...] | None:
    try:
        kept = trash.listed(connection, run_id=release.kept_as) if release.kept_as else ()
    except Refused:  # nobody but its owner may look into it
        return None
    return tuple(
        Held(name=k.name, how=k.how, rows=None if k.how == "move" else k.rows, size_bytes=k.size_bytes)
        for k in kept
        if k.restored_at is None and k.how != "conflicts"
    )
