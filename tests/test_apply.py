"""Applying on a real server: everything with its ledger row, or nothing, and words that point at the line."""

from __future__ import annotations

import random
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import psycopg
import pytest
from tests.conftest import OWNER, Database

from autopilot.audit import schema
from autopilot.errors import AutopilotError, RolledBack, Stranded
from autopilot.migrations.apply import Applied, Target, apply
from autopilot.migrations.files import MigrationFile
from autopilot.migrations.segments import Migration, migration
from autopilot.migrations.wire import Limits, Stamp
from autopilot.postgres.session import Connection, look, session
from autopilot.secret import Secret

STAMP = Stamp(run_id="run-1", triggered_by="somebody's \\ test", commit_sha="abc1234")


class Instant:
    """A clock that does not wait: each sleep is told to `slept` and over at once."""

    def __init__(self, slept: Callable[[float], None] = lambda _: None) -> None:
        self._slept = slept
        self._passed_s = 0.0

    def now(self) -> datetime:
        return datetime(2026, 1, 1, tzinfo=UTC)

    def monotonic_s(self) -> float:
        return self._passed_s

    def sleep(self, seconds: float) -> None:
        self._passed_s += seconds
        self._slept(seconds)


@dataclass(frozen=True, kw_only=True)
class Bench:
    """A database with the automation schema, and a way to push migrations at it."""

    database: Database
    connection: Connection
    #: Another session, for rows that stand outside a file's transaction.
    ledger_session: Connection

    def push(
        self,
        *texts: str,
        names: tuple[str, ...] = (),
        limits: Limits | None = None,
        slept: Callable[[float], None] = lambda _: None,
        progress: Callable[[int, int], None] = lambda _done, _total: None,
        reached: Callable[[str], None] = lambda _point: None,
        lock_room: int | None = None,
    ) -> tuple[Applied, ...]:
        target = Target(
            connection=self.connection, ledger=self.ledger_session,
            limits=limits or Limits(lock_timeout_s=2.0, lock_tries=2, apply_timeout_s=60.0),
            clock=Instant(slept), chance=random.Random(1), settle=lambda _: "unknown", progress=progress,
            reached=reached, lock_room=lock_room,
        )  # fmt: skip
        return apply(migrations(*texts, names=names), target, STAMP)

    def ledger(self) -> list[str]:
        return [row[0] for row in self.database.rows("SELECT version FROM automation.applied_migrations ORDER BY version")]

    def history(self) -> Mapping[str, list[str]]:
        rows = self.database.rows("SELECT version, statements FROM supabase_migrations.schema_migrations ORDER BY version")
        return dict(rows)

    def segments(self, version: str) -> list[tuple[int, str]]:
        query = "SELECT segment, state FROM automation.migration_segments WHERE version = %s ORDER BY segment"
        return [(number, state) for number, state in self.database.rows(query, version)]

    def catalog(self) -> list[tuple[object, ...]]:
        """Relations, columns, indexes with their validity, constraints, functions and types outside our own schemas."""
        return self.database.rows(_CATALOG)

    def tables(self) -> set[str]:
        return {r[0] for r in self.database.rows("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")}

    def indexes(self, table: str) -> dict[str, bool]:
        query = "SELECT indexrelid::regclass::text, indisvalid FROM pg_index WHERE indrelid = to_regclass(%s)"
        return dict(self.database.rows(query, table))

    @contextmanager
    def other(self) -> Iterator[psycopg.Connection[tuple[object, ...]]]:
        """Another session, in a transaction of its own that is rolled back at the end."""
        with psycopg.connect(self.database.url) as connection:
            yield connection
            connection.rollback()


_CATALOG = """
SELECT 'relation', c.oid::regclass::text, c.relkind::text, coalesce(i.indisvalid::text, ''), coalesce(pg_get_viewdef(c.oid), '')
FROM pg_class c LEFT JOIN pg_index i ON i.indexrelid = c.oid
WHERE c.relnamespace NOT IN
    (SELECT oid FROM pg_namespace WHERE nspname ~ '^(pg_|information_schema|automation|supabase_migrations)')
UNION ALL
SELECT 'column', attrelid::regclass::text, attname::text, format_type(atttypid, atttypmod), attnotnull::text
FROM pg_attribute a JOIN pg_class c ON c.oid = attrelid
WHERE attnum > 0 AND c.relnamespace = 'public'::regnamespace
UNION ALL SELECT 'constraint', conname::text, conrelid::regclass::text, pg_get_constraintdef(oid), ''
FROM pg_constraint WHERE connamespace = 'public'::regnamespace
UNION ALL SELECT 'function', proname::text, prosrc, '', '' FROM pg_proc WHERE pronamespace = 'public'::regnamespace
UNION ALL SELECT 'type', t.typname::text, coalesce(e.enumlabel::text, ''), '', ''
FROM pg_type t LEFT JOIN pg_enum e ON e.enumtypid = t.oid WHERE typnamespace = 'public'::regnamespace
ORDER BY 1, 2, 3, 4, 5
"""


def migrations(*texts: str, names: tuple[str, ...] = ()) -> tuple[Migration, ...]:
    return tuple(
        migration(
            MigrationFile(
                version=str(number),
                name=names[number - 1] if names else "m",
                file=f"{number}_m.sql",
                text=text,
                sha256=f"sha {number}",
                normalized_sha256=f"norm {number}",
            )
        )
        for number, text in enumerate(texts, 1)
    )


