"""What a statement means for the code that runs, and what it locks: against a table of our own and against PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable

import psycopg
import pytest
from tests.conftest import Cli, Database

from autopilot.migrations.change import by_words, worst
from autopilot.migrations.effect import conditional, effects
from autopilot.migrations.locks import MODES, Lock, is_gentle, keeps_waiting, strongest
from autopilot.migrations.statements import statements

EXPAND = (
    "create table new (id int)", "create index on users (name)", "create index concurrently on users (name)",
    "alter table users add column nick text", "alter table users add column age int not null default 0",
    "alter table users add column n bigserial not null", "alter table users alter column name drop not null",
    "alter table users alter column name set default 'x'", "alter table users disable row level security",
    "alter table users validate constraint c", "grant select on users to anon", "comment on table users is 'people'",
    "alter type mood add value 'fine'", "create policy p on users using (true)",
    "create function f() returns int language sql as 'select 1'", "create view v as select 1", "create type t as enum ('a')",
    "create extension if not exists pgcrypto", "vacuum users", "set search_path = ''", "drop index users_name_idx",
    "do $$ begin create type t as enum ('a'); exception when duplicate_object then null; end $$", "copy users to stdout",
    "alter default privileges grant select on tables to anon",
)  # fmt: skip
DATA = (
    "insert into users values (1)", "update users set name = 'x'", "delete from users where id = 1", "copy users from '/tmp/x'",
    "select cron.schedule('a', 'b', 'c')", "refresh materialized view m", "do $$ begin insert into users values (1); end $$",
    "merge into users using other on users.id = other.id when matched then delete",
)  # fmt: skip
CONTRACT = (
    "alter table users rename to people", "alter table users rename column name to nick",
    "alter table users add column age int not null", "alter table users alter column name set not null",
    "alter table users alter column id type bigint", "alter table users add constraint c check (id > 0)",
    "alter table users drop constraint c", "alter table users enable row level security", "create unique index on users (name)",
    "drop view v", "drop function f()", "drop policy p on users", "drop trigger t on users",
    "create policy p on users as restrictive using (false)", "revoke select on users from anon",
    "alter table users owner to other", "create trigger t before insert on users for each row execute function f()",
    "alter table users alter column name drop default", "alter table users set schema archive",
    "alter type mood rename value 'a' to 'b'", "call rebuild()", "do $$ begin execute 'alter table users rename to x'; end $$",
    "create rule r as on insert to users do instead nothing",
    "create or replace function f() returns int language sql as 'select 1'", "alter table parts detach partition part_1",
)  # fmt: skip
IRREVERSIBLE = (
    "drop table users", "drop schema archive cascade", "alter table users drop column name", "truncate users",
    "delete from users", "alter table users alter column name type int using name::int",
    "alter table users alter column name type varchar(3)", "drop type mood cascade", "drop database other",
    "do $$ begin drop table if exists users; end $$", "alter table users add column fine text, drop column name",
)  # fmt: skip


@pytest.mark.parametrize(
    ("text", "kind"),
    [(text, kind) for kind, texts in (("expand", EXPAND), ("data", DATA), ("contract", CONTRACT), ("irreversible", IRREVERSIBLE))
     for text in texts],
)  # fmt: skip
def test_a_statement_counts_as(text: str, kind: str) -> None:
    (found,) = statements(text, file="1_a.sql")
    assert found.change.kind == kind, found.change.why


def kinds(text: str, *, there: frozenset[str] = frozenset()) -> list[str]:
    return [e.change.kind for e in effects(statements(text, file="1_a.sql"), there=there)]


def test_what_a_push_does_to_what_it_made_itself_breaks_nobody() -> None:
    text = (
        "create table t (id int); alter table public.t enable row level security; drop table t; insert into public.t values (1)"
    )
    assert kinds(text) == ["expand", "expand", "expand", "expand"]
    assert kinds("alter table t enable row level security") == ["contract"]


def test_if_not_exists_counts_as_new_only_where_the_catalog_has_none() -> None:
    text = "create table if not exists t (id int); alter table t enable row level security"
    assert conditional(statements(text, file="1_a.sql")) == {"t"}
    assert kinds(text) == ["expand", "expand"]
    assert kinds(text, there=frozenset({"t"})) == ["expand", "contract"]
    replaced = "create or replace function f() returns int language sql as 'select 1'"
    assert kinds(replaced) == ["expand"]
    assert kinds(replaced, there=frozenset({"f()"})) == ["contract"]


def test_a_file_is_what_its_worst_statement_is() -> None:
    assert worst(["expand", "contract", "data"]) == "contract"
    assert worst([]) == "expand"


def test_a_block_is_read_by_its_words() -> None:
    assert by_words("do $$ begin truncate users; end $$").kind == "irreversible"
    assert by_words("do $$ begin execute format('x'); end $$").kind == "contract"
    assert by_words("do $$ begin create table t (i int); end $$").kind == "expand"


SCENE = """
create table users (id int primary key, name text, unique (name));
create table orders (id int primary key, user_id int);
create table parts (id int) partition by range (id);
create table part_1 partition of parts for values from (0) to (10);
create table part_2 (id int);
alter table orders add constraint pending foreign key (user_id) references users (id) not valid;
create sequence numbers;
create view names as select name from users;
create materialized view counted as select count(*) as n from users;
create index users_name on users (name);
create function stay() returns trigger language plpgsql as 'begin return new; end';
create trigger keeps before insert on users for each row execute function stay();
create policy open on users using (true);
"""
LOCKING = (
    "alter table users add column age int", "alter table users alter column name set statistics 10",
    "alter table users disable trigger user", "alter table orders validate constraint pending",
    "alter table orders add foreign key (id) references users (id)", "create table child (id int references users (id))",
    "create index on users (id)", "create unique index on orders (user_id)", "drop table part_2", "drop view names",
    "drop materialized view counted", "drop index users_name", "drop trigger keeps on users", "drop policy open on users",
    "create policy other on users using (false)", "alter policy open on users using (false)",
    "create trigger again before insert on users for each row execute function stay()", "alter table users rename to people",
    "alter table users rename column name to nick", "create rule r as on insert to orders do instead nothing",
    "truncate orders", "insert into users values (7, 'a')", "update users set name = 'b'", "delete from users where id = 7",
    "comment on table users is 'x'", "lock table orders in share mode", "refresh materialized view counted",
    "alter table users enable row level security", "create or replace view names as select name from users",
    "create table part_3 partition of parts for values from (20) to (30)",
    "alter table parts attach partition part_2 for values from (30) to (40)", "alter table parts detach partition part_1",
    "alter sequence numbers restart", "reindex table users", "cluster users using users_name",
    "alter table users set (fillfactor = 70)", "alter table part_2 drop column id", "alter table users replica identity full",
    "analyze users",
)  # fmt: skip


@pytest.mark.parametrize("text", LOCKING)
def test_the_locks_read_from_the_text_are_those_postgresql_takes(text: str, database: Database) -> None:
    database.run(SCENE)
    (found,) = statements(text, file="1_a.sql")
    with psycopg.connect(database.url) as connection, psycopg.connect(database.url, autocommit=True) as other:
        connection.execute(text.encode())
        rows = other.execute(HELD, (connection.info.backend_pid,)).fetchall()
        connection.rollback()
    taken = {lock.relation: lock.mode for lock in strongest(Lock(relation=r, mode=words(m)) for r, m, _ in rows)}
    tables = {relation for relation, _, waits_there in rows if waits_there}
    read = {lock.relation: lock.mode for lock in found.locks}
    assert read.items() <= taken.items()
    strong = {relation for relation, mode in taken.items() if not is_gentle(mode) and relation in tables}
    hidden = {"users"} if text == "drop index users_name" else set()  # which table it is on, the text does not say
    assert strong <= read.keys() | hidden, "a lock that keeps others waiting was overlooked"


HELD = """
select c.relname, l.mode, c.relkind <> 'i' from pg_locks l join pg_class c on c.oid = l.relation
where l.pid = %s and c.relnamespace = 'public'::regnamespace and l.mode <> 'AccessShareLock'
"""


def words(mode: str) -> str:
    return next(m for m in MODES if "".join(w.capitalize() for w in m.split()) + "Lock" == mode)


def test_only_the_weak_modes_keep_nobody_waiting() -> None:
    assert [m for m in MODES if is_gentle(m)] == ["ACCESS SHARE", "ROW SHARE", "ROW EXCLUSIVE", "SHARE UPDATE EXCLUSIVE"]
    assert keeps_waiting("ACCESS EXCLUSIVE") == "reads and writes"
    assert keeps_waiting("SHARE") == "writes"


def test_plan_and_ledger_say_what_each_file_means(cli: Cli, database: Database) -> None:
    database.run("create table users (id int); create table items (id int)")
    cli.write("1_new.sql", "create table if not exists posts (id int); alter table posts enable row level security; -- fine")
    cli.write("2_old.sql", "create table if not exists users (id int);\nalter table users enable row level security;")
    cli.write("3_rows.sql", "insert into items values (1);")
    cli.write("4_gone.sql", "alter table items drop column id;")
    planned = cli("plan")
    assert "1_new.sql  (2 statements, expand: only adds)" in planned.out
    assert "2_old.sql  (2 statements, contract: code that runs now may break)" in planned.out
    assert "line 2: locks users (ACCESS EXCLUSIVE): reads and writes wait" in planned.out
    assert "3_rows.sql  (1 statement, data: writes rows)" in planned.out
    assert "4_gone.sql  (1 statement, irreversible: destroys data)" in planned.out
    ran = cli("migrate", "--no-deploy")
    assert ran.code == 0, ran.err
    assert "Locks users in ACCESS EXCLUSIVE mode: reads and writes wait while it is held, about " in ran.err
    assert "posts" not in "".join(line for line in ran.err.splitlines() if "Locks" in line)
    assert database.rows("select version, change, changes from automation.applied_migrations order by version") == [
        ("1", "expand", ["expand", "expand"]),
        ("2", "contract", ["expand", "contract"]),
        ("3", "data", ["data"]),
        ("4", "irreversible", ["irreversible"]),
    ]


def test_a_file_without_a_statement_is_recorded_and_said_to_be(cli: Cli, database: Database) -> None:
    cli.write("1_empty.sql", "")
    cli.write("2_words.sql", "-- nothing yet\n")
    assert "1_empty.sql  (no statement: only recorded)" in cli("plan").out
    ran = cli("migrate", "--no-deploy", "--no-backup")
    assert ran.code == 0
    assert "2_words.sql holds no statement: it is recorded, and nothing runs." in ran.err
    assert database.rows("select version, change, changes from automation.applied_migrations order by 1") == [
        ("1", "expand", []), ("2", "expand", []),
    ]  # fmt: skip


def test_a_ledger_without_the_new_columns_gets_them(cli: Cli, new_database: Callable[[], Database]) -> None:
    database = new_database()
    cli.env["SUPABASE_DB_URL"] = database.url
    cli.write("1_a.sql", "create table a (id int);")
    assert cli("migrate", "--no-deploy", "--no-backup").code == 0
    database.run(
        "delete from automation.schema_versions where version = 4; alter table automation.applied_migrations drop column change,"
        " drop column changes; alter table automation.migration_log drop column after_deploy",
        admin=True,
    )
    cli.write("2_b.sql", "create table b (id int);")
    assert cli("migrate", "--no-deploy", "--no-backup").code == 0
    assert database.rows("select version, change from automation.applied_migrations order by 1") == [("1", None), ("2", "expand")]
