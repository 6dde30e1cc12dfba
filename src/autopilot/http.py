"""HTTP requests: the only place that makes one. Total deadline, body cap, no redirects."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

#: A reply beyond this is cut: nothing we read is longer, and a hostile host must not fill our memory.
BODY_CAP_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What came back. `status` 0 means that nothing did, and `failure` says why."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    duration_ms: int = 0
    #: "", or one of "connect", "timeout", "tls", "protocol".
    failure: str = ""

    @property
    def ok(self) -> bool:
        return 200 <= self.status < 300

    def words(self) -> str:
        """The reply in a few words, for a message."""
        return f"HTTP {self.status}" if self.status else f"no answer ({self.failure})"


class Client(Protocol):
    """The one seam to the network for API calls and plain checks."""

    def __call__(
        self,
        method: str,
        url: str,
        *,
        json: object | None = None,
        headers: Mapping[str, str] | None = None,
        timeout_s: float,
    ) -> Reply: ...


def request(
    method: str,
    url: str,
    *,
    json: object | None = None,
    headers: Mapping[str, str] | None = None,
    timeout_s: float,
) -> Reply:
    """One request within `timeout_s` wall seconds. Never raises for what the network does; see `Reply.failure`."""
    import httpx2

    begun = time.monotonic()

    def took() -> int:
        return int((time.monotonic() - begun) * 1000)

    try:
        with (
            httpx2.Client(timeout=timeout_s, follow_redirects=False, trust_env=True) as client,
            client.stream(method, url, json=json, headers=dict(headers or {})) as response,
        ):
            body = bytearray()
            for piece in response.iter_bytes():
                body += piece[: BODY_CAP_BYTES - len(body)]
                if len(body) >= BODY_CAP_BYTES:
                    break
                if time.monotonic() - begun > timeout_s:
                    return Reply(status=0, duration_ms=took(), failure="timeout")
            return Reply(
                status=response.status_code,
                body=bytes(body),
                headers={k.lower(): v for k, v in response.headers.items()},
                duration_ms=took(),
            )
    except httpx2.TimeoutException:
        return Reply(status=0, duration_ms=took(), failure="timeout")
    except httpx2.ConnectError as cause:
        return Reply(status=0, duration_ms=took(), failure="tls" if "ssl" in str(cause).lower() else "connect")
    except (httpx2.HTTPError, httpx2.InvalidURL, ValueError):
        return Reply(status=0, duration_ms=took(), failure="protocol")
