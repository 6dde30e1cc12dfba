"""Private directories for unencrypted backups that are only passing through; what a dead process left is swept."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from autopilot.backups.partial import trouble

_PREFIX = ".backup-work-"


@contextlib.contextmanager
def directory(beside: Path) -> Iterator[Path]:
    """A new 0700 directory in `beside`, locked while we live, and gone at the end of the block.

    Raises Refused (`no_space`, `backup_directory`).
    """
    try:
        beside.mkdir(mode=0o700, parents=True, exist_ok=True)
        sweep(beside)
        path, descriptor = _locked(beside)
    except OSError as cause:
        raise trouble(cause, beside) from cause
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
        os.close(descriptor)


def _locked(beside: Path) -> tuple[Path, int]:
    while True:
        path = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=beside))
        with contextlib.suppress(FileNotFoundError):  # swept by somebody between the two lines: once more
            descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            if path.exists():
                return path, descriptor
            os.close(descriptor)


def sweep(beside: Path) -> tuple[str, ...]:
    """Removes the directories of dead processes; returns their names."""
    swept = []
    for path in beside.glob(_PREFIX + "*"):
        with contextlib.suppress(OSError):
            descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(path)
                swept.append(path.name)
            finally:
                os.close(descriptor)
    return tuple(swept)
