"""Where the rehearsal's copy comes from: our own scratch server, one that the user lends, a copy that is there; or why not."""

from __future__ import annotations

import json
import secrets
import shutil
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql
from tests.conftest import LMS, OWNER, Cli, Database

from autopilot.backups import lent
from autopilot.errors import Refused
from autopilot.postgres.clients import for_embedded, installations
from autopilot.postgres.embedded import EmbeddedServer, running
from autopilot.postgres.identity import Identity, same_server
from autopilot.postgres.session import session
from autopilot.secret import Secret
from autopilot.workflows import ground

WORD = "lender-Pa55%word"


@dataclass(frozen=True, kw_only=True)
class Lender:
    """A server of the user's with a superuser and a role that may make databases and roles."""

    server: EmbeddedServer

    def rows(self, query: str, dbname: str = "postgres") -> list[tuple[Any, ...]]:
        with psycopg.connect(self.server.url(dbname).reveal(), autocommit=True) as connection:
            return connection.execute(query.encode()).fetchall()

    def run(self, text: str, dbname: str = "postgres") -> None:
        with psycopg.connect(self.server.url(dbname).reveal(), autocommit=True) as connection:
            connection.execute(text.encode())

    def databases(self) -> set[str]:
        return {name for (name,) in self.rows("select datname from pg_database where not datistemplate")}

    def roles(self) -> set[str]:
        return {name for (name,) in self.rows("select rolname from pg_roles where rolname !~ '^pg_'")}

    def url(self, user: str | None = None, dbname: str = "postgres") -> str:
        return self.server.url(dbname, user=user, password=Secret(WORD) if user else None).reveal()


@pytest.fixture(scope="module")
def lending() -> Iterator[Lender]:
    with running(for_embedded(installations()), tcp=True, superuser="lender_admin") as server:
        found = Lender(server=server)
        found.run(f"create role lender login createdb createrole password '{WORD}'; create role poor login password '{WORD}'")
        found.run(f"create role maker login createdb password '{WORD}'")
        yield found


@pytest.fixture
def lender(lending: Lender) -> Iterator[Lender]:
    """The same, which every test leaves as it found it."""
    databases, roles = lending.databases(), lending.roles()
    yield lending
    assert (lending.databases(), lending.roles()) == (databases, roles)


@pytest.fixture
def project(cli: Cli, database: Database) -> Cli:
    database.run(
        "create table kept (id int primary key, name text); insert into kept select n, 'n' from generate_series(1, 50) n"
    )
    cli.write("1_a.sql", "alter table kept add column note text not null default '';")
    return cli


def refused(cli: Cli, scratch_url: str | None = None) -> tuple[str, str]:
    if scratch_url is not None:
        cli.env["AUTOPILOT_SCRATCH_URL"] = scratch_url
    ran = cli("migrate", "--no-deploy", "--json")
    assert ran.code == 1, ran.err
    error = json.loads(ran.out)["error"]
    return error["code"], f"{error['message']} {error['hint']}"


def restored_so_far(database: Database) -> int:
    return int(database.value("select count(*) from automation.restore_tests where status = 'success'"))


@pytest.mark.parametrize("role", [None, "lender"])
def test_a_release_rehearses_on_the_users_server_and_leaves_nothing_there(
    project: Cli, database: Database, lender: Lender, role: str | None
) -> None:
    ran = project("migrate", "--no-deploy", "--json", AUTOPILOT_SCRATCH_URL=lender.url(role))
    assert ran.code == 0, ran.err
    rehearsal = json.loads(ran.out)["rehearsal"]
    assert (rehearsal["origin"], rehearsal["kind"]) == ("yours", "backup")
    assert rehearsal["restored_rows"] >= 50
    lacking = ["the role supabase_admin lacks its attributes there"] if role else []
    assert [s for s in rehearsal["blind_spots"] if "supabase_admin" in s] == lacking
    assert WORD not in ran.err + ran.out
    assert restored_so_far(database) == 1
    assert database.value("select count(note) from kept") == 50


def test_what_fails_on_the_users_server_is_refused_for_the_target(project: Cli, database: Database, lender: Lender) -> None:
    project.write("2_b.sql", "alter table kept add check (id < 10);")
    code, words = refused(project, lender.url("lender"))
    assert code == "refused_in_rehearsal"
    assert "Refused in rehearsal, on a copy" in words
    assert database.value("select count(*) from pg_attribute where attrelid = 'kept'::regclass and attname = 'note'") == 0


