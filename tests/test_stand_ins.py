"""Extensions that the scratch server lacks: stood in for where Autopilot knows how, said so, and refused where not."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest
from tests.conftest import Cli

from autopilot.backups import contents
from autopilot.backups.stand_ins import STAND_INS
from autopilot.backups.supplied import Shelf
from autopilot.migrations.extensions import Wanted
from autopilot.postgres.clients import for_embedded, installations
from autopilot.postgres.embedded import EmbeddedServer, running
from autopilot.secret import Secret
from autopilot.workflows.supplying import decide

CONTROL = "default_version = '1.0'\nrelocatable = {relocatable}\n{schema}"


@pytest.fixture(scope="module")
def richer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedServer]:
    """A server that has extensions of its own, as a platform's has."""
    plain = for_embedded(installations())
    root = tmp_path_factory.mktemp("richer") / "pginstall"
    shutil.copytree(plain.bin_dir.parent, root, symlinks=True)
    for directory in (root, *root.parents[:2]):
        directory.chmod(0o755)
    directory = next(root.glob("share/**/extension"))
    for name in ("pg_net", "uuid-ossp", "supabase_vault"):
        own = STAND_INS[name].schema
        where = f"schema = {own}\n" if own else ""
        (directory / f"{name}.control").write_text(CONTROL.format(relocatable="false" if own else "true", schema=where))
        (directory / f"{name}--1.0.sql").write_text(STAND_INS[name].script(name))
    (directory / "nobody_knows.control").write_text(CONTROL.format(relocatable="true", schema=""))
    (directory / "nobody_knows--1.0.sql").write_text("create function unknown() returns int language sql as 'select 1';")
    with running(replace(plain, bin_dir=root / "bin"), tcp=True, superuser="supabase_admin") as started:
        yield started


@pytest.fixture
def project(cli: Cli, richer: EmbeddedServer) -> Cli:
    with psycopg.connect(richer.url().reveal(), autocommit=True) as connection:
        connection.execute("drop database if exists shop with (force)")
        connection.execute("create database shop")
        with psycopg.connect(richer.url("shop").reveal(), autocommit=True) as shop:
            shop.execute(PLATFORM)
        cli.env["SUPABASE_DB_URL"] = richer.url("shop").reveal()
    return cli


PLATFORM = """
create schema extensions;
create extension "uuid-ossp" with schema extensions;
create extension pg_net;
create extension supabase_vault;
do $$ begin create role app; exception when duplicate_object then null; end $$;
grant execute on function extensions.uuid_generate_v4() to app;
grant usage on schema net to app;
grant execute on function net.http_get to app;
create table users (id uuid primary key default extensions.uuid_generate_v4(), name text);
insert into users (name) values ('a'), ('b');
create view secret_names as select name from vault.decrypted_secrets;
create function tell() returns trigger language plpgsql as
    $$ begin perform net.http_post('http://127.0.0.1:9/'); return new; end $$;
create trigger tells after insert on users for each row execute function tell();
"""


def test_known_ones_are_stood_in_for_and_that_is_said(project: Cli) -> None:
    project.write(
        "1_a.sql", "insert into users (name) values ('c'); create table a (id uuid default extensions.uuid_generate_v4());"
    )
    ran = project("migrate", "--no-deploy")
    assert ran.code == 0, ran.err
    assert "stood in for: pg_net, supabase_vault, uuid-ossp" in ran.err
    tested = project("backup", "restore-test")
    assert tested.code == 0, tested.err
    assert "stood in for: pg_net, supabase_vault, uuid-ossp" in tested.err


def test_what_the_rehearsal_finds_with_stand_ins_is_found(project: Cli) -> None:
    project.write("1_a.sql", "create function f() returns void language sql as $$ select net.no_such_function() $$;")
    ran = project("migrate", "--no-deploy")
    assert ran.code == 1
    assert "Refused in rehearsal" in ran.err


def test_an_unknown_one_is_refused_by_name(project: Cli, richer: EmbeddedServer) -> None:
    with psycopg.connect(richer.url("shop").reveal(), autocommit=True) as shop:
        shop.execute("create extension nobody_knows")
    project.write("1_a.sql", "create table a (id int);")
    ran = project("migrate", "--no-deploy")
    assert ran.code == 1
    assert "lacks the extension nobody_knows, and Autopilot has no stand-in for it" in ran.err
    (project.home / "autopilot.toml").write_text('rehearsal = "auto"\n')
    unrehearsed = project("migrate", "--no-deploy")
    assert unrehearsed.code == 0
    assert "No rehearsal: the target is the first to see these migrations. The scratch server" in unrehearsed.err


LISTED = """;
; Archive created at 2026-01-01
;
3; 3079 16714 EXTENSION - pg_net 
2885; 0 0 COMMENT - EXTENSION pg_net 
4; 3079 16715 EXTENSION - pgcrypto 
8; 2615 16624 SCHEMA - app postgres
9; 0 0 ACL - SCHEMA net postgres
10; 0 0 ACL net FUNCTION http_get(url text) supabase_admin
11; 0 16702 TABLE DATA net http_request_queue supabase_admin
12; 0 0 ACL extensions FUNCTION uuid_generate_v4() postgres
13; 1255 16688 FUNCTION extensions mine(integer, text) postgres
"""  # noqa: W291 - an item without an owner ends with a blank


