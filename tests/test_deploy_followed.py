"""Releases and deploys by hand against Netlify's API as its stand-in has it: followed, found again, gone back on."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import pytest
from tests.conftest import Cli, Database, Ran
from tests.hosts.stage import COMMIT, NEXT, Staged, Waiting, standing_in

QUICK = ["new", "ready"]


@dataclass(kw_only=True)
class Stage:
    cli: Cli
    database: Database
    host: Staged

    def release(self, name: str = "1_a.sql", *, commit: str = COMMIT, **env: str) -> tuple[Ran, dict[str, Any]]:
        """Releases a new table, or what is left of an earlier try."""
        table = name.partition(".")[0].partition("_")[2]
        self.cli.write(name, f"create table public.{table} (id bigint primary key);")
        cli = replace(self.cli, env=self.cli.env | env)
        ran = cli("migrate", "--no-backup", "--json", "--commit", commit)
        assert self.host.told["token"] not in ran.out + ran.err
        return ran, (json.loads(ran.out) if ran.out else {})

    def deploy(self, *words: str) -> tuple[Ran, dict[str, Any]]:
        ran = self.cli("deploy", *words, "--json")
        return ran, json.loads(ran.out)

    def rows(self) -> list[tuple[Any, ...]]:
        return self.database.rows("select status, deploy_id, platform from automation.deployment_log order by id")

    def live(self) -> str | None:
        found = self.host.host().published
        assert found is not None
        return found()


@pytest.fixture(scope="module")
def netlify() -> Iterator[Mapping[str, str]]:
    with standing_in("netlify") as told:
        yield told


@pytest.fixture
def stage(cli: Cli, database: Database, netlify: Mapping[str, str]) -> Iterator[Stage]:
    host = Staged(name="netlify", told=netlify, clock=Waiting())
    host.script(anew=True, walk=QUICK)
    site = {"SITE_URL": netlify["url"] + "/", "HEALTH_URL": netlify["url"] + "/api/health"}
    cli.env |= host.variables() | site | {"AUTOPILOT_VERIFY_S": "1"}
    yield Stage(cli=cli, database=database, host=host)
    host.hold_to_document()


def slow(*values: Any) -> Any:
    return pytest.param(*values, marks=pytest.mark.faults)


def test_a_build_is_followed_to_its_end_and_the_row_with_it(stage: Stage) -> None:
    ran, told = stage.release()
    assert (ran.code, told["outcome"], told["deploy"]["proven"]) == (0, "released", True), ran.err
    deploy_id = stage.live()
    assert told["deploy"]["deploy_id"] == deploy_id
    assert stage.rows() == [("success", deploy_id, "netlify")]
    assert stage.host.begun() == 1


@pytest.mark.parametrize(
    ("script", "code", "words"),
    [
        ({"walk": ["new", "error"], "ending": {"error_message": "npm ERR! 1"}}, "deploy_failed", "failed: npm ERR! 1"),
        slow({"walk": ["new", "error"], "ending": {"error_message": "Canceled build"}}, "deploy_failed", "was cancelled"),
        slow({"walk": ["new", "pending_review"]}, "deploy_unknown", "waits for somebody's review"),
        ({"stop_builds": True}, "deploy_not_triggered", "builds are stopped"),
        slow({"no_credit": True}, "deploy_not_triggered", "credit usage exceeded"),
        slow({"faults": [{"on": "POST /api/v1", "status": 502, "times": 0}]}, "deploy_unknown", "gave no clear answer"),
    ],
    ids=["failed", "cancelled", "review", "stopped", "credit", "unclear"],
)
def test_a_deploy_that_does_not_come_is_told_in_the_hosts_words(
    stage: Stage, script: dict[str, Any], code: str, words: str
) -> None:
    stage.host.script(**script)
    ran, told = stage.release()
    assert (ran.code, told["outcome"], told["error"]["code"]) == (4, "stranded", code), ran.err
    assert told["error"]["message"].startswith("The migration is applied, but ")
    assert words in told["error"]["message"]
    assert [status for status, _, _ in stage.rows()] == ["failed"]
    assert words in stage.database.value("select notes from automation.deployment_log")


def test_a_deploy_that_is_built_and_not_published_is_told(stage: Stage) -> None:
    stage.release()
    assert stage.deploy("lock")[1]["outcome"] == "locked"
    stage.host.script(head=NEXT)
    ran, told = stage.release("2_b.sql", commit=NEXT)
    assert (ran.code, told["error"]["code"]) == (4, "deploy_not_published"), ran.err
    (_, second, _) = stage.rows()[-1]
    assert f"autopilot deploy promote {second}" in told["error"]["hint"]
    done, document = stage.deploy("promote", second)
    assert (done.code, document["deploy"]["proven"]) == (0, True), done.err
    assert stage.live() == second


@pytest.mark.parametrize(
    "point",
    [pytest.param("D1", marks=pytest.mark.faults), "D2", pytest.param("D3", marks=pytest.mark.faults),
     pytest.param("D4", marks=pytest.mark.faults)],
)  # fmt: skip
def test_a_run_that_is_killed_over_a_deploy_leaves_one_and_no_more(stage: Stage, point: str) -> None:
    ran, _ = stage.release(AUTOPILOT_TEST="1", AUTOPILOT_TEST_KILLPOINT=point)
    assert ran.code == -9
    assert stage.host.begun() == (0 if point == "D1" else 1)
    ran, told = stage.release()
    assert (ran.code, told["outcome"], told["applied"]) == (0, "released", []), ran.err
    assert told["deploy"]["proven"] is True
    assert stage.host.begun() == 1
    assert [status for status, _, _ in stage.rows()] == ["failed", "success"]
    assert json.loads(stage.cli("migrate", "--no-backup", "--json", "--commit", COMMIT).out)["outcome"] == "nothing_to_do"


def test_a_deploy_by_hand_is_gone_back_on(stage: Stage) -> None:
    assert stage.deploy("trigger", "--commit", COMMIT)[0].code == 0
    first = stage.live()
    stage.host.script(head=NEXT)
    ran, told = stage.deploy("trigger", "--commit", NEXT)
    assert (ran.code, told["outcome"], told["deploy"]["deploy_id"]) == (0, "deployed", stage.live()), ran.err
    _, standing = stage.deploy("status")
    assert standing["live"]["id"] == stage.live() != first
    assert (standing["way_back"]["deploy_id"], standing["way_back"]["is_there"]) == (first, True)
    ran, told = stage.deploy("restore")
    assert (ran.code, told["deploy"]["proven"], stage.live()) == (0, True, first), ran.err
    _, standing = stage.deploy("status")
    assert (standing["live"]["id"], standing["live"]["locked"]) == (first, True)
    assert stage.deploy("unlock")[1]["deploy"]["locked"] is False
    assert [status for status, _, _ in stage.rows()] == ["success"] * 3
    assert stage.database.rows("select state from automation.runs where state = 'running'") == []


@pytest.mark.faults
def test_a_way_back_that_the_host_has_thrown_away_is_told_before_anything_is_done(stage: Stage) -> None:
    stage.deploy("trigger", "--commit", COMMIT)
    first = stage.live()
    stage.host.script(head=NEXT)
    stage.deploy("trigger", "--commit", NEXT)
    stage.host.script(remove=[first])
    assert stage.deploy("status")[1]["way_back"]["is_there"] is False
    ran, told = stage.deploy("restore")
    assert (ran.code, told["error"]["code"]) == (1, "way_back_gone")
    assert len(stage.rows()) == 2


@pytest.mark.faults
def test_a_restored_deploy_that_is_ill_is_not_called_good(stage: Stage) -> None:
    stage.deploy("trigger", "--commit", COMMIT)
    first = stage.live()
    stage.host.script(ill=[first])
    ran, told = stage.deploy("restore", str(first))
    assert (ran.code, told["error"]["code"]) == (4, "deploy_not_proven"), ran.err
    assert "migration" not in told["error"]["message"] + told["error"]["state"] + told["error"]["hint"]


def test_without_a_good_deploy_before_there_is_no_way_back(stage: Stage) -> None:
    ran, told = stage.deploy("restore")
    assert (ran.code, told["error"]["code"]) == (1, "no_way_back")


def test_with_a_hook_alone_only_asking_is_possible(stage: Stage) -> None:
    for name in stage.host.variables():
        del stage.cli.env[name]
    ran, told = stage.deploy("trigger")
    assert (ran.code, told["error"]["code"]) == (2, "no_host")
    stage.cli.env |= stage.host.variables(hook=True)
    assert stage.deploy("status")[1]["can"] == ["trigger"]
    for words in (("restore",), ("promote", "x"), ("lock",), ("unlock",)):
        ran, told = stage.deploy(*words)
        assert (ran.code, told["error"]["code"]) == (2, "host_cannot")


def test_two_hosts_are_refused_before_anything_is_applied(stage: Stage) -> None:
    ran, told = stage.release(VERCEL_DEPLOY_HOOK="https://api.vercel.com/v1/integrations/deploy/a/secretpart")
    assert (ran.code, told["error"]["code"]) == (2, "several_hosts")
    assert "secretpart" not in ran.out + ran.err
    assert stage.database.value("select to_regclass('public.a') is null")


@pytest.mark.faults
def test_a_person_reads_where_deploys_stand(stage: Stage) -> None:
    stage.release()
    ran = stage.cli("deploy", "status")
    assert ran.code == 0
    assert f"Live         {stage.live()}, commit {COMMIT[:12]}" in ran.out
    assert "Way back     none known" in ran.out
    assert "success" in ran.out
