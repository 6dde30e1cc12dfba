"""The routes beyond undo: rows merged from the release's backup, and a backup in the place of everything. By the command line."""

from __future__ import annotations

import json
import signal
from dataclasses import replace
from typing import Any

import psycopg
import pytest
from tests.conftest import Cli, Database, Ran
from tests.oracle import NET_S, ended, started, until
from tests.test_rollback_faults import SESSIONS, in_ledger
from tests.wireproxy import WRITES, Fault, What, When, of, proxied

from autopilot.errors import Refused
from autopilot.rollback.route import choose
from autopilot.rollback.routes.facts import Key
from autopilot.rollback.routes.route import Route

SCENE = """
create table users (id int primary key, name text not null, age int not null);
insert into users select i, 'user ' || i, i % 90 from generate_series(1, 200) i;
create table orders (id serial primary key, user_id int references users, note text);
insert into orders (user_id, note) select i, 'order ' || i from generate_series(1, 100) i;
create table old (id int primary key, user_id int references users, what text);
insert into old values (1, 1, 'one'), (2, 2, 'two');
"""
DESTROYS = (
    "alter table users drop column age; update orders set note = upper(note) where id <= 40; delete from orders where id > 90;"
    " drop table old; create table new (id int primary key, user_id int references users);"
)
SINCE = """
insert into users values (1000, 'since'); update users set name = 'hers' where id = 7;
insert into orders (user_id, note) values (1000, 'since'); update orders set note = 'theirs' where id = 3;
insert into new values (1, 1);
"""
ROWS = (
    "select (select jsonb_agg(to_jsonb(u) order by id) from users u), (select jsonb_agg(to_jsonb(o) order by id) from orders o)"
)


def document(ran: Ran) -> Any:
    return json.loads(ran.out)


def released(cli: Cli, name: str, text: str, *more: str) -> dict[str, Any]:
    cli.write(name, text)
    ran = cli("migrate", "--no-deploy", "--json", "--yes-destroy-data", *more)
    assert ran.code == 0, ran.err
    found: dict[str, Any] = document(ran)
    return found


def emptied(cli: Cli) -> None:
    assert cli("trash", "empty", "--older-than", "0", "--yes").code == 0


def routes(cli: Cli, *arguments: str) -> dict[str | None, dict[str, Any]]:
    ran = cli("rollback", "--plan", "--json", *arguments)
    assert ran.code == 0, ran.err
    return {route["route"] or route["name"]: route for route in document(ran)["routes"]}


def refused(ran: Ran) -> dict[str, Any]:
    assert ran.code == 1, ran.err
    found: dict[str, Any] = document(ran)["error"]
    return found


# --- the choice, pure ---

KEYS: tuple[Key, ...] = ("undo", "merge", "restore")


def known(*states: str) -> list[Route]:
    """Undo, merge and restore, each "free", "loses", "no" or "-" (not there)."""
    return [
        Route(
            name=f"by {key}", how="by_command", text="", key=key, command=f"autopilot rollback --route {key}",
            why_not=("it cannot",) if state == "no" else (), would_lose=() if state == "free" else (f"{key} loses",),
        )
        for key, state in zip(KEYS, states, strict=True)
        if state != "-"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("there", "wanted", "accepting", "taken"),
    [
        (("free", "no", "loses"), None, False, "undo"),
        (("free", "no", "loses"), None, True, "undo"),
        (("loses", "loses", "loses"), None, True, "merge"),
        (("loses", "no", "loses"), None, True, "undo"),
        (("no", "no", "loses"), None, True, "restore"),
        (("free", "no", "loses"), "restore", True, "restore"),
        (("loses", "no", "no"), None, False, "would_lose_data: autopilot rollback --route undo --accept-data-loss"),
        (("loses", "loses", "no"), None, False, "would_lose_data: autopilot rollback --route merge --accept-data-loss"),
        (("no", "no", "loses"), None, False, "no_way_back_recorded: autopilot rollback --route restore --accept-data-loss"),
        (("no", "no", "no"), None, True, "no_way_back_recorded: point-in-time recovery"),
        (("-", "-", "loses"), None, False, "would_lose_data: autopilot rollback --route restore --accept-data-loss"),
        (("-", "-", "-"), None, True, "no_route: point-in-time recovery"),
        (("free", "no", "loses"), "restore", False, "would_lose_data: autopilot rollback --route restore --accept-data-loss"),
        (("free", "no", "loses"), "merge", True, "no_route: autopilot rollback --route undo"),
        (("-", "-", "loses"), "undo", True, "no_route: autopilot rollback --route restore"),
    ],
)
def test_the_cheapest_that_loses_nothing_is_taken_else_the_next_is_named(
    there: tuple[str, str, str], wanted: Any, accepting: bool, taken: str
) -> None:
    if ":" not in taken:
        assert choose(known(*there), wanted=wanted, accept_loss=accepting).key == taken
        return
    with pytest.raises(Refused) as cause:
        choose(known(*there), wanted=wanted, accept_loss=accepting)
    code, _, clue = taken.partition(": ")
    assert (cause.value.code, clue in cause.value.hint) == (code, True), cause.value.hint


