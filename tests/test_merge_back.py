"""Route 3: only the rows that the migration changed come back from the backup; what users wrote since stays."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest
from tests.conftest import Cli, Database
from tests.putting_back import world_of
from tests.test_quarantine import EVERYTHING, backed_up

from autopilot.errors import Refused
from autopilot.postgres.session import session
from autopilot.rollback.merge import Merged, Touched
from autopilot.secret import Secret
from autopilot.workflows.merge_back import merge_back


@pytest.fixture
def full(database: Database) -> Database:
    database.run(EVERYTHING)
    return database


def migrated(database: Database, *statements: str) -> str:
    """Runs a migration in one transaction; returns its number."""
    with psycopg.connect(database.url) as connection:
        for statement in statements:
            connection.execute(statement.encode())
        row = connection.execute("select pg_current_xact_id()::text").fetchone()
    return str(row[0]) if row else ""


def merged(cli: Cli, database: Database, file: str, *touched: Touched, **more: Any) -> dict[str, Merged]:
    world = world_of(database.url, cli.backups)
    with session(Secret(database.url), application_name="autopilot:t1") as connection, connection.transaction():
        found = merge_back(world, connection, file=file, touched=touched, run_id="t1", **more)
    return {m.table: m for m in found}


def test_what_the_migration_changed_comes_back_and_what_users_changed_stays(cli: Cli, full: Database) -> None:
    file = backed_up(cli)
    before = dict(full.rows("select id, mood::text from people order by id"))
    xid = migrated(full, "update people set mood = 'sad' where id <= 40", "insert into people (name) values ('by the migration')")
    full.run("update people set name = 'theirs' where id = 3; insert into people (name) values ('by a user')")
    found = merged(cli, full, file, Touched(schema="public", table="people", xids=(xid,)))["public.people"]
    assert (found.restored, found.removed, found.conflicts, found.uncertain) == (39, 1, 1, 0)
    now = dict(full.rows("select id, mood::text from people where id <= 50 order by id"))
    assert now == before | {3: "sad"}
    assert full.rows("select name from people where id > 50") == [("by a user",)]
    kept = full.rows("select kept_as, rows from autopilot_trash.kept order by id")
    assert [rows for _, rows in kept] == [39, 1]
    assert full.value(f"select count(*) from autopilot_trash.{kept[0][0]} where mood = 'sad'") == 39


def test_deleted_rows_come_back_where_all_that_are_missing_are_the_migrations(cli: Cli, full: Database) -> None:
    file = backed_up(cli)
    before = full.rows("select id, person_id, ticket, note from orders order by id")
    people = full.rows("select id, name, age from people order by id")
    xid = migrated(full, "delete from people where id <= 10")
    touched = (
        Touched(schema="public", table="orders", xids=(xid,), deleted=100),
        Touched(schema="public", table="people", xids=(xid,)),
    )
    unsure = merged(cli, full, file, *touched)
    assert unsure["public.people"].uncertain == 10, "nobody said how many people it deleted"
    assert unsure["public.orders"].stuck == 100, "their people are not there"
    sure = merged(cli, full, file, touched[0], Touched(schema="public", table="people", xids=(xid,), deleted=10))
    assert (sure["public.people"].returned, sure["public.orders"].returned) == (10, 100)
    assert full.rows("select id, person_id, ticket, note from orders order by id") == before
    assert full.rows("select id, name, age from people order by id") == people


def test_rows_that_somebody_else_may_have_deleted_come_back_only_when_told(cli: Cli, full: Database) -> None:
    file = backed_up(cli)
    xid = migrated(full, "delete from orders where id <= 10")
    full.run("delete from orders where id = 11")
    touched = Touched(schema="public", table="orders", xids=(xid,), deleted=10)
    assert merged(cli, full, file, touched)["public.orders"] == Merged(
        table="public.orders", restored=0, returned=0, removed=0, conflicts=0, uncertain=11, stuck=0
    )
    assert merged(cli, full, file, touched, accept_uncertain=True)["public.orders"].returned == 11


def test_a_row_of_the_migrations_that_users_refer_to_stays(cli: Cli, full: Database) -> None:
    file = backed_up(cli)
    xid = migrated(full, "insert into people (name) values ('one'), ('two')")
    full.run("insert into orders (person_id) select id from people where name = 'one'")
    found = merged(cli, full, file, Touched(schema="public", table="people", xids=(xid,)))["public.people"]
    assert (found.removed, found.stuck) == (1, 1)
    assert full.rows("select name from people where id > 50") == [("one",)]


def test_without_the_migrations_number_nothing_is_changed_until_told(cli: Cli, full: Database) -> None:
    file = backed_up(cli)
    migrated(full, "update people set name = 'x'")
    found = merged(cli, full, file, Touched(schema="public", table="people"))["public.people"]
    assert (found.restored, found.conflicts) == (0, 50)
    found = merged(cli, full, file, Touched(schema="public", table="people"), accept_uncertain=True)["public.people"]
    assert (found.restored, found.conflicts) == (50, 0)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ("alter table people drop column age", "merge_columns_gone"),
        ("alter table orders alter column placed_at type date", "merge_types_differ"),
        ("alter table people drop constraint people_pkey cascade", "merge_no_key"),
        ("drop table people cascade", "merge_no_table"),
    ],
)
def test_a_table_that_is_not_as_it_was_is_a_reason_not_to_begin(cli: Cli, full: Database, change: str, code: str) -> None:
    file = backed_up(cli)
    xid = migrated(full, change)
    touched = [Touched(schema="public", table=t, xids=(xid,)) for t in ("people", "orders")]
    with pytest.raises(Refused) as refused:
        merged(cli, full, file, *touched)
    assert refused.value.code == code
