"""The workflow with the button that goes back: its last step's own text, run as GitHub's runner would."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.conftest import ROOT, Cli, Database

WORKFLOW = ROOT / ".github" / "workflows" / "autopilot-phase2-rollback.yml"


@pytest.fixture
def workflow() -> dict[Any, Any]:
    found = yaml.safe_load(WORKFLOW.read_text())
    assert isinstance(found, dict)
    return found


def pressed(cli: Cli, workflow: dict[Any, Any], **inputs: str) -> subprocess.CompletedProcess[str]:
    """The last step, with the inputs and secrets that its `env` names put in by us."""
    step = workflow["jobs"]["rollback"]["steps"][-1]
    given = {name: str(spec["default"]).lower() for name, spec in workflow[True]["workflow_dispatch"]["inputs"].items()} | inputs
    env = {}
    for name, text in step["env"].items():
        named = re.fullmatch(r"\$\{\{ (inputs|secrets)\.(\w+) \}\}", text)
        assert named is not None, text
        env[name] = given[named[2]] if named[1] == "inputs" else cli.env.get(named[2], "")
    env["PATH"] = f"{Path(sys.executable).parent}:{cli.environment()['PATH']}"
    return subprocess.run(
        ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]], cwd=cli.home, env=cli.environment() | env,
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


def test_the_button_goes_back_only_when_told_to(cli: Cli, database: Database, workflow: dict[Any, Any]) -> None:
    database.run("create table users (id int primary key, name text); insert into users values (1, 'a')")
    cli.write("1_a.sql", "alter table users drop column name;")
    assert cli("migrate", "--no-deploy").code == 0
    run_id = database.value("select run_id from automation.runs order by started_at desc limit 1")
    shown = pressed(cli, workflow)
    assert (shown.returncode, "undo in one transaction" in shown.stdout) == (0, True), shown.stderr
    assert database.rows("select * from users") == [(1,)]
    unknown = pressed(cli, workflow, rollback_only="true", to="no'such; run")
    assert (unknown.returncode, database.rows("select * from users")) == (1, [(1,)])
    done = pressed(cli, workflow, rollback_only="true", to=run_id)
    assert done.returncode == 0, done.stderr
    assert database.rows("select id, name from users") == [(1, "a")]


def test_nothing_that_is_typed_in_is_part_of_a_command(workflow: dict[Any, Any]) -> None:
    steps = workflow["jobs"]["rollback"]["steps"]
    assert all("${{" not in step.get("run", "") for step in steps)
    assert all(re.fullmatch(r"[\w/-]+@[0-9a-f]{40}", step["uses"]) for step in steps if "uses" in step)
    assert workflow["permissions"] == {"contents": "read"}
    assert workflow["concurrency"] == {"group": "autopilot-production", "cancel-in-progress": False}
