"""A host's JSON API: asked within a wall limit, and at the pace it asks for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from autopilot.clock import Clock
from autopilot.deploys.answers import PASSING, refuse
from autopilot.http import Client, Reply
from autopilot.secret import Secret, literals

#: One answer; and all tries of one request with the waits between them (reliability.md 3.6).
_TIMEOUT_S = 20.0
_LIMIT_S = 600.0
_BACKOFF_S = (1.0, 3.0, 9.0, 27.0)
#: Nobody waits longer at a host's word.
_LONGEST_WAIT_S = 600.0
#: Surely not acted upon.
_NOT_DONE = frozenset({425, 429})


@dataclass(slots=True, kw_only=True)
class Pacing:
    """How often and how fast a host is asked."""

    clock: Clock
    #: Until when it asked to be left alone, on the monotonic clock.
    not_before_s: float = 0.0

    def tried(self, once: Callable[[], Reply], *, again: frozenset[int] = _NOT_DONE) -> Reply:
        """The last answer: asked again after a status in `again`, and where nothing was sent, within the limit."""
        deadline_s = self.clock.monotonic_s() + _LIMIT_S
        for wait_s in _BACKOFF_S:
            reply = self._asked(once, deadline_s)
            never_sent = reply.failure in {"connect", "tls"}
            if not (never_sent or reply.status in again) or not self._waited(reply, wait_s, deadline_s):
                return reply
        return self._asked(once, deadline_s)

    def _asked(self, once: Callable[[], Reply], deadline_s: float) -> Reply:
        """A host that said that nothing is left is left alone until it may be asked again."""
        wait_s = self.not_before_s - self.clock.monotonic_s()
        if wait_s > 0:
            self.clock.sleep(min(wait_s, max(0.0, deadline_s - self.clock.monotonic_s())))
        reply = once()
        if reply.ok and _remaining(reply) == 0:
            asked_s = asked_to_wait_s(reply, now=self.clock.now())
            if asked_s is not None:
                self.not_before_s = self.clock.monotonic_s() + min(asked_s, _LONGEST_WAIT_S)
        return reply

    def _waited(self, reply: Reply, wait_s: float, deadline_s: float) -> bool:
        """Waits for the next try, unless the limit would be over by then."""
        asked_s = asked_to_wait_s(reply, now=self.clock.now()) if reply.status in {429, 503} else None
        wait_s = wait_s if asked_s is None else asked_s
        if wait_s > _LONGEST_WAIT_S or self.clock.monotonic_s() + wait_s >= deadline_s:
            return False
        self.clock.sleep(wait_s)
        return True


@dataclass(frozen=True, slots=True, kw_only=True)
class Api:
    #: As a person calls it.
    name: str
    #: The variable that holds the token.
    token_variable: str
    url: str
    token: Secret
    request: Client
    pacing: Pacing

    def get(self, path: str) -> Reply:
        """What is at `path`. Raises UsageError (`host_denied`) and Refused (`host_*`)."""
        return self._ask("GET", path, PASSING)

    def send(
        self, method: str, path: str, *, is_repeatable: bool, content: bytes | None = None, kind: str | None = None
    ) -> Reply:
        """Asks for an effect. Raises as `get` does.

        Unless twice is as good as once (`is_repeatable`), it is asked for again only where the first was surely not acted upon,
        and a failure that may have had its effect is Refused (`host_unsure`): look before asking again.
        """
        return self._ask(method, path, PASSING if is_repeatable else _NOT_DONE, content=content, kind=kind)

    def _ask(
        self, method: str, path: str, again: frozenset[int], *, content: bytes | None = None, kind: str | None = None
    ) -> Reply:
        headers = {"Authorization": f"Bearer {self.token.reveal()}", "Accept": "application/json", "User-Agent": "autopilot"}
        if kind is not None:
            headers["Content-Type"] = kind
        reply = self.pacing.tried(
            lambda: self.request(method, self.url + path, content=content, headers=headers, timeout_s=_TIMEOUT_S), again=again
        )
        refuse(self.name, reply, token_variable=self.token_variable, is_effect=method != "GET", known=literals(self.token))
        return reply


def asked_to_wait_s(reply: Reply, *, now: datetime) -> float | None:
    """What Retry-After (seconds, or a date) asks for, or else the moment at which a rate limit begins anew.

    X-RateLimit-Reset is in unix seconds (Netlify, Vercel: health.md, section 6).
    """
    text = reply.headers.get("retry-after", "").strip()
    if text.isascii() and text.isdecimal():
        return float(text[:9])
    if text:
        try:
            at = parsedate_to_datetime(text)
        except (ValueError, IndexError, TypeError, OverflowError):
            at = None
        if at is not None:
            at = at if at.tzinfo else at.replace(tzinfo=UTC)
            return max(0.0, (at - now).total_seconds())
    reset = reply.headers.get("x-ratelimit-reset", "").strip()
    if reset.isascii() and reset.isdecimal() and len(reset) <= 11:
        return max(0.0, float(reset) - now.timestamp())
    return None


def _remaining(reply: Reply) -> int | None:
    text = reply.headers.get("x-ratelimit-remaining", "").strip()
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 10 else None
