"""Encrypts backups to public keys, and opens them again: decrypt → check against the manifest → only then a name.

Whoever takes backups holds public keys only. age is part of Autopilot; GnuPG is a program called by argument list.
"""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from autopilot import programs
from autopilot.backups import manifest as manifests
from autopilot.backups.manifest import Encryption, Manifest
from autopilot.backups.partial import Partial, partial
from autopilot.errors import Refused, UsageError
from autopilot.secret import Secret

if TYPE_CHECKING:
    from pyrage import x25519

_GPG = "gpg:"
_FINGERPRINT = re.compile(r"[0-9A-F]{40}|[0-9A-F]{64}")
_PIECE_BYTES = 1 << 20
_GPG_PROBE_S = 30.0

Progress = Callable[[int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Keys:
    """What there is to open a backup with; a machine that only takes backups has none of it."""

    age_identity: Secret | None = None
    age_identity_file: Path | None = None
    #: GnuPG's home; None = the user's own.
    gnupg_home: Path | None = None

    def for_age(self) -> bool:
        return self.age_identity is not None or self.age_identity_file is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """What a file came to, hashed as it was written."""

    size_bytes: int
    sha256: str


def kind(recipients: tuple[str, ...]) -> Encryption:
    """How backups for these recipients are encrypted. Raises UsageError (`bad_recipient`)."""
    kinds: set[Encryption] = {"gpg" if recipient.startswith(_GPG) else "age" for recipient in recipients}
    if len(kinds) > 1:
        raise _bad_recipient("age and GnuPG recipients cannot open one and the same file")
    found: Encryption = next(iter(kinds), "none")
    if found == "gpg":
        _fingerprints(recipients)
    elif found == "age":
        _age_recipients(recipients)
    return found


def require(recipients: tuple[str, ...], *, gnupg_home: Path | None, timeout_s: float) -> None:
    """That something can be encrypted to them here: gpg is asked to, once, before a backup is taken for it.

    Raises UsageError (`bad_recipient`) and Refused (`encryption_failed`, `program_*`).
    """
    if kind(recipients) != "gpg":
        return
    argv = _gpg("--encrypt", *(f"--recipient={f}" for f in _fingerprints(recipients)))
    with tempfile.TemporaryFile() as nowhere:
        said = _through_gpg((*argv, "--", os.devnull), nowhere, gnupg_home=gnupg_home, timeout_s=min(timeout_s, _GPG_PROBE_S))
    if said is not None:
        raise _not_encrypted(f"gpg says: {said}", "Import the recipient's public key (gpg --import), then run again.")


def encrypt(
    plain: Path, target: Path, *, recipients: tuple[str, ...], gnupg_home: Path | None, timeout_s: float, progress: Progress
) -> Written:
    """Writes `target`, which only the recipients can open. `progress` is told the plain bytes read so far.

    Raises UsageError (`bad_recipient`) and Refused (`encryption_failed`, `no_space`, `backup_directory`, `backup_exists`,
    `program_*`).
    """
    with partial(target) as cipher:
        if kind(recipients) == "gpg":
            argv = _gpg("--compress-algo", "none", "--encrypt", *(f"--recipient={f}" for f in _fingerprints(recipients)))
            said = _through_gpg((*argv, "--", str(plain)), cipher.stream, gnupg_home=gnupg_home, timeout_s=timeout_s)
            if said is not None:
                raise _not_encrypted(f"gpg says: {said}", "Import the recipient's public key (gpg --import), then run again.")
            written = _hashed(cipher.stream)
        else:
            written = _to_age(plain, cipher, recipients, progress)
        if written.size_bytes <= plain.stat().st_size:
            raise _not_encrypted("what came out is shorter than what went in", "Check the gpg that PATH finds, and its gpg.conf.")
        cipher.keep()
    return written


def decrypt(
    cipher: Path, target: Path, *, manifest: Manifest, keys: Keys, timeout_s: float, progress: Progress = lambda _: None
) -> None:
    """Writes the archive inside `cipher` to `target`, once it is proven to be the one that the manifest describes.

    Raises Refused (`backup_missing`, `backup_damaged`, `no_identity`, `wrong_identity`, `no_space`, `backup_directory`,
    `backup_exists`, `program_*`) and UsageError (`bad_identity`); then nothing is left at `target`.
    """
    manifests.check(manifest, cipher)
    with partial(target) as opened:
        if manifest.encryption == "gpg":
            argv = _gpg("--decrypt", "--", str(cipher))
            said = _through_gpg(argv, opened.stream, gnupg_home=keys.gnupg_home, timeout_s=timeout_s)
            if said is not None:
                raise _not_opened(cipher.name, said)
            written = _hashed(opened.stream)
        else:
            written = _from_age(cipher, opened, _identities(cipher.name, keys), manifest, progress)
        if (written.size_bytes, written.sha256) != (manifest.plain_size_bytes, manifest.plain_sha256):
            raise manifests.damaged(cipher.name, "holds something else than its manifest describes (size or SHA-256 differ)")
        opened.keep()


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
            if (self.count + len(piece)) // _PIECE_BYTES != self.count // _PIECE_BYTES:
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
            if len(self._waiting) >= _PIECE_BYTES:
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


def _to_age(plain: Path, target: Partial, recipients: tuple[str, ...], progress: Progress) -> Written:
    import pyrage

    with manifests.regular(plain) as source:
        reader, writer = _Reader(source, progress), _Writer(target)
        try:
            pyrage.encrypt_io(reader, writer, list(_age_recipients(recipients)))
        except (pyrage.EncryptError, OSError) as cause:
            raise (
                reader.cause or writer.cause or _not_encrypted(f"age says: {cause}", "Check backup_recipients in autopilot.toml.")
            ) from cause
        return writer.written()


def _from_age(
    cipher: Path, target: Partial, identities: tuple[x25519.Identity, ...], manifest: Manifest, progress: Progress
) -> Written:
    import pyrage

    with manifests.regular(cipher) as source:
        reader, writer = _Reader(source, progress), _Writer(target, at_most_bytes=manifest.plain_size_bytes)
        try:
            pyrage.decrypt_io(reader, writer, list(identities))
        except (pyrage.DecryptError, OSError) as cause:
            raise (reader.cause or writer.cause or _not_opened(cipher.name, str(cause))) from cause
        return writer.written()


def _age_recipients(recipients: tuple[str, ...]) -> tuple[x25519.Recipient, ...]:
    import pyrage

    found = []
    for recipient in recipients:
        try:
            found.append(pyrage.x25519.Recipient.from_str(recipient.strip()))
        except pyrage.RecipientError as cause:
            shown = "a secret key" if recipient.upper().startswith("AGE-SECRET-KEY") else repr(recipient[:80])
            raise _bad_recipient(f"{shown} is no age public key") from cause
    return tuple(found)


def _identities(name: str, keys: Keys) -> tuple[x25519.Identity, ...]:
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


def _fingerprints(recipients: tuple[str, ...]) -> tuple[str, ...]:
    found = tuple(r.removeprefix(_GPG).replace(" ", "").upper() for r in recipients)
    for fingerprint in found:
        if not _FINGERPRINT.fullmatch(fingerprint):
            raise _bad_recipient(f"{fingerprint[:80]!r} is no whole fingerprint of a GnuPG key")
    return found


def _gpg(*arguments: str) -> tuple[str, ...]:
    return ("gpg", "--batch", "--no-tty", "--quiet", "--trust-model=always", "--output=-", *arguments)


def _through_gpg(argv: tuple[str, ...], stream: BinaryIO, *, gnupg_home: Path | None, timeout_s: float) -> str | None:
    """Lets gpg write into the stream; returns what it complains of, None where it is content."""
    env: Mapping[str, str] = {} if gnupg_home is None else {"GNUPGHOME": str(gnupg_home)}
    command = programs.Command(argv=argv, env=env, timeout_s=timeout_s)
    with programs.running(command, stdout=stream.fileno()) as child:
        try:
            _, said = child.communicate(timeout=timeout_s)
        except subprocess.TimeoutExpired as cause:
            raise Refused(
                f"gpg did not finish within {timeout_s:.0f} s and was ended.",
                code="program_timed_out",
                hint="Look for what holds it up (a key that asks for its passphrase?), or raise backup_timeout_s.",
            ) from cause
    return None if child.returncode == 0 else " ".join(said.decode("utf-8", "replace").split())[:400] or "nothing"


def _hashed(stream: BinaryIO) -> Written:
    stream.seek(0)
    digest, count = hashlib.sha256(), 0
    while piece := stream.read(_PIECE_BYTES):
        digest.update(piece)
        count += len(piece)
    return Written(size_bytes=count, sha256=digest.hexdigest())


def _not_opened(name: str, said: str) -> Refused:
    if any(clue in said for clue in ("No matching keys", "No secret key", "No such file or directory: gpg-agent")):
        return Refused(
            f"The backup {name} is not encrypted to any key that is here.",
            code="wrong_identity",
            hint="Its manifest names the public keys (recipients) that can open it; use one of theirs.",
        )
    return manifests.damaged(name, f"cannot be decrypted: {said.rstrip('.')}")


def _not_encrypted(said: str, hint: str) -> Refused:
    return Refused(f"The backup could not be encrypted; {said.rstrip('.')}.", code="encryption_failed", hint=hint)


def _bad_recipient(why: str) -> UsageError:
    return UsageError(
        f"backup_recipients cannot be used: {why}.",
        code="bad_recipient",
        hint='Name age public keys ("age1…") or whole GnuPG fingerprints ("gpg:…"), of one kind.',
    )


def _bad_identity(why: str) -> UsageError:
    return UsageError(
        f"The age identity cannot be used: {why}.",
        code="bad_identity",
        hint="Set AUTOPILOT_AGE_IDENTITY to the key's text, or AUTOPILOT_AGE_IDENTITY_FILE to its file (as age-keygen wrote it).",
    )
