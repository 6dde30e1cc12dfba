"""How a database is reached: encrypted, verified, over IPv4 or IPv6, and never through a transaction pooler."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import socket
import ssl
import struct
import subprocess
import tempfile
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
import pytest
from tests.conftest import Database

from autopilot.clock import SystemClock
from autopilot.errors import AutopilotError, Refused, UsageError
from autopilot.postgres import lock, pooler, tls
from autopilot.postgres.address import (
    completed,
    endpoints,
    ipv6_only,
    libpq_environment,
    parameters,
    project,
    refuse_transaction_port,
    spelled,
    unresolved,
)
from autopilot.postgres.clients import for_embedded, installations
from autopilot.postgres.embedded import EmbeddedServer, running
from autopilot.postgres.session import READER_NAME, Connection, connect, resolved, session
from autopilot.programs import Command, run
from autopilot.secret import Secret

NAME = "db.example.com"
REF = "abcdefghijklmnopqrst"
STORE = "/store.crt"
TRUST = tls.Trust(store=STORE)


def everything(error: AutopilotError) -> str:
    return "".join(traceback.format_exception(error)) + error.hint + error.state


# --- where a server is


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({}, "local"),
        ({"host": "/var/run/postgresql"}, "local"),
        ({"host": "@abstract"}, "local"),
        ({"host": "localhost"}, "local"),
        ({"host": "LOCALHOST."}, "local"),
        ({"host": "127.0.0.1"}, "local"),
        ({"host": "127.8.9.10"}, "local"),
        ({"host": "::1"}, "local"),
        ({"host": "::ffff:127.0.0.1"}, "local"),
        ({"hostaddr": "127.0.0.1"}, "local"),
        ({"host": "localhost,/tmp"}, "local"),
        ({"host": "10.1.2.3"}, "private"),
        ({"host": "172.16.0.1"}, "private"),
        ({"host": "172.31.255.255"}, "private"),
        ({"host": "192.168.1.1"}, "private"),
        ({"host": "::ffff:10.0.0.1"}, "private"),
        ({"host": "fd00::2"}, "private"),
        ({"host": "postgres"}, "private"),
        ({"host": "my_db-1"}, "private"),
        ({"host": "pg.internal"}, "private"),
        ({"host": "localhost,db"}, "private"),
        ({"host": "172.32.0.1"}, "remote"),
        ({"host": "100.64.0.1"}, "remote"),
        ({"host": "169.254.1.1"}, "remote"),
        ({"host": "8.8.8.8"}, "remote"),
        ({"host": "2a05:d018::1"}, "remote"),
        ({"host": NAME}, "remote"),
        ({"host": "localhost.example.com"}, "remote"),
        ({"host": "127.0.0.1.example.com"}, "remote"),
        ({"host": "internal.example.com"}, "remote"),
        # one number is an IPv4 address to the name server
        ({"host": "134744072"}, "remote"),
        ({"host": "0x08080808"}, "remote"),
        ({"host": f"localhost,{NAME}"}, "remote"),
        ({"host": "localhost", "hostaddr": "8.8.8.8"}, "remote"),
        ({"host": NAME, "hostaddr": "127.0.0.1"}, "remote"),
        ({"service": "production"}, "remote"),
        ({"service": "production", "host": "localhost"}, "local"),
    ],
)
def test_every_named_host_counts_where_a_server_is(params: dict[str, str], expected: str) -> None:
    assert tls.place(params) == expected


# --- what is decided


@pytest.mark.parametrize("host", ["localhost", "127.0.0.2", "::1", "/tmp"])
@pytest.mark.parametrize("mode", ["", "disable", "allow", "prefer", "require", "verify-ca", "verify-full"])
@pytest.mark.parametrize("verify", ["auto", "required"])
def test_on_this_machine_nothing_is_changed(host: str, mode: str, verify: tls.Verify) -> None:
    params = {"host": host} | ({"sslmode": mode} if mode else {})
    assert tls.decide(params, verify=verify, trusted=TRUST) == tls.Decision()


def full(root: str) -> dict[str, str]:
    return {"sslmode": "verify-full", "sslrootcert": root}


REQUIRE = {"sslmode": "require"}
MINE = {"sslrootcert": "mine.crt"}
NAMED = tls.Trust(ca_file="/configured.crt", store=STORE)
NOTHING = tls.Trust()


@pytest.mark.parametrize(
    ("own", "trusted", "verify", "changes", "otherwise"),
    [
        # nothing is said: the system's CAs, and encryption alone if they do not vouch
        ({}, TRUST, "auto", full(STORE), REQUIRE),
        ({}, TRUST, "required", full(STORE), None),
        ({}, NAMED, "auto", full("/configured.crt"), None),
        ({}, NAMED, "required", full("/configured.crt"), None),
        ({}, NOTHING, "auto", REQUIRE, None),
        # what asks for encryption alone is verified where it can be
        (REQUIRE, TRUST, "auto", full(STORE), REQUIRE),
        (REQUIRE, TRUST, "required", full(STORE), None),
        (REQUIRE, NAMED, "auto", full("/configured.crt"), None),
        # the URL's CA wins and leaves no other way
        (MINE, TRUST, "auto", full("mine.crt"), None),
        (MINE, NAMED, "auto", full("mine.crt"), None),
        (REQUIRE | MINE, TRUST, "auto", full("mine.crt"), None),
        ({"sslmode": "verify-full"} | MINE, TRUST, "auto", full("mine.crt"), None),
        ({"sslmode": "verify-ca"} | MINE, TRUST, "auto", {}, None),
        ({"sslmode": "verify-ca"} | MINE, NAMED, "required", {}, None),
        # the system's CAs by name: the file that every client can read
        ({"sslrootcert": "system"}, TRUST, "auto", full(STORE), None),
        (full("system"), NAMED, "auto", full(STORE), None),
        # a mode that lacks its CA
        ({"sslmode": "verify-full"}, TRUST, "auto", full(STORE), None),
        ({"sslmode": "verify-full"}, NAMED, "auto", full("/configured.crt"), None),
        ({"sslmode": "verify-ca"}, NAMED, "auto", {"sslrootcert": "/configured.crt"}, None),
        ({"sslmode": "verify-ca"}, TRUST, "auto", {}, None),
        # libpq refuses it
        ({"sslmode": "nonsense"}, TRUST, "auto", {}, None),
    ],
)
@pytest.mark.parametrize("host", [NAME, "8.8.8.8", "10.0.0.1", "postgres"])
def test_elsewhere_a_connection_is_encrypted_and_verified_where_it_can_be(
    host: str,
    own: dict[str, str],
    trusted: tls.Trust,
    verify: tls.Verify,
    changes: dict[str, str],
    otherwise: dict[str, str] | None,
) -> None:
    decision = tls.decide({"host": host} | own, verify=verify, trusted=trusted)
    assert decision.changes == changes
    assert (decision.warning is not None) == (changes == REQUIRE)
    if otherwise is None:
        assert decision.otherwise is None
    else:
        assert decision.otherwise is not None
        assert decision.otherwise.changes == otherwise
        assert decision.otherwise.warning
        assert decision.otherwise.otherwise is None


def test_no_decision_for_a_remote_host_ever_lets_plain_text_through() -> None:
    for own in ({}, REQUIRE, MINE, REQUIRE | MINE, full("system"), {"sslmode": "verify-ca"} | MINE):
        for trusted in (TRUST, NAMED):
            decision: tls.Decision | None = tls.decide({"host": NAME} | own, verify="auto", trusted=trusted)
            while decision is not None:
                assert {**own, **decision.changes}["sslmode"] in {"require", "verify-ca", "verify-full"}
                decision = decision.otherwise


def test_what_was_decided_once_is_kept() -> None:
    for mode in (REQUIRE, full(STORE)):
        again = tls.decide({"host": NAME} | mode, verify="auto", trusted=TRUST, keep_require=True)
        assert {**mode, **again.changes} == mode
        assert again.otherwise is None


@pytest.mark.parametrize("mode", ["disable", "allow", "prefer"])
@pytest.mark.parametrize("host", [NAME, "8.8.8.8", "::ffff:8.8.8.8", f"localhost,{NAME}", f"db.{REF}.supabase.co"])
def test_an_address_that_allows_plain_text_is_refused(host: str, mode: str) -> None:
    with pytest.raises(UsageError) as wrong:
        tls.decide({"host": host, "sslmode": mode}, verify="auto", trusted=TRUST)
    assert wrong.value.code == "tls_required"
    assert f"sslmode={mode}" in wrong.value.message
    assert "sslmode=require" in wrong.value.hint
    assert "sslrootcert" in wrong.value.hint
    assert "disable" not in wrong.value.hint


def test_a_private_network_may_do_without_by_its_own_words_alone() -> None:
    for host in ("10.0.0.1", "fd00::2", "postgres", "pg.internal"):
        decision = tls.decide({"host": host, "sslmode": "disable"}, verify="auto", trusted=TRUST)
        assert decision.changes == {}
        assert "not encrypted" in (decision.warning or "")
        for mode, verify in (("prefer", "auto"), ("allow", "auto"), ("disable", "required")):
            with pytest.raises(UsageError, match=f"sslmode={mode}") as wrong:
                tls.decide({"host": host, "sslmode": mode}, verify=verify, trusted=TRUST)  # type: ignore[arg-type]  # a table
            assert wrong.value.code == "tls_required"


def test_required_verification_without_any_ca_is_refused() -> None:
    for own in ({}, REQUIRE, {"sslmode": "verify-full"}, full("system")):
        with pytest.raises(Refused) as refused:
            tls.decide({"host": NAME} | own, verify="required", trusted=NOTHING)
        assert refused.value.code == "tls_not_verified"


def test_supabases_certificate_is_named() -> None:
    for host in (f"db.{REF}.supabase.co", "aws-0-eu-central-1.pooler.supabase.com"):
        warning = tls.unverified_warning({"host": host, "password": "hunter2-hunter2"})
        for words in ("Project Settings → Database → SSL Configuration → Download certificate", "sslrootcert=prod-ca-2021.crt"):
            assert words in warning
            assert words in tls.not_verified({"host": host}, "untrusted", "").hint
        assert "hunter2" not in warning
    assert "prod-ca" not in tls.unverified_warning({"host": "supabase.co.example.com"})


@pytest.mark.parametrize(
    ("there", "variables", "ca_file", "libpq", "expected"),
    [
        (set(), {}, None, 180000, tls.Trust(store="system")),
        (set(), {}, None, 150000, tls.Trust()),
        ({"/etc/ssl/certs/ca-certificates.crt"}, {}, None, 150000, tls.Trust(store="/etc/ssl/certs/ca-certificates.crt")),
        ({"/etc/ssl/cert.pem", "/x"}, {"SSL_CERT_FILE": "/x"}, None, 180000, tls.Trust(store="/x")),
        ({"/etc/ssl/cert.pem"}, {"SSL_CERT_FILE": "/x"}, None, 180000, tls.Trust(store="/etc/ssl/cert.pem")),
        ({"/h/.postgresql/root.crt"}, {"HOME": "/h"}, None, 180000, tls.Trust(ca_file="/h/.postgresql/root.crt", store="system")),
        ({"/h/.postgresql/root.crt"}, {"HOME": "/h"}, Path("c.crt"), 180000, tls.Trust(ca_file="c.crt", store="system")),
        (set(), {}, Path("gone.crt"), 180000, tls.Trust(ca_file="gone.crt", store="system")),
    ],
)
def test_what_this_machine_trusts(
    there: set[str], variables: dict[str, str], ca_file: Path | None, libpq: int, expected: tls.Trust
) -> None:
    assert tls.trust(ca_file, libpq=libpq, variables=variables, there=there.__contains__) == expected


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("SSL error: certificate verify failed", "untrusted"),
        ('server certificate for "a" does not match host name "b"', "name"),
        ('server certificate for "a" (and 2 other names) does not match host name "b"', "name"),
        ("host name must be specified for a verified SSL connection", "name"),
        ('FATAL:  password authentication failed for user "u"', None),
        ('- SSL error: certificate verify failed\n- FATAL:  password authentication failed for user "u"', None),
        ("server does not support SSL, but SSL was required", None),
        ('root certificate file "/x" does not exist', None),
        ('could not read root certificate file "/x": no certificate or crl found', None),
        ("SSL error: wrong version number", None),
        ("Connection refused", None),
        ("connection timeout expired", None),
    ],
)
def test_only_a_certificate_excuses(words: str, expected: str | None) -> None:
    assert tls.fault(words) == expected


# --- addresses


def test_the_environment_says_what_an_address_does_not() -> None:
    variables = {"PGHOST": "h", "PGPORT": "7", "PGSSLMODE": "disable", "PGSSLROOTCERT": "", "PGPASSWORD": "hunter2"}
    assert completed({}, variables) == {"host": "h", "port": "7", "sslmode": "disable"}
    assert completed({"host": "own", "sslmode": "require"}, variables) == {"host": "own", "port": "7", "sslmode": "require"}


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u:p%40%2F%25%3F%23@h:6543/db?sslmode=require",
        "postgresql://u:p@[::1]:5432/db",
        "postgresql:///db?host=/tmp/s&user=u",
        "host='h' user=u password='a b\\'c\\\\' dbname='my db'",
        "postgresql://u:p@h1:1,h2:2/db?options=-c%20a%3Db@c&sslrootcert=/a%20b/c.crt",
        "postgresql://h",
        "postgresql://u@h/db",
        "postgresql://:p@h/db",
        "postgresql://ü:é@h/д",
    ],
)
def test_a_url_that_is_spelled_anew_reads_the_same(url: str) -> None:
    params = parameters(Secret(url))
    assert parameters(spelled(params)) == params


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({}, (("", "5432"),)),
        ({"host": "h"}, (("h", "5432"),)),
        ({"host": "a,b", "port": "1,2"}, (("a", "1"), ("b", "2"))),
        ({"host": "a,b", "port": "1,"}, (("a", "1"), ("b", "5432"))),
        ({"host": "a,b", "port": "6543"}, (("a", "6543"), ("b", "6543"))),
        ({"hostaddr": "1.2.3.4"}, (("1.2.3.4", "5432"),)),
    ],
)
def test_each_host_has_its_port(params: dict[str, str], expected: tuple[tuple[str, str], ...]) -> None:
    assert endpoints(params) == expected


# --- the transaction pooler, by its address

POOLER = "aws-0-eu-central-1.pooler.supabase.com"


@pytest.mark.parametrize(
    ("url", "instead"),
    [
        (f"postgresql://postgres.{REF}:hunter2@{POOLER}:6543/postgres", (f"{POOLER}:5432", f"db.{REF}.supabase.co:5432")),
        (f"postgresql://postgres:hunter2@{POOLER}:6543/postgres", (f"{POOLER}:5432", "db.<ref>.supabase.co:5432")),
        (f"postgresql://postgres:hunter2@db.{REF}.supabase.co:6543/postgres", (f"db.{REF}.supabase.co:5432",)),
        (f"host=DB.{REF}.SUPABASE.CO port=6543 password=hunter2", ("5432",)),
        (f"postgresql://u:hunter2@localhost,{POOLER}/postgres?port=5432,6543", ("5432",)),
    ],
)
def test_supabases_transaction_poolers_are_refused_before_connecting(
    url: str, instead: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Connection, "connect", lambda **_: pytest.fail("it connected"))
    for attempt in (lambda: connect(Secret(url), application_name="t"), lambda: resolved(Secret(url))):
        with pytest.raises(Refused) as refused:
            attempt()
        assert refused.value.code == "transaction_pooler"
        assert all(words in refused.value.hint for words in instead)
        assert "hunter2" not in everything(refused.value).replace(url, "")


@pytest.mark.parametrize("host", [f"{POOLER}:5432", f"db.{REF}.supabase.co", "localhost:6543", "db.example.com:6543"])
def test_other_addresses_are_not_judged_by_their_port(host: str) -> None:
    refuse_transaction_port(parameters(Secret(f"postgresql://u@{host}/db")))


def test_a_pooler_that_names_itself_is_told_with_the_address_behind_it() -> None:
    from autopilot.postgres.address import transaction_pooler

    neon = {"host": "ep-cool-darkness-123456-pooler.eu-central-1.aws.neon.tech"}
    assert "ep-cool-darkness-123456.eu-central-1.aws.neon.tech" in transaction_pooler(neon, "").hint
    assert "pool_mode = session" in transaction_pooler({"host": "pgbouncer"}, "").hint


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({"host": f"db.{REF}.supabase.co"}, REF),
        ({"host": POOLER, "user": f"postgres.{REF}"}, REF),
        ({"host": POOLER, "user": "postgres"}, None),
        ({}, None),
    ],
)
def test_the_projects_name(params: dict[str, str], expected: str | None) -> None:
    assert project(params) == expected


# --- the transaction pooler, by what it does


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ([1], [], False),
        ([1, 1], [2, 2], False),
        ([1], [1], True),
        ([1, 2], [3], True),
        ([1, 1], [2, 3], True),
        ([1, 1], [2, 1], True),
    ],
)
def test_backends_that_two_sessions_saw(first: list[int], second: list[int], expected: bool) -> None:
    assert pooler.transaction_pooled(first, second) is expected


_GREETING = b"R" + struct.pack("!ii", 8, 0)
_READY = b"Z" + struct.pack("!i", 5) + b"I"


@dataclass(kw_only=True)
class Pool:
    """A small pooler on loopback: clients share `size` server sessions, by the transaction or by the session."""

    url: str
    size: int
    by: str = "transaction"
    #: False: it goes round its servers, as PgBouncer's server_round_robin does.
    newest_first: bool = True
    listener: socket.socket = field(default_factory=lambda: socket.create_server(("127.0.0.1", 0)))
    idle: deque[socket.socket] = field(default_factory=deque)
    free: threading.Condition = field(default_factory=threading.Condition)
    threads: list[threading.Thread] = field(default_factory=list)

    @contextlib.contextmanager
    def serving(self) -> Iterator[Secret]:
        with contextlib.ExitStack() as stack:
            for _ in range(self.size):
                behind = stack.enter_context(contextlib.closing(psycopg.connect(self.url, autocommit=True)))
                server = stack.enter_context(socket.socket(fileno=os.dup(behind.fileno())))
                server.settimeout(20)
                self.idle.append(server)
            acceptor = threading.Thread(target=self._accept)
            acceptor.start()
            port = self.listener.getsockname()[1]
            try:
                yield Secret(re.sub(r"@127\.0\.0\.1:\d+/", f"@127.0.0.1:{port}/", self.url))
            finally:
                self.listener.shutdown(socket.SHUT_RDWR)
                self.listener.close()
                for thread in (acceptor, *self.threads):
                    thread.join(20)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self.listener.accept()
                self.threads.append(threading.Thread(target=self._serve, args=(client,)))
                self.threads[-1].start()

    def _serve(self, client: socket.socket) -> None:
        server = None
        with client, contextlib.suppress(OSError, EOFError):
            _exactly(client, struct.unpack("!i", _exactly(client, 4))[0] - 4)
            version = b"S" + struct.pack("!i", 4 + 20) + b"server_version\x0017.0\x00"
            encoding = b"S" + struct.pack("!i", 4 + 21) + b"client_encoding\x00UTF8\x00"
            client.sendall(_GREETING + version + encoding + b"K" + struct.pack("!i", 12) + os.urandom(8) + _READY)
            while (message := _message(client))[:1] != b"X":
                server = server or self._take()
                server.sendall(message)
                if message[:1] in b"QS" and _answered(server, client) == b"I" and self.by == "transaction":
                    self._give(server)
                    server = None
        if server is not None:
            self._give(server)

    def _take(self) -> socket.socket:
        with self.free:
            if not self.free.wait_for(lambda: self.idle, timeout=20):
                raise EOFError
            return self.idle.pop() if self.newest_first else self.idle.popleft()

    def _give(self, server: socket.socket) -> None:
        with self.free:
            self.idle.append(server)
            self.free.notify()


def _exactly(sock: socket.socket, count: int) -> bytes:
    found = b""
    while len(found) < count:
        piece = sock.recv(count - len(found))
        if not piece:
            raise EOFError
        found += piece
    return found


def _message(sock: socket.socket) -> bytes:
    head = _exactly(sock, 5)
    return head + _exactly(sock, struct.unpack("!i", head[1:])[0] - 4)


def _answered(server: socket.socket, client: socket.socket) -> bytes:
    while True:
        message = _message(server)
        client.sendall(message)
        if message[:1] == b"Z":
            return message[5:6]


@contextlib.contextmanager
def locked(url: Secret) -> Iterator[Connection]:
    with lock.held(url, run_id="r", wait_s=0, clock=SystemClock(), waiting=lambda _: None) as holder:
        yield holder


def advisory_locks(database: Database) -> int:
    return int(database.value("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'"))


def refusal_of(url: Secret) -> Refused:
    """What both ways of asking say."""
    with session(url, application_name="one") as one, pytest.raises(Refused) as by_one:
        pooler.require_direct(one, lambda: session(url, application_name="two"))
    with locked(url) as holder, session(url, application_name="work") as working, pytest.raises(Refused) as by_two:
        pooler.require_session(holder, working)
    assert by_one.value.code == by_two.value.code == "transaction_pooler"
    assert "owner-Pa55" not in everything(by_one.value) + everything(by_two.value)
    return by_two.value


def is_let_through(url: Secret) -> None:
    with session(url, application_name="one") as one:
        pooler.require_direct(one, lambda: session(url, application_name="two"))
    with locked(url) as holder, session(url, application_name="work") as working:
        pooler.require_session(holder, working)
        assert lock.is_held(holder)
        assert working.info.transaction_status == psycopg.pq.TransactionStatus.IDLE


def counting(execute: Callable[..., Any], asked: list[bytes]) -> Callable[..., Any]:
    def counted(query: bytes) -> Any:
        asked.append(query)
        return execute(query)

    return counted


def test_a_direct_connection_is_let_through_with_one_question(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    url = Secret(database.url)
    is_let_through(url)
    with locked(url) as holder, session(url, application_name="work") as working:
        asked: list[bytes] = []
        for connection in (holder, working):
            monkeypatch.setattr(connection, "execute", counting(connection.execute, asked))
        pooler.require_session(holder, working)
        pooler.require_direct(working, lambda: pytest.fail("it opened another session"))
        assert len(asked) == 2


def test_a_lost_lock_is_no_pooler(database: Database) -> None:
    url = Secret(database.url)
    with session(url, application_name="one") as one, session(url, application_name="two") as two:
        pooler.require_session(one, two)


@pytest.mark.parametrize("newest_first", [True, False], ids=["newest first", "round"])
@pytest.mark.parametrize("size", [1, 2, 3, 5])
def test_a_transaction_pool_is_found_out_and_keeps_no_lock(database: Database, size: int, newest_first: bool) -> None:
    with Pool(url=database.url, size=size, newest_first=newest_first).serving() as url:
        assert "pool_mode = session" in refusal_of(url).hint
        assert advisory_locks(database) == 0


def test_a_session_pool_is_let_through(database: Database) -> None:
    with Pool(url=database.url, size=2, by="session").serving() as url:
        is_let_through(url)


BOUNCER = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")


@contextlib.contextmanager
def pgbouncer(database: Database, server: EmbeddedServer, **settings: object) -> Iterator[Secret]:
    """The real one in front of `database`, as the owner of the server's files: it does not run as root either."""
    assert BOUNCER is not None
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    params = parameters(Secret(database.url))
    behind = " ".join(f"{key}='{params[key]}'" for key in ("host", "port", "dbname", "user", "password"))
    lines = {"listen_addr": "127.0.0.1", "listen_port": port, "unix_socket_dir": "", "auth_type": "any"} | settings
    owner = server.data_dir.stat().st_uid
    home = Path(tempfile.mkdtemp(prefix="bouncer-"))
    try:
        ini = home / "pgbouncer.ini"
        ini.write_text(
            f"[databases]\n{database.name} = {behind}\n[pgbouncer]\n" + "".join(f"{k} = {v}\n" for k, v in lines.items())
        )
        for path in (home, ini):
            os.chown(path, owner, -1)
        with subprocess.Popen(
            [BOUNCER, "-q", ini], user=owner if os.geteuid() == 0 else None, stderr=subprocess.DEVNULL
        ) as process:
            try:
                deadline = time.monotonic() + 10
                while time.monotonic() < deadline:
                    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                        break
                    time.sleep(0.05)
                yield Secret(f"postgresql://{params['user']}:x@127.0.0.1:{port}/{database.name}?sslmode=disable")
            finally:
                process.terminate()
    finally:
        shutil.rmtree(home)