def test_a_branch_whose_owner_is_there_is_flown_as_that_owner(project: Cli, lender: Lender) -> None:
    lender.run(f'create role "{OWNER}" login password \'x\'; grant "{OWNER}" to lender')
    try:
        project.write(
            "2_who.sql", f"do $$ begin if current_user <> '{OWNER}' then raise 'flown as %', current_user; end if; end $$;"
        )
        ran = project("migrate", "--no-deploy", AUTOPILOT_SCRATCH_URL=lender.url("lender"))
        assert ran.code == 0, ran.err
        with psycopg.connect(lender.server.url(user=OWNER, password=Secret("x")).reveal()):
            """The password of a role that was there is as it was."""
    finally:
        lender.run(f'drop role "{OWNER}"')


def test_the_targets_own_server_is_no_scratch_whatever_the_database_is_called(project: Cli, server: EmbeddedServer) -> None:
    for url in (server.url().reveal(), project.env["SUPABASE_DB_URL"]):
        code, words = refused(project, url)
        assert code == "scratch_is_target"
        assert "is the target's own" in words


@pytest.mark.parametrize(
    ("role", "says"),
    [
        ("poor", "'poor' may not create a database"),
        ("maker", "are missing there and 'maker' may not make them"),
        ("lender", f"the target's owner '{OWNER}' exists there and 'lender' may not act as it"),
    ],
)
def test_rights_that_are_missing_there_are_named_and_block(project: Cli, lender: Lender, role: str, says: str) -> None:
    if role == "lender":
        lender.run(f'create role "{OWNER}"')
    try:
        code, words = refused(project, lender.url(role))
    finally:
        lender.run(f'drop role if exists "{OWNER}"')
    assert code == "scratch_unfit"
    assert says in words
    assert any(word in words for word in ("ALTER ROLE", "CREATEROLE", "GRANT"))


def test_a_server_that_does_not_answer_blocks_unless_a_rehearsal_is_optional(project: Cli) -> None:
    nowhere = "postgresql://nobody@127.0.0.1:1/x"
    code, words = refused(project, nowhere)
    assert code == "scratch_unreachable"
    assert "AUTOPILOT_SCRATCH_URL" in words
    (project.home / "autopilot.toml").write_text('rehearsal = "auto"\n')
    ran = project("migrate", "--no-deploy", AUTOPILOT_SCRATCH_URL=nowhere)
    assert ran.code == 0, ran.err
    assert "No rehearsal: the target is the first to see these migrations. The scratch server at" in ran.err


@pytest.mark.parametrize("point", ["R1", "R3"])
def test_what_a_killed_run_left_on_the_users_server_is_swept_and_nothing_that_is_called_alike(
    project: Cli, lending: Lender, point: str
) -> None:
    before = (lending.databases(), lending.roles())
    ours = lent.database_name("0badcafe", "00000000")
    alike = ("autopilot_rehearsal_0badcafe_00000000_ffffffff", "autopilot_rehearsal", "autopilot_rehearsal_mine")
    for name in (*alike, ours):
        lending.run(f'create database "{name}"')
    lending.run("create role theirs")
    lending.run(f"comment on database {ours} is 'a note of somebody else, roles: theirs'")
    try:
        url = lending.url("lender")
        killed = project("migrate", "--no-deploy", AUTOPILOT_SCRATCH_URL=url, AUTOPILOT_TEST="1", AUTOPILOT_TEST_KILLPOINT=point)
        assert killed.code == -signal.SIGKILL, killed.err
        (left,) = lending.databases() - before[0] - {*alike, ours}
        assert lent.is_ours(left)
        assert OWNER in lending.roles()
        ran = project("migrate", "--no-deploy", AUTOPILOT_SCRATCH_URL=url)
        assert ran.code == 0, ran.err
        # `ours` belongs to the superuser: the role that sweeps may not drop it
        assert lending.databases() == before[0] | {*alike, ours}
        assert lending.roles() == before[1] | {"theirs"}
        with session(lending.server.url(), application_name="sweeper") as connection:
            assert lent.sweep(connection) == (ours,)
        assert lending.databases() == before[0] | {*alike}
        assert "theirs" in lending.roles()
    finally:
        for name in (*alike, ours):
            lending.run(f'drop database if exists "{name}"')
        lending.run("drop role theirs")