def test_only_what_belongs_to_a_missing_extension_is_left_out() -> None:
    found = contents.items(LISTED)
    assert contents.extensions(found) == ("pg_net", "pgcrypto")
    left = contents.without(
        found, extensions=frozenset({"pg_net"}), schemas=frozenset({"net"}), shared=frozenset({"net", "extensions"})
    )
    assert [(i.what, i.schema, i.name) for i in left] == [
        ("EXTENSION", "-", "pgcrypto"), ("SCHEMA", "-", "app"), ("ACL", "-", "SCHEMA net"),
        ("FUNCTION", "extensions", "mine(integer, text)"),
    ]  # fmt: skip
    assert all(i.line in LISTED.splitlines() for i in left)


@pytest.mark.parametrize("name", STAND_INS)
def test_each_stand_in_runs_in_the_schema_it_is_for(name: str, richer: EmbeddedServer) -> None:
    schema = STAND_INS[name].schema or "extensions_of_it"
    with psycopg.connect(richer.url("postgres").reveal()) as connection:
        connection.execute(f'create schema "{schema}"; set local search_path = "{schema}"'.encode())
        connection.execute(STAND_INS[name].script(name).encode())
        made = connection.execute("select count(*) from pg_depend where refobjid = %s::regnamespace", (schema,)).fetchone()
        connection.rollback()
    nothing = "nothing of it" in STAND_INS[name].script(name)
    assert made is not None
    assert (made[0] == 0) == nothing


def test_every_file_is_in_the_table() -> None:
    directory = Path(contents.__file__).parent / "stand_ins"
    assert {f.stem for f in directory.glob("*.sql")} == set(STAND_INS)


# --- CREATE EXTENSION in a migration ---------------------------------------------------------------------------------------


@pytest.fixture
def bare(cli: Cli, richer: EmbeddedServer) -> Cli:
    """A superuser's project in a database without extensions."""
    with psycopg.connect(richer.url().reveal(), autocommit=True) as connection:
        connection.execute("drop database if exists bare with (force)")
        connection.execute("create database bare")
    cli.env["SUPABASE_DB_URL"] = richer.url("bare").reveal()
    return cli


@pytest.fixture
def modest(cli: Cli, richer: EmbeddedServer) -> Cli:
    """A project whose role is no superuser; the platform makes some extensions for it."""
    with psycopg.connect(richer.url().reveal(), autocommit=True) as connection:
        connection.execute("drop database if exists modest with (force)")
        connection.execute(
            "do $$ begin create role merchant login password 'pw'; exception when duplicate_object then null; end $$"
        )
        connection.execute("create database modest owner merchant")
        connection.execute("alter database modest set supautils.privileged_extensions = 'moddatetime, pg_net, uuid-ossp'")
    cli.env["SUPABASE_DB_URL"] = richer.url("modest", user="merchant", password=Secret("pw")).reveal()
    return cli


MAKES_AND_USES = """create schema if not exists extensions;
create extension if not exists "uuid-ossp" with schema extensions;
create extension if not exists pg_net;
create table a (id uuid primary key default extensions.uuid_generate_v4());
insert into a default values;
select net.http_get('http://127.0.0.1:9/');
create extension hstore schema extensions;
comment on extension pg_net is 'calls out';"""


def test_an_extension_is_made_and_used_in_one_push(bare: Cli, richer: EmbeddedServer) -> None:
    bare.write("1_a.sql", MAKES_AND_USES)
    bare.write(
        "2_b.sql", 'create extension if not exists "uuid-ossp"; create table b (id uuid default extensions.uuid_generate_v4());'
    )
    bare.write("3_c.sql", "drop extension pg_net;")
    ran = bare("migrate", "--no-deploy", "--json")
    assert ran.code == 0, ran.err
    assert json.loads(ran.out)["rehearsal"]["stood_in"] == ["pg_net", "uuid-ossp"]
    assert "stood in for: pg_net, uuid-ossp" in ran.err
    assert "No way back without loss" not in ran.err
    with psycopg.connect(richer.url("bare").reveal()) as there:
        made = there.execute("select extname from pg_extension where extname <> 'plpgsql' order by 1").fetchall()
    assert made == [("hstore",), ("uuid-ossp",)]


def test_one_that_is_there_already_is_made_again_only_if_absent(project: Cli) -> None:
    project.write("1_a.sql", "create extension if not exists pg_net; create extension if not exists supabase_vault;")
    ran = project("migrate", "--no-deploy")
    assert ran.code == 0, ran.err
    project.write("2_b.sql", "create extension pg_net;")
    again = project("migrate", "--no-deploy")
    assert again.code == 1
    assert "Refused in rehearsal" in again.err
    assert 'extension "pg_net" already exists' in again.err


