"""On a Supabase-like target: whole backups by a role of few rights, rehearsals with those rights, nothing that calls out."""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest
from tests.conftest import Cli, Database
from tests.supabase_like import pilot_of, platform, project

from autopilot.postgres.clients import for_embedded, installations
from autopilot.postgres.cluster import cut_off_by, server_user
from autopilot.postgres.embedded import EmbeddedServer, running

PLATFORMS = ("auth", "realtime", "storage", "supabase_functions", "vault")


@pytest.fixture(scope="module", params=["embedded", pytest.param("debian", marks=[pytest.mark.debian, pytest.mark.faults])])
def supabase(request: pytest.FixtureRequest) -> Iterator[EmbeddedServer]:
    found = installations()
    debian = next((i for i in found if i.origin == "debian" and i.has_server), None)
    if request.param == "debian" and debian is None:
        pytest.skip("there is no server of Debian's here")
    with platform(debian if request.param == "debian" and debian else for_embedded(found)) as server:
        yield server


@pytest.fixture
def target(supabase: EmbeddedServer) -> Database:
    return project(supabase)


@pytest.fixture
def pilot(tmp_path: Path, target: Database) -> Cli:
    return pilot_of(tmp_path / "project", target)


@pytest.fixture
def older(target: Database) -> Iterator[Database]:
    """A project whose `postgres` may read of the platform's tables hardly any."""
    target.run("revoke pg_read_all_data from postgres", admin=True)
    for schema in PLATFORMS:
        target.run(f"revoke select on all tables in schema {schema} from postgres", admin=True)
    yield target
    target.run("grant pg_read_all_data to postgres with admin option", admin=True)


def manifest(pilot: Cli) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(max(pilot.backups.glob("*.manifest.json")).read_text())
    return found


def test_a_release_backs_up_rehearses_and_applies_as_postgres(pilot: Cli, target: Database) -> None:
    pilot.write("1_a.sql", "alter table notes add column pinned boolean not null default false;")
    planned = pilot("plan")
    assert planned.code == 0, planned.err
    released = pilot("migrate", "--no-deploy")
    assert released.code == 0, released.err
    assert "rehearse  restored" in released.err
    assert target.value("select count(*) from notes where not pinned") == 100
    found = manifest(pilot)
    assert found["rows"]["auth.users"] == 5
    assert found["rows"]["vault.secrets"] == 1
    assert found["absent"]["schemas"] == []
    assert "publication supabase_realtime" in found["objects"]
    assert "default acl for role supabase_admin in schema public on tables" in found["objects"]
    for command in (("backup", "create"), ("backup", "restore-test"), ("status",)):
        ran = pilot(*command)
        assert ran.code == 0, ran.err


def test_what_roles_are_told_apart_by_is_written_down_and_their_secrets_are_not(pilot: Cli, target: Database) -> None:
    target.run(f"alter database {target.name} set search_path = public, extensions", admin=True)
    assert pilot("backup", "create").code == 0
    found = manifest(pilot)
    assert "not-for-a-manifest" not in json.dumps(found)
    postgres = next(role for role in found["roles"] if role["name"] == "postgres")
    assert postgres["may_replicate"]
    assert not postgres["is_superuser"]
    assert "session_replication_role" in postgres["parameters"]
    assert postgres["settings"] == ['search_path="$user", public, extensions']
    assert next(m for m in postgres["memberships"] if m["group"] == "anon")["may_grant"]
    assert found["database_rights"]["owner"] == "postgres"


def test_the_rehearsal_has_the_rights_of_the_role_and_no_more(pilot: Cli, target: Database) -> None:
    since_16 = target.value("select current_setting('server_version_num')::int >= 160000")
    able = f"""
        create role of_a_test nologin {"replication bypassrls" if since_16 else ""};
        grant anon to of_a_test;
        grant pg_monitor to of_a_test;
        drop role of_a_test;
        create publication of_a_test for table public.profiles;
        create or replace trigger on_auth_user_created after insert on auth.users
            for each row execute function public.handle_new_user();
        grant select on vault.secrets to service_role;
        insert into auth.users (id, raw_user_meta_data) values (gen_random_uuid(), '{{"name": "Ada"}}');
    """
    pilot.write("1_able.sql", able)
    ran = pilot("migrate", "--no-deploy")
    assert ran.code == 0, ran.err
    assert target.value("select count(*) from profiles where name = 'Ada'") == 1
    for name, statement, complaint in (
        ("2_owner.sql", "alter table auth.users add column mine int;", "must be owner of table users"),
        ("2_files.sql", "create table t as select pg_read_file('/etc/passwd');", "permission denied for function pg_read_file"),
        ("2_program.sql", "copy notes to program 'cat';", "permission denied to COPY to or from an external program"),
        ("2_schema.sql", "create table auth.mine (a int);", "permission denied for schema auth"),
    ):
        path = pilot.write(name, statement)
        refused = pilot("migrate", "--no-deploy")
        assert refused.code == 1, refused.err
        assert "Refused in rehearsal" in refused.err
        assert complaint in refused.err or "must be superuser or have privileges" in refused.err
        path.unlink()


