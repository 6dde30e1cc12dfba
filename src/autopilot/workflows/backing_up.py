"""Takes a backup: dump → encrypt → manifest → a copy in each store.

A release and `autopilot backup create` walk through the same lines. Where backups are encrypted, the plain archive lies in a
private directory for as long as the block lasts (the rehearsal restores it), and never under a backup's name.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec
import psycopg

from autopilot.backups import dump, encryption, names, stores, work
from autopilot.backups import manifest as manifests
from autopilot.backups.dump import Backup, Source
from autopilot.backups.manifest import Encryption, Manifest
from autopilot.backups.stores import Store, local
from autopilot.backups.stores.objects import Access
from autopilot.config import Settings
from autopilot.errors import Refused, UsageError
from autopilot.events import Noted, Step, told
from autopilot.measures import counted
from autopilot.postgres import clients
from autopilot.postgres.address import parameters
from autopilot.postgres.session import READER_NAME, Connection, look, session
from autopilot.workflows import copying
from autopilot.workflows import net as nets
from autopilot.workflows.copying import Asked, Copy
from autopilot.workflows.reading import reached
from autopilot.workflows.world import World

#: Lies in the backups directory from a failed `backup create` to the next good one: nothing is pruned meanwhile.
FAILED_MARK = ".last-backup-failed"
#: A server that restarts is back by then, more often than not.
_AGAIN_AFTER_S = 3.0
#: So many missing copies in a store are made up for by one `backup create`.
_MADE_UP = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Safekeeping:
    """How backups are encrypted and where copies go, checked."""

    encryption: Encryption
    stores: tuple[Store, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    #: Its path is the plain archive's, its manifest that of the file which is kept.
    backup: Backup
    copies: tuple[Copy, ...]
    #: The stores as they were before.
    asked: tuple[Asked, ...] = ()


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
    world: World, step: Step, *, source: Source, connection: Connection, run_id: str, commit_sha: str | None,
    reconnects: bool = False,
) -> Iterator[Taken]:  # fmt: skip
    """A backup of `source` as the settings want it, with its plain archive at hand for the length of the block.

    What can be known to fail is asked before the dump. A dump whose connection is cut is begun anew, once: on `connection`
    where that still lives; with `reconnects`, else on a new one.
    Raises what `dump.take` and `encryption.encrypt` raise, UsageError as `safekeeping` does, and Refused (`store_*`) when a
    required store has no copy; then the target was not touched, and what lies in backups_dir is whole.
    """
    kept = safekeeping(world.settings)
    asked = _ask(world, source, kept)
    with contextlib.ExitStack() as stack:
        directory = world.settings.backups_dir
        into = directory if kept.encryption == "none" else stack.enter_context(work.directory(directory))
        plain = _dump(
            world, step, into, source, connection, run_id=run_id, commit_sha=commit_sha, reconnects=reconnects
        )  # fmt: skip
        manifest = plain.manifest if kept.encryption == "none" else _encrypt(world, step, plain, directory, kept.encryption)
        manifest = _describe(manifest, directory, world.settings)
        world.reached("B6")
        copies = copying.put(world, step, asked, directory / manifest.file, manifest)
        world.reached("B8")
        yield Taken(backup=replace(plain, manifest=manifest), copies=copies, asked=asked)


def _ask(world: World, source: Source, kept: Safekeeping) -> tuple[Asked, ...]:
    """Everything a backup needs beside the database, asked before it is begun."""
    tls_modes = {"require", "verify-ca", "verify-full"}
    clients.require_for_backup(source.client, encrypted=parameters(source.url).get("sslmode") in tls_modes)
    encryption.require(
        world.settings.backup_recipients, gnupg_home=world.settings.backup_access.gnupg_home,
        timeout_s=world.settings.backup_timeout_s,
    )  # fmt: skip
    return copying.ask(kept.stores, size_bytes=int(source.size_bytes * dump.FREE_SHARE))


def _dump(
    world: World, step: Step, into: Path, source: Source, connection: Connection, *, run_id: str, commit_sha: str | None,
    reconnects: bool,
) -> Backup:  # fmt: skip
    def attempt(on: Connection) -> Backup:
        return dump.take(
            source, into, connection=on, run_id=run_id, commit_sha=commit_sha, clock=world.clock,
            timeout_s=world.settings.backup_timeout_s, reached=world.reached,
            progress=lambda written, tables, of: step.progress(written, None, "bytes", besides=f"{tables} of {of} tables"),
        )  # fmt: skip

    try:
        return attempt(connection)
    except Refused as cause:
        if cause.code != "backup_cut_off" or not (reconnects or _lives(connection)):
            raise
        world.tell(Noted(text=f"{cause.message} Once more, in {_AGAIN_AFTER_S:.0f} s.", level="warning"))
    world.clock.sleep(_AGAIN_AFTER_S)
    if _lives(connection):
        return attempt(connection)
    with session(source.url, application_name=source.application_name) as another:
        return attempt(another)


def _lives(connection: Connection) -> bool:
    try:
        connection.execute("SELECT 1")
    except psycopg.Error:
        return False
    return True


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
        manifests.describe(signed, directory)
    return signed


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
        chosen = nets.of(world.settings, connection)
        for sentence in nets.sentences_by_hand(chosen):
            world.tell(Noted(text=sentence, level="note" if chosen.kind == "whole" else "warning"))
        source = Source(
            url=url, client=client, size_bytes=chosen.size_bytes - chosen.without_bytes, application_name=READER_NAME,
            compression="zstd" if clients.zstd(client) else "1", without_data=chosen.without_data,
        )  # fmt: skip
        try:
            with backed_up(
                world, step, source=source, connection=connection, run_id=run_id, commit_sha=commit_sha, reconnects=True
            ) as taken:
                step.says(_in_words(taken))
        except Refused:
            with contextlib.suppress(OSError):
                mark.touch(mode=0o600)
            raise
    mark.unlink(missing_ok=True)
    _make_up(world, taken)
    return taken


def _make_up(world: World, taken: Taken) -> None:
    """Copies that stores lack of earlier backups, a few of them: one that was not to be had then may be by now."""
    for asked in taken.asked:
        there = {**asked.sizes, **dict.fromkeys((taken.backup.manifest.file + names.MANIFEST,), 1)}
        left = len(copying.missing(world, wanted := replace(asked, sizes=there)))
        if left:
            with told(world.tell, world.clock, "copies", f"Making up for copies in {asked.store.url}") as step:
                made = sum(copy.failed is None for _, copy in copying.make_up(world, step, wanted, at_most=_MADE_UP))
                step.says(f"{made} of {left} missing copies made" + _the_rest(left - made))


def _the_rest(count: int) -> str:
    return f"; `autopilot backup copy` makes the other {count}" if count else ""


def _in_words(taken: Taken) -> str:
    manifest = taken.backup.manifest
    how = "not encrypted" if manifest.encryption == "none" else f"encrypted with {manifest.encryption}"
    copies = sum(copy.failed is None for copy in taken.copies)
    where = f", in {copies} of {len(taken.copies)} stores" if taken.copies else ""
    unread = f", {manifest.absent.words}" if manifest.absent else ""
    return f"{manifest.file}: {manifest.size_bytes:,} bytes, {counted(sum(manifest.rows.values()), 'row')}{unread}, {how}{where}"