def test_what_is_in_the_way_is_the_reason_that_is_told() -> None:
    blocked = [replace(route, why_not=("in the way: a view",)) for route in known("no", "no", "no")]
    with pytest.raises(Refused, match="in the way: a view"):
        choose(blocked, wanted=None, accept_loss=True)


# --- merge ---


def test_what_the_trash_lost_comes_from_the_releases_backup_and_what_users_wrote_stays(cli: Cli, database: Database) -> None:
    database.run(SCENE)
    run = released(cli, "1_a.sql", DESTROYS)["run_id"]
    database.run(SINCE)
    emptied(cli)
    told = refused(cli("rollback", "--json"))
    assert (told["code"], "autopilot rollback --route merge --accept-data-loss" in told["hint"]) == ("would_lose_data", True)
    merge = routes(cli)["merge"]
    assert "column public.users.age, table public.old, rows of public.orders" in merge["text"]
    assert merge["possible"]
    ran = cli("rollback", "--accept-data-loss", "--json")
    assert ran.code == 0, ran.err
    done = document(ran)
    assert (done["route"], done["undone"], done["runs"]) == ("merge", ["1"], [run])
    assert "Taking the route merge" in ran.err
    assert database.value("select count(*) from users where age = id % 90") == 200
    assert database.rows("select name from users where id in (7, 1000) order by id") == [("hers",), ("since",)]
    assert database.value("select count(*) from orders where note = 'order ' || id and id <> 3") == 99
    assert database.rows("select note from orders where id = 3 or user_id = 1000 order by 1") == [("since",), ("theirs",)]
    assert database.rows("select * from old order by id") == [(1, 1, "one"), (2, 2, "two")]
    assert in_ledger(database) == []
    notes = database.value("select notes from automation.migration_log where status = 'rollback'")
    assert "Route: merge." in notes


def test_rows_that_were_never_kept_come_from_the_backup_too(cli: Cli, database: Database) -> None:
    database.run(SCENE)
    (cli.home / "autopilot.toml").write_text('keep_rows = "off"\n')
    released(cli, "1_a.sql", "update users set name = upper(name), age = 0; insert into users values (500, 'by the release', 1);")
    database.run("update users set age = 33 where id = 7;")
    assert cli("rollback", "--route", "merge", "--accept-data-loss").code == 0
    assert database.value("select count(*) from users where name = 'user ' || id and age = id % 90") == 199
    assert database.rows("select name, age from users where id = 7 or id > 200") == [("USER 7", 33)], "theirs stays whole"


def test_a_backup_that_is_gone_leaves_undo_with_its_loss(cli: Cli, database: Database) -> None:
    database.run(SCENE)
    released(cli, "1_a.sql", DESTROYS)
    emptied(cli)
    for path in cli.backups.iterdir():
        path.unlink()
    found = routes(cli)
    assert [found[key]["possible"] for key in ("undo", "merge", "restore")] == [True, False, False]
    assert "is not here" in found["merge"]["why_not"][0]
    assert "there is no older good one" in found["restore"]["why_not"][0]
    assert "--route undo --accept-data-loss" in refused(cli("rollback", "--json"))["hint"]
    assert refused(cli("rollback", "--route", "merge", "--accept-data-loss", "--json"))["code"] == "no_route"
    ran = cli("rollback", "--accept-data-loss", "--json")
    assert (ran.code, document(ran)["route"]) == (0, "undo"), ran.err


def test_where_the_trash_keeps_everything_there_is_nothing_to_merge(cli: Cli, database: Database) -> None:
    database.run(SCENE)
    released(cli, "1_a.sql", DESTROYS)
    told = refused(cli("rollback", "--route", "merge", "--json", "--accept-data-loss"))
    assert (told["code"], "the trash keeps all of it" in told["message"]) == ("no_route", True)


