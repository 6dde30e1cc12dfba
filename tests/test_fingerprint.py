"""The fingerprint survives dump and restore of everything PostgreSQL has, and notices whatever is not as it was."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from tests.conftest import Database

from autopilot.backups import fingerprint
from autopilot.backups.fingerprint import Fingerprint
from autopilot.errors import Refused
from autopilot.postgres.clients import for_embedded, installations
from autopilot.postgres.session import session
from autopilot.secret import Secret

EVERYTHING = Path(__file__).with_name("everything.sql")


def taken(database: Database) -> Fingerprint:
    with session(Secret(database.admin_url), application_name="t") as connection, connection.transaction():
        return fingerprint.read(connection, timeout_s=60)


@pytest.fixture
def copied(tmp_path: Path, new_database: Callable[[], Database]) -> tuple[Fingerprint, Database]:
    """The fingerprint of a database with everything, and a restored copy of it."""
    source, copy = new_database(), new_database()
    source.run(EVERYTHING.read_text(), admin=True)
    with psycopg.connect(copy.admin_url, dbname="postgres", autocommit=True) as connection:
        connection.execute(sql.SQL("drop database {}").format(sql.Identifier(copy.name)))
        connection.execute(sql.SQL("create database {} template template0").format(sql.Identifier(copy.name)))
    programs, dump = for_embedded(installations()), tmp_path / "x.dump"
    subprocess.run([programs.tool("pg_dump"), "-Fc", "-f", dump, source.admin_url], check=True)
    subprocess.run([programs.tool("pg_restore"), "-e", "-d", copy.admin_url, dump], check=True)
    return taken(source), copy


def test_a_restored_copy_has_the_same_fingerprint(copied: tuple[Fingerprint, Database]) -> None:
    expected, copy = copied
    assert fingerprint.differences(expected, taken(copy)) == ()
    assert len(expected.objects) > 80
    assert expected.rows["app.part_1"] + expected.rows["app.part_def"] == 400
    assert expected.rows["app.dropped"] == 1, "a child's rows are its own"
    assert expected.large_objects is not None
    assert expected.large_objects[0] == 2


CHANGES = {
    "update app.gen set j = '{}' where a = 7": "app.gen: as many rows as in the backup's snapshot, but not the same ones",
    "delete from app.part where id = 3": "app.part_1: ",
    "alter table app.gen disable row level security": "table app.gen is not as it was",
    "drop policy pol on app.gen": "policy pol on app.gen is not there",
    "revoke select (a) on app.gen from anon": "table column app.gen.a is not as it was",
    "comment on table app.gen is 'other'": "table app.gen is not as it was",
    "alter table app.gen enable trigger tg": "trigger tg on app.gen is not as it was",
    "drop index app.un_id_idx": "index app.un_id_idx is not there",
    "alter table app.gen drop constraint nv": "table constraint nv on app.gen is not there",
    "create or replace function app.f(a int, b text default 'x') returns int language plpgsql set search_path = ''"
    " as $$ begin return 2; end $$": "function app.f(integer,pg_catalog.text) is not as it was",
    "alter type app.mood add value 'c'": "type app.mood is not as it was",
    "select setval('app.s', 10)": "the sequence app.s stands at 10, not at 15",
    "create table app.more (a int)": "table app.more is new",
    "select lo_put(oid, 0, 'x') from pg_largeobject_metadata limit 1": "2 large objects in the backup's snapshot",
    "alter table app.part_1 owner to anon": "table app.part_1 is not as it was",
    "alter default privileges in schema app grant insert on tables to anon": "in schema app on tables is not as it was",
    "create publication p; alter publication p owner to anon": "publication p (more) is new",
}


@pytest.mark.parametrize("change", CHANGES)
def test_whatever_is_not_as_it_was_is_named(copied: tuple[Fingerprint, Database], change: str) -> None:
    expected, copy = copied
    copy.run(change, admin=True)
    words = fingerprint.differences(expected, taken(copy))
    assert any(CHANGES[change] in w for w in words), words


def test_a_backup_made_before_some_kinds_were_told_is_not_blamed_for_them() -> None:
    found = Fingerprint(objects={"table a": "1", "default acl for role x on tables": "2", "publication p (more)": "3"})
    assert fingerprint.differences(Fingerprint(objects={"table a": "1"}, tells_all=False), found) == ()
    assert len(fingerprint.differences(Fingerprint(objects={"table a": "1"}), found)) == 2


def test_reading_a_table_calls_no_cast_of_its_owners(database: Database) -> None:
    database.run(
        "create table a (i int); insert into a values (1);"
        "create function trap(a) returns text language plpgsql as $$ begin raise 'trapped'; end $$;"
        "create cast (a as text) with function trap(a)"
    )
    assert taken(database).rows["public.a"] == 1


def test_schemas_that_do_not_count_are_not_looked_at(database: Database) -> None:
    database.run("create schema away; create table away.t (i serial)")
    with session(Secret(database.admin_url), application_name="t") as connection, connection.transaction():
        found = fingerprint.read(connection, timeout_s=60, absent=("away",))
    assert not any("away" in name for name in (*found.objects, *found.rows, *found.sequences))


def test_a_sequence_that_is_ahead_is_fine() -> None:
    assert fingerprint.differences(Fingerprint(sequences={"s": 5}), Fingerprint(sequences={"s": 37})) == ()


def test_a_table_that_may_not_be_read_is_named(database: Database) -> None:
    database.run("create table hidden (a int)", admin=True)
    with (
        session(Secret(database.url), application_name="t") as connection,
        pytest.raises(Refused, match=r"public\.hidden") as caught,
        connection.transaction(),
    ):
        fingerprint.read(connection, timeout_s=60)
    assert caught.value.code == "backup_failed"


def test_the_order_of_rows_and_the_settings_of_the_role_do_not_count(database: Database) -> None:
    database.run(
        "create table a (t timestamptz, f float8); insert into a values ('2020-01-01 00:00Z', 0.1), ('2021-01-01 00:00Z', 0.3)"
    )
    before = taken(database)
    database.run(
        "create table b as select * from a order by t desc; truncate a; insert into a select * from b; drop table b;"
        "alter database "
        + database.name
        + " set timezone = 'Asia/Tokyo'; alter database "
        + database.name
        + " set datestyle = 'German'",
        admin=True,
    )
    assert taken(database).sums == before.sums
