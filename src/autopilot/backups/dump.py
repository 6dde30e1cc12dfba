"""Takes a backup: snapshot → pg_dump, beside it the fingerprint → full read and SHA-256 → fsync → its name → manifest."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import socket
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import psycopg

from autopilot import programs
from autopilot.backups import blocked, names, partial, pg_dump, platform, roles
from autopilot.backups import fingerprint as fingerprints
from autopilot.backups import manifest as manifests
from autopilot.backups.fingerprint import Fingerprint
from autopilot.backups.manifest import Manifest
from autopilot.backups.snapshot import LOCK_WAIT_MS, Snapshot, snapshot
from autopilot.clock import Clock, elapsed_ms
from autopilot.errors import Refused
from autopilot.killpoints import Reached, nowhere
from autopilot.meanwhile import Meanwhile, meanwhile
from autopilot.postgres.address import libpq_environment, parameters
from autopilot.postgres.clients import Installation
from autopilot.postgres.session import Connection
from autopilot.secret import Secret, literals, scrub

#: A dump is at most about as large as the database's tables; this much of its size must be free.
FREE_SHARE = 0.6
#: A link that is down is noticed within half a minute, as on our own sessions (libpq knows no variables for these).
_KEEPALIVES = "keepalives_idle=10 keepalives_interval=5 keepalives_count=3"
_CONNECT_S = 10
#: How long a cancelled question may take to end before its connection is hung up.
_CANCEL_S = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Backup:
    path: Path
    manifest: Manifest
    #: Which transactions are in it, as pg_current_snapshot() told; known only to the run that took it.
    sees: str | None = None


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
    #: Tables, "schema.table", whose rows are left out.
    without_data: tuple[str, ...] = ()
    #: A platform's schemas that the role may not read; `take` looks for them.
    absent: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Dumped:
    """What lies under no name yet."""

    moment: Snapshot
    fingerprint: Fingerprint
    size_bytes: int
    sha256: str


def take(
    source: Source,
    directory: Path,
    *,
    connection: Connection,
    run_id: str,
    commit_sha: str | None,
    clock: Clock,
    timeout_s: float,
    progress: pg_dump.Progress,
    reached: Reached = nowhere,
) -> Backup:
    """A complete, readable, described backup in `directory`, or nothing under its final name.

    Raises Refused: `no_space`, `backup_directory`; `backup_blocked` (who is in the way, is said), `backup_cut_off` (the
    connection was lost), `backup_failed`; `backup_unreadable`, `client_*`, `program_*`.
    """
    begun_s, taken_at = clock.monotonic_s(), clock.now()
    prepare(directory, database_bytes=source.size_bytes)
    name = names.new(taken_at, run_id)
    with _translated(source, connection):
        everybody, rights, absent = roles.roles(connection), roles.rights(connection), platform.absent(connection)
        source = replace(source, absent=absent.schemas)
        reached("B1")
        with partial.partial(directory / name) as file:
            found = _dumped(source, file.path, connection, timeout_s=timeout_s, progress=progress, reached=reached)
            reached("B3")
            file.settle()
            reached("B4")
            file.keep()
    reached("B5")
    fingerprint, moment = found.fingerprint, found.moment
    described = Manifest(
        format_version=1, file=name, size_bytes=found.size_bytes, sha256=found.sha256, taken_at=taken_at,
        duration_ms=elapsed_ms(clock, begun_s), run_id=run_id, commit_sha=commit_sha,
        database=moment.database, database_oid=moment.database_oid, system_identifier=moment.system_identifier,
        server_version=str(connection.info.parameter_status("server_version")).split(" ", 1)[0],
        tool="pg_dump", tool_version=source.client.version, compression=source.compression, lsn=moment.lsn,
        role=moment.role, roles=everybody, database_rights=rights, absent=absent,
        rows=dict(fingerprint.rows), sums=dict(fingerprint.sums), objects=dict(fingerprint.objects),
        sequences=dict(fingerprint.sequences), large_objects=fingerprint.large_objects,
        without_data=source.without_data, database_bytes=source.size_bytes,
    )  # fmt: skip
    manifests.describe(described, directory)
    return Backup(path=directory / name, manifest=described, sees=moment.sees)


def _pattern(table: str) -> str:
    """pg_dump's pattern for one table and no other."""
    return ".".join('"' + part.replace('"', '""') + '"' for part in table.split(".", 1))


def dump_command(source: Source, target: Path, *, snapshot_name: str, timeout_s: float) -> programs.Command:
    """pg_dump as a value: nothing secret in its arguments, never `--enable-row-security` (rows would be missing)."""
    return programs.Command(
        argv=(
            source.client.tool("pg_dump"), "--format=custom", f"--compress={source.compression}", f"--snapshot={snapshot_name}",
            f"--lock-wait-timeout={LOCK_WAIT_MS}", "--no-password", "--verbose", f"--dbname={_KEEPALIVES}", f"--file={target}",
            *(f"--exclude-table-data={_pattern(table)}" for table in source.without_data),
            *(f'--exclude-schema="{schema}"' for schema in source.absent),
        ),
        env={"PGCONNECT_TIMEOUT": str(_CONNECT_S)}
        | libpq_environment(parameters(source.url) | {"application_name": source.application_name}),
        timeout_s=timeout_s,
    )  # fmt: skip


