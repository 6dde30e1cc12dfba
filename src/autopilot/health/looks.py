"""One look at the site, its health API and the database."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import psycopg

from autopilot.http import Client, Reply
from autopilot.postgres.session import Connection

_TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseLook:
    ok: bool
    response_time_ms: int
    words: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    #: None where no address is configured.
    site: Reply | None
    health: Reply | None
    database: DatabaseLook | None


def look(*, site_url: str | None, health_url: str | None, request: Client, database: Callable[[], DatabaseLook] | None) -> Look:
    """Asks all that is configured, past any cache."""
    return Look(
        site=_get(site_url, request),
        health=_get(health_url, request),
        database=None if database is None else database(),
    )


def _get(url: str | None, request: Client) -> Reply | None:
    if url is None:
        return None
    return request("GET", uncached(url), headers={"Cache-Control": "no-cache", "User-Agent": "autopilot"}, timeout_s=_TIMEOUT_S)


def uncached(url: str) -> str:
    """The URL with a query that no cache has seen."""
    parts = urlsplit(url)
    query = [*parse_qsl(parts.query, keep_blank_values=True), ("autopilot", f"{time.time_ns():x}")]
    return urlunsplit(parts._replace(query=urlencode(query)))


def ask_database(connection: Connection) -> DatabaseLook:
    begun = time.monotonic()
    try:
        connection.execute("SELECT 1")
    except psycopg.Error as cause:
        took_ms = int((time.monotonic() - begun) * 1000)
        return DatabaseLook(ok=False, response_time_ms=took_ms, words=" ".join(str(cause).split())[:200])
    return DatabaseLook(ok=True, response_time_ms=int((time.monotonic() - begun) * 1000), words="answers")