def test_a_parameter_that_the_role_was_given_can_be_set_in_the_rehearsal(pilot: Cli) -> None:
    pilot.write("1_a.sql", "set local session_replication_role = replica; delete from profiles where name = 'nobody';")
    ran = pilot("migrate", "--no-deploy")
    assert ran.code == 0, ran.err


def test_event_triggers_and_publications_that_only_superusers_could_own_are_restored(pilot: Cli, target: Database) -> None:
    """As Supabase's supautils makes them for `postgres`."""
    target.run(
        """
        create publication everything for all tables;
        create function public.watch() returns event_trigger language plpgsql as $$ begin raise notice 'seen'; end $$;
        alter function public.watch() owner to postgres;
        create event trigger mine on ddl_command_end execute function public.watch();
        comment on event trigger mine is 'watches';
        """,
        admin=True,
    )
    target.run("update pg_event_trigger set evtowner = 'postgres'::regrole where evtname = 'mine'", admin=True)
    target.run("update pg_publication set pubowner = 'postgres'::regrole where pubname = 'everything'", admin=True)
    pilot.write("1_a.sql", "create table more (a int);")
    ran = pilot("migrate", "--no-deploy")
    assert ran.code == 0, ran.err
    assert pilot("backup", "restore-test").code == 0


def test_a_role_that_does_not_own_the_database_is_not_made_its_owner_for_the_rehearsal(pilot: Cli, target: Database) -> None:
    target.run(
        "do $$ begin create role guest login password 'guest-Pa55word'; exception when duplicate_object then null; end $$",
        admin=True,
    )
    target.run("alter role guest bypassrls", admin=True)
    target.run(f"grant create, connect on database {target.name} to guest; grant pg_read_all_data to guest", admin=True)
    target.run("grant create on schema public to guest", admin=True)
    pilot.env["SUPABASE_DB_URL"] = target.url.replace("postgres:project-Pa55%25word", "guest:guest-Pa55word")
    pilot.write("1_a.sql", "create table mine (a int);")
    ran = pilot("migrate", "--no-deploy")
    assert ran.code == 0, ran.err
    pilot.write("2_b.sql", "alter schema public rename to other;")
    refused = pilot("migrate", "--no-deploy")
    assert refused.code == 1, refused.err
    assert "must be owner of schema public" in refused.err


# what may not be read -------------------------------------------------------------------------------------------------


def test_platform_schemas_that_may_not_be_read_are_left_out_stood_in_for_and_that_is_said(pilot: Cli, older: Database) -> None:
    pilot.write(
        "1_a.sql",
        """
        create policy "Admins" on public.notes for select using ((select auth.role()) = 'service_role');
        create table public.likes (who uuid references auth.users on delete cascade, note bigint references public.notes);
        drop trigger if exists on_profile on public.profiles;
        create or replace trigger on_auth_user_created after insert on auth.users
            for each row execute function public.handle_new_user();
        """,
    )
    ran = pilot("migrate", "--no-deploy")
    assert ran.code == 0, ran.err
    assert "left out: auth, realtime, storage, supabase_functions, vault" in ran.err
    assert "stood in for: the schema auth (5 rows made up for foreign keys), the schema realtime, the schema storage" in ran.err
    found = manifest(pilot)
    assert found["absent"]["schemas"] == list(PLATFORMS)
    assert {p["table"] for p in found["absent"]["pointing"]} == {"profiles"}
    assert found["rows"]["public.profiles"] == 5
    assert not any(table.split(".")[0] in PLATFORMS for table in found["rows"])
    assert any("on_auth_user_created" in statement for statement in found["absent"]["attached"])
    assert any("One''s own avatar" in s or "One's own avatar" in s for s in found["absent"]["attached"])
    tested = pilot("backup", "restore-test")
    assert tested.code == 0, tested.err
    assert "stood in for: the schema auth" in tested.err
    listed = pilot("backup", "list")
    assert "left out: auth, realtime, storage, supabase_functions, vault" in listed.out
    created = pilot("backup", "create")
    assert "left out: auth" in created.err
    assert pilot("status").code == 0


