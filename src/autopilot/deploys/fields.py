"""Fields of a host's documents, taken as what they should be or not at all."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from autopilot.deploys.answers import one_line

#: 9999-12-31 in milliseconds.
_LATEST_MS = 253_402_300_799_000


def at(found: object, *path: str) -> Any:
    """What stands at `path`; None where the way there does not."""
    for key in path:
        found = found.get(key) if isinstance(found, Mapping) else None
    return found


def text(found: object, *path: str) -> str | None:
    """A non-empty text at `path`."""
    value = at(found, *path)
    return value if isinstance(value, str) and value else None


def words(found: object, *path: str) -> str:
    """A text of people's, short and on one line; "" where there is none."""
    return one_line(text(found, *path) or "")


def flag(found: object, *path: str) -> bool | None:
    value = at(found, *path)
    return value if isinstance(value, bool) else None


def moment(found: object, *path: str) -> datetime | None:
    """ISO 8601 text, or milliseconds since 1970, as an aware time."""
    value = at(found, *path)
    if isinstance(value, str):
        try:
            parsed = datetime.fromisoformat(value)
        except ValueError:
            return None
        return parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _LATEST_MS:
        return datetime.fromtimestamp(value / 1000, UTC)
    return None


def address(found: object, *path: str) -> str | None:
    """An http(s) address; a bare host name becomes one."""
    value = text(found, *path)
    if value is None or any(c.isspace() or not c.isprintable() for c in value) or len(value) > 2000:
        return None
    return value if value.startswith(("https://", "http://")) else f"https://{value}" if "://" not in value else None
