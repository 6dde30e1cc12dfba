"""Tests a backup: newest good one (or the one named) → hashed → restored into a scratch server → compared → written down."""

from __future__ import annotations

from dataclasses import dataclass

import psycopg

from autopilot.audit import journal, schema
from autopilot.backups import catalog
from autopilot.backups.catalog import Entry
from autopilot.backups.manifest import Manifest
from autopilot.errors import AutopilotError, Refused
from autopilot.events import Noted, told
from autopilot.postgres import clients
from autopilot.postgres.session import READER_NAME, resolved, session
from autopilot.workflows import ground, standing
from autopilot.workflows.ground import Ground
from autopilot.workflows.opening import opened, warn_of_strangers
from autopilot.workflows.proven import RestoreTestStanding
from autopilot.workflows.reading import reached, reader
from autopilot.workflows.scratch import restored, stood_in, without_rows_of
from autopilot.workflows.world import World


@dataclass(frozen=True, slots=True, kw_only=True)
class Tested:
    """A backup that came back as it was."""

    manifest: Manifest
    restore_ms: int
    server_version: str
    origin: str
    #: Whether the test is written to the target's audit trail.
    recorded: bool

    @property
    def seconds_per_gib(self) -> float:
        return seconds_per_gib(self.manifest.size_bytes, self.restore_ms)


def seconds_per_gib(size_bytes: int, restore_ms: int) -> float:
    """Of the backup's own size, as it lies on disk."""
    return round(restore_ms / 1000 / (max(1, size_bytes) / (1 << 30)), 1)


def restore_test(world: World, *, file: str | None, allow_unsigned: bool = False) -> Tested:
    """allow_unsigned: whether one that is not signed may be restored although there is a secret to sign with.

    Raises Refused (`no_backup`, `backup_damaged`, `backup_not_signed`, `backup_not_faithful`, `restore_failed`,
    `no_scratch_server`).
    """
    with told(world.tell, world.clock, "choose", "Looking for the backup") as step:
        manifest = _chosen(world, file, allow_unsigned=allow_unsigned)
        step.says(
            f"{manifest.file}, {manifest.size_bytes:,} bytes, of {manifest.database} at {manifest.taken_at:%Y-%m-%d %H:%M} UTC"
        )
    scratch = _ground(world, manifest)
    path = world.settings.backups_dir / manifest.file
    warn_of_strangers(world, scratch.programs, manifest)
    try:
        with (
            told(world.tell, world.clock, "restore", "Restoring it into a scratch server") as step,
            opened(world, step, path, manifest) as backup,
            restored(world, backup, scratch, run_id=manifest.run_id) as copy,
        ):
            step.says(
                f"restored in {copy.restore_ms / 1000:.1f} s on PostgreSQL {scratch.version} ({scratch.origin}),"
                f" and it is what was dumped{stood_in(copy.stood_in)}{without_rows_of(manifest.without_data)}"
            )
    except AutopilotError as cause:
        if cause.code in {"restore_failed", "backup_not_faithful"}:
            _record(world, manifest, scratch, restore_ms=None, notes=cause.message)
        raise
    notes = f"as it was dumped{stood_in(copy.stood_in)}{without_rows_of(manifest.without_data)}"
    recorded = _record(world, manifest, scratch, restore_ms=copy.restore_ms, notes=notes)
    return Tested(
        manifest=manifest, restore_ms=copy.restore_ms, server_version=scratch.version, origin=scratch.origin, recorded=recorded
    )


def due(world: World) -> RestoreTestStanding | None:
    """How well backups are proven, by the target's audit trail; None where no database is configured that could tell."""
    if world.settings.database_url is None:
        return None
    with reader(world.settings) as connection:
        return standing.proof(world, connection)


def _ground(world: World, manifest: Manifest) -> Ground:
    """Raises Refused (`no_scratch_server`, and as `ground.lent` does)."""
    s, server_major = world.settings, _major(manifest.server_version)
    found = clients.installations(s.postgres_bin_dir)
    at_least = _major(manifest.tool_version)
    if s.scratch_url is None or s.scratch_is_copy:
        return ground.own(found, server_major=server_major, at_least=at_least)
    return ground.lent(
        resolved(s.scratch_url, tls_verify=s.tls_verify, ca_file=s.tls_ca_file).url,
        clients.for_dump(found, server_major=max(server_major, at_least)), server_major=server_major, lock_table=0, is_copy=False,
        target=None if s.database_url is None else reached(s).url,
    )  # fmt: skip


def _chosen(world: World, file: str | None, *, allow_unsigned: bool) -> Manifest:
    """The manifest of the backup to test, whose file was hashed."""
    secrets = world.settings.backup_access.signing
    found = catalog.entries(world.settings.backups_dir, verify=True, only=file, secrets=secrets)
    if found and found[0].state == "good" and found[0].manifest is not None:
        if secrets and found[0].signature == "unsigned" and not allow_unsigned:
            raise _not_signed(world, found[0])
        return found[0].manifest
    if not found:
        raise Refused(
            f"There is no backup called {file}." if file else f"There is no backup in {world.settings.backups_dir}.",
            code="no_backup",
            hint="`autopilot backup list` shows what is there; `autopilot backup create` takes one.",
        )
    raise _unfit(world, found[0])


def _not_signed(world: World, entry: Entry) -> Refused:
    """An archive that nobody signed is not even read where ours are: pg_restore shall not meet a stranger's."""
    secrets = world.settings.backup_access.signing
    older = catalog.older_good(world.settings.backups_dir, entry.file, secrets=secrets, signed=True)
    return Refused(
        f"The backup {entry.file} is not tested: it is not signed, and AUTOPILOT_SECRET is set: nothing proves that it is ours.",
        code="backup_not_signed",
        hint="If it is older than the secret, test it with --allow-unsigned."
        + (f" The next older signed one is {older}." if older else " There is no older signed one."),
    )


def _unfit(world: World, entry: Entry) -> Refused:
    older = catalog.older_good(world.settings.backups_dir, entry.file, secrets=world.settings.backup_access.signing)
    return Refused(
        f"The backup {entry.file} cannot be tested: {entry.why}.",
        code="backup_damaged",
        hint=f"Do not rely on it. The next older good one is {older}."
        if older
        else "Do not rely on it. There is no older good one.",
    )


def _record(world: World, manifest: Manifest, scratch: Ground, *, restore_ms: int | None, notes: str) -> bool:
    """Writes the test to the target's audit trail, where there is one to be reached; a restore counts without."""
    if world.settings.database_url is None:
        return False
    try:
        with session(reached(world.settings).url, application_name=READER_NAME) as connection:
            if not schema.is_current(connection):
                return False
            journal.restore_tested(
                connection, backup_file=manifest.file, sha256=manifest.sha256, size_bytes=manifest.size_bytes,
                restore_ms=restore_ms, server_version=scratch.version, run_id=manifest.run_id, notes=notes,
            )  # fmt: skip
    except (AutopilotError, psycopg.Error) as trouble:
        text = f"The test could not be written to the database ({type(trouble).__name__})."
        world.tell(Noted(text=text, level="warning"))
        return False
    return True


def _major(version: str) -> int:
    return int(version.split(".", 1)[0])
