"""1,000 small migrations on an empty database: against dbmate, and against one psql with a transaction and a ledger row each.

The limits are on files of one statement. With three statements a file most of the time is the server's own, and is only told.
The server waits for the disk at every COMMIT, as any other does: what that costs here is told too, because we commit once.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.peers import (
    Contender,
    Row,
    autopilot,
    finish,
    for_dbmate,
    medians,
    new_database,
    one_statement_migrations,
    peer,
    psql_of,
    server,
    silently,
    small_migrations,
    write_migrations,
)

from autopilot.postgres.embedded import EmbeddedServer

COUNT = 1000
ROUNDS = 5
OVER_DBMATE = 0.8
OVER_PSQL = 1.4
LEDGER = "create table ledger (version text primary key, applied_at timestamptz not null default now());\n"


def as_one_script(texts: dict[str, str]) -> str:
    rows = (f"begin;\n{text}insert into ledger values ('{name.split('_')[0]}');\ncommit;\n" for name, text in texts.items())
    return LEDGER + "".join(rows)


def taken(running: EmbeddedServer, home: Path, texts: dict[str, str], dbmate: Path | None) -> dict[str, float]:
    """Median seconds by name."""
    write_migrations(home / "supabase" / "migrations", texts)
    write_migrations(home / "dbmate", for_dbmate(texts))
    (home / "all.sql").write_text(as_one_script(texts), encoding="utf-8")
    ours = autopilot("migrate", "--no-backup", "--no-rehearsal", "--no-deploy")
    psql = [psql_of(running.installation), "-X", "-q", "-v", "ON_ERROR_STOP=1", "-f", "all.sql"]
    theirs = [str(dbmate), "--migrations-dir", "dbmate", "--no-dump-schema", "--url"]
    databases = Databases(server=running, prefix=home.name)

    def contender(name: str, run: Callable[[str], None]) -> Contender:
        return Contender(name=name, prepare=databases.another, run=lambda: run(databases.url))

    contenders = [
        contender("autopilot", lambda url: silently(ours, cwd=home, env={"SUPABASE_DB_URL": url})),
        contender("psql", lambda url: silently([*psql, url], cwd=home)),
    ]
    if dbmate is not None:
        contenders.append(contender("dbmate", lambda url: silently([*theirs, url, "migrate"], cwd=home)))
    return medians(contenders, rounds=ROUNDS)


@dataclass(slots=True, kw_only=True)
class Databases:
    """An empty database for each run, none of them dropped: file systems are slow where many files were just removed."""

    server: EmbeddedServer
    prefix: str
    count: int = 0
    url: str = ""

    def another(self) -> None:
        self.count += 1
        self.url = new_database(self.server, f"{self.prefix}_{self.count}")


def rows_of(what: str, took: dict[str, float], limits: dict[str, float]) -> list[Row]:
    rows = [Row(what=f"{what}, {name}", value=seconds, unit="s") for name, seconds in took.items()]
    others = [name for name in took if name != "autopilot"]
    return rows + [Row(what=f"autopilot / {n}", value=took["autopilot"] / took[n], unit="x", limit=limits.get(n)) for n in others]


def main() -> int:
    dbmate = peer("dbmate")
    with tempfile.TemporaryDirectory(prefix="autopilot-bench-") as made, server(durable=True) as running:
        one = taken(running, Path(made) / "one", one_statement_migrations(COUNT), dbmate)
        three = taken(running, Path(made) / "three", small_migrations(COUNT), dbmate)
    limits = {"psql": OVER_PSQL, "dbmate": OVER_DBMATE}
    return finish(
        [*rows_of(f"{COUNT} files of one statement", one, limits), *rows_of(f"{COUNT} files of three statements", three, {})]
    )


if __name__ == "__main__":
    sys.exit(main())