# --- restore ---


@pytest.mark.parametrize(
    "stage", [pytest.param((), id="in place"), pytest.param(("--staged",), id="staged", marks=pytest.mark.faults)]
)
def test_a_backup_takes_the_place_of_everything_and_what_was_written_since_is_salvaged(
    cli: Cli, database: Database, stage: tuple[str, ...]
) -> None:
    database.run(SCENE)
    released(cli, "0_before.sql", "update orders set note = 'n' where id = 50;")
    was = database.rows(ROWS)
    second = released(cli, "1_a.sql", "alter table users alter column age drop not null; drop table old; delete from orders;")
    database.run("insert into users values (1000, 'since', 5); insert into orders (user_id, note) values (1000, 'since');")
    database.run("update users set name = 'hers' where id = 7;")
    assert refused(cli("rollback", "--route", "restore", "--json"))["code"] == "would_lose_data"
    ran = cli("rollback", "--route", "restore", *stage, "--accept-data-loss", "--json")
    assert ran.code == 0, ran.err
    done = document(ran)
    assert (done["route"], done["undone"], done["backup_file"]) == ("restore", ["1"], second["backup"]["file"])
    assert database.rows(ROWS) == was
    assert in_ledger(database) == ["0"]
    status, versions, notes, run = database.rows(
        "select status, versions, notes, run_id from automation.migration_log order by id desc limit 1"
    )[0]
    assert (status, versions, run) == ("rollback", ["1"], done["run_id"])
    assert "Route: restore." in notes
    assert f"public__q_{done['quarantine']}" in notes
    token = done["quarantine"]
    shown = cli("salvage", "list").out
    assert f"{token}  public lies in public__q_{token}: " in shown
    assert "KiB" in shown
    assert "public.users: 1 new since the backup, 1 changed since" in cli("salvage", "list", token).out
    brought = cli("salvage", "apply", token)
    assert (brought.code, "public.users: 1 row brought over" in brought.out) == (0, True), brought.err
    assert database.value("select count(*) from orders where note = 'since'") == 1
    gone = cli("salvage", "drop", token, "--yes")
    assert (gone.code, "Removed for good." in gone.out) == (0, True), gone.err
    undone = cli("rollback", "--json")
    assert (undone.code, document(undone)["undone"]) == (0, ["0"]), undone.err
    assert database.value("select note from orders where id = 50") == "order 50", "an older release is undone all the same"


def test_an_older_release_is_undone_while_the_quarantine_is_still_there(cli: Cli, database: Database) -> None:
    database.run(SCENE)
    released(
        cli, "0_before.sql",
        "create view names as select name from users; create index by_note on orders (note); update users set age = 1;"
        " drop table old; alter table orders add column more text;",
    )  # fmt: skip
    released(
        cli, "1_a.sql", "alter table orders drop column note cascade; create function f() returns int language sql as 'select 1';"
    )
    assert cli("rollback", "--route", "restore", "--accept-data-loss").code == 0
    ran = cli("rollback", "--json")
    assert ran.code == 0, ran.err
    assert database.value("select count(*) from users where age = id % 90") == 200
    assert database.rows("select * from old order by id") == [(1, 1, "one"), (2, 2, "two")]
    assert database.value("select to_regclass('public.names')") is None
    assert database.value("select count(*) from information_schema.columns where table_name = 'orders' and column_name = 'more'"
                          " and table_schema = 'public'") == 0  # fmt: skip
    assert database.value("select count(*) from pg_class c join pg_namespace n on n.oid = relnamespace"
                          " where relname = 'by_note' and nspname ~ '__q_'") == 0  # fmt: skip
    again = cli("migrate", "--no-deploy", "--json", "--yes-destroy-data")
    assert (again.code, document(again)["applied"]) == (0, ["0", "1"]), again.err


def test_without_a_record_of_before_the_restore_is_named_and_taken_when_told(cli: Cli, database: Database) -> None:
    database.run(SCENE)
    was = database.rows(ROWS)
    released(cli, "1_a.sql", DESTROYS)
    database.run("delete from automation.ways_back", admin=True)
    told = refused(cli("rollback", "--json"))
    assert (told["code"], "autopilot rollback --route restore --accept-data-loss" in told["hint"]) == (
        "no_way_back_recorded",
        True,
    )
    assert "goes to quarantine" in told["hint"]
    ran = cli("rollback", "--accept-data-loss")
    assert (ran.code, "autopilot salvage list " in ran.out) == (0, True), ran.err
    assert "Taking the route restore" in ran.err
    assert database.rows(ROWS) == was
    assert in_ledger(database) == []


