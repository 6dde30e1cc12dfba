"""There and back again, and again: after each kind of change the catalog is as pg_dump saw it before, and no row is gone."""

from __future__ import annotations

import random
import re
import secrets
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql
from tests.changes import BASE, CHANGES, PLATFORM, Change, change
from tests.conftest import OWNER, PASSWORD, Database

from autopilot.errors import Refused, RolledBack
from autopilot.postgres.clients import installations
from autopilot.postgres.embedded import EmbeddedServer, running
from autopilot.rollback.act import Undone, undo
from autopilot.rollback.difference import diff
from autopilot.rollback.reverse import way_back
from autopilot.rollback.snapshot import TRASH, decode, encode, read

DEBIAN = Path("/usr/lib/postgresql/15/bin")
_TEMPLATE = "undo_template"

Values = Counter[str | None]
Rows = dict[tuple[int, int], Values]


@pytest.fixture(
    scope="module",
    params=[
        pytest.param("embedded", marks=[pytest.mark.faults] if DEBIAN.is_dir() else []),  # one of the two is enough each time
        pytest.param(
            "debian", marks=[pytest.mark.debian, pytest.mark.skipif(not DEBIAN.is_dir(), reason=f"there is no {DEBIAN}")]
        ),
    ],
)
def place(request: pytest.FixtureRequest) -> Iterator[EmbeddedServer]:
    """A server with the shop as a template."""
    if request.param == "embedded":
        server: EmbeddedServer = request.getfixturevalue("server")
        _furnish(server)
        yield server
        return
    with running(next(i for i in installations() if i.origin == "debian" and i.major == 15), tcp=True) as server:
        with psycopg.connect(server.url().reveal(), autocommit=True) as connection:
            owner, password = sql.Identifier(OWNER), sql.Literal(PASSWORD.reveal())
            connection.execute(sql.SQL("create role {} login password {}").format(owner, password))
        _furnish(server)
        yield server


def _furnish(server: EmbeddedServer) -> None:
    with psycopg.connect(server.url().reveal(), autocommit=True) as connection:
        connection.execute(sql.SQL("create database {} owner {}").format(sql.Identifier(_TEMPLATE), sql.Identifier(OWNER)))
    shop = _database(server, _TEMPLATE)
    shop.run(PLATFORM.format(owner=OWNER), admin=True)
    shop.run(f"grant create on schema public to {OWNER}", admin=True)
    shop.run(BASE)


def _database(server: EmbeddedServer, name: str) -> Database:
    url = server.url(name, user=OWNER, password=PASSWORD).reveal()
    return Database(name=name, url=url, admin_url=server.url(name).reveal())


@pytest.fixture
def new_shop(place: EmbeddedServer) -> Iterator[Callable[[], Database]]:
    made = []

    def make() -> Database:
        name = f"shop_{secrets.token_hex(4)}"
        with psycopg.connect(place.url().reveal(), autocommit=True) as connection:
            connection.execute(
                sql.SQL("create database {} template {} owner {}").format(
                    sql.Identifier(name), sql.Identifier(_TEMPLATE), sql.Identifier(OWNER)
                )
            )
        made.append(name)
        return _database(place, name)

    yield make
    with psycopg.connect(place.url().reveal(), autocommit=True) as connection:
        for name in made:
            connection.execute(sql.SQL("drop database if exists {} with (force)").format(sql.Identifier(name)))


@pytest.fixture
def shop(new_shop: Callable[[], Database]) -> Database:
    return new_shop()


@pytest.fixture(scope="module")
def dumped_at_first(place: EmbeddedServer) -> list[str]:
    return dumped(place, _database(place, _TEMPLATE))


def dumped(server: EmbeddedServer, database: Database) -> list[str]:
    """What pg_dump says of the schema, entry by entry, without the trash and without noise."""
    argv = [server.installation.tool("pg_dump"), "--schema-only", f"--exclude-schema={TRASH}", database.admin_url]
    text = subprocess.run(argv, check=True, capture_output=True).stdout.decode()
    lines = [line for line in text.splitlines() if not re.match(r"--|\\|SET |SELECT pg_catalog.set_config", line)]
    entries = [re.sub(r"\s+$", "", entry) for entry in re.split(r"\n{2,}", "\n".join(lines)) if entry.strip()]
    return sorted(entries)


