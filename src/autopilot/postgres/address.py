"""A database's address: read without ever repeating its password, handed to libpq programs by environment."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict

from autopilot.errors import UsageError
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
    return f"{params.get('user', '?')}@{host}:{port}/{params.get('dbname', params.get('user', '?'))}"


def libpq_environment(params: Mapping[str, str]) -> dict[str, str]:
    """The same address as PG* variables, for pg_dump and pg_restore: nothing secret reaches an argv."""
    names = {
        option.keyword.decode(): option.envvar.decode()
        for option in psycopg.pq.Conninfo.get_defaults()
        if option.envvar is not None
    }
    return {names[key]: value for key, value in params.items() if key in names}
