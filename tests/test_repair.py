"""`autopilot repair`: each kind of damage is named, put back and proven; what was added stays; lost rows come from a backup."""

from __future__ import annotations

import json
import secrets
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest
from tests.changes import BASE, PLATFORM
from tests.conftest import OWNER, PASSWORD, Cli, Database, Ran

from autopilot.audit import schema
from autopilot.postgres.embedded import EmbeddedServer
from autopilot.postgres.lock import KEY
from autopilot.postgres.session import connect, look
from autopilot.rollback.difference import portrait
from autopilot.rollback.snapshot import encode, read
from autopilot.secret import Secret


@dataclass(frozen=True, kw_only=True)
class Damage:
    """harm: what somebody did by hand. says: what the plan says of it. admin: done by the superuser."""

    kind: str
    harm: str
    says: str
    admin: bool = False


def damage(kind: str, harm: str, says: str, **rest: Any) -> Damage:
    return Damage(kind=kind, harm=harm, says=says, **rest)


INVALID = "update pg_index set indisvalid = false where indexrelid = 'shop.{}'::regclass"
DAMAGES = (
    damage("row security off", "alter table shop.orders disable row level security", "has row level security off"),
    damage("policy dropped", "drop policy own_orders on shop.orders", "policy own_orders on shop.orders is missing"),
    damage("policy opened", "alter policy own_orders on shop.orders using (true)", "lets other rows through"),
    damage("policy for others", "alter policy own_orders on shop.orders to public", "differs in its roles"),
    damage("policy renamed", "alter policy writing on shop.orders rename to scribbling", "is called shop.orders.scribbling now"),
    damage("index dropped", "drop index shop.orders_note", "index orders_note on shop.orders is missing"),
    damage("index with a comment dropped", "drop index shop.orders_state", "index orders_state on shop.orders is missing"),
    damage("unique index dropped", "drop index shop.orders_code", "index orders_code on shop.orders is missing"),
    damage("index invalid", INVALID.format("orders_note"), "is invalid: no query uses it", admin=True),
    damage(
        "index of the same name on something else",
        "drop index shop.orders_note; create index orders_note on shop.orders (note)",
        "index orders_note on shop.orders is defined otherwise",
    ),
    damage("index of partitions dropped", "drop index shop.events_what", "index events_what on shop.events is missing"),
    damage("index of a matview dropped", "drop index shop.sales_customer", "index sales_customer on shop.sales is missing"),
    damage("trigger dropped", "drop trigger orders_touch on shop.orders", "trigger orders_touch on shop.orders is missing"),
    damage("trigger disabled", "alter table shop.orders disable trigger orders_touch", "is disabled, and was on"),
    damage(
        "trigger changed",
        "create or replace trigger orders_touch after insert on shop.orders for each row execute function shop.touch()",
        "trigger orders_touch on shop.orders is defined otherwise",
    ),
    damage(
        "function body changed",
        "create or replace function shop.tax(amount numeric) returns numeric language sql immutable as 'select amount * 0.07'",
        "function shop.tax(numeric) has another body or signature",
    ),
    damage("function dropped", "drop function shop.tax(numeric)", "function shop.tax(numeric) is missing"),
    damage("function and trigger dropped", "drop function shop.touch() cascade", "function shop.touch() is missing"),
    damage("procedure dropped", "drop procedure shop.tidy()", "procedure shop.tidy() is missing"),
    damage("aggregate dropped", "drop aggregate shop.product(numeric)", "aggregate shop.product(numeric) is missing"),
    damage("view dropped", "drop view shop.open_totals", "view shop.open_totals is missing"),
    damage("views dropped", "drop view shop.open_orders cascade", "view shop.open_orders is missing"),
    damage(
        "view changed",
        "create or replace view shop.open_totals as select count(*) + 1 n, sum(total) total from shop.open_orders",
        "view shop.open_totals has another query",
    ),
    damage(
        "view given a column",
        "create or replace view shop.open_totals as select count(*) n, sum(total) total, 1 as more from shop.open_orders",
        "view shop.open_totals has another query",
    ),
    damage(
        "view option lost", "alter view shop.open_orders reset (security_barrier)", "view shop.open_orders differs in its options"
    ),
    damage("materialized view dropped", "drop materialized view shop.sales", "materialized view shop.sales is missing"),
    damage("check dropped", "alter table shop.customers drop constraint customers_name_not_blank", "customers_name_not_blank"),
    damage("foreign key dropped", "alter table shop.lines drop constraint lines_order_id_fkey", "is missing"),
    damage(
        "foreign key not valid",
        "alter table shop.lines drop constraint lines_order_id_fkey;"
        " alter table shop.lines add constraint lines_order_id_fkey foreign key (order_id) references shop.orders (id) not valid",
        "is not valid: rows that are there may break it",
    ),
    damage(
        "foreign key to an auth table dropped",
        "alter table shop.customers drop constraint customers_user_id_fkey",
        "constraint customers_user_id_fkey on shop.customers is missing",
    ),
    damage(
        "primary key dropped",
        "alter table shop.lines drop constraint lines_pkey",
        "constraint lines_pkey on shop.lines is missing",
    ),
    damage(
        "check of a domain dropped", "alter domain shop.email drop constraint email_check", "constraint email_check on shop.email"
    ),
    damage("grant on a table lost", "revoke select on shop.customers from undo_anon", "has lost a grant: SELECT to undo_anon"),
    damage(
        "grant on columns lost", "revoke update (name) on shop.customers from undo_api", "has lost a grant: UPDATE to undo_api"
    ),
    damage("grant on a schema lost", "revoke usage on schema shop from undo_anon", "schema shop has lost a grant: USAGE"),
    damage("default rights lost", "alter default privileges revoke select on tables from undo_anon", "default privileges"),
    damage(
        "default dropped",
        "alter table shop.customers alter column score drop default",
        "default of shop.customers.score is missing",
    ),
    damage("default changed", "alter table shop.customers alter column score set default 7", "is 7 now, and was 0"),
    damage(
        "not null dropped", "alter table shop.customers alter column name drop not null", "may be empty now, and was NOT NULL"
    ),
    damage(
        "type widened", "alter table shop.orders alter column small type integer", "is of the type integer now, and was smallint"
    ),
    damage("comment lost", "comment on table shop.customers is null", "table shop.customers has lost its comment"),
    damage("comment changed", "comment on view shop.open_orders is 'x'", "view shop.open_orders has another comment"),
    damage("table renamed", "alter table shop.loose rename to looser", "table shop.loose is called shop.looser now"),
    damage("column renamed", "alter table shop.orders rename column note to remark", "column shop.orders.note is called"),
    damage(
        "table moved", "create schema elsewhere; alter table shop.loose set schema elsewhere", "is called elsewhere.loose now"
    ),
    damage(
        "owner changed",
        f"alter table shop.loose owner to undo_api; grant undo_api to {OWNER}",
        "belongs to undo_api now",
        admin=True,
    ),
    damage("sequence dropped", "drop sequence shop.ticket", "sequence shop.ticket is missing"),
    damage("sequence changed", "alter sequence shop.ticket increment by 5 maxvalue 1000", "sequence shop.ticket differs in its"),
    damage("rule dropped", "drop rule keep_lines on shop.loose", "rule keep_lines on shop.loose is missing"),
    damage("statistics dropped", "drop statistics shop.orders_stats", "statistics shop.orders_stats is missing"),
    damage(
        "no longer published",
        "alter publication shop_live drop table shop.lines",
        "publication shop_live for shop.lines is missing",
    ),
    damage("computed column dropped", "alter table shop.orders drop column gross", "column shop.orders.gross is missing"),
    damage("options of a table", "alter table shop.orders set (fillfactor = 50)", "table shop.orders differs in its options"),
    damage(
        "search configuration dropped",
        "drop text search configuration shop.words",
        "text search configuration shop.words is missing",
    ),
    damage("type dropped", "drop type shop.span", "type shop.span is missing"),
    damage(
        "many things at once",
        "drop view shop.open_orders cascade; drop policy own_orders on shop.orders; drop function shop.touch() cascade;"
        " alter table shop.orders disable row level security; alter table shop.orders rename column note to n2;"
        " drop index shop.orders_code; alter table shop.lines drop constraint lines_order_id_fkey",
        "policy own_orders on shop.orders is missing",
    ),
)