def without_order(entries: list[str]) -> list[str]:
    """The same where a column may stand elsewhere in its table."""
    return sorted("\n".join(sorted(line.strip().removesuffix(",") for line in entry.splitlines())) for entry in entries)


def rows_of(database: Database) -> Rows:
    """The values of every column of every table, by the OID and number that they keep whatever they are called."""
    found: Rows = {}
    with psycopg.connect(database.admin_url, autocommit=True) as connection:
        tables = connection.execute(
            "select c.oid::bigint, quote_ident(n.nspname) || '.' || quote_ident(c.relname), array_agg(attnum order by attnum),"
            " string_agg(quote_ident(a.attname) || '::text', ', ' order by attnum)"
            " from pg_class c join pg_namespace n on n.oid = c.relnamespace join pg_attribute a on a.attrelid = c.oid"
            " where c.relkind = 'r' and nspname !~ '^pg_|^information_schema$' and attnum > 0 and not attisdropped group by 1, 2"
        ).fetchall()
        for oid, table, numbers, columns in tables:
            rows = connection.execute(f"select {columns} from only {table}".encode()).fetchall()
            found |= {(oid, number): Counter(row[place] for row in rows) for place, number in enumerate(numbers)}
    return found


def names_of(database: Database) -> dict[tuple[int, int], tuple[str, bool]]:
    query = (
        "select attrelid::bigint, attnum, attname, attgenerated <> '' from pg_attribute where attrelid >= 16384 and attnum > 0"
    )
    return {(oid, number): (name, computed) for oid, number, name, computed in database.rows(query)}


def migrate(database: Database, case: Change, text: str) -> None:
    database.run(text.replace("{extension}", case.extension), admin=case.admin)


def go_back(database: Database, case: Change, before: bytes, token: str) -> Undone:
    url = database.admin_url if case.admin else database.url
    with psycopg.connect(url) as connection:
        connection.execute("select 1")
        undone = undo(connection, decode(before), token=token, accept_loss=bool(case.loses))
        connection.commit()
    return undone


def taken(database: Database, case: Change) -> bytes:
    with psycopg.connect(database.admin_url if case.admin else database.url, autocommit=True) as connection:
        return encode(read(connection))


def there_and_back(database: Database, case: Change) -> list[Undone]:
    """Forward, back, forward, back, with rows written each time; each time every row is there afterwards."""
    before, gone = taken(database, case), []
    for token in ("first", "again"):
        migrate(database, case, case.forward)
        if case.writes and not (case.loses and token == "again"):
            migrate(database, case, case.writes)
        had, names = rows_of(database), names_of(database)
        undone = go_back(database, case, before, token)
        gone.append(undone)
        assert any(case.loses in cannot.sentence for cannot in undone.reversal.cannot) or not case.loses
        has = rows_of(database)
        for column, values in had.items():
            if column in has:
                assert has[column] == values_then(case, values), names[column]
            elif any(value is not None for value in values) and not names[column][1]:
                kept_as_copy(database, names[column][0], values, undone)
    return gone


def values_then(case: Change, values: Values) -> Values:
    found: Values = Counter()
    for value, count in values.items():
        found[value if value is None else case.relabels.get(value, value)] += count
    return found


def kept_as_copy(database: Database, column: str, values: Values, undone: Undone) -> None:
    found = []
    for entry in (entry for entry, _ in undone.kept if column in entry.columns):
        with psycopg.connect(database.admin_url) as connection:
            query = sql.SQL("select {}::text from {}").format(sql.Identifier(column), sql.Identifier(TRASH, entry.name))
            found.append(Counter(row[0] for row in connection.execute(query) if row[0] is not None))
    lost = Counter({value: count for value, count in values.items() if value is not None})
    assert any(lost <= kept for kept in found), f"{column} is lost"


def fitting(place: EmbeddedServer, database: Database, case: Change) -> None:
    if case.extension and not database.rows("select from pg_available_extensions where name = %s", case.extension):
        pytest.skip(f"no {case.extension} here")
    if place.installation.major * 10000 < case.since:
        pytest.skip(f"since {case.since}")


