"""PostgreSQL servers of our own, started from a directory of programs and gone without a trace."""

from __future__ import annotations

import os
import secrets
import signal
import socket
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from urllib.parse import quote

import psycopg

from autopilot import interrupts
from autopilot.clock import SystemClock
from autopilot.postgres import homes, initialised, orphans, readable
from autopilot.postgres.clients import Installation
from autopilot.postgres.cluster import LOOPBACK, Cluster, failure, furnish, initialise, postgres, server_user
from autopilot.programs import ended
from autopilot.programs import start as start_program
from autopilot.secret import Secret

_USUAL_PORT = 5432
_PORT_ATTEMPTS = 5
_START_LIMIT_S = 30.0
_STOP_LIMIT_S = 10.0
_NO_SETTINGS: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddedServer:
    """A running server that this process owns until `stop`."""

    installation: Installation
    #: Its own directory: data, socket and log.
    home: Path
    data_dir: Path
    socket_dir: Path
    port: int
    #: Listens on 127.0.0.1 too; the unix socket is always there.
    tcp: bool
    durable: bool
    superuser: str
    password: Secret
    pid: int
    #: The locked directory: while we hold it nobody sweeps this server.
    claim: homes.Home = field(repr=False, compare=False)
    process: subprocess.Popen[bytes] = field(repr=False, compare=False)

    def url(self, dbname: str = "postgres", *, user: str | None = None, password: Secret | None = None) -> Secret:
        """A libpq URL: over 127.0.0.1 when the server listens there, else over its unix socket."""
        name = quote(self.superuser if user is None else user, safe="")
        word = quote((password or self.password).reveal(), safe="")
        database = quote(dbname, safe="")
        if self.tcp:
            return Secret(f"postgresql://{name}:{word}@{LOOPBACK}:{self.port}/{database}?sslmode=disable")
        host = quote(str(self.socket_dir), safe="")
        return Secret(f"postgresql://{name}:{word}@/{database}?host={host}&port={self.port}")


@contextmanager
def running(
    installation: Installation,
    *,
    home_root: Path | None = None,
    tcp: bool = False,
    durable: bool = False,
    superuser: str = "postgres",
    settings: Mapping[str, str] = _NO_SETTINGS,
    cut_off: bool = False,
    by_copy: bool = False,
) -> Iterator[EmbeddedServer]:
    """A server for the length of a block; see `start`."""
    with ExitStack() as stack:
        with interrupts.held_back():
            server = start(
                installation, home_root=home_root, tcp=tcp, durable=durable, superuser=superuser, settings=settings,
                cut_off=cut_off, by_copy=by_copy,
            )  # fmt: skip
            stack.callback(stop, server)
        yield server


def start(
    installation: Installation,
    *,
    home_root: Path | None = None,
    tcp: bool = False,
    durable: bool = False,
    superuser: str = "postgres",
    settings: Mapping[str, str] = _NO_SETTINGS,
    cut_off: bool = False,
    by_copy: bool = False,
) -> EmbeddedServer:
    """Removes what dead owners left, then makes a fresh cluster and waits until it answers.

    durable: fsync as usual and a clean stop; its directory goes at `stop` all the same.
    cut_off: without a network, where this machine lets us (`cluster.cut_off_by`); not together with `tcp`.
    by_copy: from a cluster that was initialised before, within a day; all of those have one system identifier.
    Raises Refused (`no_space`, `no_permission`, `embedded_failed`, those of `programs.start`) and
    UsageError (`unsafe_directory`, `home_path_too_long`, `no_system_user`).
    """
    user = server_user()
    root = homes.root_directory(home_root, shared=user is not None)
    orphans.sweep(root)
    bin_dir = installation.bin_dir if user is None else readable.programs(installation, root)
    with ExitStack() as undo:
        with homes.storage_errors(root):
            claim = homes.create(root)
        undo.callback(homes.remove, claim)
        cluster = Cluster(
            installation=installation,
            bin_dir=bin_dir,
            user=user,
            home=claim.path,
            tcp=tcp,
            durable=durable,
            superuser=superuser,
            password=Secret(secrets.token_urlsafe(24)),
            settings=settings,
            cut_off=cut_off,
        )
        with homes.storage_errors(cluster.home):
            furnish(cluster)
            if by_copy:
                cluster = initialised.provide(cluster)
                undo.callback(initialised.forget, root)
            else:
                initialise(cluster)
            server = _launched(cluster, claim)
        undo.pop_all()
    return server


def sweep() -> tuple[str, ...]:
    """Ends and removes what dead processes left in the usual place; returns the directories' names. Makes nothing."""
    return orphans.sweep(homes.default_root(shared=os.geteuid() == 0))


def stop(server: EmbeddedServer) -> None:
    """Ends the server and removes its directory; a second call does nothing."""
    gentle_first = (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL)
    with ended(server.process) as process:
        for number in gentle_first if server.durable else gentle_first[1:]:
            if process.poll() is not None:
                break
            process.send_signal(number)
            try:
                process.wait(timeout=_STOP_LIMIT_S)
            except subprocess.TimeoutExpired:
                continue
    homes.remove(server.claim)


def _launched(cluster: Cluster, claim: homes.Home) -> EmbeddedServer:
    for attempt in range(1, _PORT_ATTEMPTS + 1):
        port = _free_port() if cluster.tcp else _USUAL_PORT
        with ExitStack() as undo:
            with cluster.log.open("wb") as log, interrupts.held_back():
                process = start_program(postgres(cluster, port), stdout=log.fileno(), stderr=log.fileno())
                undo.callback(_kill, process)
            server = _server(cluster, claim, port, process)
            if _answers(server):
                undo.pop_all()
                return server
        said = cluster.log.read_text("utf-8", "replace")
        # Somebody took the port between our asking for a free one and postgres binding it.
        if "Address already in use" not in said or attempt == _PORT_ATTEMPTS:
            raise failure(cluster, "postgres", said)
    raise AssertionError("the last attempt returns or raises")


def _kill(process: subprocess.Popen[bytes]) -> None:
    with ended(process):
        pass


def _server(cluster: Cluster, claim: homes.Home, port: int, process: subprocess.Popen[bytes]) -> EmbeddedServer:
    return EmbeddedServer(
        installation=cluster.installation,
        home=cluster.home,
        data_dir=cluster.data_dir,
        socket_dir=cluster.socket_dir,
        port=port,
        tcp=cluster.tcp,
        durable=cluster.durable,
        superuser=cluster.superuser,
        password=cluster.password,
        pid=process.pid,
        claim=claim,
        process=process,
    )


def _answers(server: EmbeddedServer) -> bool:
    """Waits until it does; False when the process ends or the deadline passes first."""
    clock = SystemClock()
    deadline_s = clock.monotonic_s() + _START_LIMIT_S
    while server.process.poll() is None and clock.monotonic_s() < deadline_s:
        try:
            psycopg.connect(server.url().reveal(), connect_timeout=2).close()
        except psycopg.OperationalError:
            clock.sleep(0.02)
        else:
            return True
    return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        port: int = probe.getsockname()[1]
    return port