@pytest.fixture(scope="module")
def template(server: EmbeddedServer) -> Iterator[Database]:
    """A shop whose catalog a release has recorded: a copy of it has the same OIDs."""
    url = server.url("repair_template", user=OWNER, password=PASSWORD).reveal()
    found = Database(name="repair_template", url=url, admin_url=server.url("repair_template").reveal())
    with psycopg.connect(server.url().reveal(), autocommit=True) as connection:
        connection.execute(f"create database repair_template owner {OWNER}".encode())
    found.run(PLATFORM.format(owner=OWNER), admin=True)
    found.run(f"grant create on schema public to {OWNER}; grant select on all sequences in schema auth to public", admin=True)
    found.run(BASE)
    record(found)
    yield found
    with psycopg.connect(server.url().reveal(), autocommit=True) as connection:
        connection.execute("drop database repair_template with (force)")


@pytest.fixture
def new_shop(server: EmbeddedServer, template: Database) -> Iterator[Callable[[], Database]]:
    made: list[str] = []

    def make() -> Database:
        name = f"repair_{secrets.token_hex(5)}"
        with psycopg.connect(server.url().reveal(), autocommit=True) as connection:
            connection.execute(f"create database {name} template {template.name} owner {OWNER}".encode())
        made.append(name)
        url = server.url(name, user=OWNER, password=PASSWORD).reveal()
        return Database(name=name, url=url, admin_url=server.url(name).reveal())

    yield make
    with psycopg.connect(server.url().reveal(), autocommit=True) as connection:
        for name in made:
            connection.execute(f"drop database if exists {name} with (force)".encode())