def test_what_hangs_on_a_schema_left_out_is_there_in_the_rehearsal(pilot: Cli, older: Database) -> None:
    pilot.write("1_a.sql", 'drop policy "Avatars are public" on storage.objects;')
    refused = pilot("migrate", "--no-deploy")
    assert "must be owner of" in refused.err, "the policy is there, and as at the target it is not ours"
    pilot.write("1_a.sql", "create trigger on_auth_user_created after insert on auth.users"
                           " for each row execute function public.handle_new_user();")  # fmt: skip
    refused = pilot("migrate", "--no-deploy")
    assert refused.code == 1
    assert 'trigger "on_auth_user_created" for relation "users" already exists' in refused.err


def test_a_table_of_the_users_own_that_may_not_be_read_is_never_left_out(pilot: Cli, older: Database) -> None:
    older.run(
        "create schema net authorization dashboard_user; create table net.payments (a int);"
        "alter table net.payments owner to dashboard_user",
        admin=True,
    )
    pilot.write("1_a.sql", "create table t (a int);")
    ran = pilot("migrate", "--no-deploy")
    assert ran.code == 1
    assert "net.payments cannot be backed up whole: permission denied" in ran.err
    assert not list(pilot.backups.glob("*.dump"))
    assert older.value("select to_regclass('t') is null")


def test_one_table_without_select_is_refused_by_name(pilot: Cli, older: Database) -> None:
    older.run("create table public.salaries (a int)", admin=True)
    older.run("revoke all on public.salaries from postgres, anon, authenticated, service_role", admin=True)
    pilot.write("1_a.sql", "create table t (a int);")
    ran = pilot("migrate", "--no-deploy")
    assert ran.code == 1
    assert "public.salaries cannot be backed up whole: permission denied for" in ran.err
    assert "GRANT SELECT" in ran.err
    assert not list(pilot.backups.glob("*.dump"))


def test_row_level_security_that_hides_rows_from_the_role_is_refused_by_name(pilot: Cli, older: Database) -> None:
    older.run(
        "create table public.hidden (a int); insert into public.hidden values (1);"
        "alter table public.hidden enable row level security; grant select on public.hidden to postgres",
        admin=True,
    )
    older.run("alter role postgres nobypassrls", admin=True)
    try:
        pilot.write("1_a.sql", "create table t (a int);")
        ran = pilot("migrate", "--no-deploy")
    finally:
        older.run("alter role postgres bypassrls", admin=True)
    assert ran.code == 1
    assert "cannot be backed up whole: query would be affected by row-level security policy" in ran.err
    assert "BYPASSRLS" in ran.err
    assert not list(pilot.backups.glob("*.dump"))


# what would call out --------------------------------------------------------------------------------------------------

#: Writes a file where whoever calls it may; tries to reach `port`. Everything it is called from is below.
CANARY = """
create function public.aa_sing(place text) returns boolean language plpgsql as $$
begin
  if place <> 'proof' and current_database() <> 'rehearsal' then return true; end if;
  begin execute format('copy (select 1) to program %L', 'touch {nest}/' || place || '.' || current_database());
  exception when others then null; end;
  begin perform extensions.dblink_connect('host=127.0.0.1 port={port} user=a password=b dbname=c connect_timeout=2');
  exception when others then null; end;
  begin perform extensions.dblink_connect_u('host=127.0.0.1 port={port} dbname=c connect_timeout=2');
  exception when others then null; end;
  return true;
end $$;
create function public.canary(place text) returns boolean language sql immutable begin atomic select public.aa_sing(place); end;
create domain public.tame as int check (public.canary('domain'));
create table public.nest (
    id int primary key, tame public.tame, kept boolean generated always as (public.canary('generated')) stored,
    late boolean default public.canary('default'), check (public.canary('check'))
);
create function public.whole(n public.nest) returns boolean language plpgsql immutable as $$
begin return public.canary('row_check'); end $$;
alter table public.nest add constraint whole check (public.whole(nest.*));
create function public.as_text(n public.nest) returns text language plpgsql immutable as $$
begin perform public.canary('cast'); return 'x'; end $$;
create cast (public.nest as text) with function public.as_text(public.nest);
create function public.tell() returns trigger language plpgsql as $$ begin perform public.canary('trigger'); return new; end $$;
create trigger tell after insert on public.nest for each row execute function public.tell();
insert into public.nest (id, tame) values (1, 1), (2, 2);
create index on public.nest (public.canary('index'), id);
create materialized view public.view_of_nest as select id, public.canary('matview') from public.nest;
create function public.place(a int) returns int language plpgsql immutable as $$
begin perform public.canary('partition'); return a; end $$;
create table public.parted (a int) partition by list (public.place(a));
create table public.parted_1 partition of public.parted for values in (1);
insert into public.parted values (1);
create function public.on_ddl() returns event_trigger language plpgsql as $$ begin perform public.canary('event'); end $$;
"""
WATCHING = """
create event trigger sings on ddl_command_end execute function public.on_ddl();
create event trigger starts on ddl_command_start execute function public.on_ddl();
"""
GREETING = "create event trigger greets on login execute function public.on_ddl();"