def test_what_stands_in_the_way_of_undoing_is_named_with_the_next_route(cli: Cli, database: Database) -> None:
    database.run(SCENE)
    released(cli, "1_a.sql", "alter table users add column email text;")
    database.run("create view by_hand as select email from users;")
    told = refused(cli("rollback", "--json"))
    assert (told["code"], "by_hand" in told["message"]) == ("undo_conflict", True)
    assert "autopilot rollback --route restore --accept-data-loss" in told["hint"]
    assert not routes(cli)["undo"]["possible"]


def test_a_damaged_backup_falls_to_the_next_older_good_one_where_no_other_release_goes_with_it(
    cli: Cli, database: Database
) -> None:
    database.run(SCENE)
    made = document(cli("backup", "create", "--json"))
    was = database.rows(ROWS)
    first = released(cli, "1_a.sql", DESTROYS)
    damage(cli, first["backup"]["file"])
    older = max(path.name for path in cli.backups.glob("*.dump") if path.name < first["backup"]["file"])
    found = routes(cli)
    assert (found["restore"]["possible"], found["restore"]["backup_file"], found["merge"]["possible"]) == (True, older, False)
    assert older in json.dumps(made)
    ran = cli("rollback", "--route", "restore", "--accept-data-loss", "--json")
    assert (ran.code, document(ran)["backup_file"], document(ran)["undone"]) == (0, older, ["1"]), ran.err
    assert database.rows(ROWS) == was


@pytest.mark.faults
def test_an_older_backup_that_would_take_another_release_along_has_to_be_named(cli: Cli, database: Database) -> None:
    database.run(SCENE)
    was = database.rows(ROWS)
    first = released(cli, "1_a.sql", "update users set name = 'x';")
    second = released(cli, "2_b.sql", "update users set age = 0;")
    damage(cli, second["backup"]["file"])
    restore = routes(cli)["restore"]
    assert (restore["possible"], first["run_id"] in restore["why_not"][0]) == (False, True)
    told = refused(cli("rollback", "--route", "restore", "--accept-data-loss", "--json"))
    assert (told["code"], first["backup"]["file"] in told["message"]) == ("no_route", True)
    ran = cli("rollback", "--route", "restore", "--to", first["backup"]["file"], "--accept-data-loss", "--json")
    assert (ran.code, document(ran)["undone"]) == (0, ["2", "1"]), ran.err
    assert database.rows(ROWS) == was


def damage(cli: Cli, file: str) -> None:
    path = cli.backups / file
    path.write_bytes(path.read_bytes()[:-100] + bytes(100))


def test_a_backup_made_by_hand_can_be_gone_back_to(cli: Cli, database: Database) -> None:
    database.run(SCENE)
    released(cli, "1_a.sql", "update users set name = 'x';")
    was = database.rows(ROWS)
    assert cli("backup", "create").code == 0
    file = max(path.name for path in cli.backups.glob("*.dump"))
    database.run("delete from orders;")
    told = refused(cli("rollback", "--to", file, "--json"))
    assert f"autopilot rollback --route restore --to {file} --accept-data-loss" in told["hint"]
    ran = cli("rollback", "--to", file, "--route", "restore", "--accept-data-loss", "--json")
    assert (ran.code, document(ran)["undone"]) == (0, []), ran.err
    assert database.rows(ROWS) == was
    assert in_ledger(database) == ["1"]
    assert cli("rollback").code == 0
    assert database.value("select name from users where id = 7") == "user 7"


@pytest.mark.faults
def test_a_backup_that_holds_what_was_undone_since_is_refused(cli: Cli, database: Database) -> None:
    database.run(SCENE)
    first = released(cli, "1_a.sql", "create table a (id int);")
    second = released(cli, "2_b.sql", "create table b (id int);")
    assert cli("rollback", "--to", first["run_id"]).code == 0
    told = refused(cli("rollback", "--to", second["backup"]["file"], "--route", "restore", "--accept-data-loss", "--json"))
    assert (told["code"], first["run_id"] in told["message"]) == ("no_route", True)