@pytest.fixture
def shop(new_shop: Callable[[], Database]) -> Database:
    return new_shop()


@pytest.fixture
def cli(tmp_path: Path, shop: Database) -> Cli:
    """The command line with the shop as its target."""
    home = tmp_path / "project"
    (home / "supabase" / "migrations").mkdir(parents=True)
    return Cli(home=home, env={"SUPABASE_DB_URL": shop.url})


def record(database: Database) -> None:
    """As a release leaves it."""
    with connect(Secret(database.url), application_name="recording") as connection:
        schema.ensure(connection, look(connection))
        text = encode(read(connection)).decode()
        row = connection.execute(
            "insert into automation.migration_log (status, run_id) values ('success', 'rec0rd') returning id"
        ).fetchone()
        connection.execute(
            "insert into automation.ways_back (migration_log_id, run_id, kept_as, versions, before_snapshot, after_snapshot)"
            " values (%s, 'rec0rd', %s, '{}', %s::jsonb, %s::jsonb)",
            ((row or (0,))[0], f"kept{(row or (0,))[0]}", text, text),
        )


def catalog(database: Database) -> dict[str, Any]:
    with psycopg.connect(database.admin_url, autocommit=True) as connection:
        found = portrait(read(connection))
    return {path: {k: v for k, v in thing.items() if k != "usual_storage"} for path, thing in found.items()}


def document(ran: Ran, code: int = 0) -> Any:
    assert ran.code == code, ran.err + ran.out
    return json.loads(ran.out)


def error(ran: Ran) -> tuple[int, str]:
    return ran.code, json.loads(ran.out)["error"]["code"]


def rows(database: Database, table: str) -> list[tuple[Any, ...]]:
    return database.rows(f"select * from {table} order by 1, 2")


def as_it_was(database: Database, cli: Cli, then: dict[str, Any]) -> None:
    """The catalog is as recorded, and repairing once more does nothing."""
    has = catalog(database)
    assert {path: (then.get(path), has.get(path)) for path in then.keys() | has.keys() if then.get(path) != has.get(path)} == {}
    runs = database.value("select count(*) from automation.runs")
    again = document(cli("repair", "--apply", "--json"))
    assert (again["outcome"], again["put_back"]) == ("nothing_to_do", [])
    assert database.value("select count(*) from automation.runs") == runs


@pytest.mark.parametrize("case", DAMAGES, ids=lambda d: d.kind)
def test_damage_is_named_put_back_and_gone(shop: Database, cli: Cli, case: Damage) -> None:
    then, orders = catalog(shop), rows(shop, "shop.lines")
    shop.run(case.harm, admin=case.admin)
    harmed = catalog(shop)
    planned = document(cli("repair", "--plan", "--json"))
    assert planned["outcome"] == "differs"
    assert any(case.says in d["message"] for d in planned["drift"]), planned["drift"]
    assert catalog(shop) == harmed
    done = document(cli("repair", "--apply", "--json"))
    assert done["outcome"] == "repaired"
    assert any(case.says in sentence for sentence in done["put_back"]), done
    if case.kind == "table moved":
        then["schema elsewhere"] = catalog(shop)["schema elsewhere"]
    as_it_was(shop, cli, then)
    assert rows(shop, "shop.lines") == orders
    assert shop.value("select state from automation.runs order by started_at desc limit 1") == "nothing_to_do"
    assert "repair: " in shop.value("select notes from automation.migration_log order by id desc limit 1")


