"""Files as people really write them: run as psql would run them, once, and recorded."""

from __future__ import annotations

import threading
import time

import psycopg
import pytest
from tests.conftest import Cli, Database


def migrated(cli: Cli, *options: str) -> str:
    ran = cli("migrate", "--no-backup", "--yes-destroy-data", *options)
    assert ran.code == 0, ran.err
    return ran.err


def test_rows_that_follow_a_copy_arrive_and_the_statements_after_it_run(cli: Cli, database: Database) -> None:
    rows = "".join(f"{n}\tname {n}; 'quoted' $$ \\\\ é\n" for n in range(5000))
    cli.write(
        "1_dump.sql",
        f"create table people (id int, name text);\nCOPY people (id, name) FROM stdin;\n{rows}\\.\n\n"
        "create table empty_one (a int);\ncopy empty_one from stdin;\n\\.\nalter table people add primary key (id);\n",
    )
    migrated(cli)
    assert database.value("select count(*) from people") == 5000
    assert database.value("select name from people where id = 7") == "name 7; 'quoted' $$ \\ é"
    assert database.value("select count(*) from pg_constraint where conrelid = 'people'::regclass and contype = 'p'") == 1


def test_a_copy_row_that_does_not_fit_is_told_with_the_line_of_its_copy(cli: Cli, database: Database) -> None:
    cli.write("1_dump.sql", "create table people (id int);\n\nCOPY people FROM stdin;\n1\nnot a number\n\\.\n")
    ran = cli("migrate", "--no-backup")
    assert ran.code == 3
    assert "1_dump.sql:3" in ran.err
    assert 'invalid input syntax for type integer: "not a number"' in ran.err
    assert database.value("select to_regclass('people') is null")


def test_an_enum_value_that_is_added_and_used_in_one_file_is_committed_in_between(cli: Cli, database: Database) -> None:
    cli.write("1_mood.sql", "create type mood as enum ('sad');\ncreate table diary (day date, mood mood);\n")
    migrated(cli)
    cli.write(
        "2_happy.sql",
        "alter type mood add value 'happy';\nalter type mood add value 'so so';\ninsert into diary values (now(), 'happy');\n"
        "insert into diary values (now(), 'so so');\n",
    )
    migrated(cli)
    assert database.value("select count(*) from diary") == 2
    assert database.value("select segments from automation.applied_migrations where version = '2'") == 2
    assert database.value("select count(*) from automation.applied_migrations where version = '2'") == 1


def test_settings_last_to_the_end_of_the_file_and_no_further(cli: Cli, database: Database) -> None:
    cli.write(
        "1_settings.sql",
        "create schema shop;\nset search_path = shop;\ncreate table goods (id int);\n"
        "create index concurrently goods_id on goods (id);\ncreate table orders (id int);\n",
    )
    cli.write("2_after.sql", "create table outside (id int);\nselect set_config('search_path', '', false);\n")
    cli.write("3_later.sql", "create table later (id int);\n")
    migrated(cli)
    names = "('goods', 'orders', 'outside', 'later')"
    assert database.rows(f"select oid::regclass::text from pg_class where relname in {names} order by 1") == [
        ("later",), ("outside",), ("shop.goods",), ("shop.orders",),
    ]  # fmt: skip


def test_a_role_taken_by_the_file_holds_for_its_later_parts_and_the_ledger_is_still_written(cli: Cli, database: Database) -> None:
    database.run("do $$ begin create role worker; exception when duplicate_object then null; end $$", admin=True)
    database.run("grant worker to lms_owner; grant create on schema public to worker", admin=True)
    cli.write(
        "1_as_worker.sql",
        "set role worker;\ncreate table by_worker (id int);\ncreate index concurrently on by_worker (id);\n"
        "create table also_by_worker (id int);\n",
    )
    migrated(cli)
    owners = database.rows("select relowner::regrole::text from pg_class where relname in ('by_worker', 'also_by_worker')")
    assert owners == [("worker",), ("worker",)]
    assert database.value("select count(*) from automation.applied_migrations") == 1


def test_a_procedure_that_commits_runs_by_itself(cli: Cli, database: Database) -> None:
    cli.write(
        "1_batches.sql",
        "create table work (id int, done boolean default false);\ninsert into work select generate_series(1, 100);\n"
        "create procedure finish() language plpgsql as $$ begin for i in 1..10 loop\n"
        "  update work set done = true where id % 10 = i - 1; commit; end loop; end $$;\n"
        "call finish();\ncreate table after_it (id int);\ndo $$ begin insert into after_it values (1); commit; end $$;\n",
    )
    migrated(cli)
    assert database.value("select count(*) from work where done") == 100
    assert database.value("select count(*) from after_it") == 1
    assert database.value("select segments from automation.applied_migrations") == 4


