"""What a rehearsal saw of each statement, and what is foretold from it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.conftest import Cli, Database

from autopilot.migrations.forecast import DURABILITY, Blocked, Pace, forecast
from autopilot.migrations.locks import Lock
from autopilot.migrations.observed import Observed, Transaction

SCENE = """
create table users (id int primary key, name text, age text);
insert into users select i, 'user ' || i, '7' from generate_series(1, 2000) i;
create table orders (id int primary key, user_id int);
insert into orders select i, i from generate_series(1, 500) i;
create table log (at timestamptz default now(), what text);
create function noted() returns trigger language plpgsql as $$ begin insert into log (what) values (new.name); return new; end $$;
create trigger noted after update on users for each row execute function noted();
"""


def rehearsed(cli: Cli, *more: str) -> dict[str, Any]:
    ran = cli("migrate", "--no-deploy", "--json", *more)
    assert ran.code == 0, ran.err
    found = json.loads(ran.out)["rehearsal"]
    assert isinstance(found, dict)
    return found


def statement(found: dict[str, Any], begins: str) -> dict[str, Any]:
    [one] = [s for s in found["statements"] if s["statement"].startswith(begins)]
    assert isinstance(one, dict)
    return one


def test_each_statement_tells_its_duration_locks_rewrites_and_rows(cli: Cli, database: Database) -> None:
    database.run(SCENE)
    cli.write(
        "1_a.sql",
        "alter table users add column email text;\n\n-- rows\nupdate users set email = 'x' where id <= 100;\n"
        "alter table users alter column age type int using age::int;\ndelete from orders where id > 400;\n"
        "select pg_sleep(0.2);\ncreate table new (id int);\ninsert into new select generate_series(1, 10);\n",
    )
    found = rehearsed(cli)
    assert [s["line"] for s in found["statements"]] == [1, 4, 5, 6, 7, 8, 9]
    assert all(s["file"] == "1_a.sql" for s in found["statements"])
    assert statement(found, "alter table users add")["locks"] == [{"relation": "users", "mode": "ACCESS EXCLUSIVE"}]
    updated = statement(found, "update users")
    assert {(r["relation"], r["inserted"], r["updated"], r["deleted"]) for r in updated["rows"]} == {
        ("users", 0, 100, 0), ("log", 100, 0, 0)
    }  # fmt: skip
    assert updated["rewrites"] == []
    assert statement(found, "alter table users alter")["rewrites"] == ["users"]
    assert statement(found, "delete")["rows"] == [{"relation": "orders", "inserted": 0, "updated": 0, "deleted": 100}]
    assert statement(found, "select pg_sleep")["duration_ms"] >= 200
    assert statement(found, "insert into new")["rows"] == []
    assert {t["relation"]: (t["inserted"], t["updated"], t["deleted"]) for t in found["touched"]} == {
        "users": (0, 100, 0), "log": (100, 0, 0), "orders": (0, 0, 100)
    }  # fmt: skip


def test_truncate_is_seen_though_it_counts_no_rows(cli: Cli, database: Database) -> None:
    database.run(SCENE)
    cli.write("1_a.sql", "truncate orders;")
    found = rehearsed(cli)
    assert statement(found, "truncate")["rewrites"] == ["orders"]
    assert [t["relation"] for t in found["touched"]] == ["orders"]


def ran(duration_ms: float, *locks: Lock, writes: bool = False) -> Observed:
    rewritten = ("users",) if writes else ()
    return Observed(
        version="1", file="1_a.sql", line=1, number=0, statement="…", duration_ms=duration_ms, locks=locks, rewritten=rewritten
    )


ALTERED, WRITTEN = Lock(relation="orders", mode="ACCESS EXCLUSIVE"), Lock(relation="users", mode="ROW EXCLUSIVE")


def test_a_lock_is_foretold_from_the_statement_that_takes_it_to_the_commit() -> None:
    one = Transaction(statements=(ran(300.3), ran(0.3 + 10, ALTERED), ran(500.3), ran(20.3, WRITTEN, writes=True)))
    found = forecast([one], Pace(ratio=2.0, trip_ms=5.0))
    assert found.blocked == (
        Blocked(relation="orders", mode="ACCESS EXCLUSIVE", duration_ms=2 * (10 + 500 + 20 * DURABILITY) + 5),
    )
    assert found.duration_ms == 2 * (300 + 10 + 500 + 20 * DURABILITY) + 2 * 5


def test_of_transactions_one_after_the_other_the_longest_lock_is_told() -> None:
    first, second = (
        Transaction(statements=(ran(10.3, ALTERED), ran(40.3))),
        Transaction(statements=(ran(1000.3), ran(1.3, ALTERED))),
    )
    found = forecast([first, second], Pace())
    assert [(b.relation, b.duration_ms) for b in found.blocked] == [("orders", 50.0)]
    assert found.duration_ms == 1051.0


def test_what_is_locked_for_more_than_rows_is_told_with_who_waits(cli: Cli, database: Database) -> None:
    """Rows that are kept for the way back are kept by triggers: making them keeps writers waiting."""
    database.run(SCENE)
    cli.write("1_a.sql", "alter table orders add column a int;\nselect pg_sleep(0.5);\nupdate users set age = '8';")
    assert {(b["relation"], b["mode"], b["keeps_waiting"]) for b in rehearsed(cli)["blocked"]} == {
        ("orders", "ACCESS EXCLUSIVE", "reads and writes"),
        ("users", "SHARE ROW EXCLUSIVE", "writes"), ("log", "SHARE ROW EXCLUSIVE", "writes"),
    }  # fmt: skip


def test_files_that_commit_one_by_one_hold_their_locks_one_by_one(cli: Cli, database: Database) -> None:
    database.run(SCENE)
    (cli.home / "autopilot.toml").write_text('transaction = "file"\n')
    cli.write("1_a.sql", "alter table orders add column a int;\nupdate orders set a = 1 where id < 11;")
    cli.write("2_b.sql", "update orders set a = 2 where id < 6;")
    found = rehearsed(cli)
    [blocked] = found["blocked"]
    assert (blocked["relation"], blocked["mode"]) == ("orders", "ACCESS EXCLUSIVE")
    assert [s["rows"] for s in found["statements"] if s["statement"].startswith("update")] == [
        [{"relation": "orders", "inserted": 0, "updated": 10, "deleted": 0}],
        [{"relation": "orders", "inserted": 0, "updated": 5, "deleted": 0}],
    ]


def test_a_statement_that_stands_alone_is_timed_too(cli: Cli, database: Database) -> None:
    database.run(SCENE)
    cli.write(
        "1_a.sql", "alter table users add column a int;\ncreate index concurrently users_name on users (name);\nvacuum users;"
    )
    found = rehearsed(cli)
    assert [s["line"] for s in found["statements"]] == [1, 2, 3]
    assert statement(found, "create index")["locks"] == [{"relation": "users", "mode": "SHARE UPDATE EXCLUSIVE"}]
    assert [b["relation"] for b in found["blocked"]] == ["users"]


def test_what_is_deferred_is_counted_at_the_end_of_its_file(cli: Cli, database: Database) -> None:
    database.run(
        SCENE + "create function late() returns trigger language plpgsql as $$ begin perform pg_sleep(0.2);"
        " delete from log; return null; end $$;"
        "create constraint trigger late after insert on orders deferrable initially deferred"
        " for each row execute function late();"
        "insert into log (what) values ('a');"
    )
    cli.write("1_a.sql", "insert into orders values (1000, 1);\n")
    found = rehearsed(cli)
    late = found["statements"][-1]
    assert late["line"] is None
    assert late["duration_ms"] >= 200
    assert late["rows"] == [{"relation": "log", "inserted": 0, "updated": 0, "deleted": 1}]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("create table a (id int);\n\ninsert into a values (1);\nselect 1\n  / 0;\n", 4),
        ("create table a (id int);\n/* ; */ insert into a values (1); -- é\n\nselect nothing\nfrom a;", 4),
        ("create table a (id int); create table b (id int);\nalter table a add check (id > 0);\nselect missing();", 3),
    ],
)  # fmt: skip
def test_between_looks_an_error_still_names_its_line(cli: Cli, text: str, line: int) -> None:
    cli.write("1_a.sql", text)
    ran = cli("migrate", "--no-deploy", "--json")
    assert ran.code == 1
    assert json.loads(ran.out)["error"]["code"] == "refused_in_rehearsal"
    assert json.loads(ran.out)["error"]["line"] == line


def test_looks_do_not_disturb_copy_savepoints_and_comments(cli: Cli, database: Database) -> None:
    cli.write(
        "1_a.sql",
        "create table a (id int, t text);\ncopy a from stdin;\n1\tone\n2\ttwo\n\\.\n-- between; really\nsavepoint s;\n"
        "insert into a values (3, 'it''s; so');\nrollback to s;\nrelease s /* last */ -- one",
    )
    rehearsed(cli)
    assert database.rows("select id, t from a order by id") == [(1, "one"), (2, "two")]


def test_the_release_says_what_it_foretells(cli: Cli, database: Database) -> None:
    database.run(SCENE)
    cli.write("1_a.sql", "alter table users add column a int;\nselect pg_sleep(0.4);")
    ran = cli("migrate", "--no-deploy")
    assert ran.code == 0, ran.err
    assert "Locks users in ACCESS EXCLUSIVE mode: reads and writes wait while it is held, about " in ran.err
    assert "Predicted for production: about " in ran.err


def test_what_was_rehearsed_is_kept_and_plan_knows_it(cli: Cli, database: Database) -> None:
    database.run(SCENE)
    cli.write("1_a.sql", "select pg_sleep(0.3);\nalter table users add column a int;\nselect pg_sleep(0.4);")
    assert json.loads(cli("plan", "--json").out)["pending"][0]["rehearsed_at"] is None
    assert cli("migrate", "--no-deploy", AUTOPILOT_TEST="1", AUTOPILOT_TEST_KILLPOINT="R4:1").code == -9
    [planned] = json.loads(cli("plan", "--json").out)["pending"]
    assert planned["rehearsed_at"] is not None
    assert planned["predicted_ms"] > planned["blocked"][0]["duration_ms"] > 0
    shown = cli("plan").out
    assert "(rehearsed 20" in shown
    assert "keeps reads and writes of users waiting for about " in shown
    cli.write("1_a.sql", "alter table users add column a int;\nselect pg_sleep(0.4); -- another text")
    assert json.loads(cli("plan", "--json").out)["pending"][0]["rehearsed_at"] is None


def test_without_a_rehearsal_plan_guesses_from_sizes(cli: Cli, database: Database) -> None:
    database.run(
        "create table big (id int, t text); insert into big select i, repeat('x', 100) from generate_series(1, 100000) i;"
    )
    cli.write("1_a.sql", "create index on big (id);\nalter table big alter column id type bigint;\ncreate table new (id int);")
    found = json.loads(cli("plan", "--json").out)["pending"][0]
    assert found["predicted_ms"] > 100
    assert [b["relation"] for b in found["blocked"]] == ["big"]
    assert "(guessed from the size of its tables)" in cli("plan").out


def test_plan_can_rehearse_without_a_release(cli: Cli, database: Database) -> None:
    database.run(SCENE)
    cli.write("1_a.sql", "alter table users add column a int;\nselect pg_sleep(0.4);")
    cli.write("2_b.sql", "-- autopilot:after-deploy\nalter table orders drop column user_id;")
    before = database.value("select count(*) from pg_class")
    ran = cli("plan", "--rehearse", "--json")
    assert ran.code == 0, ran.err
    first, second = json.loads(ran.out)["pending"]
    assert first["rehearsed_at"] is not None
    assert first["blocked"][0]["relation"] == "users"
    assert second["blocked"][0]["relation"] == "orders"
    assert "rehearse" in ran.err
    assert database.value("select count(*) from pg_class") == before, "the target was only read"
    assert not list(cli.backups.glob("*"))


def test_plan_that_rehearses_names_what_fails_on_the_copy(cli: Cli, database: Database) -> None:
    database.run(SCENE)
    cli.write("1_a.sql", "alter table users add constraint grown check (age::int > 7);")
    assert cli("plan").code == 0, "its text shows nothing wrong"
    ran = cli("plan", "--rehearse", "--json")
    assert ran.code == 1
    assert json.loads(ran.out)["error"]["code"] == "refused_in_rehearsal"
    assert "1_a.sql:1" in ran.err