needs_bouncer = pytest.mark.skipif(BOUNCER is None, reason="there is no pgbouncer")


@needs_bouncer
@pytest.mark.parametrize("round_robin", [0, 1])
@pytest.mark.parametrize("size", [1, 2, 20])
def test_pgbouncers_transaction_mode_is_found_out(
    database: Database, server: EmbeddedServer, size: int, round_robin: int
) -> None:
    with pgbouncer(database, server, pool_mode="transaction", default_pool_size=size, server_round_robin=round_robin) as url:
        assert "pool_mode = session" in refusal_of(url).hint
        assert advisory_locks(database) == 0


@needs_bouncer
def test_pgbouncers_transaction_mode_is_found_out_under_load(database: Database, server: EmbeddedServer) -> None:
    with pgbouncer(database, server, pool_mode="transaction", default_pool_size=6) as url:
        over = threading.Event()

        def work() -> None:
            with psycopg.connect(url.reveal(), autocommit=True, prepare_threshold=None) as connection:
                while not over.is_set():
                    with connection.transaction():
                        connection.execute("SELECT pg_sleep(0.002)")

        others = [threading.Thread(target=work) for _ in range(4)]
        for other in others:
            other.start()
        try:
            for _ in range(20):
                with session(url, application_name="one") as one, pytest.raises(Refused) as refused:
                    pooler.require_direct(one, lambda: session(url, application_name="two"))
                assert refused.value.code == "transaction_pooler"
        finally:
            over.set()
            for other in others:
                other.join()


