"""A session on the target: bounded waits, a name that tells whose it is, and refusals in plain words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

from autopilot.errors import AutopilotError, Refused, UsageError
from autopilot.postgres import tls
from autopilot.postgres.address import completed, ipv6_only, parameters, refuse_transaction_port, shown, spelled, unresolved
from autopilot.postgres.bounded import BoundedConnection
from autopilot.postgres.queries import named
from autopilot.secret import Secret, literals, scrub

_QUERIES = named(__file__, "session.sql")

Connection = BoundedConnection

#: A writing run's sessions are named `autopilot:<run>`; what only reads is named otherwise, so that no one settles it.
RUN_PREFIX = "autopilot:"
#: A run's session on the lock has a name of its own: runs that wait for it are not orphans.
LOCK_PREFIX = "autopilot-lock:"
READER_NAME = "autopilot-reader"
OLDEST_MAJOR = 13


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """What the target is and what we may do there."""

    version_num: int
    version: str
    database: str
    role: str
    is_superuser: bool
    in_recovery: bool
    read_only: bool
    can_create_schema: bool
    #: Whether a backend can be told to notice that its client is gone (PostgreSQL 14+, on most platforms).
    checks_client: bool
    #: Locks on objects that all transactions together may surely hold.
    lock_table: int

    @property
    def major(self) -> int:
        return self.version_num // 10000


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolved:
    """An address that says how it is reached, so that every session and pg_dump connect in one and the same way."""

    url: Secret
    warnings: tuple[str, ...] = ()


def resolved(url: Secret, *, tls_verify: tls.Verify = "auto", ca_file: Path | None = None, timeout_s: float = 10.0) -> Resolved:
    """Decides once how `url` is encrypted and verified; connects only where the certificate decides it.

    ca_file: the configured CA, for a URL without `sslrootcert`.
    Raises what `connect` does.
    """
    params = completed(parameters(url))
    refuse_transaction_port(params)
    decision = _decided(params, verify=tls_verify, ca_file=ca_file, keep_require=False)
    if decision.otherwise is not None:
        connection, decision = _reached(url, params, decision, {"application_name": READER_NAME}, timeout_s)
        connection.close()
    chosen = {**params, **decision.changes}
    warnings = () if decision.warning is None else (decision.warning,)
    return Resolved(url=url if chosen == parameters(url) else spelled(chosen), warnings=warnings)


def connect(url: Secret, *, application_name: str, timeout_s: float = 10.0) -> Connection:
    """A new session in autocommit, UTF-8, with `application_name`; to a remote host encrypted, whatever happens.

    Raises UsageError (`bad_database_url`, `wrong_password`, `not_admitted`, `no_such_database`, `no_such_role`,
    `tls_required`) or Refused (`unreachable`, `unknown_host`, `ipv6_only`, `transaction_pooler`, `tls_failed`,
    `tls_not_verified`, `too_many_connections`).
    """
    params = completed(parameters(url))
    refuse_transaction_port(params)
    decision = _decided(params, verify="auto", ca_file=None, keep_require=True)
    return _reached(url, params, decision, {"application_name": application_name}, timeout_s)[0]


def _decided(params: Mapping[str, str], *, verify: tls.Verify, ca_file: Path | None, keep_require: bool) -> tls.Decision:
    trusted = tls.trust(ca_file, libpq=psycopg.pq.version())
    try:
        return tls.decide(params, verify=verify, trusted=trusted, keep_require=keep_require)
    except UsageError:
        # A misspelt host is told as what it is, not as a question of encryption.
        reason = unresolved(params)
        if reason is not None:
            raise connection_error(reason, params) from None
        raise


def _reached(
    url: Secret, params: Mapping[str, str], decision: tls.Decision, own: Mapping[str, str], timeout_s: float
) -> tuple[Connection, tls.Decision]:
    """A connection, and the decision that it came by."""
    chosen = {**params, **decision.changes}
    settings: dict[str, Any] = {
        "connect_timeout": str(max(2, int(timeout_s))),
        "keepalives_idle": "10",
        "keepalives_interval": "5",
        "keepalives_count": "3",
        **chosen,
        **own,
        "client_encoding": "UTF8",
    }
    try:
        return Connection.connect(autocommit=True, prepare_threshold=None, **settings), decision
    except psycopg.OperationalError as cause:
        reason = scrub(str(cause), known=literals(url))
    if decision.otherwise is not None and tls.fault(reason) in decision.excused:
        return _reached(url, params, decision.otherwise, own, timeout_s)
    raise _refusal(reason, chosen)


def _refusal(reason: str, params: Mapping[str, str]) -> AutopilotError:
    """What a failed connection means, where its words alone do not tell."""
    fault = tls.fault(reason)
    if fault is not None and tls.place(params) != "local":
        return tls.not_verified(params, fault, f"PostgreSQL says: {' '.join(reason.split())}")
    return ipv6_only(reason, params) or connection_error(reason, params)


@contextmanager
def session(url: Secret, *, application_name: str) -> Iterator[Connection]:
    """A session that is closed at the end of the block, whatever state it is in."""
    connection = connect(url, application_name=application_name)
    try:
        yield connection
    finally:
        connection.close()


def connection_error(reason: str, params: Mapping[str, str]) -> AutopilotError:
    """What a failed connection means, from libpq's words (which carry no error code)."""
    address, user = shown(params), params.get("user", "?")
    words = _sentences(reason)
    low = words.lower()
    for clues, kind, code, sentence, hint in _CONNECTION_FAILURES:
        if any(clue in low for clue in clues):
            return kind(
                sentence.format(address=address, user=user, database=params.get("dbname", user)) + f" PostgreSQL says: {words}",
                code=code,
                hint=hint,
                retryable=kind is Refused,
            )
    return Refused(
        f"No connection to {address}. PostgreSQL says: {words}",
        code="unreachable",
        hint="Check the address and that the server is up, then run again.",
        retryable=True,
    )


