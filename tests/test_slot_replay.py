"""Route 5: a release that could only be undone with a loss goes back by its backup, with all that others wrote since."""

from __future__ import annotations

import contextlib
import json
import re
import signal
import subprocess
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
from tests.at_work import TABLE, at_work
from tests.conftest import OWNER, Cli, Database, Ran, production_like
from tests.oracle import ended, started, until
from tests.test_reaching import needs_bouncer, pgbouncer
from tests.test_rollback import SCENE, schema
from tests.wireproxy import Fault, Message, proxied

from autopilot.postgres.embedded import EmbeddedServer
from autopilot.postgres.queries import named

#: Rows are not kept, and so going back on a file that writes some loses what they were.
SETTINGS = 'transaction = "file"\nkeep_rows = "off"\n'
UNREHEARSED = SETTINGS + 'rehearsal = "off"\n'
LOSSY = "update users set name = upper(name), age = '0' where id > 10; delete from orders where id > 90;"
#: Passes where nobody holds the advisory lock 42, as in a rehearsal; else it waits for that, and fails then.
FAILS = """
do $$ begin if exists (select from pg_locks where locktype = 'advisory' and objid = 42 and granted) then
perform set_config('lock_timeout', '0', true), pg_advisory_xact_lock_shared(42); raise exception 'only here'; end if; end $$;
"""
MIGRATE = ("migrate", "--json", "--no-deploy")


@pytest.fixture(scope="module")
def server() -> Iterator[EmbeddedServer]:
    with production_like(wal_level="logical", max_slot_wal_keep_size="64MB") as started:
        yield started


@pytest.fixture
def shop(database: Database, cli: Cli) -> Database:
    """A role that may replicate, and an application's tables."""
    database.run(f"alter role {OWNER} replication", admin=True)
    database.run(SCENE + "create schema app; " + TABLE)
    (cli.home / "autopilot.toml").write_text(UNREHEARSED)
    return database


def document(ran: Ran) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(ran.out)
    return found


def content(database: Database) -> dict[str, list[tuple[Any, ...]]]:
    return {t: database.rows(f"select to_jsonb(t)::text from {t} t order by 1") for t in ("users", "orders", "old")}


@contextlib.contextmanager
def failing(cli: Cli, shop: Database, lossy: str = LOSSY, *, wait: bool = True, **env: str) -> Iterator[subprocess.Popen[bytes]]:
    """A release whose first file is in, and whose second fails once `let_fail` is called."""
    cli.write("1_lossy.sql", lossy)
    cli.write("2_fails.sql", FAILS)
    with psycopg.connect(shop.admin_url, autocommit=True) as holder:
        holder.execute("select pg_advisory_lock(42)")
        with started(cli, *MIGRATE, **env) as process:
            if wait:
                until(lambda: at_the_failing_file(shop), process)
            yield process


def at_the_failing_file(database: Database) -> int:
    return int(database.value("select count(*) from pg_locks where locktype = 'advisory' and objid = 42 and not granted"))


def let_fail(shop: Database, process: subprocess.Popen[bytes]) -> Ran:
    shop.run("select pg_terminate_backend(pid) from pg_locks where locktype = 'advisory' and objid = 42 and granted", admin=True)
    return ended(process)


def test_it_goes_back_by_itself_and_no_acknowledged_row_is_lost(cli: Cli, shop: Database) -> None:
    (cli.home / "autopilot.toml").write_text(SETTINGS)
    before, was = content(shop), schema(shop)
    with at_work(shop) as application, failing(cli, shop) as process:
        seen = len(application.acknowledged)
        until(lambda: len(application.acknowledged) > seen + 50)
        ran = let_fail(shop, process)
    told = document(ran)
    assert (ran.code, told["outcome"], told["applied"], told["pending"]) == (3, "rolled_back", [], ["1", "2"]), ran.err
    assert "transactions of others since the backup" in told["error"]["state"]
    assert (content(shop), schema(shop)) == (before, was)
    assert application.failures == []
    assert {n for (n,) in shop.rows("select n from app.ledger")} == set(application.acknowledged)
    assert slots(shop) == []
    assert shop.rows("select status from automation.migration_log order by id") == [("failure",), ("rollback",)]
    assert shop.rows("select state from automation.runs") == [("rolled_back",)]
    (cli.migrations / "2_fails.sql").unlink()
    assert document(cli(*MIGRATE))["applied"] == ["1"]


