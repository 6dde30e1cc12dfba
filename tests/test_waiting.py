"""Who waits for whom: a migration that cannot have its lock lets everybody else through."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import psycopg
import pytest
from tests.conftest import Cli, Database

LOCK_TIMEOUT_S = 1.0
#: What issue and documentation promise to whoever reads meanwhile.
PROMISED_MS = int((LOCK_TIMEOUT_S + 0.5) * 1000)


@dataclass
class Reader:
    """Reads again and again; the server itself counts how long each read waits for its lock."""

    reads: int = 0
    waited_too_long: int = 0
    stop: threading.Event = field(default_factory=threading.Event)

    def run(self, url: str) -> None:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(f"set lock_timeout = {PROMISED_MS}".encode())
            while not self.stop.wait(0.02):
                try:
                    connection.execute("select count(*) from users")
                except psycopg.errors.LockNotAvailable:
                    self.waited_too_long += 1
                self.reads += 1


@contextmanager
def reading(database: Database) -> Iterator[Reader]:
    reader = Reader()
    thread = threading.Thread(target=reader.run, args=(database.admin_url,))
    thread.start()
    try:
        yield reader
    finally:
        reader.stop.set()
        thread.join()


def test_a_reader_never_waits_longer_than_the_lock_timeout(cli: Cli, database: Database) -> None:
    database.run("create table users (id int); insert into users select generate_series(1, 100)")
    (cli.home / "autopilot.toml").write_text(f"lock_timeout_s = {LOCK_TIMEOUT_S}\n")
    cli.write("1_a.sql", "alter table users add column name text;")
    with psycopg.connect(database.admin_url) as report, reading(database) as reader:
        report.execute("select count(*) from users")  # a long report: its transaction stays open
        run = cli.start("migrate", "--no-backup", "--no-deploy", "--json")
        with psycopg.connect(database.admin_url, autocommit=True) as watcher:
            tries = 0
            while tries < 3 and run.poll() is None:
                before = tries
                tries += waits(watcher)
                while tries > before and waits(watcher):
                    threading.Event().wait(0.02)
        report.rollback()
        run.communicate(timeout=60)
    assert (run.returncode, tries) == (0, 3)
    assert reader.reads > 20
    assert reader.waited_too_long == 0


def waits(watcher: psycopg.Connection[tuple[object, ...]]) -> bool:
    row = watcher.execute(
        "select exists (select from pg_locks where not granted and relation = 'users'::regclass and mode = 'AccessExclusiveLock')"
    ).fetchone()
    return bool(row and row[0])


def test_the_backups_own_locks_are_gone_before_anything_is_applied(cli: Cli, database: Database) -> None:
    database.run("create table users (id int); insert into users select generate_series(1, 100)")
    cli.write(
        "1_a.sql",
        "create table seen as select application_name from pg_locks l join pg_stat_activity a using (pid)"
        " where l.relation = 'public.users'::regclass and a.pid <> pg_backend_pid();\n"
        "alter table users add column b int;",
    )
    ran = cli("migrate", "--no-deploy")
    assert ran.code == 0, ran.err
    assert database.rows("select * from seen") == []


@pytest.mark.parametrize(("text", "code"), [("insert into users values (7);", 0), ("alter table users add column a int;", 3)])
def test_a_file_that_only_writes_rows_waits_longer_as_nobody_queues_behind_it(
    cli: Cli, database: Database, text: str, code: int
) -> None:
    database.run("create table users (id int)")
    (cli.home / "autopilot.toml").write_text("lock_timeout_s = 0.2\nlock_tries = 1\ngentle_lock_timeout_s = 60\n")
    cli.write("1_a.sql", text)
    with psycopg.connect(database.admin_url) as holder, psycopg.connect(database.admin_url, autocommit=True) as watcher:
        holder.execute("lock table users in share mode")
        run = cli.start("migrate", "--no-backup", "--no-deploy")
        while run.poll() is None and not watcher.execute(LONG_WAIT).fetchall():
            threading.Event().wait(0.05)
        holder.rollback()
        _, err = run.communicate(timeout=60)
    assert run.returncode == code, err


#: A wait that is already twice as long as the strict limit.
LONG_WAIT = """
select from pg_stat_activity where wait_event_type = 'Lock' and clock_timestamp() - query_start > interval '0.4 s'
  and application_name like 'autopilot:%'
"""