ADDED = """
create table shop.notes (
  id serial primary key, order_id integer references shop.orders (id) on delete cascade, body text not null default '-'
);
comment on table shop.notes is 'By hand';
create index notes_body on shop.notes (body);
alter table shop.notes enable row level security;
create policy everyone on shop.notes for select to undo_anon using (body <> 'x');
grant select on shop.notes to undo_anon;
alter table shop.orders add column by_hand text default 'h';
alter table shop.orders add constraint small_enough check (total < 1000000);
create index orders_by_hand on shop.orders (by_hand);
create policy by_hand on shop.orders for delete to undo_api using (by_hand = 'h');
create function shop.by_hand() returns trigger language plpgsql as 'begin return new; end';
create trigger by_hand before insert on shop.orders for each row execute function shop.by_hand();
create view shop.hands as select by_hand, count(*) n from shop.orders group by by_hand;
alter type shop.status add value 'lost' after 'paid';
create type shop.mood as enum ('good', 'bad');
create sequence shop.by_hand_seq;
create schema by_hand;
grant insert on shop.customers to undo_anon;
comment on table shop.orders is 'was none';
alter table shop.customers enable row level security;
alter table shop.loose alter column what set default 'w';
create materialized view shop.mats as select count(*) n from shop.lines;
alter table shop.loose add primary key (how_many);
"""


def test_what_was_added_by_hand_stays_and_a_migration_file_makes_it_on_a_copy(
    shop: Database, cli: Cli, new_shop: Callable[[], Database]
) -> None:
    shop.run(ADDED)
    harmed = "alter table shop.orders disable row level security; drop function shop.tax(numeric)"
    then = catalog(shop)
    shop.run(harmed)
    planned = document(cli("repair", "--json"))
    assert {d["remedy"] for d in planned["drift"] if d["what"] == "added"} == {"adopt"}
    done = document(cli("repair", "--apply", "--write-migration", "--json"))
    assert catalog(shop) == then
    file = Path(done["after"]["migration_file"])
    assert file.parent == Path("supabase/migrations")
    text = (cli.home / file).read_text()
    assert "table shop.notes was added by hand" in text
    copy = new_shop()
    for _ in range(2):
        copy.run(text)
        assert catalog(copy) == then
    shop.run(text)
    assert catalog(shop) == then
    again = document(cli("repair", "--apply", "--write-migration", "--json"))
    assert again["after"]["migration_file"] == str(file)
    assert [p.name for p in cli.migrations.iterdir()] == [file.name]


def test_without_being_asked_the_file_is_printed_and_not_written(shop: Database, cli: Cli) -> None:
    shop.run("create table shop.mine (id int)")
    ran = cli("repair")
    assert ran.code == 0
    assert "table shop.mine was added by hand [stays; --write-migration adopts it]" in ran.out
    assert 'CREATE TABLE IF NOT EXISTS "shop"."mine"' in ran.out
    assert list(cli.migrations.iterdir()) == []
    assert cli("repair", "--check").code == 0


def test_a_check_exits_1_when_something_is_to_be_repaired(shop: Database, cli: Cli) -> None:
    assert cli("repair", "--check").code == 0
    shop.run("drop policy own_orders on shop.orders")
    assert cli("repair", "--check").code == 1
    assert cli("repair", "--plan").code == 0
    assert error(cli("repair", "--check", "--apply", "--json")) == (2, "usage")


def test_without_a_recorded_catalog_it_is_refused(shop: Database, cli: Cli) -> None:
    shop.run("delete from automation.ways_back")
    assert error(cli("repair", "--json")) == (1, "no_recorded_catalog")
    shop.run("drop schema automation cascade")
    assert error(cli("repair", "--apply", "--json")) == (1, "no_recorded_catalog")


