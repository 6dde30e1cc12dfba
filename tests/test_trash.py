"""`autopilot trash`: what is kept is shown, comes back by hand without writing anything over, and goes when its time is over."""

from __future__ import annotations

import json
from typing import Any

import psycopg
import pytest
from tests.conftest import Cli, Database, Ran
from tests.kept import ALL, ORDERS, catalog, kept, migrated, rows, step, undone
from tests.slices import slice_of

from autopilot.rollback.trash import Room


def document(ran: Ran) -> Any:
    assert ran.code == 0, ran.err
    return json.loads(ran.out)


def error(ran: Ran) -> tuple[int, str]:
    return ran.code, json.loads(ran.out)["error"]["code"]


def listed(cli: Cli) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = document(cli("trash", "list", "--json"))
    return found


def test_before_anything_was_kept_the_trash_is_empty(cli: Cli, database: Database) -> None:
    ran = cli("trash", "list")
    assert (ran.code, ran.out) == (0, "The trash is empty.\n")
    assert listed(cli) == []
    assert document(cli("trash", "empty", "--yes", "--json"))["entries"] == []
    assert error(cli("trash", "restore", "7", "--json")) == (1, "unknown_trash")
    assert database.value("select to_regnamespace('autopilot_trash') is null")


def test_a_dropped_table_is_listed_with_its_size_and_comes_back_as_it_was(cli: Cli, database: Database) -> None:
    database.run(ORDERS)
    then, shape = rows(database), catalog(database)
    run_id = migrated(database, step("drop table lines", "drop table", "lines"))
    (entry,) = listed(cli)
    assert (entry["what"], entry["how"], entry["table"], entry["run_id"]) == ("table", "move", "lines", run_id)
    assert entry["size_bytes"] >= 16384
    ran = cli("trash", "list")
    assert f"{entry['id']:>6}  table   public.lines: " in ran.out
    assert f"of run {run_id}" in ran.out
    ran = cli("trash", "restore", str(entry["id"]))
    assert (ran.code, ran.out) == (0, "public.lines is back, as it was.\n")
    assert (rows(database), catalog(database)) == (then, shape)
    assert error(cli("trash", "restore", str(entry["id"]), "--json")) == (1, "trash_restored")


def test_a_table_whose_name_or_index_is_taken_stays_where_it_is(cli: Cli, database: Database) -> None:
    database.run(ORDERS)
    migrated(database, step("drop table lines", "drop table", "lines"))
    number = str(listed(cli)[0]["id"])
    database.run("create table lines (mine int)")
    ran = cli("trash", "restore", number)
    assert ran.code == 1
    assert "public.lines is taken by something else" in ran.err
    assert "Nothing is overwritten" in ran.err
    database.run("alter table lines rename to mine; create table other (id int constraint lines_pkey primary key)")
    ran = cli("trash", "restore", number)
    assert ran.code == 1
    assert "public.lines_pkey is taken" in ran.err
    database.run("drop table other")
    assert cli("trash", "restore", number).code == 0


def test_a_schema_that_is_gone_is_named(cli: Cli, database: Database) -> None:
    database.run("create schema shop; create table shop.t (id int primary key)")
    migrated(database, step("drop table shop.t", "drop table", "t"), "drop schema shop", schema="shop")
    number = str(listed(cli)[0]["id"])
    assert error(cli("trash", "restore", number, "--json")) == (1, "trash_schema_missing")
    database.run("create schema shop")
    assert cli("trash", "restore", number).code == 0


def test_a_foreign_key_that_rows_written_since_break_comes_back_for_new_rows(cli: Cli, database: Database) -> None:
    database.run(ORDERS)
    migrated(database, step("drop table lines", "drop table", "lines"))
    database.run("delete from orders where id = 4")
    ran = cli("trash", "restore", str(listed(cli)[0]["id"]))
    assert ran.code == 0
    assert "the foreign key lines_order_id_fkey binds new rows only" in ran.out
    assert database.value("select convalidated from pg_constraint where conname = 'lines_order_id_fkey'") is False
    assert database.value("select count(*) from lines where order_id = 4") == 2


def test_a_copied_table_comes_back_by_hand_as_its_rows(cli: Cli, database: Database) -> None:
    database.run(ORDERS + "create view v as select * from lines")
    then = rows(database)["public.lines"]
    migrated(database, step("drop table lines cascade", "drop table", "lines", cascade=True))
    ran = cli("trash", "restore", str(listed(cli)[0]["id"]))
    assert ran.code == 0
    assert "public.lines is back, with 200 rows; its indexes, constraints" in ran.out
    assert rows(database)["public.lines"] == then


