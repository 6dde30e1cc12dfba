"""What must hold once a run was disturbed in any way and a following one has come to its end."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import psycopg
from tests.conftest import Cli, Database, Ran

#: A net below what waits, not a measurement.
NET_S = 60.0
QUICKLY = ("migrate", "--json", "--no-backup", "--yes-destroy-data", "--no-deploy")

#: Every project counts its work in `effects`: a statement that ran twice is there twice.
_COMMON = "create table effects (label text); create table writes (n int primary key);"

#: One snapshot of all that is not ours: relations, columns, indexes, constraints, enum labels, procedures, effects.
_SHAPE = """
with mine as (select oid, nspname from pg_namespace
              where nspname not in ('automation', 'autopilot_trash', 'supabase_migrations', 'information_schema')
                and nspname !~ '^pg_'),
     found as (
  select 'relation ' || nspname || '.' || relname || ' ' || relkind::text from pg_class c join mine on mine.oid = relnamespace
  union all
  select 'column ' || relname || '.' || attname || ' ' || typname || case when attnotnull then ' not null' else '' end
  from pg_attribute join pg_class c on c.oid = attrelid join mine on mine.oid = relnamespace join pg_type t on t.oid = atttypid
  where attnum > 0 and not attisdropped and relkind in ('r', 'p')
  union all
  select 'index ' || t.relname || ' ' || i.relname || case when indisvalid and indisready then '' else ' INVALID' end
  from pg_index join pg_class i on i.oid = indexrelid join pg_class t on t.oid = indrelid join mine on mine.oid = t.relnamespace
  union all
  select 'constraint ' || conname || ' ' || contype::text from pg_constraint join mine on mine.oid = connamespace
  union all
  select 'label ' || typname || '.' || enumlabel from pg_enum join pg_type t on t.oid = enumtypid
  union all
  select 'procedure ' || proname from pg_proc join mine on mine.oid = pronamespace
  union all
  select 'effect ' || label || ' x' || count(*) from effects group by label
)
select array_agg(f.word order by f.word) from found f (word)
"""
_LEDGERS = "select array_agg(version order by version) from {}"


@dataclass(frozen=True, kw_only=True)
class State:
    """What a database holds at one moment."""

    #: Relations, columns, indexes and the like, and how often each effect happened; sorted.
    shape: tuple[str, ...]
    applied: tuple[str, ...]
    supabase: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class File:
    """A migration as a list of statements, so that it can be run without Autopilot too."""

    name: str
    statements: tuple[str, ...]

    @property
    def version(self) -> str:
        return self.name.split("_", 1)[0]

    @property
    def text(self) -> str:
        return "".join(f"{statement};\n" for statement in self.statements)


@dataclass(frozen=True, kw_only=True)
class Project:
    """What is pushed, and what was there before."""

    name: str
    files: tuple[File, ...]
    before: str = ""
    settings: str = ""
    #: Whether each file commits at once, together with its ledger row.
    atomic: bool = True

    @property
    def versions(self) -> tuple[str, ...]:
        return tuple(f.version for f in self.files)

    def write(self, cli: Cli, database: Database) -> None:
        """Makes what is there before, and puts the files and the settings in their places."""
        database.run(_COMMON + self.before)
        for file in self.files:
            cli.write(file.name, file.text)
        if self.settings:
            (cli.home / "autopilot.toml").write_text(self.settings)

    def states(self, plain: Database) -> tuple[tuple[str, ...], ...]:
        """What a database must hold with the first 0, 1, 2 … files in: each statement run plainly, once."""
        plain.run(_COMMON + self.before)
        found = [shape(plain)]
        with psycopg.connect(plain.url, autocommit=True) as connection:
            for file in self.files:
                for statement in file.statements:
                    connection.execute(statement.encode())
                found.append(shape(plain))
        return tuple(found)


@dataclass(kw_only=True)
class Writer:
    """Somebody else at work on the database; remembers each row whose insertion was acknowledged."""

    database: Database
    acknowledged: list[int] = field(default_factory=list)
    _over: threading.Event = field(default_factory=threading.Event)

    def work(self) -> None:
        with psycopg.connect(self.database.url, autocommit=True, application_name="the application") as connection:
            n = 0
            while not self._over.wait(0.01):
                n += 1
                connection.execute("insert into writes values (%s)", (n,))
                self.acknowledged.append(n)

    def stop(self) -> None:
        self._over.set()


@contextlib.contextmanager
def writing(database: Database) -> Iterator[Writer]:
    """An independent writer for the length of the block; afterwards all its rows must be there."""
    writer = Writer(database=database)
    thread = threading.Thread(target=writer.work)
    thread.start()
    try:
        yield writer
    finally:
        writer.stop()
        thread.join(timeout=NET_S)
    assert not thread.is_alive(), "the application's insert never came through"
    rows = [n for (n,) in database.rows("select n from writes order by n")]
    assert rows == writer.acknowledged, "rows of the independent writer are missing, or were there twice"


def shape(database: Database) -> tuple[str, ...]:
    return tuple(database.value(_SHAPE))


def state(database: Database) -> State:
    """Shape and ledgers in one snapshot."""
    has_ledger, has_history = database.rows(
        "select to_regclass('automation.applied_migrations') is not null,"
        " to_regclass('supabase_migrations.schema_migrations') is not null"
    )[0]
    ledger = _LEDGERS.format("automation.applied_migrations") if has_ledger else "null::text[]"
    history = _LEDGERS.format("supabase_migrations.schema_migrations") if has_history else "null::text[]"
    found, applied, supabase = database.rows(f"select ({_SHAPE}), ({ledger}), ({history})")[0]
    return State(shape=tuple(found), applied=tuple(applied or ()), supabase=tuple(supabase or ()))


def atomic(database: Database, project: Project, states: tuple[tuple[str, ...], ...]) -> State:
    """At any moment, an orphan at work or not: a file is in with its ledger row, or neither is."""
    now = state(database)
    assert now.applied == project.versions[: len(now.applied)], f"{now.applied} of {project.versions} are in the ledger"
    assert now.supabase == now.applied, f"the two ledgers differ: {now.applied} and {now.supabase}"
    if project.atomic or len(now.applied) == len(project.versions):
        _same(now.shape, states[len(now.applied)], f"with {now.applied or 'nothing'} in the ledger")
    return now


def settled(
    cli: Cli, database: Database, versions: tuple[str, ...], *, like: tuple[str, ...] | None = None, options: tuple[str, ...] = ()
) -> Ran:
    """Runs once more to the end, then checks every invariant; returns what that run said.

    `like` is what the database must hold (`Project.states`): schema, and how often each effect happened.
    """
    ran = cli(*QUICKLY, *options, timeout_s=NET_S * 2)
    assert ran.code == 0, f"the next run did not settle it: exit {ran.code}\n{ran.err}"
    assert document(ran)["outcome"] in {"released", "nothing_to_do"}, ran.out
    everything_holds(database, versions, like=like)
    before = everything(database)
    again = cli(*QUICKLY, *options, timeout_s=NET_S * 2)
    assert (again.code, document(again)["outcome"]) == (0, "nothing_to_do"), again.err
    assert everything(database) == before, "a run with nothing to do changed something"
    everything_holds(database, versions, like=like)
    return ran


def everything_holds(database: Database, versions: tuple[str, ...], *, like: tuple[str, ...] | None = None) -> None:
    """Each version is in exactly once, nothing is left open, and nobody of ours is left."""
    for ledger in ("automation.applied_migrations", "supabase_migrations.schema_migrations"):
        found = database.rows(f"select version, count(*) from {ledger} group by 1 order by 1")
        assert found == [(version, 1) for version in sorted(versions)], f"{ledger} holds {found}"
    for what, query in _NOTHING_LEFT.items():
        assert database.rows(query) == [], f"{what}: {database.rows(query)}"
    until(lambda: database.rows(_SESSIONS) == [], why=lambda: f"sessions of ours are left: {database.rows(_SESSIONS)}")
    assert database.rows(_ADVISORY) == [], f"advisory locks are left: {database.rows(_ADVISORY)}"
    if like is not None:
        _same(shape(database), like, "in the end")


_NOTHING_LEFT = {
    "runs still called running": "select run_id from automation.runs where state = 'running'",
    "migrations still called pending": "select id, run_id from automation.migration_log where status = 'pending'",
    "intents without an end": "select version, segment from automation.migration_segments where state = 'intent'",
    "invalid indexes": "select indexrelid::regclass::text from pg_index where not (indisvalid and indisready and indislive)",
    "prepared transactions": "select gid from pg_prepared_xacts where database = current_database()",
}
_SESSIONS = (
    "select pid, application_name, state, left(query, 60) from pg_stat_activity"
    " where datname = current_database() and application_name like 'autopilot%'"
)
_ADVISORY = (
    "select pid, classid, objid from pg_locks where locktype = 'advisory'"
    " and database = (select oid from pg_database where datname = current_database())"
)


def everything(database: Database) -> tuple[Any, ...]:
    """What a run with nothing to do must leave alone."""
    return (
        shape(database),
        database.rows("select a::text from automation.applied_migrations a order by 1"),
        database.rows("select s::text from supabase_migrations.schema_migrations s order by 1"),
        database.rows("select s::text from automation.migration_segments s order by 1"),
        database.rows("select m::text from automation.migration_log m order by id"),
    )


def told_the_truth(ran: Ran, before: State, now: State) -> dict[str, Any]:
    """What a run says of itself agrees with the database; a failure says what to do next. Returns its document."""
    said = document(ran)
    assert "Traceback" not in ran.err, ran.err
    assert set(said["applied"]) <= set(now.applied), f"said to be applied: {said['applied']}; in the ledger: {now.applied}"
    if ran.code == 0:
        assert said["error"] is None, ran.out
        return said
    assert said["error"]["message"], ran.out
    assert said["error"]["hint"], ran.out
    assert "Next: " in ran.err, ran.err
    if said["outcome"] in {"refused", "rolled_back"}:
        assert now.applied == before.applied, f"said to be {said['outcome']}, but {now.applied} are in the ledger\n{ran.err}"
        _same(now.shape, before.shape, f"although the run said {said['outcome']}")
    return said


def document(ran: Ran) -> dict[str, Any]:
    """A run's JSON document."""
    try:
        found: dict[str, Any] = json.loads(ran.out)
    except ValueError:
        raise AssertionError(f"exit {ran.code} without a JSON document: {ran.out!r}\n{ran.err}") from None
    return found


