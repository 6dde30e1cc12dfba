"""A fresh cluster: its directories, and the two programs that work in them."""

from __future__ import annotations

import os
import pwd
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from autopilot.errors import AutopilotError, Refused, UsageError
from autopilot.postgres import homes
from autopilot.postgres.clients import Installation
from autopilot.programs import Command, run
from autopilot.secret import Secret, literals, scrub

LOOPBACK = "127.0.0.1"
#: Who runs the server when we are root, which PostgreSQL refuses to be.
_SYSTEM_USER = "nobody"
#: A unix socket's whole path; the systems allow 103 (macOS) or 107 (Linux).
_LONGEST_SOCKET_PATH = 99
_SHARED_MEMORY = Path("/dev/shm")  # noqa: S108  # only named
_INITDB_LIMIT_S = 120.0
_CUT_OFF_LIMIT_S = 10.0
_LOG_LINES = 12
_FIRST_WITH_CHECKSUMS_ON = 18
_NOT_DURABLE = {"fsync": "off", "full_page_writes": "off", "synchronous_commit": "off"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """What initdb and postgres are started from."""

    installation: Installation
    #: Where this user can read the programs; the installation's own directory or a copy of it.
    bin_dir: Path
    user: str | None
    home: Path
    tcp: bool
    durable: bool
    superuser: str
    password: Secret
    settings: Mapping[str, str]
    #: The server reaches no network at all, where this machine lets us cut it off: unix sockets still work.
    cut_off: bool = False

    @property
    def data_dir(self) -> Path:
        return self.home / "data"

    @property
    def socket_dir(self) -> Path:
        return self.home / "s"

    @property
    def log(self) -> Path:
        return self.home / "postgres.log"

    @property
    def password_file(self) -> Path:
        return self.home / "password"


def server_user() -> str | None:
    """None when the server runs as ourselves."""
    if os.geteuid() != 0:
        return None
    try:
        return pwd.getpwnam(_SYSTEM_USER).pw_name
    except KeyError as cause:
        raise UsageError(
            f"PostgreSQL does not run as root, and this system has no user {_SYSTEM_USER} to run it as.",
            code="no_system_user",
            hint="Run the same command as an ordinary user, or give a database of your own with `--db URL`.",
        ) from cause


def furnish(cluster: Cluster) -> None:
    """The directories and the password file, owned by whoever runs the server."""
    longest = len(os.fsencode(cluster.socket_dir / f".s.PGSQL.{65535}"))
    if longest > _LONGEST_SOCKET_PATH:
        raise UsageError(
            f"The path of {cluster.home.parent} is too long for a unix socket below it "
            f"({longest} bytes, {_LONGEST_SOCKET_PATH} are allowed).",
            code="home_path_too_long",
            hint="Set TMPDIR to a directory with a shorter path, such as /tmp.",
        )
    owned_directory(cluster, cluster.data_dir)
    owned_directory(cluster, cluster.socket_dir)
    cluster.password_file.touch(mode=0o600, exist_ok=False)
    cluster.password_file.write_text(cluster.password.reveal(), encoding="ascii")
    _give(cluster, cluster.password_file)


def owned_directory(cluster: Cluster, path: Path) -> None:
    """Makes it for whoever runs the server alone."""
    path.mkdir(mode=0o700)
    _give(cluster, path)


def _give(cluster: Cluster, path: Path) -> None:
    if cluster.user is not None:
        account = pwd.getpwnam(cluster.user)
        os.chown(path, account.pw_uid, account.pw_gid)


def initialise(cluster: Cluster) -> None:
    finished = run(_initdb(cluster))
    if not finished.ok:
        raise failure(cluster, "initdb", finished.stdout.decode("utf-8", "replace") + finished.stderr)
    cluster.password_file.unlink()


def _initdb(cluster: Cluster) -> Command:
    argv = [
        str(cluster.bin_dir / "initdb"),
        *("-D", str(cluster.data_dir)),
        *("-U", cluster.superuser),
        f"--pwfile={cluster.password_file}",
        "--auth-local=scram-sha-256",
        "--auth-host=scram-sha-256",
        "--encoding=UTF8",
        # macOS has no C.UTF-8.
        f"--locale={'C' if sys.platform == 'darwin' else 'C.UTF-8'}",
        # What it leaves tells how full the disk was; the whole home is removed anyway.
        "--no-clean",
    ]
    if cluster.durable:
        argv.append("--data-checksums")
    else:
        argv.append("--no-sync")
        if cluster.installation.major >= _FIRST_WITH_CHECKSUMS_ON:
            argv.append("--no-data-checksums")
    return Command(argv=tuple(argv), cwd=cluster.data_dir, user=cluster.user, timeout_s=_INITDB_LIMIT_S)


def cut_off_by(user: str | None) -> tuple[str, ...]:
    """What to put before a program that shall have no network; nothing where this machine does not allow it."""
    program = shutil.which("unshare")
    if program is None:
        return ()
    words = (program, "--user", "--map-current-user", "--net", "--")
    allowed = run(Command(argv=(*words, "true"), user=user, timeout_s=_CUT_OFF_LIMIT_S)).ok
    return words if allowed else ()


def postgres(cluster: Cluster, port: int) -> Command:
    quoted_socket_dir = '"' + str(cluster.socket_dir).replace('"', '""') + '"'
    settings = {
        "listen_addresses": LOOPBACK if cluster.tcp else "",
        "port": str(port),
        "unix_socket_directories": quoted_socket_dir,
        "unix_socket_permissions": "0700",
        "max_connections": "50",
        "max_locks_per_transaction": "1024",
        **({} if cluster.durable else _NOT_DURABLE),
        **cluster.settings,
    }
    options = (word for name, value in settings.items() for word in ("-c", f"{name}={value}"))
    before = cut_off_by(cluster.user) if cluster.cut_off else ()
    argv = (*before, str(cluster.bin_dir / "postgres"), "-D", str(cluster.data_dir), *options)
    return Command(argv=argv, cwd=cluster.data_dir, user=cluster.user)


def failure(cluster: Cluster, program: str, said: str) -> AutopilotError:
    lines = [line for line in said.splitlines() if line.strip()]
    full = [line for line in lines if "No space left on device" in line]
    if full:
        return homes.no_space(_SHARED_MEMORY if "shared memory" in full[0] else cluster.home)
    last = scrub("\n".join(lines[-_LOG_LINES:]), known=literals(cluster.password))
    return Refused(
        f"{program} {cluster.installation.version} failed in {cluster.home}. It last said:\n{last}",
        code="embedded_failed",
        hint="See its words above; if they do not help, give a database of your own with `--db URL`.",
    )