def test_rows_written_since_are_counted_and_what_a_way_back_wrote_is_told(cli: Cli, database: Database) -> None:
    database.run(SCENE)
    released(cli, "0_a.sql", "create index on orders (note);")
    released(cli, "1_b.sql", "update orders set note = 'n';")
    database.run("update users set name = 'hers' where id in (7, 8); insert into orders (user_id) values (1);")
    since = routes(cli)["undo"]["changed_since"]
    assert since == [{"table": "public.orders", "rows": 1}, {"table": "public.users", "rows": 2}]
    gone = document(cli("rollback", "--json"))["run_id"]
    shown = cli("rollback", "--plan").out
    assert "public.users: 2 rows inserted or changed" in shown
    assert f"what run {gone} put back counts too" in shown


def test_after_a_repair_brought_a_lost_table_back_an_older_release_is_undone(cli: Cli, database: Database) -> None:
    database.run(SCENE)
    released(cli, "1_a.sql", "update orders set note = 'n'; alter table orders add column more text;")
    assert cli("backup", "create").code == 0
    database.run("drop table orders;")
    ran = cli("repair", "--apply", "--restore-tables")
    assert ran.code == 0, ran.err
    ran = cli("rollback")
    assert ran.code == 0, ran.err
    assert database.value("select count(*) from orders where note = 'order ' || id") == 100


# --- under fire ---


def torn_down(database: Database) -> bool:
    return int(database.value(SESSIONS)) == 0


def in_one_state(database: Database, was: Any, damaged: Any) -> bool:
    """Whether the backup is in place; rows, ledger and log say the same."""
    until(lambda: torn_down(database))
    is_in = in_ledger(database) == []
    assert database.rows(ROWS.replace(", age", "")) == (was if is_in else damaged)
    assert bool(database.value("select count(*) from automation.migration_log where status = 'rollback'")) is is_in
    return is_in


POINTS = [("X1", False), ("X1:2", False), ("X2", False), ("X3", False), ("X4", False), ("X5", False), ("X6", False), ("X7", True)]
SLICE = {("in place", "X4"), ("staged", "X6")}


@pytest.mark.parametrize(
    ("how", "point", "is_in"),
    [
        pytest.param(how, point, is_in, marks=() if (how, point) in SLICE else pytest.mark.faults, id=f"{how}-{point}")
        for how in ("in place", "staged")
        for point, is_in in POINTS
        if (how, point) != ("in place", "X5")
    ],
)
def test_a_killed_restore_is_wholly_in_or_not_at_all_and_the_next_goes_all_the_way(
    cli: Cli, database: Database, how: str, point: str, is_in: bool
) -> None:
    database.run(SCENE)
    was = database.rows(ROWS)
    released(cli, "1_a.sql", DESTROYS)
    database.run(SINCE)
    damaged = database.rows(ROWS)
    command = ("rollback", "--route", "restore", "--accept-data-loss", "--json", *(("--staged",) if how == "staged" else ()))
    killed = cli(*command, AUTOPILOT_TEST="1", AUTOPILOT_TEST_KILLPOINT=point)
    assert killed.code == -signal.SIGKILL, killed.err
    assert in_one_state(database, was, damaged) is is_in
    again = cli(*command)
    assert again.code == (1 if is_in else 0), again.err
    assert in_one_state(database, was, damaged)
    assert database.rows("select run_id from automation.runs where state = 'running'") == []
    assert database.value("select count(*) from pg_namespace where nspname ~ '__r_'") == 0
    aside = database.rows("select nspname::text from pg_namespace where nspname ~ '^public__q_'")
    assert len(aside) == 1
    assert database.value(f"select name from {aside[0][0]}.users where id = 1000") == "since"


@pytest.mark.parametrize(
    "point", ["X2", pytest.param("X3", marks=pytest.mark.faults), pytest.param("X4", marks=pytest.mark.faults)]
)
def test_a_killed_merge_changed_nothing_and_the_next_goes_all_the_way(cli: Cli, database: Database, point: str) -> None:
    database.run(SCENE)
    released(cli, "1_a.sql", DESTROYS)
    emptied(cli)
    damaged = database.rows(ROWS)
    command = ("rollback", "--route", "merge", "--accept-data-loss")
    killed = cli(*command, AUTOPILOT_TEST="1", AUTOPILOT_TEST_KILLPOINT=point)
    assert killed.code == -signal.SIGKILL, killed.err
    until(lambda: torn_down(database))
    assert (database.rows(ROWS), in_ledger(database)) == (damaged, ["1"])
    ran = cli(*command)
    assert ran.code == 0, ran.err
    assert database.value("select count(*) from orders where note = 'order ' || id") == 100


