"""Backups encrypted by age, which is part of Autopilot: to public keys, and back with the identities that open them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from autopilot.backups import manifest as manifests
from autopilot.backups.encrypted import PIECE_BYTES, Keys, Progress, Written, bad_recipient, not_encrypted, not_opened
from autopilot.backups.manifest import Manifest
from autopilot.backups.partial import Partial
from autopilot.errors import Refused, UsageError

if TYPE_CHECKING:
    from pyrage import x25519


@dataclass(slots=True)
class _Reader:
    """A file for age to read; keeps what went wrong, which age would put into words of its own."""

    stream: BinaryIO
    progress: Progress
    count: int = 0
    cause: BaseException | None = None

    def read(self, size: int = -1) -> bytes:
        try:
            piece = self.stream.read(size)
            if (self.count + len(piece)) // PIECE_BYTES != self.count // PIECE_BYTES:
                self.progress(self.count + len(piece))
        except BaseException as cause:
            self.cause = cause
            raise
        self.count += len(piece)
        return piece


class _Writer:
    """A file for age to write, hashed on the way; refuses to become longer than it may."""

    def __init__(self, target: Partial, *, at_most_bytes: int | None = None) -> None:
        self.cause: BaseException | None = None
        self._target, self._at_most_bytes = target, at_most_bytes
        self._hash, self._count, self._waiting = hashlib.sha256(), 0, bytearray()

    def write(self, piece: bytes) -> int:
        if self.cause is not None:
            raise self.cause  # age tries once more to get rid of what it has
        try:
            self._waiting += piece
            if self._at_most_bytes is not None and self._count + len(self._waiting) > self._at_most_bytes:
                raise manifests.damaged(self._target.name, "is longer than its manifest says")
            if len(self._waiting) >= PIECE_BYTES:
                self.flush()
        except BaseException as cause:
            self.cause = cause
            raise
        return len(piece)

    def flush(self) -> None:
        self._target.write(self._waiting)
        self._hash.update(self._waiting)
        self._count += len(self._waiting)
        self._waiting.clear()

    def written(self) -> Written:
        self.flush()
        return Written(size_bytes=self._count, sha256=self._hash.hexdigest())


def write(plain: Path, target: Partial, recipients: tuple[str, ...], progress: Progress) -> Written:
    import pyrage

    with manifests.regular(plain) as source:
        reader, writer = _Reader(source, progress), _Writer(target)
        try:
            pyrage.encrypt_io(reader, writer, list(recipients_of(recipients)))
        except (pyrage.EncryptError, OSError) as cause:
            raise (
                reader.cause or writer.cause or not_encrypted(f"age says: {cause}", "Check backup_recipients in autopilot.toml.")
            ) from cause
        return writer.written()


def open_to(
    cipher: Path, target: Partial, identities: tuple[x25519.Identity, ...], manifest: Manifest, progress: Progress
) -> Written:
    import pyrage

    with manifests.regular(cipher) as source:
        reader, writer = _Reader(source, progress), _Writer(target, at_most_bytes=manifest.plain_size_bytes)
        try:
            pyrage.decrypt_io(reader, writer, list(identities))
        except (pyrage.DecryptError, OSError) as cause:
            raise (reader.cause or writer.cause or not_opened(cipher.name, str(cause))) from cause
        return writer.written()


def recipients_of(recipients: tuple[str, ...]) -> tuple[x25519.Recipient, ...]:
    import pyrage

    found = []
    for recipient in recipients:
        try:
            found.append(pyrage.x25519.Recipient.from_str(recipient.strip()))
        except pyrage.RecipientError as cause:
            shown = "a secret key" if recipient.upper().startswith("AGE-SECRET-KEY") else repr(recipient[:80])
            raise bad_recipient(f"{shown} is no age public key") from cause
    return tuple(found)


def identities(name: str, keys: Keys) -> tuple[x25519.Identity, ...]:
    import pyrage

    if not keys.for_age():
        raise Refused(
            f"The backup {name} is encrypted, and no key to open it is here.",
            code="no_identity",
            hint="Set AUTOPILOT_AGE_IDENTITY_FILE (or AUTOPILOT_AGE_IDENTITY) where the key is kept, and run there.",
        )
    lines = [line.strip() for line in _identity_text(keys).splitlines()]
    try:
        found = tuple(pyrage.x25519.Identity.from_str(line) for line in lines if line and not line.startswith("#"))
    except pyrage.IdentityError:
        found = ()
    if not found:
        raise _bad_identity("it holds no AGE-SECRET-KEY-1… line that age understands")
    return found


def _identity_text(keys: Keys) -> str:
    if keys.age_identity is not None:
        return keys.age_identity.reveal()
    try:
        return (keys.age_identity_file or Path()).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as cause:
        raise _bad_identity(f"{keys.age_identity_file}: {getattr(cause, 'strerror', None) or 'it is not text'}") from None


def _bad_identity(why: str) -> UsageError:
    return UsageError(
        f"The age identity cannot be used: {why}.",
        code="bad_identity",
        hint="Set AUTOPILOT_AGE_IDENTITY to the key's text, or AUTOPILOT_AGE_IDENTITY_FILE to its file (as age-keygen wrote it).",
    )