# --- what comes back: as if the release had never been ---

TEXTS = {name: text.decode() for name, text in named(__file__, "slot_replay.sql").items()}
WRITES = TEXTS["writes"].splitlines()


def test_all_is_as_if_the_release_had_never_been(cli: Cli, shop: Database, new_database: Callable[[], Database]) -> None:
    without = new_database()
    for database in (shop, without):
        database.run("create extension if not exists citext with schema public", admin=True)
        database.run(TEXTS["world"])
    (cli.home / "autopilot.toml").write_text(SETTINGS)
    was = schema(shop)
    early = "update people set note = 'early', price = 1.25 where id = 20; update moved set old_name = 'early' where id = 1"
    with failing(cli, shop, TEXTS["release"], wait=False) as process:
        until(lambda: list(cli.backups.glob("*.json")), process)
        shop.run(early)
        until(lambda: at_the_failing_file(shop), process)
        for text in WRITES:
            shop.run(text)
        shop.run("update renamed set new_name = 'theirs' where id = 2; insert into renamed values (6, 'six')")
        ran = let_fail(shop, process)
    assert document(ran)["outcome"] == "rolled_back", ran.err
    for text in (early, *WRITES, "update moved set old_name = 'theirs' where id = 2; insert into moved values (6, 'six')"):
        without.run(text)
    without.run("refresh materialized view ages")
    assert schema(shop) == was
    found, wanted = shop.value(TEXTS["all_of_it"]), without.value(TEXTS["all_of_it"])
    for table in wanted:
        assert differences(found[table], wanted[table]) == [], table
    assert shop.value("select nextval('children_id_seq')") == without.value("select nextval('children_id_seq')")
    assert slots(shop) == []


def differences(found: Any, wanted: Any) -> list[Any]:
    """Of rows in order, what differs in each; all of it where their number does."""
    if not isinstance(found, list) or len(found) != len(wanted) or not isinstance(found[0], dict):
        return [] if found == wanted else [found, wanted]
    pairs = [({k: v for k, v in f.items() if w.get(k) != v}, {k: w[k] for k in w if f.get(k) != w[k]})
             for f, w in zip(found, wanted, strict=True)]  # fmt: skip
    return [pair for pair in pairs if pair != ({}, {})]


# --- the slot goes, however the release ends ---


def slots(database: Database) -> list[str]:
    return [
        name for (name,) in database.rows("select slot_name::text from pg_replication_slots where database = current_database()")
    ]


def test_after_a_release_that_went_well_the_slot_is_gone(cli: Cli, shop: Database) -> None:
    cli.write("1_lossy.sql", LOSSY)
    ran = cli(*MIGRATE)
    assert ran.code == 0, ran.err
    assert f"the replication slot autopilot_{document(ran)['run_id']}" in ran.err
    assert slots(shop) == []


def test_where_going_back_loses_nothing_the_slot_is_let_go_of_before_anything_is_applied(cli: Cli, shop: Database) -> None:
    (cli.home / "autopilot.toml").write_text('transaction = "file"\n')
    with failing(cli, shop) as process:
        assert slots(shop) == []
        ran = let_fail(shop, process)
    assert document(ran)["outcome"] == "rolled_back", ran.err
    assert "replication slot" not in ran.err


def test_a_release_that_only_adds_things_asks_for_no_slot(cli: Cli, shop: Database) -> None:
    shop.run(f"alter role {OWNER} noreplication", admin=True)
    cli.write("1_adds.sql", "create table new (id int);")
    ran = cli(*MIGRATE)
    assert (ran.code, "replication slot" in ran.err) == (0, False), ran.err


@pytest.mark.parametrize("signal_number", [signal.SIGINT, signal.SIGKILL])
def test_a_signal_takes_the_slot_with_it(cli: Cli, shop: Database, signal_number: signal.Signals) -> None:
    with failing(cli, shop) as process:
        assert len(slots(shop)) == 1
        process.send_signal(signal_number)
        ended(process)
    until(lambda: slots(shop) == [])


