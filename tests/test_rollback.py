"""Going back on a release: what it changed comes back, what users wrote since stays."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.conftest import Cli, Database
from tests.slices import slice_of

SCENE = """
create table users (id int primary key, name text not null, age text not null);
insert into users select i, 'user ' || i, (i % 90)::text from generate_series(1, 200) i;
create table orders (id serial primary key, user_id int references users, note text);
insert into orders (user_id, note) select i, 'order ' || i from generate_series(1, 100) i;
create table old (id int primary key, what text); insert into old values (1, 'one'), (2, 'two');
create view names as select id, name from users;
"""


def released(cli: Cli, name: str, text: str) -> dict[str, Any]:
    cli.write(name, text)
    ran = cli("migrate", "--no-deploy", "--json")
    assert ran.code == 0, ran.err
    found = json.loads(ran.out)
    assert isinstance(found, dict)
    return found


def schema(database: Database) -> list[tuple[Any, ...]]:
    """Columns, constraints and indexes, in words that do not hang on numbers."""
    return database.rows(
        "select table_name || '.' || column_name || ' ' || data_type || ' ' || is_nullable from information_schema.columns"
        " where table_schema = 'public' union all"
        " select conrelid::regclass || ' ' || pg_get_constraintdef(oid) from pg_constraint"
        " where connamespace = 'public'::regnamespace and contype <> 'n' union all"
        " select indexdef from pg_indexes where schemaname = 'public' order by 1"
    )


CHANGES = {
    "a new table and column": ("create table new (id int); alter table users add column email text;", None),
    "a dropped column": ("drop view names; alter table users drop column name;", "select id, name from users order by id"),
    "a dropped table": ("drop table old;", "select * from old order by id"),
    "a changed type": ("alter table users alter column age type int using age::int;", "select id, age from users order by id"),
    "a lossy type": ("alter table users alter column age type int using length(age);", "select id, age from users order by id"),
    "updated rows": ("update users set name = upper(name);", "select id, name from users order by id"),
    "deleted rows": ("delete from orders where id > 50;", "select * from orders order by id"),
    "emptied table": ("truncate orders;", "select * from orders order by id"),
    "all at once": (
        (
            "update users set name = 'x'; alter table users drop column age; drop table old; create index on orders (note);"
            "alter table orders rename column note to remark; delete from orders where id < 10;"
        ),
        (
            "select u.id, u.name, u.age, o.note, x.what from users u left join orders o on o.user_id = u.id"
            " left join old x on x.id = u.id order by 1, 4"
        ),
    ),
}


@pytest.mark.parametrize("name", slice_of(CHANGES, "a lossy type", "all at once"))
def test_a_release_is_undone_and_its_rows_are_as_they_were(cli: Cli, database: Database, name: str) -> None:
    text, query = CHANGES[name]
    database.run(SCENE)
    was, rows = schema(database), None if query is None else database.rows(query)
    done = released(cli, "1_a.sql", text)
    assert done["rehearsal"]["way_back"] == {"proven": True, "loses": []}
    assert schema(database) != was or query is not None
    ran = cli("rollback", "--json")
    assert ran.code == 0, ran.err
    assert json.loads(ran.out)["undone"] == ["1"]
    assert schema(database) == was
    assert query is None or database.rows(query) == rows
    assert database.rows("select version from automation.applied_migrations") == []
    assert database.rows("select status, versions from automation.migration_log order by id") == [
        ("success", ["1"]), ("rollback", ["1"])
    ]  # fmt: skip
    again = cli("migrate", "--no-deploy", "--json")
    assert again.code == 0, again.err
    assert cli("rollback").code == 0
    assert schema(database) == was
    assert query is None or database.rows(query) == rows


def test_what_users_wrote_since_stays(cli: Cli, database: Database) -> None:
    database.run(SCENE)
    released(cli, "1_a.sql", "update users set name = upper(name); alter table users drop column age;")
    database.run("update users set name = 'Hers' where id = 7; insert into users values (1000, 'new one');")
    ran = cli("rollback")
    assert ran.code == 0, ran.err
    assert database.rows("select name from users where id in (7, 8, 1000) order by id") == [("Hers",), ("user 8",), ("new one",)]
    assert database.value("select age from users where id = 8") == "8"
    assert "users: 1 row left as found: changed since" in ran.out


def test_several_releases_go_back_in_order(cli: Cli, database: Database) -> None:
    database.run(SCENE)
    was = schema(database)
    first = released(cli, "1_a.sql", "alter table users add column a int; update users set a = 1;")
    released(cli, "2_b.sql", "alter table users rename column a to b; drop table old;")
    released(cli, "3_c.sql", "alter table users drop column b;")
    ran = cli("rollback", "--to", first["run_id"], "--json")
    assert ran.code == 0, ran.err
    assert json.loads(ran.out)["undone"] == ["3", "2", "1"]
    assert schema(database) == was
    assert database.value("select count(*) from old") == 2


def test_nothing_to_undo_and_unknown_names_are_refused(cli: Cli, database: Database) -> None:
    assert cli("rollback").code == 1
    released(cli, "1_a.sql", "create table a (id int);")
    ran = cli("rollback", "--to", "nonsense", "--json")
    assert ran.code == 1
    assert json.loads(ran.out)["error"]["code"] == "unknown_run"
    assert database.value("select to_regclass('a')") is not None


def test_what_was_emptied_from_the_trash_is_told_as_lost(cli: Cli, database: Database) -> None:
    database.run(SCENE)
    released(cli, "1_a.sql", "update users set name = upper(name);")
    assert cli("trash", "empty", "--older-than", "0", "--yes").code == 0
    ran = cli("rollback", "--json")
    told = json.loads(ran.out)["error"]
    assert (ran.code, told["code"]) == (1, "would_lose_data"), ran.err
    assert "rows of public.users: not in the trash any more" in told["message"]
    assert "autopilot rollback --route merge --accept-data-loss" in told["hint"], "the backup has them"
    assert cli("rollback", "--route", "undo", "--accept-data-loss").code == 0
    assert database.value("select name from users where id = 7") == "USER 7"
