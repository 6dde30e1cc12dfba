"""`autopilot backup create` against `pg_dump | gzip`, the guide's way: time, size and memory, in one run on one database; and
a release on it, its rehearsal against its dump.

The database is made here: 108 tables, over 400 MB, words as often as people use them, so that it compresses as theirs do.
"""

from __future__ import annotations

import itertools
import json
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
from benchmarks.peers import Contender, Row, autopilot, check, finish, medians, new_database, silently, write_migrations

from autopilot.postgres.clients import Installation, for_embedded, installations
from autopilot.postgres.embedded import EmbeddedServer, running

MB = 1_000_000
LEAST_BYTES = 400 * MB
BIG_TABLES, BIG_ROWS = 8, 130_000
SMALL_TABLES, SMALL_ROWS = 100, 400
ROUNDS = 3
TIME_OVER_GZIP = 0.5
SIZE_OVER_GZIP = 0.9
PEAK_MIB = 150.0
REHEARSAL_OVER_DUMP = 2.5
_STATES = ("open", "paid", "sent", "cancelled", "returned")
_TABLE = """
create table {name} (
  id bigint primary key, owner_id uuid not null, created_at timestamptz not null, state text not null, email text not null,
  title text not null, body text not null, amount numeric(12,2) not null, details jsonb not null
)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Life:
    """What rows are made of, as in an application's database: the same people and products again and again, phrases that
    recur, and a few words that do not. The pools are as large as they are so that zstd gains on gzip what it gained on a real
    application's database of this size (37.0 MB where gzip made 44.1), and no more."""

    people: list[tuple[str, str]]
    products: list[str]
    phrases: list[str]
    words: list[str]
    #: How often each word is said, summed up.
    often: list[float]


def life(chance: random.Random) -> Life:
    syllables = [a + b for a in "bcdfglmnprstvw" for b in ("a", "e", "i", "o", "u", "an", "er", "in", "or", "st")]
    words = ["".join(chance.choices(syllables, k=chance.choice((1, 2, 2, 3, 4)))) for _ in range(3000)]
    often = list(itertools.accumulate(1 / (rank + 3) for rank in range(len(words))))

    def said(count: int) -> str:
        return " ".join(chance.choices(words, cum_weights=often, k=count))

    people = [(f"{chance.getrandbits(128):032x}", f"{said(1)}.{said(1)}{n}@example.com") for n in range(30_000)]
    return Life(
        people=people, products=[said(4) for _ in range(3000)], phrases=[said(chance.randrange(5, 12)) for _ in range(20_000)],
        words=words, often=often,
    )  # fmt: skip


def rows(count: int, of: Life, chance: random.Random) -> Iterator[tuple[object, ...]]:
    """In the order of time, as rows are written."""
    for number in range(count):
        person, email = of.people[int(len(of.people) * chance.random() ** 2)]
        product = int(len(of.products) * chance.random() ** 2)
        own = chance.choices(of.words, cum_weights=of.often, k=3)
        second = number * 100
        day, of_day = divmod(second, 86_400)
        created_at = (
            f"2025-{1 + day // 28 % 12:02}-{1 + day % 28:02} {of_day // 3600:02}:{of_day // 60 % 60:02}:{of_day % 60:02}+00"
        )
        yield (
            number, person, created_at, chance.choice(_STATES), email, of.products[product],
            ". ".join((*chance.choices(of.phrases, k=2), " ".join(own))), f"{5 + product * 7 % 900}.90",
            json.dumps({"source": "web", "tags": own[:1], "seen": number % 7 == 0, "score": chance.randrange(100)}),
        )  # fmt: skip


def fill(url: str, *, big_tables: int = BIG_TABLES, big_rows: int = BIG_ROWS, small_tables: int = SMALL_TABLES) -> int:
    """Makes the tables; returns the database's size in bytes."""
    chance = random.Random(1)
    found = life(chance)
    with psycopg.connect(url, autocommit=True) as connection:
        for kind, tables, count in (("big", big_tables, big_rows), ("small", small_tables, SMALL_ROWS)):
            for number in range(tables):
                name = f"{kind}_{number}"
                connection.execute(_TABLE.format(name=name).encode())
                with connection.cursor().copy(f"copy {name} from stdin".encode()) as copy:
                    for row in rows(count, found, chance):
                        copy.write_row(row)
                connection.execute(f"create index on {name} (created_at); create index on {name} (owner_id)".encode())
        connection.execute("vacuum analyze")
        size = connection.execute("select pg_database_size(current_database())").fetchone()
        return int(size[0]) if size else 0


def gzipped(client: Installation, url: str, target: Path) -> None:
    """`pg_dump | gzip > target`, each end's exit status seen."""
    env = {"PATH": os.environ["PATH"]}
    with (
        target.open("wb") as out,
        subprocess.Popen([client.tool("pg_dump"), url], env=env, stdout=subprocess.PIPE) as dump,
        subprocess.Popen(["gzip"], env=env, stdin=dump.stdout, stdout=out) as gzip,
    ):
        if dump.stdout is not None:
            dump.stdout.close()
        if gzip.wait() or dump.wait():
            raise SystemExit("pg_dump | gzip failed")