@pytest.fixture
def nest() -> Iterator[Path]:
    """A directory in which a server's user may write."""
    with tempfile.TemporaryDirectory(prefix="nest-") as made:
        Path(made).chmod(0o777)
        yield Path(made)


@dataclass(kw_only=True)
class Listener:
    """Hangs up on whoever calls, and counts."""

    port: int
    calls: int = 0

    def serve(self, server: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                server.accept()[0].close()
                self.calls += 1


@pytest.fixture
def listener() -> Iterator[Listener]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        found = Listener(port=server.getsockname()[1])
        thread = threading.Thread(target=found.serve, args=(server,), daemon=True)
        thread.start()
        yield found
        server.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def caged(target: Database, nest: Path, listener: Listener) -> Database:
    """A target whose every kind of restored code would write a file and connect somewhere, if it could."""
    target.run("create extension dblink with schema extensions", admin=True)
    target.run("grant execute on all functions in schema extensions to public", admin=True)
    target.run(CANARY.format(nest=nest, port=listener.port))
    target.run(WATCHING, admin=True)
    if target.value("select current_setting('server_version_num')::int >= 170000"):
        target.run(GREETING, admin=True)
    target.value("select public.canary('proof')")
    assert (nest / f"proof.{target.name}").exists(), "a superuser's canary does sing"
    assert listener.calls > 0
    return target


def test_nothing_that_is_restored_writes_a_file_or_connects_anywhere(
    pilot: Cli, caged: Database, nest: Path, listener: Listener
) -> None:
    before = listener.calls
    pilot.write(
        "1_a.sql", "create table t (a int); insert into nest (id, tame) values (3, 3); refresh materialized view view_of_nest;"
    )
    created = pilot("backup", "create")
    assert created.code == 0, created.err
    tested = pilot("backup", "restore-test")
    assert tested.code == 0, tested.err
    assert "stood in for: dblink" in tested.err
    released = pilot("migrate", "--no-deploy")
    assert released.code == 0, released.err
    assert [p.name for p in nest.iterdir()] == [f"proof.{caged.name}"]
    assert listener.calls == before


def test_without_its_own_loader_and_stand_ins_the_canary_would_have_sung(
    caged: Database, nest: Path, listener: Listener, tmp_path: Path
) -> None:
    """What a restore by a superuser does: the test above is not empty."""
    programs = for_embedded(installations())
    subprocess.run([programs.tool("pg_dump"), "-Fc", "-f", tmp_path / "x.dump", caged.admin_url], check=True)
    copy = caged.admin_url.replace(caged.name, "rehearsal")
    caged.run("drop database if exists rehearsal with (force)", admin=True)
    caged.run("create database rehearsal template template0", admin=True)
    subprocess.run([programs.tool("pg_restore"), "-d", copy, tmp_path / "x.dump"], check=False, capture_output=True)
    sung = {p.name.partition(".")[0] for p in nest.iterdir() if p.name.endswith(".rehearsal")}
    with psycopg.connect(caged.admin_url, autocommit=True) as connection:
        connection.execute("drop database rehearsal with (force)")
    assert {"check", "domain", "generated", "row_check", "partition"} <= sung
    assert listener.calls > 1


@pytest.mark.skipif(cut_off_by(server_user()) == (), reason="this machine lets nobody cut off a network")
def test_a_server_that_is_cut_off_reaches_no_network(listener: Listener) -> None:
    with (
        running(for_embedded(installations()), cut_off=True) as server,
        psycopg.connect(server.url().reveal(), autocommit=True) as connection,
    ):
        connection.execute("create extension dblink")
        with pytest.raises(psycopg.Error, match="could not establish connection"):
            connection.execute(f"select dblink_connect('host=127.0.0.1 port={listener.port} connect_timeout=2')")
    assert listener.calls == 0


def test_a_large_object_that_may_not_be_read_is_refused_in_words(pilot: Cli, target: Database) -> None:
    target.run("select lo_from_bytea(0, 'mine')")
    assert pilot("backup", "create").code == 0
    assert pilot("backup", "restore-test").code == 0
    target.run("select lo_from_bytea(0, 'theirs')", admin=True)
    refused = pilot("backup", "create")
    assert refused.code == 1, refused.err
    assert "permission denied for large object" in refused.err