def killed_at(cli: Cli, point: str, *options: str) -> None:
    """Runs until the process kills itself at `point`, as "A6" or "A6:2"."""
    ran = cli(*QUICKLY, *options, AUTOPILOT_TEST="1", AUTOPILOT_TEST_KILLPOINT=point)
    assert ran.code == -signal.SIGKILL, f"not killed at {point}: exit {ran.code}\n{ran.err}"


@contextlib.contextmanager
def started(cli: Cli, *arguments: str, **env: str) -> Iterator[subprocess.Popen[bytes]]:
    """A run in the background, ended by force if the test leaves it; a stopped one too."""
    with cli.start(*arguments, **env) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process.pid, signal.SIGCONT)
            process.communicate()


def ended(process: subprocess.Popen[bytes], *, net_s: float = NET_S) -> Ran:
    out, err = process.communicate(timeout=net_s)
    return Ran(code=process.returncode, out=out.decode(), err=err.decode())


def until(
    reached: Callable[[], object],
    process: subprocess.Popen[bytes] | None = None,
    *,
    why: Callable[[], str] = lambda: "it never came to that",
) -> None:
    deadline_s = time.monotonic() + NET_S
    while not reached():
        assert time.monotonic() < deadline_s, why()
        assert process is None or process.poll() is None, ended(process)
        time.sleep(0.02)


def _same(now: tuple[str, ...], wanted: tuple[str, ...], when: str) -> None:
    more, less = sorted(set(now) - set(wanted)), sorted(set(wanted) - set(now))
    assert now == wanted, f"{when} the database holds more: {more}; less: {less}"
