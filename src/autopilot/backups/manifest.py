"""A backup's manifest: written last, so that a backup without one never counts."""

from __future__ import annotations

import hashlib
import os
from datetime import datetime
from pathlib import Path

import msgspec

from autopilot.errors import Refused

SUFFIX = ".manifest.json"


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What a backup is, and how to know that it still is."""

    format_version: int
    file: str
    size_bytes: int
    sha256: str
    taken_at: datetime
    duration_ms: int
    run_id: str
    commit_sha: str | None
    database: str
    #: Tells two databases of the same name apart.
    database_oid: int
    system_identifier: str | None
    server_version: str
    tool: str
    tool_version: str
    compression: str
    #: Write-ahead log position the dump is no older than.
    lsn: str | None
    #: Exact rows by "schema.table" in the dump's own snapshot.
    rows: dict[str, int]


def path_of(backup: Path) -> Path:
    return backup.with_name(backup.name + SUFFIX)


def write(manifest: Manifest, directory: Path) -> Path:
    """Durably and under its final name in one step. Raises OSError."""
    target = path_of(directory / manifest.file)
    partial = target.with_name(target.name + ".partial")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(msgspec.json.format(msgspec.json.encode(manifest), indent=2) + b"\n")
        stream.flush()
        os.fsync(stream.fileno())
    partial.rename(target)
    sync_directory(directory)
    return target


def read(path: Path) -> Manifest:
    """Raises Refused (`bad_manifest`)."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Manifest)
    except (OSError, msgspec.DecodeError) as cause:
        raise Refused(
            f"The manifest {path.name} cannot be read: {cause}.",
            code="bad_manifest",
            hint="Treat that backup as missing; `autopilot backup list` shows the others.",
        ) from cause


def check(manifest: Manifest, backup: Path) -> None:
    """Whether the file is still the one described. Raises Refused (`backup_missing`, `backup_damaged`)."""
    try:
        size_bytes = backup.stat().st_size
    except OSError as cause:
        raise Refused(
            f"The backup {backup.name} is not there: {cause.strerror}.",
            code="backup_missing",
            hint="Fetch it again, or use another.",
        ) from cause
    if size_bytes != manifest.size_bytes or sha256(backup) != manifest.sha256:
        raise Refused(
            f"The backup {backup.name} is not what its manifest describes (size or SHA-256 differ).",
            code="backup_damaged",
            hint="Do not restore it; `autopilot backup list` shows the others.",
        )


def sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