@pytest.mark.parametrize("point", ["H1", "H2", "H3"])
def test_a_repair_that_is_killed_is_in_whole_or_not_at_all(shop: Database, cli: Cli, point: str) -> None:
    then = catalog(shop)
    shop.run("drop policy own_orders on shop.orders; drop index shop.orders_note; drop view shop.open_totals")
    harmed = catalog(shop)
    ran = cli("repair", "--apply", AUTOPILOT_TEST="1", AUTOPILOT_TEST_KILLPOINT=point)
    assert ran.code == -signal.SIGKILL
    has = catalog(shop)
    assert has == harmed if point == "H1" else set(then) - set(has) == {"index shop.orders_note"}
    assert document(cli("repair", "--apply", "--json"))["outcome"] == "repaired"
    as_it_was(shop, cli, then)
    assert shop.value("select count(*) from automation.runs where state = 'abandoned'") == 1


def test_another_run_that_holds_the_lock_is_waited_for_and_named(shop: Database, cli: Cli) -> None:
    shop.run("drop policy own_orders on shop.orders")
    (cli.home / "autopilot.toml").write_text("lock_wait_s = 0\n")
    with connect(Secret(shop.url), application_name="autopilot-lock:other") as holder:
        holder.execute("select pg_advisory_lock(%s)", (KEY,))
        assert error(cli("repair", "--apply", "--json")) == (75, "locked")
    assert "policy shop.orders.own_orders" not in catalog(shop)


def test_tables_that_others_hold_are_not_queued_for(shop: Database, cli: Cli) -> None:
    shop.run("drop policy own_orders on shop.orders")
    (cli.home / "autopilot.toml").write_text("lock_timeout_s = 0.1\nlock_tries = 2\n")
    with psycopg.connect(shop.url) as other:
        other.execute("select count(*) from shop.orders")
        assert error(cli("repair", "--apply", "--json")) == (3, "repair_locked")
    assert document(cli("repair", "--apply", "--json"))["outcome"] == "repaired"


def test_rows_that_break_a_constraint_leave_it_in_force_for_new_rows_and_are_told(shop: Database, cli: Cli) -> None:
    shop.run("alter table shop.lines drop constraint lines_order_id_fkey; insert into shop.lines values (99999, 1, 1);")
    shop.run("drop policy own_orders on shop.orders")
    ran = cli("repair", "--apply")
    assert ran.code == 4
    assert "Found, and put right:\n  policy own_orders on shop.orders is missing" in ran.out
    assert "violates foreign key constraint" in ran.out
    assert "Left: ! constraint lines_order_id_fkey on shop.lines is not valid" in ran.out
    with pytest.raises(psycopg.errors.ForeignKeyViolation):
        shop.run("insert into shop.lines values (88888, 1, 1)")
    shop.run("delete from shop.lines where order_id = 99999")
    assert cli("repair", "--apply").code == 0


def test_a_unique_index_that_rows_forbid_leaves_nothing_half_built(shop: Database, cli: Cli) -> None:
    shop.run("drop index shop.orders_code; insert into shop.orders (customer_id, code) values (1, 'code 1')")
    done = document(cli("repair", "--apply", "--json"), 4)
    assert "could not create unique index" in done["failed"][0]
    assert shop.value("select to_regclass('shop.orders_code') is null")


def test_a_type_that_holds_what_it_could_not_hold_is_left_to_a_person(shop: Database, cli: Cli) -> None:
    shop.run("alter table shop.orders alter column small type integer; update shop.orders set small = 100000 where id = 1;")
    shop.run("drop policy own_orders on shop.orders")
    done = document(cli("repair", "--apply", "--json"), 4)
    assert done["put_back"] == ["policy own_orders on shop.orders is missing"]
    assert shop.value("select small from shop.orders where id = 1") == 100000


def test_what_belongs_to_others_is_told_and_not_touched(shop: Database, cli: Cli) -> None:
    shop.run("alter table auth.users add column extra text; comment on table auth.users is 'theirs'", admin=True)
    shop.run("drop policy own_orders on shop.orders")
    theirs = {path: thing for path, thing in catalog(shop).items() if " auth." in path}
    planned = document(cli("repair", "--json"))
    assert {d["remedy"] for d in planned["drift"] if "auth.users" in d["object"]} == {"none"}
    assert document(cli("repair", "--apply", "--json"))["outcome"] == "repaired"
    assert {path: thing for path, thing in catalog(shop).items() if " auth." in path} == theirs
    assert planned["migration"] is None