@needs_bouncer
def test_pgbouncers_session_mode_is_let_through(database: Database, server: EmbeddedServer) -> None:
    with pgbouncer(database, server, pool_mode="session") as url:
        is_let_through(url)


@needs_bouncer
def test_pgbouncers_statement_mode_is_refused(database: Database, server: EmbeddedServer) -> None:
    with (
        pgbouncer(database, server, pool_mode="statement") as url,
        session(url, application_name="one") as one,
        pytest.raises(Refused) as refused,
    ):
        pooler.require_direct(one, lambda: session(url, application_name="two"))
    assert refused.value.code == "transaction_pooler"


# --- IPv6 alone

V4, V6 = (socket.AF_INET,), (socket.AF_INET6,)
UNREACHABLE = 'connection to server at "2a05:d018::1", port 5432 failed: Network is unreachable'
NO_ADDRESS = 'connection to server at "2a05:d018::1", port 5432 failed: Cannot assign requested address'


def finds(*answers: tuple[Any, ...]) -> Callable[..., list[tuple[Any, ...]]]:
    return lambda *_args, **_kwargs: list(answers)


@pytest.mark.parametrize("words", [UNREACHABLE, NO_ADDRESS])
def test_a_host_of_ipv6_alone_is_told_with_the_way_round(words: str) -> None:
    direct = ipv6_only(words, {"host": f"db.{REF}.supabase.co", "user": "postgres"}, lookup=finds(V6, V6))
    assert direct is not None
    assert direct.code == "ipv6_only"
    assert not direct.retryable
    for clue in ("pooler.supabase.com", "5432", f"postgres.{REF}", "IPv4 add-on"):
        assert clue in direct.hint
    other = ipv6_only(words, {"host": NAME}, lookup=finds(V6))
    assert other is not None
    assert "supabase" not in other.hint.lower()