def test_a_dropped_column_comes_back_by_hand_after_users_went_on_writing(cli: Cli, database: Database) -> None:
    database.run(ORDERS)
    migrated(database, step("alter table orders drop column note", "drop column", "orders", columns=["note"]))
    database.run("insert into orders (id, customer) values (900, 1); delete from orders where id = 2")
    ran = cli("trash", "restore", str(listed(cli)[0]["id"]))
    assert ran.code == 0
    assert "note made again without default and constraints; 99 rows filled; 1 rows of then are not found any more" in ran.out
    assert database.rows("select id, note from orders where id in (1, 2, 900) order by 1") == [(1, "o1"), (900, None)]


def test_deleted_rows_come_back_by_hand_and_changed_ones_stay(cli: Cli, database: Database) -> None:
    database.run(ORDERS)
    migrated(database, "delete from lines where n = 1", "update lines set text = 'm'", touched=["lines"])
    database.run("insert into lines values (1, 1, 'theirs')")
    ran = cli("trash", "restore", str(listed(cli)[0]["id"]))
    assert ran.code == 0
    assert "99 deleted rows of public.lines are back" in ran.out
    assert "1 stay in the trash" in ran.out
    assert database.rows("select text, count(*) from lines where text in ('theirs', 'm') group by 1 order by 1") == [
        ("m", 100), ("theirs", 1),
    ]  # fmt: skip


def test_rows_without_a_key_and_rows_that_gave_way_are_not_put_back_by_hand(cli: Cli, database: Database) -> None:
    database.run(ORDERS + "create table log (what text); insert into log values ('a'), ('b')")
    migrated(database, "delete from log", touched=["log"])
    assert error(cli("trash", "restore", str(listed(cli)[0]["id"]), "--json")) == (1, "trash_rows_without_key")
    run_id = migrated(database, "update orders set note = 'm'", touched=ALL)
    database.run("update orders set note = 'theirs' where id = 1")
    undone(database, run_id)
    conflicts = next(e for e in listed(cli) if e["how"] == "conflicts")
    assert error(cli("trash", "restore", str(conflicts["id"]), "--json")) == (1, "trash_only_to_read")


def test_emptying_shows_first_and_removes_what_is_named_only_when_told_to(cli: Cli, database: Database) -> None:
    database.run(ORDERS)
    first = migrated(database, "update orders set note = 'x'", step("drop table lines", "drop table", "lines"), touched=ALL)
    second = migrated(
        database, step("alter table orders drop column note, drop column total cascade", "drop column", "orders",
                       columns=["note", "total"]),
        step("alter table customers alter column name type int using 1", "retype column", "customers", columns=["name"]),
    )  # fmt: skip
    assert document(cli("trash", "empty", "--json")) == {"removed": False, "size_bytes": 0, "entries": []}
    shown = cli("trash", "empty", "--run", second)
    assert "Nothing was removed: add --yes" in shown.out
    assert len(listed(cli)) == 4
    gone = document(cli("trash", "empty", "--run", second, "--yes", "--json"))
    assert (gone["removed"], sorted(e["what"] for e in gone["entries"])) == (True, ["column", "column"])
    assert {e["run_id"] for e in listed(cli)} == {first}
    assert error(cli("trash", "empty", "--run", second, "--yes", "--json")) == (1, "unknown_trash")
    assert document(cli("trash", "empty", "--older-than", "1", "--yes", "--json"))["entries"] == []
    assert len(document(cli("trash", "empty", "--older-than", "0", "--yes", "--json"))["entries"]) == 2
    left = "select relname from pg_class where relnamespace = 'autopilot_trash'::regnamespace and relkind = 'r' order by 1"
    assert database.rows(left) == [("images",), ("kept",)]


def test_what_has_expired_goes_and_nothing_else(cli: Cli, database: Database) -> None:
    database.run(ORDERS)
    migrated(database, step("drop table lines", "drop table", "lines"))
    migrated(database, "delete from orders", touched=["orders"])
    database.run("update autopilot_trash.kept set expires_at = now() - interval '1 second' where what = 'table'")
    assert [e["table"] for e in document(cli("trash", "empty", "--yes", "--json"))["entries"]] == ["lines"]
    assert [k.table for k in kept(database)] == ["orders"]
    assert kept(database)[0].expires_at - kept(database)[0].kept_at > kept(database)[0].kept_at - kept(database)[0].kept_at


def test_what_came_back_is_not_touched_when_its_entry_goes(cli: Cli, database: Database) -> None:
    database.run(ORDERS)
    migrated(database, step("drop table lines", "drop table", "lines"))
    assert cli("trash", "restore", str(listed(cli)[0]["id"])).code == 0
    assert len(document(cli("trash", "empty", "--older-than", "0", "--yes", "--json"))["entries"]) == 1
    assert database.value("select count(*) from lines") == 200