def _dumped(
    source: Source, file: Path, connection: Connection, *, timeout_s: float, progress: pg_dump.Progress, reached: Reached
) -> _Dumped:
    with snapshot(connection) as moment, _fingerprint(source, connection, timeout_s=timeout_s) as fingerprint:
        pg_dump.run(
            dump_command(source, file, snapshot_name=moment.name, timeout_s=timeout_s), known=literals(source.url),
            size_bytes=lambda: file.stat().st_size, tables=moment.tables, progress=progress, reached=reached,
            watch=lambda: _raise_early(fingerprint),
        )  # fmt: skip
        digest = meanwhile(lambda: manifests.sha256(file), name="sha256")
        _read_back(source.client, file, timeout_s=timeout_s)
        sha256, size_bytes = digest(), file.stat().st_size
        fingerprint.thread.join(timeout_s)
        if fingerprint.thread.is_alive():
            raise Refused(
                f"The fingerprint of what was dumped did not come within {timeout_s:.0f} s.",
                code="backup_failed",
                hint="Raise backup_timeout_s in autopilot.toml.",
            )
        return _Dumped(moment=moment, fingerprint=fingerprint(), size_bytes=size_bytes, sha256=sha256)


def _raise_early(fingerprint: Meanwhile[Fingerprint]) -> None:
    """What cannot be fingerprinted will be no backup: no need to wait for pg_dump."""
    if not fingerprint.thread.is_alive():
        fingerprint()


@contextlib.contextmanager
def _fingerprint(source: Source, connection: Connection, *, timeout_s: float) -> Iterator[Meanwhile[Fingerprint]]:
    """Takes the fingerprint on the snapshot's own session while the block works; it does not outlive the block.

    Of rights and locks the fingerprint complains more clearly than pg_dump, and so it is heard first.
    """
    sequences = fingerprints.sequences(connection, absent=source.absent)
    left_out = frozenset(source.without_data)
    seen = meanwhile(
        lambda: replace(
            fingerprints.read(connection, timeout_s=timeout_s, without=left_out, absent=source.absent), sequences=sequences
        ),
        name="fingerprint",
    )
    try:
        yield seen
    except BaseException as cause:
        if isinstance(cause, Refused) and cause.code in {"backup_failed", "backup_blocked"}:
            seen.thread.join(LOCK_WAIT_MS / 1000 + 1 if "pg_dump says" in cause.message else 0)
            _raise_early(seen)
        _ended(seen, connection)
        raise


def _ended(seen: Meanwhile[Fingerprint], connection: Connection) -> None:
    """Ends a question that is still under way; on a line that leads nowhere any more, by hanging up."""
    if not seen.thread.is_alive():
        return
    with contextlib.suppress(psycopg.Error):
        connection.cancel_safe(timeout=3)
    seen.thread.join(_CANCEL_S)
    if seen.thread.is_alive():
        with contextlib.suppress(OSError, psycopg.Error), socket.socket(fileno=os.dup(connection.fileno())) as line:
            line.shutdown(socket.SHUT_RDWR)
        seen.thread.join(_CANCEL_S)


@contextlib.contextmanager
def _translated(source: Source, connection: Connection) -> Iterator[None]:
    """What the snapshot's own session complains of, and who was in the way, in words."""
    try:
        yield
    except psycopg.errors.LockNotAvailable as cause:
        refused = Refused(f"The backup failed; {_words(cause, source)}", code="backup_blocked", hint="Run again.", retryable=True)
        raise blocked.explained(refused, connection) from cause
    except psycopg.Error as cause:
        raise _refusal(cause, source, connection) from cause
    except Refused as cause:
        explained = blocked.explained(cause, connection)
        if explained is cause:
            raise
        raise explained from cause


def _refusal(cause: psycopg.Error, source: Source, connection: Connection) -> Refused:
    if connection.closed or connection.broken:
        return Refused(
            f"The backup failed: the connection to the database was lost ({_words(cause, source)}).",
            code="backup_cut_off",
            hint="Check the network and the server's log, then run again.",
            retryable=True,
        )
    return Refused(
        f"The backup failed; PostgreSQL says: {_words(cause, source)}",
        code="backup_failed",
        hint="Mend what PostgreSQL complains of, then run again.",
    )


def _words(cause: psycopg.Error, source: Source) -> str:
    return " ".join(scrub(str(cause), known=literals(source.url)).split())[:300]


def prepare(directory: Path, *, database_bytes: int) -> None:
    """The directory is there, ours to write, and has room. Raises Refused (`backup_directory`, `no_space`)."""
    needed_bytes = int(database_bytes * FREE_SHARE)
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
    partial.sweep(directory)
    if free_bytes < needed_bytes:
        raise Refused(
            f"There is not enough room for a backup in {directory}: about {needed_bytes >> 20} MiB are needed,"
            f" {free_bytes >> 20} MiB are free.",
            code="no_space",
            hint="Make room, or point backups_dir in autopilot.toml at a larger disk.",
        )


def _read_back(client: Installation, file: Path, *, timeout_s: float) -> None:
    """Reads the whole archive: `--list` alone is content with one that was cut in half."""
    finished = programs.run(
        programs.Command(argv=(client.tool("pg_restore"), "--file=/dev/null", str(file)), timeout_s=timeout_s)
    )
    if not finished.ok:
        raise Refused(
            f"The backup cannot be read back; pg_restore says: {' '.join(finished.stderr.split())[:400]}",
            code="backup_unreadable",
            hint="Check the disk, then run again.",
            retryable=True,
        )