def test_other_failures_and_hosts_with_ipv4_are_not_told_so() -> None:
    def knows_nothing(*_args: object, **_kwargs: object) -> list[tuple[Any, ...]]:
        raise socket.gaierror(-2, "Name or service not known")

    assert ipv6_only("Connection refused", {"host": NAME}, lookup=finds(V6)) is None
    assert ipv6_only(UNREACHABLE, {"host": NAME}, lookup=finds(V6, V4)) is None
    assert ipv6_only(UNREACHABLE, {"host": NAME}, lookup=finds(V4)) is None
    assert ipv6_only(UNREACHABLE, {"host": NAME}, lookup=finds()) is None
    assert ipv6_only(UNREACHABLE, {"host": NAME}, lookup=knows_nothing) is None


def test_connecting_to_ipv6_without_a_route_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_route(**_: object) -> None:
        raise psycopg.OperationalError(UNREACHABLE)

    monkeypatch.setattr(Connection, "connect", no_route)
    with pytest.raises(Refused) as refused:
        connect(Secret(f"postgresql://u:hunter2-hunter2@db.{REF}.supabase.co/p?hostaddr=2a05:d018::1"), application_name="t")
    assert refused.value.code == "ipv6_only"
    # the call above stands in the traceback
    assert "hunter2" not in refused.value.message + refused.value.hint


