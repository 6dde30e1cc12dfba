"""A connection that never waits for ever: a server that falls silent is told as one that is lost.

Keepalives and `tcp_user_timeout` do not notice a peer that takes everything and answers nothing.
"""

from __future__ import annotations

import selectors
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import psycopg
from psycopg import pq
from psycopg.abc import PQGen

#: Our own questions are short: an answer that takes longer than this is not coming.
ANSWER_S = 30.0

T = TypeVar("T")


class BoundedConnection(psycopg.Connection[tuple[Any, ...]]):
    """Every answer is due within `answer_s`; without one the connection is closed and psycopg.OperationalError raised."""

    answer_s: float = ANSWER_S
    #: Whether the answer to a glance is still to come.
    _glancing: bool = False

    def wait(self, gen: PQGen[T], *args: Any, **kwargs: Any) -> T:
        if self._glancing and self._heard(self.answer_s) is None:
            raise _given_up(self)
        return super().wait(_due(gen, self), *args, **kwargs)

    def glance(self, query: str, *, within_s: float) -> tuple[tuple[str, ...], ...]:
        """The answer's rows as text; none where it takes longer. What comes late is heard out before the next question.

        Raises psycopg.OperationalError where the connection is lost.
        """
        if self._glancing and self._heard(0) is None:
            return ()
        self.pgconn.send_query(query.encode())
        self._glancing = True
        return self._heard(within_s) or ()

    def _heard(self, within_s: float) -> tuple[tuple[str, ...], ...] | None:
        """The rows of the answer, once it is there whole."""
        deadline_s = time.monotonic() + within_s
        rows: tuple[tuple[str, ...], ...] = ()
        while True:
            while self.pgconn.flush() or self.pgconn.is_busy():
                if not _readable(self.pgconn, max(0.0, deadline_s - time.monotonic())):
                    return None
                self.pgconn.consume_input()
            result = self.pgconn.get_result()
            if result is None:
                self._glancing = False
                return rows
            rows += tuple(_texts(result, row) for row in range(result.ntuples))


@contextmanager
def patient(connection: BoundedConnection, answer_s: float) -> Iterator[None]:
    """For the length of the block an answer may take `answer_s`: more where there is work to wait for, less where not."""
    usual, connection.answer_s = connection.answer_s, answer_s
    try:
        yield
    finally:
        connection.answer_s = usual


def _given_up(connection: BoundedConnection) -> psycopg.OperationalError:
    """Gives the connection up."""
    connection.close()
    return psycopg.OperationalError(f"the server did not answer within {connection.answer_s:g} s")


def _due(gen: PQGen[T], connection: BoundedConnection) -> PQGen[T]:
    """The same conversation with the server, which ends when it is silent beyond the connection's patience."""
    deadline_s = time.monotonic() + connection.answer_s
    try:
        wanted = next(gen)
        while True:
            ready = yield wanted
            if not ready and time.monotonic() >= deadline_s:
                raise _given_up(connection)
            wanted = gen.send(ready)
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]  # what a generator returns is not typed in StopIteration


def _readable(pgconn: pq.abc.PGconn, within_s: float) -> bool:
    with selectors.DefaultSelector() as selector:
        selector.register(pgconn.socket, selectors.EVENT_READ)
        return bool(selector.select(within_s))


def _texts(result: pq.abc.PGresult, row: int) -> tuple[str, ...]:
    return tuple((result.get_value(row, column) or b"").decode("utf-8", "replace") for column in range(result.nfields))
