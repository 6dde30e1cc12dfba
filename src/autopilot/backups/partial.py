"""Files that get their name only once they are whole."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from autopilot.errors import Refused


@dataclass(slots=True)
class Partial:
    """A file under a name that never counts."""

    path: Path
    stream: BinaryIO
    _target: Path

    @property
    def name(self) -> str:
        return self._target.name

    def write(self, piece: bytes | bytearray | memoryview) -> None:
        """All of it: a nearly full disk takes a part and says so."""
        left = memoryview(piece)
        while left:
            left = left[self.stream.write(left) :]

    def settle(self) -> None:
        """What was written is on the disk. Raises OSError."""
        self.stream.flush()
        os.fsync(self.stream.fileno())

    def keep(self) -> None:
        """Gives the file its name, durably. Raises Refused (`backup_exists`)."""
        self.settle()
        try:
            os.link(self.path, self._target)
        except FileExistsError as cause:
            raise already_there(self._target) from cause
        except OSError as cause:
            if cause.errno not in {errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS}:
                raise
            self._rename()
        sync_directory(self._target.parent)

    def _rename(self) -> None:
        """Where the disk knows no links (exFAT, many network shares)."""
        if os.path.lexists(self._target):
            raise already_there(self._target)
        self.path.rename(self._target)


@contextlib.contextmanager
def partial(target: Path) -> Iterator[Partial]:
    """A new 0600 file, locked while its writer lives and gone at the end of the block; `keep()` names it `target`.

    Raises Refused (`no_space`, `backup_directory`, `backup_exists`), also for what goes wrong with the disk in the block.
    """
    path = target.with_name(target.name + ".partial")
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as cause:
        raise trouble(cause, target.parent) from cause
    with os.fdopen(descriptor, "w+b", buffering=0) as stream:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield Partial(path=path, stream=stream, _target=target)
        except OSError as cause:
            raise trouble(cause, target.parent) from cause
        finally:
            path.unlink(missing_ok=True)


def sweep(directory: Path) -> tuple[str, ...]:
    """Removes half-written files whose writer is dead; returns their names."""
    swept = []
    for path in directory.glob("backup_*.partial"):
        with contextlib.suppress(OSError), path.open("rb") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink()
            swept.append(path.name)
    return tuple(swept)


def trouble(cause: OSError, directory: Path) -> Refused:
    """What the disk says, as a refusal."""
    if cause.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}:
        return Refused(
            f"There is not enough room in {directory}.",
            code="no_space",
            hint="Make room there, or name a larger disk (backups_dir in autopilot.toml, or --to).",
        )
    return Refused(
        f"Nothing can be written to {directory}: {cause.strerror or cause}.",
        code="backup_directory",
        hint="Check the path and its permissions (backups_dir in autopilot.toml, or --to).",
    )


def already_there(target: Path) -> Refused:
    return Refused(
        f"{target.name} is already there in {target.parent}, and nothing is written over a backup.",
        code="backup_exists",
        hint="Move it away first, or name another directory.",
    )


def sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