@pytest.mark.parametrize("case", CHANGES, ids=lambda case: case.kind.replace(" ", "_").replace(",", ""))
def test_it_is_undone_and_no_row_is_lost(case: Change, shop: Database, place: EmbeddedServer, dumped_at_first: list[str]) -> None:
    fitting(place, shop, case)
    gone = there_and_back(shop, case)
    if case.moves:
        assert gone[-1].renumbered
        assert without_order(dumped(place, shop)) == without_order(dumped_at_first)
    elif case.leaves:
        assert {e for e in dumped(place, shop) if case.leaves not in e} == {e for e in dumped_at_first if case.leaves not in e}
        assert any("heir" in note for undone in gone for note in undone.reversal.notes)
    else:
        assert dumped(place, shop) == dumped_at_first


#: Kinds that change different things, for any three of them to be one migration.
_APART = tuple(
    c
    for c in CHANGES
    if not (c.loses or c.admin or c.moves or c.leaves or c.relabels or c.since)
    and not any(word in c.forward for word in ("rename", "set schema", "drop"))
)


@pytest.mark.parametrize("seed", range(12))
def test_any_three_kinds_at_once_are_undone(seed: int, shop: Database, place: EmbeddedServer, dumped_at_first: list[str]) -> None:
    three = random.Random(seed).sample(_APART, 3)
    there_and_back(shop, change(f"{seed}", "; ".join(c.forward for c in three)))
    assert dumped(place, shop) == dumped_at_first, [c.kind for c in three]


def undone_by_hand(database: Database, before: bytes, after: bytes | None = None, **rest: Any) -> Undone:
    with psycopg.connect(database.url) as connection:
        connection.execute("select 1")
        undone = undo(
            connection, decode(before), after=None if after is None else decode(after), token=rest.pop("token", "x"), **rest
        )
        connection.commit()
    return undone


def of_owner(database: Database) -> bytes:
    return taken(database, change("any", ""))


@pytest.mark.parametrize(
    ("forward", "by_hand", "names"),
    [
        ("create table shop.news (id int)", "create view shop.seen as select * from shop.news", "view shop.seen"),
        ("alter table shop.customers add phone text", "create view shop.seen as select phone from shop.customers",
         "view shop.seen"),
        ("alter table shop.customers add phone text", "create index by_phone on shop.customers (phone)", "index shop.by_phone"),
        ("create function shop.f() returns int language sql as 'select 1'",
         "alter table shop.loose alter how_many set default shop.f()", "shop.loose.how_many"),
        ("create type shop.e as enum ('a')", "create table shop.made (e shop.e)", "column shop.made.e"),
        ("create schema more", "create table more.made (e int)", "table more.made"),
        ("create or replace function shop.tax(amount numeric) returns numeric language sql as 'select 1.0'",
         "create or replace function shop.tax(amount numeric) returns numeric language sql as 'select 2.0'", "function shop.tax"),
    ],
    ids=["a view upon a new table", "a view upon a new column", "an index upon a new column", "a default from a new function",
         "a table of a new type", "a table in a new schema", "a function changed twice"],
)  # fmt: skip
def test_what_others_made_since_is_never_dropped(shop: Database, forward: str, by_hand: str, names: str) -> None:
    before = of_owner(shop)
    shop.run(forward)
    after = of_owner(shop)
    shop.run(by_hand)
    then = of_owner(shop)
    with pytest.raises(Refused) as refused:
        undone_by_hand(shop, before, after)
    assert refused.value.code == "undo_conflict"
    assert names in refused.value.message
    assert of_owner(shop) == then


def test_what_others_made_since_stays_where_it_is_in_nobodys_way(shop: Database) -> None:
    before = of_owner(shop)
    shop.run("alter table shop.orders rename to purchases; alter table shop.customers add phone text")
    after = of_owner(shop)
    shop.run("create view shop.mine as select id, code from shop.purchases; create index mine_too on shop.purchases (total);"
             "alter table shop.loose add column mine int; comment on table shop.lines is 'mine'")  # fmt: skip
    undone_by_hand(shop, before, after)
    found = diff(decode(before), decode(of_owner(shop)))
    assert {t.name for t in found.added if t.kind != "column"} == {"mine", "mine_too"}
    assert [p.after.name for p in found.changed] == ["lines"]
    assert not found.removed
    assert not found.renamed
    assert shop.value("select count(*) from shop.mine") == 30