@pytest.fixture
def bench(database: Database) -> Iterator[Bench]:
    url = Secret(database.url)
    with session(url, application_name="autopilot:run-1") as working, session(url, application_name="autopilot:run-1") as ledger:
        schema.ensure(ledger, look(ledger))
        yield Bench(database=database, connection=working, ledger_session=ledger)


# --- what succeeds is recorded ---


def test_files_that_commit_at_once_are_in_both_ledgers_with_their_statements(bench: Bench) -> None:
    told: list[tuple[int, int]] = []
    done = bench.push(
        "create table a (n int);\n-- a comment\ninsert into a values (1);",
        "",
        "create table b (n int)",
        progress=lambda done, total: told.append((done, total)),
    )
    assert [(a.version, a.file, a.statements) for a in done] == [("1", "1_m.sql", 2), ("2", "2_m.sql", 0), ("3", "3_m.sql", 1)]
    assert bench.history() == {
        "1": ["create table a (n int)", "insert into a values (1)"],
        "2": [],
        "3": ["create table b (n int)"],
    }
    rows = bench.database.rows(
        "SELECT version, name, file, sha256, normalized_sha256, statements, segments, run_id, origin, triggered_by, commit_sha,"
        " finished_at >= started_at, duration_ms >= 0 FROM automation.applied_migrations ORDER BY version"
    )
    assert rows == [
        (v, "m", f"{v}_m.sql", f"sha {v}", f"norm {v}", n, 1, "run-1", "autopilot", STAMP.triggered_by, "abc1234", True, True)
        for v, n in (("1", 2), ("2", 0), ("3", 1))
    ]
    assert bench.database.value("SELECT count(DISTINCT xmin::text) FROM automation.applied_migrations") == 1
    assert told == [(3, 3)]
    assert bench.tables() == {"a", "b"}


def test_nothing_to_apply_touches_nothing(bench: Bench) -> None:
    assert bench.push() == ()
    assert bench.ledger() == []


@pytest.mark.parametrize(
    "statement",
    [
        "insert into t values ('größer 😀')",
        "insert into t values ('it''s \"quoted\"')",
        r"insert into t values ('C:\new\table')",
        r"insert into t values (E'\\ \' \n')",
        "insert into t values ($q$a;b {curly} %s %% $1 \\$q$)",
        "insert into t values ('{a,b}'), ('NULL'), (',')",
        "insert into t\n\tvalues\n('two\nlines')",
        "do $$begin perform $a$ ; $a$; end$$",
    ],
)
def test_a_statement_reaches_server_and_history_unchanged(bench: Bench, statement: str) -> None:
    with bench.other() as other:
        other.execute("create table t (words text)")
        other.execute(statement.encode())
        expected = other.execute("select words from t order by 1").fetchall() if "insert" in statement else []
    bench.push(f"create table t (words text);\n{statement}", names=("naïve 'name' \\ {}",))
    assert bench.history()["1"][1] == statement
    assert bench.database.rows("select words from t order by 1") == expected
    assert bench.database.value("SELECT name FROM supabase_migrations.schema_migrations") == "naïve 'name' \\ {}"


def test_a_last_comment_that_ends_in_a_semicolon_ends_no_statement(bench: Bench) -> None:
    bench.push("create table t (n int) -- the end;", "select 1 /* ; */", "select 2; -- really;")
    assert bench.ledger() == ["1", "2", "3"]


def test_statements_with_many_answers_or_none_are_counted_right(bench: Bench) -> None:
    bench.push(
        "create table t (n int);\n"
        "create rule r as on insert to t do also select * from t;\n"
        "insert into t values (1);;\n"
        "copy t to stdout;\n"
        "create rule q as on delete to t do instead nothing;\n"
        "delete from t;\n"
        "select 1/n from t;",
        "begin; begin; select 1; commit;",
    )
    assert bench.ledger() == ["1", "2"]


def test_a_files_own_begin_keeps_its_isolation_level(bench: Bench) -> None:
    bench.push(
        "create table seen as select 'none'::text as level with no data;\n"
        "begin isolation level serializable;\n"
        "insert into seen values (current_setting('transaction_isolation'));\n"
        "commit;"
    )
    assert bench.database.rows("SELECT level FROM seen") == [("serializable",)]
    assert bench.segments("1") == [(0, "done"), (1, "done")]
    assert bench.ledger() == ["1"]


# --- what fails leaves nothing ---


