"""Files that ask to wait: `-- autopilot:after-deploy` runs once the new deploy is proven healthy, and not before."""

from __future__ import annotations

import pytest
from tests.conftest import Cli, Database
from tests.test_deploy import CLOSED, LAST, MORE, Stage, document, stage, table

__all__ = ["stage"]

GONE = "20250602080000_gone.sql"
GONE_TEXT = "-- Nobody reads it any more.\n-- autopilot:after-deploy\nalter table public.lessons drop column if exists nobody;\n"


def applied(database: Database) -> list[str]:
    return [v for (v,) in database.rows("select version from automation.applied_migrations order by finished_at desc limit 2")][
        ::-1
    ]


def test_a_waiting_file_runs_after_the_proof_though_its_version_is_older(stage: Stage) -> None:
    stage.cli.write(GONE, GONE_TEXT)
    commit = stage.push(MORE, table("more"))
    ran = stage.release("--json", "--commit", commit)
    told = document(ran)
    assert (ran.code, told["outcome"]) == (0, "released"), ran.err
    assert told["applied"] == ["20250602090000", "20250602080000"]
    assert told["pending"] == []
    proven, waited = stage.database.rows(
        "select (select finished_at from automation.deployment_log), started_at from automation.applied_migrations"
        " where version = '20250602080000'"
    )[0]
    assert waited >= proven
    log = stage.database.rows("select status, after_deploy, versions from automation.migration_log order by id desc limit 2")
    assert log == [
        ("success", True, ["20250602080000"]), ("success", False, ["20250602090000"]),
    ]  # fmt: skip
    again = document(stage.release("--json", "--commit", commit))
    assert (again["outcome"], len(stage.deploys())) == ("nothing_to_do", 1)


def test_without_a_deploy_it_stays_pending_and_that_is_said(stage: Stage) -> None:
    stage.cli.write(GONE, GONE_TEXT)
    commit = stage.push(MORE, table("more"))
    ran = stage.release("--json", "--no-deploy", "--commit", commit)
    told = document(ran)
    assert (ran.code, told["applied"], told["pending"]) == (0, ["20250602090000"], ["20250602080000"])
    assert f"{GONE} waits until a new deploy is proven healthy; --no-deploy was given." in ran.err
    assert "waits for a proven deploy" in stage.cli("plan").out
    # not refused as older than what is applied by now; nothing else is pending, so the deploy is asked for because of it
    later = document(stage.release("--json", "--commit", commit))
    assert (later["outcome"], later["applied"], later["pending"]) == ("released", ["20250602080000"], [])
    assert [d["commit_ref"] for d in stage.deploys()] == [commit]


def test_a_commit_that_answers_already_needs_no_second_deploy(stage: Stage) -> None:
    commit = stage.push(MORE, table("more"))
    assert stage.release("--commit", commit).code == 0
    stage.cli.write(GONE, GONE_TEXT)
    ran = stage.release("--json", "--commit", commit)
    assert document(ran)["applied"] == ["20250602080000"], ran.err
    assert "No new deploy is needed" in ran.err
    assert len(stage.deploys()) == 1


def test_it_is_held_back_while_the_deploy_is_not_proven_and_runs_with_the_next(stage: Stage) -> None:
    stage.cli.write(GONE, GONE_TEXT)
    commit = stage.push(MORE, table("more"))
    ran = stage.release("--json", "--commit", commit, SITE_URL=CLOSED, HEALTH_URL=CLOSED, AUTOPILOT_VERIFY_S="1")
    told = document(ran)
    assert (ran.code, told["error"]["code"], told["applied"]) == (4, "deploy_not_proven", ["20250602090000"])
    assert told["pending"] == ["20250602080000"]
    later = document(stage.release("--json", "--commit", stage.push(LAST, table("still_more"))))
    assert later["applied"] == ["20250603090000", "20250602080000"]


def test_one_that_fails_after_the_deploy_takes_nothing_back(stage: Stage) -> None:
    stage.cli.write(GONE, "-- autopilot:after-deploy\nalter table public.no_such_table drop column a;\n")
    commit = stage.push(MORE, table("more"))
    ran = stage.release("--json", "--no-rehearsal", "--commit", commit)
    told = document(ran)
    assert (ran.code, told["outcome"], told["applied"]) == (4, "stranded", ["20250602090000"])
    assert told["pending"] == ["20250602080000"]
    assert "the new deploy is proven healthy" in told["error"]["state"]
    assert "still pending" in told["error"]["state"]
    assert commit in stage.site()
    assert stage.database.value("select to_regclass('public.more') is not null")


def test_it_is_rehearsed_before_anything_is_applied(stage: Stage) -> None:
    stage.cli.write(GONE, "-- autopilot:after-deploy\nalter table public.no_such_table drop column a;\n")
    ran = stage.release("--json", "--commit", stage.push(MORE, table("more")))
    assert (ran.code, document(ran)["error"]["code"]) == (1, "refused_in_rehearsal")
    assert stage.database.value("select to_regclass('public.more') is null")


def test_the_option_runs_it_with_the_rest(cli: Cli, database: Database) -> None:
    cli.write("1_a.sql", "-- autopilot:after-deploy\ncreate table a (id int);")
    cli.write("2_b.sql", "create table b (id int);")
    ran = cli("migrate", "--no-deploy", "--no-backup", "--include-waiting", "--json")
    assert document(ran)["applied"] == ["1", "2"], ran.err


def test_what_it_would_destroy_stands_in_nobodys_way_while_it_waits(cli: Cli, database: Database) -> None:
    cli.write("1_a.sql", "-- autopilot:after-deploy\ndrop table if exists a;")
    cli.write("2_b.sql", "create table b (id int);")
    ran = cli("migrate", "--no-deploy", "--no-backup", "--json")
    assert (ran.code, document(ran)["applied"], document(ran)["pending"]) == (0, ["2"], ["1"]), ran.err
    refused = cli("migrate", "--no-deploy", "--no-backup", "--include-waiting", "--json")
    assert (refused.code, document(refused)["error"]["code"]) == (1, "would_destroy_data")


@pytest.mark.parametrize(
    ("text", "code", "words"),
    [
        ("-- autopilot:after_deploy\nselect 1;", "unknown_directive", "Did you mean 'after-deploy'?"),
        ("create table a ();\n-- autopilot:after-deploy\nselect 1;", "late_directive", "1_a.sql:2"),
    ],
)
def test_a_directive_that_would_be_overlooked_is_refused(cli: Cli, database: Database, text: str, code: str, words: str) -> None:
    cli.write("1_a.sql", text)
    told = document(ran := cli("migrate", "--no-deploy", "--json"))
    assert (ran.code, told["error"]["code"]) == (1, code)
    assert words in told["error"]["message"]
    assert database.value("select to_regnamespace('automation') is null")


def test_words_in_a_string_or_a_body_are_no_directive(cli: Cli, database: Database) -> None:
    cli.write("1_a.sql", "create table a (b text);\ninsert into a values ('\n-- autopilot:nonsense\n');\n")
    assert cli("migrate", "--no-deploy", "--no-backup").code == 0
    assert database.value("select count(*) from a") == 1
