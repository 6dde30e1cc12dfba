"""A provider's JSON API: tried again where that may help, and looked at before it is believed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from autopilot.clock import Clock
from autopilot.errors import Refused
from autopilot.http import Client, Reply
from autopilot.secret import Secret

_TIMEOUT_S = 30.0
#: Waits before the next tries; Retry-After goes first, as far as `_LONGEST_WAIT_S`.
_BACKOFF_S = (1.0, 3.0, 9.0)
_LONGEST_WAIT_S = 60.0
#: 423: another operation of the project is under way.
_NOT_DONE = frozenset({423, 429, 503})
_PASSING = _NOT_DONE | {0, 408, 425, 500, 502, 504}


@dataclass(frozen=True, slots=True, kw_only=True)
class Api:
    #: As a person calls it.
    name: str
    #: The variable that holds the key.
    key_variable: str
    url: str
    key: Secret
    request: Client
    clock: Clock

    def get(self, path: str) -> dict[str, Any]:
        """Raises Refused (`restore_point_denied`, `restore_point_unreachable`, `restore_point_failed`)."""
        return self._document(self._ask("GET", path, None, _PASSING))

    def post(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Asked again only where the first was surely not acted upon. Raises as `get` does."""
        return self._document(self._ask("POST", path, body, _NOT_DONE))

    def delete(self, path: str) -> None:
        """Gone, or never there. Raises as `get` does."""
        reply = self._ask("DELETE", path, None, _PASSING)
        if reply.status != 404:
            self._refuse(reply)

    def _ask(self, method: str, path: str, body: Mapping[str, Any] | None, again: frozenset[int]) -> Reply:
        headers = {"Authorization": f"Bearer {self.key.reveal()}", "Accept": "application/json"}
        reply = Reply(status=0, failure="connect")
        for wait_s in (*_BACKOFF_S, None):
            reply = self.request(method, self.url + path, json=body, headers=headers, timeout_s=_TIMEOUT_S)
            if reply.status not in again or wait_s is None:
                break
            self.clock.sleep(min(_retry_after_s(reply, wait_s), _LONGEST_WAIT_S))
        return reply

    def _document(self, reply: Reply) -> dict[str, Any]:
        self._refuse(reply)
        try:
            found = msgspec.json.decode(reply.body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            found = None
        if not isinstance(found, dict):
            raise self.unbelievable("its answer is not the JSON that its documentation shows")
        return found

    def _refuse(self, reply: Reply) -> None:
        if reply.ok:
            return
        if reply.status in {401, 403}:
            raise Refused(
                f"{self.name} does not accept the key: {reply.words()}.",
                code="restore_point_denied",
                hint=f"Check {self.key_variable}: it has to be valid, and may read and make what the restore point takes.",
            )
        if reply.status in _PASSING:
            raise Refused(
                f"{self.name} could not be asked: {reply.words()}.",
                code="restore_point_unreachable", hint="Look at its status page, then run again.", retryable=True,
            )  # fmt: skip
        raise self.unbelievable(f"it answers {reply.words()}")

    def unbelievable(
        self, why: str, hint: str = "Check the project's id; nothing was applied without a restore point."
    ) -> Refused:
        """A restore point that cannot be relied on is none."""
        return Refused(f"There is no restore point at {self.name}: {why}.", code="restore_point_failed", hint=hint)


def _retry_after_s(reply: Reply, default_s: float) -> float:
    text = reply.headers.get("retry-after", "")
    return float(text) if text.isascii() and text.isdecimal() else default_s


def text_at(found: object, *path: str | int) -> str:
    """The non-empty text at `path` of a document; "" where something else is there."""
    at: Any = found
    for key in path:
        if isinstance(key, int):
            at = at[key] if isinstance(at, list) and len(at) > key else None
        else:
            at = at.get(key) if isinstance(at, dict) else None
    return at if isinstance(at, str) else ""