def test_a_failing_third_statement_leaves_the_catalog_as_it_was(bench: Bench) -> None:
    bench.database.run("create table kept (n int not null); create view seen as select n from kept; insert into kept values (1)")
    before = bench.catalog()
    with pytest.raises(RolledBack) as failed:
        bench.push(
            "create table fresh (n int);\nalter table kept add column m text, alter column n drop not null;\n\n"
            "alter table missing\n  add column x int;\ncreate table never (n int);"
        )
    error = failed.value
    assert (error.code, error.where.file, error.where.line) == ("migration_failed", "1_m.sql", 4)
    assert error.where.statement == "alter table missing\n  add column x int"
    assert 'relation "missing" does not exist' in error.message
    assert "1_m.sql:4" in error.message
    assert "as it was" in error.state
    assert bench.catalog() == before
    assert (bench.ledger(), bench.history()) == ([], {})


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        # a position inside a statement of several lines
        ("select 1;\nselect 1,\n  2,\n  nowhere\nfrom (select 1) s;", 4, 'column "nowhere" does not exist'),
        ("-- größer 😀\nselect 'ä😀';\nselect\n 'é',\n missing_function('ü');", 5, "missing_function"),
        ("create table t (\n  a int,\n  b nosuchtype\n);", 3, 'type "nosuchtype" does not exist'),
        # no position: the statement's first line
        ("select 1;\n\n-- why\nselect\n  1 / 0\nfrom (values (1)) v (n);", 4, "division by zero"),
        ("create table t (a int primary key);\ninsert into t values (1);\ninsert into t\nvalues (1);", 3, "duplicate key"),
        ("do $$\nbegin\n  raise exception 'ä no';\nend $$;", 1, "ä no"),
        # a position inside a body, not inside the file
        ("select 1;\ndo $$\nbegin\n  perform nowhere;\nend $$;", 2, 'column "nowhere" does not exist'),
        ("select 1;\ncopy nowhere to stdout;", 2, "nowhere"),
    ],
)
def test_the_error_names_the_very_line(bench: Bench, text: str, line: int, words: str) -> None:
    before = bench.catalog()
    with pytest.raises(RolledBack) as failed:
        bench.push(text)
    assert (failed.value.where.line, words in failed.value.message) == (line, True)
    assert bench.catalog() == before


def test_when_the_second_of_two_files_fails_neither_is_in(bench: Bench) -> None:
    before = bench.catalog()
    with pytest.raises(RolledBack) as failed:
        bench.push("create table a (n int);", "create table b (n int);\nselect 1/0;", "create table c (n int);")
    assert (failed.value.where.file, failed.value.where.line) == ("2_m.sql", 2)
    assert "none of the 3 files is in" in failed.value.state
    assert bench.catalog() == before
    assert bench.ledger() == []


def test_files_that_commit_one_by_one_strand_and_say_which_are_in(bench: Bench) -> None:
    bench.database.run("create type mood as enum ('good')")
    with pytest.raises(Stranded) as failed:
        bench.push("alter type mood add value 'bad';", "select 'bad'::mood;\nselect 1/0;", "create table c (n int);")
    assert failed.value.state.startswith("1_m.sql is in; 2_m.sql, 3_m.sql are not.")
    assert (failed.value.where.file, failed.value.where.line) == ("2_m.sql", 2)
    assert bench.ledger() == ["1"]
    assert list(bench.history()) == ["1"]


def test_files_that_are_in_are_named_too_when_a_later_file_stops_half_way(bench: Bench) -> None:
    bench.database.run("create type mood as enum ('good')")
    with pytest.raises(Stranded) as failed:
        bench.push("alter type mood add value 'bad';", "create table a (n int);\nvacuum;\nselect 1/0;")
    assert "1_m.sql" in failed.value.state
    assert bench.ledger() == ["1"]
    assert bench.segments("2") == [(0, "done"), (1, "done")]


def test_what_failed_goes_through_once_it_is_mended(bench: Bench) -> None:
    with pytest.raises(RolledBack):
        bench.push("create table a (n int);", "select 1/0;")
    bench.push("create table a (n int);", "select 1/1;")
    assert bench.ledger() == ["1", "2"]


@pytest.mark.parametrize("later", ["", "create table other (n int);"], ids=["alone", "with another file"])
def test_a_deferred_constraint_that_fails_at_commit_is_rolled_back_and_said(bench: Bench, later: str) -> None:
    bench.database.run("create table p (id int primary key); create table c (p int references p deferrable initially deferred)")
    before = bench.catalog()
    with pytest.raises(RolledBack) as failed:
        bench.push(*filter(None, ["create table fresh (n int);\ninsert into c values (7);", later]))
    assert failed.value.code == "migration_failed"
    assert failed.value.where.file == "1_m.sql"
    assert "violates foreign key constraint" in failed.value.message
    assert bench.catalog() == before
    assert (bench.ledger(), bench.database.value("SELECT count(*) FROM c")) == ([], 0)


def test_a_deferred_constraint_that_fails_in_a_later_part_says_that_the_earlier_part_is_in(bench: Bench) -> None:
    bench.database.run("create table p (id int primary key); create table c (p int references p deferrable initially deferred)")
    with pytest.raises(Stranded) as failed:
        bench.push("create index concurrently c_p on c (p);\ninsert into c values (7);")
    assert "committed" in failed.value.state
    assert bench.indexes("c") == {"c_p": True}
    assert bench.ledger() == []


def test_deferred_checks_of_one_file_do_not_stand_in_the_way_of_the_next(bench: Bench) -> None:
    """Committed one by one these two files pass; so they must pass at once, or be kept apart."""
    bench.database.run("create table p (id int primary key); create table c (p int references p deferrable initially deferred)")
    bench.push("insert into p values (1); insert into c values (1);", "alter table c add column note text;")
    assert bench.ledger() == ["1", "2"]


