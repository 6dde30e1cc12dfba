"""Runs that are stopped, killed or crowded: nothing half-done stays, and the next run puts everything in order."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import psycopg
import pytest
from tests.conftest import Cli, Database, Ran
from tests.slices import slice_of

from autopilot import programs
from autopilot.postgres.address import libpq_environment, parameters
from autopilot.postgres.embedded import EmbeddedServer
from autopilot.secret import Secret

BASE = "20250101090000_base.sql"
SLOW = "20250201090000_slow.sql"
VERSION = "20250201090000"
QUICK_TEXT = "create table made_once (id bigint primary key);\ninsert into made_once values (1);\n"
SLOW_TEXT = f"{QUICK_TEXT}select pg_sleep(30);\n"
#: A net below what waits, not a measurement.
NET_S = 60.0
SLEEPING = "select count(*) from pg_stat_activity where application_name like 'autopilot:%' and query like '%pg_sleep(30)%'"
SESSIONS = "select application_name from pg_stat_activity where application_name like 'autopilot%'"
ADVISORY = "select count(*) from pg_locks where locktype = 'advisory' and granted"


class Health(ThreadingHTTPServer):
    """A health address whose answer the test decides."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.status = 503
        self.asked = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/health"


class Answer(BaseHTTPRequestHandler):
    server: Health

    def do_GET(self) -> None:
        self.server.asked += 1
        self.send_response(self.server.status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", "0")))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the name is the base class's
        """Nothing: this is a test."""


@pytest.fixture
def health() -> Iterator[Health]:
    with Health() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def project(cli: Cli) -> Iterator[Cli]:
    """A project whose base is released, with a TMPDIR of its own: what runs below it is this test's."""
    cli.write(
        BASE,
        "create table busy (id bigint primary key, body text);\ninsert into busy select g, 'x' from generate_series(1, 9) g;\n",
    )
    with tempfile.TemporaryDirectory(prefix="ap-", dir="/tmp") as directory:
        Path(directory).chmod(0o711)
        cli.env["TMPDIR"] = directory
        assert cli("migrate", "--no-backup").code == 0
        yield cli
        end_slow_dump(cli)


@contextlib.contextmanager
def running(cli: Cli, *arguments: str, **env: str) -> Iterator[subprocess.Popen[bytes]]:
    with cli.start(*arguments, **env) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()
            process.communicate()


def ended(process: subprocess.Popen[bytes]) -> Ran:
    out, err = process.communicate(timeout=NET_S)
    return Ran(code=process.returncode, out=out.decode(), err=err.decode())


def until(reached: Callable[[], object], process: subprocess.Popen[bytes] | None = None) -> None:
    deadline_s = time.monotonic() + NET_S
    while not reached():
        assert time.monotonic() < deadline_s, "it never came to that"
        assert process is None or process.poll() is None, ended(process)
        time.sleep(0.01)


def fingerprint(server: EmbeddedServer, database: Database) -> str:
    finished = programs.run(
        programs.Command(
            argv=(server.installation.tool("pg_dump"), "--exclude-schema=automation"),
            env=libpq_environment(parameters(Secret(database.admin_url))),
        )
    )
    assert finished.ok, finished.stderr
    return re.sub(r"(?m)^\\(un)?restrict .*$", "", finished.stdout.decode())


def last_run(database: Database) -> tuple[str, str | None]:
    state, notes = database.rows("select state, notes from automation.runs order by started_at desc limit 1")[0]
    return state, notes


def last_log(database: Database) -> tuple[str, list[str]]:
    status, versions = database.rows("select status, versions from automation.migration_log order by id desc limit 1")[0]
    return status, versions


def nobody_is_left(database: Database) -> None:
    until(lambda: database.rows(SESSIONS) == [])
    assert database.value(ADVISORY) == 0


def command_lines() -> Iterator[tuple[int, str]]:
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            yield int(entry.parent.name), os.fsdecode(entry.read_bytes()).replace("\0", " ")


def scratch_servers(cli: Cli) -> list[int]:
    return [pid for pid, line in command_lines() if f" -D {cli.env['TMPDIR']}/" in line]


def is_rehearsing(cli: Cli) -> bool:
    """Whether the scratch server runs the migration: PostgreSQL shows it in the title of the session's process."""
    servers = scratch_servers(cli)
    return any(" rehearsal " in line and "SELECT" in line and _parent(pid) in servers for pid, line in command_lines())


def _parent(pid: int) -> int:
    try:
        return int(re.search(r"^PPid:\s*(\d+)", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)[1])  # type: ignore[index]
    except OSError:
        return 0


def applied_once(database: Database) -> None:
    assert database.value("select count(*) from automation.applied_migrations where version = %s", VERSION) == 1
    assert database.value("select count(*) from supabase_migrations.schema_migrations where version = %s", VERSION) == 1
    assert database.rows("select status, count(*) from automation.migration_log where status = 'pending' group by 1") == []
    assert database.rows("select run_id from automation.runs where state = 'running'") == []


def slow_programs(cli: Cli, server: EmbeddedServer) -> Path:
    """Sets pg_dump to one that first waits half a minute; returns the file in which it writes its process id."""
    bin_dir, begun = cli.home / "bin", cli.home / "dumping"
    bin_dir.mkdir()
    for name in ("pg_dump", "pg_restore"):
        real = server.installation.tool(name)
        wait = f'case "$*" in *--file=*) echo $$ >{begun}; sleep 30;; esac\n' if name == "pg_dump" else ""
        (bin_dir / name).write_text(f'#!/bin/sh\n{wait}exec {real} "$@"\n')
        (bin_dir / name).chmod(0o755)
    (cli.home / "autopilot.toml").write_text(f'postgres_bin_dir = "{bin_dir}"\n')
    return begun


@pytest.mark.parametrize(
    ("number", "exit_code"), [pytest.param(signal.SIGINT, 130, id="SIGINT"), pytest.param(signal.SIGTERM, 143, id="SIGTERM")]
)
@pytest.mark.parametrize("times", slice_of([1, 3], 3))
def test_a_signal_on_the_way_rolls_the_migration_back(
    project: Cli, database: Database, server: EmbeddedServer, number: signal.Signals, exit_code: int, times: int
) -> None:
    before = fingerprint(server, database)
    project.write(SLOW, SLOW_TEXT)
    with running(project, "migrate", "--json", "--no-backup") as process:
        until(lambda: database.value(SLEEPING), process)
        for _ in range(times):
            process.send_signal(number)
        ran = ended(process)
    told = json.loads(ran.out)
    assert (ran.code, told["outcome"], told["error"]["code"]) == (exit_code, "rolled_back", "stopped")
    assert (told["applied"], told["pending"]) == ([], [VERSION])
    assert "Rolled back: the database is as it was." in ran.err
    assert "Traceback" not in ran.err
    assert fingerprint(server, database) == before
    assert (last_run(database)[0], last_log(database)) == ("stopped", ("failure", [VERSION]))
    nobody_is_left(database)


def test_after_a_signal_the_next_run_goes_through(project: Cli, database: Database) -> None:
    project.write(SLOW, SLOW_TEXT)
    with running(project, "migrate", "--no-backup") as process:
        until(lambda: database.value(SLEEPING), process)
        process.send_signal(signal.SIGTERM)
        assert ended(process).code == 143
    project.write(SLOW, QUICK_TEXT)
    assert project("migrate").code == 0
    applied_once(database)


@pytest.mark.parametrize(
    ("number", "exit_code"),
    [pytest.param(signal.SIGINT, 130, id="SIGINT"), pytest.param(signal.SIGTERM, 143, id="SIGTERM", marks=pytest.mark.faults)],
)
def test_a_signal_during_the_backup_touches_nothing(
    project: Cli, database: Database, server: EmbeddedServer, number: signal.Signals, exit_code: int
) -> None:
    begun = slow_programs(project, server)
    before = fingerprint(server, database)
    project.write(SLOW, QUICK_TEXT)
    with running(project, "migrate", "--json") as process:
        until(lambda: begun.exists() and begun.read_text(), process)
        process.send_signal(number)
        ran = ended(process)
    assert (ran.code, json.loads(ran.out)["error"]["code"]) == (exit_code, "stopped")
    assert "Nothing was touched." in ran.err
    assert fingerprint(server, database) == before
    assert not Path(f"/proc/{begun.read_text().strip()}").exists()
    assert list(project.backups.iterdir()) == []
    assert (last_run(database)[0], last_log(database)) == ("stopped", ("failure", [VERSION]))
    nobody_is_left(database)


@pytest.mark.parametrize(
    ("number", "exit_code"),
    [pytest.param(signal.SIGINT, 130, id="SIGINT"), pytest.param(signal.SIGTERM, 143, id="SIGTERM", marks=pytest.mark.faults)],
)
def test_a_signal_during_the_rehearsal_touches_nothing(
    project: Cli, database: Database, server: EmbeddedServer, number: signal.Signals, exit_code: int
) -> None:
    before = fingerprint(server, database)
    project.write(SLOW, SLOW_TEXT)
    with running(project, "migrate", "--json") as process:
        until(lambda: is_rehearsing(project), process)
        process.send_signal(number)
        ran = ended(process)
    assert (ran.code, json.loads(ran.out)["error"]["code"]) == (exit_code, "stopped")
    assert "Nothing was touched." in ran.err
    assert fingerprint(server, database) == before
    assert scratch_servers(project) == []
    assert list(Path(project.env["TMPDIR"]).glob("autopilot-*/pg-*")) == []
    assert (last_run(database)[0], last_log(database)) == ("stopped", ("failure", [VERSION]))
    nobody_is_left(database)


@pytest.mark.parametrize("words", [("plan",), ("status",), ("log",), ("migrate",)], ids=" ".join)
@pytest.mark.parametrize(
    ("number", "exit_code"), [pytest.param(signal.SIGINT, 130, id="SIGINT"), pytest.param(signal.SIGTERM, 143, id="SIGTERM")]
)
def test_a_signal_before_there_is_a_connection_is_a_stop_like_any_other(
    cli: Cli, words: tuple[str, ...], number: signal.Signals, exit_code: int
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:  # it takes the connection and never says a word
        url = f"postgresql://user@127.0.0.1:{mute.getsockname()[1]}/db"
        with running(cli, *words, SUPABASE_DB_URL=url) as process:
            caller, _ = mute.accept()
            with caller:
                process.send_signal(number)
                ran = ended(process)
    assert ran.code == exit_code, ran.err
    assert "Nothing was touched." in ran.err
    assert "did not expect" not in ran.err


def test_a_signal_while_waiting_for_the_lock_touches_nothing(project: Cli, database: Database) -> None:
    project.write(SLOW, SLOW_TEXT)
    with running(project, "migrate", "--no-backup") as holder:
        until(lambda: database.value(SLEEPING), holder)
        with running(project, "migrate", "--no-backup") as waiter:
            until(lambda: len(database.rows(f"{SESSIONS} and application_name like 'autopilot-lock:%'")) == 2, waiter)
            waiter.send_signal(signal.SIGINT)
            ran = ended(waiter)
        assert ran.code == 130
        assert "Nothing was touched." in ran.err
        assert holder.poll() is None
        assert database.value(SLEEPING) == 1


def test_a_signal_between_two_files_that_commit_apart_says_what_is_in(project: Cli, database: Database) -> None:
    project.write("20250131090000_index.sql", "create index concurrently busy_body_idx on busy (body);\n")
    project.write(SLOW, SLOW_TEXT)
    with running(project, "migrate", "--json", "--no-backup") as process:
        until(lambda: database.value(SLEEPING), process)
        process.send_signal(signal.SIGINT)
        ran = ended(process)
    told = json.loads(ran.out)
    assert (ran.code, told["applied"], told["pending"]) == (130, ["20250131090000"], [VERSION])
    assert "the database is as it was" not in ran.err
    assert "20250131090000" in told["error"]["message"] + told["error"]["state"]


def test_a_signal_during_an_index_build_leaves_no_index_or_says_so(project: Cli, database: Database) -> None:
    project.write(SLOW, "create index concurrently busy_body_idx on busy (body);\n")
    with psycopg.connect(database.url) as blocker:
        blocker.execute("insert into busy values (100, 'not committed yet')")
        with running(project, "migrate", "--json", "--no-backup") as process:
            until(lambda: building(database), process)
            process.send_signal(signal.SIGINT)
            ran = ended(process)
    assert ran.code == 130
    is_there = database.value("select count(*) from pg_index where indrelid = 'busy'::regclass and not indisvalid") > 0
    assert ("the database is as it was" in ran.err) is not is_there, ran.err
    assert project("migrate", "--no-backup").code == 0
    index_built_once(database)


def building(database: Database) -> int:
    query = (
        "select count(*) from pg_stat_activity where query ilike 'create index concurrently%' and wait_event_type = 'Lock'"
        " and application_name like 'autopilot:%'"
    )
    return int(database.value(query))


def index_built_once(database: Database) -> None:
    rows = database.rows(
        "select indexrelid::regclass::text, indisvalid and indisready from pg_index where indrelid = 'busy'::regclass order by 1"
    )
    assert rows == [("busy_body_idx", True), ("busy_pkey", True)]
    applied_once(database)


@pytest.mark.parametrize("blocker_ends", ["before the next run", "during the next run"])
def test_a_run_killed_during_an_index_build_is_recovered_from(project: Cli, database: Database, blocker_ends: str) -> None:
    project.write(SLOW, "create index concurrently busy_body_idx on busy (body);\n")
    with psycopg.connect(database.url) as blocker:
        blocker.execute("insert into busy values (100, 'not committed yet')")
        with running(project, "migrate", "--no-backup") as process:
            until(lambda: building(database), process)
            process.kill()
            process.wait()
        (orphan,) = database.rows(
            "select pid from pg_stat_activity where query ilike 'create index conc%' and pid <> pg_backend_pid()"
        )
        if blocker_ends == "before the next run":
            blocker.rollback()
        with running(project, "migrate", "--no-backup") as following:
            gone = "select count(*) from pg_stat_activity where pid = %s"
            until(lambda: following.poll() is not None or database.value(gone, *orphan) == 0)
            blocker.rollback()
            ran = ended(following)
    assert ran.code == 0, ran.err
    index_built_once(database)
    assert database.rows("select state from automation.runs order by started_at")[-2:] == [("abandoned",), ("released",)]
    nobody_is_left(database)


def after_the_lock(project: Cli, database: Database, server: EmbeddedServer) -> tuple[tuple[str, ...], Callable[[], object]]:
    return ("migrate", "--no-backup"), lambda: database.value(ADVISORY)


def while_backing_up(project: Cli, database: Database, server: EmbeddedServer) -> tuple[tuple[str, ...], Callable[[], object]]:
    begun = slow_programs(project, server)
    return ("migrate",), lambda: begun.exists() and begun.read_text()


def while_rehearsing(project: Cli, database: Database, server: EmbeddedServer) -> tuple[tuple[str, ...], Callable[[], object]]:
    return ("migrate",), lambda: is_rehearsing(project)


def while_applying(project: Cli, database: Database, server: EmbeddedServer) -> tuple[tuple[str, ...], Callable[[], object]]:
    return ("migrate", "--no-backup"), lambda: database.value(SLEEPING)


@pytest.mark.parametrize(
    "moment", slice_of([after_the_lock, while_backing_up, while_rehearsing, while_applying], while_rehearsing, while_applying)
)
def test_a_killed_run_is_settled_by_the_next(
    project: Cli, database: Database, server: EmbeddedServer, moment: Callable[..., tuple[tuple[str, ...], Callable[[], object]]]
) -> None:
    project.write(SLOW, SLOW_TEXT)
    arguments, is_there = moment(project, database, server)
    with running(project, *arguments) as process:
        until(is_there, process)
        process.kill()
    killed = database.rows("select run_id from automation.runs where state = 'running'")
    project.write(SLOW, QUICK_TEXT)
    (project.home / "autopilot.toml").unlink(missing_ok=True)
    ran = project("migrate", "--json")
    end_slow_dump(project)
    assert ran.code == 0, ran.err
    assert json.loads(ran.out)["applied"] == [VERSION]
    for (run_id,) in killed:
        assert database.value("select state from automation.runs where run_id = %s", run_id) == "abandoned"
        assert run_id in ran.err
    assert database.rows("select id from made_once") == [(1,)]
    applied_once(database)
    assert scratch_servers(project) == []
    assert list(project.backups.glob("*.partial")) == []
    nobody_is_left(database)


def end_slow_dump(project: Cli) -> None:
    """Ends the waiting pg_dump that a killed run could not take along."""
    for pid, line in command_lines():
        if f"{project.home}/bin/pg_dump" in line:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)


def test_a_run_killed_while_applying_leaves_a_failure_that_says_why(project: Cli, database: Database) -> None:
    project.write(SLOW, SLOW_TEXT)
    with running(project, "migrate", "--no-backup") as process:
        until(lambda: database.value(SLEEPING), process)
        process.kill()
    assert last_log(database) == ("pending", [VERSION])
    project.write(SLOW, QUICK_TEXT)
    assert project("migrate", "--no-backup").code == 0
    rows = database.rows("select status, error_message from automation.migration_log order by id")
    assert rows == [("success", None), ("failure", "the run ended without a word"), ("success", None)]
    state, notes = database.rows("select state, notes from automation.runs order by started_at offset 1 limit 1")[0]
    assert state == "abandoned"
    assert VERSION in notes


@pytest.mark.parametrize("has_hook", slice_of([True, False], True), ids=["with a build hook", "without one"])
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_deploy_that_was_not_proven_is_made_up_for_once(
    project: Cli, database: Database, health: Health, number: signal.Signals, has_hook: bool
) -> None:
    project.env |= {"HEALTH_URL": health.url, "AUTOPILOT_VERIFY_S": "60"}
    if has_hook:
        project.env["NETLIFY_BUILD_HOOK"] = health.url.replace("/health", "/build_hooks/0123")
    project.write(SLOW, QUICK_TEXT)
    with running(project, "migrate", "--no-backup") as process:
        until(lambda: health.asked > 1, process)
        process.send_signal(number)
        process.wait(timeout=NET_S)
    assert process.returncode == (-9 if number is signal.SIGKILL else 143)
    health.status = 200
    following = project("migrate", "--json", "--no-backup")
    told = json.loads(following.out)
    assert (following.code, told["outcome"], told["applied"]) == (0, "released", []), following.err
    assert told["deploy"]["status"] == "success"
    assert "had not begun to apply" not in following.err
    assert database.rows("select run_id from automation.deployment_log where status not in ('success', 'failed')") == []
    assert json.loads(project("migrate", "--json", "--no-backup").out)["outcome"] == "nothing_to_do"
    applied_once(database)


def test_a_signal_while_proving_does_not_call_what_is_in_rolled_back(project: Cli, database: Database, health: Health) -> None:
    project.env |= {"HEALTH_URL": health.url, "AUTOPILOT_VERIFY_S": "60"}
    project.write(SLOW, QUICK_TEXT)
    with running(project, "migrate", "--json", "--no-backup") as process:
        until(lambda: health.asked > 1, process)
        process.send_signal(signal.SIGINT)
        ran = ended(process)
    told = json.loads(ran.out)
    assert (ran.code, told["applied"], told["pending"]) == (130, [VERSION], [])
    assert "applied and recorded" in ran.err
    assert last_log(database) == ("success", [VERSION])
    assert told["outcome"] != "rolled_back"


def test_a_second_run_that_will_not_wait_says_who_is_at_work(project: Cli, database: Database) -> None:
    project.write(SLOW, SLOW_TEXT)
    with running(project, "migrate", "--no-backup") as holder:
        until(lambda: database.value(SLEEPING), holder)
        run_id = database.value("select run_id from automation.runs where state = 'running'")
        ran = project("migrate", "--json", "--no-backup", "--lock-wait", "0")
        assert holder.poll() is None
    told = json.loads(ran.out)
    assert (ran.code, told["outcome"], told["error"]["code"]) == (75, "locked", "locked")
    assert told["error"]["retryable"]
    assert f"run {run_id}" in told["error"]["message"]
    assert "Next: " in ran.err


def test_a_second_run_that_waits_finds_nothing_to_do(project: Cli, database: Database) -> None:
    project.write(SLOW, f"{QUICK_TEXT}select pg_advisory_xact_lock(42);\n")
    (project.home / "autopilot.toml").write_text("lock_timeout_s = 120\n")
    at_the_gate = "select count(*) from pg_stat_activity where wait_event = 'advisory'"
    with psycopg.connect(database.url) as gate:
        gate.execute("select pg_advisory_xact_lock(42)")
        with running(project, "migrate", "--json", "--no-backup") as holder:
            until(lambda: database.value(at_the_gate), holder)
            with running(project, "migrate", "--json", "--no-backup", "--lock-wait", "60") as waiter:
                assert waiter.stderr is not None
                for line in waiter.stderr:
                    if b"Waiting for the lock" in line:
                        break
                gate.rollback()
                first, second = ended(holder), ended(waiter)
    assert (first.code, json.loads(first.out)["outcome"]) == (0, "released")
    assert (second.code, json.loads(second.out)["outcome"]) == (0, "nothing_to_do")
    applied_once(database)


def test_of_twenty_runs_at_once_each_ends_well_and_each_version_runs_once(cli: Cli, database: Database) -> None:
    versions = [f"202501010900{n:02d}" for n in range(5)]
    for n, version in enumerate(versions):
        cli.write(f"{version}_t{n}.sql", f"create table t{n} (id bigint primary key);\n")
    with contextlib.ExitStack() as stack:
        processes = [
            stack.enter_context(running(cli, "migrate", "--json", "--no-backup", "--lock-wait", "60")) for _ in range(20)
        ]
        ran = [ended(process) for process in processes]
    assert [r.code for r in ran] == [0] * 20, [r.err for r in ran if r.code]
    outcomes: list[Any] = [json.loads(r.out) for r in ran]
    assert sorted(o["outcome"] for o in outcomes) == ["nothing_to_do"] * 19 + ["released"]
    assert [o["applied"] for o in outcomes if o["applied"]] == [versions]
    assert database.rows("select version, count(*) from automation.applied_migrations group by 1 order by 1") == [
        (version, 1) for version in versions
    ]
    assert database.value("select count(*) from automation.runs where state in ('released', 'nothing_to_do')") == 20
    nobody_is_left(database)
