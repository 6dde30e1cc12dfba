"""The real Supabase CLI on the same database: whatever one of the two applied, the other takes as applied."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import LMS, ROOT, Cli, Database, Ran

PEERS = Path(os.environ.get("AUTOPILOT_PEERS_DIR", ROOT / ".peers"))
_PLACES = ("supabase", "node_modules/.bin/supabase", "node_modules/@supabase/cli-*/bin/supabase", "@supabase/cli-*/bin/supabase")
PROGRAM = next((path for place in _PLACES for path in sorted(PEERS.glob(place)) if path.is_file()), None)
pytestmark = [
    pytest.mark.peers,
    pytest.mark.skipif(
        PROGRAM is None,
        reason=f"the Supabase CLI is not installed under {PEERS}: copy tests/peers/package*.json there and run npm ci",
    ),
]
MIGRATE = ("migrate", "--no-backup", "--no-deploy")
ROUNDS = 4


@dataclass(frozen=True, kw_only=True)
class Supabase:
    """The Supabase CLI in the project of `cli`, with the same database as its target."""

    cli: Cli

    def __call__(self, *arguments: str) -> Ran:
        with self.start(*arguments) as process:
            out, err = process.communicate(timeout=120)
        return Ran(code=process.returncode, out=out.decode(), err=err.decode())

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        url = self.cli.env["SUPABASE_DB_URL"]
        quiet = {"SUPABASE_TELEMETRY_DISABLED": "1", "DO_NOT_TRACK": "1", "SUPABASE_NO_UPDATE_NOTIFIER": "1"}
        home = {"SUPABASE_HOME": str(self.cli.home / ".supabase-cli"), "HOME": str(self.cli.home)}
        return subprocess.Popen(
            [str(PROGRAM), *arguments, "--db-url", url, "--output-format", "json", "--yes"],
            cwd=self.cli.home,
            env={"PATH": os.environ["PATH"], **home, **quiet},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def told(self, *arguments: str) -> Any:
        ran = self(*arguments)
        assert ran.code == 0, ran.out + ran.err
        return json.loads(ran.out)

    def push(self) -> Any:
        return self.told("db", "push")

    def would_push(self) -> Any:
        return self.told("db", "push", "--dry-run")["migrations"]

    def listed(self) -> list[tuple[str, str]]:
        """(local, remote) of every version, "" where there is none."""
        return [(row["local"], row["remote"]) for row in self.told("migration", "list")["migrations"]]


@pytest.fixture
def supabase(cli: Cli) -> Supabase:
    return Supabase(cli=cli)


def migrated(cli: Cli) -> str:
    ran = cli(*MIGRATE)
    assert ran.code == 0, ran.err
    return ran.out


def versions(database: Database) -> list[str]:
    rows = database.rows('select version from supabase_migrations.schema_migrations order by version collate "C"')
    return [str(row[0]) for row in rows]


def pending(cli: Cli) -> list[str]:
    status = json.loads(cli("status", "--json").out)
    assert status["drift"] == []
    return [str(version) for version in status["pending"]]


def counted(number: int) -> str:
    """A migration that shows how often it ran, and in what order."""
    return f"create table if not exists effects (id serial, step int);\ninsert into effects (step) values ({number});\n"


def effects(database: Database) -> list[int]:
    return [int(row[0]) for row in database.rows("select step from effects order by id")]


def test_what_autopilot_applied_is_in_step_for_the_supabase_cli(cli: Cli, database: Database, supabase: Supabase) -> None:
    shutil.copytree(LMS / "supabase" / "migrations", cli.migrations, dirs_exist_ok=True)
    migrated(cli)
    files = sorted(path.name.split("_")[0] for path in cli.migrations.iterdir())
    assert supabase.listed() == [(version, version) for version in files]
    assert supabase.would_push() == []
    assert supabase.push()["upToDate"] is True
    assert versions(database) == files


def test_what_the_supabase_cli_applied_autopilot_takes_as_applied(cli: Cli, database: Database, supabase: Supabase) -> None:
    shutil.copytree(LMS / "supabase" / "migrations", cli.migrations, dirs_exist_ok=True)
    supabase.push()
    before = database.rows("select version, name, statements from supabase_migrations.schema_migrations order by version")
    assert "Nothing is pending" in migrated(cli)
    assert pending(cli) == []
    status = json.loads(cli("status", "--json").out)
    assert status["applied"] == [row[0] for row in before]
    assert before == database.rows("select version, name, statements from supabase_migrations.schema_migrations order by version")


def test_both_record_the_same_names_and_as_many_statements(
    cli: Cli, supabase: Supabase, new_database: Callable[[], Database], database: Database
) -> None:
    shutil.copytree(LMS / "supabase" / "migrations", cli.migrations, dirs_exist_ok=True)
    query = "select version, name, array_length(statements, 1) from supabase_migrations.schema_migrations order by version"
    migrated(cli)
    theirs = new_database()
    cli.env["SUPABASE_DB_URL"] = theirs.url
    supabase.push()
    assert database.rows(query) == theirs.rows(query)


def test_by_turns_each_applies_only_what_is_new(cli: Cli, database: Database, supabase: Supabase) -> None:
    for number in range(1, 7):
        cli.write(f"2025010100000{number}_step.sql", counted(number))
        if number % 2:
            migrated(cli)
            assert supabase.would_push() == []
        else:
            assert supabase.push()["migrations"] == [f"2025010100000{number}_step.sql"]
            assert pending(cli) == []
    assert effects(database) == [1, 2, 3, 4, 5, 6]
    assert len(versions(database)) == 6


def test_versions_of_one_odd_width_are_in_step(cli: Cli, database: Database, supabase: Supabase) -> None:
    for number in (7, 8, 9):
        cli.write(f"{number:03}_step.sql", counted(number))
    migrated(cli)
    cli.write("010_step.sql", counted(10))
    cli.write("011_step.sql", counted(11))
    assert [row["local"] for row in supabase.told("migration", "list")["migrations"]] == ["007", "008", "009", "010", "011"]
    supabase.push()
    assert pending(cli) == []
    assert effects(database) == [7, 8, 9, 10, 11]


@pytest.mark.xfail(reason="files.listing() sorts by file name; the Supabase CLI 2.122 and 3.1 sort by version text")
def test_versions_of_mixed_widths_run_in_the_order_of_the_supabase_cli(
    cli: Cli, supabase: Supabase, new_database: Callable[[], Database], database: Database
) -> None:
    for name, number in (("1", 1), ("2", 2), ("10", 3), ("007", 4), ("20250101", 5), ("20250101000000", 6)):
        cli.write(f"{name}_step.sql", counted(number))
    migrated(cli)
    assert supabase.would_push() == []
    theirs = new_database()
    cli.env["SUPABASE_DB_URL"] = theirs.url
    supabase.push()
    assert effects(database) == effects(theirs)


@pytest.mark.parametrize("tool", ["autopilot", "supabase"])
def test_a_file_that_reads_the_table_sees_the_rows_of_all_earlier_files(
    cli: Cli, database: Database, supabase: Supabase, tool: str
) -> None:
    cli.write("20250101000001_first.sql", counted(1))
    cli.write("20250101000002_second.sql", counted(2))
    cli.write(
        "20250101000003_reads.sql",
        "create table seen as select version, name, statements from supabase_migrations.schema_migrations;\n",
    )
    if tool == "autopilot":
        migrated(cli)
    else:
        supabase.push()
    seen = database.rows("select version, name, array_length(statements, 1) from seen order by version")
    assert seen == [("20250101000001", "first", 2), ("20250101000002", "second", 2)]


def test_the_columns_of_hosted_projects_are_left_alone(cli: Cli, database: Database, supabase: Supabase) -> None:
    cli.write("20250101000001_first.sql", counted(1))
    supabase.push()
    database.run(
        "alter table supabase_migrations.schema_migrations"
        " add column created_by text, add column idempotency_key text unique, add column rollback text[];"
        "update supabase_migrations.schema_migrations set created_by = 'ada@example.com', idempotency_key = 'k', rollback = '{x}'"
    )
    cli.write("20250101000002_second.sql", counted(2))
    migrated(cli)
    cli.write("20250101000003_third.sql", counted(3))
    assert supabase.push()["migrations"] == ["20250101000003_third.sql"]
    assert pending(cli) == []
    rows = database.rows(
        "select created_by, idempotency_key, rollback from supabase_migrations.schema_migrations order by version"
    )
    assert rows == [("ada@example.com", "k", ["x"]), (None, None, None), (None, None, None)]
    assert effects(database) == [1, 2, 3]


def test_rows_without_statements_or_name_are_taken_as_applied(cli: Cli, database: Database, supabase: Supabase) -> None:
    cli.write("20250101000001_first.sql", counted(1))
    supabase.push()
    database.run("update supabase_migrations.schema_migrations set name = null, statements = null")
    assert "Nothing is pending" in migrated(cli)
    assert supabase.listed() == [("20250101000001", "20250101000001")]


def test_a_version_repaired_as_reverted_is_not_run_again_by_autopilot(cli: Cli, database: Database, supabase: Supabase) -> None:
    cli.write("20250101000001_first.sql", counted(1))
    migrated(cli)
    ran = supabase("migration", "repair", "20250101000001", "--status", "reverted")
    assert ran.code == 0, ran.err
    assert versions(database) == []
    migrated(cli)
    assert effects(database) == [1]


@pytest.mark.parametrize("setting", ["auto", "file"])
def test_started_in_the_same_moment_nothing_is_applied_twice(
    cli: Cli, supabase: Supabase, new_database: Callable[[], Database], setting: str
) -> None:
    (cli.home / "autopilot.toml").write_text(f'transaction = "{setting}"\n')
    numbers = range(1, 9)
    cli.write("20250101000000_table.sql", "create table effects (id serial, step int);\n")
    for number in numbers:
        cli.write(f"2025010100000{number}_step.sql", f"select pg_sleep(0.05);\ninsert into effects (step) values ({number});\n")
    for _ in range(ROUNDS):
        database = new_database()
        cli.env["SUPABASE_DB_URL"] = database.url
        together = threading.Barrier(2)
        codes: dict[str, int] = {}

        def ours(meet: threading.Barrier = together, ends: dict[str, int] = codes) -> None:
            meet.wait()
            ends["autopilot"] = cli(*MIGRATE).code

        thread = threading.Thread(target=ours)
        thread.start()
        together.wait()
        codes["supabase"] = supabase("db", "push").code
        thread.join()
        assert 0 in codes.values(), codes
        assert effects(database) == sorted(set(effects(database)))
        assert cli(*MIGRATE).code == 0
        assert effects(database) == list(numbers)
        assert len(versions(database)) == len(numbers) + 1
        assert supabase.would_push() == []