_COMMITTING = """
create table t (n int check (n < 10));
create procedure p(n int) language plpgsql as $$begin insert into t values (n); commit; insert into t values (n * 5); end$$
"""


@pytest.mark.parametrize("call", ["call p(1);", "do $$begin insert into t values (1); commit; insert into t values (5); end$$;"])
@pytest.mark.parametrize("more", ["", "create table other (n int);"], ids=["alone", "with another file"])
def test_a_procedure_that_commits_is_run_by_itself_and_once(bench: Bench, call: str, more: str) -> None:
    bench.database.run(_COMMITTING)
    bench.push(*filter(None, [f"insert into t values (0);\n{call}\ninsert into t values (9);", more]))
    assert bench.database.rows("SELECT n FROM t ORDER BY n") == [(0,), (1,), (5,), (9,)]
    assert bench.segments("1") == [(0, "done"), (1, "done"), (2, "done")]
    assert bench.ledger() == (["1", "2"] if more else ["1"])


def test_a_procedure_that_commits_and_then_fails_is_never_called_rolled_back(bench: Bench) -> None:
    bench.database.run(_COMMITTING)
    with pytest.raises(Stranded) as failed:
        bench.push("call p(3);")
    assert "violates check constraint" in failed.value.message
    assert "as it was" not in failed.value.state
    assert bench.database.rows("SELECT n FROM t") == [(3,)]
    assert bench.ledger() == []


def test_a_procedure_that_commits_inside_the_authors_own_begin_is_rolled_back(bench: Bench) -> None:
    bench.database.run(_COMMITTING)
    with pytest.raises(RolledBack) as failed:
        bench.push("begin;\ninsert into t values (0);\ncall p(1);\ncommit;")
    assert "invalid transaction termination" in failed.value.message
    assert failed.value.where.line == 3
    assert (bench.database.value("SELECT count(*) FROM t"), bench.ledger()) == (0, [])


def test_the_rows_of_a_copy_are_written(bench: Bench) -> None:
    bench.push(
        "create table t (n int, words text);\n"
        "COPY t (n, words) FROM stdin;\n1\tgrößer 😀; it's\n2\t\\N\n\\.\n"
        "COPY t (n) FROM stdin;\n\\.\n"
        "insert into t values (3);\n"
        "copy t FROM stdin (format csv);\n4,four\n\\.\n"
    )
    expected = [(1, "größer 😀; it's"), (2, None), (3, None), (4, "four")]
    assert bench.database.rows("SELECT n, words FROM t ORDER BY n") == expected
    assert len(bench.history()["1"]) == 5


def test_a_row_that_does_not_fit_rolls_everything_back_and_names_the_copy(bench: Bench) -> None:
    with pytest.raises(RolledBack) as failed:
        bench.push("create table t (n int);\nCOPY t FROM stdin;\n1\ntwo\n\\.\nselect 1;\n")
    assert failed.value.where.line in {2, 4}
    assert "invalid input syntax" in failed.value.message
    assert bench.tables() == set()


def test_an_error_after_copied_rows_still_points_at_its_line(bench: Bench) -> None:
    with pytest.raises(RolledBack) as failed:
        bench.push("create table t (n int);\nCOPY t FROM stdin;\n1\n2\n\\.\n\nselect\n nowhere;\n")
    assert failed.value.where.line == 8


def test_a_new_enum_value_can_be_used_further_down_the_same_file(bench: Bench) -> None:
    bench.database.run("create type mood as enum ('good')")
    bench.push(
        "alter type mood add value 'it''s bad';\ncreate table t (m mood default 'it''s bad');\ninsert into t default values;"
    )
    assert bench.database.rows("SELECT m::text FROM t") == [("it's bad",)]
    assert bench.ledger() == ["1"]


# --- many files in one message ---

#: More than one message holds.
MANY = 120


def many_tables() -> list[str]:
    return [f"-- größer 😀\ncreate table t{n} (n int);\n" for n in range(1, MANY + 1)]


def test_many_small_files_share_messages_and_are_each_recorded(bench: Bench) -> None:
    points: list[str] = []
    bench.push(*many_tables(), reached=points.append)
    assert points.count("A2") == 3
    assert bench.tables() == {f"t{n}" for n in range(1, MANY + 1)}
    assert bench.history() == {str(n): [f"create table t{n} (n int)"] for n in range(1, MANY + 1)}
    assert bench.database.value("SELECT count(DISTINCT xmin::text) FROM automation.applied_migrations") == 1


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("create table u (\n  a int,\n  b nosuchtype\n);", 3, 'type "nosuchtype" does not exist'),
        ("create table u (a int);\n\ncomment on column u.nowhere is 'é';", 3, '"nowhere"'),
        ("create schema s;\ncreate schema s;", 2, 'schema "s" already exists'),
    ],
)
@pytest.mark.parametrize("number", [1, 2, 50, 51, MANY])
def test_of_many_small_files_the_error_names_the_one_that_failed(
    bench: Bench, number: int, text: str, line: int, words: str
) -> None:
    texts = many_tables()
    texts[number - 1] = text
    before = bench.catalog()
    with pytest.raises(RolledBack) as failed:
        bench.push(*texts)
    where = failed.value.where
    assert (where.file, where.line, words in failed.value.message) == (f"{number}_m.sql", line, True)
    assert f"none of the {MANY} files is in" in failed.value.state
    assert (bench.catalog(), bench.ledger()) == (before, [])


