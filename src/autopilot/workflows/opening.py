"""Proves backups, and brings them back from stores: check → decrypt → read whole."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from autopilot import programs
from autopilot.backups import catalog, encryption, names, partial, stores, work
from autopilot.backups import manifest as manifests
from autopilot.backups.catalog import Entry
from autopilot.backups.dump import Backup
from autopilot.backups.encrypted import Keys
from autopilot.backups.manifest import Manifest
from autopilot.config import Settings
from autopilot.errors import AutopilotError, Refused, UsageError
from autopilot.events import Event, Noted, Step, Tell, told
from autopilot.postgres import clients, patch_level
from autopilot.postgres.clients import Installation
from autopilot.secret import Secret
from autopilot.workflows import backing_up
from autopilot.workflows.world import World


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    entry: Entry
    #: Whether the archive was decrypted and read to its end; None: no key is here.
    read_whole: bool | None
    #: Why it was not, where the file itself is what was made.
    why_not: str | None = None
    #: The next older backup that is good, where this one is not.
    instead: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    store: str
    manifest: Manifest
    #: The backup as it lay in the store.
    path: Path
    #: The archive that pg_restore reads; None where no key opened it.
    plain: Path | None


def keys(settings: Settings) -> Keys:
    a = settings.backup_access
    return Keys(age_identity=a.age_identity, age_identity_file=a.age_identity_file, gnupg_home=a.gnupg_home)


def can_open(settings: Settings, encryption: manifests.Encryption) -> bool:
    """Whether it is worth a try; which key it takes, shows then."""
    if encryption == "gpg":
        return shutil.which("gpg") is not None
    return encryption == "none" or keys(settings).for_age()


def verify(world: World, files: tuple[str, ...], *, allow_unsigned: bool = False) -> tuple[Verified, ...]:
    """`autopilot backup verify`: each of `files`, or every backup here. Raises Refused (`backup_missing`), UsageError.

    allow_unsigned: whether one that is not signed may be opened although there is a secret to sign with.
    """
    directory, world = world.settings.backups_dir, replace(world, tell=_warns_once(world.tell))
    if not files:
        found = catalog.entries(directory, verify=False, secrets=world.settings.backup_access.signing)
        return tuple(_verified(world, directory, entry.file, allow_unsigned=allow_unsigned) for entry in found)
    return tuple(_verified(world, *_place(directory, file), allow_unsigned=allow_unsigned) for file in files)


def _warns_once(tell: Tell) -> Tell:
    """What is to be warned of with every backup alike is said of the first: a warning begins with the file's name."""
    said = set()

    def told_once(event: Event) -> None:
        if isinstance(event, Noted) and event.level == "warning":
            about = event.text.partition(" ")[2]
            if about in said:
                return
            said.add(about)
        tell(event)

    return told_once


def _place(directory: Path, file: str) -> tuple[Path, str]:
    """A name means one in the backups directory; a path means itself. A manifest's name means its backup."""
    path = Path(file.removesuffix(names.MANIFEST))
    return (path.parent, path.name) if "/" in file else (directory, path.name)


def _verified(world: World, directory: Path, file: str, *, allow_unsigned: bool) -> Verified:
    secrets = world.settings.backup_access.signing
    with told(world.tell, world.clock, "verify", f"Verifying {file}") as step:
        found = catalog.entries(directory, verify=True, only=file, secrets=secrets)
        entry = found[0] if found else _nothing(directory, file)
        read_whole: bool | None = False
        why_not, unsigned = None, False
        if entry.state == "good" and entry.manifest is not None:
            try:
                _refuse_unsigned(secrets, entry, allow_unsigned=allow_unsigned)
                read_whole = _read(world, step, directory / file, entry.manifest)
            except Refused as cause:
                why_not = cause.message
                if cause.code in {"backup_damaged", "backup_unreadable"}:
                    entry = entry.but(state="damaged", why=cause.message)
                elif cause.code not in {"wrong_identity", "backup_not_signed"}:
                    raise
                unsigned = cause.code == "backup_not_signed"
        step.says(f"{file}: {entry.state}" + (f", {entry.why}" if entry.why else ""))
        step.state = "done" if entry.state == "good" and read_whole is not False else "failed"
    bad = unsigned or entry.state != "good"
    instead = catalog.older_good(directory, file, secrets=secrets, signed=unsigned) if bad else None
    return Verified(entry=entry, read_whole=read_whole, why_not=why_not, instead=instead)