def test_a_trash_of_another_role_is_refused(cli: Cli, database: Database) -> None:
    database.run("create schema autopilot_trash", admin=True)
    assert error(cli("trash", "list", "--json")) == (1, "foreign_trash_schema")


def test_a_table_that_is_locked_is_not_waited_for_long(cli: Cli, database: Database) -> None:
    database.run(ORDERS)
    migrated(database, "delete from lines where n = 1", touched=["lines"])
    with psycopg.connect(database.url) as holder:
        holder.execute("lock table lines in access exclusive mode")
        code, name = error(cli("trash", "restore", str(kept(database)[0].id), "--json"))
    assert (code, name) == (3, "lock_not_available")
    assert kept(database)[0].restored_at is None


@pytest.mark.parametrize("arguments", [("restore", "x"), ("restore",), ("empty", "--older-than", "-1"), ("vanish",)])
def test_wrong_use_exits_2(cli: Cli, arguments: tuple[str, ...]) -> None:
    assert cli("trash", *arguments).code == 2


NO_ROOM = {
    "the role may not make it": (
        "revoke create on database {name} from lms_owner", "the role lms_owner may not make the schema autopilot_trash",
    ),
    "it is somebody else's": ("create schema autopilot_trash", "the schema autopilot_trash belongs to another role"),
}  # fmt: skip


@pytest.mark.parametrize("case", slice_of(NO_ROOM, "it is somebody else's"))
def test_where_there_can_be_no_trash_a_release_keeps_nothing_and_says_so(cli: Cli, database: Database, case: str) -> None:
    command, why = NO_ROOM[case]
    cli.write("1_a.sql", "create table a (id int primary key);")
    assert cli("migrate", "--no-deploy").code == 0
    database.run("insert into a values (1)")
    database.run(command.format(name=database.name), admin=True)
    cli.write("2_b.sql", "update a set id = 2;")
    ran = cli("migrate", "--no-deploy")
    assert ran.code == 0, ran.err
    assert f"No way back without loss: what 2_b.sql destroys is not kept: {why}" in ran.err
    assert database.value("select id from a") == 2
    refused = cli("rollback", "--json")
    assert error(refused) == (1, "would_lose_data")
    cli.write("3_c.sql", "alter table a add column note text;")
    harmless = cli("migrate", "--no-deploy")
    assert harmless.code == 0, harmless.err
    assert "is not kept" not in harmless.err


@pytest.mark.parametrize(
    ("facts", "why"),
    [
        ({}, None),
        ({"is_there": False}, None),
        ({"is_there": False, "may_create": False}, "the role r may not make the schema autopilot_trash in this database"),
        ({"may_create": False}, None),
        ({"is_ours": False}, "the schema autopilot_trash belongs to another role"),
        ({"register_is_ours": False}, "the register in the schema autopilot_trash belongs to another role"),
    ],
)
def test_whether_anything_can_be_kept(facts: dict[str, bool], why: str | None) -> None:
    known = {"is_there": True, "is_ours": True, "register_is_ours": True, "may_create": True}
    assert Room(**(known | facts), role="r").why_not == why


BEFORE = """create table customers (id int primary key, name text);
insert into customers values (1, 'a'), (2, 'b'), (3, 'c');"""
ADDED = """alter table customers add column email text;
create table visits (id bigint generated always as identity, customer int references customers, at date, primary key (id, at))
    partition by range (at);
create table visits_2026 partition of visits for values from ('2026-01-01') to ('2027-01-01');
create index visits_by_customer on visits (customer);
comment on table visits is 'Who came, and when';
create table empty (id serial primary key);"""


def gone_back(cli: Cli, database: Database) -> list[dict[str, Any]]:
    """A release that users wrote into and that was undone; what the trash has of it."""
    database.run(BEFORE)
    cli.write("1_a.sql", ADDED)
    document(cli("migrate", "--no-deploy", "--json"))
    database.run(
        "update customers set email = name || '@x' where id < 3;"
        "insert into visits (customer, at) select 1 + n % 3, date '2026-02-01' + n from generate_series(1, 9) n"
    )
    undo = cli("rollback", "--json")
    assert undo.code == 0, undo.err
    return listed(cli)


