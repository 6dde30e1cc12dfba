"""Backups encrypted by GnuPG: a program called by argument list, on the user's own keyring."""

from __future__ import annotations

import hashlib
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

from autopilot import programs
from autopilot.backups.encrypted import PIECE_BYTES, Written, bad_recipient
from autopilot.errors import Refused

#: How a recipient is told to be GnuPG's.
PREFIX = "gpg:"
_FINGERPRINT = re.compile(r"[0-9A-F]{40}|[0-9A-F]{64}")


def fingerprints(recipients: tuple[str, ...]) -> tuple[str, ...]:
    found = tuple(r.removeprefix(PREFIX).replace(" ", "").upper() for r in recipients)
    for fingerprint in found:
        if not _FINGERPRINT.fullmatch(fingerprint):
            raise bad_recipient(f"{fingerprint[:80]!r} is no whole fingerprint of a GnuPG key")
    return found


def command(*arguments: str) -> tuple[str, ...]:
    return ("gpg", "--batch", "--no-tty", "--quiet", "--trust-model=always", "--output=-", *arguments)


def run(argv: tuple[str, ...], stream: BinaryIO, *, gnupg_home: Path | None, timeout_s: float) -> str | None:
    """Lets gpg write into the stream; returns what it complains of, None where it is content."""
    env: Mapping[str, str] = {} if gnupg_home is None else {"GNUPGHOME": str(gnupg_home)}
    asked = programs.Command(argv=argv, env=env, timeout_s=timeout_s)
    with programs.running(asked, stdout=stream.fileno()) as child:
        try:
            _, said = child.communicate(timeout=timeout_s)
        except subprocess.TimeoutExpired as cause:
            raise Refused(
                f"gpg did not finish within {timeout_s:.0f} s and was ended.",
                code="program_timed_out",
                hint="Look for what holds it up (a key that asks for its passphrase?), or raise backup_timeout_s.",
            ) from cause
    return None if child.returncode == 0 else " ".join(said.decode("utf-8", "replace").split())[:400] or "nothing"


def hashed(stream: BinaryIO) -> Written:
    stream.seek(0)
    digest, count = hashlib.sha256(), 0
    while piece := stream.read(PIECE_BYTES):
        digest.update(piece)
        count += len(piece)
    return Written(size_bytes=count, sha256=digest.hexdigest())