def test_of_many_small_files_one_that_someone_else_has_applied_is_named(bench: Bench) -> None:
    bench.push(*many_tables()[:3])
    bench.database.run("delete from automation.applied_migrations where version <> '3'; drop table t1, t2, t3")
    bench.database.run("delete from supabase_migrations.schema_migrations where version <> '3'")
    with pytest.raises(RolledBack) as failed:
        bench.push(*many_tables())
    assert (failed.value.code, failed.value.where.file) == ("applied_elsewhere", "3_m.sql")
    assert bench.tables() == set()


def test_what_the_servers_grammar_refuses_is_told_with_its_line(bench: Bench) -> None:
    """Our grammar and the server's may differ: then the server takes the whole message or nothing of it."""
    bench.database.run(f'alter database "{bench.database.name}" set standard_conforming_strings to off')
    texts = [
        "create table a (n int);",
        "create table b (n int);\ncomment on table b is 'c:\\';\ncomment on table b is 'd';",
        "create table c (n int);",
    ]
    with session(Secret(bench.database.url), application_name="autopilot:run-1") as anew, pytest.raises(RolledBack) as failed:
        replace(bench, connection=anew).push(*texts)
    assert (failed.value.code, failed.value.where.file, failed.value.where.line) == ("migration_failed", "2_m.sql", 3)
    assert bench.ledger() == []


@pytest.mark.parametrize("later", ["", "create table other (n int);"], ids=["alone", "with another file"])
def test_a_file_that_removes_its_own_ledger_row_is_rolled_back(bench: Bench, later: str) -> None:
    with pytest.raises(RolledBack) as failed:
        bench.push(*filter(None, ["create table a (n int);\ndelete from automation.applied_migrations;", later]))
    assert (failed.value.code, failed.value.where.file) == ("ledger_not_written", "1_m.sql")
    assert (bench.tables(), bench.ledger(), bench.history()) == (set(), [], {})


def test_files_for_which_the_lock_table_has_no_room_commit_one_by_one(bench: Bench) -> None:
    bench.push(*many_tables(), lock_room=MANY)
    assert bench.database.value("SELECT count(DISTINCT xmin::text) FROM automation.applied_migrations") == MANY


# --- files do not influence one another ---


@pytest.mark.parametrize(
    "first",
    [
        "set search_path to app;",
        "set local search_path to app;",
        "select pg_catalog.set_config('search_path', '', false);",
        "set lock_timeout = '1ms';",
        "set client_encoding to 'LATIN1';",
        "set standard_conforming_strings to off;",
        "set default_transaction_read_only to on;",
        "set check_function_bodies to off;",
        "set role someone;",
        "set local role someone;",
        "reset all;",
        "set session characteristics as transaction isolation level serializable;",
    ],
)
@pytest.mark.parametrize("apart", [False, True], ids=["in one transaction", "one by one"])
def test_what_a_file_sets_does_not_reach_the_next(bench: Bench, first: str, apart: bool) -> None:
    someone = f"someone_{bench.database.name}"
    bench.database.run(
        f"create role {someone}; grant {someone} to {OWNER}; create schema app; grant usage on schema app, public to {someone}",
        admin=True,
    )
    try:
        bench.push(
            first.replace("someone", someone) + (" create temp table x (n int);" if apart else ""),
            "create table public.seen (words text);\n"
            "insert into seen values ('größer C:\\new'), (current_user), (current_setting('search_path')),"
            " (current_setting('lock_timeout')), (current_setting('transaction_isolation')),"
            " (current_setting('check_function_bodies'));",
            *(["vacuum public.seen; select 1;"] if apart else []),
        )
        assert bench.database.rows("SELECT words FROM public.seen") == [
            ("größer C:\\new",),
            (OWNER,),
            ('"$user", public',),
            ("2s",),
            ("read committed",),
            ("on",),
        ]
        assert bench.ledger() == (["1", "2", "3"] if apart else ["1", "2"])
        assert "größer C:\\new" in bench.history()["2"][1]
    finally:
        bench.database.run(f"drop owned by {someone} cascade; drop role {someone}", admin=True)


@pytest.mark.parametrize("apart", [False, True], ids=["in one transaction", "one by one"])
def test_a_time_limit_that_a_file_sets_ends_with_it(bench: Bench, apart: bool) -> None:
    temporary = "create temp table x (n int);" if apart else ""
    bench.push(f"{temporary} set statement_timeout = '1s';", "select pg_sleep(1.2);")
    assert bench.ledger() == ["1", "2"]


@pytest.mark.parametrize("first", ["set default_transaction_read_only to on;", "set search_path to app;"])
def test_what_a_file_sets_does_not_reach_a_statement_that_stands_alone(bench: Bench, first: str) -> None:
    """Nor our own questions around it: they must find the same table as the statement."""
    bench.database.run("create schema app; create table app.t (a int); create table t (a int); insert into t values (1), (1)")
    with pytest.raises(Stranded) as failed:
        bench.push(first, "create unique index concurrently t_a on t (a);")
    assert "could not create unique index" in failed.value.message
    assert (bench.indexes("public.t"), bench.indexes("app.t")) == ({}, {})
    assert bench.ledger() == ["1"]


