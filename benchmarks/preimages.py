"""What it costs to keep rows as they were while a migration writes them, and how long it takes to put them back.

200,000 of 400,000 rows updated, with two indexes beside the key, in one transaction with and without; rounds interleaved, on a
server that waits for the disk. The server's own processor time stands beside the wall clock: it does not see the neighbours.
"""

from __future__ import annotations

import secrets
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
from benchmarks.peers import Row, finish, new_database, server

from autopilot.rollback import preimages, returning, trash
from autopilot.rollback.preimages import Statement, Touched

ROUNDS = 5
ROWS, CHANGED = 400_000, 200_000
#: A DELETE by itself writes next to nothing, so what keeps its rows is only told.
LIMITS = {"updated": 1.2}
BACK_S = 3.0
SCENE = f"""
create table orders (
  id bigint primary key, owner uuid not null, email text not null, amount numeric(12,2), details jsonb, at timestamptz
);
insert into orders select g, gen_random_uuid(), 'user' || g || '@example.com', g * 1.25,
jsonb_build_object('tags', g % 7, 'note', 'words of ' || g), now() from generate_series(1, {ROWS}) g;
create index on orders (owner); create index on orders (at);
"""
_HALF = "where id % 2 = 0"
CHANGES = {
    "updated": f"update orders set amount = amount + 1, details = details || '{{\"seen\": true}}' {_HALF}",
    "deleted": f"delete from orders {_HALF}",
}


@dataclass(slots=True)
class Taken:
    wall_s: list[float] = field(default_factory=list)
    cpu_s: list[float] = field(default_factory=list)

    @property
    def wall(self) -> float:
        return statistics.median(self.wall_s)

    @property
    def cpu(self) -> float:
        return statistics.median(self.cpu_s)


def timed(connection: psycopg.Connection[tuple[object, ...]], taken: Taken, work: Callable[[], None]) -> None:
    wall, cpu = time.perf_counter(), processor_s(connection.info.backend_pid)
    work()
    taken.wall_s.append(time.perf_counter() - wall)
    taken.cpu_s.append(processor_s(connection.info.backend_pid) - cpu)


def processor_s(pid: int) -> float:
    """Of a process, user and system; 0 where /proc does not tell."""
    stat = Path(f"/proc/{pid}/stat")
    if not stat.exists():
        return 0.0
    fields = stat.read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / 100


def changed(connection: psycopg.Connection[tuple[object, ...]], statement: str, *, run_id: str | None) -> None:
    """The migration, kept under a run's id or not at all."""
    touched = [] if run_id is None else [Touched(table=("public", "orders"), version="1", number=1)]
    facts = preimages.read(connection, run_id=run_id or "", keep_days=30, statements=[], touched=touched)
    plan = preimages.plan_for(facts)
    texts = ["begin", *plan.opening(), *plan.at("1", 1).before, statement, *plan.closing()]
    connection.execute(";\n".join(texts).encode())
    connection.execute("commit")


def back(connection: psycopg.Connection[tuple[object, ...]], run_id: str) -> None:
    with connection.transaction():
        found = returning.undo(connection, run_id)
    if (found.restored, found.conflicts_in_all) != (CHANGED, 0):
        raise SystemExit(f"{found.restored} rows came back, {found.conflicts_in_all} did not")


def measured(connection: psycopg.Connection[tuple[object, ...]], what: str, statement: str) -> list[Row]:
    plain, kept, returned = Taken(), Taken(), Taken()
    for _ in range(ROUNDS):
        run_id = secrets.token_hex(4)
        anew(connection)
        timed(connection, plain, lambda: changed(connection, statement, run_id=None))
        anew(connection)
        timed(connection, kept, lambda run_id=run_id: changed(connection, statement, run_id=run_id))  # type: ignore[misc]
        connection.execute("vacuum analyze orders")
        timed(connection, returned, lambda run_id=run_id: back(connection, run_id))  # type: ignore[misc]
    size = max(k.size_bytes for k in trash.listed(connection)) / (1 << 20)
    rows = f"{CHANGED:,} rows {what}"
    return [
        Row(what=f"{rows}: plain", value=plain.wall, unit="s", note=f"processor {plain.cpu:.2f} s"),
        Row(what=f"{rows}: kept", value=kept.wall, unit="s", note=f"processor {kept.cpu:.2f} s, {size:.0f} MiB in the trash"),
        Row(what=f"{rows}: kept over plain", value=kept.wall / plain.wall, unit="x", limit=LIMITS.get(what),
            note=f"by processor time {kept.cpu / plain.cpu:.2f} x" if plain.cpu else ""),
        Row(what=f"{rows}: put back", value=returned.wall, unit="s", limit=BACK_S,
            note=f"processor {returned.cpu:.2f} s, {returned.wall / plain.wall:.1f} x the change itself"),
    ]  # fmt: skip


def anew(connection: psycopg.Connection[tuple[object, ...]]) -> None:
    connection.execute(f"drop table if exists orders; {SCENE}".encode())
    connection.execute("vacuum analyze orders")
    connection.execute("checkpoint")


def moved(connection: psycopg.Connection[tuple[object, ...]]) -> list[Row]:
    """A DROP TABLE that becomes a move, there and back."""
    there, again = Taken(), Taken()
    anew(connection)
    for _ in range(ROUNDS):
        run_id = secrets.token_hex(4)
        drop = Statement(version="1", number=1, what="drop table", text="drop table orders", tables=(("public", "orders"),))
        plan = preimages.plan_for(preimages.read(connection, run_id=run_id, keep_days=30, statements=[drop], touched=[]))
        capture = plan.at("1", 1)
        texts = ["begin", *plan.opening(), *capture.probe, *(capture.instead or ()), *plan.closing(), "commit"]
        timed(connection, there, lambda texts=texts: sent(connection, texts))  # type: ignore[misc]
        timed(connection, again, lambda run_id=run_id: landed(connection, run_id))  # type: ignore[misc]
    return [
        Row(what=f"a table of {ROWS:,} rows dropped: moved", value=there.wall * 1000, unit="ms"),
        Row(what=f"a table of {ROWS:,} rows dropped: put back", value=again.wall * 1000, unit="ms"),
    ]


def sent(connection: psycopg.Connection[tuple[object, ...]], texts: Sequence[str]) -> None:
    connection.execute(";\n".join(texts).encode())


def landed(connection: psycopg.Connection[tuple[object, ...]], run_id: str) -> None:
    with connection.transaction():
        returning.bring_back_tables(connection, run_id)


def main() -> int:
    with server(durable=True) as started:
        url = new_database(started, "preimages")
        with psycopg.connect(url, autocommit=True) as connection:
            rows = [row for what, statement in CHANGES.items() for row in measured(connection, what, statement)]
            return finish([*rows, *moved(connection)])


if __name__ == "__main__":
    sys.exit(main())