def test_a_procedure_that_commits_does_not_keep_the_other_files_of_the_push_from_going_in(cli: Cli, database: Database) -> None:
    cli.write("1_before.sql", "create table before_it (id int);\n")
    cli.write("2_do.sql", "create table w (id int);\ndo $$ begin insert into w values (1); commit; end $$;\n")
    cli.write("3_after.sql", "create table after_it (id int);\n")
    migrated(cli)
    assert [row[0] for row in database.rows("select version from automation.applied_migrations order by version")] == [
        "1",
        "2",
        "3",
    ]
    assert database.value("select count(*) from w") == 1


def test_whoever_holds_the_table_is_named(cli: Cli, database: Database) -> None:
    database.run("create table busy (id int)")
    cli.write("1_alter.sql", "create table fine (id int);\nalter table busy add column more int;\n")
    (cli.home / "autopilot.toml").write_text("lock_timeout_s = 1.5\nlock_tries = 2\n")
    with psycopg.connect(database.url, application_name="night report") as reader:
        reader.execute("select * from busy")
        ran = cli("migrate", "--no-backup")
    assert ran.code == 3
    assert "1_alter.sql:2" in ran.err
    assert "tried 2 times" in ran.err
    assert "application night report" in ran.err
    assert "select * from busy" in ran.err
    assert database.value("select to_regclass('fine') is null")


def test_a_migration_waits_for_a_lock_without_standing_in_the_way_of_readers(cli: Cli, database: Database) -> None:
    database.run("create table busy (id int)")
    cli.write("1_alter.sql", "alter table busy add column more int;\n")
    (cli.home / "autopilot.toml").write_text("lock_timeout_s = 0.5\nlock_tries = 30\n")
    waits: list[float] = []
    over = threading.Event()

    def probe() -> None:
        with psycopg.connect(database.url, autocommit=True) as connection:
            while not over.wait(0.05):
                begun = time.monotonic()
                connection.execute("select count(*) from busy")
                waits.append(time.monotonic() - begun)

    thread = threading.Thread(target=probe)
    with psycopg.connect(database.url) as holder:
        holder.execute("select * from busy")
        thread.start()
        process = cli.start("migrate", "--no-backup")
        time.sleep(5)
        holder.rollback()
    with process:
        process.communicate(timeout=60)
    assert process.returncode == 0
    over.set()
    thread.join()
    assert database.value("select count(*) from pg_attribute where attrelid = 'busy'::regclass and attname = 'more'") == 1
    assert len([w for w in waits if w > 3.0]) == 0, max(waits)  # lock_timeout + a wide margin: hung readers would wait 5 s


@pytest.mark.parametrize("setting", ["push", "file"])
def test_what_commits_together_can_be_forced(cli: Cli, database: Database, setting: str) -> None:
    (cli.home / "autopilot.toml").write_text(f'transaction = "{setting}"\n')
    cli.write("1_a.sql", "create table a (id int);\n")
    cli.write("2_b.sql", "create table b (id int);\nselect 1 / 0;\n")
    ran = cli("migrate", "--no-backup")
    assert ran.code == (3 if setting == "push" else 4)
    assert database.value("select to_regclass('a') is null") is (setting == "push")
    assert "2_b.sql:2" in ran.err


def test_a_push_that_can_never_share_a_transaction_is_refused_when_that_is_asked(cli: Cli, database: Database) -> None:
    (cli.home / "autopilot.toml").write_text('transaction = "push"\n')
    cli.write("1_a.sql", "create table a (id int);\n")
    cli.write("2_b.sql", "vacuum;\n")
    ran = cli("migrate", "--no-backup")
    assert ran.code == 1
    assert "2_b.sql" in ran.err
    assert database.value("select to_regclass('automation.runs') is null")


def test_a_statement_that_swallows_every_cancel_is_ended_at_its_deadline(cli: Cli, database: Database) -> None:
    (cli.home / "autopilot.toml").write_text("apply_timeout_s = 2\n")
    cli.write(
        "1_stubborn.sql",
        "create table t (id int);\ndo $$ begin loop begin perform pg_sleep(60);"
        " exception when query_canceled then null; end; end loop; end $$;\n",
    )
    ran = cli("migrate", "--no-backup")
    assert ran.code == 3
    assert "too long" in ran.err
    assert database.value("select to_regclass('t') is null")
    assert (
        database.value(
            "select count(*) from pg_stat_activity where application_name like 'autopilot%%' and datname = %s", database.name
        )
        == 0
    )