def test_a_schema_that_is_not_there_is_missed_by_a_stand_in_too(bare: Cli) -> None:
    bare.write("1_a.sql", 'create extension "uuid-ossp" with schema extensions;')
    ran = bare("migrate", "--no-deploy")
    assert ran.code == 1
    assert 'schema "extensions" does not exist' in ran.err


def test_what_the_platform_makes_for_a_role_is_made_for_it_in_the_rehearsal(modest: Cli) -> None:
    modest.write(
        "1_a.sql",
        "create extension moddatetime; create extension pg_net; create extension citext; create schema extensions;"
        "create table a (id int, at timestamptz, name citext);"
        "create trigger moves before update on a for each row execute function moddatetime(at);"
        "select net.http_get('http://127.0.0.1:9/'); drop extension pg_net; create extension pg_net with schema extensions;",
    )
    planned = modest("plan", "--rehearse")
    assert planned.code == 0, planned.err
    ran = modest("migrate", "--no-deploy")
    assert "stood in for: pg_net" in ran.err
    assert "No way back without loss" not in ran.err
    # the server that stands for production here is no such platform
    assert (ran.code, "permission denied to create extension" in ran.err) == (3, True)


def test_what_nobody_makes_for_a_role_is_refused_before_production_is_touched(modest: Cli, richer: EmbeddedServer) -> None:
    modest.write("1_a.sql", "create table a (id int);\ncreate extension pageinspect;")
    ran = modest("migrate", "--no-deploy", "--json")
    told = json.loads(ran.out)["error"]
    assert (ran.code, told["code"]) == (1, "refused_in_rehearsal")
    assert "1_a.sql:2 makes the extension pageinspect, and only a superuser may make it there" in told["message"]
    with psycopg.connect(richer.url("modest").reveal(), autocommit=True) as there:
        there.execute("create extension pageinspect")
    modest.write("1_a.sql", "create table a (id int);\ncreate extension if not exists pageinspect;")
    assert modest("migrate", "--no-deploy").code == 0


def test_an_extension_that_the_target_lacks_or_nobody_knows_is_refused_by_name(bare: Cli) -> None:
    bare.write("1_a.sql", "create extension vectro;")
    lacking = bare("migrate", "--no-deploy", "--json")
    told = json.loads(lacking.out)["error"]
    assert (lacking.code, told["code"]) == (1, "refused_in_rehearsal")
    assert "the target's server does not have that extension" in told["message"]
    bare.write("1_a.sql", "create extension nobody_knows;")
    unknown = bare("migrate", "--no-deploy", "--json")
    told = json.loads(unknown.out)["error"]
    assert (unknown.code, told["code"]) == (1, "extension_missing")
    assert "lacks the extension nobody_knows, which 1_a.sql:1 makes" in told["message"]


def _shelf(*, is_superuser: bool = False, granted: frozenset[str] | None = frozenset(), **has: bool) -> Shelf:
    return Shelf(has=has, installed=frozenset({"old"}), is_superuser=is_superuser, granted=granted)


@pytest.mark.parametrize(
    ("name", "target", "scratch", "ours", "way"),
    [
        ("hstore", _shelf(hstore=False), _shelf(hstore=False), True, "as it is"),
        ("vector", _shelf(vector=False), _shelf(vector=True), True, "by superuser"),
        ("vector", _shelf(vector=True, granted=frozenset({"vector"})), _shelf(vector=True), True, "by superuser"),
        ("vector", _shelf(vector=True, granted=None), _shelf(vector=True), True, "by superuser"),
        ("vector", _shelf(vector=True, granted=None), _shelf(vector=True), False, "as it is"),
        ("vector", _shelf(vector=True, is_superuser=True), _shelf(vector=True, is_superuser=True), True, "as it is"),
        ("vector", _shelf(vector=True, granted=frozenset({"http"})), _shelf(vector=True), True, "not allowed"),
        ("vector", _shelf(vector=False), _shelf(), True, "not here"),
        ("vector", _shelf(), _shelf(vector=False), True, "not there"),
        ("pgjwt", _shelf(pgjwt=False), _shelf(), True, "stand-in"),
        ("pgjwt", _shelf(pgjwt=False), _shelf(), False, "not here"),
        ("pgjwt", _shelf(pgjwt=False), _shelf(pgjwt=False), True, "as it is"),
        ("dblink", _shelf(dblink=False), _shelf(dblink=False), True, "stand-in"),
        ("old", _shelf(old=True), _shelf(old=True), True, "by superuser"),
    ],
)  # fmt: skip
def test_what_a_statement_that_makes_an_extension_comes_to_on_a_copy(
    name: str, target: Shelf, scratch: Shelf, way: str, *, ours: bool
) -> None:
    one = Wanted(version="1", start=0, file="1_a.sql", line=1, shown="", name=name, only_if_absent=True)
    assert decide(one, target=target, scratch=scratch, ours=ours) == way