def test_a_role_that_a_file_takes_does_not_write_the_ledger(bench: Bench) -> None:
    role = f"r_{bench.database.name}"
    bench.database.run(f"create role {role}; grant {role} to {OWNER}", admin=True)
    try:
        bench.push(f"set role {role};", f"set local role {role};")
        assert bench.ledger() == ["1", "2"]
    finally:
        bench.database.run(f"drop role {role}", admin=True)


def test_what_a_file_sets_holds_for_the_rest_of_that_file(bench: Bench) -> None:
    """psql and the Supabase CLI run a file in one session: a SET on top counts below a CONCURRENTLY too."""
    bench.database.run("create schema app; create table app.t (a int)")
    bench.push("set search_path to app;\ncreate index concurrently t_a on t (a);\ninsert into t values (1);")
    assert bench.indexes("app.t") == {"app.t_a": True}
    assert bench.database.value("SELECT count(*) FROM app.t") == 1


# --- statements that stand alone ---


def test_an_index_is_built_concurrently_with_progress_and_ledger_rows(bench: Bench) -> None:
    bench.push("create table t (a int);\ncreate index concurrently t_a on t (a);\ninsert into t values (1);")
    assert bench.indexes("t") == {"t_a": True}
    assert bench.segments("1") == [(0, "done"), (1, "done"), (2, "done")]
    assert bench.ledger() == ["1"]
    assert bench.history()["1"] == [
        "create table t (a int)",
        "create index concurrently t_a on t (a)",
        "insert into t values (1)",
    ]
    assert bench.database.value("SELECT segments FROM automation.applied_migrations") == 3


def test_a_unique_index_that_meets_duplicates_leaves_no_invalid_index(bench: Bench) -> None:
    bench.database.run("create table t (a int); insert into t values (1), (1); create index t_old on t (a)")
    with pytest.raises(RolledBack) as failed:
        bench.push("\ncreate unique index concurrently t_a on t (a);")
    assert (failed.value.where.file, failed.value.where.line) == ("1_m.sql", 2)
    assert "could not create unique index" in failed.value.message
    assert bench.indexes("t") == {"t_old": True}
    assert (bench.ledger(), bench.segments("1")) == ([], [])


def test_a_unique_index_that_fails_after_a_first_part_strands_and_goes_on_when_run_again(bench: Bench) -> None:
    text = "create table t (a int);\ninsert into t values (1), (1);\ncreate unique index concurrently t_a on t (a);\nselect 1;"
    with pytest.raises(Stranded) as failed:
        bench.push(text)
    assert "up to line 2" in failed.value.state
    assert bench.indexes("t") == {}
    bench.database.run("delete from t where ctid in (select ctid from t limit 1)")
    bench.push(text)
    assert bench.indexes("t") == {"t_a": True}
    assert bench.database.value("SELECT count(*) FROM t") == 1
    assert bench.ledger() == ["1"]


@pytest.mark.parametrize(
    "mended",
    [
        (
            "create table t (a int);\ncreate table u (a int);\ninsert into t values (1), (2);\n"
            "create unique index concurrently t_a on t (a);"
        ),
        "create table u (a int);\nvacuum;\ncreate table t (a int);\ninsert into t values (1), (1);",
    ],
    ids=["a statement more in the part that is done", "other parts altogether"],
)
def test_a_file_that_was_changed_half_way_is_never_taken_for_what_ran(bench: Bench, mended: str) -> None:
    """What is marked as done was done by another text: going on by number would leave statements out in silence."""
    with pytest.raises(Stranded):
        bench.push("create table t (a int);\ninsert into t values (1), (1);\ncreate unique index concurrently t_a on t (a);")
    bench.database.run("delete from t")
    try:
        bench.push(mended)
    except AutopilotError as error:
        assert error.where.file == "1_m.sql" or "1_m.sql" in error.message  # noqa: PT017 - either outcome is right
    else:
        assert "u" in bench.tables()


def intend(bench: Bench, text: str, before: str) -> None:
    """The progress row of a run that died while statement 0 of file 1, which is `text`, was under way."""
    (pushed,) = migrations(text)
    bench.database.run(
        "insert into automation.migration_segments (version, segment, state, sha256, run_id, before)"
        f" select '1', 0, 'intent', '{pushed.segments[0].sha256}', 'dead', {before}"
    )


_BEFORE = "jsonb_build_object('table', 't'::regclass::oid::bigint, 'indexes', '[]'::jsonb)"


def test_an_invalid_index_that_a_dead_run_left_is_dropped_and_built_anew(bench: Bench) -> None:
    bench.database.run("create table t (a int); insert into t values (1), (1)")
    intend(bench, "create unique index concurrently t_a on t (a);", _BEFORE)
    with psycopg.connect(bench.database.url, autocommit=True) as other, pytest.raises(psycopg.errors.UniqueViolation):
        other.execute("create unique index concurrently t_a on t (a)")
    assert bench.indexes("t") == {"t_a": False}
    bench.database.run("delete from t")
    bench.push("create unique index concurrently t_a on t (a);")
    assert bench.indexes("t") == {"t_a": True}
    assert bench.segments("1") == [(0, "done")]
    assert bench.ledger() == ["1"]