def test_what_a_dead_run_left_behind_a_pooler_the_next_drops_and_nobody_elses(cli: Cli, shop: Database) -> None:
    cli.write("1_a.sql", LOSSY)
    killed = cli(*MIGRATE, AUTOPILOT_TEST="1", AUTOPILOT_TEST_KILLPOINT="A6")
    assert killed.code == -signal.SIGKILL
    run = shop.value("select run_id from automation.runs")
    names = (f"autopilot_{run}", "autopilot_mine", "theirs")
    until(lambda: slots(shop) == [])
    for name in names:
        shop.rows("select pg_create_logical_replication_slot(%s, 'test_decoding')", name)
    try:
        ran = cli(*MIGRATE)
        assert (ran.code, sorted(slots(shop))) == (0, ["autopilot_mine", "theirs"]), ran.err
        assert f"the replication slot autopilot_{run} of a dead run is dropped" in ran.err
    finally:
        shop.rows("select pg_drop_replication_slot(slot_name) from pg_replication_slots where database = current_database()")


# --- where it cannot be, or would lose something after all: as ever, with a word about it ---

LOST = "Not undone by itself, because going back would lose data"


def stranded(cli: Cli, shop: Database, meanwhile: str, *, lossy: str = LOSSY) -> dict[str, Any]:
    """The error of a release that failed while somebody did `meanwhile`; what is in is untouched."""
    with failing(cli, shop, lossy) as process:
        shop.run(meanwhile)
        left = content(shop), schema(shop)
        ran = let_fail(shop, process)
    told = document(ran)
    assert (ran.code, told["outcome"], told["applied"], told["pending"]) == (4, "stranded", ["1"], ["2"]), ran.err
    assert LOST in told["error"]["state"]
    assert f"`autopilot rollback --to {told['run_id']} --accept-data-loss`" in told["error"]["hint"]
    assert (content(shop), schema(shop)) == left
    assert shop.value("select count(*) from pg_namespace where nspname ~ '__[qr]_'") == 0
    assert slots(shop) == []
    told["error"]["said"] = ran.err
    found: dict[str, Any] = told["error"]
    return found


NEW_ROW = LOSSY + "insert into users values (500, 'ours', '1');"
RETYPED = LOSSY + "alter table users alter age type int using 0; alter table old alter id type bigint;"
NO_PLACE = {
    "a key taken": (LOSSY, "insert into orders (id, note) values (95, 'theirs')", "public.orders: duplicate key"),
    "the release's own row": (NEW_ROW, "update users set name = 'theirs' where id = 500", "public.users: the row is not"),
    "a reference to it": (NEW_ROW, "insert into orders (user_id) values (500)", "foreign key"),
    "a new type": (RETYPED, "update users set age = 5 where id = 1", "public.users: the row is not"),
    "too large for the old type": (RETYPED, "insert into old values (5000000000)", "public.old: .*out of range"),
    "rows of the platform's": (LOSSY + "update plat.theirs set id = 2;", "select 1", "plat.theirs: the release wrote there"),
}


def test_what_has_no_place_is_told_table_by_table(cli: Cli, shop: Database) -> None:
    error = stranded(
        cli, shop, "update users set more = 'theirs' where id < 3; insert into new values (1); update old set what = 'theirs';"
        " create table theirs (a int); insert into theirs values (1)",
        lossy=f"{LOSSY} alter table users add column more text; create table new (id int);"
        " alter table old drop constraint old_pkey;",
    )  # fmt: skip
    for reason in (
        r"public.users: the column more .* is not there before the release \(2 changes\)", "public.theirs: the table is not",
        "public.new: the table is not there before the release", "public.old: nothing tells which row was changed",
    ):  # fmt: skip
        assert re.search(reason, error["state"]), error["state"]


@pytest.mark.parametrize("case", [
    c if c in {"a key taken", "a new type"} else pytest.param(c, marks=pytest.mark.faults) for c in NO_PLACE
])  # fmt: skip
def test_what_has_no_place_in_the_backup_is_for_a_person(cli: Cli, shop: Database, case: str) -> None:
    shop.run("create schema plat; create table plat.theirs (id int primary key); insert into plat.theirs values (1);"
             f" grant usage on schema plat to {OWNER}; grant select, update on plat.theirs to {OWNER}", admin=True)  # fmt: skip
    lossy, meanwhile, reason = NO_PLACE[case]
    error = stranded(cli, shop, meanwhile, lossy=lossy)
    assert re.search(reason, error["state"]), error["state"]


