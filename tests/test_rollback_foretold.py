"""What `plan` tells of the way back: which one a failure would take, and what going back would lose. It writes nothing."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.conftest import OWNER, Cli, Database
from tests.test_rollback import SCENE


def way_back(cli: Cli, *arguments: str) -> dict[str, Any]:
    ran = cli("plan", "--json", *arguments)
    assert ran.code == 0, ran.err
    found = json.loads(ran.out)["way_back"]
    assert isinstance(found, dict)
    return found


def test_with_nothing_pending_there_is_no_way_to_tell_of(cli: Cli, database: Database) -> None:
    ran = cli("plan", "--json")
    assert json.loads(ran.out)["way_back"] is None
    assert "If it fails" not in cli("plan").out


@pytest.mark.parametrize(("files", "way", "words"), [
    pytest.param(("create table a ();", "drop table old;"), "transaction", "it undoes itself", id="at once"),
    pytest.param(("create index concurrently o on orders (note);",), "undo", "goes back by itself (undo)", id="alone"),
    pytest.param(("begin; create table a (); commit; create table b ();", "create table c ();"), "undo",
                 "what was committed before goes back by itself", id="one by one"),
    pytest.param((f"set role {OWNER}; delete from orders;", "create index concurrently o on users (name);"), "person",
                 "exit 4, and a person decides", id="with loss"),
])  # fmt: skip
def test_the_way_that_a_failure_would_take(cli: Cli, database: Database, files: tuple[str, ...], way: str, words: str) -> None:
    database.run(SCENE)
    for number, text in enumerate(files, start=1):
        cli.write(f"{number}_f.sql", text)
    found = way_back(cli)
    assert (found["on_failure"], found["proven"]) == (way, None)
    assert words in found["words"]
    assert f"If it fails: {found['words']}." in cli("plan").out
    assert database.value("select to_regnamespace('automation') is null and to_regnamespace('autopilot_trash') is null")


@pytest.mark.parametrize(("settings", "text", "loss", "mend"), [
    ("", f"set role {OWNER}; delete from orders;", "it changes its role on the way", "take SET ROLE out of the file"),
    ('keep_rows = "off"\n', "delete from orders where id < 5;", "rows of orders are not kept", 'set keep_rows = "auto"'),
])  # fmt: skip
def test_a_loss_is_told_with_the_change_that_would_prevent_it(
    cli: Cli, database: Database, settings: str, text: str, loss: str, mend: str
) -> None:
    database.run(SCENE)
    (cli.home / "autopilot.toml").write_text(settings)
    cli.write("1_a.sql", text)
    ((lost),) = way_back(cli)["loses"]
    assert loss in lost["what"]
    assert mend in lost["mend"]
    shown = cli("plan").out
    assert "Warning: no way back without loss: " in shown
    assert f"  Next: {lost['mend']}." in shown
    cli.write("1_a.sql", "delete from orders where id < 5;")
    (cli.home / "autopilot.toml").write_text("")
    assert way_back(cli)["loses"] == []
    assert "Going back loses nothing, as far as the text tells" in cli("plan").out


def test_a_rehearsal_proves_it(cli: Cli, database: Database) -> None:
    database.run(SCENE)
    cli.write("1_a.sql", "update users set name = upper(name); drop table old;")
    ran = cli("plan", "--rehearse")
    assert ran.code == 0, ran.err
    assert "Going back: flown forward, back and forward again on the copy; nothing is lost." in ran.out
    assert database.value("select to_regnamespace('automation') is null and to_regnamespace('autopilot_trash') is null")


BATCHES = """
create procedure batches() language plpgsql as $$ begin
  for n in 1..3 loop update users set name = 'batch ' || n where id % 3 = n - 1; commit; end loop;
end $$;
"""


def test_what_a_procedure_commits_on_its_way_is_seen_in_the_rehearsal(cli: Cli, database: Database) -> None:
    database.run(SCENE + BATCHES)
    cli.write("1_a.sql", "call batches();")
    found = way_back(cli, "--rehearse")
    assert (found["on_failure"], found["proven"]) == ("person", False)
    assert any("let the file write these rows itself" in (lost["mend"] or "") for lost in found["loses"]), found


def test_a_role_that_may_only_read_is_told_what_it_cannot_know(cli: Cli, database: Database) -> None:
    database.run(SCENE)
    role = f"reads_{database.name}"
    database.run(f"create role {role} login password 'x'; grant pg_read_all_data to {role};", admin=True)
    try:
        (cli.home / "autopilot.toml").write_text(f'admins = ["{role}"]\n')
        cli.write("0_z.sql", "select 1;")
        assert cli("migrate", "--no-backup", "--no-deploy").code == 0
        cli.write("1_a.sql", "update users set name = 'x'; drop table old;")
        url = database.url.replace(database.url.split("//")[1].split("@")[0], f"{role}:x")
        found = way_back(cli, "--db", url)
        assert (found["on_failure"], found["loses"]) == ("transaction", None)
        assert "cannot be told by this role" in cli("plan", "--db", url).out
    finally:
        database.run(f"drop owned by {role}; drop role {role};", admin=True)
