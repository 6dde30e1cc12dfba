"""Rows, columns and tables that a migration destroys come back, and what others wrote since stays."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from tests.conftest import OWNER, PASSWORD, Database
from tests.kept import ALL, ORDERS, Step, catalog, kept, migrated, ours_left, rows, step, undone

from autopilot.postgres.clients import installations
from autopilot.postgres.embedded import EmbeddedServer, running
from autopilot.rollback import act, preimages, returning, snapshot
from autopilot.rollback.preimages import Facts, Relation, Statement, Touched

WRITES: dict[str, tuple[str, tuple[str | Step, ...], tuple[str, ...]]] = {
    "update": (ORDERS, ("update orders set total = total + 1, note = null where id % 2 = 0",), ALL),
    "update twice": (ORDERS, ("update orders set total = total + 1", "update orders set total = total * 2 where id < 50"), ALL),
    "delete with cascades": (ORDERS, ("delete from customers where id <= 5",), ALL),
    "insert": (ORDERS, ("insert into orders (customer, note) select 2, 'new' from generate_series(1, 5)",), ALL),
    "insert on conflict": (
        ORDERS,
        (
            ("insert into customers (id, name) select g, 'x' from generate_series(18, 25) g"
            " on conflict (id) do update set name = 'y'"),
        ),
        ALL,
    ),
    "insert, update and delete the same row": (
        ORDERS,
        ("insert into customers (id, name) values (900, 'a')", "update customers set name = 'b' where id = 900",
         "delete from customers where id = 900"),
        ALL,
    ),
    "delete and put again": (
        ORDERS, ("delete from lines where order_id = 7", "insert into lines values (7, 1, 'other')"), ALL,
    ),
    "a changed key": (ORDERS, ("delete from orders where customer = 3", "update customers set id = 903 where id = 3"), ALL),
    "keys that follow each other": (ORDERS, ("update lines set n = n + 10", "update lines set n = n - 9"), ALL),
    "truncate": (ORDERS, (step("truncate lines", "truncate", "lines"),), ALL),
    "truncate cascade": (ORDERS, (step("truncate customers cascade", "truncate", "customers"),), ALL),
    "a block": (
        ORDERS,
        (("do $$ declare r record; begin for r in select id from orders where id < 30 loop"
         " update orders set note = 'b' || r.id where id = r.id;"
         " delete from lines where order_id = r.id and n = 1; end loop; end $$"),),
        ALL,
    ),
    "copy": (ORDERS, (Step(text="copy lines from stdin", rows="1\t8\tcopied\n2\t8\tcopied\n"),), ALL),
    "merge": (
        ORDERS,
        (
            ("merge into customers c using (select generate_series(15, 25) as id) s on c.id = s.id"
            " when matched and s.id > 18 then delete when matched then update set name = 'm'"
            " when not matched then insert (id, name) values (s.id, 'new')"),
        ),
        ALL,
    ),
    "no key": (
        "create table log (what text, at int); insert into log select 'a', g % 5 from generate_series(1, 50) g",
        ("update log set what = 'b' where at = 1", "delete from log where at = 2", "insert into log values ('c', 1), ('c', 1)",
         "update log set at = 9 where what = 'c'"),
        ("log",),
    ),
    "no key, again and again": (
        ("create table log (what text, at int); insert into log select 'a', g % 5 from generate_series(1, 50) g;"
         " create table src (id int primary key); insert into src select generate_series(1, 200);"
         " create function noted() returns trigger language plpgsql as $$begin insert into log values ('s', new.id % 3);"
         " update log set at = at + 1 where what = 'a' and at = new.id % 7; return null; end$$;"
         " create trigger t after update on src for each row execute function noted()"),
        ("update src set id = id + 1000", "update log set what = 'b' where at > 20", "delete from log where what = 'b'",
         "insert into log values ('x', 1), ('x', 1)", "update log set at = at + 1 where what = 'x'",
         "delete from log where ctid = (select min(ctid) from log where what = 'x')",
         "update log set what = what where at = 2", "update log set at = -at"),
        ("log", "src"),
    ),
    "odd names": (
        ('create table "Or""der Ünï 😀" ("the ""key""" int primary key, "select" text, "c1" text);'
        """ insert into "Or""der Ünï 😀" select g, 'it''s', E'\\\\' from generate_series(1, 9) g"""),
        ('update "Or""der Ünï 😀" set "select" = \'x\' where "the ""key""" < 4', 'delete from "Or""der Ünï 😀" where c1 is null',
         'delete from "Or""der Ünï 😀" where "the ""key""" = 9'),
        ('Or"der Ünï 😀',),
    ),
    "the longest name": (
        f"create table {'ü' * 31} (id int primary key); insert into {'ü' * 31} values (1)",
        (f"delete from {'ü' * 31}",), ("ü" * 31,),
    ),
    "partitions": (
        ("create table parted (id int, day date, v text, primary key (id, day)) partition by range (day);"
        " create table parted_1 partition of parted for values from ('2026-01-01') to ('2026-02-01');"
        " create table parted_2 (v text, day date not null, id int not null, junk int, primary key (id, day));"
        " alter table parted_2 drop column junk;"
        " alter table parted attach partition parted_2 for values from ('2026-02-01') to ('2026-03-01');"
        " insert into parted select g, date '2026-01-01' + g, 'v' || g from generate_series(0, 50) g"),
        ("update parted set v = 'x' where id < 20", "update parted set day = day + 31 where id = 3",
         "delete from parted_2 where id > 45",
         "insert into parted_1 values (99, '2026-01-05', 'new')", "update parted_2 set v = 'z'",
         step("truncate parted_1", "truncate", "parted_1")),
        ("parted",),
    ),
    "types that compare in their own way": (
        ("create type mood as enum ('sad', 'ok');"
        " create table t (m mood, doc json, spot point, who uuid default gen_random_uuid(),"
        " price numeric, a text[], primary key (m, price)); insert into t (m, doc, spot, price, a)"
        " values ('sad', '{\"a\":  1}', '(1,2)', 1.10, '{x,NULL}'), ('ok', null, null, 1.1, null)"),
        ("update t set doc = '{}', spot = null, price = price + 1, a = '{}' where m = 'sad'", "delete from t where m = 'ok'"),
        ("t",),
    ),
    "an own trigger on the same table": (
        ("create table t (id int primary key, v int, touched int default 0); create table audit (id int, what text);"
        " create function touch() returns trigger language plpgsql as 'begin new.touched := old.touched + 1; return new; end';"
        " create function note() returns trigger language plpgsql as"
        " $$begin insert into audit values (new.id, 'u'); if new.v < 100 then update t set v = v + 100 where id = new.id; end if;"
        " return null; end$$;"
        " create trigger b before update on t for each row execute function touch();"
        " create trigger zz after update on t for each row execute function note();"
        " insert into t select g, g from generate_series(1, 10) g"),
        ("update t set v = v + 1 where id <= 5",),
        ("t", "audit"),
    ),
    "a tree": (
        ("create table tree (id int primary key, parent int references tree on delete cascade);"
        " insert into tree values (1, null), (2, 1), (3, 2), (4, 3), (5, 1), (6, null)"),
        ("delete from tree where id = 1", "insert into tree values (7, 6), (8, 7)"), ("tree",),
    ),
    "foreign keys that set null": (
        ORDERS + "create table tags (id int primary key, c bigint references customers on delete set null);"
        " insert into tags select g, g from generate_series(1, 10) g",
        ("delete from customers where id = 4",), (*ALL, "tags"),
    ),
    "columns that change between": (
        ORDERS,
        ("update orders set note = 'first' where id < 20", "alter table orders add column extra int default 5",
         "update orders set extra = 6, total = 1 where id < 30", "alter table orders rename column note to remark",
         "update orders set remark = 'second' where id < 10",
         "alter table orders rename column remark to note", "alter table orders drop column extra"),
        ALL,
    ),
    "triggers switched off meanwhile": (
        ORDERS,
        (step("alter table orders disable trigger user", "alter table", "orders"), "update orders set total = 0",
         step("alter table orders enable trigger user", "alter table", "orders"), "delete from orders where id = 1"),
        ALL,
    ),
    "a loop of a view with a rule": (
        ORDERS + "create view v as select id, name from customers;",
        ("update v set name = 'through the view' where id < 4",), ALL,
    ),
}  # fmt: skip


