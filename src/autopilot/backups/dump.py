"""Takes a backup: snapshot → pg_dump → full read → SHA-256 → fsync → rename → manifest."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

import psycopg

from autopilot import programs
from autopilot.backups import fingerprint as fingerprints
from autopilot.backups import manifest as manifests
from autopilot.backups import roles
from autopilot.backups.fingerprint import Fingerprint
from autopilot.backups.manifest import Manifest
from autopilot.clock import Clock, elapsed_ms
from autopilot.errors import Refused
from autopilot.killpoints import Reached, nowhere
from autopilot.meanwhile import meanwhile
from autopilot.postgres.address import libpq_environment, parameters
from autopilot.postgres.clients import Installation
from autopilot.postgres.queries import named
from autopilot.postgres.session import Connection
from autopilot.secret import Secret, literals, scrub

_QUERIES = named(__file__, "snapshot.sql")

#: pg_dump waits this long for a table that someone holds exclusively, then fails.
LOCK_WAIT_MS = 10_000
#: A dump is at most about as large as the database's tables; this much of its size must be free.
_FREE_SHARE = 0.6


@dataclass(frozen=True, slots=True, kw_only=True)
class Backup:
    path: Path
    manifest: Manifest


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """What to dump, and with which program."""

    url: Secret
    client: Installation
    #: The session's name on the server, by which a dead run's pg_dump is found.
    application_name: str
    #: pg_dump's -Z: "zstd" where it can, else "gzip:1" or "1".
    compression: str
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """One moment of the database, held open while pg_dump reads it."""

    name: str
    lsn: str | None
    database: str
    database_oid: int
    system_identifier: str | None
    role: str


def take(
    source: Source,
    directory: Path,
    *,
    connection: Connection,
    run_id: str,
    commit_sha: str | None,
    clock: Clock,
    timeout_s: float,
    progress: Callable[[int], None],
    reached: Reached = nowhere,
) -> Backup:
    """A complete, readable, described backup in `directory`, or nothing under its final name.

    `progress` is told the bytes written so far.
    Raises Refused (`no_space`, `backup_directory`, `backup_failed`, `backup_unreadable`, `program_*`).
    """
    begun_s, taken_at = clock.monotonic_s(), clock.now()
    prepare(directory, database_bytes=source.size_bytes)
    name = file_name(taken_at, run_id)
    everybody = roles.roles(connection)
    reached("B1")
    with _partial(directory, name) as partial, snapshot(connection) as moment:
        with _meanwhile(connection, timeout_s=timeout_s) as seen:
            _dump(source, partial, moment, timeout_s=timeout_s, progress=progress, reached=reached)
        fingerprint = seen()
        _read_back(source.client, partial, timeout_s=timeout_s)
        digest, size_bytes = manifests.sha256(partial), partial.stat().st_size
        reached("B3")
        _sync(partial)
        reached("B4")
        os.link(partial, directory / name)
        manifests.sync_directory(directory)
    reached("B5")
    described = Manifest(
        format_version=1, file=name, size_bytes=size_bytes, sha256=digest, taken_at=taken_at,
        duration_ms=elapsed_ms(clock, begun_s), run_id=run_id, commit_sha=commit_sha,
        database=moment.database, database_oid=moment.database_oid, system_identifier=moment.system_identifier,
        server_version=str(connection.info.parameter_status("server_version")).split(" ", 1)[0],
        tool="pg_dump", tool_version=source.client.version, compression=source.compression, lsn=moment.lsn,
        role=moment.role, roles=everybody,
        rows=dict(fingerprint.rows), sums=dict(fingerprint.sums), objects=dict(fingerprint.objects),
        sequences=dict(fingerprint.sequences), large_objects=fingerprint.large_objects,
    )  # fmt: skip
    _describe(described, directory)
    return Backup(path=directory / name, manifest=described)


@contextlib.contextmanager
def _meanwhile(connection: Connection, *, timeout_s: float) -> Iterator[Callable[[], Fingerprint]]:
    """Takes the fingerprint on the snapshot's own session while the block runs pg_dump; yields what waits for it.

    What the fingerprint cannot read is the clearer complaint, and so comes first.
    """
    sequences = fingerprints.sequences(connection)
    seen = meanwhile(lambda: replace(fingerprints.read(connection, timeout_s=timeout_s), sequences=sequences), name="fingerprint")
    try:
        yield seen
    except Refused:
        seen()
        raise
    except BaseException:
        with contextlib.suppress(psycopg.Error):
            connection.cancel_safe(timeout=3)
        seen.thread.join(5)
        raise


def _describe(described: Manifest, directory: Path) -> None:
    """Writes the manifest; a backup that cannot be described is taken away again."""
    try:
        manifests.write(described, directory)
    except OSError as cause:
        (directory / described.file).unlink(missing_ok=True)
        if cause.errno == errno.ENOSPC:
            raise _no_space(directory, needed_bytes=1 << 20, free_bytes=0) from cause
        raise Refused(
            f"The manifest of {described.file} cannot be written: {cause.strerror}.",
            code="backup_directory",
            hint="Check the directory's permissions (backups_dir in autopilot.toml).",
        ) from cause


def file_name(taken_at: datetime, run_id: str) -> str:
    """`backup_YYYYMMDD_HHMMSS_<milliseconds>_<run>.dump`, UTC: in the order of names, backups are in the order of time."""
    return f"backup_{taken_at:%Y%m%d_%H%M%S}_{taken_at.microsecond // 1000:03d}_{run_id}.dump"


def dump_command(source: Source, target: Path, *, snapshot_name: str, timeout_s: float) -> programs.Command:
    """pg_dump as a value: nothing secret in its arguments, never `--enable-row-security` (rows would be missing)."""
    return programs.Command(
        argv=(
            source.client.tool("pg_dump"), "--format=custom", f"--compress={source.compression}", f"--snapshot={snapshot_name}",
            f"--lock-wait-timeout={LOCK_WAIT_MS}", "--no-password", f"--file={target}",
        ),
        env=libpq_environment(parameters(source.url) | {"application_name": source.application_name}),
        timeout_s=timeout_s,
    )  # fmt: skip


@contextlib.contextmanager
def snapshot(connection: Connection) -> Iterator[Snapshot]:
    """Exports a snapshot; open until the block ends."""
    with connection.transaction():
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        connection.execute("SET LOCAL row_security = off")
        connection.execute("SET LOCAL statement_timeout = 0")
        connection.execute(f"SET LOCAL lock_timeout = {LOCK_WAIT_MS}".encode())
        row = connection.execute(_QUERIES["moment"]).fetchone()
        if row is None:  # pragma: no cover - a SELECT without FROM has a row
            raise AssertionError
        yield Snapshot(
            name=row[0], database=row[1], database_oid=row[2], lsn=row[3],
            system_identifier=_system_identifier(connection), role=row[4],
        )  # fmt: skip


def _system_identifier(connection: Connection) -> str | None:
    row = connection.execute(_QUERIES["may_ask_identity"]).fetchone()
    if row is None or not row[0]:
        return None
    row = connection.execute(_QUERIES["identity"]).fetchone()
    return None if row is None else str(row[0])


def prepare(directory: Path, *, database_bytes: int) -> None:
    """The directory is there, ours to write, and has room. Raises Refused (`backup_directory`, `no_space`)."""
    needed_bytes = int(database_bytes * _FREE_SHARE)
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        free_bytes = shutil.disk_usage(directory).free
        if not os.access(directory, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(directory))
    except OSError as cause:
        raise Refused(
            f"The backups directory {directory} cannot be used: {cause.strerror}.",
            code="backup_directory",
            hint="Check the path and its permissions (backups_dir in autopilot.toml).",
        ) from cause
    sweep(directory)
    if free_bytes < needed_bytes:
        raise _no_space(directory, needed_bytes=needed_bytes, free_bytes=free_bytes)


def sweep(directory: Path) -> tuple[str, ...]:
    """Removes half-written files whose writer is dead; returns their names."""
    swept = []
    for path in directory.glob("backup_*.partial"):
        with contextlib.suppress(OSError), path.open("rb") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink()
            swept.append(path.name)
    return tuple(swept)


@contextlib.contextmanager
def _partial(directory: Path, name: str) -> Iterator[Path]:
    """A new 0600 file under a name that never counts, locked while its writer lives, gone afterwards."""
    path = directory / f"{name}.partial"
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except OSError as cause:
        if cause.errno == errno.ENOSPC:
            raise _no_space(directory, needed_bytes=1, free_bytes=0) from cause
        raise Refused(
            f"No backup can be written to {directory}: {cause.strerror}.",
            code="backup_directory",
            hint="Check its permissions (backups_dir in autopilot.toml).",
        ) from cause
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield path
    finally:
        path.unlink(missing_ok=True)
        os.close(descriptor)


def _dump(
    source: Source, partial: Path, moment: Snapshot, *, timeout_s: float, progress: Callable[[int], None], reached: Reached
) -> None:
    command = dump_command(source, partial, snapshot_name=moment.name, timeout_s=timeout_s)
    deadline_s = time.monotonic() + timeout_s
    with programs.running(command, stdout=subprocess.DEVNULL) as child:
        reached("B2")
        while child.poll() is None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(0.1)
            progress(partial.stat().st_size)
            if time.monotonic() > deadline_s:
                raise Refused(
                    f"pg_dump did not finish within {timeout_s:.0f} s.",
                    code="backup_failed",
                    hint="Raise backup_timeout_s in autopilot.toml.",
                )
        words = b"" if child.stderr is None else child.stderr.read()
        if child.returncode != 0:
            raise failed(words.decode("utf-8", "replace"), source)


def failed(words: str, source: Source) -> Refused:
    """pg_dump's complaint as a refusal."""
    said = " ".join(scrub(words, known=literals(source.url)).split())[:600]
    hint = "Mend what pg_dump complains of, then run again."
    for clue, advice in (
        ("No space left", "Make room in the backups directory."),
        (
            "server version mismatch",
            f"Install the client programs of the server's version (postgresql-client-{source.client.major + 1} or newer).",
        ),
        ("lock timeout", "Something holds a table exclusively: let it end, then run again."),
        ("row-level security", "Use a role that owns the tables or has BYPASSRLS: a backup must hold every row."),
        ("permission denied", "Grant the role SELECT on what is named, or use the role that owns it."),
    ):
        if clue in said:
            hint = advice
            break
    return Refused(
        f"The backup failed; pg_dump says: {said or 'nothing'}", code="backup_failed", hint=hint, retryable="lock timeout" in said
    )


def _read_back(client: Installation, partial: Path, *, timeout_s: float) -> None:
    """Reads the whole archive: `--list` alone is content with one that was cut in half."""
    finished = programs.run(
        programs.Command(argv=(client.tool("pg_restore"), "--file=/dev/null", str(partial)), timeout_s=timeout_s)
    )
    if not finished.ok:
        raise Refused(
            f"The backup cannot be read back; pg_restore says: {' '.join(finished.stderr.split())[:400]}",
            code="backup_unreadable",
            hint="Check the disk, then run again.",
            retryable=True,
        )


def _sync(path: Path) -> None:
    with path.open("rb") as stream:
        os.fsync(stream.fileno())


def _no_space(directory: Path, *, needed_bytes: int, free_bytes: int) -> Refused:
    return Refused(
        f"There is not enough room for a backup in {directory}: about {needed_bytes >> 20} MiB are needed,"
        f" {free_bytes >> 20} MiB are free.",
        code="no_space",
        hint="Make room, or point backups_dir in autopilot.toml at a larger disk.",
    )


_NAME = re.compile(r"^backup_\d{8}_\d{6}.*\.dump\Z")


def is_backup_name(name: str) -> bool:
    return _NAME.match(name) is not None
