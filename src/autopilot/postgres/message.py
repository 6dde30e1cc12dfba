"""One simple-query message: many statements in one round trip, with our own wall deadline on the answer."""

from __future__ import annotations

import selectors
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import psycopg
from psycopg import pq

from autopilot.postgres.session import Connection

#: After a cancel request the server gets this long to say that it stopped.
CANCEL_GRACE_S = 3.0
_TICK_S = 1.0
_COPY_PIECE_BYTES = 64 * 1024

_COMPLETE = {pq.ExecStatus.COMMAND_OK, pq.ExecStatus.TUPLES_OK, pq.ExecStatus.EMPTY_QUERY}


class ConnectionLost(Exception):
    """The link broke while an answer was due: what the server did is not known from here."""


class DeadlinePassed(Exception):
    """Our own wall limit passed and the statement was cancelled (or its session given up)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Complaint:
    """PostgreSQL's error, field by field."""

    sqlstate: str
    message: str
    detail: str | None
    hint: str | None
    context: str | None
    #: 1-based character in the message's text, where PostgreSQL gives one.
    position: int | None
    table: str | None
    constraint: str | None

    def words(self) -> str:
        """PostgreSQL's own words on one line."""
        extra = f" ({self.detail})" if self.detail else ""
        return " ".join(f"{self.message}{extra}".split())


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came back for a message: the finished statements' first rows, then perhaps a complaint."""

    #: One entry a finished statement: its command tag and first row's text values.
    finished: tuple[tuple[str, tuple[str | None, ...]], ...]
    complaint: Complaint | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long an answer may take, and what is done meanwhile."""

    timeout_s: float
    #: Called about once a second while the answer is due, with the session's process id.
    waiting: Callable[[int], None] = lambda _pid: None
    #: Called once the whole message is with the server.
    sent: Callable[[], None] = lambda: None
    #: Ends a session that ignores a cancel request, from another one.
    end_backend: Callable[[int], None] = lambda _pid: None


def ask(connection: Connection, text: str, *, timeout_s: float) -> Answer:
    """`send` for our own short messages."""
    return send(connection, text, patience=Patience(timeout_s=timeout_s))


def send(connection: Connection, text: str, *, patience: Patience, copy_data: Sequence[str] = ()) -> Answer:
    """Sends `text` as one message and collects the answers; `copy_data` feeds its COPY … FROM STDIN in order.

    An interrupt (Ctrl-C) or the deadline cancels the statement on the server before it is raised here.
    Raises ConnectionLost, DeadlinePassed; KeyboardInterrupt and the like pass through.
    """
    try:
        with _line(connection.pgconn, patience) as line:
            connection.pgconn.send_query(text.encode("utf-8"))
            line.until_sent()
            patience.sent()
            return _collect(line, copy_data=copy_data)
    except psycopg.OperationalError as cause:
        raise ConnectionLost(str(cause)) from cause
    except TimeoutError:
        _cancel(connection, patience)
        raise DeadlinePassed(f"no answer within {patience.timeout_s:.0f} s") from None
    except BaseException:
        _cancel(connection, patience)
        raise


@dataclass(slots=True, kw_only=True)
class _Line:
    """The session's socket while one message is under way. Its waits raise TimeoutError once the deadline has passed."""

    pgconn: pq.abc.PGconn
    patience: Patience
    deadline_s: float
    selector: selectors.BaseSelector
    #: What the selector looks for now.
    events: int = selectors.EVENT_READ

    def until_sent(self) -> None:
        while self.pgconn.flush():
            self.wait(selectors.EVENT_WRITE)

    def until_ready(self) -> None:
        """Until the next result can be taken without waiting for it."""
        while self.pgconn.is_busy():
            unsent = self.pgconn.flush()
            if self.wait(selectors.EVENT_READ | (selectors.EVENT_WRITE if unsent else 0)) & selectors.EVENT_READ:
                self.pgconn.consume_input()

    def wait(self, events: int) -> int:
        """Which of `events` came; none after a tick in which nothing did."""
        if events != self.events:
            self.selector.modify(self.pgconn.socket, events)
            self.events = events
        ready = self.selector.select(min(_TICK_S, max(0.0, self.deadline_s - time.monotonic())))
        if ready:
            return ready[0][1]
        if time.monotonic() >= self.deadline_s:
            raise TimeoutError
        self.patience.waiting(self.pgconn.backend_pid)
        return 0