def test_a_name_without_an_address_is_told_by_the_name_server() -> None:
    def knows(host: str, *_args: object, **_kwargs: object) -> list[tuple[Any, ...]]:
        if host == "gone":
            raise socket.gaierror(-2, "Name or service not known")
        return [V4]

    assert "Name or service not known" in (unresolved({"host": "gone"}, lookup=knows) or "")
    assert unresolved({"host": "gone,here"}, lookup=knows) is None
    assert unresolved({"service": "s"}, lookup=knows) is None


# --- a real server with certificates


@dataclass(kw_only=True)
class Tls:
    """An embedded server whose certificate a test chooses; `NAME` leads to it and counts as remote."""

    server: EmbeddedServer
    home: Path

    @property
    def ca(self) -> Path:
        return self.home / "ca.crt"

    def url(self, extra: str = "", *, host: str = NAME, password: str | None = None) -> Secret:
        word = self.server.password.reveal() if password is None else password
        return Secret(f"postgresql://postgres:{word}@{host}:{self.server.port}/postgres?hostaddr=127.0.0.1{extra}")

    def presents(self, certificate: str | None) -> None:
        """Returns when new connections see it; None: no TLS at all."""
        settings = {"ssl": "off" if certificate is None else "on"}
        if certificate is not None:
            settings |= {"ssl_cert_file": f"{certificate}.crt", "ssl_key_file": f"{certificate}.key"}
            for name in settings["ssl_cert_file"], settings["ssl_key_file"]:
                self._install(name)
        with psycopg.connect(self.server.url().reveal(), autocommit=True) as connection:
            for name, value in settings.items():
                connection.execute(f"ALTER SYSTEM SET {name} = '{value}'".encode())
            connection.execute("SELECT pg_reload_conf()")
        wanted = None if certificate is None else ssl.PEM_cert_to_DER_cert((self.home / f"{certificate}.crt").read_text())
        deadline = time.monotonic() + 10
        while self._presented() != wanted:
            assert time.monotonic() < deadline, "the server does not take up its certificate"
            time.sleep(0.05)

    def _install(self, name: str) -> None:
        target = self.server.data_dir / name
        target.write_bytes((self.home / name).read_bytes())
        target.chmod(0o600)
        owner = self.server.data_dir.stat()
        os.chown(target, owner.st_uid, owner.st_gid)

    def _presented(self) -> bytes | None:
        with socket.create_connection(("127.0.0.1", self.server.port)) as plain:
            plain.sendall(struct.pack("!ii", 8, 80877103))
            if plain.recv(1) != b"S":
                return None
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            with context.wrap_socket(plain) as wrapped:
                return wrapped.getpeercert(binary_form=True)


