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


def keys() -> tuple[str, str]:
    """A recipient and its identity."""
    import pyrage

    identity = pyrage.x25519.Identity.generate()
    return str(identity.to_public()), str(identity)


def test_a_release_keeps_only_the_encrypted_backup_and_rehearses_on_the_plain_one(cli: Cli, database: Database) -> None:
    recipient, identity = keys()
    second = cli.home / "second"
    (cli.home / "autopilot.toml").write_text(f'backup_recipients = ["{recipient}"]\n[[backup_store]]\nurl = "file://{second}"\n')
    second.mkdir()
    database.run("create table kept (id int); insert into kept select generate_series(1, 100)")
    cli.write("1_a.sql", "create table a (id int);")
    ran = cli("migrate", "--no-deploy", AUTOPILOT_SECRET="a" * 64)
    assert ran.code == 0, ran.err
    assert "encrypted with age, 1 of 1 copies made" in ran.err
    assert "rehearse" in ran.err
    kept = [f.name for f in cli.backups.iterdir()]
    (name,) = [n for n in kept if n.endswith(".dump.age")]
    assert sorted(kept) == [name, name + ".manifest.json"]
    assert {f.name for f in second.iterdir()} == set(kept)
    assert database.value("select backup_file from automation.migration_log") == name
    closed = cli("backup", "restore-test", "--json")
    assert closed.code != 0
    tested = cli("backup", "restore-test", AUTOPILOT_AGE_IDENTITY=identity)
    assert tested.code == 0, tested.err
    assert f"{name} came back as it was" in tested.out
    assert [f.name for f in cli.backups.iterdir() if f.name not in kept] == []


def test_a_copy_that_cannot_be_made_stops_the_release_before_anything_is_applied(cli: Cli, database: Database) -> None:
    recipient, _ = keys()
    (cli.home / "autopilot.toml").write_text(f'backup_recipients = ["{recipient}"]\n[[backup_store]]\nurl = "s3://nowhere/x"\n')
    cli.write("1_a.sql", "create table a (id int);")
    unset = cli("migrate", "--no-deploy", "--json")
    assert (unset.code, json.loads(unset.out)["error"]["code"]) == (2, "no_store_keys")
    assert database.value("select to_regnamespace('automation') is null")


def test_a_bad_recipient_is_found_before_the_lock(cli: Cli, database: Database) -> None:
    (cli.home / "autopilot.toml").write_text('backup_recipients = ["age1nonsense"]\n')
    cli.write("1_a.sql", "create table a (id int);")
    ran = cli("migrate", "--no-deploy", "--json")
    assert (ran.code, json.loads(ran.out)["error"]["code"]) == (2, "bad_recipient")
    assert database.value("select to_regnamespace('automation') is null")
