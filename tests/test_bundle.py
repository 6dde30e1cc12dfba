"""The text to paste: from any beginning it ends where `autopilot migrate` ends."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from tests.conftest import LMS, Cli, Database

from autopilot.audit.schema import creation_script
from autopilot.errors import Refused
from autopilot.migrations.bundle import FILE_NAME, bundle, left_out, without_concurrently
from autopilot.migrations.files import MigrationFile
from autopilot.migrations.segments import Migration, migration
from autopilot.postgres.clients import for_embedded, installations

RELEASE = sorted((LMS / "supabase" / "migrations").glob("*.sql"))
PROGRAMS = for_embedded(installations())


def program(name: str, *arguments: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
    env = {"PATH": os.environ["PATH"], "PGAPPNAME": "test", "PGCLIENTENCODING": "UTF8"}
    return subprocess.run(
        [PROGRAMS.tool(name), *arguments], env=env, input=stdin, capture_output=True, timeout=120, check=False, encoding="utf-8"
    )


def paste(database: Database, text: str, *, stop: bool = True) -> None:
    """As with psql: statement by statement."""
    done = program("psql", "-X", "-q", "-v", f"ON_ERROR_STOP={int(stop)}", "-d", database.url, "-f", "-", stdin=text)
    assert not stop or done.returncode == 0, done.stderr[-2000:]


def send(database: Database, text: str) -> None:
    """As an SQL editor does: everything in one message."""
    with psycopg.connect(database.url, autocommit=True) as connection:
        connection.execute(text.encode())


def structure(database: Database) -> str:
    """The schema as pg_dump sees it. Not the grants of the Supabase CLI's table and not pg_dump's random words."""
    done = program(
        "pg_dump", "--schema-only", "--exclude-schema=automation", "--exclude-schema=supabase_migrations", "-d", database.url
    )
    assert done.returncode == 0, done.stderr
    return "\n".join(line for line in done.stdout.splitlines() if not line.startswith(("\\restrict", "\\unrestrict")))


def counts(database: Database) -> dict[str, int]:
    tables = database.rows(
        "SELECT table_schema, table_name FROM information_schema.tables WHERE table_type = 'BASE TABLE'"
        " AND table_schema NOT IN ('pg_catalog', 'information_schema', 'automation') ORDER BY 1, 2"
    )
    with psycopg.connect(database.admin_url) as connection:
        found = {}
        for schema, table in tables:
            row = connection.execute(sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(schema, table))).fetchone()
            assert row is not None
            found[f"{schema}.{table}"] = int(row[0])
        return found


def ledger(database: Database) -> list[tuple[object, ...]]:
    """What both ledgers say of a version, but for who applied it and when."""
    return database.rows(
        "SELECT a.version, a.name, a.file, a.sha256, a.normalized_sha256, a.statements, a.segments, s.name, s.statements"
        " FROM automation.applied_migrations a FULL JOIN supabase_migrations.schema_migrations s USING (version)"
        " ORDER BY a.version"
    )


def automation(database: Database) -> list[tuple[object, ...]]:
    return database.rows(
        "SELECT c.relname::text, c.relkind::text, c.relrowsecurity, a.attname::text, format_type(a.atttypid, a.atttypmod)"
        " FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped"
        " WHERE c.relnamespace = 'automation'::regnamespace AND c.relkind IN ('r', 'v') ORDER BY 1, 4"
    )


def bundled(cli: Cli) -> str:
    ran = cli("bundle")
    assert ran.code == 0, ran.err
    return (cli.home / FILE_NAME).read_text(encoding="utf-8")


@pytest.fixture
def lms(cli: Cli) -> Cli:
    for file in RELEASE:
        shutil.copy(file, cli.migrations)
    return cli


@pytest.fixture
def migrated(lms: Cli, new_database: Callable[[], Database]) -> Database:
    """A database on which `autopilot migrate` ran."""
    database = new_database()
    ran = lms("migrate", "--no-backup", "--no-deploy", "--db", database.url)
    assert ran.code == 0, ran.err
    return database


def assert_same(pasted: Database, migrated: Database) -> None:
    assert structure(pasted) == structure(migrated)
    assert counts(pasted) == counts(migrated)
    assert ledger(pasted) == ledger(migrated)
    assert automation(pasted) == automation(migrated)


def test_pasted_twice_into_an_empty_database_it_ends_where_migrate_ends(lms: Cli, database: Database, migrated: Database) -> None:
    text = bundled(lms)
    paste(database, text)
    once = ledger(database), counts(database)
    paste(database, text)
    assert (ledger(database), counts(database)) == once
    assert_same(database, migrated)


def test_pasted_into_a_half_migrated_database_it_ends_there_too(lms: Cli, database: Database, migrated: Database) -> None:
    text = bundled(lms)
    for file in RELEASE[10:]:
        (lms.migrations / file.name).unlink()
    ran = lms("migrate", "--no-backup", "--no-deploy")
    assert ran.code == 0, ran.err
    assert len(ledger(database)) == 10
    paste(database, text)
    assert_same(database, migrated)


def test_sent_as_one_message_it_ends_there_too(lms: Cli, database: Database, migrated: Database) -> None:
    text = bundled(lms)
    send(database, text)
    send(database, text)
    assert_same(database, migrated)


def test_after_pasting_nothing_is_pending(lms: Cli, database: Database) -> None:
    paste(database, bundled(lms))
    ran = lms("migrate", "--no-backup", "--no-deploy", "--json")
    assert ran.code == 0, ran.err
    document = json.loads(ran.out)
    assert (document["outcome"], document["pending"]) == ("nothing_to_do", [])
    planned = json.loads(lms("plan", "--json").out)
    assert (planned["pending"], planned["drift"], planned["refusals"]) == ([], [], [])
    assert {r[0] for r in database.rows("SELECT origin FROM automation.applied_migrations")} == {"bundle"}


def test_pasting_after_a_migrate_changes_nothing(lms: Cli, migrated: Database) -> None:
    before = structure(migrated), counts(migrated), ledger(migrated)
    paste(migrated, bundled(lms))
    assert (structure(migrated), counts(migrated), ledger(migrated)) == before


def test_what_the_supabase_cli_applied_is_passed_over(lms: Cli, database: Database, migrated: Database) -> None:
    with psycopg.connect(database.url, autocommit=True) as connection:
        connection.execute("CREATE SCHEMA supabase_migrations")
        connection.execute("CREATE TABLE supabase_migrations.schema_migrations (version text PRIMARY KEY)")
        for file in RELEASE[:5]:
            connection.execute(file.read_bytes())
            connection.execute("INSERT INTO supabase_migrations.schema_migrations VALUES (%s)", (file.name.split("_")[0],))
    paste(database, bundled(lms))
    assert structure(database) == structure(migrated)
    assert counts(database) == counts(migrated)


# --- files that are awkward to wrap ---


def migrations(*texts: str) -> tuple[Migration, ...]:
    return tuple(
        migration(
            MigrationFile(version=str(number), name="m", file=f"{number}_m.sql", text=text, sha256="s", normalized_sha256="n")
        )
        for number, text in enumerate(texts, 1)
    )


def written(*texts: str) -> str:
    return bundle(migrations(*texts), schema_script=creation_script())


def versions(database: Database) -> list[str]:
    return [r[0] for r in database.rows("SELECT version FROM automation.applied_migrations ORDER BY version")]


WAYS = pytest.mark.parametrize("way", [paste, send], ids=["psql", "one message"])


@WAYS
@pytest.mark.parametrize(
    "text",
    [
        "",
        "-- nothing",
        "select 1 -- the end",
        "select 1 -- the end;",
        "select 1 /* ; */",
        "select $autopilot$ $part_0$ ' \\ größer 😀 $part_0_1$ $autopilot$, $$;$$;",
        r"select E'\'', 'C:\new', 'it''s', '%s %% $1 {}';",
        "create function f() returns int language plpgsql as $part_0$begin return 1; end$part_0$;\nselect f();",
        "create function f() returns int begin atomic select 1; end;",
        "create table t (done boolean, version text); insert into t values (true, '9'); select done, version from t;",
        "begin; create table t (n int); commit;\nbegin isolation level serializable; insert into t values (1); commit;",
        "create type e as enum ('a');\nbegin; alter type e add value 'b'; commit;\nselect 'b'::e;",
        "set role lms_owner; create table t (n int);",
        "set search_path to ''; create table public.t (n int);",
        "create table t (n int); create unique index concurrently if not exists t_n on t (n); vacuum t;",
        'create table t ("CONCURRENTLY" int);\ncreate index concurrently "an index CONCURRENTLY" on t ("CONCURRENTLY");',
        "create table t (n int); create index i on t (n); reindex index concurrently i; drop index concurrently i;",
    ],
)
def test_whatever_a_file_holds_it_can_be_pasted_twice(
    database: Database, way: Callable[[Database, str], None], text: str
) -> None:
    last = "create table public.last (n int); insert into public.last values (1);"
    bundled_text = written(text, last)
    way(database, bundled_text)
    way(database, bundled_text)
    assert versions(database) == ["1", "2"]
    assert database.value("SELECT count(*) FROM public.last") == 1
    expected = [s.text for s in migrations(text)[0].statements]
    assert database.value("SELECT statements FROM supabase_migrations.schema_migrations WHERE version = '1'") == expected


@WAYS
def test_a_part_that_commits_an_enum_value_lets_the_next_part_use_it(
    database: Database, way: Callable[[Database, str], None]
) -> None:
    """`migrate` takes this file; pasted as one transaction the new value could not be used."""
    way(
        database,
        written("create type e as enum ('a');", "begin; alter type e add value 'b'; commit;\nselect 'b'::e;"),
    )
    assert versions(database) == ["1", "2"]


@WAYS
@pytest.mark.parametrize(
    "text",
    [
        "savepoint a; create table lost (n int); rollback to a; create table t (n int); insert into t values (1), (2);",
        "create table t (n int);\nCOPY t FROM stdin;\n1\n2\n\\.\n",
    ],
    ids=["savepoint", "copied rows"],
)
def test_what_a_do_block_cannot_hold_is_pasted_another_way_or_refused_at_once(
    database: Database, way: Callable[[Database, str], None], text: str
) -> None:
    try:
        pasteable = written(text)
    except Refused as refused:
        assert refused.where.file == "1_m.sql"  # noqa: PT017 - either outcome is right
    else:
        way(database, pasteable)
        assert database.value("SELECT count(*) FROM t") == 2
        assert database.value("SELECT to_regclass('public.lost') IS NULL")


@WAYS
def test_a_deferred_constraint_is_checked_before_the_next_file(database: Database, way: Callable[[Database, str], None]) -> None:
    way(
        database,
        written(
            "create table p (id int primary key); create table c (p int references p deferrable initially deferred);",
            "insert into c values (1); insert into p values (1);",
            "alter table c add column note text;",
        ),
    )
    assert versions(database) == ["1", "2", "3"]


def test_pasted_where_errors_do_not_stop_it_nothing_runs_after_a_file_that_failed(database: Database) -> None:
    """An interactive psql goes on after an error: a later file must not run without the earlier one."""
    text = written("create table a (n int);", "select 1/0;", "create table c (n int);")
    paste(database, text, stop=False)
    assert versions(database) == ["1"]
    assert database.value("SELECT to_regclass('public.c') IS NULL")


def test_a_file_that_fails_leaves_nothing_of_itself(database: Database) -> None:
    with pytest.raises(psycopg.errors.DivisionByZero):
        send(database, written("create table a (n int);", "create table b (n int); select 1/0;"))
    assert versions(database) == ["1"]
    assert database.value("SELECT to_regclass('public.b') IS NULL")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("create index concurrently i on t (a)", "create index i on t (a)"),
        ("CREATE INDEX CONCURRENTLY i ON t (a)", "CREATE INDEX i ON t (a)"),
        ("create index /* CONCURRENTLY */ concurrently i on t (a)", "create index /* CONCURRENTLY */ i on t (a)"),
        ('create index concurrently "concurrently" on t (a)', 'create index "concurrently" on t (a)'),
        ("create index concurrently ü on t (a) where b = 'concurrently'", "create index ü on t (a) where b = 'concurrently'"),
        ("drop index concurrently if exists i", "drop index if exists i"),
        ("reindex table concurrently t", "reindex table t"),
        ("alter table p detach partition c concurrently", "alter table p detach partition c "),
        ("create index i on t (a)", "create index i on t (a)"),
    ],
)
def test_concurrently_is_taken_out_as_a_word_only(text: str, expected: str) -> None:
    assert without_concurrently(text) == expected


@pytest.mark.parametrize("text", ["reindex (concurrently) table t", "reindex (verbose, concurrently) index i"])
def test_concurrently_among_options_is_taken_out_so_that_the_rest_still_reads(text: str) -> None:
    (found,) = migrations(without_concurrently(text))[0].statements
    assert (found.kind, found.alone_because) == ("reindex_stmt", None)


@pytest.mark.parametrize(
    ("text", "clue"),
    [
        ("select 1;\nvacuum t;", "1_m.sql:2: VACUUM"),
        ("alter system set work_mem = '8MB';", "1_m.sql:1: ALTER SYSTEM"),
        ("create database d;", "1_m.sql:1: CREATE DATABASE"),
    ],
)
def test_what_no_transaction_can_hold_is_listed_and_left_out(text: str, clue: str) -> None:
    assert left_out(migrations(text)) == (clue,)
    assert f"--   {clue}" in written(text)


def test_the_bundle_is_the_same_every_time(lms: Cli, tmp_path: Path) -> None:
    first = bundled(lms)
    ran = lms("bundle", "--out", "-")
    assert ran.out == first
    assert "owner-Pa55" not in first
