"""How far off a forecast is: what `migrate` foretells from its rehearsal, and `plan` from sizes, against what came.

A database of 1.5 million rows, on a server that waits for the disk at every COMMIT; each migration by itself, by the real CLI.
It also prints the seconds for each GiB that `plan` guesses from (`migrations/work.py`).
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from benchmarks.peers import autopilot, new_database, server

SCENE = """
create table users (id bigint primary key, name text not null, email text, about text, age int, seen timestamptz);
insert into users select i, 'user ' || i, md5(i::text) || '@example.com', repeat(md5((i * 7)::text) || ' ', 4), i % 90, now()
from generate_series(1, 500000) i;
create table orders (id bigint primary key, user_id bigint not null, total numeric(10, 2), note text, at timestamptz);
insert into orders select i, 1 + i % 500000, (i % 1000) / 10.0, md5(i::text), now() - i * interval '1 second'
from generate_series(1, 1000000) i;
create index orders_at on orders (at);
"""
#: In this order, on one database.
MIGRATIONS = {
    "index": ("orders", "indexes", "create index orders_user on orders (user_id);"),
    "text index": ("users", "indexes", "create index users_email on users (email);"),
    "concurrent index": ("users", "indexes", "create index concurrently users_name on users (name);"),
    "not null": ("users", "reads", "alter table users alter column about set not null;"),
    "check": ("orders", "reads", "alter table orders add constraint paid check (total >= 0);"),
    "foreign key": ("orders", "reads", "alter table orders add foreign key (user_id) references users (id);"),
    "type": ("users", "rewrites", "alter table users alter column age type bigint;"),
    "identity column": ("orders", "rewrites", "alter table orders add column number bigint generated always as identity;"),
    "update all": ("users", "updates", "update users set about = lower(about);"),
    "update some": ("orders", "", "update orders set note = 'late' where id % 10 = 0;"),
    "insert": ("orders", "", "insert into orders select i, 1, 1, 'x', now() from generate_series(2000001, 2200000) i;"),
    "delete some": ("orders", "", "delete from orders where id > 2000000;"),
    "several": (
        "users", "",
        (
            "alter table users add column nick text;\nupdate users set nick = name where id % 2 = 0;\n"
            "create index on users (nick);\nalter table users add constraint nick check (length(nick) < 100);"
        ),
    ),
    "column": ("users", "", "alter table users add column hobby text;"),
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    name: str
    what: str
    size_bytes: int
    guessed_ms: float
    foretold_ms: float
    took_ms: float

    @property
    def ratio(self) -> float:
        return self.foretold_ms / max(1.0, self.took_ms)


def ran(home: Path, url: str, *arguments: str) -> dict[str, Any]:
    command = autopilot(*arguments, "--json")
    finished = subprocess.run(
        command, cwd=home, env={"SUPABASE_DB_URL": url, "PATH": "/usr/bin:/bin"}, capture_output=True, check=False
    )
    document = json.loads(finished.stdout)
    if finished.returncode != 0:
        sys.exit(finished.stderr.decode())
    assert isinstance(document, dict)
    return document


def seen(home: Path, url: str, number: int, name: str) -> Seen:
    table, what, text = MIGRATIONS[name]
    (home / "supabase" / "migrations" / f"{number:04d}_{name.replace(' ', '_')}.sql").write_text(text, encoding="utf-8")
    with psycopg.connect(url, autocommit=True) as connection:
        [size] = connection.execute("select pg_table_size(%s::regclass)", (table,)).fetchone() or (0,)
    [planned] = ran(home, url, "plan")["pending"]
    done = ran(home, url, "migrate", "--no-deploy")
    with psycopg.connect(url, autocommit=True) as connection:
        query = "select duration_ms from automation.migration_log where versions = array[%s]"
        [took] = connection.execute(query, (f"{number:04d}",)).fetchone() or (0,)
    foretold = done["rehearsal"]["predicted_ms"]
    return Seen(
        name=name, what=what, size_bytes=size, guessed_ms=planned["predicted_ms"], foretold_ms=foretold, took_ms=float(took)
    )


def main() -> int:
    with server(durable=True) as running, tempfile.TemporaryDirectory(prefix="autopilot-bench-") as directory:
        home = Path(directory)
        (home / "supabase" / "migrations").mkdir(parents=True)
        url = new_database(running, "forecast")
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(SCENE)
            connection.execute("vacuum analyze")
        found = []
        print(f"{'migration':18} {'guessed':>10} {'foretold':>10} {'took':>10} {'foretold/took':>14} {'s/GiB':>7}")
        for number, name in enumerate(MIGRATIONS, start=1):
            one = seen(home, url, number, name)
            found.append(one)
            per_gib = f"{one.took_ms / 1000 / (one.size_bytes / (1 << 30)):7.1f}" if one.what else ""
            print(
                f"{name:18} {one.guessed_ms:8.0f}ms {one.foretold_ms:8.0f}ms {one.took_ms:8.0f}ms {one.ratio:14.2f} {per_gib}"
                f" {one.what}", flush=True,
            )  # fmt: skip
        long = [s for s in found if s.took_ms >= 100]
        ratios = sorted(s.ratio for s in long)
        print(
            f"of {len(long)} that took 100 ms or more: foretold / took {ratios[0]:.2f} to {ratios[-1]:.2f},"
            f" median {statistics.median(ratios):.2f}"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