def test_a_nameless_index_of_a_dead_run_is_found_too(bench: Bench) -> None:
    bench.database.run("create table t (a int)")
    intend(bench, "create index concurrently on t (a);", _BEFORE)
    bench.database.run("create index on t (a)")
    bench.push("create index concurrently on t (a);")
    assert bench.indexes("t") == {"t_a_idx": True}


def test_a_valid_index_that_a_dead_run_built_is_taken_as_done(bench: Bench) -> None:
    bench.database.run("create table t (a int)")
    intend(bench, "create index concurrently t_a on t (a);", _BEFORE)
    bench.database.run("create index t_a on t (a)")
    oid = bench.database.value("SELECT 't_a'::regclass::oid")
    bench.push("create index concurrently t_a on t (a);")
    assert bench.database.value("SELECT 't_a'::regclass::oid") == oid
    assert bench.ledger() == ["1"]


def test_somebody_elses_new_index_is_not_taken_for_ours(bench: Bench) -> None:
    bench.database.run("create table t (a int, b int)")
    intend(bench, "create index concurrently t_a on t (a);", _BEFORE)
    bench.database.run("create index added_by_hand on t (b)")
    bench.push("create index concurrently t_a on t (a);")
    assert bench.indexes("t") == {"added_by_hand": True, "t_a": True}


def test_somebody_elses_invalid_index_is_left_alone(bench: Bench) -> None:
    bench.database.run("create table t (a int, b int); insert into t values (1, 1), (1, 2)")
    with psycopg.connect(bench.database.url, autocommit=True) as other, pytest.raises(psycopg.errors.UniqueViolation):
        other.execute("create unique index concurrently theirs on t (a)")
    with pytest.raises(RolledBack):
        bench.push("create unique index concurrently ours on t (a);")
    assert bench.indexes("t") == {"theirs": False}


def test_an_invalid_index_of_that_name_is_not_taken_for_built(bench: Bench) -> None:
    bench.database.run("create table t (a int); insert into t values (1), (1)")
    with psycopg.connect(bench.database.url, autocommit=True) as other, pytest.raises(psycopg.errors.UniqueViolation):
        other.execute("create unique index concurrently t_a on t (a)")
    with pytest.raises(Stranded) as failed:
        bench.push("create unique index concurrently if not exists t_a on t (a);")
    assert failed.value.code == "invalid_index"
    assert "DROP INDEX CONCURRENTLY" in failed.value.hint
    assert bench.ledger() == []


@pytest.mark.parametrize(
    "text",
    [
        "vacuum t;",
        "reindex table concurrently t;",
        "drop index concurrently t_a;",
        "drop index concurrently t_a;\ncreate index concurrently t_a on t (a);",
        "create index concurrently t_b on only t (a) where a > 0;",
    ],
)
def test_a_file_of_stand_alone_statements_is_recorded(bench: Bench, text: str) -> None:
    bench.database.run("create table t (a int); create index t_a on t (a)")
    bench.push(text)
    assert bench.ledger() == ["1"]
    assert {state for _, state in bench.segments("1")} == {"done"}


def test_a_dropped_index_of_a_dead_run_is_taken_as_done(bench: Bench) -> None:
    bench.database.run("create table t (a int)")
    intend(bench, "drop index concurrently t_a;", "null::jsonb")
    bench.push("drop index concurrently t_a;")
    assert bench.ledger() == ["1"]


def test_a_stand_alone_statement_that_cannot_be_is_rolled_back_with_its_line(bench: Bench) -> None:
    with pytest.raises(RolledBack) as failed:
        bench.push("-- é\n\ncreate index concurrently i\n  on nowhere (a);")
    assert failed.value.where.line in {3, 4}
    assert '"nowhere" does not exist' in failed.value.message
    assert bench.segments("1") == []


# --- locks ---


def test_a_lock_that_is_never_let_go_ends_in_a_bounded_number_of_tries(bench: Bench) -> None:
    bench.database.run("create table t (a int)")
    waits: list[float] = []
    with bench.other() as other:
        other.execute("lock table t in access share mode")
        with pytest.raises(RolledBack) as failed:
            bench.push(
                "create table fresh (n int);",
                "alter table t add column b int;",
                limits=Limits(lock_timeout_s=0.1, lock_tries=3),
                slept=waits.append,
            )
        assert other.execute("select count(*) from t").fetchone() == (0,)
    error = failed.value
    assert (error.code, error.retryable, error.where.file, error.where.line) == ("lock_not_available", True, "2_m.sql", 1)
    assert "tried 3 times" in error.message
    assert len(waits) == 2
    assert "fresh" not in bench.tables()
    assert bench.ledger() == []


def test_a_lock_that_is_let_go_between_two_tries_is_taken(bench: Bench) -> None:
    bench.database.run("create table t (a int)")
    with bench.other() as other:
        other.execute("lock table t in access share mode")
        bench.push(
            "alter table t add column b int;", limits=Limits(lock_timeout_s=0.1, lock_tries=5), slept=lambda _: other.rollback()
        )
    assert bench.ledger() == ["1"]
    assert bench.database.value("SELECT count(*) FROM pg_attribute WHERE attrelid = 't'::regclass AND attname = 'b'") == 1


