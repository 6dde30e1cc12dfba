"""The backups of a directory, newest first."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from autopilot.backups import manifest as manifests
from autopilot.backups.dump import is_backup_name
from autopilot.backups.manifest import Manifest
from autopilot.errors import Refused


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    file: str
    #: "good", "damaged", "missing" or "no manifest".
    state: str
    manifest: Manifest | None
    why: str


def entries(directory: Path, *, verify: bool, only: str | None = None) -> tuple[Entry, ...]:
    """One entry a backup, or the one called `only`. With `verify` each is hashed; without, only its size is compared."""
    if not directory.is_dir():
        return ()
    described = [
        _entry(path, verify=verify)
        for path in directory.glob("backup_*" + manifests.SUFFIX)
        if only in {None, path.name.removesuffix(manifests.SUFFIX)}
    ]
    known = {entry.file for entry in described}
    bare = [
        Entry(file=path.name, state="no manifest", manifest=None, why="it was never finished, or not made by Autopilot")
        for path in directory.glob("backup_*.dump")
        if is_backup_name(path.name) and path.name not in known and only in {None, path.name}
    ]
    return tuple(sorted(described + bare, key=lambda entry: entry.file, reverse=True))


def _entry(path: Path, *, verify: bool) -> Entry:
    file = path.name.removesuffix(manifests.SUFFIX)
    try:
        manifest = manifests.read(path)
    except Refused as cause:
        return Entry(file=file, state="damaged", manifest=None, why=str(cause))
    try:
        if verify:
            manifests.check(manifest, path.with_name(file))
        elif path.with_name(file).stat().st_size != manifest.size_bytes:
            return Entry(file=file, state="damaged", manifest=manifest, why="its size is not the manifest's")
    except Refused as cause:
        return Entry(
            file=file, state="missing" if cause.code == "backup_missing" else "damaged", manifest=manifest, why=str(cause)
        )
    except OSError:
        return Entry(file=file, state="missing", manifest=manifest, why="the file is gone")
    return Entry(file=file, state="good", manifest=manifest, why="")
