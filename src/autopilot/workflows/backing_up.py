"""Takes a backup: dump → encrypt → manifest → a copy in each store.

A release and `autopilot backup create` walk through the same lines. Where backups are encrypted, the plain archive lies in a
private directory for as long as the block lasts (the rehearsal restores it), and never under a backup's name.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec

from autopilot.backups import dump, encryption, names, partial, stores, work
from autopilot.backups import manifest as manifests
from autopilot.backups.dump import Backup, Source
from autopilot.backups.manifest import Encryption, Manifest
from autopilot.backups.stores import Store, local
from autopilot.backups.stores.objects import Access
from autopilot.config import Settings
from autopilot.errors import Refused, UsageError
from autopilot.events import Noted, Step, told
from autopilot.postgres import clients
from autopilot.postgres.session import READER_NAME, Connection, look, session, size_bytes
from autopilot.workflows.reading import reached
from autopilot.workflows.world import World

#: Lies in the backups directory from a failed `backup create` to the next good one: nothing is pruned meanwhile.
FAILED_MARK = ".last-backup-failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Safekeeping:
    """How backups are encrypted and where copies go, checked."""

    encryption: Encryption
    stores: tuple[Store, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Copy:
    store: str
    #: Why there is none; only of a store that is not required.
    failed: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    #: Its path is the plain archive's, its manifest that of the file which is kept.
    backup: Backup
    copies: tuple[Copy, ...]


def safekeeping(settings: Settings) -> Safekeeping:
    """Raises UsageError (`bad_recipient`, `bad_store`, `no_store_keys`, `store_needs_encryption`) before anything is done."""
    encrypted = encryption.kind(settings.backup_recipients)
    a = settings.backup_access
    access = Access(
        access_key_id=a.access_key_id, secret_access_key=a.secret_access_key, session_token=a.session_token,
        region=a.region, endpoint_url=a.endpoint_url,
    )  # fmt: skip
    found = tuple(
        stores.store(s.url, required=s.required, allow_plain=s.allow_plain, access=access) for s in settings.backup_stores
    )
    for store in found:
        if encrypted == "none" and not store.is_local and not store.allow_plain:
            raise UsageError(
                f"Backups for {store.url} leave this machine, and are not encrypted.",
                code="store_needs_encryption",
                hint="Name public keys in backup_recipients, or write allow_plain = true for that store.",
            )
        if store.is_local and local.directory(store.url).resolve() == settings.backups_dir.resolve():
            raise UsageError(
                f"The backup store {store.url} is backups_dir itself: that is no second copy.",
                code="bad_store",
                hint="Name a directory on another disk.",
            )
    return Safekeeping(encryption=encrypted, stores=found)


@contextlib.contextmanager
def backed_up(
    world: World, step: Step, *, source: Source, connection: Connection, run_id: str, commit_sha: str | None
) -> Iterator[Taken]:
    """A backup of `source` as the settings want it, with its plain archive at hand for the length of the block.

    Raises what `dump.take` and `encryption.encrypt` raise, UsageError as `safekeeping` does, and Refused (`store_*`) when a
    required store has no copy; then the target was not touched, and what lies in backups_dir is whole.
    """
    kept = safekeeping(world.settings)
    with contextlib.ExitStack() as stack:
        directory = world.settings.backups_dir
        into = directory if kept.encryption == "none" else stack.enter_context(work.directory(directory))
        plain = _dump(world, step, into, source, connection, run_id=run_id, commit_sha=commit_sha)
        manifest = plain.manifest if kept.encryption == "none" else _encrypt(world, step, plain, directory, kept.encryption)
        manifest = _describe(manifest, directory, world.settings)
        world.reached("B6")
        copies = _copy(world, step, kept.stores, directory / manifest.file, manifest)
        world.reached("B8")
        yield Taken(backup=Backup(path=plain.path, manifest=manifest), copies=copies)


def _dump(
    world: World, step: Step, into: Path, source: Source, connection: Connection, *, run_id: str, commit_sha: str | None
) -> Backup:
    return dump.take(
        source, into, connection=connection, run_id=run_id, commit_sha=commit_sha, clock=world.clock,
        timeout_s=world.settings.backup_timeout_s, progress=lambda written: step.progress(written, None, "bytes"),
        reached=world.reached,
    )  # fmt: skip


def _encrypt(world: World, step: Step, plain: Backup, directory: Path, kind: Encryption) -> Manifest:
    """The encrypted file under its final name; returns the manifest that it needs."""
    recipients = world.settings.backup_recipients
    file, size = names.encrypted(plain.manifest.file, kind), plain.manifest.size_bytes
    written = encryption.encrypt(
        plain.path, directory / file, recipients=recipients, gnupg_home=world.settings.backup_access.gnupg_home,
        timeout_s=world.settings.backup_timeout_s, progress=lambda read: step.progress(read, size, "bytes"),
    )  # fmt: skip
    return msgspec.structs.replace(
        plain.manifest, file=file, size_bytes=written.size_bytes, sha256=written.sha256, encryption=kind, recipients=recipients,
        plain_size_bytes=size, plain_sha256=plain.manifest.sha256,
    )  # fmt: skip


def _describe(manifest: Manifest, directory: Path, settings: Settings) -> Manifest:
    """Writes the manifest that is kept, signed where there is a secret; a backup that cannot be described is taken away."""
    signing = settings.backup_access.signing
    signed = manifests.sign(manifest, signing[0]) if signing else manifest
    if manifest.encryption != "none" or signing:
        try:
            manifests.write(signed, directory)
        except OSError as cause:
            (directory / manifest.file).unlink(missing_ok=True)
            raise partial.trouble(cause, directory) from cause
    return signed


def _copy(world: World, step: Step, into: tuple[Store, ...], backup: Path, manifest: Manifest) -> tuple[Copy, ...]:
    """A copy in each store. One that fails does not keep the others from theirs; afterwards a required one refuses."""
    copies, refusal = [], None
    for store in into:
        try:
            stores.put(store, backup, manifest, progress=lambda read: step.progress(read, manifest.size_bytes, "bytes"))
            copies.append(Copy(store=store.url))
        except Refused as cause:
            copies.append(Copy(store=store.url, failed=cause.message))
            if store.required:
                refusal = refusal or _no_copy(manifest.file, cause)
            else:
                world.tell(Noted(text=f"{manifest.file} has one copy less: {cause.message} {cause.hint}", level="warning"))
    if refusal is not None:
        raise refusal
    return tuple(copies)


def _no_copy(file: str, cause: Refused) -> Refused:
    return Refused(
        f"The backup {file} is made, and a required copy of it is missing: {cause.message}",
        code=cause.code,
        hint=f"{cause.hint} Or write required = false for that store.",
        retryable=cause.retryable,
    )


def create(world: World, *, run_id: str, commit_sha: str | None) -> Taken:
    """`autopilot backup create`: connect → tools → room → back up. Raises what stands in the way."""
    safekeeping(world.settings)
    mark = world.settings.backups_dir / FAILED_MARK
    url = reached(world.settings).url
    with (
        told(world.tell, world.clock, "backup", "Backing up") as step,
        session(url, application_name=READER_NAME) as connection,
    ):
        client = clients.for_dump(clients.installations(world.settings.postgres_bin_dir), server_major=look(connection).major)
        source = Source(
            url=url, client=client, size_bytes=size_bytes(connection), application_name=READER_NAME,
            compression="zstd" if clients.zstd(client) else "1",
        )  # fmt: skip
        try:
            with backed_up(world, step, source=source, connection=connection, run_id=run_id, commit_sha=commit_sha) as taken:
                step.says(_in_words(taken))
        except Refused:
            with contextlib.suppress(OSError):
                mark.touch(mode=0o600)
            raise
    mark.unlink(missing_ok=True)
    return taken


def _in_words(taken: Taken) -> str:
    manifest = taken.backup.manifest
    how = "not encrypted" if manifest.encryption == "none" else f"encrypted with {manifest.encryption}"
    copies = sum(copy.failed is None for copy in taken.copies)
    where = f", in {copies} of {len(taken.copies)} stores" if taken.copies else ""
    return f"{manifest.file}: {manifest.size_bytes:,} bytes, {sum(manifest.rows.values()):,} rows, {how}{where}"