def _refuse_unsigned(secrets: tuple[Secret, ...], entry: Entry, *, allow_unsigned: bool) -> None:
    """An archive that nobody signed is not even read where ours are: pg_restore shall not meet a stranger's."""
    if secrets and entry.signature == "unsigned" and not allow_unsigned:
        raise Refused(
            "it is not signed, and AUTOPILOT_SECRET is set: nothing proves that it is ours",
            code="backup_not_signed",
            hint="If it is older than the secret, verify it with --allow-unsigned.",
        )


def warn_of_strangers(world: World, client: Installation, manifest: Manifest) -> None:
    """Says so where an archive that nobody signed is read by programs that are known to be open to a crafted one."""
    text = None if manifest.hmac is not None else patch_level.warning(client, manifest.file)
    if text is not None:
        world.tell(Noted(text=text, level="warning"))


def _nothing(directory: Path, file: str) -> Entry:
    exists = (directory / file).exists()
    why = "it is not called as a backup of ours, or has no manifest" if exists else f"{directory} holds no such backup"
    return Entry(file=file, state="no manifest" if exists else "missing", manifest=None, why=why)


@contextlib.contextmanager
def opened(world: World, step: Step, backup: Path, manifest: Manifest) -> Iterator[Backup]:
    """The backup with its plain archive at hand: itself, or decrypted into a private directory until the block ends.

    Raises what `decrypt` raises; a plain one is not hashed again.
    """
    if manifest.encryption == "none":
        yield Backup(path=backup, manifest=manifest)
        return
    with work.directory(backup.parent) as private:
        plain = private / names.plain(backup.name)
        _decrypt(world, step, backup, plain, manifest)
        yield Backup(path=plain, manifest=manifest)


def _read(world: World, step: Step, backup: Path, manifest: Manifest) -> bool | None:
    """Whether the archive was read to its end; None where it is encrypted and no key is here."""
    if not can_open(world.settings, manifest.encryption):
        world.tell(Noted(text=f"{backup.name} is what was made; no key is here to open it and read what is inside."))
        return None
    with opened(world, step, backup, manifest) as found:
        return _read_whole(world, found.path, manifest)


def _read_whole(world: World, archive: Path, manifest: Manifest) -> bool:
    """Raises Refused (`backup_unreadable`, `client_too_old`)."""
    found = clients.installations(world.settings.postgres_bin_dir)
    client = clients.for_dump(found, server_major=int(manifest.tool_version.split(".", 1)[0]))
    warn_of_strangers(world, client, manifest)
    argv = (client.tool("pg_restore"), "--file=/dev/null", str(archive))
    finished = programs.run(programs.Command(argv=argv, timeout_s=world.settings.backup_timeout_s))
    if not finished.ok:
        raise Refused(
            f"The backup {archive.name} cannot be read; pg_restore says: {' '.join(finished.stderr.split())[:400]}",
            code="backup_unreadable",
            hint="Do not restore it; `autopilot backup list` shows the others.",
        )
    return True


def _decrypt(world: World, step: Step, cipher: Path, plain: Path, manifest: Manifest) -> None:
    encryption.decrypt(
        cipher, plain, manifest=manifest, keys=keys(world.settings), timeout_s=world.settings.backup_timeout_s,
        progress=lambda read: step.progress(read, manifest.size_bytes, "bytes"),
    )  # fmt: skip