def test_what_a_way_back_took_out_of_sight_is_listed_and_goes_when_its_time_is_over(cli: Cli, database: Database) -> None:
    found = gone_back(cli, database)
    assert sorted((e["what"], e["table"], e["columns"], e["rows"]) for e in found) == [
        ("column", "customers", ["email"], 2), ("table", "empty", [], 0), ("table", "visits", [], 9),
    ]  # fmt: skip
    run_id = found[0]["run_id"]
    assert database.value("select count(*) from automation.runs where run_id = %s", run_id) == 1
    assert all(e["size_bytes"] > 0 for e in found)
    assert f"of run {run_id}, undone, until " in cli("trash", "list", "--run", run_id).out
    assert len(document(cli("trash", "empty", "--run", run_id, "--yes", "--json"))["entries"]) == 3
    left = (
        "select relname from pg_class where relnamespace = 'autopilot_trash'::regnamespace and relkind in ('r', 'p') order by 1"
    )
    assert database.rows(left) == [("images",), ("kept",)]


def test_a_table_that_was_undone_comes_back_by_hand_under_its_name_with_its_partitions(cli: Cli, database: Database) -> None:
    visits = next(e for e in gone_back(cli, database) if e["table"] == "visits")
    ran = cli("trash", "restore", str(visits["id"]))
    assert ran.code == 0, ran.err
    assert "public.visits is back, with 9 rows; its foreign keys, triggers and policies went when it was undone" in ran.out
    assert database.rows("select count(*), count(distinct tableoid) from visits") == [(9, 1)]
    names = {row[0] for row in database.rows("select relname from pg_class where relnamespace = 'public'::regnamespace")}
    told = "select obj_description('visits'::regclass), obj_description('visits_2026'::regclass)"
    assert database.rows(told) == [("Who came, and when", None)], "the comment that it bore in the trash is gone"
    assert {"visits", "visits_2026", "visits_pkey", "visits_2026_pkey", "visits_by_customer", "visits_id_seq"} <= names
    database.run("insert into visits (customer, at) values (7, '2026-12-01')")
    assert database.value("select max(id) from visits") == 10
    assert error(cli("trash", "restore", str(visits["id"]), "--json")) == (1, "trash_restored")


def test_values_of_a_column_that_was_undone_fill_it_where_it_is_there_again(cli: Cli, database: Database) -> None:
    entry = next(e for e in gone_back(cli, database) if e["what"] == "column")
    ran = cli("trash", "restore", str(entry["id"]), "--json")
    assert error(ran) == (1, "trash_column_missing")
    assert f'SELECT * FROM autopilot_trash."{entry["kept_as"]}"' in ran.err
    assert database.rows(f'select id, email from autopilot_trash."{entry["kept_as"]}" order by 1') == [(1, "a@x"), (2, "b@x")]
    document(cli("migrate", "--no-deploy", "--json"))
    database.run("update customers set email = 'theirs' where id = 2")
    ran = cli("trash", "restore", str(entry["id"]))
    assert ran.code == 0, ran.err
    assert "1 rows filled; 1 rows keep what was written since" in ran.out
    assert database.rows("select email from customers order by id") == [("a@x",), ("theirs",), (None,)]


def test_a_release_removes_what_has_expired_and_says_so(cli: Cli, database: Database) -> None:
    database.run(ORDERS)
    migrated(database, step("drop table lines", "drop table", "lines"))
    migrated(database, "delete from orders", touched=["orders"])
    expire = "update autopilot_trash.kept set expires_at = now() - interval '1 second' where table_name = %s"
    database.rows(f"{expire} returning id", "lines")
    cli.write("1_a.sql", "create table a (id int);")
    ran = cli("migrate", "--no-deploy")
    assert ran.code == 0, ran.err
    assert "1 expired from the trash, " in ran.err
    assert [k.table for k in kept(database)] == ["orders"]


def test_what_somebody_made_upon_the_trash_or_reads_stays_until_later_and_stops_no_release(cli: Cli, database: Database) -> None:
    database.run(ORDERS)
    migrated(database, step("drop table lines", "drop table", "lines"))
    database.run(f'create view upon as select * from autopilot_trash."{kept(database)[0].kept_as}"')
    database.run("update autopilot_trash.kept set expires_at = now() - interval '1 second'")
    cli.write("1_a.sql", "create table a (id int);")
    ran = cli("migrate", "--no-deploy")
    assert ran.code == 0, ran.err
    assert "1 expired in the trash could not go (entry " in ran.err
    assert "other objects depend on it" in ran.err
    assert database.value("select count(*) from upon") == 200
    database.run("drop view upon")
    cli.write("2_b.sql", "create table b (id int);")
    with psycopg.connect(database.url) as reader:
        reader.execute(f'select from autopilot_trash."{kept(database)[0].kept_as}"'.encode())
        ran = cli("migrate", "--no-deploy", "--no-backup")
    assert ran.code == 0, ran.err
    assert "canceling statement due to lock timeout" in ran.err
    assert len(kept(database)) == 1
