"""A directory: another disk, a mounted share."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from autopilot.backups import manifest as manifests
from autopilot.backups.partial import partial, sweep, sync_directory
from autopilot.backups.stores.objects import Access, Objects
from autopilot.errors import Refused, UsageError

_PIECE_BYTES = 1 << 20


def directory(url: str) -> Path:
    return Path(unquote(urlsplit(url).path))


def opened(url: str, _access: Access) -> Objects:
    """Raises UsageError (`bad_store`)."""
    parts, path = urlsplit(url), directory(url)
    if parts.netloc not in {"", "localhost"} or not path.is_absolute() or "\0" in str(path):
        raise UsageError(
            f"The backup store {url!r} is not a directory's URL.",
            code="bad_store",
            hint="Write three slashes and the whole path: file:///mnt/backups.",
        )
    return _Directory(path=path)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Directory:
    path: Path

    def put(self, name: str, source: Path, *, midway: Callable[[], None] = lambda: None) -> None:
        self._require()
        sweep(self.path)
        try:
            with partial(self.path / name) as copy, manifests.regular(source) as stream:
                copy.write(stream.read(_PIECE_BYTES))
                midway()
                while piece := stream.read(_PIECE_BYTES):
                    copy.write(piece)
                copy.keep()
        except Refused as cause:
            raise Refused(
                cause.message, code="store_exists" if cause.code == "backup_exists" else "store_failed", hint=cause.hint
            ) from cause

    def chunks(self, name: str) -> Iterator[bytes]:
        try:
            with manifests.regular(self.path / name) as stream:
                while piece := stream.read(_PIECE_BYTES):
                    yield piece
        except FileNotFoundError as cause:
            raise Refused(
                f"{self.path} holds no {name}.",
                code="store_lacks",
                hint="`autopilot backup list` shows what lies where.",
            ) from cause
        except OSError as cause:
            raise self._failed(name, cause) from cause

    def sizes(self) -> Mapping[str, int]:
        self._require()
        try:
            return {path.name: path.lstat().st_size for path in self.path.iterdir() if not path.name.endswith(".partial")}
        except OSError as cause:
            raise self._failed("it", cause) from cause

    def require_room(self, size_bytes: int) -> None:
        self._require()
        try:
            free_bytes = shutil.disk_usage(self.path).free
            if not os.access(self.path, os.W_OK | os.X_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(self.path))
        except OSError as cause:
            raise self._failed("Nothing", cause) from cause
        if free_bytes < size_bytes:
            raise Refused(
                f"There is not enough room for a copy in {self.path}: about {size_bytes >> 20} MiB are needed,"
                f" {free_bytes >> 20} MiB are free.",
                code="store_full",
                hint="Make room there, or name another directory.",
            )

    def delete(self, name: str) -> None:
        try:
            with contextlib.suppress(FileNotFoundError):
                (self.path / name).unlink()
            sync_directory(self.path)
        except OSError as cause:
            raise self._failed(name, cause) from cause

    def _require(self) -> None:
        """A directory that is not there is not made: it may be a disk that is not mounted."""
        if not self.path.is_dir():
            raise Refused(
                f"The directory {self.path} is not there.",
                code="store_missing",
                hint="Mount it, or make it once by hand; Autopilot does not, lest backups end on the wrong disk.",
            )

    def _failed(self, what: str, cause: OSError) -> Refused:
        return Refused(
            f"{what} cannot be worked with in {self.path}: {cause.strerror}.",
            code="store_failed",
            hint="Check the disk and its permissions.",
        )