def test_a_role_that_may_not_replicate_is_told_why_there_is_no_slot(cli: Cli, shop: Database) -> None:
    shop.run(f"alter role {OWNER} noreplication", admin=True)
    error = stranded(cli, shop, "select 1")
    assert "the role may not replicate" in error["said"]
    assert "replication slot" not in error["state"]


def test_a_slot_that_held_too_much_is_no_way_back(cli: Cli, shop: Database) -> None:
    much = "create table wal (a int); " + "insert into wal values (1); select pg_switch_wal(); " * 7
    with psycopg.connect(shop.admin_url, autocommit=True) as admin, failing(cli, shop) as process:
        for statement in much.split("; ")[:-1]:
            admin.execute(statement.encode())
        admin.execute("checkpoint")
        ran = let_fail(shop, process)
    error = document(ran)["error"]
    assert (ran.code, LOST in error["state"]) == (4, True), ran.err
    assert "max_slot_wal_keep_size" in error["state"]
    assert slots(shop) == []


def test_unlogged_tables_are_named(cli: Cli, shop: Database) -> None:
    shop.run("create unlogged table counters (id int primary key)")
    assert "public.counters is an unlogged table" in stranded(cli, shop, "select 1")["said"]


def test_it_can_be_switched_off(cli: Cli, shop: Database) -> None:
    (cli.home / "autopilot.toml").write_text(SETTINGS + 'replay_slot = "off"\n')
    assert 'replay_slot = "off" is set' in stranded(cli, shop, "select 1")["said"]


@pytest.mark.faults
def test_a_slot_that_cannot_begin_in_time_holds_nothing_up(cli: Cli, shop: Database) -> None:
    with psycopg.connect(shop.admin_url) as other:
        other.execute("create table held (id int)")
        cli.write("1_lossy.sql", LOSSY)
        ran = cli(*MIGRATE)
    assert ran.code == 0, ran.err
    assert "somebody's transaction did not end in time for a slot to begin" in ran.err
    assert slots(shop) == []


# --- killed and cut ---

CONTENT_OF_ALL = "select (select jsonb_agg(to_jsonb(u) order by id) from users u), (select count(*) from orders)"
#: The points at which the backup is not yet in place, and the one at which it is.
POINTS = ("X1", "X2", "X3", "X4", "X5", "X6", "X7")


@pytest.mark.parametrize("point", [
    "X7", *(pytest.param(p, marks=pytest.mark.faults) for p in POINTS[:-1]),
])  # fmt: skip
def test_killed_on_the_way_one_database_answers_and_the_next_run_goes_on(cli: Cli, shop: Database, point: str) -> None:
    before = shop.rows(CONTENT_OF_ALL)
    with at_work(shop) as application:
        with failing(cli, shop, AUTOPILOT_TEST="1", AUTOPILOT_TEST_KILLPOINT=point) as process:
            released = shop.rows(CONTENT_OF_ALL)
            ran = let_fail(shop, process)
        assert ran.code == -signal.SIGKILL, ran.err
        until(lambda: slots(shop) == [])
        assert shop.rows(CONTENT_OF_ALL) == (before if point == "X7" else released)
        undone = shop.value("select count(*) from automation.applied_migrations") == 0
        assert undone is (point == "X7")
        (cli.migrations / "2_fails.sql").write_text("select 1;")
        again = cli(*MIGRATE)
        assert (again.code, document(again)["applied"]) == (0, ["1", "2"] if undone else ["2"]), again.err
    assert application.failures == []
    assert set(application.acknowledged) == {n for (n,) in shop.rows("select n from app.ledger")}
    assert shop.value("select count(*) from pg_namespace where nspname ~ '__r_'") == 0
    assert shop.rows("select run_id from automation.runs where state = 'running'") == []


CUTS = {
    "its first change is asked for": (b"pg_logical_slot_get_changes", "before", False),
    "its changes are told": (b"pg_logical_slot_get_changes", "after", False),
    "the tables are locked": (b"Autopilot quarantine {", "after", False),
    "the answer to COMMIT": (b"COMMIT", "after", True),
}