def fetch(world: World, file: str, *, source: str | None, to: Path | None, allow_unsigned: bool) -> Fetched:
    """`autopilot backup fetch`: find → download → check → decrypt where a key is.

    Raises Refused (`unknown_backup`, `bad_manifest`, `backup_damaged`, `backup_not_signed`, `backup_exists`, `store_*`, and what
    `decrypt` raises) and UsageError (`unknown_store`, `no_store`, what `safekeeping` raises).
    """
    settings = world.settings
    file = file.removesuffix(names.MANIFEST)
    directory = to or settings.backups_dir
    candidates = _named(backing_up.safekeeping(settings).stores, source)
    with told(world.tell, world.clock, "fetch", f"Fetching {file}") as step:
        store, entry = _find(world, candidates, file, allow_unsigned=allow_unsigned)
        total = None if entry.manifest is None else entry.manifest.size_bytes
        _prepare(directory)
        path = stores.fetch(store, file, directory, progress=lambda count: step.progress(count, total, "bytes"))
        manifest = manifests.read(manifests.path_of(path))
        plain = _opened(world, step, path, manifest)
        step.says(
            f"{path.name} from {store.url}: {manifest.size_bytes:,} bytes, whole" + (", decrypted" if plain != path else "")
        )
    return Fetched(store=store.url, manifest=manifest, path=path, plain=plain)


def _named(found: tuple[stores.Store, ...], source: str | None) -> tuple[stores.Store, ...]:
    if not found:
        raise UsageError(
            "There is no store to fetch from.", code="no_store", hint="Add a [[backup_store]] table to autopilot.toml."
        )
    chosen = tuple(s for s in found if source is None or s.url.rstrip("/") == source.rstrip("/"))
    if not chosen:
        raise UsageError(
            f"No store is called {source!r}; there are: {', '.join(s.url for s in found)}.",
            code="unknown_store",
            hint="Give one of those to --from, as autopilot.toml names it.",
        )
    return chosen


def _find(world: World, found: tuple[stores.Store, ...], file: str, *, allow_unsigned: bool) -> tuple[stores.Store, Entry]:
    """The first store with a good copy; where there is none, the clearest reason."""
    reasons: list[AutopilotError] = []
    for store in found:
        try:
            return store, _good(world, store, file, allow_unsigned=allow_unsigned)
        except Refused as cause:
            reasons.append(cause)
    raise next((r for r in reasons if r.code != "unknown_backup"), reasons[0])


def _good(world: World, store: stores.Store, file: str, *, allow_unsigned: bool) -> Entry:
    secrets = world.settings.backup_access.signing
    found = stores.entries(store, secrets=secrets)
    entry = next((e for e in found if e.file == file), None)
    if entry is None:
        raise Refused(
            f"The backup store {store.url} holds no {file}.",
            code="unknown_backup",
            hint="`autopilot backup list` names what lies where.",
        )
    older = next((e.file for e in found if e.state == "good" and e.file < file), None)
    hint = f"The next older good backup there is {older}." if older else "There is no older good one there."
    if entry.state != "good":
        raise Refused(f"{file} in {store.url} cannot be used: {entry.why}", code="backup_damaged", hint=hint)
    if secrets and entry.signature == "unsigned" and not allow_unsigned:
        raise Refused(
            f"{file} in {store.url} is not signed, and AUTOPILOT_SECRET is set: nothing proves that it is ours.",
            code="backup_not_signed",
            hint=f"If it is older than the secret, fetch it with --allow-unsigned. {hint}",
        )
    return entry


def _prepare(directory: Path) -> None:
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as cause:
        raise partial.trouble(cause, directory) from cause


def _opened(world: World, step: Step, path: Path, manifest: Manifest) -> Path | None:
    """The plain archive beside the fetched one, with a manifest of its own."""
    if manifest.encryption == "none":
        return path
    if not can_open(world.settings, manifest.encryption):
        world.tell(Noted(text=f"{path.name} stays encrypted: no key is here. Set AUTOPILOT_AGE_IDENTITY_FILE to open it."))
        return None
    plain = path.with_name(names.plain(path.name))
    _decrypt(world, step, path, plain, manifest)
    described = msgspec.structs.replace(
        manifest, file=plain.name, size_bytes=manifest.plain_size_bytes or 0, sha256=manifest.plain_sha256 or "",
        encryption="none", recipients=(), plain_size_bytes=None, plain_sha256=None, hmac=None,
    )  # fmt: skip
    signing = world.settings.backup_access.signing
    try:
        manifests.write(manifests.sign(described, signing[0]) if signing else described, plain.parent)
    except OSError as cause:
        raise partial.trouble(cause, plain.parent) from cause
    return plain
