"""`autopilot migrate` from a terminal's point of view: what a release leaves behind, and what a refusal does not."""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
import stat
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql
from tests.conftest import PASSWORD, Cli, Database, Ran

from autopilot import programs
from autopilot.postgres.address import libpq_environment, parameters
from autopilot.postgres.embedded import EmbeddedServer
from autopilot.secret import Secret

#: The contract's keys of `migrate --json`.
KEYS = {
    *("run_id", "outcome", "applied", "pending", "backup", "rehearsal"),
    *("deploy", "findings", "error", "duration_ms"),
}
ACCOUNTS = "20250101090000_accounts.sql"
COUNTING = "20250101090500_count_notes.sql"
INDEX = "20250101091000_notes_by_account.sql"
FIRST = {
    ACCOUNTS: """
create table accounts (id bigint generated always as identity primary key, email text not null unique, age integer not null);
create table notes (
  id bigint generated always as identity primary key, account_id bigint not null references accounts, body text
);
create table empty_so_far (id bigint primary key);
insert into accounts (email, age) values ('ada@harbour.example', 36), ('grace@harbour.example', 85);
insert into notes (account_id, body) values (1, 'engines'), (2, 'bugs; and ''quotes''');
""",
    COUNTING: """
create function count_notes(account bigint) returns bigint language sql stable
as $$ select count(*) from notes where account_id = account; $$;
""",
    INDEX: "create index concurrently notes_account_id_idx on notes (account_id);\n",
}
VERSIONS = ["20250101090000", "20250101090500", "20250101091000"]
LATER = "20250201090000"
#: Right in itself, and production holds an 85-year-old.
TOO_STRICT = """-- who may join
alter table accounts add column checked boolean not null default false;

alter table accounts
  add constraint accounts_age check (age between 0 and 80);
"""
MENDED = TOO_STRICT.replace("80", "120")
WORD = re.compile(r"^\\(un)?restrict .*$", re.MULTILINE)


def document(ran: Ran) -> dict[str, Any]:
    """The one JSON document on stdout."""
    assert ran.out.count("\n") == 1, ran.out
    found: dict[str, Any] = json.loads(ran.out)
    return found


def fingerprint(server: EmbeddedServer, url: str, *options: str) -> str:
    """Schema and rows of everything but the schema automation, as pg_dump tells them."""
    finished = programs.run(
        programs.Command(
            argv=(server.installation.tool("pg_dump"), "--exclude-schema=automation", *options),
            env=libpq_environment(parameters(Secret(url))),
        )
    )
    assert finished.ok, finished.stderr
    return WORD.sub("", finished.stdout.decode())


def schema_of(server: EmbeddedServer, url: str) -> str:
    return fingerprint(server, url, "--schema-only")


def dumps(cli: Cli) -> list[Path]:
    return sorted(cli.backups.glob("backup_*.dump"))


def last_log(database: Database, columns: str) -> tuple[Any, ...]:
    return database.rows(f"select {columns} from automation.migration_log order by id desc limit 1")[0]


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def until(reached: Callable[[], bool], *, net_s: float = 60) -> None:
    deadline_s = time.monotonic() + net_s
    while not reached():
        assert time.monotonic() < deadline_s, "it never came to that"
        time.sleep(0.01)


@pytest.fixture
def scratch_root() -> Iterator[Path]:
    """A TMPDIR of its own: whatever server runs below it was started by this test."""
    with tempfile.TemporaryDirectory(prefix="ap-", dir="/tmp") as directory:
        Path(directory).chmod(0o711)
        yield Path(directory)


def servers_below(root: Path) -> list[str]:
    lines = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = os.fsdecode(entry.read_bytes()).replace("\0", " ")
        except OSError:
            continue
        if f" -D {root}/" in line:
            lines.append(line)
    return lines


