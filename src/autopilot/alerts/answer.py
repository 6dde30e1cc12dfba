"""What a channel's reply means for the message: told, to be tried again, or refused for good."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Literal

from autopilot.clock import Clock
from autopilot.http import Reply
from autopilot.secret import Secret, literals, scrub

#: A host that asks for a longer rest than a day is asked again after a day.
_LONGEST_REST_S = 86_400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    #: "told"; "later": it may work another time; "never": the same message would be refused again.
    verdict: Literal["told", "later", "never"]
    words: str
    #: How long the channel asks to be left alone.
    rest_s: float | None = None


def read(reply: Reply, *, who: str, secret: Secret, now: datetime) -> Answer:
    """429, 408, 425, 5xx and silence may pass; another 3xx or 4xx is a refusal."""
    if reply.ok:
        return Answer(verdict="told", words=f"{who} took it ({reply.words()})")
    said = " ".join(reply.body[:200].decode("utf-8", "replace").split())[:80] if reply.status else ""
    words = scrub(f"{who} gave {reply.words()}" + (f" ({said})" if said else ""), known=literals(secret))
    if reply.status == 0 or reply.status >= 500 or reply.status in {408, 425, 429}:
        return Answer(verdict="later", words=words, rest_s=rest_asked_s(reply, now=now))
    return Answer(verdict="never", words=words)


def rest_asked_s(reply: Reply, *, now: datetime) -> float | None:
    """Retry-After, as seconds or as a date; None where there is none that can be read."""
    text = reply.headers.get("retry-after", "").strip()
    if text.isascii() and text.isdecimal():
        return min(_LONGEST_REST_S, float(text[:9]))
    try:
        until = parsedate_to_datetime(text) if text else None
    except (ValueError, TypeError):
        return None
    if until is None:
        return None
    return min(_LONGEST_REST_S, max(0.0, (until if until.tzinfo else until.replace(tzinfo=UTC)).timestamp() - now.timestamp()))


def patiently(post: Callable[[], Answer], *, clock: Clock, within_s: float) -> Answer:
    """Up to three tries within `within_s`; a rest that the channel asks for beyond that is left to a later run."""
    deadline_s = clock.monotonic_s() + within_s
    for usual_s in (1.0, 2.0, None):
        answer = post()
        if answer.verdict != "later" or usual_s is None:
            break
        pause_s = usual_s if answer.rest_s is None else answer.rest_s
        if clock.monotonic_s() + pause_s >= deadline_s:
            break
        clock.sleep(pause_s)
    return answer