def test_a_role_that_owns_nothing_there_is_told_so_and_changes_nothing(shop: Database, cli: Cli) -> None:
    shop.run("drop policy own_orders on shop.orders")
    harmed = catalog(shop)
    shop.run(
        "do $$ begin create role passer_by login password 'pw-passer'; exception when duplicate_object then null; end $$",
        admin=True,
    )
    url = shop.url.replace(OWNER, "passer_by").replace("owner-Pa55%25word", "pw-passer")
    assert error(cli("repair", "--plan", "--json", SUPABASE_DB_URL=url)) == (1, "no_audit_rights")
    assert error(cli("repair", "--apply", "--json", SUPABASE_DB_URL=url)) == (1, "no_audit_rights")
    assert catalog(shop) == harmed


def test_a_lost_table_is_told_and_comes_back_with_its_rows_from_the_newest_backup(shop: Database, cli: Cli) -> None:
    then, orders, lines = catalog(shop), rows(shop, "shop.orders"), rows(shop, "shop.lines")
    document(cli("backup", "create", "--json"))
    shop.run("drop table shop.orders cascade; drop policy if exists x on shop.loose; comment on table shop.customers is null")
    document(cli("backup", "create", "--json"))
    planned = cli("repair")
    assert "!! table shop.orders is missing, with" in planned.out
    left = document(cli("repair", "--apply", "--json"), 4)
    assert left["put_back"] == ["table shop.customers has lost its comment"]
    assert shop.value("select to_regclass('shop.orders') is null")
    done = document(cli("repair", "--apply", "--restore-tables", "--json"))
    (restored,) = done["restored"]
    assert (restored["object"], restored["rows"]) == ("shop.orders", 30)
    assert "What was written there since then is not in it." in restored["message"]
    assert (rows(shop, "shop.orders"), rows(shop, "shop.lines")) == (orders, lines)
    as_it_was(shop, cli, then)
    assert shop.value("insert into shop.orders (customer_id) values (1) returning id") == 31


def test_a_lost_column_comes_back_with_its_values_and_says_which_rows_have_none(shop: Database, cli: Cli) -> None:
    then, values = catalog(shop), shop.rows("select id, note from shop.orders order by id")
    document(cli("backup", "create", "--json"))
    shop.run("alter table shop.orders drop column note; insert into shop.orders (customer_id, code) values (1, 'new')")
    left = document(cli("repair", "--json"))
    assert [d["remedy"] for d in left["drift"] if d["object"] == "column shop.orders.note"] == ["restore"]
    (restored,) = document(cli("repair", "--apply", "--restore-tables", "--json"))["restored"]
    assert (restored["rows"], restored["rows_without_value"]) == (30, 1)
    assert "1 row of today got no value: not in the backup" in restored["message"]
    assert shop.rows("select id, note from shop.orders where id <= 30 order by id") == values
    as_it_was(shop, cli, then)


def test_tables_that_no_backup_holds_stay_lost_and_that_is_said(shop: Database, cli: Cli) -> None:
    shop.run("drop table shop.loose")
    ran = cli("repair", "--apply", "--restore-tables")
    assert ran.code == 4
    assert "No good backup here holds shop.loose: it stays lost." in ran.err
    assert shop.value("select to_regclass('shop.loose') is null")


def test_a_damaged_backup_is_passed_over_for_an_older_one(shop: Database, cli: Cli) -> None:
    document(cli("backup", "create", "--json"))
    newest = document(cli("backup", "create", "--json"))["file"]
    path = cli.backups / newest
    path.write_bytes(path.read_bytes()[:-10] + b"0123456789")
    shop.run("drop table shop.loose")
    ran = cli("repair", "--apply", "--restore-tables")
    assert ran.code == 0, ran.err
    assert f"{newest} is passed over" in ran.err
    assert shop.value("select count(*) from shop.loose") == 5


def test_a_lost_partitioned_table_comes_back_with_its_partitions(shop: Database, cli: Cli) -> None:
    then, events = catalog(shop), rows(shop, "shop.events")
    document(cli("backup", "create", "--json"))
    shop.run("drop table shop.events")
    done = document(cli("repair", "--apply", "--restore-tables", "--json"))
    assert [r["object"] for r in done["restored"]] == ["shop.events_2024"]
    assert rows(shop, "shop.events") == events
    as_it_was(shop, cli, then)


