"""1,000 migrations applied and none, or one, pending: against `supabase db push`, dbmate, and a Python that reads the ledger."""

from __future__ import annotations

import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from benchmarks.peers import (
    Contender,
    Row,
    autopilot,
    check,
    finish,
    for_dbmate,
    medians,
    new_database,
    peer,
    server,
    silently,
    small_migrations,
    write_migrations,
)

from autopilot.postgres.embedded import EmbeddedServer

COUNT = 1000
ROUNDS = 7
NOTHING_OVER_SUPABASE = 0.28
ONE_OVER_SUPABASE = 0.33
BARE = (
    "import os, psycopg\n"
    "with psycopg.connect(os.environ['SUPABASE_DB_URL']) as c:\n"
    "    c.execute('select version, sha256 from automation.applied_migrations').fetchall()\n"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Arena:
    """A server with two databases in which all 1,000 are applied: `full` by us, `full_dbmate` by dbmate."""

    server: EmbeddedServer
    dbmate: Path | None
    supabase: Path | None

    def url(self) -> str:
        return self.server.url("bench").reveal()

    def contenders(self, *, cwd: Path, renewed: bool) -> list[Contender]:
        """renewed: everybody gets a database of 1,000 anew, each time."""
        url, env = self.url(), {"SUPABASE_DB_URL": self.url()}
        ours = autopilot("migrate", "--no-backup", "--no-rehearsal", "--no-deploy")

        def full() -> None:
            if renewed:
                new_database(self.server, "bench", template="full")

        found = [Contender(name="autopilot", prepare=full, run=lambda: silently(ours, cwd=cwd, env=env))]
        supabase, dbmate = self.supabase, self.dbmate
        if supabase is not None:
            push = [str(supabase), "db", "push", "--yes", "--db-url", url]
            found.append(Contender(name="supabase db push", prepare=full, run=lambda: silently(push, cwd=cwd)))
        if dbmate is not None:
            theirs = self.server.url("bench_dbmate").reveal()
            migrate = [str(dbmate), "--url", theirs, "--migrations-dir", "dbmate", "--no-dump-schema", "migrate"]

            def full_dbmate() -> None:
                if renewed:
                    new_database(self.server, "bench_dbmate", template="full_dbmate")

            found.append(Contender(name="dbmate", prepare=full_dbmate, run=lambda: silently(migrate, cwd=cwd)))
        if not renewed:
            bare = [sys.executable, "-c", BARE]
            found.append(Contender(name="bare Python with psycopg", run=lambda: silently(bare, cwd=cwd, env=env)))
        return found


def furnish(home: Path, count: int) -> Path:
    texts = small_migrations(count)
    write_migrations(home / "supabase" / "migrations", texts)
    write_migrations(home / "dbmate", for_dbmate(texts))
    return home


def fill(arena: Arena, *, cwd: Path) -> None:
    """The databases that the others are cloned from."""
    url = new_database(arena.server, "full")
    check(autopilot("migrate", "--no-backup", "--no-rehearsal", "--no-deploy"), cwd=cwd, env={"SUPABASE_DB_URL": url})
    new_database(arena.server, "bench", template="full")
    if arena.dbmate is not None:
        theirs = new_database(arena.server, "full_dbmate")
        check([str(arena.dbmate), "--url", theirs, "--migrations-dir", "dbmate", "--no-dump-schema", "migrate"], cwd=cwd)
        new_database(arena.server, "bench_dbmate", template="full_dbmate")


def rows_of(what: str, took: dict[str, float], limit: float) -> list[Row]:
    rows = [Row(what=f"{what}, {name}", value=seconds * 1000, unit="ms") for name, seconds in took.items()]
    for name in [n for n in took if n != "autopilot"]:
        ratio = took["autopilot"] / took[name]
        rows.append(Row(what=f"autopilot / {name}", value=ratio, unit="x", limit=limit if name == "supabase db push" else None))
    return rows


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="autopilot-bench-") as made, server() as running:
        home = Path(made)
        arena = Arena(server=running, dbmate=peer("dbmate"), supabase=peer("supabase"))
        applied, one_more = furnish(home / "applied", COUNT), furnish(home / "one_more", COUNT + 1)
        fill(arena, cwd=applied)
        nothing = medians(arena.contenders(cwd=applied, renewed=False), rounds=ROUNDS)
        one = medians(arena.contenders(cwd=one_more, renewed=True), rounds=ROUNDS)
    return finish(
        [
            *rows_of(f"nothing pending of {COUNT}", nothing, NOTHING_OVER_SUPABASE),
            *rows_of(f"one pending of {COUNT + 1}", one, ONE_OVER_SUPABASE),
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