@pytest.fixture
def first(cli: Cli, database: Database, released_once: Callable[[Database, Cli], None]) -> Cli:
    """The project after its first release, made without the steps that other tests are about."""
    for name, text in FIRST.items():
        cli.write(name, text)
    released_once(database, cli)
    return cli


@pytest.fixture
def restored(server: EmbeddedServer) -> Iterator[Callable[[Path], str]]:
    """Restores a backup into a new and empty database and returns its URL."""
    made: list[str] = []

    def restore(backup: Path) -> str:
        name = f"r_{secrets.token_hex(6)}"
        with psycopg.connect(server.url().reveal(), autocommit=True) as connection:
            connection.execute(sql.SQL("create database {} template template0").format(sql.Identifier(name)))
        made.append(name)
        url = server.url(name).reveal()
        command = (server.installation.tool("pg_restore"), "--exit-on-error", f"--dbname={name}", str(backup))
        environment = {k: v for k, v in libpq_environment(parameters(Secret(url))).items() if k != "PGDATABASE"}
        finished = programs.run(programs.Command(argv=command, env=environment))
        assert finished.ok, finished.stderr
        return url

    yield restore
    with psycopg.connect(server.url().reveal(), autocommit=True) as connection:
        for name in made:
            connection.execute(sql.SQL("drop database {} with (force)").format(sql.Identifier(name)))


def test_a_first_release_tells_all_that_the_contract_promises(cli: Cli) -> None:
    for name, text in FIRST.items():
        cli.write(name, text)
    ran = cli("migrate", "--json")
    told = document(ran)
    assert ran.code == 0
    assert set(told) >= KEYS
    assert (told["outcome"], told["applied"], told["pending"]) == ("released", VERSIONS, [])
    assert (told["error"], told["deploy"]) == (None, None)
    assert told["duration_ms"] > 0
    assert told["rehearsal"]["server_version"].startswith("17.")
    assert {"rule", "severity", "line", "message", "hint", "file"} <= set(told["findings"][0])
    assert "Traceback" not in ran.err


def test_a_first_release_does_what_its_files_say(cli: Cli, database: Database) -> None:
    for name, text in FIRST.items():
        cli.write(name, text)
    assert cli("migrate").code == 0
    assert database.rows("select email, count_notes(id) from accounts order by id") == [
        ("ada@harbour.example", 1),
        ("grace@harbour.example", 1),
    ]
    assert database.value("select indisvalid from pg_index where indexrelid = 'notes_account_id_idx'::regclass")


def test_a_release_writes_the_ledger_and_the_supabase_clis_history(cli: Cli, database: Database) -> None:
    for name, text in FIRST.items():
        cli.write(name, text)
    told = document(cli("migrate", "--json", "--commit", "0123456789abcdef", "--triggered-by", "a test"))
    ledger = database.rows(
        "select version, name, file, sha256, statements, run_id, triggered_by, commit_sha, origin"
        " from automation.applied_migrations order by version"
    )
    assert ledger == [
        (
            *(version, file.removesuffix(".sql").split("_", 1)[1], file, hashlib.sha256(text.encode()).hexdigest()),
            *(statements, told["run_id"], "a test", "0123456789abcdef", "autopilot"),
        )
        for version, (file, text), statements in zip(VERSIONS, FIRST.items(), (5, 1, 1), strict=True)
    ]
    history = database.rows("select version, name, cardinality(statements) from supabase_migrations.schema_migrations order by 1")
    assert history == [
        ("20250101090000", "accounts", 5),
        ("20250101090500", "count_notes", 1),
        (VERSIONS[2], "notes_by_account", 1),
    ]


def test_a_release_is_written_to_the_migration_log(cli: Cli, database: Database) -> None:
    for name, text in FIRST.items():
        cli.write(name, text)
    told = document(cli("migrate", "--json", "--commit", "0123456789abcdef", "--triggered-by", "a test"))
    row = last_log(database, "status, commit_sha, triggered_by, backup_file, duration_ms > 0, error_message, versions")
    assert row == ("success", "0123456789abcdef", "a test", told["backup"]["file"], True, None, VERSIONS)
    assert database.rows("select state, finished_at is not null from automation.runs") == [("released", True)]


