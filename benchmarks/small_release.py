"""A whole release of a database of 20 MB: backup, rehearsal on it, apply. It must be over within 6 s."""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.backup import MB, chosen, fill
from benchmarks.peers import Row, autopilot, check, finish, new_database, write_migrations

from autopilot.postgres.embedded import running

LEAST_BYTES = 20 * MB
LIMIT_S = 6.0
ROUNDS = 3
MIGRATIONS = {
    "20250101000000_notes.sql": "create table notes (id bigint primary key, about bigint references big_0 (id), body text);\n",
    "20250102000000_priority.sql": (
        "alter table big_0 add column priority int not null default 0;\n"
        "update big_0 set priority = 1 where state = 'open';\ncreate index big_0_priority on big_0 (priority);\n"
    ),
}


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="autopilot-bench-") as made, running(chosen(), tcp=True) as server:
        size_bytes = fill(new_database(server, "full"), big_tables=1, big_rows=22_000, small_tables=20)
        if size_bytes < LEAST_BYTES:
            raise SystemExit(f"the database is too small: {size_bytes / MB:.1f} MB")
        took = []
        for number in range(ROUNDS):
            home = Path(made) / str(number)
            write_migrations(home / "supabase" / "migrations", MIGRATIONS)
            url = new_database(server, "bench", template="full")
            begun = time.perf_counter()
            check(autopilot("migrate", "--no-deploy"), cwd=home, env={"SUPABASE_DB_URL": url})
            took.append(time.perf_counter() - begun)
    return finish(
        [
            Row(what=f"PostgreSQL {server.installation.version}, database", value=size_bytes / MB, unit="MB"),
            Row(
                what=f"migrate with backup and rehearsal, {len(MIGRATIONS)} files", value=statistics.median(took), unit="s",
                limit=LIMIT_S, note=f"load {os.getloadavg()[0]:.1f}",
            ),
        ]
    )  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
