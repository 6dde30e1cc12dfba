"""Sizes, spans of time and numbers of things as people write them: "20 GiB", "7 days", "1 row"."""

from __future__ import annotations

import re

from autopilot.errors import UsageError

_SIZE = re.compile(r"\s*([0-9]{1,15}(?:\.[0-9]{1,3})?)\s*([A-Za-z]*)\s*")
_BYTES = {
    "": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12,
    "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40, "kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30, "tib": 1 << 40,
}  # fmt: skip
_SPAN = re.compile(r"\s*([0-9]{1,6})\s*([A-Za-z]+)\s*")
_SECONDS = {"m": 60, "min": 60, "minute": 60, "h": 3600, "hour": 3600, "d": 86_400, "day": 86_400, "week": 604_800}
#: What says that there is no limit, or no schedule.
OFF = frozenset({"", "off", "never"})


def size_bytes(key: str, value: int | str) -> int | None:
    """Bytes; None where the value says "off". Raises UsageError (`config_value`)."""
    if isinstance(value, int):
        found = value
    elif value.strip().lower() in OFF:
        return None
    else:
        match = _SIZE.fullmatch(value)
        unit = None if match is None else _BYTES.get(match[2].lower())
        found = -1 if match is None or unit is None else int(float(match[1]) * unit)
    if found < 0:
        raise _wrong(key, value, 'a size like "20 GiB", a number of bytes, or "off"')
    return found


def span_s(key: str, value: str) -> float | None:
    """Seconds; None where the value says "off". Raises UsageError (`config_value`)."""
    if value.strip().lower() in OFF:
        return None
    match = _SPAN.fullmatch(value)
    unit = None if match is None else _SECONDS.get(match[2].lower().removesuffix("s") or "s")
    if match is None or unit is None or int(match[1]) == 0:
        raise _wrong(key, value, 'a span like "7 days" or "12 hours", or "off"')
    return float(int(match[1]) * unit)


def counted(number: int, noun: str, plural: str = "") -> str:
    """So many of them, for a person: "1 row", "2,000 rows", "3 entries". plural: where it is not the noun with an s."""
    return f"{number:,} " + (noun if number == 1 else plural or f"{noun}s")


def size_in_words(number: int) -> str:
    """Bytes for a person."""
    for unit, shift in (("TiB", 40), ("GiB", 30), ("MiB", 20)):
        if number >= 1 << shift:
            return f"{number / (1 << shift):.1f} {unit}"
    return f"{number / 1024:.0f} KiB"


def span_in_words(seconds: float) -> str:
    """A span for a person, in its largest whole unit."""
    for unit, length in (("day", 86_400), ("hour", 3600), ("minute", 60)):
        if seconds >= length:
            return counted(int(seconds // length), unit)
    return "less than a minute"


def _wrong(key: str, value: object, wanted: str) -> UsageError:
    return UsageError(
        f"The configuration has a wrong value: {key} = {str(value)[:40]!r} is not {wanted}.",
        code="config_value",
        hint="Write it like that.",
    )


def about_in_words(duration_ms: float) -> str:
    """A span of time that is only an estimate, for a person."""
    if duration_ms < 950:
        return f"{max(1, round(duration_ms, -1 if duration_ms >= 100 else 0)):.0f} ms"
    seconds = duration_ms / 1000
    return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