@contextmanager
def _line(pgconn: pq.abc.PGconn, patience: Patience) -> Iterator[_Line]:
    with selectors.DefaultSelector() as selector:
        selector.register(pgconn.socket, selectors.EVENT_READ)
        yield _Line(pgconn=pgconn, patience=patience, deadline_s=time.monotonic() + patience.timeout_s, selector=selector)


def _collect(line: _Line, *, copy_data: Sequence[str] = ()) -> Answer:
    pgconn, data = line.pgconn, iter(copy_data)
    finished: list[tuple[str, tuple[str | None, ...]]] = []
    complaint: Complaint | None = None
    while True:
        line.until_ready()
        result = pgconn.get_result()
        if result is None:
            return Answer(finished=tuple(finished), complaint=complaint)
        if result.status in _COMPLETE:
            finished.append((_text(result.command_status) or "", _first_row(result)))
        elif result.status == pq.ExecStatus.COPY_IN:
            _feed(line, next(data, None))
        elif result.status == pq.ExecStatus.COPY_OUT:
            _discard_copy(line)
        else:
            complaint = _complaint(result)
            if pgconn.status == pq.ConnStatus.BAD:
                raise ConnectionLost(complaint.words())


def _feed(line: _Line, data: str | None) -> None:
    """One COPY's rows, in pieces, so that neither side's memory fills."""
    pgconn = line.pgconn
    if data is None:
        pgconn.put_copy_end(b"COPY FROM STDIN has no rows here")
        return
    raw = data.encode("utf-8")
    for start in range(0, len(raw), _COPY_PIECE_BYTES):
        while pgconn.put_copy_data(raw[start : start + _COPY_PIECE_BYTES]) == 0:
            line.until_sent()
    while pgconn.put_copy_end() == 0:
        line.until_sent()


def _discard_copy(line: _Line) -> None:
    while True:
        size, _data = line.pgconn.get_copy_data(1)
        if size == -1:
            return
        if size == 0 and line.wait(selectors.EVENT_READ):
            line.pgconn.consume_input()


def _cancel(connection: Connection, patience: Patience) -> None:
    """Asks the server to stop and hears it out; a session that will not stop is ended from another one and closed."""
    pid = connection.pgconn.backend_pid
    try:
        connection.cancel_safe(timeout=CANCEL_GRACE_S)
        with _line(connection.pgconn, Patience(timeout_s=CANCEL_GRACE_S)) as line:
            _collect(line)
    except (psycopg.Error, ConnectionLost, TimeoutError):
        connection.close()
        patience.end_backend(pid)


def _first_row(result: pq.abc.PGresult) -> tuple[str | None, ...]:
    if result.ntuples == 0:
        return ()
    return tuple(_text(result.get_value(0, column)) for column in range(result.nfields))


def _complaint(result: pq.abc.PGresult) -> Complaint:
    def field(which: pq.DiagnosticField) -> str | None:
        return _text(result.error_field(which))

    position = field(pq.DiagnosticField.STATEMENT_POSITION)
    return Complaint(
        sqlstate=field(pq.DiagnosticField.SQLSTATE) or "XX000",
        message=field(pq.DiagnosticField.MESSAGE_PRIMARY) or "the server gave no reason",
        detail=field(pq.DiagnosticField.MESSAGE_DETAIL),
        hint=field(pq.DiagnosticField.MESSAGE_HINT),
        context=field(pq.DiagnosticField.CONTEXT),
        position=int(position) if position else None,
        table=field(pq.DiagnosticField.TABLE_NAME),
        constraint=field(pq.DiagnosticField.CONSTRAINT_NAME),
    )


def _text(raw: bytes | None) -> str | None:
    return None if raw is None else raw.decode("utf-8", "replace")
