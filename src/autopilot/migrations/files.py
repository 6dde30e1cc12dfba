"""A migrations directory as the Supabase CLI reads it: which files count, in which order, and what is in them."""

from __future__ import annotations

import codecs
import hashlib
import os
import re
import stat
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

from autopilot.errors import Refused, UsageError, Where

#: supabase/cli pkg/migration/list.go; ASCII digits only, and a name that holds no line break.
_NAME = re.compile(r"^([0-9]+)_(.*)\.sql\Z")
#: The Supabase CLI passes over a first file made by its own early versions.
_OLD_INIT = re.compile(r"^([0-9]{14})_init\.sql\Z")
_OLD_INIT_BEFORE = "20211209000000"

LARGEST_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class MigrationFile:
    """One migration, read once: what was hashed is what runs."""

    version: str
    name: str
    #: The file's own name, without its directory.
    file: str
    #: UTF-8 decoded, without a byte order mark, lines ending in \\n.
    text: str
    #: Of the bytes as they lie on disk.
    sha256: str
    #: Of `text`: equal when only line ends or a byte order mark differ.
    normalized_sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Ignored:
    name: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    files: tuple[MigrationFile, ...]
    ignored: tuple[Ignored, ...]


def listing(directory: Path, *, by_name: bool = False) -> Listing:
    """Every migration of `directory`, in the byte order of file names, and what was passed over and why.

    by_name: several files of one version are tracked by their full names instead of being refused.

    Raises UsageError (`no_such_directory`, `not_a_directory`, `unreadable_directory`) and Refused
    (`symlink`, `not_utf8`, `nul_byte`, `file_too_large`, `unreadable_file`, `duplicate_version`).
    """
    files: list[MigrationFile] = []
    ignored: list[Ignored] = []
    for position, entry in enumerate(_entries(directory)):
        why = _why_ignored(entry, is_first=position == 0)
        if why is not None:
            ignored.append(Ignored(name=entry.name, why=why))
        else:
            files.append(_read(entry))
    if by_name:
        files = _told_apart(files)
    else:
        _refuse_duplicates(files)
    return Listing(files=tuple(files), ignored=tuple(ignored))


