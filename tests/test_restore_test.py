"""`autopilot backup restore-test`: a backup counts once it was restored."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import Cli, Database


@pytest.fixture
def backed_up(cli: Cli, database: Database) -> Path:
    """A project released once; returns its backup."""
    database.run(
        "create table kept (id int primary key, name text); insert into kept select n, 'n' || n from generate_series(1, 500) n"
    )
    cli.write("1_a.sql", "create table a (id int);")
    ran = cli("migrate", "--no-deploy")
    assert ran.code == 0, ran.err
    return next(cli.backups.glob("*.dump"))


def written(database: Database) -> list[tuple[Any, ...]]:
    return database.rows("select backup_file, status, restore_ms > 0, notes from automation.restore_tests order by id")


def test_a_release_that_rehearsed_has_restored_its_backup_and_says_so(backed_up: Path, database: Database) -> None:
    assert written(database) == [(backed_up.name, "success", True, "restored for its rehearsal")]


def test_the_newest_backup_is_restored_compared_and_written_down(cli: Cli, backed_up: Path, database: Database) -> None:
    ran = cli("backup", "restore-test", "--json")
    assert ran.code == 0, ran.err
    told = json.loads(ran.out)
    assert (told["file"], told["status"], told["recorded"]) == (backed_up.name, "success", True)
    assert told["rows"] >= 500
    assert told["seconds_per_gib"] > 0
    assert written(database)[1:] == [(backed_up.name, "success", True, "as it was dumped")]


def test_it_needs_no_production_database(cli: Cli, backed_up: Path) -> None:
    del cli.env["SUPABASE_DB_URL"]
    ran = cli("backup", "restore-test", backed_up.name)
    assert ran.code == 0, ran.err
    assert f"{backed_up.name} came back as it was" in ran.out


def test_a_backup_that_lost_a_row_on_its_way_does_not_count(cli: Cli, backed_up: Path, database: Database) -> None:
    manifest = backed_up.with_name(backed_up.name + ".manifest.json")
    manifest.write_text(manifest.read_text().replace('"public.kept": 500', '"public.kept": 501'))
    ran = cli("backup", "restore-test", "--json")
    assert (ran.code, json.loads(ran.out)["error"]["code"]) == (1, "backup_not_faithful")
    assert "public.kept: 501 rows in the backup's snapshot, 500 restored" in ran.err
    assert written(database)[1][:2] == (backed_up.name, "failure")


def test_a_damaged_backup_is_refused_and_the_older_good_one_named(cli: Cli, backed_up: Path, database: Database) -> None:
    cli.write("2_b.sql", "create table b (id int);")
    assert cli("migrate", "--no-deploy").code == 0
    newest = max(cli.backups.glob("*.dump"))
    newest.write_bytes(newest.read_bytes()[:-100])
    ran = cli("backup", "restore-test", "--json")
    assert (ran.code, json.loads(ran.out)["error"]["code"]) == (1, "backup_damaged")
    assert f"The next older good one is {backed_up.name}" in ran.err


def test_without_any_backup_it_says_so(cli: Cli) -> None:
    ran = cli("backup", "restore-test", "--json")
    assert (ran.code, json.loads(ran.out)["error"]["code"]) == (1, "no_backup")
