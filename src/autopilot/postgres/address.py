"""A database's address: read without ever repeating its password, handed to libpq programs by environment."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import quote

import psycopg
from psycopg.conninfo import conninfo_to_dict

from autopilot.errors import Refused, UsageError
from autopilot.secret import Secret


def parameters(url: Secret) -> dict[str, str]:
    """libpq's connection parameters, by keyword. Raises UsageError (`bad_database_url`)."""
    text = url.reveal().strip()
    if "\x00" in text:
        raise _bad("it holds a NUL character")
    if not text.isprintable():
        raise _bad("it holds a character that cannot be shown or is not UTF-8")
    scheme = re.match(r"([A-Za-z][A-Za-z0-9+.-]{0,30})://", text)
    if scheme is not None and scheme[1] not in {"postgres", "postgresql"}:
        raise _bad(f"it begins with {scheme[1]!r}, not with postgresql")
    if scheme is None and "=" not in text:
        raise _bad("it is neither a postgresql:// URL nor a list of keyword=value pairs")
    if scheme is not None and text.split("://", 1)[1].split("?", 1)[0].count("@") > 1:
        raise _bad("it holds more than one @; in a user name or password write %40 for @ (and %2F for /, %23 for #, %25 for %)")
    try:
        found: dict[str, Any] = conninfo_to_dict(text)
    except psycopg.ProgrammingError as cause:
        # libpq's own sentence repeats the whole word it stumbled over, password included
        raise _bad(_reason(str(cause))) from None
    read = {key: str(value) for key, value in found.items() if value is not None}
    _refuse_odd_numbers(read)
    return read


def _refuse_odd_numbers(read: Mapping[str, str]) -> None:
    for port in filter(None, read.get("port", "").split(",")):
        if not (port.isascii() and port.isdecimal() and 0 < int(port) < 65536):
            raise _bad("its port is not a number from 1 to 65535")
    limit = read.get("connect_timeout", "0")
    if not re.fullmatch(r"-?[0-9]{1,9}", limit):
        raise _bad("its connect_timeout is not a whole number of seconds")


def _bad(reason: str) -> UsageError:
    return UsageError(
        f"The database URL cannot be read: {reason}.",
        code="bad_database_url",
        hint="Write it as postgresql://USER:PASSWORD@HOST:5432/DATABASE, with reserved characters percent-encoded.",
    )


def _reason(libpq: str) -> str:
    for clue, reason in (
        ("forbidden value %00", "it holds %00"),
        (
            "percent-encoded",
            "a % in it does not begin a two-digit hexadecimal code (write %25 for a plain %)",
        ),
        ("invalid URI query parameter", "it has a parameter after ? that PostgreSQL does not know"),
        ("missing key/value separator", "a parameter after ? has no ="),
        ("extra key/value separator", "a parameter after ? has more than one ="),
        ("port number", "its port is not a number"),
        ("invalid integer value", "its port is not a number"),
        ("IPv6", "its IPv6 address is not closed by ]"),
        ("unexpected character", "it has an unexpected character after the host or port"),
        ("invalid connection option", "it has an option that PostgreSQL does not know"),
    ):
        if clue in libpq:
            return reason
    return "it is not in the form that PostgreSQL expects"


def shown(params: Mapping[str, str]) -> str:
    """The address for a person: user, host, port and database, never a password."""
    host = params.get("host", "local socket")
    port = params.get("port", "5432")
    user = f"{params['user']}@" if "user" in params else ""
    return f"{user}{host}:{port}/{params.get('dbname', params.get('user', ''))}"


def libpq_environment(params: Mapping[str, str]) -> dict[str, str]:
    """The same address as PG* variables, for pg_dump and pg_restore: nothing secret reaches an argv."""
    names = {
        option.keyword.decode(): option.envvar.decode()
        for option in psycopg.pq.Conninfo.get_defaults()
        if option.envvar is not None
    }
    return {names[key]: value for key, value in params.items() if key in names}


#: What libpq takes from the environment for an address that does not say it, and what decides where and how we connect.
_FROM_ENVIRONMENT = {
    "host": "PGHOST",
    "hostaddr": "PGHOSTADDR",
    "port": "PGPORT",
    "service": "PGSERVICE",
    "sslmode": "PGSSLMODE",
    "sslrootcert": "PGSSLROOTCERT",
}


def completed(params: Mapping[str, str], variables: Mapping[str, str] = os.environ) -> dict[str, str]:
    """`params` with what libpq would take from the environment, which pg_dump does not get from us."""
    return {key: variables[name] for key, name in _FROM_ENVIRONMENT.items() if variables.get(name)} | dict(params)