def _entries(directory: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(directory) as found:
            return sorted(found, key=lambda entry: os.fsencode(entry.name))
    except FileNotFoundError:
        raise UsageError(
            f"The migrations directory {directory} does not exist.",
            code="no_such_directory",
            hint="Run from the repository's root, or name the directory with --dir.",
        ) from None
    except NotADirectoryError:
        raise UsageError(
            f"{directory} is a file; a directory of migrations is needed.",
            code="not_a_directory",
            hint="Name the directory that holds the .sql files with --dir.",
        ) from None
    except OSError as cause:
        raise UsageError(
            f"The migrations directory {directory} cannot be read: {cause.strerror}.",
            code="unreadable_directory",
            hint="Check its permissions.",
        ) from cause


def _why_ignored(entry: os.DirEntry[str], *, is_first: bool) -> str | None:
    if entry.is_dir(follow_symlinks=False):
        return "a directory; only files directly in the migrations directory count"
    match = _NAME.match(entry.name)
    if match is None:
        return "its name is not <version>_<name>.sql"
    if not entry.name.isprintable():
        return "its name holds characters that cannot be shown"
    old = _OLD_INIT.match(entry.name)
    if is_first and old is not None and old[1] < _OLD_INIT_BEFORE:
        return "an initial dump of an early Supabase CLI, which that CLI passes over too"
    return None


def _read(entry: os.DirEntry[str]) -> MigrationFile:
    version, name = _parts(entry.name)
    raw = _bytes(entry)
    text = _text(raw, entry.name)
    sha256 = hashlib.sha256(raw).hexdigest()
    as_it_lies = not raw.startswith(codecs.BOM_UTF8) and b"\r" not in raw
    return MigrationFile(
        version=version,
        name=name,
        file=entry.name,
        text=text,
        sha256=sha256,
        normalized_sha256=sha256 if as_it_lies else hashlib.sha256(text.encode("utf-8")).hexdigest(),
    )


def _parts(file: str) -> tuple[str, str]:
    match = _NAME.match(file)
    if match is None:  # pragma: no cover - _why_ignored saw to it
        raise AssertionError(file)
    return match[1], match[2]


def _bytes(entry: os.DirEntry[str]) -> bytes:
    where = Where(file=entry.name)
    try:
        descriptor = os.open(entry.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as cause:
        if entry.is_symlink():
            raise Refused(
                f"{entry.name} is a symbolic link.",
                code="symlink",
                hint="Put the file itself there: a link may point at something else tomorrow.",
                where=where,
            ) from cause
        raise Refused(
            f"{entry.name} cannot be read: {cause.strerror}.",
            code="unreadable_file",
            hint="Check its permissions.",
            where=where,
        ) from cause
    with os.fdopen(descriptor, "rb", buffering=0) as stream:
        _refuse_unfit(os.fstat(descriptor), where)
        return stream.readall()


def _refuse_unfit(status: os.stat_result, where: Where) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise Refused(f"{where.file} is not a regular file.", code="not_a_file", hint="Remove it.", where=where)
    if status.st_size > LARGEST_BYTES:
        raise Refused(
            f"{where.file} has {status.st_size} bytes; at most {LARGEST_BYTES} are read.",
            code="file_too_large",
            hint="Split it, or load bulk data by other means.",
            where=where,
        )


def _text(raw: bytes, file: str) -> str:
    if raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise Refused(
            f"{file} is UTF-16, not UTF-8.",
            code="not_utf8",
            hint="Save it as UTF-8.",
            where=Where(file=file, line=1),
        )
    nul = raw.find(b"\x00")
    if nul >= 0:
        raise Refused(
            f"{file} holds a NUL byte at offset {nul}: PostgreSQL would silently stop reading there.",
            code="nul_byte",
            hint="Remove the byte; an editor that wrote UTF-16 or a cut download is the usual cause.",
            where=Where(file=file, line=raw.count(b"\n", 0, nul) + 1),
        )
    try:
        text = raw.removeprefix(codecs.BOM_UTF8).decode("utf-8")
    except UnicodeDecodeError as cause:
        start = cause.start + (len(codecs.BOM_UTF8) if raw.startswith(codecs.BOM_UTF8) else 0)
        raise Refused(
            f"{file} is not UTF-8: byte 0x{raw[start]:02x} at offset {start}.",
            code="not_utf8",
            hint="Save it as UTF-8.",
            where=Where(file=file, line=raw.count(b"\n", 0, start) + 1),
        ) from cause
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _told_apart(files: list[MigrationFile]) -> list[MigrationFile]:
    """Files that share a version are tracked by their full names, in the order of these."""
    counts = Counter(f.version for f in files)
    return [replace(f, version=f.file.removesuffix(".sql")) if counts[f.version] > 1 else f for f in files]


def _refuse_duplicates(files: list[MigrationFile]) -> None:
    counts = Counter(f.version for f in files)
    twice = [f.file for f in files if counts[f.version] > 1]
    if twice:
        raise Refused(
            f"Several files have the same version: {', '.join(twice)}.",
            code="duplicate_version",
            hint="Give each its own version: "
            + ", ".join(f"{old} → {new}" for old, new in suggestions(files))
            + ' (or set duplicate_versions = "by-name" to track each by its full name).',
            where=Where(file=twice[0]),
        )


def suggestions(files: list[MigrationFile]) -> list[tuple[str, str]]:
    """Names that would settle duplicate versions: the second and later files of one get the next free version."""
    taken = {f.version for f in files}
    seen: set[str] = set()
    found = []
    for file in files:
        if file.version in seen:
            number = int(file.version) + 1
            while str(number).zfill(len(file.version)) in taken:
                number += 1
            version = str(number).zfill(len(file.version))
            taken.add(version)
            found.append((file.file, f"{version}_{file.name}.sql"))
        seen.add(file.version)
    return found
