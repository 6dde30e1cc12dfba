"""What commits together and what shares a message: decided from the files alone."""

from __future__ import annotations

import pytest

from autopilot.migrations.files import MigrationFile
from autopilot.migrations.segments import Migration, migration
from autopilot.migrations.unit import gathered, lock_room, locks_taken, together, units, why_apart


def push(*texts: str) -> tuple[Migration, ...]:
    return tuple(
        migration(MigrationFile(version=str(n), name="m", file=f"{n}_m.sql", text=text, sha256="", normalized_sha256=""))
        for n, text in enumerate(texts, 1)
    )


def batches(*texts: str) -> list[list[str]]:
    (unit,) = units(push(*texts), transaction="push")
    return [[part.migration.version for part in parts] for parts in gathered(unit.parts)]


def test_files_that_only_make_what_is_new_share_a_message() -> None:
    assert batches("create table a (n int);", "", "create type e as enum ('x'); comment on type e is 'y';") == [["1", "2", "3"]]


@pytest.mark.parametrize(
    "text",
    [
        "update t set a = 1;",
        "create index i on t (a);",
        "alter table t alter column a type bigint;",
        "set search_path to elsewhere;",
        "select set_config('search_path', 'elsewhere', false);",
        "do $$begin perform 1; end$$;",
        "copy t from stdin;\n1\n\\.\n",
        f"create table long (a int default {'1' * 20_000});",
    ],
)
def test_a_file_that_may_take_long_or_change_the_session_is_a_message_of_its_own(text: str) -> None:
    assert batches("create schema a;", "create schema b;", text, "create schema c;") == [["1", "2"], ["3"], ["4"]]
    assert batches(text, text) == [["1"], ["2"]]


def test_a_message_holds_no_more_than_fifty_files() -> None:
    assert [len(batch) for batch in batches(*["create schema a;"] * 120)] == [50, 50, 20]


def test_what_is_gathered_is_all_of_it_in_order() -> None:
    texts = ["create schema a;", "select 1;", "create schema b;", "create schema c;", "", "select 1;", "select 1;"] * 20
    assert [version for batch in batches(*texts) for version in batch] == [str(n) for n in range(1, len(texts) + 1)]


def test_half_of_the_servers_lock_table_is_left_to_everybody_else() -> None:
    assert lock_room(64 * 100) == 3200


#: What PostgreSQL 15 was seen to lock, as distinct objects beside the schema.
@pytest.mark.parametrize(
    ("text", "locked"),
    [
        ("create table t (id int, n text);", 3),
        ("create table t (id bigint primary key, n text not null); create index i on t (n); insert into t values (1, 'a');", 5),
        ("create table t (id bigserial primary key, n text unique, m int unique);", 7),
        ("create table t (id bigint generated always as identity primary key, n text);", 5),
        ("alter table p add column x text;", 1),
        ("drop table p;", 8),
        ("drop table p, q;", 16),
        ("create table c (p int references p);", 2),
    ],
)
def test_locks_are_rather_counted_too_many(text: str, locked: int) -> None:
    assert locked <= locks_taken(push(text)) <= locked * 3 + 6


def test_rows_do_not_count_only_the_table_they_go_into() -> None:
    assert locks_taken(push("insert into t values (1);" * 100)) == locks_taken(push("insert into public.t values (1);"))


def test_files_that_would_fill_the_lock_table_are_kept_apart_and_say_so() -> None:
    files = push(*[f"create table t{n} (n int);" for n in range(100)])
    assert why_apart(files) is None
    assert why_apart(files, lock_room=300) is None
    why = why_apart(files, lock_room=299)
    assert why is not None
    assert "300 locks" in why
    assert "max_locks_per_transaction" in why
    assert [len(unit.parts) for unit in units(files, lock_room=299)] == [1] * 100


@pytest.mark.parametrize(("transaction", "at_once"), [("auto", False), ("file", False), ("push", True)])
def test_a_setting_that_wants_one_transaction_has_it_whatever_the_lock_table(transaction: str, at_once: bool) -> None:
    files = push("create table a (n int);", "create table b (n int);")
    assert together(files, transaction=transaction, lock_room=1) is at_once