def test_a_backup_is_private_described_and_whole(cli: Cli) -> None:
    cli.write(ACCOUNTS, FIRST[ACCOUNTS])
    told = document(cli("migrate", "--json"))["backup"]
    (file,) = dumps(cli)
    manifest_file = file.with_name(f"{file.name}.manifest.json")
    manifest = json.loads(manifest_file.read_text())
    assert (mode(file), mode(manifest_file)) == (0o600, 0o600)
    assert re.match(r"^backup_\d{8}_\d{6}", file.name)
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    assert told == {"file": file.name, "sha256": digest, "size_bytes": file.stat().st_size}
    assert (manifest["sha256"], manifest["size_bytes"], manifest["file"]) == (digest, file.stat().st_size, file.name)
    assert list(cli.backups.glob("*.partial")) == []


def test_a_backup_restores_to_what_was_there_before_the_release(
    first: Cli, database: Database, server: EmbeddedServer, restored: Callable[[Path], str]
) -> None:
    before = fingerprint(server, database.admin_url)
    first.write(f"{LATER}_ages.sql", MENDED)
    assert first("migrate").code == 0
    (file,) = dumps(first)
    assert fingerprint(server, restored(file)) == before
    assert json.loads(file.with_name(f"{file.name}.manifest.json").read_text())["rows"]["public.accounts"] == 2


def test_with_nothing_pending_it_says_so_and_takes_no_backup(first: Cli, database: Database) -> None:
    ran = first("migrate")
    assert ran.code == 0
    assert "Nothing is pending" in ran.out
    told = document(first("migrate", "--json"))
    assert (told["outcome"], told["applied"], told["pending"], told["backup"]) == ("nothing_to_do", [], [], None)
    assert dumps(first) == []
    assert database.value("select count(*) from automation.migration_log") == 1


def test_what_production_would_refuse_is_refused_in_rehearsal(first: Cli, database: Database, server: EmbeddedServer) -> None:
    before = fingerprint(server, database.admin_url)
    first.write(f"{LATER}_ages.sql", TOO_STRICT)
    ran = first("migrate", "--json")
    told = document(ran)
    error = told["error"]
    assert (ran.code, told["outcome"], error["code"]) == (1, "refused", "refused_in_rehearsal")
    assert (error["file"], error["line"]) == (f"{LATER}_ages.sql", 4)
    assert "add constraint accounts_age" in error["statement"]
    assert 'check constraint "accounts_age" of relation "accounts" is violated by some row' in error["message"]
    assert error["hint"]
    assert (told["applied"], told["pending"]) == ([], [LATER])
    assert fingerprint(server, database.admin_url) == before


def test_a_refusal_is_told_to_a_person_and_written_down(first: Cli, database: Database) -> None:
    first.write(f"{LATER}_ages.sql", TOO_STRICT)
    ran = first("migrate")
    assert ran.code == 1
    assert f"{LATER}_ages.sql:4" in ran.err
    assert "Nothing was touched" in ran.err
    assert "Next:" in ran.err
    assert "Traceback" not in ran.err
    status, message, versions, backup = last_log(database, "status, error_message, versions, backup_file")
    assert (status, versions, backup) == ("failure", [LATER], dumps(first)[0].name)
    assert "accounts_age" in message
    assert database.rows("select state from automation.runs order by started_at desc limit 1") == [("refused",)]


def test_after_a_refusal_the_mended_file_goes_through(first: Cli, database: Database) -> None:
    first.write(f"{LATER}_ages.sql", TOO_STRICT)
    assert first("migrate").code == 1
    first.write(f"{LATER}_ages.sql", MENDED)
    told = document(first("migrate", "--json"))
    assert (told["outcome"], told["applied"]) == ("released", [LATER])
    assert database.rows("select status from automation.migration_log order by id") == [("success",), ("failure",), ("success",)]
    assert len(dumps(first)) == 2


