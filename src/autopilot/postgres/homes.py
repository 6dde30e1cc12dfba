"""Directories of embedded servers: each has a lock that its owner holds for as long as it lives."""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from io import FileIO
from pathlib import Path

from autopilot.clock import SystemClock
from autopilot.errors import AutopilotError, Refused, UsageError

PREFIX = "pg-"
_ROOT_LOCK = "root.lock"
_OWNER_LOCK = "owner.lock"
_REMOVAL_ATTEMPTS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Home:
    """One server's directory, locked by this process until `remove`."""

    path: Path
    lock: FileIO = field(repr=False, compare=False)


def root_directory(chosen: Path | None, *, shared: bool) -> Path:
    """The directory above all homes of this user, made if absent.

    shared: the server runs as another user, who has to be able to walk through it.
    Raises UsageError (`unsafe_directory`), Refused (`no_permission`, `no_space`).
    """
    root = default_root(shared=shared) if chosen is None else Path(os.path.abspath(chosen))  # noqa: PTH100  # no resolve: a symlink is to be seen
    with storage_errors(root):
        if not os.path.lexists(root):
            _make(root, mode=0o711 if shared else 0o700)
        _refuse_foreign(root)
        if shared and (closed := closed_parent(root)) is not None:
            raise PermissionError(errno.EACCES, "the server's user cannot enter it", str(closed))
        return root


def create(root: Path) -> Home:
    """A new home, locked before anyone who sweeps can see it unlocked."""
    with root_lock(root):
        path = root / f"{PREFIX}{secrets.token_hex(4)}"
        path.mkdir()
        path.chmod(stat.S_IMODE(root.stat().st_mode))
        lock = _opened(path / _OWNER_LOCK)
        fcntl.flock(lock, fcntl.LOCK_EX)
        return Home(path=path, lock=lock)


def abandoned(root: Path) -> tuple[Home, ...]:
    """Claims every home whose owner is dead; the caller ends what runs there and removes them."""
    with root_lock(root):
        claims = (_claimed(path) for path in sorted(root.glob(f"{PREFIX}*")))
        return tuple(home for home in claims if home is not None)


def remove(home: Home) -> None:
    """Removes the directory, its lock last, and lets go. A second call does nothing."""
    with closing(home.lock), storage_errors(home.path):
        for attempt in range(_REMOVAL_ATTEMPTS):
            try:
                _emptied(home.path)
            except OSError as cause:
                # A process that was just killed may still have been writing.
                if cause.errno != errno.ENOTEMPTY or attempt == _REMOVAL_ATTEMPTS - 1:
                    raise
                SystemClock().sleep(0.1)
            else:
                break
        with suppress(FileNotFoundError):
            shutil.rmtree(home.path)


@contextmanager
def root_lock(root: Path) -> Iterator[None]:
    """One process at a time makes, claims or copies below `root`."""
    with _opened(root / _ROOT_LOCK) as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """Turns the disk's refusals into ours."""
    try:
        yield
    except OSError as cause:
        if cause.errno in {errno.ENOSPC, errno.EDQUOT} or "No space left on device" in str(cause):
            raise no_space(path) from cause
        if cause.errno in {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR}:
            named = Path(cause.filename or path)
            raise no_permission(named if os.path.lexists(named) else path, cause.strerror or "refused") from cause
        raise


def no_space(path: Path) -> AutopilotError:
    free = shutil.disk_usage(next(p for p in (path, *path.parents) if p.exists())).free
    return Refused(
        f"There is no space left for a PostgreSQL server in {path}: {free} bytes are free.",
        code="no_space",
        hint="Free some space (an empty server takes 40 MB), or point TMPDIR to a roomier disk.",
    )


def no_permission(path: Path, why: str) -> AutopilotError:
    return Refused(
        f"A PostgreSQL server cannot be kept here: {path}: {why}.",
        code="no_permission",
        hint="Check the owner and mode of that directory and those above it, or set TMPDIR to another.",
    )


def closed_parent(path: Path) -> Path | None:
    """The first directory on the way to `path`, itself included, that others may not walk through."""
    return next(
        (p for p in (path.resolve(), *path.resolve().parents) if p.is_dir() and not p.stat().st_mode & stat.S_IXOTH),
        None,
    )


def default_root(*, shared: bool) -> Path:
    temporary = Path(tempfile.gettempdir())
    # A TMPDIR that is private to root (pam_tmpdir) is of no use to the server's user.
    if shared and closed_parent(temporary) is not None:
        temporary = Path("/tmp")  # noqa: S108  # what lies there is checked by _refuse_foreign
    return temporary / f"autopilot-{os.geteuid()}"


def _make(root: Path, *, mode: int) -> None:
    """With its mode from the first moment on, whatever the umask: others may be starting too."""
    root.parent.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(dir=root.parent, prefix=f"{root.name}-"))
    fresh.chmod(mode)
    try:
        fresh.rename(root)
    except OSError:
        # Somebody was quicker; what they made is looked at next.
        fresh.rmdir()


def _refuse_foreign(root: Path) -> None:
    found = root.lstat()
    if not stat.S_ISDIR(found.st_mode):
        why = "it is not a directory"
    elif found.st_uid != os.geteuid():
        why = f"it belongs to user {found.st_uid}"
    elif found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        why = "others may write to it"
    else:
        return
    raise UsageError(
        f"{root} is not safe to keep a database in: {why}.",
        code="unsafe_directory",
        hint=f"Remove {root} or take it back (chown, chmod go-w), or set TMPDIR to another directory.",
    )


def _claimed(path: Path) -> Home | None:
    """None while its owner lives, or when the directory is on its way out."""
    try:
        lock = FileIO(os.open(path / _OWNER_LOCK, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW), "r+")
    except FileNotFoundError:
        # Its maker died before the lock was there, or its remover is between the last two steps: it is empty.
        with suppress(OSError):
            path.rmdir()
        return None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        return None
    if os.fstat(lock.fileno()).st_nlink == 0:
        lock.close()
        return None
    return Home(path=path, lock=lock)


def _opened(path: Path) -> FileIO:
    return FileIO(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600), "r+")


def _emptied(path: Path) -> None:
    entries = [entry for entry in path.glob("*") if entry.name != _OWNER_LOCK]
    for entry in entries:
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink(missing_ok=True)