def test_the_file_for_what_was_added_goes_through_a_release_and_nothing_differs_then(shop: Database, cli: Cli) -> None:
    shop.run(ADDED)
    then = catalog(shop)
    assert cli("repair", "--write-migration").code == 0
    released = document(cli("migrate", "--no-backup", "--no-deploy", "--json"))
    assert len(released["applied"]) == 1
    assert catalog(shop) == then
    assert document(cli("repair", "--json"))["drift"] == []


def test_a_trigger_on_another_roles_table_comes_back(shop: Database, cli: Cli) -> None:
    shop.run("create trigger signed_up after insert on auth.users for each row execute function shop.touch()")
    record(shop)
    then = catalog(shop)
    shop.run("drop trigger signed_up on auth.users", admin=True)
    assert document(cli("repair", "--apply", "--json"))["put_back"] == ["trigger signed_up on auth.users is missing"]
    as_it_was(shop, cli, then)


def test_a_table_dropped_and_made_again_by_hand_is_compared_by_its_name(shop: Database, cli: Cli) -> None:
    then = catalog(shop)
    shop.run("drop table shop.loose; create table shop.loose (what text, how_many integer)")
    planned = document(cli("repair", "--json"))
    assert any(d["message"].startswith("table shop.loose was dropped and made again") for d in planned["drift"])
    assert document(cli("repair", "--apply", "--json"))["put_back"]
    as_it_was(shop, cli, then)


def test_an_answer_for_people_says_what_was_done_and_what_stays(shop: Database, cli: Cli) -> None:
    shop.run("alter table shop.orders disable row level security; create table shop.mine (id int)")
    shop.run("comment on column auth.users.email is 'theirs'", admin=True)
    planned = cli("repair").out
    assert "!! table shop.orders has row level security off: whoever may read the table reads every row" in planned
    assert "Next: autopilot repair --apply" in planned
    assert "column auth.users.email" not in planned
    assert "column auth.users.email" in cli("repair", "--verbose").out
    done = cli("repair", "--apply").out
    assert done.startswith("Found, and put right:\n  table shop.orders has row level security off")
    assert "Stays: table shop.mine was added by hand" in done


def test_a_lost_column_that_must_be_filled_stays_open_while_a_row_has_no_value(shop: Database, cli: Cli) -> None:
    then = catalog(shop)
    document(cli("backup", "create", "--json"))
    shop.run("alter table shop.orders drop column customer_id cascade; insert into shop.orders (code) values ('new')")
    done = document(cli("repair", "--apply", "--restore-tables", "--json"), 4)
    assert [r["rows"] for r in done["restored"]] == [30]
    assert [d["message"] for d in done["after"]["drift"] if d["remedy"] == "put_back"] == [
        "column shop.orders.customer_id may be empty now, and was NOT NULL"
    ]
    assert shop.value("select count(*) from shop.sales") == 11
    shop.run("delete from shop.orders where customer_id is null; refresh materialized view shop.sales")
    assert document(cli("repair", "--apply", "--json"))["outcome"] == "repaired"
    # written in the order of the table's columns, of which one stands at the end now
    then["statistics shop.orders_stats"] = catalog(shop)["statistics shop.orders_stats"]
    as_it_was(shop, cli, then)


def test_a_lost_key_cannot_be_matched_and_nothing_is_changed(shop: Database, cli: Cli) -> None:
    document(cli("backup", "create", "--json"))
    shop.run("alter table shop.customers drop column id cascade")
    harmed = catalog(shop)
    assert error(cli("repair", "--apply", "--restore-tables", "--json")) == (1, "nothing_to_match_by")
    assert catalog(shop) == harmed


def test_a_repair_that_is_stopped_says_that_it_is_in_whole_or_not_at_all(shop: Database, cli: Cli) -> None:
    shop.run("drop policy own_orders on shop.orders")
    harmed = catalog(shop)
    with psycopg.connect(shop.url) as other:
        other.execute("select count(*) from shop.orders")
        process = cli.start("repair", "--apply")
        waits = "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"
        while process.poll() is None and not shop.value(waits):
            pass
        process.terminate()
        _, err = process.communicate(timeout=30)
    assert process.returncode == 143
    assert b"in whole or not at all" in err
    assert catalog(shop) == harmed