def test_a_row_written_after_the_rehearsal_is_kept_and_the_migration_rolled_back(
    first: Cli, database: Database, server: EmbeddedServer
) -> None:
    before = schema_of(server, database.admin_url)
    first.write(f"{LATER}_ages.sql", MENDED)

    def write_meanwhile() -> None:
        until(lambda: bool(list(first.backups.glob("*.manifest.json"))))
        database.run("insert into accounts (email, age) values ('late@harbour.example', 150)")

    writer = threading.Thread(target=write_meanwhile)
    writer.start()
    ran = first("migrate", "--json")
    writer.join()
    told = document(ran)
    assert (ran.code, told["outcome"], told["error"]["code"]) == (3, "rolled_back", "migration_failed")
    assert (told["error"]["file"], told["error"]["line"]) == (f"{LATER}_ages.sql", 4)
    assert (told["applied"], told["pending"]) == ([], [LATER])
    assert told["rehearsal"] is not None
    assert database.rows("select email from accounts order by id")[-1] == ("late@harbour.example",)
    assert schema_of(server, database.admin_url) == before
    assert "Rolled back" in ran.err
    assert last_log(database, "status, versions") == ("failure", [LATER])


def test_of_two_files_neither_is_in_when_the_second_fails(first: Cli, database: Database, server: EmbeddedServer) -> None:
    before = fingerprint(server, database.admin_url)
    first.write("20250201080000_colours.sql", "create table colours (name text primary key);\n")
    first.write(f"{LATER}_ages.sql", TOO_STRICT)
    ran = first("migrate", "--json", "--no-backup")
    told = document(ran)
    assert (ran.code, told["outcome"], told["applied"]) == (3, "rolled_back", [])
    assert told["pending"] == ["20250201080000", LATER]
    assert fingerprint(server, database.admin_url) == before
    assert database.value("select count(*) from automation.applied_migrations") == len(VERSIONS)


def test_what_had_to_be_committed_before_a_failure_is_named(first: Cli, database: Database) -> None:
    first.write("20250201080000_bodies.sql", "create index concurrently notes_body_idx on notes (body);\n")
    first.write(f"{LATER}_ages.sql", TOO_STRICT)
    ran = first("migrate", "--json", "--no-backup")
    told = document(ran)
    assert (ran.code, told["outcome"]) == (4, "stranded")
    assert (told["applied"], told["pending"]) == (["20250201080000"], [LATER])
    assert "20250201080000_bodies.sql is in" in told["error"]["state"]
    assert database.value("select to_regclass('notes_body_idx') is not null")
    first.write(f"{LATER}_ages.sql", MENDED)
    assert document(first("migrate", "--json", "--no-backup"))["applied"] == [LATER]


def test_without_a_rehearsal_the_target_is_the_first_to_refuse(first: Cli, database: Database, server: EmbeddedServer) -> None:
    before = fingerprint(server, database.admin_url)
    first.write(f"{LATER}_ages.sql", TOO_STRICT)
    ran = first("migrate", "--json", "--no-rehearsal")
    told = document(ran)
    assert (ran.code, told["outcome"], told["rehearsal"]) == (3, "rolled_back", None)
    assert told["backup"]["file"] == dumps(first)[0].name
    assert fingerprint(server, database.admin_url) == before


@pytest.mark.parametrize(
    ("option", "has_backup", "has_rehearsal"),
    [
        pytest.param((), True, True, id="as usual"),
        pytest.param(("--no-backup",), False, False, id="no backup"),
        pytest.param(("--no-rehearsal",), True, False, id="no rehearsal"),
    ],
)
def test_the_steps_that_are_waived_are_left_out_and_said(
    cli: Cli, option: tuple[str, ...], has_backup: bool, has_rehearsal: bool
) -> None:
    cli.write(ACCOUNTS, FIRST[ACCOUNTS])
    ran = cli("migrate", "--json", *option)
    told = document(ran)
    assert (ran.code, told["outcome"]) == (0, "released")
    assert (told["backup"] is not None, told["rehearsal"] is not None) == (has_backup, has_rehearsal)
    assert len(dumps(cli)) == has_backup
    assert ("as asked" in ran.err) is (option != ())


