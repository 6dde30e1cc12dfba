"""The backups of a directory, newest first, and what each is worth."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from autopilot.backups import manifest as manifests
from autopilot.backups import names
from autopilot.backups.manifest import Manifest, Signature
from autopilot.backups.partial import sync_directory
from autopilot.errors import Refused
from autopilot.secret import Secret


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    file: str
    #: "good", "damaged", "missing" or "no manifest".
    state: str
    manifest: Manifest | None
    why: str
    signature: Signature = "unsigned"

    def but(self, *, state: str, why: str) -> Entry:
        return replace(self, state=state, why=why)


def entries(directory: Path, *, verify: bool, only: str | None = None, secrets: tuple[Secret, ...] = ()) -> tuple[Entry, ...]:
    """One entry a backup, or the one called `only`. With `verify` each is hashed; without, only its size is compared.

    secrets: those that may have signed the manifests.
    """
    if not directory.is_dir():
        return ()
    found = [
        _entry(path, verify=verify, secrets=secrets)
        for path in directory.glob("backup_*" + names.MANIFEST)
        if only in {None, path.name.removesuffix(names.MANIFEST)}
    ]
    known = {entry.file for entry in found}
    bare = [
        Entry(file=path.name, state="no manifest", manifest=None, why="it was never finished, or not made by Autopilot")
        for path in directory.glob("backup_*")
        if names.is_backup(path.name) and path.name not in known and only in {None, path.name}
    ]
    return tuple(sorted(found + bare, key=lambda entry: entry.file, reverse=True))


def described(file: str, data: bytes, *, secrets: tuple[Secret, ...]) -> Entry:
    """The backup called `file`, as its manifest's bytes describe it. Raises Refused (`bad_manifest`)."""
    manifest = manifests.parse(data, file + names.MANIFEST)
    signature = manifests.signature_state(data, secrets)
    forged = "its manifest was not signed with AUTOPILOT_SECRET, or changed since"
    return Entry(
        file=file,
        state="damaged" if signature == "forged" else "good",
        manifest=manifest,
        why=forged if signature == "forged" else "",
        signature=signature,
    )


def _entry(path: Path, *, verify: bool, secrets: tuple[Secret, ...]) -> Entry:
    file = path.name.removesuffix(names.MANIFEST)
    try:
        entry = described(file, manifests.raw(path), secrets=secrets)
    except Refused as cause:
        return Entry(file=file, state="damaged", manifest=None, why=str(cause))
    return entry if entry.state != "good" or entry.manifest is None else _held_against(entry, entry.manifest, path, verify)


def _held_against(entry: Entry, manifest: Manifest, path: Path, verify: bool) -> Entry:
    """The entry, now that its file was looked at."""
    backup = path.with_name(entry.file)
    try:
        if verify:
            manifests.check(manifest, backup)
        elif _size_bytes(backup) != manifest.size_bytes:
            return entry.but(state="damaged", why="its size is not the manifest's")
    except Refused as cause:
        return entry.but(state="missing" if cause.code == "backup_missing" else "damaged", why=str(cause))
    except FileNotFoundError:
        return entry.but(state="missing", why="the file is gone")
    except OSError as cause:
        return entry.but(state="damaged", why=f"it cannot be read: {cause.strerror}")
    return entry


def _size_bytes(path: Path) -> int:
    with manifests.regular(path) as stream:
        return stream.seek(0, 2)


def next_older_good(found: Iterable[Entry], file: str) -> str | None:
    """The newest good backup that is older than the one called `file`, by name: names begin with the time."""
    return max((entry.file for entry in found if entry.state == "good" and entry.file < file), default=None)


def older_good(directory: Path, file: str, *, secrets: tuple[Secret, ...] = (), signed: bool = False) -> str | None:
    """The same in a directory, proven by its hash: only as many are read as must be. signed: others do not count."""
    found = [e for e in entries(directory, verify=False, secrets=secrets) if e.signature == "valid" or not signed]
    while (older := next_older_good(found, file)) is not None:
        hashed = entries(directory, verify=True, only=older, secrets=secrets)
        if hashed and hashed[0].state == "good":
            return older
        file = older
    return None


def delete(directory: Path, file: str) -> None:
    """The manifest first: a backup without one never counts. Raises OSError."""
    backup = directory / file
    manifests.path_of(backup).unlink(missing_ok=True)
    sync_directory(directory)
    backup.unlink(missing_ok=True)
    sync_directory(directory)
