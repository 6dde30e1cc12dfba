"""A PostgreSQL wire between the command line and the server that breaks at a message of the test's choice.

It lives in the test's process and knows the protocol's frames: a start-up message, then one type byte and a length.
"""

from __future__ import annotations

import contextlib
import re
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Literal

#: A session of a run that writes, in the order of their connecting: its journal, then the one the files run on.
WRITES = "autopilot:"
LOCKS = "autopilot-lock:"
READS = "autopilot-reader"

#: cut: both ends see it at once. tear: half of the message gets through first.
#: hole: both ends stay connected, and nothing gets through any more, in either direction.
What = Literal["cut", "tear", "hole"]
When = Literal["before", "after"]

_STARTUP = 196608  # protocol 3.0; every other code in its place is a request of another kind
_ANSWERED_BY_A_BYTE = {80877103, 80877104}  # SSLRequest, GSSENCRequest
_ANSWERED = (b"Q", b"S", b"X")
_AUTHENTICATES = b"p"
_PIECE = 65536


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One message of a client, after it was let in."""

    #: The session's application name.
    session: str
    #: Which of the sessions whose name begins alike it is, from 1.
    number: int
    #: The type byte: b"Q" for a query, b"P" for a parse, b"X" for good-bye.
    kind: bytes
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """Happens once, at the `nth` message that `matches`: before it reaches the server, or after (its answer is lost)."""

    matches: Callable[[Message], bool]
    what: What
    when: When = "before"
    nth: int = 1
    #: Whether whoever connects afterwards is turned away.
    then_closed: bool = False


def of(session: str, number: int = 1, *, text: bytes = b"") -> Callable[[Message], bool]:
    """Messages of one session, as those that hold `text`."""
    return lambda m: m.session.startswith(session) and m.number == number and text in m.body


def answer_to(session: str, number: int = 1, *, text: bytes = b"") -> Callable[[Message], bool]:
    """The message after which the server answers what `text` was part of: a query is sent in one, or in five."""
    said = False

    def matches(message: Message) -> bool:
        nonlocal said
        if not message.session.startswith(session) or message.number != number:
            return False
        said = said or text in message.body
        return said and message.kind in _ANSWERED

    return matches


def requests_of(session: str, number: int = 1) -> Callable[[Message], bool]:
    """The messages of one session that the server answers, and its good-bye: one each where a query is sent in five."""
    return lambda m: m.session.startswith(session) and m.number == number and m.kind in _ANSWERED


@dataclass(slots=True, kw_only=True)
class Proxy:
    """Listens on loopback until the end of its block."""

    target: tuple[str, int]
    fault: Fault
    listener: socket.socket
    #: Every message of every client so far, for those who wonder what was said.
    heard: list[Message] = field(default_factory=list)
    #: The message at which the fault happened, if it did.
    happened: Message | None = None
    _matched: int = 0
    _sessions: dict[str, int] = field(default_factory=dict)
    _open: list[socket.socket] = field(default_factory=list)
    _threads: list[threading.Thread] = field(default_factory=list)
    _guard: threading.Lock = field(default_factory=threading.Lock)
    #: Set once the proxy is closed.
    over: threading.Event = field(default_factory=threading.Event)

    def url(self, direct: str) -> str:
        """The same database, by way of this proxy."""
        return re.sub(r"@[^/]+/", f"@127.0.0.1:{self.listener.getsockname()[1]}/", direct, count=1)

    def strikes(self, message: Message) -> bool:
        with self._guard:
            self.heard.append(message)
            if self.happened is not None or not self.fault.matches(message):
                return False
            self._matched += 1
            if self._matched != self.fault.nth:
                return False
            self.happened = message
            return True

    def number(self, session: str) -> int:
        kind = session[: session.find(":") + 1] or session
        with self._guard:
            self._sessions[kind] = self._sessions.get(kind, 0) + 1
            return self._sessions[kind]

    def serve(self) -> None:
        while not self.over.is_set():
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            if self.over.is_set() or (self.happened is not None and self.fault.then_closed):
                reset(client)
                continue
            try:
                server = socket.create_connection(self.target)
            except OSError:
                reset(client)
                continue
            for end in (client, server):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            wire = _Wire(proxy=self, client=client, server=server)
            with self._guard:
                self._open += [client, server]
            for pump in (wire.up, wire.down):
                thread = threading.Thread(target=pump, daemon=True)
                self._threads.append(thread)
                thread.start()

    def close(self) -> None:
        """Everybody who is still connected loses the connection."""
        self.over.set()
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        with self._guard:
            for end in self._open:
                reset(end)
        for thread in self._threads:
            thread.join(timeout=10)


@contextlib.contextmanager
def proxied(direct: str, fault: Fault) -> Iterator[Proxy]:
    """A proxy before the server of the URL `direct`."""
    found = re.search(r"@([^:/]+):(\d+)/", direct)
    assert found is not None, direct
    listener = socket.create_server(("127.0.0.1", 0))
    proxy = Proxy(target=(found[1], int(found[2])), fault=fault, listener=listener)
    thread = threading.Thread(target=proxy.serve, daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        proxy.close()
        thread.join(timeout=10)


@dataclass(slots=True, kw_only=True)
class _Wire:
    """One client's connection: two sockets, a thread for each direction."""

    proxy: Proxy
    client: socket.socket
    server: socket.socket
    #: Nothing of the server's reaches the client any more.
    deaf: bool = False

    def up(self) -> None:
        """Client to server, message by message."""
        try:
            session = self._start()
            if session is not None:
                self._messages(session, self.proxy.number(session))
        except OSError:
            pass
        self._hang_up()

    def _start(self) -> str | None:
        """Passes the start-up on; returns the session's name, or None when it is a request without a session."""
        while True:
            head = self._exactly(8)
            size, code = struct.unpack("!II", head)
            body = self._exactly(size - 8)
            self.server.sendall(head + body)
            if code >> 16 == _STARTUP >> 16:
                words = body.split(b"\0")
                return dict(zip(words[::2], words[1::2], strict=False)).get(b"application_name", b"").decode()
            if code not in _ANSWERED_BY_A_BYTE:
                return None

    def _messages(self, session: str, number: int) -> None:
        while True:
            head = self._exactly(5)
            body = self._exactly(struct.unpack("!I", head[1:])[0] - 4)
            message = Message(session=session, number=number, kind=head[:1], body=body)
            if message.kind == _AUTHENTICATES or not self.proxy.strikes(message):
                self.server.sendall(head + body)
                continue
            self._break(head + body, self.proxy.fault)
            return

    def _break(self, raw: bytes, fault: Fault) -> None:
        self.deaf = True
        if fault.what == "tear":
            self.server.sendall(raw[: len(raw) // 2])
        elif fault.when == "after":
            self.server.sendall(raw)
        if fault.what != "hole":
            reset(self.client)
            return
        with contextlib.suppress(OSError):
            while self.client.recv(_PIECE):  # the client speaks into the void; the server hears nothing, not even its end
                pass
        self.proxy.over.wait()

    def down(self) -> None:
        """Server to client, as it comes."""
        try:
            while piece := self.server.recv(_PIECE):
                if not self.deaf:
                    self.client.sendall(piece)
        except OSError:
            pass
        if not self.deaf:
            with contextlib.suppress(OSError):
                self.client.shutdown(socket.SHUT_RDWR)

    def _hang_up(self) -> None:
        """The server hears the client's end in its turn, after all that was sent before."""
        with contextlib.suppress(OSError):
            self.server.shutdown(socket.SHUT_WR)

    def _exactly(self, size: int) -> bytes:
        found = bytearray()
        while len(found) < size:
            piece = self.client.recv(size - len(found))
            if not piece:
                raise ConnectionError
            found += piece
        return bytes(found)


def reset(end: socket.socket) -> None:
    """Ends a connection at once, for both ends; whoever waits for it in another thread wakes."""
    with contextlib.suppress(OSError):
        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    with contextlib.suppress(OSError):
        end.shutdown(socket.SHUT_RD)
    with contextlib.suppress(OSError):
        end.close()
