"""The sample project on Debian's own PostgreSQL 15: an older server, its own programs, an owner with few rights."""

from __future__ import annotations

import json
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql
from tests.conftest import LMS, OWNER, PASSWORD, Cli, Database, Ran

from autopilot.postgres.clients import Installation, installations
from autopilot.postgres.embedded import EmbeddedServer, running

BIN_DIR = Path("/usr/lib/postgresql/15/bin")
MAIL = LMS / "pushes" / "2-certificates-by-mail"
REFUSED = LMS / "pushes" / "3-refused"
LATE_ROW = LMS / "pushes" / "4-late-row"
pytestmark = [
    pytest.mark.debian,
    pytest.mark.skipif(not BIN_DIR.is_dir(), reason=f"there is no {BIN_DIR}"),
    pytest.mark.xdist_group("debian"),
]


@pytest.fixture(scope="module")
def debian() -> Installation:
    return next(i for i in installations() if i.origin == "debian" and i.major == 15)


@pytest.fixture(scope="module")
def server(debian: Installation) -> Iterator[EmbeddedServer]:
    with running(debian, tcp=True) as server:
        with psycopg.connect(server.url().reveal(), autocommit=True) as connection:
            owner, password = sql.Identifier(OWNER), sql.Literal(PASSWORD.reveal())
            connection.execute(sql.SQL("create role {} login nocreaterole nocreatedb password {}").format(owner, password))
        yield server


@pytest.fixture
def production(server: EmbeddedServer) -> Database:
    name = f"lms_{secrets.token_hex(4)}"
    with psycopg.connect(server.url().reveal(), autocommit=True) as connection:
        connection.execute(sql.SQL("create database {} owner {}").format(sql.Identifier(name), sql.Identifier(OWNER)))
    with psycopg.connect(server.url(name).reveal(), autocommit=True) as connection:
        connection.execute((LMS / "platform.sql").read_bytes())
    url = server.url(name, user=OWNER, password=PASSWORD).reveal()
    return Database(name=name, url=url, admin_url=server.url(name).reveal())


@pytest.fixture
def lms(tmp_path: Path, production: Database) -> Cli:
    """The sample project with its first release still to come."""
    home = tmp_path / "lms"
    shutil.copytree(LMS / "supabase", home / "supabase")
    return Cli(home=home, env={"SUPABASE_DB_URL": production.url})


def push(lms: Cli, directory: Path) -> tuple[str, ...]:
    """Adds a push's files; returns their versions."""
    files = sorted(directory.glob("*.sql"))
    for file in files:
        lms.write(file.name, file.read_bytes())
    return tuple(file.name.split("_", 1)[0] for file in files)


def document(ran: Ran) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(ran.out)
    return found


def test_the_owner_is_nobody_special(production: Database) -> None:
    query = "select rolsuper, rolcreaterole, rolcreatedb, rolbypassrls from pg_roles where rolname = current_user"
    assert production.rows(query, admin=False) == [(False,) * 4]
    assert production.value("show server_version").startswith("15.")
    # scram over TCP: without the password nobody comes in
    with pytest.raises(psycopg.OperationalError, match="no password supplied"):
        psycopg.connect(production.url.replace(production.url.split(":")[2].split("@")[0], ""))


def test_the_sample_goes_in_with_backup_and_rehearsal(lms: Cli, production: Database) -> None:
    ran = lms("migrate", "--json")
    told = document(ran)
    assert (ran.code, told["outcome"], len(told["applied"])) == (0, "released", 23), ran.err
    assert (told["rehearsal"]["origin"], told["rehearsal"]["server_version"].split(".")[0]) == ("debian", "15")
    assert (lms.backups / told["backup"]["file"]).is_file()
    assert production.value("select count(*) from public.courses") > 0
    assert production.rows("select relname from pg_class join pg_index on oid = indexrelid where not indisvalid") == []


def test_a_push_upon_data_goes_in_and_one_that_data_forbids_is_refused(lms: Cli, production: Database) -> None:
    assert lms("migrate", "--no-backup").code == 0
    mail = push(lms, MAIL)
    told = document(lms("migrate", "--json"))
    assert (told["outcome"], tuple(told["applied"])) == ("released", mail)
    assert told["rehearsal"]["origin"] == "debian"
    assert told["rehearsal"]["restored_rows"] > 100
    (refused,) = push(lms, REFUSED)
    ran = lms("migrate", "--json")
    told = document(ran)
    assert (ran.code, told["outcome"], told["error"]["code"]) == (1, "refused", "refused_in_rehearsal")
    assert (told["pending"], told["error"]["line"]) == ([refused], 14)
    assert "attempts_score_is_a_percentage" in told["error"]["message"]
    columns = production.rows("select attname from pg_attribute where attrelid = 'public.attempts'::regclass")
    assert ("graded_by",) not in columns
    assert production.value("select to_regprocedure('public.average_score(bigint)') is null")


def test_the_programs_are_debians_own(lms: Cli) -> None:
    told = document(lms("migrate", "--json"))
    manifest = json.loads((lms.backups / f"{told['backup']['file']}.manifest.json").read_text())
    assert manifest["tool_version"].startswith("15.")
    assert manifest["server_version"].startswith("15.")


def test_a_late_row_ends_without_a_rehearsal_in_a_rollback(lms: Cli, production: Database) -> None:
    assert lms("migrate", "--no-backup").code == 0
    taken = production.value("select email from public.profiles order by email limit 1")
    production.run(f"insert into public.profiles (full_name, email) values ('Again', upper('{taken}'))", admin=True)
    push(lms, LATE_ROW)
    ran = lms("migrate", "--json", "--no-rehearsal")
    assert (ran.code, document(ran)["outcome"]) == (3, "rolled_back")
    assert production.rows("select proname from pg_proc where proname = 'lower_email'") == []
    assert production.value("select count(*) from public.profiles where full_name = 'Again'") == 1