def openssl(home: Path, *arguments: str) -> None:
    subprocess.run(["openssl", *arguments], cwd=home, check=True, capture_output=True)


def make_certificates(home: Path) -> None:
    """A CA, what it signed (fine, of another name, expired), and one that nobody signed."""
    new_key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    openssl(home, "req", "-x509", *new_key, "-keyout", "ca.key", "-out", "ca.crt", "-subj", "/CN=Test CA", "-days", "2")
    openssl(
        *(home, "req", "-x509", *new_key, "-keyout", "nobody.key", "-out", "nobody.crt", "-days", "2"),
        *("-subj", f"/CN={NAME}", "-addext", f"subjectAltName=DNS:{NAME}"),
    )
    for serial, (kind, name, days) in enumerate(
        (("fine", NAME, "2"), ("other", "other.example.com", "2"), ("expired", NAME, "-1"))
    ):
        (home / "names").write_text(f"subjectAltName=DNS:{name}\n")
        openssl(home, "req", *new_key, "-keyout", f"{kind}.key", "-out", "request", "-subj", f"/CN={name}")
        openssl(
            *(home, "x509", "-req", "-in", "request", "-CA", "ca.crt", "-CAkey", "ca.key", "-set_serial", str(serial + 2)),
            *("-days", days, "-extfile", "names", "-out", f"{kind}.crt"),
        )


