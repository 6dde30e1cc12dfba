"""`autopilot repair`: every kind of damage is named, put back and proven; what somebody added stays; lost rows come from a backup."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import psycopg
import pytest
from tests.changes import BASE, PLATFORM
from tests.conftest import OWNER, Cli, Database, Ran

from autopilot.audit import schema
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
    damage("view option lost", "alter view shop.open_orders reset (security_barrier)", "view shop.open_orders differs in its options"),
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
    damage("primary key dropped", "alter table shop.lines drop constraint lines_pkey", "constraint lines_pkey on shop.lines is missing"),
    damage("check of a domain dropped", "alter domain shop.email drop constraint email_check", "constraint email_check on shop.email"),
    damage("grant on a table lost", "revoke select on shop.customers from undo_anon", "has lost a grant: SELECT to undo_anon"),
    damage("grant on columns lost", "revoke update (name) on shop.customers from undo_api", "has lost a grant: UPDATE to undo_api"),
    damage("grant on a schema lost", "revoke usage on schema shop from undo_anon", "schema shop has lost a grant: USAGE"),
    damage("default rights lost", "alter default privileges revoke select on tables from undo_anon", "default privileges"),
    damage("default dropped", "alter table shop.customers alter column score drop default", "default of shop.customers.score is missing"),
    damage("default changed", "alter table shop.customers alter column score set default 7", "is 7 now, and was 0"),
    damage("not null dropped", "alter table shop.customers alter column name drop not null", "may be empty now, and was NOT NULL"),
    damage("type widened", "alter table shop.orders alter column small type integer", "is of the type integer now, and was smallint"),
    damage("comment lost", "comment on table shop.customers is null", "table shop.customers has lost its comment"),
    damage("comment changed", "comment on view shop.open_orders is 'x'", "view shop.open_orders has another comment"),
    damage("table renamed", "alter table shop.loose rename to looser", "table shop.loose is called shop.looser now"),
    damage("column renamed", "alter table shop.orders rename column note to remark", "column shop.orders.note is called"),
    damage("table moved", "create schema elsewhere; alter table shop.loose set schema elsewhere", "is called elsewhere.loose now"),
    damage("owner changed", f"alter table shop.loose owner to undo_api; grant undo_api to {OWNER}", "belongs to undo_api now", admin=True),
    damage("sequence dropped", "drop sequence shop.ticket", "sequence shop.ticket is missing"),
    damage("sequence changed", "alter sequence shop.ticket increment by 5 maxvalue 1000", "sequence shop.ticket differs in its"),
    damage("rule dropped", "drop rule keep_lines on shop.loose", "rule keep_lines on shop.loose is missing"),
    damage("statistics dropped", "drop statistics shop.orders_stats", "statistics shop.orders_stats is missing"),
    damage("no longer published", "alter publication shop_live drop table shop.lines", "publication shop_live for shop.lines is missing"),
    damage("computed column dropped", "alter table shop.orders drop column gross", "column shop.orders.gross is missing"),
    damage("options of a table", "alter table shop.orders set (fillfactor = 50)", "table shop.orders differs in its options"),
    damage("search configuration dropped", "drop text search configuration shop.words", "text search configuration shop.words is missing"),
    damage("type dropped", "drop type shop.span", "type shop.span is missing"),
    damage(
        "many things at once",
        "drop view shop.open_orders cascade; drop policy own_orders on shop.orders; drop function shop.touch() cascade;"
        " alter table shop.orders disable row level security; alter table shop.orders rename column note to n2;"
        " drop index shop.orders_code; alter table shop.lines drop constraint lines_order_id_fkey",
        "policy own_orders on shop.orders is missing",
    ),
)  # fmt: skip


@pytest.fixture
def shop(database: Database, cli: Cli) -> Database:
    """A shop whose catalog a release has recorded."""
    furnish(database)
    return database


def furnish(database: Database) -> None:
    database.run("drop schema if exists auth cascade", admin=True)
    database.run(PLATFORM.format(owner=OWNER), admin=True)
    database.run(f"grant create on schema public to {OWNER}", admin=True)
    database.run(BASE)
    record(database)


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
    assert cli("repair", "--check").code == 1
    done = document(cli("repair", "--apply", "--json"))
    assert done["outcome"] == "repaired"
    assert any(case.says in sentence for sentence in done["put_back"]), done
    if case.kind == "table moved":
        then["schema elsewhere"] = catalog(shop)["schema elsewhere"]
    as_it_was(shop, cli, then)
    assert rows(shop, "shop.lines") == orders
    assert shop.value("select state from automation.runs order by started_at desc limit 1") == "nothing_to_do"
    assert "repair: " in shop.value("select notes from automation.migration_log order by id desc limit 1")
