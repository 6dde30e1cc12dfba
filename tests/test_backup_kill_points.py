"""A run that is killed while it backs up or rehearses leaves the target as it was, and the next one goes through."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest
from tests.conftest import Cli, Database
from tests.test_release import scratch_root, servers_below, until

from autopilot.killpoints import POINTS

__all__ = ["scratch_root"]

QUICK = {"B2", "B5", "R1", "R3"}


@pytest.mark.parametrize("encrypted", [False, pytest.param(True, marks=pytest.mark.faults)], ids=["plain", "encrypted"])
@pytest.mark.parametrize(
    "point", [pytest.param(p, marks=() if p in QUICK else pytest.mark.faults) for p in POINTS if p[0] in "BR"]
)
def test_a_run_killed_on_its_way_to_the_target_touched_nothing_and_the_next_goes_through(
    cli: Cli, database: Database, scratch_root: Path, point: str, *, encrypted: bool
) -> None:
    if encrypted:
        import pyrage

        recipient = pyrage.x25519.Identity.generate().to_public()
        (cli.home / "autopilot.toml").write_text(f'backup_recipients = ["{recipient}"]\n')
    database.run("create table kept (id int); insert into kept select generate_series(1, 1000)")
    cli.write("1_a.sql", "create table a (id int);")
    cli.env["TMPDIR"] = str(scratch_root)
    killed = cli("migrate", "--no-deploy", AUTOPILOT_TEST="1", AUTOPILOT_TEST_KILLPOINT=point)
    assert killed.code == -signal.SIGKILL, killed.err
    assert database.value("select to_regclass('a') is null")
    ran = cli("migrate", "--no-deploy")
    assert ran.code == 0, ran.err
    assert database.rows("select version from automation.applied_migrations") == [("1",)]
    assert [p.name for p in cli.backups.iterdir() if "partial" in p.name or p.name.startswith(".backup-work")] == []
    until(lambda: servers_below(scratch_root) == [])
    assert list(scratch_root.glob("autopilot-*/pg-*")) == []
    told = json.loads(cli("backup", "list", "--verify", "--json").out)
    good = [b for b in told if b["state"] == "good"]
    assert good
    assert good[0]["run_id"] == database.value("select run_id from automation.migration_log where status = 'success'")
    assert all(b["state"] in {"good", "no manifest"} for b in told)
