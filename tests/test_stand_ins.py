"""Extensions that the scratch server lacks: stood in for where Autopilot knows how, said so, and refused where not."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest
from tests.conftest import Cli

from autopilot.backups import contents
from autopilot.backups.stand_ins import STAND_INS
from autopilot.postgres.clients import for_embedded, installations
from autopilot.postgres.embedded import EmbeddedServer, running

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
