"""How long the catalog snapshot and the way back take: 120 tables, 230 indexes, 108 foreign keys, 52 policies; told in ms."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Callable

import psycopg
from benchmarks.peers import Row, finish, new_database, server

from autopilot.rollback.act import undo
from autopilot.rollback.difference import diff
from autopilot.rollback.reverse import way_back
from autopilot.rollback.snapshot import encode, read

TABLES, ROUNDS = 120, 20
SNAPSHOT_MS, UNDO_MS = 50.0, 200.0

_MIGRATION = """
create table fresh (id bigint generated always as identity primary key, note text);
insert into fresh (note) select 'n' from generate_series(1, 1000);
alter table t7 add column extra text; update t7 set extra = 'x';
create index fresh_index on t8 (name); alter table t9 add constraint fresh_check check (id > 0);
create view fresh_view as select * from t10; create policy fresh_policy on t11 using (true);
create function fresh_function() returns trigger language plpgsql as 'begin return new; end';
create trigger fresh_trigger before insert on t12 for each row execute function fresh_function();
create or replace function f3() returns int language sql as 'select 42';
alter table t13 rename to t13_renamed; alter table t14 rename column name to called;
"""


def schema() -> str:
    parts = ["create type kind as enum ('a', 'b', 'c');"]
    for n in range(TABLES):
        parent = f", parent bigint references t{n - 1} (id)" if 0 < n < 109 else ", parent bigint"
        parts.append(
            f"create table t{n} (id bigint generated always as identity primary key, name text not null default 'x', k kind,"
            f" amount numeric(10, 2) check (amount >= 0), at timestamptz default now(), data jsonb{parent});"
            f"comment on table t{n} is 'number {n}'; grant select on t{n} to public;"
            f"insert into t{n} (name) select 'row' || i from generate_series(1, 100) i;"
        )
        parts += [f"create index on t{n} (parent);"] if n < 110 else []
        parts += [f"alter table t{n} enable row level security; create policy p on t{n} using (amount > 1);"] if n < 52 else []
        parts += [f"create function f{n}() returns int language sql as 'select {n}';"] if n < 40 else []
        parts += [f"create view v{n} as select id, name from t{n};"] if n < 10 else []
    return "\n".join(parts)


def taken_ms(work: Callable[[], object]) -> float:
    begun = time.perf_counter()
    work()
    return (time.perf_counter() - begun) * 1000


def main() -> int:
    with server() as running, psycopg.connect(url := new_database(running, "catalog"), autocommit=True) as connection:
        connection.execute(schema().encode())
        connection.execute("analyze")
        first = taken_ms(lambda: read(connection))
        usual = statistics.median(taken_ms(lambda: read(connection)) for _ in range(ROUNDS))
        dump = [running.installation.tool("pg_dump"), "--schema-only", url]
        dumped = statistics.median(taken_ms(lambda: subprocess.run(dump, check=True, capture_output=True)) for _ in range(5))
        before, undone, compared, planned = read(connection), [], 0.0, 0.0
        for number in range(5):
            connection.execute(_MIGRATION.encode())
            after = read(connection)
            compared = taken_ms(lambda after=after: diff(before, after))  # type: ignore[misc]
            planned = taken_ms(lambda after=after: way_back(before, after))  # type: ignore[misc]
            with connection.transaction():
                undone.append(taken_ms(lambda number=number: undo(connection, before, token=f"b{number}")))  # type: ignore[misc]
        note = f"{len(before.things)} things, {len(before.edges)} edges, {len(encode(before)) // 1024} KiB as JSON"
        commands = f"{len(way_back(before, after).statements)} commands, locks, two snapshots and the proof with it"
    return finish([
        Row(what="catalog snapshot, first in a session", value=first, unit="ms"),
        Row(what="catalog snapshot, median", value=usual, unit="ms", limit=SNAPSHOT_MS, note=note),
        Row(what="pg_dump --schema-only, for scale", value=dumped, unit="ms"),
        Row(what="difference of two snapshots", value=compared, unit="ms"),
        Row(what="way back from two snapshots", value=planned, unit="ms"),
        Row(what="11 kinds of change undone, proven", value=statistics.median(undone), unit="ms", limit=UNDO_MS, note=commands),
    ])  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