@pytest.mark.parametrize(
    ("forward", "written", "code", "says"),
    [
        ("alter type shop.status add value 'lost'", "update shop.orders set state = 'lost' where id < 4", "undo_rows_in_the_way",
         '3 rows of "shop"."orders" with a label'),
        ("alter table shop.lines alter quantity type bigint", "update shop.lines set quantity = 3000000000 where order_id = 1",
         "undo_rows_in_the_way", "integer out of range"),
        ("alter table shop.orders alter code type text", "update shop.orders set code = repeat('x', 50) where id < 3 and id > 1",
         "undo_rows_in_the_way", "1 row of"),
        ("alter table shop.lines alter quantity drop not null", "update shop.lines set quantity = null where order_id < 3",
         "undo_rows_in_the_way", '2 rows of "shop"."lines" with nothing in column shop.lines.quantity'),
        ("alter table shop.customers drop constraint customers_name_not_blank", "insert into shop.customers (name) values ('')",
         "undo_rows_in_the_way", "customers_name_not_blank"),
        ("drop index shop.orders_code", "update shop.orders set code = 'same'", "undo_rows_in_the_way", "orders_code"),
        ("alter table shop.lines drop constraint lines_order_id_fkey", "insert into shop.lines values (999, 1, 1)",
         "undo_rows_in_the_way", "lines_order_id_fkey"),
        ("drop table shop.orders cascade", "select 1", "undo_loses", "table shop.orders was dropped"),
    ],
    ids=["a new label is in use", "a number is too big by now", "a text is too long by now", "a required value is missing",
         "a row breaks the dropped check", "rows break the dropped unique index", "a row has no parent", "a table was dropped"],
)  # fmt: skip
def test_rows_that_do_not_fit_what_was_are_told_and_nothing_changes(
    shop: Database, forward: str, written: str, code: str, says: str
) -> None:
    before = of_owner(shop)
    shop.run(forward)
    shop.run(written)
    then, rows = of_owner(shop), rows_of(shop)
    with pytest.raises((Refused, RolledBack)) as refused:
        undone_by_hand(shop, before)
    assert (refused.value.code, says in refused.value.message) == (code, True), refused.value.message
    assert of_owner(shop) == then
    assert rows_of(shop) == rows


def test_the_callers_transaction_lives_on_after_a_refusal_and_keeps_its_settings(shop: Database) -> None:
    before = of_owner(shop)
    shop.run("alter table shop.lines drop constraint lines_order_id_fkey; insert into shop.lines values (999, 1, 1)")
    with psycopg.connect(shop.url) as connection:
        connection.execute("set local search_path = shop; set local lock_timeout = '7s'; insert into loose values ('mine', 1)")
        with pytest.raises(RolledBack):
            undo(connection, decode(before), token="x")
        assert connection.execute("show search_path").fetchone() == ("shop",)
        connection.execute("delete from lines where order_id = 999")
        undo(connection, decode(before), token="y")
        assert connection.execute("select current_setting('search_path'), current_setting('lock_timeout')").fetchone() == (
            "shop",
            "7s",
        )
        connection.commit()
    assert shop.value("select count(*) from shop.loose where what = 'mine'") == 1
    assert not diff(decode(before), decode(of_owner(shop)))


def test_a_table_that_others_hold_is_waited_for_and_then_given_up(shop: Database) -> None:
    before = of_owner(shop)
    shop.run("alter table shop.customers add phone text")
    with psycopg.connect(shop.url) as other:
        other.execute("insert into shop.customers (name, phone) values ('held', '1')")
        with pytest.raises(RolledBack) as locked:
            undone_by_hand(shop, before, lock_timeout_s=0.2)
        assert (locked.value.code, locked.value.retryable) == ("undo_locked", True)
    undone_by_hand(shop, before, lock_timeout_s=5.0)
    assert not diff(decode(before), decode(of_owner(shop)))