@pytest.mark.faults
@pytest.mark.parametrize("cut", CUTS)
def test_a_link_that_is_cut_on_the_way_leaves_one_database(cli: Cli, shop: Database, cut: str) -> None:
    text, when, undone = CUTS[cut]
    before = shop.rows(CONTENT_OF_ALL)
    begun = False

    def matches(message: Message) -> bool:
        nonlocal begun
        begun = begun or b"SET undone_at" in message.body
        return text in message.body and (begun or text != b"COMMIT")

    with proxied(shop.url, Fault(matches=matches, what="cut", when=when)) as proxy, at_work(shop) as application:  # type: ignore[arg-type]
        with failing(cli, shop, SUPABASE_DB_URL=proxy.url(shop.url)) as process:
            released = shop.rows(CONTENT_OF_ALL)
            ran = let_fail(shop, process)
        assert proxy.happened is not None
    assert shop.rows(CONTENT_OF_ALL) == (before if undone else released)
    assert (ran.code, document(ran)["outcome"]) == ((3, "rolled_back") if undone else (4, "stranded")), ran.err
    assert "did not expect" not in ran.err
    assert application.failures == []
    assert set(application.acknowledged) == {n for (n,) in shop.rows("select n from app.ledger")}
    until(lambda: slots(shop) == [])


# --- with other endings, roads and what was there before ---


def test_a_deploy_that_did_not_come_takes_it_back_too(cli: Cli, shop: Database) -> None:
    before, was = content(shop), schema(shop)
    cli.write("1_lossy.sql", LOSSY + "alter table users drop column age;")
    with at_work(shop) as application:
        ran = cli("migrate", "--json", "--commit", "0" * 40, NETLIFY_BUILD_HOOK="http://127.0.0.1:1/hook")
    told = document(ran)
    assert (ran.code, told["outcome"], told["error"]["code"]) == (3, "rolled_back", "deploy_not_triggered"), ran.err
    assert (content(shop), schema(shop)) == (before, was)
    assert {n for (n,) in shop.rows("select n from app.ledger")} == set(application.acknowledged)
    assert slots(shop) == []


def test_an_earlier_release_can_still_be_undone_afterwards(cli: Cli, shop: Database) -> None:
    first = content(shop), schema(shop)
    (cli.home / "autopilot.toml").write_text("")
    cli.write("0_first.sql", "alter table users drop column age; update orders set note = 'n'; drop table old;"
              " create function f() returns int language sql as 'select 1';")  # fmt: skip
    ran = cli(*MIGRATE)
    assert ran.code == 0, ran.err
    (cli.home / "autopilot.toml").write_text(UNREHEARSED)
    with failing(
        cli, shop, "update users set name = 'x'; drop function f(); drop view names; create table more (id int);"
    ) as process:
        shop.run("insert into users values (600, 'theirs')")
        ran = let_fail(shop, process)
    assert document(ran)["outcome"] == "rolled_back", ran.err
    assert shop.value("select name from users where id = 600") == "theirs"
    assert shop.value("select f()") == 1
    shop.run("delete from users where id = 600")
    (cli.migrations / "1_lossy.sql").unlink()
    (cli.migrations / "2_fails.sql").unlink()
    back = cli("rollback", "--json")
    assert (back.code, document(back)["undone"]) == (0, ["0"]), back.err
    assert (content(shop), schema(shop)) == first
    assert shop.value("select count(*) from pg_proc where proname = 'f'") == 0


@needs_bouncer
def test_behind_a_session_pooler_the_slot_is_dropped_by_the_run(cli: Cli, shop: Database, server: EmbeddedServer) -> None:
    before = content(shop)
    with pgbouncer(shop, server, pool_mode="session") as url:
        with failing(cli, shop, SUPABASE_DB_URL=url.reveal()) as process:
            assert shop.rows("select temporary, active_pid from pg_replication_slots where database = current_database()") == [
                (False, None)
            ]
            shop.run("insert into app.ledger (n) values (1)")
            ran = let_fail(shop, process)
        assert document(ran)["outcome"] == "rolled_back", ran.err
        assert (content(shop), slots(shop)) == (before, [])
        assert shop.value("select count(*) from app.ledger") == 1
        with failing(cli, shop, SUPABASE_DB_URL=url.reveal()) as process:
            process.kill()
            ended(process)
        assert len(slots(shop)) == 1
        (cli.migrations / "2_fails.sql").write_text("select 1;")
        again = cli(*MIGRATE, SUPABASE_DB_URL=url.reveal())
        assert (again.code, slots(shop)) == (0, []), again.err
