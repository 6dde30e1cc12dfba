"""`autopilot trash`: what is kept is shown, comes back by hand without writing anything over, and goes when its time is over."""

from __future__ import annotations

import json
from typing import Any

import psycopg
import pytest
from tests.conftest import Cli, Database, Ran
from tests.kept import ALL, ORDERS, catalog, kept, migrated, rows, step, undone


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