def test_rehearsal_can_be_switched_off_in_the_configuration(cli: Cli) -> None:
    cli.write(ACCOUNTS, FIRST[ACCOUNTS])
    (cli.home / "autopilot.toml").write_text('rehearsal = "off"\nbackups_dir = "elsewhere"\n')
    told = document(cli("migrate", "--json"))
    assert told["rehearsal"] is None
    assert (cli.home / "elsewhere" / told["backup"]["file"]).is_file()


def test_without_the_deploy_nobody_is_asked_for_one(cli: Cli, database: Database) -> None:
    cli.write(ACCOUNTS, FIRST[ACCOUNTS])
    nobody = "http://127.0.0.1:1/"  # answering would take retries and end as stranded
    ran = cli("migrate", "--json", "--no-deploy", NETLIFY_BUILD_HOOK=nobody, SITE_URL=nobody, HEALTH_URL=nobody)
    told = document(ran)
    assert (ran.code, told["outcome"], told["deploy"]) == (0, "released", None)
    assert database.value("select count(*) from automation.deployment_log") == 0
    assert database.value("select count(*) from automation.health_log") == 0


def test_an_edited_file_is_refused_before_anything_is_written(first: Cli, database: Database) -> None:
    first.write(COUNTING, FIRST[COUNTING] + "-- one more thought\n")
    ran = first("migrate", "--json")
    told = document(ran)
    assert (ran.code, told["error"]["code"], told["error"]["file"]) == (1, "edited_after_applied", COUNTING)
    assert "--accept-edited 20250101090500" in told["error"]["hint"]
    assert database.value("select count(*) from automation.runs") == 1


def test_an_edited_file_that_is_accepted_is_not_run_and_not_complained_of_again(first: Cli, database: Database) -> None:
    edited = FIRST[COUNTING] + "drop table notes;\n"
    first.write(COUNTING, edited)
    assert first("migrate", "--accept-edited", "20250101090500").code == 0
    assert document(first("migrate", "--json"))["outcome"] == "nothing_to_do"
    assert database.value("select count(*) from notes") == 2
    digest = hashlib.sha256(edited.encode()).hexdigest()
    assert database.value("select sha256 from automation.applied_migrations where version = '20250101090500'") == digest


def test_accepting_what_was_never_applied_is_refused(first: Cli) -> None:
    ran = first("migrate", "--json", "--accept-edited", "20990101090500")
    assert (ran.code, document(ran)["error"]["code"]) == (1, "nothing_to_accept")


@pytest.mark.parametrize(
    "rewrite",
    [
        pytest.param(lambda text: text.replace("\n", "\r\n").encode(), id="other line ends"),
        pytest.param(lambda text: b"\xef\xbb\xbf" + text.encode(), id="a byte order mark"),
    ],
)
def test_a_file_that_only_an_editor_touched_is_no_edit(first: Cli, rewrite: Callable[[str], bytes]) -> None:
    first.write(COUNTING, rewrite(FIRST[COUNTING]))
    assert document(first("migrate", "--json"))["outcome"] == "nothing_to_do"


def test_a_file_older_than_what_is_applied_needs_leave(first: Cli, database: Database) -> None:
    first.write("20250101090100_late.sql", "create table late (id bigint primary key);\n")
    ran = first("migrate", "--json")
    assert (ran.code, document(ran)["error"]["code"]) == (1, "out_of_order")
    assert database.value("select to_regclass('late') is null")
    told = document(first("migrate", "--json", "--allow-out-of-order"))
    assert told["applied"] == ["20250101090100"]
    assert document(first("migrate", "--json"))["outcome"] == "nothing_to_do"