def _sentences(reason: str) -> str:
    """libpq's lines, which lack full stops, one after the other."""
    lines = [" ".join(line.split()) for line in reason.splitlines() if line.strip()]
    return " ".join(line if line.endswith((".", "?", "!", ":")) else f"{line}." for line in lines)


_CONNECTION_FAILURES: tuple[tuple[tuple[str, ...], type[Refused | UsageError], str, str, str], ...] = (
    (
        ("password authentication failed", "no password supplied", "sasl authentication failed", "tenant or user not found"),
        UsageError, "wrong_password",
        "The server at {address} does not accept the password (or the user {user!r}).",
        "Check the password in the database URL; on Supabase take the URL anew from Project Settings → Database.",
    ),
    (
        ("no pg_hba.conf entry", "peer authentication failed", "ident authentication failed"),
        UsageError, "not_admitted",
        "The server at {address} does not admit the user {user!r} from here.",
        "Add a line to pg_hba.conf for this user and address, or connect the way the server asks for (TLS, another user).",
    ),
    (
        ("too many connections", "remaining connection slots", "too many clients", "max clients reached"),
        Refused, "too_many_connections",
        "The server at {address} has no free connection.",
        "Wait or close idle connections, then run again.",
    ),
    (
        ("is not permitted to log in", "permission denied for database", "is not currently accepting connections"),
        UsageError, "not_admitted",
        "The server at {address} does not let the user {user!r} in.",
        "Grant what is missing (LOGIN to the role, CONNECT on the database), or use another role.",
    ),
    (
        ('database "',), UsageError, "no_such_database",
        "There is no database {database!r} at {address}.",
        "Check the name after the last / of the database URL.",
    ),
    (('role "',), UsageError, "no_such_role", "There is no role {user!r} at {address}.", "Check the user in the database URL."),
    (
        ("server does not support ssl",), Refused, "tls_failed",
        "The server at {address} takes unencrypted connections only.",
        "Turn TLS on there (ssl = on); on this machine or in a private network sslmode=disable in the URL does without.",
    ),
    (
        ("certificate", "ssl", "tls"), Refused, "tls_failed",
        "No encrypted connection to {address}.",
        "Check sslmode and sslrootcert in the database URL, and that the host name is the certificate's.",
    ),
    (
        ("failed to resolve host", "could not translate host name", "name or service not known", "nodename nor servname"),
        Refused, "unknown_host",
        "The host of {address} has no address.",
        "Check its spelling, and the name server of this machine.",
    ),
)  # fmt: skip


def look(connection: Connection) -> Server:
    """Who and where we are. Raises Refused (`server_too_old`)."""
    version_num = connection.info.server_version
    refuse_too_old(version_num, str(connection.info.parameter_status("server_version")))
    row = connection.execute(_QUERIES["look"]).fetchone()
    if row is None:  # pragma: no cover - a SELECT without FROM has a row
        raise AssertionError
    database, role, is_superuser, in_recovery, read_only, can_create, checks_client, lock_table = row
    return Server(
        version_num=version_num,
        version=str(connection.info.parameter_status("server_version")).split(" ", 1)[0],
        database=database,
        role=role,
        is_superuser=is_superuser,
        in_recovery=in_recovery,
        read_only=read_only,
        can_create_schema=can_create,
        checks_client=checks_client,
        lock_table=lock_table,
    )


def size_bytes(connection: Connection) -> int:
    """What the database takes on disk; the server looks at each of its files for it."""
    row = connection.execute(_QUERIES["size"]).fetchone()
    return 0 if row is None else int(row[0])


def refuse_too_old(version_num: int, version: str) -> None:
    """Raises Refused (`server_too_old`): pg_xact_status and the transaction ids we rely on came with 13."""
    if version_num // 10000 < OLDEST_MAJOR:
        raise Refused(
            f"The server is PostgreSQL {version}; Autopilot needs {OLDEST_MAJOR} or newer.",
            code="server_too_old",
            hint=f"Upgrade the server to PostgreSQL {OLDEST_MAJOR} or newer.",
        )


def require_writable(server: Server) -> None:
    """Raises Refused (`read_only_database`) on a standby or a read-only default."""
    if server.in_recovery:
        raise Refused(
            "The target is a standby: it takes no writes.",
            code="read_only_database",
            hint="Give the address of the primary server.",
        )
    if server.read_only:
        raise Refused(
            f"Transactions of {server.role!r} are read-only there (default_transaction_read_only).",
            code="read_only_database",
            hint="Use a role that may write; on Supabase, check that the project is not in read-only mode (disk full).",
        )