def test_sequences_go_on_where_they_are_also_when_they_are_made_again(shop: Database) -> None:
    shop.run("select nextval('shop.ticket') from generate_series(1, 20)")
    before = of_owner(shop)
    shop.run("alter sequence shop.ticket increment by 5; drop table shop.loose cascade;"
             "alter table shop.orders alter id drop default; drop sequence shop.orders_id_seq;"
             "alter table shop.customers alter id drop identity")  # fmt: skip
    shop.run("select nextval('shop.ticket'); insert into shop.orders (id, customer_id) values (500, 1);"
             "insert into shop.customers (id, name) values (600, 'by hand')")  # fmt: skip
    undone_by_hand(shop, before, accept_loss=True)
    numbers = shop.rows("select nextval('shop.ticket') > 121, nextval('shop.orders_id_seq')")
    assert numbers == [(True, 501)]
    shop.run("insert into shop.customers (name) values ('after')")
    assert shop.value("select id from shop.customers where name = 'after'") == 601


def test_what_lies_in_the_trash_tells_where_it_came_from_and_only_its_owner_sees_it(shop: Database) -> None:
    before = of_owner(shop)
    shop.run("create table shop.news (id serial primary key, body text); insert into shop.news (body) values ('one'), ('two');"
             "alter table shop.customers add phone text; update shop.customers set phone = '0' where id < 4")  # fmt: skip
    undone = undone_by_hand(shop, before, token="run7")
    kept = {entry.origin: (entry.name, rows) for entry, rows in undone.kept}
    assert kept == {"table shop.news": ("run7_t0_news", 2), "table shop.customers": ("run7_c0_customers", 3)}
    told = shop.rows(
        "select obj_description(oid, 'pg_class')::json ->> 'from' from pg_class"
        " where relnamespace = %s::regnamespace and relkind = 'r' order by 1",
        TRASH,
    )
    assert [row[0] for row in told] == ["table shop.customers", "table shop.news"]
    assert shop.rows(f"select id, phone from {TRASH}.run7_c0_customers order by 1") == [(1, "0"), (2, "0"), (3, "0")]
    assert not shop.value(f"select has_schema_privilege('undo_anon', '{TRASH}', 'usage')")


def test_a_snapshot_survives_storage_and_a_way_back_needs_no_database(shop: Database) -> None:
    before = of_owner(shop)
    shop.run("alter table shop.orders rename to purchases; create index fresh on shop.purchases (total)")
    after = of_owner(shop)
    assert encode(decode(before)) == before
    found = diff(decode(before), decode(after))
    assert [(p.before.name, p.after.name) for p in found.renamed] == [("orders", "purchases")]
    assert [t.name for t in found.added] == ["fresh"]
    assert (found.removed, found.changed) == ((), ())
    reversal = way_back(decode(before), decode(after))
    assert reversal.script() == 'DROP INDEX "shop"."fresh";\nALTER TABLE "shop"."purchases" RENAME TO "orders";\n'
    assert reversal == way_back(decode(before), decode(after))
    assert not diff(decode(after), decode(after))


def test_only_the_schemas_asked_for_are_read(shop: Database) -> None:
    with psycopg.connect(shop.url, autocommit=True) as connection:
        everything, shops = read(connection), read(connection, schemas=["shop"])
        assert connection.execute("show search_path").fetchone() == ('"$user", public',)
    assert any(t.kind == "table" and t.schema == "auth" for t in everything.things)
    assert {t.schema for t in shops.things if t.schema is not None} == {"shop"}


def test_things_of_another_role_are_left_as_they_are(shop: Database) -> None:
    before = of_owner(shop)
    shop.run("alter table auth.users add column phone text; create table auth.mfa (id int);"
             "alter table auth.mfa owner to undo_auth_admin;"
             "create trigger t after insert on auth.users execute function shop.touch()", admin=True)  # fmt: skip
    shop.run("alter table shop.customers add phone text")
    undone = undone_by_hand(shop, before)
    assert any("auth.mfa" in note for note in undone.reversal.notes)
    left = diff(decode(before), decode(of_owner(shop)))
    assert {t.name for t in left.added} == {"phone", "mfa", "id"}
    assert {t.name for t in left.added if t.kind == "trigger"} == set()
    assert shop.value("select count(*) from pg_proc where pronamespace = %s::regnamespace", TRASH) == 0
