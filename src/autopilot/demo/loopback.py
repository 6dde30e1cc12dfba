"""What the stand-ins share: a quiet server on 127.0.0.1 that announces itself once and leaves when told."""

from __future__ import annotations

import json
import os
import signal
import socketserver
import sys
import threading
from collections.abc import Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NoReturn

#: The largest request body that is read.
LARGEST_BODY_BYTES = 1024 * 1024
#: A body up to this size is still read to its end before it is refused, so that the sender hears why.
_LARGEST_DISCARDED_BYTES = 16 * 1024 * 1024
_CHUNK_BYTES = 64 * 1024


class LoopbackServer(ThreadingHTTPServer):
    request_queue_size = 64

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def server_bind(self) -> None:
        # HTTPServer would ask the resolver for our name, which can take seconds.
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = "localhost", int(self.server_address[1])

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class Answering(BaseHTTPRequestHandler):
    """One request per connection, nothing logged: paths hold secrets here."""

    timeout = 30

    def body(self) -> bytes | None:
        """The request's body; None when it was refused, which the sender has been told."""
        length = self.headers.get("Content-Length", "0")
        if "Transfer-Encoding" in self.headers or not length.isdecimal():
            self.answer_text(HTTPStatus.LENGTH_REQUIRED, "length_required")
            return None
        if int(length) > LARGEST_BODY_BYTES:
            self._discard(min(int(length), _LARGEST_DISCARDED_BYTES))
            self.answer_text(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "body_too_large")
            return None
        return self.rfile.read(int(length))

    def _discard(self, size_bytes: int) -> None:
        left_bytes = size_bytes
        while left_bytes > 0 and (chunk := self.rfile.read(min(_CHUNK_BYTES, left_bytes))):
            left_bytes -= len(chunk)

    def answer_text(self, status: HTTPStatus, text: str, *, headers: Mapping[str, str] | None = None) -> None:
        self.answer(status, text.encode(), {"Content-Type": "text/plain; charset=utf-8"} | dict(headers or {}))

    def answer_json(self, status: HTTPStatus, document: object) -> None:
        self.answer(status, json.dumps(document).encode(), {"Content-Type": "application/json"})

    def answer(self, status: HTTPStatus, body: bytes, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the name is the base class's
        """Nothing, on purpose."""


def kept(file: Path, fresh: Mapping[str, str]) -> dict[str, str]:
    """What `file` holds; `fresh`, written there for the owner's eyes only, when there is no such file yet."""
    file.parent.mkdir(parents=True, exist_ok=True)
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        found: dict[str, str] = json.loads(file.read_text())
        return found
    with os.fdopen(descriptor, "w") as out:
        json.dump(dict(fresh), out)
    return dict(fresh)


def announce_and_serve(server: LoopbackServer, announcement: Mapping[str, object]) -> None:
    """One JSON line on stdout, then requests until SIGTERM or SIGINT, which leave by SystemExit.

    With STOP_ON_EOF=1 in the environment the end of our standard input is a SIGTERM too.
    """
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _leave)
    if os.environ.get("STOP_ON_EOF") == "1":
        threading.Thread(target=_terminate_at_end_of_input, daemon=True).start()
    print(json.dumps(dict(announcement)), flush=True)
    server.serve_forever()


def _leave(_number: int, _frame: object) -> NoReturn:
    # A second signal must not break into the clean-up that the first one began.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    raise SystemExit(0)


def _terminate_at_end_of_input() -> None:
    while os.read(sys.stdin.fileno(), _CHUNK_BYTES):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
