"""HTTP requests: the only place that makes one. Total deadline, body cap, no redirects."""

from __future__ import annotations

import contextlib
import functools
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import ssl

#: A reply beyond this is cut: nothing we read is longer, and a hostile host must not fill our memory.
BODY_CAP_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What came back. `status` 0 means that nothing did, and `failure` says why."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    duration_ms: int = 0
    #: "", or one of "connect" and "tls" (it was never sent), "timeout", "protocol" (it may have been).
    failure: str = ""
    #: The body goes on beyond what was read.
    is_cut: bool = False

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
        content: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        timeout_s: float,
    ) -> Reply: ...


def request(
    method: str,
    url: str,
    *,
    json: object | None = None,
    content: bytes | None = None,
    headers: Mapping[str, str] | None = None,
    timeout_s: float,
) -> Reply:
    """One request within `timeout_s` wall seconds, with a document or with bytes as they are.

    Never raises for what the network does; see `Reply.failure`.
    """
    import httpx2

    begun = time.monotonic()

    def failed(how: str) -> Reply:
        late = time.monotonic() - begun >= timeout_s
        return Reply(status=0, duration_ms=int((time.monotonic() - begun) * 1000), failure="timeout" if late else how)

    try:
        with (
            _cut_off_after(timeout_s) as extensions,
            httpx2.Client(verify=_trusted(), timeout=timeout_s, follow_redirects=False, trust_env=True) as client,
            client.stream(
                method, url, json=json, content=content, headers=dict(headers or {}), extensions=extensions
            ) as response,
        ):
            body, is_cut = _read(response.iter_bytes(), begun + timeout_s)
            return Reply(
                status=response.status_code, body=body, is_cut=is_cut,
                headers={k.lower(): v for k, v in response.headers.items()},
                duration_ms=int((time.monotonic() - begun) * 1000),
            )  # fmt: skip
    except (httpx2.TimeoutException, TimeoutError):
        return failed("timeout")
    except httpx2.ConnectError as cause:
        return failed("tls" if "ssl" in str(cause).lower() else "connect")
    except (httpx2.HTTPError, httpx2.InvalidURL, ValueError, OSError):
        return failed("protocol")


@functools.cache
def _trusted() -> ssl.SSLContext:
    """The certificates that are trusted, read once: reading them takes longer than most requests."""
    import httpx2

    return httpx2.create_ssl_context(trust_env=True)


def _read(pieces: Iterator[bytes], deadline_s: float) -> tuple[bytes, bool]:
    """The body as far as it is read, and whether it goes on. Raises TimeoutError."""
    body = bytearray()
    for piece in pieces:
        room = BODY_CAP_BYTES - len(body)
        body += piece[:room]
        if len(piece) > room:
            return bytes(body), True
        if time.monotonic() >= deadline_s:
            raise TimeoutError
    if time.monotonic() >= deadline_s:  # the end may be our own cutting off
        raise TimeoutError
    return bytes(body), False


@contextlib.contextmanager
def _cut_off_after(timeout_s: float) -> Iterator[dict[str, Any]]:
    """Extensions for a request whose connection is shut down at the deadline: a limit for each read alone would let a
    server that sends a byte a second hold us for ever."""
    streams: list[Any] = []
    is_over = threading.Event()

    def cut_off() -> None:
        is_over.set()
        for stream in streams:
            _shut_down(stream)

    def trace(event: str, info: Mapping[str, Any]) -> None:
        if event in {"connection.connect_tcp.complete", "connection.start_tls.complete", "proxy.stream.complete"}:
            streams.append(info["return_value"])
            if is_over.is_set():
                _shut_down(info["return_value"])

    timer = threading.Timer(timeout_s, cut_off)
    timer.daemon = True
    timer.start()
    try:
        yield {"trace": trace}
    finally:
        timer.cancel()


def _shut_down(stream: Any) -> None:
    found = stream.get_extra_info("socket")
    if isinstance(found, socket.socket):
        with contextlib.suppress(OSError):  # gone, or wrapped in TLS since
            found.shutdown(socket.SHUT_RDWR)