#: The COMMIT that counts is the one after the ledger's rows.
def _committing(message: Any) -> bool:
    return bool(of(WRITES, 2, text=b"COMMIT")(message))


def after_the_rows() -> Any:
    begun = False

    def found(message: Any) -> bool:
        nonlocal begun
        begun = begun or b"UPDATE automation.ways_back" in message.body
        return begun and _committing(message)

    return found


@pytest.mark.parametrize(("what", "when", "code", "is_in"), [
    pytest.param("cut", "before", 3, False, id="COMMIT never came"),
    pytest.param("tear", "before", 3, False, id="half of COMMIT came", marks=pytest.mark.faults),
    pytest.param("cut", "after", 0, True, id="its answer was lost"),
])  # fmt: skip
def test_a_link_cut_at_the_restores_commit_is_found_out_and_told(
    cli: Cli, database: Database, what: What, when: When, code: int, is_in: bool
) -> None:
    database.run(SCENE)
    was = database.rows(ROWS)
    released(cli, "1_a.sql", DESTROYS)
    database.run(SINCE)
    damaged = database.rows(ROWS)
    fault = Fault(matches=after_the_rows(), what=what, when=when)
    command = ("rollback", "--route", "restore", "--accept-data-loss", "--json")
    with proxied(database.url, fault) as proxy, started(cli, *command, "--db", proxy.url(database.url)) as process:
        ran = ended(process, net_s=NET_S * 2)
    assert proxy.happened is not None
    assert ran.code == code, ran.err
    assert "did not expect" not in ran.err
    assert in_one_state(database, was, damaged) is is_in


def test_salvage_waits_for_the_lock_and_says_who_holds_it(cli: Cli, database: Database) -> None:
    database.run(SCENE)
    released(cli, "1_a.sql", "update users set age = 1;")
    ran = cli("rollback", "--route", "restore", "--accept-data-loss", "--json")
    token = document(ran)["quarantine"]
    (cli.home / "autopilot.toml").write_text("lock_wait_s = 0.3\n")
    cli.write("2_slow.sql", "select pg_sleep(30);")
    (cli.migrations / "1_a.sql").unlink()
    with started(cli, "migrate", "--no-deploy", "--no-backup", "--no-rehearsal") as process:
        until(lambda: database.value(f"{SESSIONS} and query like '%pg_sleep(30)%'"), process)
        for command in (("salvage", "apply", token), ("salvage", "drop", token, "--yes")):
            ran = cli(*command, "--json")
            assert (ran.code, document(ran)["error"]["code"]) == (75, "locked"), ran.err
        assert token in cli("salvage", "list").out, "looking needs no lock"


def test_rows_that_the_database_refuses_are_told_and_the_others_come(cli: Cli, database: Database) -> None:
    database.run(SCENE)
    released(cli, "1_a.sql", "alter table users drop column age; create table new (id int);")
    database.run("insert into users values (1000, 'since'); insert into orders (user_id, note) values (1, 'since');")
    token = document(cli("rollback", "--route", "restore", "--accept-data-loss", "--json"))["quarantine"]
    ran = cli("salvage", "apply", token)
    assert ran.code == 0, ran.err
    assert 'public.users: 0 rows brought over, PostgreSQL refused some: null value in column "age"' in ran.out
    assert "public.orders: 1 row brought over" in ran.out
    assert f"autopilot salvage apply {token}" in ran.out
    database.run("alter table users alter column age set default 0;")
    assert "public.users: 1 row brought over" in cli("salvage", "apply", token).out


def test_staged_belongs_to_restore(cli: Cli) -> None:
    ran = cli("rollback", "--staged", "--json")
    assert (ran.code, document(ran)["error"]["code"]) == (2, "staged_without_restore")


@pytest.mark.faults
def test_tables_in_use_are_waited_for(cli: Cli, database: Database) -> None:
    database.run(SCENE)
    released(cli, "1_a.sql", DESTROYS)
    with psycopg.connect(database.url) as reader:
        reader.execute("select count(*) from users")
        with started(cli, "rollback", "--route", "restore", "--accept-data-loss", "--json") as process:
            until(lambda: database.value(f"{SESSIONS} and query like 'LOCK TABLE%'"), process)
            reader.rollback()
            ran = ended(process)
    assert (ran.code, in_ledger(database)) == (0, []), ran.err
