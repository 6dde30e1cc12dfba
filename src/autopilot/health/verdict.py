"""What a look adds up to: healthy or not, and which deploy answered."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from autopilot.health.looks import Look
from autopilot.http import Reply

#: A commit is told apart by its first seven digits at least.
_SHORTEST_COMMIT = 7
_COMMIT = re.compile(r"^[0-9a-f]{7,64}\Z")
_META = re.compile(rb"<meta\b[^>]{0,400}>", re.IGNORECASE)
_META_NAME = re.compile(rb"\bname\s{0,9}=\s{0,9}[\"']?commit\b", re.IGNORECASE)
_META_CONTENT = re.compile(rb"\bcontent\s{0,9}=\s{0,9}[\"']?([0-9a-fA-F]{7,64})\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    #: "healthy", "degraded" or "unhealthy".
    status: str
    #: The commit that answered, where something echoes it.
    commit: str | None
    response_time_ms: int
    #: `health_log.checks`.
    checks: Mapping[str, str | int | None]
    words: str


def verdict(look: Look) -> Verdict:
    """healthy: all that was asked answers well; degraded: the site answers and something behind it does not."""
    bad = _complaints(look)
    site_ok = look.site is None or _fine(look.site)
    status = "healthy" if not bad else "degraded" if site_ok and look.site is not None else "unhealthy"
    return Verdict(
        status=status,
        commit=_echoed(look),
        response_time_ms=max([r.duration_ms for r in (look.site, look.health) if r is not None], default=_database_ms(look)),
        checks=_checks(look),
        words="; ".join(bad) or "all that was asked answers well",
    )


def same_commit(echoed: str | None, expected: str | None) -> bool | None:
    """Whether the expected commit answered; None where that cannot be told."""
    if expected is None or echoed is None:
        return None
    shorter = min(len(echoed), len(expected))
    return shorter >= _SHORTEST_COMMIT and echoed[:shorter].lower() == expected[:shorter].lower()


def _fine(reply: Reply) -> bool:
    return 200 <= reply.status < 400


def _complaints(look: Look) -> list[str]:
    bad = []
    if look.site is not None and not _fine(look.site):
        bad.append(f"the site gives {look.site.words()}")
    if look.health is not None and not look.health.ok:
        bad.append(f"the health API gives {look.health.words()}")
    if look.database is not None and not look.database.ok:
        bad.append(f"the database does not answer: {look.database.words}")
    return bad


def _checks(look: Look) -> Mapping[str, str | int | None]:
    return {
        "site_status": None if look.site is None else str(look.site.status),
        "site_response_time": None if look.site is None else look.site.duration_ms,
        "health_status": None if look.health is None else str(look.health.status),
        "health_response_time": None if look.health is None else look.health.duration_ms,
        "db_status": None if look.database is None else "200" if look.database.ok else "503",
        "db_response_time": _database_ms(look),
        "commit": _echoed(look),
    }


def _database_ms(look: Look) -> int:
    return 0 if look.database is None else look.database.response_time_ms


def _echoed(look: Look) -> str | None:
    """The commit in the health API's JSON, its header, or the page's meta tag. Where
    nothing that is fine tells it, an API that complains may."""
    answered = [reply for reply in (look.health, look.site) if reply is not None]
    fine = [reply for reply in answered if _fine(reply)]
    for reply in (*fine, *(r for r in answered if r is look.health and r not in fine)):
        for found in (*_from_json(reply), reply.headers.get("x-commit", ""), _from_meta(reply)):
            if _COMMIT.match(found.lower()):
                return found.lower()
    return None


def _from_json(reply: Reply) -> tuple[str, ...]:
    try:
        document = msgspec.json.decode(reply.body)
    except (msgspec.DecodeError, RecursionError):
        return ()
    if not isinstance(document, dict):
        return ()
    return tuple(
        found for key in ("commit", "commit_sha", "commit_ref", "version") if isinstance(found := document.get(key), str)
    )


def _from_meta(reply: Reply) -> str:
    for tag in _META.findall(reply.body):
        content = _META_CONTENT.search(tag)
        if _META_NAME.search(tag) and content is not None:
            return bytes(content[1]).decode()
    return ""