def test_a_database_that_is_in_use_is_not_swept(lender: Lender) -> None:
    name = lent.database_name("0badcafe", secrets.token_hex(4))
    lender.run(f"create database {name}")
    with session(lender.server.url(), application_name="sweeper") as sweeper:
        with psycopg.connect(lender.server.url().reveal(), application_name=name):
            assert lent.sweep(sweeper) == ()
        with psycopg.connect(lender.server.url(name).reveal()):
            assert lent.sweep(sweeper) == ()
    lender.run(f"drop database {name} with (force)")


@pytest.mark.parametrize(
    ("name", "is_ours"),
    [
        (lent.database_name("0badcafe", "00c0ffee"), True),
        (lent.database_name("A run, not one of ours; x", "00c0ffee"), True),
        (lent.database_name("0badcafe", "00c0ffee")[:-1] + "x", False),
        ("autopilot_rehearsal_0badcafe_00c0ffee_00000000", False),
        ("autopilot_rehearsal", False),
        ("x" + lent.database_name("0badcafe", "00c0ffee"), False),
    ],
)
def test_a_name_is_ours_by_its_check_sum(name: str, *, is_ours: bool) -> None:
    assert lent.is_ours(name) is is_ours
    assert len(name) < 64


HERE = Identity(
    pid=7, database="app", started_at=datetime(2026, 1, 1, 1, 2, 3, 456, UTC), in_recovery=False, system_identifier="1"
)
ELSEWHERE = replace(HERE, started_at=datetime(2026, 1, 1, 1, 2, 3, 457, UTC))


@pytest.mark.parametrize(
    ("other", "seen", "is_one"),
    [
        (HERE, False, True),
        (replace(HERE, database="other"), False, True),
        (replace(HERE, system_identifier=None), False, True),
        (replace(HERE, system_identifier="2"), False, False),
        (ELSEWHERE, False, False),  # a branch or physical copy: the same identifier, another server
        (ELSEWHERE, True, True),
    ],
)
def test_one_server_is_told_from_a_branch_of_it(other: Identity, *, seen: bool, is_one: bool) -> None:
    assert (same_server(HERE, other, seen=seen) is not None) is is_one


def test_a_copy_that_is_there_is_flown_on_once_and_then_no_copy_any_more(
    project: Cli, database: Database, lending: Lender
) -> None:
    setting = "create table kept (id int primary key, name text)"
    lending.run(f"create role \"{OWNER}\" login password '{WORD}'")
    lending.run(f'create database branch owner "{OWNER}"')
    try:
        lending.run("create role supabase_admin")
        with psycopg.connect(lending.url(dbname="branch"), autocommit=True) as branch:
            branch.execute("alter role supabase_admin superuser")
            branch.execute("set role supabase_admin")
            branch.execute((LMS / "platform.sql").read_bytes())
            branch.execute(sql.SQL("set role {}").format(sql.Identifier(OWNER)))
            branch.execute(setting.encode())
        (project.home / "autopilot.toml").write_text("scratch_is_copy = true\n")
        url = lending.url(OWNER, "branch")
        ran = project("migrate", "--no-deploy", "--json", AUTOPILOT_SCRATCH_URL=url)
        assert ran.code == 0, ran.err
        assert json.loads(ran.out)["rehearsal"]["kind"] == "copy"
        assert "stays in it: the next rehearsal needs a fresh one" in ran.err
        assert "OVERDUE: no backup was ever restored here" in ran.err
        assert restored_so_far(database) == 0
        assert lending.rows("select version from automation.applied_migrations", "branch") == [("1",)]
        project.write("2_b.sql", "create table b (id int);")
        database.run("create table by_hand (id int)")
        code, words = refused(project, url)
        assert code == "scratch_not_a_copy"
        assert "by_hand is not there" in words
    finally:
        lending.run("drop database branch with (force)")
        for role in lending.roles() - {"lender_admin", "lender", "poor", "maker"}:
            lending.run(f'drop role "{role}"')


def test_a_restore_test_uses_the_users_server_too_even_without_a_production_database(
    project: Cli, database: Database, lender: Lender
) -> None:
    project.env["AUTOPILOT_SCRATCH_URL"] = lender.url("lender")
    assert project("backup", "create").code == 0
    told = json.loads(project("backup", "restore-test", "--json").out)
    assert (told["status"], told["origin"]) == ("success", "yours")
    del project.env["SUPABASE_DB_URL"]
    ran = project("backup", "restore-test")
    assert ran.code == 0, ran.err