@pytest.fixture(scope="module")
def remote(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tls]:
    if shutil.which("openssl") is None:
        pytest.skip("there is no openssl")
    home = tmp_path_factory.mktemp("certificates")
    make_certificates(home)
    with running(for_embedded(installations()), tcp=True) as server:
        yield Tls(server=server, home=home)


@pytest.fixture(autouse=True)
def nothing_of_ours(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No CA of the developer's own, and no PG* variables, take part."""
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("SSL_CERT_FILE", *(n for n in os.environ if n.startswith("PG"))):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def attempts(monkeypatch: pytest.MonkeyPatch) -> list[str | None]:
    """The sslmode of each attempt to connect."""
    made: list[str | None] = []
    real = Connection.connect

    def counted(**settings: Any) -> Connection:
        made.append(settings.get("sslmode"))
        return real(**settings)

    monkeypatch.setattr(Connection, "connect", counted)
    return made


def encrypted(url: Secret) -> bool:
    with session(url, application_name="t") as connection:
        row = connection.execute("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()").fetchone()
        return row is not None and bool(row[0])


def refused_by(remote: Tls, act: Callable[[], object]) -> AutopilotError:
    with pytest.raises(AutopilotError) as failed:
        act()
    assert remote.server.password.reveal() not in everything(failed.value)
    return failed.value


def test_a_known_ca_verifies(remote: Tls, attempts: list[str | None], monkeypatch: pytest.MonkeyPatch) -> None:
    remote.presents("fine")
    for extra in (
        f"&sslrootcert={remote.ca}",
        f"&sslrootcert={remote.ca}&sslmode=require",
        f"&sslrootcert={remote.ca}&sslmode=verify-full",
    ):
        assert encrypted(remote.url(extra))
    configured = resolved(remote.url(), ca_file=remote.ca, tls_verify="required")
    assert configured.warnings == ()
    assert parameters(configured.url)["sslrootcert"] == str(remote.ca)
    assert encrypted(configured.url)
    monkeypatch.setenv("PGSSLROOTCERT", str(remote.ca))
    assert encrypted(remote.url())
    assert set(attempts) == {"verify-full"}


def test_the_systems_cas_verify(remote: Tls, attempts: list[str | None], monkeypatch: pytest.MonkeyPatch) -> None:
    remote.presents("fine")
    monkeypatch.setenv("SSL_CERT_FILE", str(remote.ca))
    for extra in ("", "&sslmode=require", "&sslrootcert=system"):
        for verify in ("auto", "required"):
            found = resolved(remote.url(extra), tls_verify=verify)
            assert found.warnings == ()
            assert parameters(found.url)["sslmode"] == "verify-full"
            assert encrypted(found.url)
    assert set(attempts) == {"verify-full"}


@pytest.mark.parametrize("certificate", ["fine", "nobody", "expired"])
def test_a_certificate_nobody_vouches_for_is_warned_of_and_still_encrypted(
    remote: Tls, attempts: list[str | None], certificate: str
) -> None:
    remote.presents(certificate)
    found = resolved(remote.url())
    assert attempts == ["verify-full", "require"]
    assert len(found.warnings) == 1
    assert NAME in found.warnings[0]
    assert remote.server.password.reveal() not in found.warnings[0]
    assert encrypted(found.url)
    assert attempts == ["verify-full", "require", "require"]  # what was decided is not tried again
    assert encrypted(remote.url())  # and without having been decided, the same


@pytest.mark.parametrize("certificate", ["fine", "nobody"])
@pytest.mark.parametrize("extra", ["", "&sslmode=require"])
def test_required_verification_refuses_it(remote: Tls, attempts: list[str | None], certificate: str, extra: str) -> None:
    remote.presents(certificate)
    decided = resolved(remote.url(extra), tls_verify="required")
    error = refused_by(remote, lambda: connect(decided.url, application_name="t"))
    assert error.code == "tls_not_verified"
    assert "sslrootcert" in error.hint
    assert attempts == ["verify-full"]


@pytest.mark.parametrize("certificate", ["expired", "other", "nobody"])
@pytest.mark.parametrize("extra", ["", "&sslmode=verify-full", "&sslmode=require"])
def test_with_a_ca_that_is_named_there_is_no_other_way(
    remote: Tls, attempts: list[str | None], certificate: str, extra: str
) -> None:
    remote.presents(certificate)
    error = refused_by(remote, lambda: connect(remote.url(f"&sslrootcert={remote.ca}{extra}"), application_name="t"))
    assert error.code == "tls_not_verified"
    assert ("another name" in error.message) == (certificate == "other")
    assert not error.retryable
    assert attempts == ["verify-full"]


def test_a_certificate_of_another_name(remote: Tls, monkeypatch: pytest.MonkeyPatch) -> None:
    remote.presents("other")
    monkeypatch.setenv("SSL_CERT_FILE", str(remote.ca))
    assert refused_by(remote, lambda: resolved(remote.url())).code == "tls_not_verified"
    # who asks for encryption alone in so many words gets it, and is told
    assert len(resolved(remote.url("&sslmode=require")).warnings) == 1
    assert encrypted(remote.url(f"&sslmode=verify-ca&sslrootcert={remote.ca}"))
    assert encrypted(remote.url(f"&sslrootcert={remote.ca}", host="other.example.com"))


def test_a_wrong_password_is_never_tried_again(remote: Tls, attempts: list[str | None], monkeypatch: pytest.MonkeyPatch) -> None:
    remote.presents("fine")
    monkeypatch.setenv("SSL_CERT_FILE", str(remote.ca))
    with pytest.raises(UsageError) as failed:
        resolved(remote.url(password="not-the-password"))
    assert failed.value.code == "wrong_password"
    assert "not-the-password" not in failed.value.message + failed.value.hint
    assert attempts == ["verify-full"]


@pytest.mark.parametrize("extra", ["", "&sslmode=require", "&sslmode=verify-full"])
def test_a_remote_server_without_tls_is_refused(remote: Tls, attempts: list[str | None], extra: str) -> None:
    remote.presents(None)
    error = refused_by(remote, lambda: connect(remote.url(extra), application_name="t"))
    assert error.code == "tls_failed"
    assert "sslmode" in error.hint
    assert len(attempts) == 1


@pytest.mark.parametrize("extra", ["", "&sslmode=require"])
def test_whoever_declines_tls_is_told_nothing(extra: str) -> None:
    """What a wire that strips TLS would see: libpq's question whether it may, and then nothing."""
    heard: list[bytes] = []

    def decline(listener: socket.socket) -> None:
        client, _ = listener.accept()
        with client:
            client.settimeout(10)
            heard.append(client.recv(1024))
            client.sendall(b"N")
            heard.append(client.recv(1024))

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=decline, args=(listener,))
        thread.start()
        url = f"postgresql://somebody:hunter2-hunter2@{NAME}:{listener.getsockname()[1]}/db?hostaddr=127.0.0.1{extra}"
        with pytest.raises(Refused) as refused:
            connect(Secret(url), application_name="t")
        thread.join()
    assert refused.value.code == "tls_failed"
    assert heard == [struct.pack("!ii", 8, 80877103), b""]