@pytest.mark.parametrize(
    ("text", "code"),
    [pytest.param(MENDED, 0, id="released"), pytest.param(TOO_STRICT, 1, id="refused")],
)
def test_a_run_leaves_no_session_no_lock_and_no_server(
    first: Cli, database: Database, scratch_root: Path, text: str, code: int
) -> None:
    first.write(f"{LATER}_ages.sql", text)
    assert first("migrate", TMPDIR=str(scratch_root)).code == code
    until(lambda: database.rows("select pid from pg_stat_activity where application_name like 'autopilot%'") == [])
    assert database.rows("select * from pg_locks where locktype = 'advisory'") == []
    assert servers_below(scratch_root) == []
    assert list(scratch_root.glob("autopilot-*/pg-*")) == []


def test_a_table_that_somebody_holds_is_waited_for_and_the_migration_goes_in(first: Cli, database: Database) -> None:
    first.write(f"{LATER}_ages.sql", MENDED)
    (first.home / "autopilot.toml").write_text("lock_timeout_s = 0.2\n")
    waiting = "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and application_name like 'autopilot:%'"
    with psycopg.connect(database.url) as holder:
        holder.execute("lock table accounts in row exclusive mode")
        process = first.start("migrate", "--no-backup")
        with process:
            until(lambda: database.value(waiting) > 0)
            until(lambda: database.value(waiting) == 0)  # it let go, so that everybody else gets through
            holder.rollback()
            process.communicate(timeout=60)
    assert process.returncode == 0
    assert database.value("select count(*) from automation.applied_migrations where version = %s", LATER) == 1


def test_a_table_that_is_never_let_go_ends_in_a_refusal_that_names_the_lock(first: Cli, database: Database) -> None:
    first.write(f"{LATER}_ages.sql", MENDED)
    (first.home / "autopilot.toml").write_text("lock_timeout_s = 0.1\nlock_tries = 2\n")
    with psycopg.connect(database.url) as holder:
        holder.execute("lock table accounts in row exclusive mode")
        ran = first("migrate", "--json", "--no-backup")
    error = document(ran)["error"]
    assert (ran.code, error["code"], error["retryable"]) == (3, "lock_not_available", True)
    assert "tried 2 times" in error["message"]


def test_a_table_that_is_held_exclusively_does_not_hold_up_the_backup_for_ever(first: Cli, database: Database) -> None:
    first.write(f"{LATER}_ages.sql", MENDED)
    with psycopg.connect(database.url) as holder:
        holder.execute("lock table accounts in access exclusive mode")
        ran = first("migrate", "--json", timeout_s=40)
    told = document(ran)
    assert (ran.code, told["outcome"], told["backup"]) == (1, "refused", None)
    assert told["error"]["retryable"]


def test_the_target_may_be_named_on_the_command_line(cli: Cli, database: Database) -> None:
    elsewhere = cli.home / "db" / "changes"
    elsewhere.mkdir(parents=True)
    (elsewhere / ACCOUNTS).write_text(FIRST[ACCOUNTS])
    ran = cli("migrate", "--no-backup", "--db", database.url, "--dir", "db/changes", SUPABASE_DB_URL="")
    assert ran.code == 0
    assert database.value("select count(*) from accounts") == 2
    assert PASSWORD.reveal() not in ran.out + ran.err


def test_another_environments_database_has_its_own_variable(cli: Cli, new_database: Callable[[], Database]) -> None:
    staging = new_database()
    cli.write(ACCOUNTS, FIRST[ACCOUNTS])
    ran = cli("--env", "staging", "migrate", "--no-backup", SUPABASE_DB_URL="", SUPABASE_DB_URL_STAGING=staging.url)
    assert ran.code == 0, ran.err
    assert staging.value("select count(*) from accounts") == 2