@dataclass(slots=True)
class Memory:
    """The most that a process and those below it took, by program, sampled while it ran (Linux)."""

    peaks: dict[str, float] = field(default_factory=dict)

    def follow(self, process: subprocess.Popen[bytes]) -> None:
        done = threading.Event()
        watcher = threading.Thread(target=self._watch, args=(process.pid, done))
        watcher.start()
        process.wait()
        done.set()
        watcher.join()

    def _watch(self, pid: int, done: threading.Event) -> None:
        while not done.wait(0.02):
            for each in (pid, *_below(pid)):
                status = _status(each)
                if "VmHWM" in status:
                    name = "autopilot" if each == pid or status["Name"].startswith("python") else status["Name"]
                    mib = int(status["VmHWM"].split()[0]) / 1024
                    self.peaks[name] = max(self.peaks.get(name, 0.0), mib)


def _below(pid: int) -> list[int]:
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            children = [int(word) for word in task.read_text().split()]
        except OSError:
            continue
        for child in children:
            found += [child, *_below(child)]
    return found


def _status(pid: int) -> Mapping[str, str]:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return {}
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def memory_of(argv: list[str], *, cwd: Path, env: Mapping[str, str]) -> dict[str, float]:
    """MiB by program."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ}
    memory = Memory()
    with subprocess.Popen(argv, cwd=cwd, env=kept | dict(env), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        memory.follow(process)
    if process.returncode != 0:
        raise SystemExit(f"{argv[2:]} failed")
    return memory.peaks


def chosen() -> Installation:
    """AUTOPILOT_BENCH_MAJOR's server, else the embedded one."""
    found, major = installations(), os.environ.get("AUTOPILOT_BENCH_MAJOR")
    return next((i for i in found if i.has_server and str(i.major) == major), None) or for_embedded(found)


def measured(server: EmbeddedServer, home: Path) -> list[Row]:
    url = new_database(server, "bench")
    size_bytes = fill(url)
    if size_bytes < LEAST_BYTES:
        raise SystemExit(f"the database is too small: {size_bytes / MB:.0f} MB")
    env, create = {"SUPABASE_DB_URL": url}, autopilot("backup", "create")
    guide, ours = home / "guide.sql.gz", home / "supabase" / "backups"
    took = medians(
        [
            Contender(name="gzip", run=lambda: gzipped(server.installation, url, guide)),
            Contender(name="autopilot", run=lambda: silently(create, cwd=home, env=env)),
        ],
        rounds=ROUNDS,
    )
    peaks = memory_of(create, cwd=home, env=env)
    restored_s = medians([Contender(name="", run=lambda: silently(autopilot("backup", "restore-test"), cwd=home))], rounds=1)[""]
    newest = max(ours.glob("*.dump"))
    manifest = json.loads(Path(f"{newest}.manifest.json").read_text())
    return [
        Row(what=f"PostgreSQL {server.installation.version}, database", value=size_bytes / MB, unit="MB"),
        Row(what=f"pg_dump | gzip, {guide.stat().st_size / MB:.1f} MB", value=took["gzip"], unit="s"),
        Row(
            what=f"autopilot backup create, {newest.stat().st_size / MB:.1f} MB", value=took["autopilot"], unit="s",
            note=f"{len(manifest['rows'])} tables, compression {manifest['compression']}",
        ),
        Row(what="time over pg_dump | gzip", value=took["autopilot"] / took["gzip"], unit="x", limit=TIME_OVER_GZIP),
        Row(
            what="size over pg_dump | gzip", value=newest.stat().st_size / guide.stat().st_size, unit="x", limit=SIZE_OVER_GZIP
        ),
        Row(what="peak memory of autopilot", value=peaks["autopilot"], unit="MiB", limit=PEAK_MIB),
        *(Row(what=f"peak memory of {n}", value=mib, unit="MiB") for n, mib in sorted(peaks.items()) if n != "autopilot"),
        Row(what="backup restore-test over backup create", value=restored_s / took["autopilot"], unit="x"),
        *released(url, home),
    ]  # fmt: skip


def released(url: str, home: Path) -> list[Row]:
    """A release that writes a tenth of one big table and builds an index on another."""
    write_migrations(home / "supabase" / "migrations", {
        "1_more.sql": "alter table small_1 add column more text;", "2_index.sql": "create index on big_1 (state);",
        "3_rows.sql": "update big_0 set state = 'paid' where id % 10 = 0;",
    })  # fmt: skip
    begun = time.perf_counter()
    found = json.loads(check(autopilot("migrate", "--no-deploy", "--json"), cwd=home, env={"SUPABASE_DB_URL": url}))
    whole_s = time.perf_counter() - begun
    rehearsal, file = found["rehearsal"], found["backup"]["file"]
    dump_s = json.loads((home / "supabase" / "backups" / f"{file}.manifest.json").read_text())["duration_ms"] / 1000
    there_s = (rehearsal["restore_ms"] + rehearsal["apply_ms"]) / 1000
    return [
        Row(what="a release: its dump, with fingerprint and full read", value=dump_s, unit="s"),
        Row(what="its rehearsal, restore and apply, over that", value=there_s / dump_s, unit="x", limit=REHEARSAL_OVER_DUMP),
        Row(what="the whole release, with the way back flown too", value=whole_s, unit="s"),
    ]


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="autopilot-bench-") as made, running(chosen(), tcp=True) as server:
        return finish(measured(server, Path(made)))


if __name__ == "__main__":
    sys.exit(main())
