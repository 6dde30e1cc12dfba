"""Route 4 on a Supabase-like project, as `postgres`: the platform stays, and what of ours hangs on it hangs on what came back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.conftest import Cli, Database
from tests.supabase_like import pilot_of, platform, project
from tests.test_quarantine import WAYS, backed_up, put_back

from autopilot.errors import Refused
from autopilot.postgres.clients import for_embedded, installations
from autopilot.postgres.embedded import EmbeddedServer

PLATFORM = """
select (select jsonb_agg(to_jsonb(u) order by id) from auth.users u), (select jsonb_agg(to_jsonb(s)) from vault.secrets s),
       (select jsonb_agg(to_jsonb(b)) from storage.buckets b),
       (select array_agg(p.polname || p.polqual::text order by 1) from pg_policy p where polrelid = 'storage.objects'::regclass),
       (select array_agg(oid::text || nspacl::text order by oid) from pg_namespace where nspname !~ '__[qr]_'),
       (select array_agg(concat_ws(' ', d.oid, defaclnamespace, defaclobjtype, a.item) order by d.oid, a.item::text)
        from pg_default_acl d cross join unnest(defaclacl) a (item) where defaclrole <> 'postgres'::regrole),
       (select array_agg(concat_ws(' ', defaclnamespace, defaclobjtype, a.item) order by defaclobjtype, a.item::text)
        from pg_default_acl d cross join unnest(defaclacl) a (item) where defaclrole = 'postgres'::regrole)
"""
RIGHTS = """
select relname, array(select a.item::text from unnest(relacl) a (item) order by 1) from pg_class
where relnamespace = 'public'::regnamespace order by 1
"""


@pytest.fixture(scope="module")
def supabase() -> Iterator[EmbeddedServer]:
    with platform(for_embedded(installations())) as server:
        yield server


@pytest.fixture
def target(supabase: EmbeddedServer) -> Database:
    return project(supabase)


@pytest.fixture
def pilot(tmp_path: Path, target: Database) -> Cli:
    return pilot_of(tmp_path / "project", target)


@WAYS
def test_a_project_goes_back_as_postgres_and_the_platform_is_not_touched(pilot: Cli, target: Database, stage: bool) -> None:
    target.run("revoke select on public.profiles from anon")
    rights = target.rows(RIGHTS)
    file = backed_up(pilot)
    target.run(
        "drop table public.notes cascade; alter table public.profiles add column wrong int; grant select on profiles to anon"
    )
    before = target.rows(PLATFORM)
    done = put_back(pilot, target, file, stage=stage)
    assert target.rows(PLATFORM) == before
    assert target.rows(RIGHTS) == rights
    assert target.value("select count(*) from public.notes") == 100
    assert target.rows("select schemaname, tablename from pg_publication_tables where pubname = 'supabase_realtime'") == [
        ("public", "notes")
    ]
    target.run(
        "insert into auth.users (id, raw_user_meta_data) values ('00000000-0000-4000-8000-000000000009', '{\"name\": \"New\"}')",
        admin=True,
    )
    assert target.value("select name from public.profiles where id = '00000000-0000-4000-8000-000000000009'") == "New"
    assert any("on_auth_user_created" in what for what in done.replaced.put_back), done.replaced.put_back
    assert done.replaced.left == ()


@WAYS
def test_rows_of_a_user_who_is_gone_since_follow_the_keys_own_rule(pilot: Cli, target: Database, stage: bool) -> None:
    file = backed_up(pilot)
    target.run("delete from public.notes where author = '00000000-0000-4000-8000-000000000003'")
    target.run("delete from auth.users where id = '00000000-0000-4000-8000-000000000003'", admin=True)
    done = put_back(pilot, target, file, stage=stage)
    assert target.value("select count(*) from public.profiles") == 4
    assert target.value("select count(*) from public.notes") == 80
    assert {(s.table, s.how, s.rows) for s in done.replaced.settled} == {
        ("public.profiles", "deleted", 1),
        ("public.notes", "deleted", 20),
    }
    aside = done.replaced.quarantines["public"]
    target.run("delete from public.notes where author = '00000000-0000-4000-8000-000000000004'")
    target.run("delete from auth.users where id = '00000000-0000-4000-8000-000000000004'", admin=True)
    assert target.value(f"select count(*) from {aside}.profiles") == 4, "the quarantine holds its rows, whoever goes since"


def test_what_cannot_be_put_back_is_a_reason_not_to_begin(pilot: Cli, target: Database) -> None:
    file = backed_up(pilot)
    target.run("create materialized view auth.copied as select * from public.profiles", admin=True)
    with pytest.raises(Refused, match=r"auth\.copied") as refused:
        put_back(pilot, target, file, stage=False)
    assert refused.value.code == "quarantine_dependents"
    assert target.value("select count(*) from pg_namespace where nspname ~ '__[qr]_'") == 0
