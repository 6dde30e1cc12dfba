"""A run that is killed while it backs up or rehearses leaves the target as it was, and the next one goes through."""

from __future__ import annotations

import contextlib
import json
import signal
from pathlib import Path

import pytest
from tests.conftest import Cli, Database
from tests.s3server import BUCKET, s3_server
from tests.test_release import scratch_root, servers_below, until

from autopilot.killpoints import POINTS

__all__ = ["scratch_root"]

QUICK = {"B2", "B5", "R1", "R3"}


ELSEWHERE = {"B7"}


@pytest.mark.parametrize("encrypted", [False, pytest.param(True, marks=pytest.mark.faults)], ids=["plain", "encrypted"])
@pytest.mark.parametrize(
    "point",
    [pytest.param(p, marks=() if p in QUICK else pytest.mark.faults) for p in POINTS if p[0] in "BR" and p not in ELSEWHERE],
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


@pytest.mark.parametrize(
    "kind", ["directory", pytest.param("bucket", marks=pytest.mark.faults), pytest.param("large", marks=pytest.mark.faults)]
)
@pytest.mark.parametrize("visit", [1, 2], ids=["backup", "manifest"])
def test_a_run_killed_while_a_copy_is_on_its_way_leaves_none_that_counts_and_it_can_be_made_up_for(
    cli: Cli, database: Database, tmp_path: Path, kind: str, visit: int
) -> None:
    size = 30_000_000 if kind == "large" else 1000
    database.run(
        "create table kept as select g, string_agg(md5(random()::text), '') from"
        f" generate_series(1, {size // 1000}) g, generate_series(1, 60) group by g"
    )
    cli.write("1_a.sql", "create table a (id int);")
    with contextlib.ExitStack() as stack:
        if kind == "directory":
            store = f"file://{tmp_path / 'elsewhere'}"
            (tmp_path / "elsewhere").mkdir()
        else:
            store = f"s3://{BUCKET}/prod"
            cli.env |= stack.enter_context(s3_server()).environment()
        (cli.home / "autopilot.toml").write_text(f'[[backup_store]]\nurl = "{store}"\nallow_plain = true\n')
        killed = cli("migrate", "--no-deploy", AUTOPILOT_TEST="1", AUTOPILOT_TEST_KILLPOINT=f"B7:{visit}")
        assert killed.code == -signal.SIGKILL, killed.err
        assert database.value("select to_regclass('a') is null")
        [first] = json.loads(cli("backup", "list", "--json").out)
        assert (first["state"], [c["state"] for c in first["copies"] if c["state"] == "good"]) == ("good", [])
        ran = cli("migrate", "--no-deploy")
        assert ran.code == 0, ran.err
        assert cli("backup", "copy").code == 0
        told = json.loads(cli("backup", "list", "--verify", "--json").out)
        assert [(b["state"], [c["state"] for c in b["copies"]]) for b in told] == [("good", ["good"])] * 2
        assert first["file"] in {b["file"] for b in told}
    if kind == "directory":
        assert list((tmp_path / "elsewhere").glob("*.partial")) == []