def test_plain_text_is_refused_before_anything_is_sent(remote: Tls, attempts: list[str | None]) -> None:
    for mode in ("disable", "allow", "prefer"):
        url = remote.url(f"&sslmode={mode}")
        error = refused_by(remote, partial(connect, url, application_name="t"))
        assert (error.code, error.exit_code) == ("tls_required", 2)
    assert attempts == []


def test_the_environment_cannot_take_encryption_away(remote: Tls, monkeypatch: pytest.MonkeyPatch) -> None:
    remote.presents("fine")
    monkeypatch.setenv("PGSSLMODE", "disable")
    assert refused_by(remote, lambda: connect(remote.url(), application_name="t")).code == "tls_required"
    assert encrypted(remote.url(f"&sslmode=verify-full&sslrootcert={remote.ca}"))


def test_local_addresses_are_left_as_they_are(remote: Tls, attempts: list[str | None]) -> None:
    for url in (remote.server.url(), Secret(remote.server.url().reveal().replace("?sslmode=disable", ""))):
        found = resolved(url, tls_verify="required")
        assert (found.url, found.warnings) == (url, ())
    assert attempts == []


@pytest.mark.parametrize("certificate", ["fine", "nobody"])
def test_pg_dump_connects_in_the_way_that_was_decided(remote: Tls, certificate: str, monkeypatch: pytest.MonkeyPatch) -> None:
    remote.presents(certificate)
    monkeypatch.setenv("SSL_CERT_FILE", str(remote.ca))
    decided = resolved(remote.url())
    assert bool(decided.warnings) == (certificate == "nobody")
    variables = libpq_environment(parameters(decided.url))
    assert variables["PGSSLMODE"] == ("verify-full" if certificate == "fine" else "require")
    monkeypatch.delenv("SSL_CERT_FILE")  # the decision is in the address, and in nothing else
    for client in installations():
        done = run(Command(argv=(client.tool("pg_dump"), "--schema-only", "--no-password"), env=variables))
        # an older client gets as far as the server's version
        assert done.ok or "server version mismatch" in done.stderr, done.stderr


def test_the_probe_shows_its_name_and_leaves_no_session(remote: Tls) -> None:
    remote.presents("nobody")
    resolved(remote.url())
    with psycopg.connect(remote.server.url().reveal(), autocommit=True) as connection:
        deadline = time.monotonic() + 5
        count = "SELECT count(*) FROM pg_stat_activity WHERE application_name = %s"
        while connection.execute(count, (READER_NAME,)).fetchone() != (0,):
            assert time.monotonic() < deadline
            time.sleep(0.05)
