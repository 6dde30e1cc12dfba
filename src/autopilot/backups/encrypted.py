"""What age and GnuPG have in common: the keys that open a backup, what a file came to, and why it could not be done."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from autopilot.backups import manifest as manifests
from autopilot.errors import Refused, UsageError
from autopilot.secret import Secret

PIECE_BYTES = 1 << 20
#: Bytes so far.
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


def not_opened(name: str, said: str) -> Refused:
    if any(clue in said for clue in ("No matching keys", "No secret key", "No such file or directory: gpg-agent")):
        return Refused(
            f"The backup {name} is not encrypted to any key that is here.",
            code="wrong_identity",
            hint="Its manifest names the public keys (recipients) that can open it; use one of theirs.",
        )
    return manifests.damaged(name, f"cannot be decrypted: {said.rstrip('.')}")


def not_encrypted(said: str, hint: str) -> Refused:
    return Refused(f"The backup could not be encrypted; {said.rstrip('.')}.", code="encryption_failed", hint=hint)


def bad_recipient(why: str) -> UsageError:
    return UsageError(
        f"backup_recipients cannot be used: {why}.",
        code="bad_recipient",
        hint='Name age public keys ("age1…") or whole GnuPG fingerprints ("gpg:…"), of one kind.',
    )
