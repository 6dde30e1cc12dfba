"""Encrypts backups to public keys, and opens them again: decrypt → check against the manifest → only then a name.

Whoever takes backups holds public keys only. `age` and `gnupg` do it; which of them, the recipients or the manifest say.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from autopilot.backups import age, gnupg
from autopilot.backups import manifest as manifests
from autopilot.backups.encrypted import Keys, Progress, Written, bad_recipient, not_encrypted, not_opened
from autopilot.backups.manifest import Encryption, Manifest
from autopilot.backups.partial import partial

_GPG_PROBE_S = 30.0


def kind(recipients: tuple[str, ...]) -> Encryption:
    """How backups for these recipients are encrypted. Raises UsageError (`bad_recipient`)."""
    kinds: set[Encryption] = {"gpg" if recipient.startswith(gnupg.PREFIX) else "age" for recipient in recipients}
    if len(kinds) > 1:
        raise bad_recipient("age and GnuPG recipients cannot open one and the same file")
    found: Encryption = next(iter(kinds), "none")
    if found == "gpg":
        gnupg.fingerprints(recipients)
    elif found == "age":
        age.recipients_of(recipients)
    return found


def require(recipients: tuple[str, ...], *, gnupg_home: Path | None, timeout_s: float) -> None:
    """That something can be encrypted to them here: gpg is asked to, once, before a backup is taken for it.

    Raises UsageError (`bad_recipient`) and Refused (`encryption_failed`, `program_*`).
    """
    if kind(recipients) != "gpg":
        return
    argv = gnupg.command("--encrypt", *(f"--recipient={f}" for f in gnupg.fingerprints(recipients)))
    with tempfile.TemporaryFile() as nowhere:
        said = gnupg.run((*argv, "--", os.devnull), nowhere, gnupg_home=gnupg_home, timeout_s=min(timeout_s, _GPG_PROBE_S))
    if said is not None:
        raise not_encrypted(f"gpg says: {said}", "Import the recipient's public key (gpg --import), then run again.")


def encrypt(
    plain: Path, target: Path, *, recipients: tuple[str, ...], gnupg_home: Path | None, timeout_s: float, progress: Progress
) -> Written:
    """Writes `target`, which only the recipients can open. `progress` is told the plain bytes read so far.

    Raises UsageError (`bad_recipient`) and Refused (`encryption_failed`, `no_space`, `backup_directory`, `backup_exists`,
    `program_*`).
    """
    with partial(target) as cipher:
        if kind(recipients) == "gpg":
            argv = gnupg.command(
                "--compress-algo", "none", "--encrypt", *(f"--recipient={f}" for f in gnupg.fingerprints(recipients))
            )
            said = gnupg.run((*argv, "--", str(plain)), cipher.stream, gnupg_home=gnupg_home, timeout_s=timeout_s)
            if said is not None:
                raise not_encrypted(f"gpg says: {said}", "Import the recipient's public key (gpg --import), then run again.")
            written = gnupg.hashed(cipher.stream)
        else:
            written = age.write(plain, cipher, recipients, progress)
        if written.size_bytes <= plain.stat().st_size:
            raise not_encrypted("what came out is shorter than what went in", "Check the gpg that PATH finds, and its gpg.conf.")
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
            argv = gnupg.command("--decrypt", "--", str(cipher))
            said = gnupg.run(argv, opened.stream, gnupg_home=keys.gnupg_home, timeout_s=timeout_s)
            if said is not None:
                raise not_opened(cipher.name, said)
            written = gnupg.hashed(opened.stream)
        else:
            written = age.open_to(cipher, opened, age.identities(cipher.name, keys), manifest, progress)
        if (written.size_bytes, written.sha256) != (manifest.plain_size_bytes, manifest.plain_sha256):
            raise manifests.damaged(cipher.name, "holds something else than its manifest describes (size or SHA-256 differ)")
        opened.keep()
