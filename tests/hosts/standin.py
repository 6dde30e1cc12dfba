"""What every stand-in host shares: a loopback door that is scripted, remembers what it was asked, and fails as told.

`POST /_script` takes JSON: {"anew": true} begins from nothing, {"faults": [...]} replaces the faults; every other key is the
host's own. `GET /_told` gives
{exchanges: [{method, path, query, headers, body, status, document, fault}], begun: deploys so far}.

A fault: {"on": "POST /sites", "times": 1, "act": false, and one of
  "status" with "headers" and "body" (text) - an answer;  "raw" - bytes (latin-1) in place of one, then the end;
  "drip" - such bytes, one every tenth of a second;  "reset": true - the connection is reset}.
`on` is a method and the beginning or any part of a path; `times` 0 is for ever; with `act` the host does what it was asked first.
"""

from __future__ import annotations

import argparse
import json
import socket
import struct
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any, Protocol
from urllib.parse import parse_qsl

from autopilot.demo.loopback import Answering, LoopbackServer, announce_and_serve


@dataclass(frozen=True, kw_only=True)
class Asked:
    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, kw_only=True)
class Answer:
    status: int
    #: None for an empty body.
    document: Any = None
    text: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


class StandIn(Protocol):
    @property
    def begun(self) -> int: ...

    def answer(self, asked: Asked) -> Answer: ...

    def script(self, told: Mapping[str, Any]) -> None: ...

    def announcement(self, origin: str) -> dict[str, object]: ...


class Server(LoopbackServer):
    def __init__(self, made: Callable[[], StandIn]) -> None:
        super().__init__(("127.0.0.1", 0), Door)
        self.made = made
        self.begin()

    def begin(self) -> None:
        self.host = self.made()
        self.told: list[dict[str, Any]] = []
        self.faults: list[dict[str, Any]] = []
        self.requests = 0


class Door(Answering):
    server: Server

    def do_GET(self) -> None:  # noqa: N802 - http.server's name
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length)
        path, _, query = self.path.partition("?")
        if path == "/_script":
            told = json.loads(body)
            if told.pop("anew", False):
                self.server.begin()
            self.server.faults = told.pop("faults", self.server.faults)
            self.server.host.script(told)
            self.answer_text(HTTPStatus.OK, "")
        elif path == "/_told":
            self.answer_json(HTTPStatus.OK, {"exchanges": self.server.told, "begun": self.server.host.begun})
        else:
            self._host(
                Asked(
                    method=self.command, path=path, query=dict(parse_qsl(query, keep_blank_values=True)), body=body,
                    headers={k.lower(): v for k, v in self.headers.items()},
                )
            )  # fmt: skip

    do_POST = do_PUT = do_PATCH = do_DELETE = do_GET  # noqa: N815 - likewise

    def _host(self, asked: Asked) -> None:
        self.server.requests += 1
        fault = self._fault(asked)
        acted = self.server.host.answer(asked) if fault is None or fault.get("act") else None
        self.server.told.append(
            {
                "method": asked.method, "path": asked.path, "query": asked.query, "headers": dict(asked.headers),
                "body": asked.body.decode("latin-1"), "status": acted.status if acted and fault is None else None,
                "document": acted.document if acted else None, "fault": fault is not None,
            }
        )  # fmt: skip
        if fault is None:
            assert acted is not None
            self._give(acted)
        elif "status" in fault:
            self.answer(fault["status"], fault.get("body", "").encode(), self._named(fault.get("headers", {})))
        else:
            self._break(fault)

    def _fault(self, asked: Asked) -> dict[str, Any] | None:
        for fault in self.server.faults:
            method, _, part = fault["on"].partition(" ")
            if method in {asked.method, "*"} and part in asked.path:
                left = fault.get("times", 1)
                if left == 1:
                    self.server.faults.remove(fault)
                elif left:
                    fault["times"] = left - 1
                return fault
        return None

    def _give(self, answer: Answer) -> None:
        headers = self._named(answer.headers)
        if answer.text is not None:
            self.answer(HTTPStatus(answer.status), answer.text.encode(), {"Content-Type": "text/plain"} | headers)
        elif answer.document is None:
            self.answer(HTTPStatus(answer.status), b"", headers)
        else:
            body = json.dumps(answer.document).encode()
            self.answer(HTTPStatus(answer.status), body, {"Content-Type": "application/json"} | headers)

    def _named(self, headers: Mapping[str, str]) -> dict[str, str]:
        return {"x-request-id": f"req-{self.server.requests}", **headers}

    def _break(self, fault: Mapping[str, Any]) -> None:
        self.close_connection = True
        if fault.get("reset"):
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()
        elif "drip" in fault:
            try:
                for byte in fault["drip"].encode("latin-1"):
                    self.connection.sendall(bytes([byte]))
                    time.sleep(0.1)
            except OSError:
                return
        else:
            self.connection.sendall(fault["raw"].encode("latin-1"))

    def finish(self) -> None:
        try:
            super().finish()
        except (OSError, ValueError):  # reset on purpose
            return


def stamp() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def milliseconds() -> int:
    return time.time_ns() // 1_000_000


def serve(made: Callable[[], StandIn]) -> None:
    argparse.ArgumentParser().parse_args()
    with Server(made) as server:
        announce_and_serve(server, server.host.announcement(server.origin))