#: Those that leave all rows as they were.
SAME = {"insert, update and delete the same row"}


@pytest.mark.parametrize("kind", WRITES)
def test_rows_come_back_as_they_were_and_may_be_written_again(database: Database, kind: str) -> None:
    there_and_back(database, kind)


def there_and_back(database: Database, kind: str) -> None:
    made, steps, tables = WRITES[kind]
    database.run(made)
    then, shape = rows(database), catalog(database)
    for _ in range(2):
        run_id = migrated(database, *steps, touched=tables)
        assert rows(database) != then or kind in SAME
        assert ours_left(database) == []
        found = undone(database, run_id)
        assert (found.conflicts, found.waiting) == ((), ())
        assert rows(database) == then
        assert catalog(database) == shape
        assert ours_left(database) == []


#: Kind → what is there before, the migration, and what the reverse DDL does (None: nothing).
DROPS: dict[str, tuple[str, tuple[str | Step, ...], tuple[str, ...]]] = {
    "a table with everything": (
        ORDERS + "create index on lines (text); create statistics stat on n, text from lines;"
        " alter table lines add constraint long check (length(text) < 99), alter column text set default 'd';"
        " create function f() returns trigger language plpgsql as 'begin return new; end';"
        " create trigger tr before insert on lines for each row execute function f(); alter table lines disable trigger tr;"
        " alter table lines enable row level security; create policy p on lines using (n > 0); grant select on lines to anon;"
        " comment on table lines is 'kept'; create publication pub for table lines",
        (step("drop table lines", "drop table", "lines"),), (),
    ),
    "two tables that refer to each other": (
        ORDERS, (step("drop table orders, lines", "drop table", "orders", "lines"),), (),
    ),
    "a table with serial and identity": (
        ("create table s (a serial, b bigint generated always as identity primary key); insert into s default values;"
        " insert into s default values"),
        (step("drop table if exists s", "drop table", "s"),), (),
    ),
    "a table and a new one of its name": (
        ORDERS,
        (step("drop table lines", "drop table", "lines"), "create table lines (id int primary key)"), ("drop table lines",),
    ),
    "a partitioned table": (
        ("create table p (id int primary key, v text) partition by range (id); create index on p (v);"
        " create table p1 partition of p for values from (0) to (10);"
        " create table p2 partition of p for values from (10) to (20) partition by range (id);"
        " create table p21 partition of p2 default; insert into p select g, 'v' from generate_series(0, 19) g"),
        (step("drop table p", "drop table", "p"),), (),
    ),
    "one partition": (
        ("create table r (id int primary key); insert into r values (1);"
        " create table p (id int primary key, v text, r int references r) partition by range (id); create index on p (v);"
        " create table p1 partition of p for values from (0) to (10);"
        " create table p2 partition of p for values from (10) to (20);"
        " insert into p select g, 'v', 1 from generate_series(0, 19) g"),
        (step("drop table p1", "drop table", "p1"),), (),
    ),
    "odd names": (
        (
            'create schema "S p😀"; create table "S p😀"."a""b\'c\\d" ("x y" serial primary key);'
            ' insert into "S p😀"."a""b\'c\\d" default values'
        ),
        (step('drop table "S p😀"."a""b\'c\\d"', "drop table", 'a"b\'c\\d'),), (),
    ),
    "a row written before it is dropped": (
        ORDERS,
        ("update lines set text = 'x'", "delete from lines where n = 1", step("drop table lines", "drop table", "lines")), (),
    ),
    "with cascade, where only foreign keys go": (
        ORDERS, (step("drop table orders cascade", "drop table", "orders", cascade=True),), (),
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", DROPS)
def test_a_dropped_table_moves_and_comes_back_with_all_that_is_its_own(database: Database, kind: str) -> None:
    made, steps, reverse = DROPS[kind]
    database.run(made, admin="publication" in made)
    then, shape = rows(database), catalog(database)
    schema = "S p😀" if kind == "odd names" else "public"
    touched = ALL if "written" in kind else ()
    for _ in range(2):
        run_id = migrated(database, *steps, touched=touched, schema=schema, admin="publication" in made)
        assert rows(database) != then
        assert next(k.how for k in kept(database) if k.what == "table" and k.restored_at is None) == "move"
        before_tables = [c for c in reverse if c.startswith("drop")]
        with psycopg.connect(database.admin_url if "publication" in made else database.url) as connection:
            for command in before_tables:
                connection.execute(command.encode())
        found = undone(
            database, run_id, *(c for c in reverse if c not in before_tables), admin="publication" in made
        )  # fmt: skip
        assert (found.conflicts, [t.notes for t in found.tables if t.notes]) == ((), [])
        assert rows(database) == then
        assert catalog(database) == shape


def test_what_postgresql_refuses_to_drop_is_refused_in_its_own_words(database: Database) -> None:
    database.run(ORDERS + "create view v as select * from lines")
    then = rows(database)
    with pytest.raises(
        psycopg.errors.DependentObjectsStillExist, match="cannot drop table lines because other objects depend on it"
    ):
        migrated(database, step("drop table lines", "drop table", "lines"))
    assert rows(database) == then
    assert database.value("select to_regnamespace('autopilot_trash') is null")


def test_a_table_that_others_need_is_copied_and_dropped_with_them(database: Database) -> None:
    database.run(
        ORDERS
        + "create type mood as enum ('sad'); alter table lines add mood mood default 'sad'; create view v as select * from lines"
    )
    then = rows(database)["public.lines"]
    run_id = migrated(
        database, step("drop table lines cascade", "drop table", "lines", cascade=True), step("drop type mood", "drop other")
    )
    assert database.value("select to_regclass('v') is null and to_regtype('mood') is null")
    assert [(k.how, k.rows, k.table) for k in kept(database)] == [("copy", 200, "lines")]
    with psycopg.connect(database.url) as connection:
        assert [k.table for k in returning.undo(connection, run_id).waiting] == ["lines"]
    undone(
        database, run_id, "create type mood as enum ('sad')",
        "create table lines (order_id bigint references orders, n int, text text,"
        " mood mood default 'sad', primary key (order_id, n))",
    )  # fmt: skip
    assert rows(database)["public.lines"] == then


def test_what_lies_in_the_trash_does_not_hold_what_is_dropped_later(database: Database) -> None:
    database.run(
        "create type mood as enum ('sad'); create function mine() returns text language sql as $$select 'x'$$;"
        " create table t (id int primary key, m mood, v text default mine()); insert into t values (1, 'sad')"
    )
    migrated(database, step("drop table t", "drop table", "t"), step("drop function mine()", "drop other"))
    assert [k.how for k in kept(database)] == ["copy"]
    migrated(database, step("drop type mood", "drop other"))
    assert database.rows("select id, m, v from autopilot_trash." + str(kept(database)[0].kept_as)) == [(1, "sad", "x")]


COLUMNS: dict[str, tuple[str, tuple[str | Step, ...], tuple[str, ...]]] = {
    "dropped": (
        ORDERS, (step("alter table orders drop column note", "drop column", "orders", columns=["note"]),),
        ("alter table orders add column note text default 'fresh'",),
    ),
    "two dropped, and the rows written around it": (
        ORDERS,
        ("update orders set note = 'once', total = 1 where id < 10",
         step("alter table orders drop column note, drop column total cascade", "drop column", "orders",
              columns=["note", "total", "doubled"]),
         "update orders set customer = 1 where id < 20"),
        ("alter table orders add column note text", "alter table orders add column total numeric(10,2) not null default 0",
         "alter table orders add column doubled numeric generated always as (total * 2) stored"),
    ),
    "retyped with loss": (
        ORDERS,
        (step("alter table lines alter column text type int using length(text)", "retype column", "lines", columns=["text"]),
         "update lines set text = 99 where n = 2"),
        ("alter table lines alter column text type text",),
    ),
    "retyped to a type of its own": (
        ORDERS,
        ("create type mood as enum ('l')",
         step("alter table lines alter column text type mood using 'l'::mood", "retype column", "lines", columns=["text"])),
        ("alter table lines alter column text type text", "drop type mood"),
    ),
    "dropped, of the key": (
        ("create table t (id int primary key, other int unique not null, v text); insert into t select g, -g, 'v' || g"
        " from generate_series(1, 9) g"),
        (step("alter table t drop column id", "drop column", "t", columns=["id"]),),
        ("alter table t add column id int",),
    ),
    "dropped, where nothing tells rows apart": (
        "create table log (what text, at int); insert into log select 'w' || g % 3, g % 5 from generate_series(1, 50) g",
        (step("alter table log drop column what", "drop column", "log", columns=["what"]),),
        ("alter table log add column what text",),
    ),
    "of a partitioned table": (
        ("create table p (id int primary key, v text) partition by range (id);"
        " create table p1 partition of p for values from (0) to (10);"
        " create table p2 partition of p for values from (10) to (20);"
        " insert into p select g, 'v' || g from generate_series(0, 19) g"),
        (step("alter table p drop column v", "drop column", "p", columns=["v"]),), ("alter table p add column v text",),
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", COLUMNS)
def test_a_column_gets_back_what_it_held(database: Database, kind: str) -> None:
    made, steps, reverse = COLUMNS[kind]
    database.run(made)
    then = rows(database)
    for _ in range(2):
        run_id = migrated(database, *steps, touched=ALL if made is ORDERS else ())
        assert rows(database) != then
        found = undone(database, run_id, *reverse)
        assert (found.conflicts_in_all, found.waiting) == (0, ())
        assert rows(database) == then
        if kind == "dropped, of the key":
            database.run("alter table t add primary key (id)")


def test_rows_that_others_changed_since_stay_theirs_and_ours_are_kept(database: Database) -> None:
    database.run(ORDERS)
    run_id = migrated(
        database, "update orders set note = 'm'", "delete from lines where order_id = 1",
        "insert into customers values (50, 'm')",
        touched=ALL,
    )  # fmt: skip
    database.run("update orders set note = 'theirs' where id = 2; delete from orders where id = 3")
    database.run("insert into lines values (1, 1, 'theirs'); update customers set seen = 1 where id = 50")
    database.run("insert into orders (id, customer, note) values (7000, 1, 'later')")
    found = undone(database, run_id)
    assert sorted((c.table, c.key, c.why) for c in found.conflicts) == [
        ("public.customers", "50", "changed since"),
        ("public.lines", "1, 1", "made again since"),
        ("public.orders", "2", "changed since"),
        ("public.orders", "3", "deleted since"),
    ]
    assert (found.conflicts_in_all, found.restored, found.deleted) == (4, 98 + 1, 0)
    assert database.rows("select id, note from orders where id in (1, 2, 3, 4, 7000) order by 1") == [
        (1, "o1"), (2, "theirs"), (4, "o4"), (7000, "later"),
    ]  # fmt: skip
    assert database.rows("select n, text from lines where order_id = 1 order by 1") == [(1, "theirs"), (2, "l12")]
    assert database.rows("select seen from customers where id = 50") == [(1,)]
    entry = next(k for k in kept(database) if k.how == "conflicts" and k.table == "orders")
    held = database.rows(f"select key, before ->> 'note', theirs ->> 'note' from autopilot_trash.{entry.kept_as} order by 1")
    assert held == [("2", "o2", "theirs"), ("3", "o3", None)]


def test_of_rows_without_a_key_those_that_others_changed_since_stay_theirs(database: Database) -> None:
    database.run(
        "create table log (what text, at int, note text); create unique index on log (note);"
        " insert into log select 'a', g, 'n' || g from generate_series(1, 6) g"
    )
    steps = (
        "update log set at = at + 10",
        "update log set at = at + 10",
        "delete from log where at = 26",
        "insert into log values ('b', 1)",
    )
    run_id = migrated(database, *steps, touched=("log",))
    database.run(
        "update log set what = 'theirs' where at = 21; delete from log where at = 22; update log set at = 5 where what = 'b';"
        " insert into log values ('new', 7, 'n6')"
    )
    found = undone(database, run_id)
    assert database.rows("select what, at, note from log order by 1, 2") == [
        ("a", 3, "n3"), ("a", 4, "n4"), ("a", 5, "n5"), ("b", 5, None), ("new", 7, "n6"), ("theirs", 21, "n1"),
    ]  # fmt: skip
    assert sorted((c.key, c.why) for c in found.conflicts) == [
        ("(a,21,n1)", "changed or deleted since"), ("(a,22,n2)", "changed or deleted since"),
        ("(a,6,n6)", 'duplicate key value violates unique constraint "log_note_idx"'), ("(b,1,)", "changed or deleted since"),
    ]  # fmt: skip
    [entry] = [k for k in kept(database) if k.how == "conflicts"]
    assert database.rows(f"select before from autopilot_trash.{entry.kept_as} where key = '(a,21,n1)'") == [
        ({"what": "a", "at": 1, "note": "n1"},),
    ]  # fmt: skip


def test_told_to_rows_of_others_give_way_and_are_kept(database: Database) -> None:
    database.run(ORDERS)
    then = rows(database)
    run_id = migrated(
        database, "update orders set note = 'm'", "delete from lines where order_id = 1",
        "insert into customers values (50, 'm')",
        touched=ALL,
    )  # fmt: skip
    database.run("update orders set note = 'theirs' where id = 2; delete from orders where id = 3")
    database.run("insert into lines values (1, 1, 'theirs'); update customers set seen = 1 where id = 50")
    found = undone(database, run_id, theirs=False)
    assert found.conflicts == ()
    now = rows(database)
    assert [r for r in then["public.lines"] if r not in now["public.lines"]] == [
        "(1,3,l31)",
        "(2,3,l32)",
    ]  # their DELETE cascaded
    assert (now["public.orders"], now["public.customers"]) == (then["public.orders"], then["public.customers"])
    theirs = [k for k in kept(database) if k.how == "conflicts"]
    assert sum(k.rows or 0 for k in theirs) == 4
    lines = next(k for k in theirs if k.table == "lines")
    assert database.rows(f"select theirs ->> 'text' from autopilot_trash.{lines.kept_as}") == [("theirs",)]


def test_a_row_of_the_migration_stays_while_rows_written_since_refer_to_it(database: Database) -> None:
    database.run(ORDERS)
    run_id = migrated(
        database, "insert into customers (id, name) values (70, 'm'), (71, 'm')",
        "insert into orders (id, customer) values (700, 70), (710, 71)", touched=ALL,
    )  # fmt: skip
    database.run("insert into lines values (700, 1, 'theirs')")
    for theirs in (True, False):
        found = undone(database, run_id, theirs=theirs)
        assert sorted((c.table, c.key, c.why) for c in found.conflicts) == (
            [("public.customers", "70", "rows written since refer to it"),
             ("public.orders", "700", "rows written since refer to it")]
            if theirs else []
        )  # fmt: skip
    assert database.rows("select id, customer from orders where id >= 700") == [(700, 70)]
    assert database.rows("select text from lines where order_id = 700") == [("theirs",)]
    assert database.rows("select id from customers where id >= 70") == [(70,)]


def test_a_row_whose_parent_is_gone_since_is_kept_and_told(database: Database) -> None:
    database.run(ORDERS)
    run_id = migrated(database, "delete from lines where order_id in (5, 6)", touched=ALL)
    database.run("delete from orders where id = 5")
    found = undone(database, run_id)
    assert [(c.key, c.why) for c in found.conflicts] == [
        ("5, 1", "what it refers to is gone, or its place is taken"),
        ("5, 2", "what it refers to is gone, or its place is taken"),
    ]  # fmt: skip
    assert database.value("select count(*) from lines where order_id = 6") == 2


def test_unique_values_that_follow_each_other_come_back_and_one_that_is_taken_stops_no_other(database: Database) -> None:
    database.run("create table t (id int primary key, place int unique); insert into t select g, g from generate_series(1, 50) g")
    then = rows(database)
    run_id = migrated(database, "update t set place = place + 1000", "update t set place = place - 999", touched=["t"])
    assert database.rows("select min(place), max(place) from t") == [(2, 51)]
    assert undone(database, run_id).conflicts == ()
    assert rows(database) == then
    run_id = migrated(database, "update t set place = place + 1000", "delete from t where id in (8, 9)", touched=["t"])
    database.run("insert into t values (60, 1), (61, 8)")
    found = undone(database, run_id)
    assert [(c.key, "unique" in c.why) for c in found.conflicts] == [("1", True), ("8", False)]
    assert database.rows("select id, place from t where id <> place order by id") == [(1, 1001), (60, 1), (61, 8)]
    assert database.value("select count(*) from t where id = place") == 48


def test_values_that_others_wrote_into_a_changed_column_stay(database: Database) -> None:
    database.run(ORDERS)
    change = step("alter table lines alter column text type int using 1", "retype column", "lines", columns=["text"])
    for theirs, expected in ((True, "42"), (False, "l11")):
        run_id = migrated(database, change)
        database.run("update lines set text = 42 where order_id = 1 and n = 1; insert into lines values (9, 9, 7)")
        found = undone(database, run_id, "alter table lines alter column text type text", theirs=theirs)
        assert [(c.key, c.why) for c in found.conflicts] == ([("1, 1", "changed since")] if theirs else [])
        assert database.value("select text from lines where order_id = 1 and n = 1") == expected
        assert database.rows("select text from lines where (order_id, n) in ((1, 2), (9, 9)) order by 1") == [("7",), ("l12",)]
        database.run("delete from lines where n = 9; update lines set text = 'l11' where order_id = 1 and n = 1")


def test_a_column_that_somebody_made_again_keeps_what_they_wrote(database: Database) -> None:
    database.run(ORDERS)
    run_id = migrated(database, step("alter table orders drop column note", "drop column", "orders", columns=["note"]))
    database.run("alter table orders add column note text; update orders set note = 'theirs' where id = 1")
    found = undone(database, run_id)
    assert [(c.table, c.key) for c in found.conflicts] == [("public.orders", "1")]
    assert database.rows("select note from orders where id < 4 order by id") == [("theirs",), ("o2",), ("o3",)]


def test_row_level_security_hides_nothing_from_what_is_kept(database: Database) -> None:
    database.run(
        "create table t (id int primary key, v text, gone text); insert into t select g, 'v', 'g' from generate_series(1, 10) g;"
        " alter table t enable row level security; alter table t force row level security;"
        " create policy half on t using (id % 2 = 0) with check (true)"
    )
    then = rows(database)
    assert len(then["public.t"]) == 10
    shape = catalog(database)
    for steps, reverse in (
        (("update t set v = 'x'", "delete from t where id = 2"), ()),
        ((step("truncate t", "truncate", "t"), "insert into t values (3, 'new')"), ()),
        (
            (step("alter table t drop column gone", "drop column", "t", columns=["gone"]),),
            ("alter table t add column gone text",),
        ),
        ((step("drop table t cascade", "drop table", "t", cascade=True),), ()),
    ):
        run_id = migrated(database, *steps, touched=["t"], truncated=["t"])
        assert undone(database, run_id, *reverse).conflicts == ()
        assert rows(database) == then
    assert catalog(database) == shape or "gone" in str(shape)


def test_what_a_file_does_in_another_role_is_kept_too(database: Database) -> None:
    database.run(ORDERS + "grant select, update, delete on customers, orders, lines to authenticated")
    database.run("grant authenticated to lms_owner", admin=True)
    then = rows(database)
    run_id = migrated(database, "update customers set name = 'x'", "delete from lines", touched=ALL, role="authenticated")
    assert rows(database) != then
    undone(database, run_id)
    assert rows(database) == then
    assert database.rows("select has_schema_privilege('authenticated', 'autopilot_trash', 'usage')") == [(False,)]


def test_nobody_else_is_let_into_the_trash_whatever_the_default_privileges_say(database: Database) -> None:
    database.run(
        ORDERS + "alter default privileges grant all on schemas to anon; alter default privileges grant all on tables to anon"
    )
    migrated(database, "delete from lines", touched=["lines"])
    assert database.rows(
        "select a.grantee from pg_namespace n, aclexplode(n.nspacl) a"
        " where n.nspname = 'autopilot_trash' and a.grantee <> n.nspowner"
    ) == []  # fmt: skip
    with psycopg.connect(database.admin_url, autocommit=True) as connection:
        connection.execute("set role anon")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("select * from autopilot_trash.kept")


def test_what_cannot_be_kept_is_said(database: Database) -> None:
    database.run("create table public.theirs (id int)", admin=True)
    database.run(
        "create table base (id int); create table child (more text) inherits (base); grant create on schema public to anon"
    )
    with psycopg.connect(database.url) as connection:
        facts = preimages.read(
            connection, run_id="r", keep_days=1,
            statements=[Statement(version="1", number=2, what="drop column", tables=(("public", "base"),), columns=("id",))],
            touched=[Touched(table=("public", t), version="1", number=1) for t in ("theirs", "base")],
        )  # fmt: skip
    plan = preimages.plan_for(facts)
    assert [(i.table[1], i.why) for i in plan.impossible] == [
        ("theirs", "it belongs to another role: a trigger could be put on it, and not be taken off again"),
        ("base", "it has parents or children by inheritance"),
    ]
    assert plan.at("1", 1).before == ()


def relation(name: str, **facts: Any) -> Relation:
    return Relation(table=("public", name), oid=1, kind="r", persistence="p", **({"ours": True} | facts))


@pytest.mark.parametrize(
    ("relations", "cascade", "expected"),
    [
        ([relation("a")], False, "move"),
        ([relation("a", dependents=("foreign key",))], True, "move"),
        ([relation("a", dependents=("pg_rewrite",))], True, "copy"),
        ([relation("a", dependents=("pg_rewrite",))], False, "move"),
        ([relation("a"), None], False, "copy"),
        ([relation("a", inherits=True)], False, "copy"),
        ([relation("a", ours=False)], False, "copy"),
    ],
)
def test_a_table_is_moved_only_where_nothing_else_would_go_with_it(
    relations: list[Relation | None], cascade: bool, expected: str
) -> None:
    assert preimages.way(relations, cascade=cascade) == expected


def test_a_migration_that_fails_keeps_nothing(database: Database) -> None:
    database.run(ORDERS)
    then = rows(database)
    with pytest.raises(psycopg.errors.DivisionByZero):
        migrated(
            database, "delete from lines", step("drop table lines", "drop table", "lines"), "select 1 / 0", touched=["lines"],
        )  # fmt: skip
    assert rows(database) == then
    assert ours_left(database) == []
    assert database.value("select to_regnamespace('autopilot_trash') is null")


def test_a_plan_that_has_nothing_to_keep_says_nothing() -> None:
    plan = preimages.plan_for(Facts(run_id="r", keep_days=1, statements=(), touched=(), relations={}))
    assert (plan.opening(), plan.closing(), plan.at("1", 1).before) == ((), (), ())


def test_sequences_are_not_set_back(database: Database) -> None:
    database.run(ORDERS)
    run_id = migrated(database, "insert into orders (customer) select 1 from generate_series(1, 7)", touched=ALL)
    undone(database, run_id)
    assert database.rows("insert into orders (customer) values (1) returning id") == [(108,)]


def test_a_writer_that_goes_on_loses_nothing(database: Database) -> None:
    """The writer's own log of what was acknowledged is the oracle."""
    database.run(ORDERS + "create index on orders (customer)")
    stop, acknowledged = threading.Event(), dict[int, str | None]()

    def write() -> None:
        with psycopg.connect(database.url, autocommit=True) as connection:
            number = 100_000
            while not stop.is_set():
                number += 1
                try:
                    connection.execute("insert into orders (id, customer, note) values (%s, 1, 'w')", (number,))
                    acknowledged[number] = "w"
                    connection.execute("update orders set note = 'w2' where id = %s", (number,))
                    acknowledged[number] = "w2"
                    if number % 3 == 0:
                        connection.execute("delete from orders where id = %s", (number,))
                        acknowledged[number] = None
                    time.sleep(0.002)
                except psycopg.errors.DeadlockDetected:
                    continue

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(3):
            run_id = migrated(
                database, "update orders set note = note || '!', total = 5", "delete from orders where id < 50", touched=ALL
            )
            time.sleep(0.1)
            with_theirs = undone(database, run_id)
            assert all(int(c.key.split(",")[0]) > 100_000 for c in with_theirs.conflicts)
    finally:
        stop.set()
        writer.join()
    there = dict(database.rows("select id, note from orders where id > 100000"))
    for number, note in acknowledged.items():
        if note is None:
            assert number not in there
        else:
            assert str(there.get(number, "")).rstrip("!") == note, number
    assert len(acknowledged) > 20
    assert database.value("select count(*) from orders where id <= 100 and note = 'o' || id and total = id") == 100


def test_rows_are_kept_although_the_session_calls_itself_a_replica(database: Database) -> None:
    database.run(ORDERS)
    then = rows(database)
    run_id = migrated(database, "set local session_replication_role = replica", "delete from lines", touched=ALL, admin=True)
    undone(database, run_id, admin=True)
    assert rows(database) == then


@pytest.fixture(scope="module")
def older_server() -> Iterator[EmbeddedServer]:
    """Debian's PostgreSQL 15, with an owner who is no superuser."""
    with running(next(i for i in installations() if i.origin == "debian" and i.major == 15), tcp=True) as server:
        with psycopg.connect(server.url().reveal(), autocommit=True) as connection:
            connection.execute(f"create role {OWNER} login password '{PASSWORD.reveal()}'".encode())
        yield server


@pytest.fixture
def older(older_server: EmbeddedServer) -> Database:
    name = f"t_{secrets.token_hex(6)}"
    with psycopg.connect(older_server.url().reveal(), autocommit=True) as connection:
        connection.execute(f"create database {name} owner {OWNER}".encode())
    url = older_server.url(name, user=OWNER, password=PASSWORD).reveal()
    return Database(name=name, url=url, admin_url=older_server.url(name).reveal())


@pytest.mark.debian
@pytest.mark.skipif(not Path("/usr/lib/postgresql/15/bin").is_dir(), reason="there is no PostgreSQL 15 here")
@pytest.mark.xdist_group("debian")
@pytest.mark.parametrize("kind", WRITES)
def test_rows_come_back_on_an_older_server(older: Database, kind: str) -> None:
    there_and_back(older, kind)


@pytest.mark.debian
@pytest.mark.skipif(not Path("/usr/lib/postgresql/15/bin").is_dir(), reason="there is no PostgreSQL 15 here")
@pytest.mark.xdist_group("debian")
@pytest.mark.parametrize("kind", ["two tables that refer to each other", "a partitioned table", "one partition"])
def test_dropped_tables_come_back_on_an_older_server(older: Database, kind: str) -> None:
    made, steps, _ = DROPS[kind]
    older.run(made)
    then, shape = rows(older), catalog(older)
    undone(older, migrated(older, *steps))
    assert (rows(older), catalog(older)) == (then, shape)


def test_a_column_and_a_table_dropped_by_mistake_come_back_with_the_schema_while_users_go_on_writing(database: Database) -> None:
    database.run(ORDERS + "create index on orders (note); create view v as select note from orders")
    then, shape = rows(database), catalog(database)
    with psycopg.connect(database.url) as connection:
        before = snapshot.read(connection)
    run_id = migrated(
        database, "alter table orders add column state text", "update orders set state = 'open', total = 0",
        step("alter table orders drop column note cascade", "drop column", "orders", columns=["note"]),
        step("drop table lines", "drop table", "lines"), "create table fresh (id int primary key)", touched=ALL,
    )  # fmt: skip
    with psycopg.connect(database.url) as connection:
        after = snapshot.read(connection)
    database.run(
        "insert into orders (id, customer, state) values (900, 1, 'theirs'); update orders set state = 'paid' where id = 1"
    )
    with psycopg.connect(database.url) as connection:
        returning.bring_back_tables(connection, run_id)
        act.undo(connection, before, after=after, token="back", accept_loss=True)
        found = returning.undo(connection, run_id)
    assert found.conflicts == ()
    assert rows(database)["public.lines"] == then["public.lines"]
    assert [r for r in rows(database)["public.orders"] if "900" not in r] == then["public.orders"]
    assert database.rows("select customer, note from orders where id = 900") == [(1, None)]
    assert catalog(database).keys() == shape.keys()