def test_without_any_server_programs_the_refusal_names_what_to_install() -> None:
    with pytest.raises(Refused) as caught:
        ground.own((), server_major=17, at_least=17)
    assert caught.value.code == "no_scratch_server"
    assert caught.value.code in ground.IMPOSSIBLE
    assert "Servers found here: none" in caught.value.message
    assert "Install PostgreSQL 17" in caught.value.hint


def test_the_schema_alone_shows_less_and_says_what(project: Cli, database: Database) -> None:
    (project.home / "autopilot.toml").write_text('rehearsal = "schema"\n')
    project.write("2_b.sql", "alter table kept add check (id < 10);")
    ran = project("migrate", "--no-deploy", "--json")
    assert ran.code == 3, ran.err  # what the rows would have told came out on the target, which rolled back
    assert "The rehearsal's blind spot: there were no rows" in ran.err
    rehearsal = json.loads(ran.out)["rehearsal"]
    assert (rehearsal["kind"], rehearsal["restored_rows"]) == ("schema", 0)
    assert "Predicted" not in ran.err
    assert restored_so_far(database) == 0
    assert database.value("select count(*) from kept") == 50


def test_a_failure_for_want_of_rows_blocks_and_says_that_it_may_be_a_false_alarm(project: Cli, database: Database) -> None:
    (project.home / "autopilot.toml").write_text('rehearsal = "schema"\n')
    project.write("2_b.sql", "create table b (id int references kept); insert into b values (1);")
    code, words = refused(project)
    assert code == "refused_in_rehearsal"
    assert "This rehearsal had no rows" in words
    assert "--no-rehearsal" in words
    (project.home / "autopilot.toml").unlink()
    assert project("migrate", "--no-deploy").code == 0


def test_the_ledger_is_known_on_a_schema_without_rows(project: Cli) -> None:
    (project.home / "autopilot.toml").write_text('rehearsal = "schema"\n')
    assert project("migrate", "--no-deploy").code == 0
    project.write("2_b.sql", "create view v as select note from kept;")
    ran = project("migrate", "--no-deploy")
    assert ran.code == 0, ran.err


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    place = tmp_path / "small"
    place.mkdir()
    mount = shutil.which("mount")
    mounted = mount is not None and subprocess.run(
        [mount, "-t", "tmpfs", "-o", "size=100m,mode=711", "tmpfs", str(place)], capture_output=True, check=False
    ).returncode == 0  # fmt: skip
    if not mounted:
        pytest.skip("no file system of our own can be mounted here")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_without_room_for_the_copy_it_says_how_much_and_what_to_set(project: Cli, small_disk: Path, database: Database) -> None:
    (project.home / "autopilot.toml").write_text(f'scratch_dir = "{small_disk}/s"\n')
    code, words = refused(project)
    assert code == "no_room_for_scratch"
    assert f"in {small_disk}/s, and 100.0 MiB are free" in words
    assert "scratch_dir" in words
    assert database.value("select to_regnamespace('automation') is null")
    (project.home / "autopilot.toml").write_text(f'scratch_dir = "{small_disk}/s"\nrehearsal = "auto"\n')
    ran = project("migrate", "--no-deploy")
    assert ran.code == 0, ran.err
    assert "No rehearsal: the target is the first to see these migrations. There is no room for the scratch" in ran.err


def test_a_copys_room_is_reckoned_from_the_database_and_else_from_the_archive() -> None:
    gib = 1 << 30
    assert ground.needed_bytes(database_bytes=10 * gib, archive_bytes=gib, rows=True) > 12 * gib
    assert ground.needed_bytes(database_bytes=None, archive_bytes=gib, rows=True) > 12 * gib
    assert ground.needed_bytes(database_bytes=10 * gib, archive_bytes=gib, rows=False) < gib


@pytest.mark.parametrize("lock_table", [0, 6400, 51_200, 51_201, 640_000])
def test_the_scratch_servers_lock_table_is_never_smaller_than_the_targets(lock_table: int) -> None:
    told = ground.server_settings(lock_table)
    with (
        running(for_embedded(installations()), settings=told) as started,
        psycopg.connect(started.url().reveal()) as connection,
    ):
        row = connection.execute(
            "select current_setting('max_locks_per_transaction')::int * current_setting('max_connections')::int"
        ).fetchone()
    assert row is not None
    assert row[0] >= lock_table
