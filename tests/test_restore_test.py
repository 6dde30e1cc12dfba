"""`autopilot backup restore-test`: a backup counts once it was restored."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import Cli, Database

from autopilot.audit.reports import RestoreTest
from autopilot.workflows.proven import standing


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


SIGNING = "s" * 40


def test_with_a_secret_what_nobody_signed_is_restored_only_when_asked(cli: Cli, backed_up: Path, database: Database) -> None:
    alone = cli("backup", "restore-test", "--json", AUTOPILOT_SECRET=SIGNING)
    assert (alone.code, json.loads(alone.out)["error"]["code"]) == (1, "backup_not_signed")
    assert "There is no older signed one" in alone.err
    assert cli("backup", "create", AUTOPILOT_SECRET=SIGNING).code == 0
    signed = max(cli.backups.glob("*.dump"))
    assert cli("backup", "create").code == 0
    ran = cli("backup", "restore-test", "--json", AUTOPILOT_SECRET=SIGNING)
    assert (ran.code, json.loads(ran.out)["error"]["code"]) == (1, "backup_not_signed")
    assert f"The next older signed one is {signed.name}" in ran.err
    assert "--allow-unsigned" in ran.err
    assert len(written(database)) == 1
    for arguments in ((signed.name,), ("--allow-unsigned",)):
        again = cli("backup", "restore-test", *arguments, AUTOPILOT_SECRET=SIGNING)
        assert again.code == 0, again.err


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


# on a schedule


def days_ago(database: Database, days: int) -> None:
    database.run(f"update automation.restore_tests set tested_at = now() - interval '{days} days'", admin=True)


def test_a_test_that_is_not_due_is_not_made_and_the_next_is_named(cli: Cli, backed_up: Path, database: Database) -> None:
    ran = cli("backup", "restore-test", "--if-due")
    assert ran.code == 0, ran.err
    assert ran.out.startswith(f"Not due: {backed_up.name} came back less than a minute ago; the next test is due 2")
    told = json.loads(cli("backup", "restore-test", "--if-due", "--json").out)
    assert told["status"] == "not_due"
    due_in = datetime.fromisoformat(told["due_at"]) - datetime.now(UTC)
    assert timedelta(days=6) < due_in <= timedelta(days=7)
    assert len(written(database)) == 1


def test_a_test_that_is_due_is_made_and_the_schedule_begins_anew(cli: Cli, backed_up: Path, database: Database) -> None:
    days_ago(database, 8)
    assert "Restored     OVERDUE by 1 day" in cli("status").out
    ran = cli("backup", "restore-test", "--if-due", "--json")
    assert ran.code == 0, ran.err
    assert json.loads(ran.out)["status"] == "success"
    assert len(written(database)) == 2
    assert json.loads(cli("status", "--json").out)["restore_test"]["state"] == "fresh"


@pytest.mark.parametrize(("every", "days", "is_made"), [("30 days", 8, False), ("12 hours", 1, True), ("off", 999, False)])
def test_how_often_is_configured(cli: Cli, backed_up: Path, database: Database, every: str, days: int, *, is_made: bool) -> None:
    (cli.home / "autopilot.toml").write_text(f'restore_test_every = "{every}"\n')
    days_ago(database, days)
    ran = cli("backup", "restore-test", "--if-due")
    assert ran.code == 0, ran.err
    assert len(written(database)) == 1 + is_made


def test_a_failing_one_is_due_at_once_and_told_by_status_and_the_next_release(
    cli: Cli, backed_up: Path, database: Database
) -> None:
    manifest = backed_up.with_name(backed_up.name + ".manifest.json")
    manifest.write_text(manifest.read_text().replace('"public.kept": 500', '"public.kept": 501'))
    assert cli("backup", "restore-test").code == 1
    shown = cli("status").out
    assert f"Restored     FAILING: {backed_up.name} did not come back" in shown
    assert "501 rows in the backup's snapshot" in shown
    found = json.loads(cli("status", "--json").out)["restore_test"]
    assert (found["state"], found["last"]["status"]) == ("failing", "failure")
    assert found["last_success_at"] is not None
    assert cli("backup", "restore-test", "--if-due").code == 1
    cli.write("2_b.sql", "create table b (id int);")
    ran = cli("migrate", "--no-deploy", "--no-rehearsal")
    assert ran.code == 0, ran.err
    assert f"! Restore test: FAILING: {backed_up.name} did not come back" in ran.err


def test_where_nothing_was_ever_restored_it_is_due(cli: Cli, database: Database) -> None:
    assert json.loads(cli("status", "--json").out)["restore_test"]["state"] == "never"
    assert cli("backup", "create").code == 0
    ran = cli("backup", "restore-test", "--if-due")
    assert ran.code == 0, ran.err
    assert "came back as it was" in ran.out


def test_a_file_and_a_schedule_do_not_go_together(cli: Cli) -> None:
    assert cli("backup", "restore-test", "--if-due", "backup_x.dump").code == 2


NOW = datetime(2026, 3, 4, 12, tzinfo=UTC)
WEEK_S = 604_800.0


def tried(hours: int, status: str = "success") -> RestoreTest:
    """One so many hours ago."""
    return RestoreTest(tested_at=NOW - timedelta(hours=hours), backup_file="b.dump", status=status, notes="n")


@pytest.mark.parametrize(
    ("last", "good", "every_s", "state", "is_due"),
    [
        (None, None, WEEK_S, "never", True),
        (None, None, None, "off", False),
        (tried(1), tried(1), WEEK_S, "fresh", False),
        (tried(167), tried(167), WEEK_S, "fresh", False),
        (tried(168), tried(168), WEEK_S, "overdue", True),
        (tried(999), tried(999), None, "off", False),
        (tried(1, "failure"), tried(2), WEEK_S, "failing", True),
        (tried(1, "failure"), None, WEEK_S, "failing", True),
        (tried(1, "failure"), tried(2), None, "failing", False),
    ],
)
def test_how_proven_backups_are(
    last: RestoreTest | None, good: RestoreTest | None, every_s: float | None, state: str, *, is_due: bool
) -> None:
    found = standing(last, good, every_s=every_s, now=NOW)
    assert (found.state, found.is_due(NOW)) == (state, is_due)
    assert found.is_worrying is (state in {"never", "overdue", "failing"})
    assert found.words
