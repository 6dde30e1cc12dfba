"""`rollback --plan`: which ways lead back, whether they were proven, what each keeps and loses. It changes nothing."""

from __future__ import annotations

import json
from typing import Any

from tests.conftest import Cli, Database
from tests.test_rollback import SCENE, released

QUICK = ("migrate", "--json", "--no-deploy", "--no-backup", "--yes-destroy-data")


def plan(cli: Cli, *arguments: str) -> dict[str, Any]:
    ran = cli("rollback", "--plan", "--json", *arguments)
    assert ran.code == 0, ran.err
    found = json.loads(ran.out)
    assert isinstance(found, dict)
    return found


def names(found: dict[str, Any]) -> list[str]:
    return [route["name"] for route in found["routes"]]


def test_undoing_in_one_transaction_comes_first_with_its_proof_and_what_is_kept(cli: Cli, database: Database) -> None:
    database.run(SCENE)
    run = released(cli, "1_a.sql", "update users set name = upper(name); drop table old; create table new (id int);")["run_id"]
    database.run("insert into users values (1000, 'new', '1'); insert into new values (1);")
    before = database.rows("select * from automation.runs")
    found = plan(cli)
    assert names(found) == [
        "undo in one transaction", "last good deploy", "a migration that undoes it", "merge rows from the backup",
        "restore from backup", "the provider's point in time",
    ]  # fmt: skip
    assert [r["possible"] for r in found["routes"]] == [True, True, True, False, True, True], "the trash keeps all of it"
    undo = found["routes"][0]
    assert (undo["command"], undo["proven"], undo["would_lose"], undo["in_the_way"]) == ("autopilot rollback", True, [], [])
    assert [(s["run_id"], s["versions"], s["whole"], s["proven"]) for s in undo["releases"]] == [(run, ["1"], True, True)]
    assert {k["what"]: (k["how"], k["rows"]) for k in undo["releases"][0]["kept"]} == {
        "public.old": ("move", None), "rows of public.users": ("images", 400)
    }  # fmt: skip
    assert undo["to_trash"] == ["table public.new"]
    assert {"table": "public.users", "rows_then": 200, "rows_now": 201} in undo["written_since"]
    shown = cli("rollback", "--plan").out
    assert "1. undo in one transaction: `autopilot rollback`" in shown
    assert "flown forward, back and forward again in its rehearsal" in shown
    assert "kept: rows of public.users, 400 row versions (before and after)" in shown
    assert "public.users: 200 rows then, 201 now (+1)" in shown
    assert database.rows("select * from automation.runs") == before


def test_several_releases_are_listed_in_the_order_in_which_they_go_back(cli: Cli, database: Database) -> None:
    database.run(SCENE)
    runs = []
    for name, text in (("1_a.sql", "create table a (id int);"), ("2_b.sql", "alter table a add column b int;")):
        cli.write(name, text)
        runs.append(json.loads(cli(*QUICK).out)["run_id"])
    undo = plan(cli, "--to", runs[0])["routes"][0]
    assert [s["run_id"] for s in undo["releases"]] == runs[::-1]
    assert (undo["command"], undo["proven"]) == (f"autopilot rollback --to {runs[0]}", None)
    shown = cli("rollback", "--plan", "--to", runs[0]).out
    assert f"1) run {runs[1]}: 2; no rehearsal has proven it" in shown
    assert f"2) run {runs[0]}: 1; no rehearsal has proven it" in shown
    assert "Written since the backup: not counted" in shown


def test_after_going_back_it_tells_of_the_release_before(cli: Cli, database: Database) -> None:
    database.run(SCENE)
    runs = []
    for name, text in (("1_a.sql", "create table a (id int);"), ("2_b.sql", "alter table a add column b int;")):
        cli.write(name, text)
        runs.append(json.loads(cli(*QUICK).out)["run_id"])
    gone = json.loads(cli("rollback", "--json").out)["run_id"]
    found = plan(cli)
    assert f"The last run ({gone}) went back on 2." in found["summary"]
    assert found["routes"][0]["releases"][0]["run_id"] == runs[0]
    assert f"Nothing of {runs[1]} is in" in plan(cli, "--to", runs[1])["summary"]
    assert cli("rollback").code == 0
    found = plan(cli)
    assert "went back on 1" in found["summary"]
    assert names(found) == ["transaction abort"]


def test_after_a_refusal_the_release_before_it_can_still_go_back(cli: Cli, database: Database) -> None:
    database.run(SCENE)
    cli.write("1_a.sql", "create table a (id int);")
    assert cli(*QUICK).code == 0
    cli.write("2_b.sql", "alter table no_such_table add column b int;")
    assert cli(*QUICK).code == 3
    found = plan(cli)
    assert "was rolled back or refused" in found["summary"]
    assert found["routes"][0]["releases"][0]["versions"] == ["1"]
    assert cli("rollback").code == 0
    assert database.value("select to_regclass('a')") is None


def test_a_release_that_failed_half_way_is_told_as_such(cli: Cli, database: Database) -> None:
    database.run(SCENE)
    (cli.home / "autopilot.toml").write_text('transaction = "file"\n')
    cli.write("1_a.sql", "update users set name = 'x';")
    cli.write("2_b.sql", "alter table no_such_table add column b int;")
    assert cli(*QUICK).code == 4
    found = plan(cli)
    assert "failed half-way: not all of 1, 2 is in" in found["summary"]
    assert found["routes"][0]["releases"][0]["whole"] is False
    assert cli("rollback").code == 0
    assert database.value("select count(*) from users where name = 'x'") == 0


def test_what_stands_in_the_way_is_named_before_anybody_tries(cli: Cli, database: Database) -> None:
    database.run(SCENE)
    cli.write("1_a.sql", "alter table users add column email text;")
    assert cli(*QUICK).code == 0
    database.run("create view by_hand as select email from users;")
    assert any("by_hand" in sentence for sentence in plan(cli)["routes"][0]["in_the_way"])
    assert "In the way now: " in cli("rollback", "--plan").out


def test_a_role_that_may_only_read_sees_the_routes_but_not_the_trash(cli: Cli, database: Database) -> None:
    database.run(SCENE)
    role = f"reads_{database.name}"
    database.run(f"create role {role} login password 'x'; grant pg_read_all_data to {role};", admin=True)
    try:
        (cli.home / "autopilot.toml").write_text(f'admins = ["{role}"]\n')
        cli.write("1_a.sql", "update users set name = 'x';")
        ran = cli(*QUICK)
        assert ran.code == 0, ran.err
        url = database.url.replace(database.url.split("//")[1].split("@")[0], f"{role}:x")
        undo = plan(cli, "--db", url)["routes"][0]
        assert undo["name"] == "undo in one transaction"
        assert undo["releases"][0]["kept"] is None
    finally:
        database.run(f"drop owned by {role}; drop role {role};", admin=True)
