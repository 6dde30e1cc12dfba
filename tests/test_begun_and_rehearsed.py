"""A file that a killed run has begun is gone on with, in the rehearsal on a copy as on the target itself."""

from __future__ import annotations

import psycopg
import pytest
from tests.conftest import Cli, Database
from tests.slices import slice_of

SCENE = """
create table orders (id int, at date) partition by range (at);
create table orders_1 partition of orders for values from ('2020-01-01') to ('2021-01-01');
create table users (id int primary key, name text); create index old on users (name);
insert into users values (1, 'a'); insert into orders values (1, '2020-06-01');
"""
STATEMENTS = {
    "index": "create index concurrently users_name on users (name);",
    "nameless index": "create index concurrently on users (name, id);",
    "drop index": "drop index concurrently old;",
    "detach": "alter table orders detach partition orders_1 concurrently;",
    "vacuum": "vacuum users;",
}


def text(statement: str) -> str:
    return f"alter table users add column a int;\n{statement}\nalter table users add column b int;\n"


@pytest.mark.parametrize("point", slice_of(["A9", "A11"], "A9"))
@pytest.mark.parametrize("name", slice_of(STATEMENTS, "index", "vacuum"))
def test_a_begun_file_is_gone_on_with_in_the_rehearsal_too(cli: Cli, database: Database, name: str, point: str) -> None:
    database.run(SCENE)
    cli.write("1_a.sql", text(STATEMENTS[name]))
    killed = cli("migrate", "--no-deploy", AUTOPILOT_TEST="1", AUTOPILOT_TEST_KILLPOINT=f"{point}:1")
    assert killed.code == -9, killed.err
    ran = cli("migrate", "--no-deploy")
    assert ran.code == 0, ran.err
    assert "rehearse" in ran.err
    assert "1 begun and gone on with" in ran.err
    assert database.rows("select version, segments from automation.applied_migrations") == [("1", 3)]
    columns = "select column_name from information_schema.columns where table_name = 'users' order by ordinal_position"
    assert [c for (c,) in database.rows(columns)] == ["id", "name", "a", "b"]
    indexes = database.rows("select indisvalid from pg_index where indrelid = 'users'::regclass")
    assert indexes == [(True,)] * {"index": 3, "nameless index": 3, "drop index": 1}.get(name, 2)


def test_what_was_found_half_built_is_said(cli: Cli, database: Database) -> None:
    database.run(SCENE)
    cli.write("1_a.sql", STATEMENTS["index"])
    killed = cli("migrate", "--no-deploy", "--no-backup", AUTOPILOT_TEST="1", AUTOPILOT_TEST_KILLPOINT="A9:1")
    assert killed.code == -9
    with psycopg.connect(database.url, autocommit=True) as connection:
        connection.execute("create index users_name on users (name)")
    with psycopg.connect(database.admin_url, autocommit=True) as connection:
        connection.execute("update pg_index set indisvalid = false where indexrelid = 'users_name'::regclass")
    ran = cli("migrate", "--no-deploy", "--no-backup")
    assert ran.code == 0, ran.err
    assert "The index public.users_name, which an earlier run left half-built, is dropped and built anew." in ran.err
    assert database.value("select indisvalid from pg_index where indexrelid = 'users_name'::regclass")
