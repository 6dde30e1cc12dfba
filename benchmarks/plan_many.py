"""Large inputs: 10,000 files planned in time and memory; one file of 37,000 lines applied about as fast as by psql."""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.peers import Contender, Row, autopilot, finish, medians, new_database, psql_of, server, silently, write_migrations

FILES = 10_000
PLAN_LIMIT_S = 5.0
PLAN_LIMIT_MIB = 300.0
LINES = 37_000
OVER_PSQL_LIMIT_S = 2.0
ROUNDS = 3


def planned(home: Path, url: str) -> tuple[float, float]:
    """Seconds and peak MiB of one `autopilot plan`."""
    env = {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/"), "SUPABASE_DB_URL": url}
    argv = autopilot("plan", "--dir", str(home / "supabase" / "migrations"))
    quiet = [(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)]
    begun = time.perf_counter()
    pid = os.posix_spawn(argv[0], argv, env, file_actions=quiet)
    _, status, usage = os.wait4(pid, 0)
    took_s = time.perf_counter() - begun
    if os.waitstatus_to_exitcode(status) != 0:
        raise SystemExit("autopilot plan failed; its words are above")
    return took_s, usage.ru_maxrss / (1 if sys.platform == "darwin" else 1024) / (1024 if sys.platform == "darwin" else 1)


def many_files() -> dict[str, str]:
    return {
        f"{20250101000000 + n}_step_{n}.sql": f"create table step_{n} (id bigint primary key, name text not null);\n"
        for n in range(FILES)
    }


def long_file() -> str:
    """1.3 MB, a statement a line."""
    rows = (f"insert into big values ({n:>6},'{n % 97:02}');\n" for n in range(LINES - 1))
    return "create table big (id int primary key, t text);\n" + "".join(rows)


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="autopilot-bench-") as made, server() as running:
        many, one = Path(made) / "many", Path(made) / "one"
        write_migrations(many / "supabase" / "migrations", many_files())
        url = new_database(running, "bench")
        plans = sorted(planned(many, url) for _ in range(ROUNDS))
        plan_s, peak = plans[ROUNDS // 2][0], max(mib for _, mib in plans)
        write_migrations(one / "supabase" / "migrations", {"20250101000000_big.sql": long_file()})
        psql = [psql_of(running.installation), "-X", "-q", "-1", "-v", "ON_ERROR_STOP=1"]
        file = str(one / "supabase" / "migrations" / "20250101000000_big.sql")
        migrate = autopilot("migrate", "--no-backup", "--no-rehearsal", "--no-deploy")

        def fresh() -> None:
            new_database(running, "bench")

        took = medians(
            [
                Contender(name="psql", prepare=fresh, run=lambda: silently([*psql, "-f", file, url], cwd=one)),
                Contender(name="autopilot", prepare=fresh, run=lambda: silently(migrate, cwd=one, env={"SUPABASE_DB_URL": url})),
            ],
            rounds=ROUNDS,
        )
    size = f"{len(long_file()) / 1e6:.1f} MB, {LINES} lines"
    return finish(
        [
            Row(what=f"{FILES} files planned", value=plan_s, unit="s", limit=PLAN_LIMIT_S),
            Row(what="peak memory of that", value=peak, unit="MiB", limit=PLAN_LIMIT_MIB),
            Row(what=f"{size}: psql", value=took["psql"], unit="s"),
            Row(what=f"{size}: autopilot", value=took["autopilot"], unit="s"),
            Row(what="autopilot over psql", value=took["autopilot"] - took["psql"], unit="s", limit=OVER_PSQL_LIMIT_S),
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
