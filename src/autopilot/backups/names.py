"""What a backup's file may be called: nothing that leads out of its directory, and nothing that is not ours."""

from __future__ import annotations

import re
from datetime import datetime

MANIFEST = ".manifest.json"
#: By how it is encrypted.
SUFFIXES = {"none": "", "age": ".age", "gpg": ".gpg"}

_NAME = re.compile(r"backup_\d{8}_\d{6}[A-Za-z0-9_.-]{0,120}\.dump(?:\.age|\.gpg)?\Z", re.ASCII)


def new(taken_at: datetime, run_id: str) -> str:
    """`backup_YYYYMMDD_HHMMSS_<milliseconds>_<run>.dump`, UTC: in the order of names, backups are in the order of time."""
    return f"backup_{taken_at:%Y%m%d_%H%M%S}_{taken_at.microsecond // 1000:03d}_{run_id}.dump"


def is_backup(name: str) -> bool:
    return _NAME.match(name) is not None


def is_manifest(name: str) -> bool:
    return name.endswith(MANIFEST) and is_backup(name.removesuffix(MANIFEST))


def plain(name: str) -> str:
    """The name without what tells that it is encrypted."""
    return name.removesuffix(".age").removesuffix(".gpg")


def encrypted(name: str, encryption: str) -> str:
    return plain(name) + SUFFIXES[encryption]