def spelled(params: Mapping[str, str]) -> Secret:
    """The URL of `params`: read again, it is the same."""
    user, password = (quote(params.get(key, ""), safe="") for key in ("user", "password"))
    who = f"{user}:{password}@" if password else f"{user}@" if user else ""
    rest = {key: value for key, value in params.items() if key not in {"user", "password", "dbname"}}
    query = "&".join(f"{key}={quote(value, safe='')}" for key, value in rest.items())
    return Secret(f"postgresql://{who}/{quote(params.get('dbname', ''), safe='')}" + (f"?{query}" if query else ""))


def endpoints(params: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """Each host that would be tried, with its port."""
    hosts = (params.get("host") or params.get("hostaddr") or "").split(",")
    ports = [port.strip() or "5432" for port in params.get("port", "").split(",")]
    return tuple(zip(hosts, ports * len(hosts) if len(ports) == 1 else ports, strict=False))


def is_supabase(host: str) -> bool:
    return host.lower().removesuffix(".").endswith((".supabase.co", ".supabase.com"))


_TRANSACTION_PORT = "6543"


def refuse_transaction_port(params: Mapping[str, str]) -> None:
    """Raises Refused (`transaction_pooler`) for Supabase's transaction poolers, which their port gives away."""
    for host, port in endpoints(params):
        if is_supabase(host) and port == _TRANSACTION_PORT:
            raise transaction_pooler(params, "Supabase hands out server connections by the transaction on port 6543")


def transaction_pooler(params: Mapping[str, str], evidence: str) -> Refused:
    """A session is needed: for the lock, for settings that last, and for statements outside a transaction."""
    return Refused(
        f"At {shown(params)} is a transaction pooler: {evidence}. Locks and settings of a session do not last there.",
        code="transaction_pooler",
        hint=_instead(params),
    )


def _instead(params: Mapping[str, str]) -> str:
    hosts = [host for host, _ in endpoints(params)]
    host = next((h for h in hosts if is_supabase(h)), hosts[0])
    if host.lower().endswith(".pooler.supabase.com"):
        direct = f"db.{project(params) or '<ref>'}.supabase.co:5432"
        return f"Use port 5432 of the same host, which is session mode: {host}:5432; or the direct address: {direct}."
    if is_supabase(host):
        return f"Use port 5432 of the same host, which is the database itself: {host}:5432."
    first, dot, rest = host.partition(".")
    if first.endswith("-pooler"):
        return f"Use the database's own address: {first.removesuffix('-pooler')}{dot}{rest}."
    return "Use the database's own address instead of the pooler's, or a pool in session mode (PgBouncer: pool_mode = session)."


def project(params: Mapping[str, str]) -> str | None:
    """Supabase's name of the project: in the direct host, or behind the dot of the pooler's user."""
    for host, _ in endpoints(params):
        direct = re.fullmatch(r"db\.([a-z0-9]+)\.supabase\.(?:co|com)", host.lower())
        if direct is not None:
            return direct[1]
    user = params.get("user", "").rpartition(".")
    return user[2] if user[1] and re.fullmatch(r"[a-z0-9]+", user[2]) else None


Lookup = Callable[..., Sequence[tuple[Any, ...]]]


def unresolved(params: Mapping[str, str], *, lookup: Lookup = socket.getaddrinfo) -> str | None:
    """The name server's complaint when not one of the hosts has an address."""
    complaint = None
    if not (params.get("hostaddr") or params.get("host")):
        return None
    for host in (params.get("hostaddr") or params.get("host") or "").split(","):
        try:
            lookup(host, None, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as cause:
            complaint = f"failed to resolve host {host!r}: {cause}"
        else:
            return None
    return complaint


_NO_WAY = ("network is unreachable", "cannot assign requested address", "address family not supported")


def ipv6_only(reason: str, params: Mapping[str, str], *, lookup: Lookup = socket.getaddrinfo) -> Refused | None:
    """The refusal when `reason` comes of a host that has IPv6 addresses alone, and a machine that has no way to them."""
    if not any(clue in reason.lower() for clue in _NO_WAY):
        return None
    hosts = (params.get("hostaddr") or params.get("host") or "").split(",")
    try:
        families = {found[0] for host in hosts for found in lookup(host, None, type=socket.SOCK_STREAM)}
    except (OSError, UnicodeError):
        return None
    if families != {socket.AF_INET6}:
        return None
    return Refused(
        f"The host of {shown(params)} has IPv6 addresses only, and this machine has no IPv6 (GitHub's runners have none).",
        code="ipv6_only",
        hint=_by_ipv4(params),
    )


def _by_ipv4(params: Mapping[str, str]) -> str:
    ref = project(params)
    if ref is not None and any(is_supabase(host) for host, _ in endpoints(params)):
        return (
            "Use the project's session pooler, which has IPv4 (Connect → Session pooler):"
            f" host aws-….pooler.supabase.com, port 5432, user postgres.{ref}; or buy Supabase's IPv4 add-on."
        )
    return "Use an address of the database that has IPv4, or run where there is IPv6."
