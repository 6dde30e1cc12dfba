"""A backup's manifest: written last, so that a backup without one never counts."""

from __future__ import annotations

import hashlib
import hmac
import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from io import BufferedReader
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from autopilot.backups import names
from autopilot.backups.partial import sync_directory, trouble
from autopilot.backups.platform import Absent
from autopilot.backups.roles import Rights, Role
from autopilot.errors import Refused
from autopilot.secret import Secret

SUFFIX = names.MANIFEST
#: A manifest of a million objects is smaller; a planted one shall not fill our memory.
CAP_BYTES = 256 << 20

Encryption = Literal["none", "age", "gpg"]
#: "unsigned": nobody signed it. "unknown": it is signed, and no secret is here to tell. "forged": not by our secret.
Signature = Literal["valid", "forged", "unsigned", "unknown"]
_Sha256 = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]
_Size = Annotated[int, msgspec.Meta(ge=0)]


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What a backup is, and how to know that it still is."""

    format_version: int
    file: str
    #: Of the file as it lies there: the cipher's, where it is encrypted.
    size_bytes: _Size
    sha256: _Sha256
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
    #: The role that dumped, and all roles of the server (without passwords): what is in the dump names them.
    role: str = ""
    roles: tuple[Role, ...] = ()
    database_rights: Rights = Rights()
    #: A platform's own schemas that the role may not read, and what of the user's hangs on them.
    absent: Absent = Absent()
    #: Exact rows by "schema.table" in the dump's own snapshot.
    rows: dict[str, int]
    #: The rest of the fingerprint (`backups.fingerprint`), taken in the same snapshot; empty in backups that have none.
    sums: dict[str, str] = {}
    objects: dict[str, str] = {}
    sequences: dict[str, int] = {}
    large_objects: tuple[int, str] | None = None
    #: Tables, "schema.table", whose rows were left out because the database is a big one.
    without_data: tuple[str, ...] = ()
    #: What the database took on its server's disk.
    database_bytes: _Size | None = None
    encryption: Encryption = "none"
    #: Public keys whose owners can open it.
    recipients: tuple[str, ...] = ()
    #: Of the archive inside an encrypted file.
    plain_size_bytes: _Size | None = None
    plain_sha256: _Sha256 | None = None
    #: Proves that whoever wrote this knew AUTOPILOT_SECRET.
    hmac: str | None = None


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


def describe(manifest: Manifest, directory: Path) -> None:
    """Writes the manifest; a backup that cannot be described is taken away again. Raises Refused as `partial` does."""
    target = directory / manifest.file
    try:
        write(manifest, directory)
    except OSError as cause:
        target.unlink(missing_ok=True)
        with suppress(OSError):
            path_of(target).with_name(path_of(target).name + ".partial").unlink()
        raise trouble(cause, directory) from cause


def read(path: Path) -> Manifest:
    """Raises Refused (`bad_manifest`) for whatever is not the manifest of the file whose name it bears."""
    return parse(raw(path), path.name)


def raw(path: Path) -> bytes:
    """A manifest's bytes, read from a regular file of a sensible size only. Raises Refused (`bad_manifest`)."""
    try:
        with regular(path) as stream:
            data = stream.read(CAP_BYTES + 1)
    except OSError as cause:
        raise bad(path.name, cause.strerror or str(cause)) from cause
    if len(data) > CAP_BYTES:
        raise bad(path.name, f"it is larger than {CAP_BYTES >> 20} MiB")
    return data


def parse(data: bytes, name: str) -> Manifest:
    """The manifest called `name`. Raises Refused (`bad_manifest`)."""
    try:
        manifest = msgspec.json.decode(data, type=Manifest)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as cause:
        raise bad(name, str(cause)) from cause
    if not names.is_backup(manifest.file) or manifest.file + SUFFIX != name:
        raise bad(name, "it describes another file than the one it lies beside")
    if manifest.encryption != "none" and (manifest.plain_sha256 is None or manifest.plain_size_bytes is None):
        raise bad(name, "it does not say what is inside the encrypted file")
    return manifest


def bad(name: str, why: str) -> Refused:
    return Refused(
        f"The manifest {name} cannot be relied on: {why}.",
        code="bad_manifest",
        hint="Treat that backup as missing; `autopilot backup list` shows the others.",
    )


@contextmanager
def regular(path: Path) -> Iterator[BufferedReader]:
    """A plain file, open for reading: no link is followed, and no pipe or device waited for. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as stream:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(0, "it is not a regular file", str(path))
        yield stream


def sign(manifest: Manifest, secret: Secret) -> Manifest:
    """The manifest with proof that whoever wrote it knew `secret`."""
    return msgspec.structs.replace(manifest, hmac=_proof(msgspec.to_builtins(manifest), secret))


def signature_state(data: bytes, secrets: Iterable[Secret]) -> Signature:
    """What the bytes of a manifest prove, with the secrets known here (two, while they are rotated).

    The bytes and not their meaning: a field that a later version adds is covered too.
    """
    document = msgspec.json.decode(data)
    proof = document.get("hmac")
    if proof is None:
        return "unsigned"
    known = tuple(secrets)
    if not known:
        return "unknown"
    fits = any(hmac.compare_digest(str(proof).encode(), _proof(document, secret).encode()) for secret in known)
    return "valid" if fits else "forged"


def _proof(document: dict[str, Any], secret: Secret) -> str:
    key = hmac.digest(secret.reveal().encode(), b"autopilot: backup manifest", "sha256")
    unsigned = {name: value for name, value in document.items() if name != "hmac"}
    return hmac.digest(key, msgspec.json.encode(unsigned, order="deterministic"), "sha256").hex()


def check(manifest: Manifest, backup: Path) -> None:
    """Whether the file is still the one described. Raises Refused (`backup_missing`, `backup_damaged`)."""
    try:
        with regular(backup) as stream:
            fits = os.fstat(stream.fileno()).st_size == manifest.size_bytes and _digest(stream) == manifest.sha256
    except FileNotFoundError as cause:
        raise Refused(
            f"The backup {backup.name} is not there: {cause.strerror}.",
            code="backup_missing",
            hint="Fetch it again, or use another.",
        ) from cause
    except OSError as cause:
        raise damaged(backup.name, f"cannot be read: {cause.strerror}") from cause
    if not fits:
        raise damaged(backup.name, "is not what its manifest describes (size or SHA-256 differ)")


def damaged(name: str, how: str) -> Refused:
    return Refused(
        f"The backup {name} {how}.",
        code="backup_damaged",
        hint="Do not restore it; `autopilot backup list` shows the others.",
    )


def sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return _digest(stream)


def _digest(stream: BufferedReader) -> str:
    return hashlib.file_digest(stream, "sha256").hexdigest()
