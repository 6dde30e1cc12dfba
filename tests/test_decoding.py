"""What test_decoding says of changes, read back: of a real server's rows nothing gets lost on the way."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg import sql
from psycopg.types.json import Jsonb
from tests.conftest import production_like

from autopilot.postgres.embedded import EmbeddedServer
from autopilot.postgres.session import Connection, session
from autopilot.rollback import decoding, slot
from autopilot.rollback.decoding import Border, Change, Datum, Message, Truncate, Unchanged
from autopilot.rollback.slot import Slot
from autopilot.rollback.written import Written, seen, transactions


@pytest.fixture(scope="module")
def server() -> Iterator[EmbeddedServer]:
    with production_like(wal_level="logical") as started:
        yield started


@pytest.fixture(scope="module")
def following(server: EmbeddedServer) -> Iterator[Slot]:
    with session(server.url(), application_name="follower") as connection:
        made = slot.create(connection, run_id="told", wait_s=10)
        assert isinstance(made, Slot)
        yield made


@pytest.fixture(scope="module")
def writer(server: EmbeddedServer) -> Iterator[Connection]:
    with session(server.url(), application_name="writer") as connection:
        yield connection


def told(following: Slot) -> list[Any]:
    """All changes committed by now."""
    mark = slot.mark(following, "end")
    found = list(transactions(slot.changes(following, without="", timeout_s=30), seen("3:3:")))
    assert [one.prefix for one in found if isinstance(one, Message)] == [mark]
    return [change for one in found if isinstance(one, Written) for change in one.changes()]


NAMES = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=12)
TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=40)


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(schema=NAMES, table=NAMES, columns=st.lists(NAMES, min_size=1, max_size=5, unique=True), data=st.data())
def test_any_name_and_any_text_comes_back(
    following: Slot, writer: Connection, schema: str, table: str, columns: list[str], data: st.DataObject
) -> None:
    named = [sql.Identifier(name) for name in columns]
    values = [data.draw(st.none() | TEXTS) for _ in columns]
    place = sql.Identifier(schema, table)
    if schema.startswith("pg_") or schema in {"public", "information_schema"}:
        return
    listed = sql.SQL(", ").join(sql.SQL("{} text").format(name) for name in named)
    writer.execute(sql.SQL("create schema {}").format(sql.Identifier(schema)))
    try:
        writer.execute(sql.SQL("create table {} ({})").format(place, listed))
        writer.execute(sql.SQL("alter table {} replica identity full").format(place))
        writer.execute(sql.SQL("insert into {} values ({})").format(place, sql.SQL(", ").join(map(sql.Literal, values))))
        writer.execute(sql.SQL("update {} set {} = 'x'").format(place, named[0]))
        writer.execute(sql.SQL("delete from {}").format(place))
        writer.execute(sql.SQL("truncate {}").format(place))
        inserted, updated, deleted, truncated = told(following)
    finally:
        writer.execute(sql.SQL("drop schema {} cascade").format(sql.Identifier(schema)))
    row = tuple(Datum(name, "text", value) for name, value in zip(columns, values, strict=True))
    after = (Datum(columns[0], "text", "x"), *row[1:])
    assert inserted == Change(schema=schema, table=table, what="insert", new=row)
    assert updated == Change(schema=schema, table=table, what="update", old=_filled(row), new=after)
    assert deleted == Change(schema=schema, table=table, what="delete", old=_filled(after))
    assert truncated == Truncate(tables=((schema, table),))


def _filled(row: tuple[Datum, ...]) -> tuple[Datum, ...]:
    return tuple(d for d in row if d.value is not None)


TYPED: dict[str, st.SearchStrategy[Any]] = {
    "smallint": st.integers(-(2**15), 2**15 - 1), "integer": st.integers(-(2**31), 2**31 - 1),
    "bigint": st.integers(-(2**63), 2**63 - 1), "oid": st.integers(0, 2**32 - 1),
    "numeric": st.decimals(allow_nan=True, allow_infinity=True).map(lambda d: Decimal("NaN") if d.is_nan() else d),
    "real": st.floats(width=32), "double precision": st.floats(), "boolean": st.booleans(),
    "bytea": st.binary(max_size=30), "uuid": st.uuids(), "jsonb": TEXTS.map(lambda t: Jsonb({"k": t})),
    "text[]": st.lists(st.none() | TEXTS, max_size=4), "integer[]": st.lists(st.integers(-9, 9), max_size=4),
    "date": st.dates(), "timestamp with time zone": st.datetimes(timezones=st.timezones()), "interval": st.timedeltas(),
    "bit varying": st.text("01", max_size=9), '"char"': st.sampled_from("a'[ "), "inet": st.ip_addresses(),
    'public."We]ird: ty""pe"': st.sampled_from(["it's", "]:", "null"]), "public.small": st.integers(0, 9),
}  # fmt: skip


@pytest.fixture(scope="module")
def typed(writer: Connection) -> Connection:
    writer.execute("create type public.\"We]ird: ty\"\"pe\" as enum ('it''s', ']:', 'null'); create domain public.small as int")
    listed = ", ".join(f'"c {n}" {kind}' for n, kind in enumerate(TYPED))
    writer.execute(f"create table public.typed (id int primary key, {listed})".encode())
    return writer


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(values=st.tuples(*(st.none() | values for values in TYPED.values())))
def test_a_row_of_many_types_is_told_as_its_types_write_it(following: Slot, typed: Connection, values: tuple[Any, ...]) -> None:
    places = ", ".join(f"%s::{kind.replace('%', '%%')}" for kind in TYPED)
    typed.execute(f"insert into public.typed values (1, {places})".encode(), values)
    typed.execute("update public.typed set id = 2")
    with typed.transaction():
        for setting in ("TimeZone = 'UTC'", "search_path = ''"):
            typed.execute(f"set local {setting}".encode())
        listed = ", ".join(f'case when "c {n}" is not null then format(\'%s\', "c {n}") end' for n, _ in enumerate(TYPED))
        wanted = typed.execute(f"select {listed} from public.typed".encode()).fetchone()
    typed.execute("delete from public.typed")
    inserted, updated, deleted = told(following)
    assert wanted is not None
    boolean = {"t": "true", "f": "false"}
    for datum, (kind, text) in zip(inserted.new[1:], zip(TYPED, wanted, strict=True), strict=True):
        assert datum.value == (boolean.get(text, text) if kind == "boolean" else text), kind
        assert datum.type == kind
    assert updated.old == (Datum("id", "integer", "1"),)
    assert updated.new == (Datum("id", "integer", "2"), *inserted.new[1:])
    assert deleted.old == (Datum("id", "integer", "2"),)


def test_large_values_that_stay_and_rows_that_nothing_tells(following: Slot, writer: Connection) -> None:
    writer.execute("create table public.large (id int primary key, big text, n int)")
    writer.execute("alter table public.large alter big set storage external")
    writer.execute("insert into public.large values (1, repeat('''null, ', 2000), 1)")
    writer.execute("update public.large set n = null")
    writer.execute("create table public.keyless (a int); create table public.nothing ()")
    writer.execute("insert into public.keyless values (1); insert into public.nothing default values")
    writer.execute("update public.keyless set a = 2")
    writer.execute("delete from public.keyless")
    writer.execute("truncate public.keyless, public.large restart identity cascade")
    first, stays, one, empty, keyless, gone, emptied = told(following)
    assert first.new[1].value == "'null, " * 2000
    assert stays.new == (
        Datum("id", "integer", "1"), Datum("big", "text", Unchanged.TOAST), Datum("n", "integer", None),
    )  # fmt: skip
    assert one == Change(schema="public", table="keyless", what="insert", new=(Datum("a", "integer", "1"),))
    assert empty == Change(schema="public", table="nothing", what="insert", new=())
    assert keyless == Change(schema="public", table="keyless", what="update", new=(Datum("a", "integer", "2"),))
    assert gone == Change(schema="public", table="keyless", what="delete")
    assert set(emptied.tables) == {("public", "keyless"), ("public", "large")}


def test_what_is_not_of_the_form_is_refused_without_a_word_of_the_row() -> None:
    for line in (
        "table public.t: INSERT: secret[text]:'never closed", "table public.t: UPSERT: a[integer]:1", "something else", "",
        "table t: INSERT: a[integer]:1", "table public.t: INSERT: a[integer]:1 more", "table public.t: INSERT: a[integer]:secret",
        "table public.t: UPDATE: old-key: a[integer]:1", "table public.a, public.b: DELETE: a[integer]:1",
    ):  # fmt: skip
        with pytest.raises(ValueError, match=r"not understood|without its new row") as refused:
            decoding.read(line)
        assert "secret" not in str(refused.value)
    assert decoding.read("BEGIN 12") == Border(what="begin")
    assert decoding.read("message: transactional: 1 prefix: autopilot:1f, sz: 3 content:x: y") == Message(prefix="autopilot:1f")


@pytest.mark.parametrize(("xid", "is_seen"), [
    ("734", True), ("735", True), ("736", False), ("740", True), ("741", False), ("742", False),
])  # fmt: skip
def test_which_transactions_a_snapshot_sees(xid: str, is_seen: bool) -> None:
    assert (xid in seen("735:741:736,739")) is is_seen


def test_numbers_of_32_bits_go_round() -> None:
    after_the_turn = seen(f"{2**32 + 5}:{2**32 + 9}:{2**32 + 7}")
    assert [n for n in (2**32 - 3, 4, 5, 6, 7, 8, 9, 10) if str(n) in after_the_turn] == [2**32 - 3, 4, 5, 6, 8]
    before_it = seen(f"{2**32 - 3}:{2**32 - 1}:")
    assert [n for n in (2**32 - 4, 2**32 - 2, 2**32 - 1, 3, 4) if str(n) in before_it] == [2**32 - 4, 2**32 - 2]