def test_nothing_is_held_between_two_tries(bench: Bench) -> None:
    bench.database.run("create table t (a int); create table u (a int)")
    held: list[int] = []

    def count(_: float) -> None:
        query = "SELECT count(*) FROM pg_locks WHERE relation = 'u'::regclass"
        held.append(bench.database.value(query))

    with bench.other() as other:
        other.execute("lock table t in access share mode")
        with pytest.raises(RolledBack):
            bench.push(
                "alter table u add column b int; alter table t add column b int;",
                limits=Limits(lock_timeout_s=0.1, lock_tries=3),
                slept=count,
            )
    assert held == [0, 0]


def test_other_errors_are_not_tried_again(bench: Bench) -> None:
    waits: list[float] = []
    with pytest.raises(RolledBack):
        bench.push("select 1/0;", limits=Limits(lock_tries=5), slept=waits.append)
    assert waits == []


def test_a_statement_beyond_the_wall_limit_is_cancelled_and_rolled_back(bench: Bench) -> None:
    with pytest.raises(RolledBack) as failed:
        bench.push("create table fresh (n int); select pg_sleep(60);", limits=Limits(apply_timeout_s=0.5))
    assert failed.value.code == "apply_timed_out"
    assert (bench.tables(), bench.ledger()) == (set(), [])


def test_a_broken_connection_before_the_commit_is_rolled_back(bench: Bench) -> None:
    with pytest.raises(RolledBack) as failed:
        bench.push("create table fresh (n int); select pg_terminate_backend(pg_backend_pid());")
    assert (failed.value.code, failed.value.retryable) == ("connection_lost", True)
    assert (bench.tables(), bench.ledger()) == (set(), [])


# --- the same version at the same time ---


def test_a_version_that_someone_else_has_just_applied_is_not_applied_twice(bench: Bench) -> None:
    bench.push("create table t (n int); insert into t values (1);")
    before = bench.catalog()
    with pytest.raises(RolledBack) as failed:
        bench.push("insert into t values (2);")
    assert (failed.value.code, failed.value.retryable, failed.value.where.file) == ("applied_elsewhere", True, "1_m.sql")
    assert bench.catalog() == before
    assert bench.database.rows("SELECT n FROM t") == [(1,)]


def test_a_version_that_the_supabase_cli_has_just_applied_is_not_applied_twice(bench: Bench) -> None:
    bench.database.run("insert into supabase_migrations.schema_migrations (version) values ('1')")
    with pytest.raises(RolledBack) as failed:
        bench.push("create table t (n int);")
    assert failed.value.code == "applied_elsewhere"
    assert (bench.tables(), bench.ledger()) == (set(), [])


def test_two_who_apply_the_same_version_at_once_do_it_once(bench: Bench) -> None:
    bench.database.run("create table t (n int)")
    ends: list[str] = []

    def one(connection: Connection) -> None:
        try:
            replace(bench, connection=connection).push("insert into t values (1); select pg_sleep(0.3);")
        except AutopilotError as error:
            ends.append(error.code)
        else:
            ends.append("applied")

    url = Secret(bench.database.url)
    with session(url, application_name="autopilot:a") as first, session(url, application_name="autopilot:b") as second:
        threads = [threading.Thread(target=one, args=(c,)) for c in (first, second)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(ends) == ["applied", "applied_elsewhere"]
    assert bench.database.value("SELECT count(*) FROM t") == 1
    assert bench.ledger() == ["1"]
    assert list(bench.history()) == ["1"]


def test_a_ledger_that_cannot_be_written_rolls_the_file_back_and_says_so(bench: Bench) -> None:
    with pytest.raises(RolledBack) as failed:
        bench.push("create table t (n int);\nset transaction read only;")
    assert failed.value.code == "ledger_not_written"
    assert re.search("read-only", failed.value.message)
    assert bench.tables() == set()


# --- a commit whose answer never comes ---


@pytest.mark.parametrize(
    ("outcome", "code"), [("committed", None), ("aborted", "connection_lost"), ("unknown", "commit_in_doubt")]
)
def test_a_commit_in_doubt_is_settled_by_asking_the_server(bench: Bench, outcome: str, code: str | None) -> None:
    """Our session ends just before COMMIT is sent: nobody answers it."""
    bench.database.run("create table t (n int)")
    pid = bench.connection.info.backend_pid
    asked: list[str] = []

    def settle(xid: str) -> str:
        asked.append(xid)
        return outcome

    target = Target(
        connection=bench.connection, ledger=bench.ledger_session, limits=Limits(),
        clock=Instant(), chance=random.Random(1), settle=settle,
        progress=lambda _done, _total: None,
        reached=lambda point: bench.database.run(f"select pg_terminate_backend({pid})") if point == "A6" else None,
    )  # fmt: skip
    pushed = migrations("insert into t values (1);")
    if code is None:
        assert [a.version for a in apply(pushed, target, STAMP)] == ["1"]
    else:
        with pytest.raises((RolledBack, Stranded)) as failed:
            apply(pushed, target, STAMP)
        assert failed.value.code == code
        assert failed.value.retryable
    assert len(asked) == 1
    assert asked[0].isdecimal()
