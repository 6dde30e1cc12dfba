"""An application at work on `app.ledger`: a writer that remembers each acknowledged row, and a reader."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import psycopg
from tests.conftest import Database

TABLE = "create table app.ledger (n bigint primary key, at timestamptz not null default clock_timestamp());"
#: Somebody's transaction may be the one that PostgreSQL ends where two wait for each other; an application tries again.
_AGAIN = (psycopg.errors.DeadlockDetected, psycopg.errors.LockNotAvailable)


@dataclass(kw_only=True)
class Application:
    database: Database
    table: str = "app.ledger"
    acknowledged: list[int] = field(default_factory=list)
    #: The longest that one question or one row took, in seconds.
    longest_s: float = 0.0
    retried: int = 0
    failures: list[str] = field(default_factory=list)
    questions: int = 0
    over: threading.Event = field(default_factory=threading.Event)

    def write(self) -> None:
        self._at_work(self._insert)

    def read(self) -> None:
        self._at_work(self._look)

    def _at_work(self, act: object) -> None:
        with psycopg.connect(self.database.url, autocommit=True, application_name="the application") as connection:
            while not self.over.wait(0.005):
                begun = time.monotonic()
                try:
                    act(connection)  # type: ignore[operator]
                except _AGAIN:
                    self.retried += 1
                except psycopg.Error as error:
                    self.failures.append(str(error))
                self.longest_s = max(self.longest_s, time.monotonic() - begun)

    def _insert(self, connection: psycopg.Connection) -> None:
        n = (self.acknowledged[-1] if self.acknowledged else 0) + 1
        connection.execute(f"insert into {self.table} (n) values (%s) on conflict do nothing".encode(), (n,))
        self.acknowledged.append(n)

    def _look(self, connection: psycopg.Connection) -> None:
        connection.execute(f"select count(*) from {self.table}".encode()).fetchone()
        self.questions += 1


@contextlib.contextmanager
def at_work(database: Database, *, table: str = "app.ledger") -> Iterator[Application]:
    found = Application(database=database, table=table)
    threads = [threading.Thread(target=work) for work in (found.write, found.read)]
    for thread in threads:
        thread.start()
    try:
        yield found
    finally:
        found.over.set()
        for thread in threads:
            thread.join(timeout=60)
    assert not any(thread.is_alive() for thread in threads), "the application still waits"


def rows_anywhere(database: Database, table: str = "app.ledger") -> set[int]:
    """The rows that are live, and those that lie in a quarantine."""
    schema, _, name = table.partition(".")
    places = database.rows(
        "select quote_ident(nspname) || '.' || quote_ident(relname) from pg_class c join pg_namespace n on n.oid = relnamespace"
        " where relname = %s and (nspname = %s or nspname like %s)", name, schema, schema + r"\_\_q\_%",
    )  # fmt: skip
    return {n for (place,) in places for (n,) in database.rows(f"select n from {place}")}
