"""What the comparisons share: peers found, servers, runs taken by turns, and a table with limits."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg import sql

from autopilot.postgres.clients import Installation, for_embedded, installations
from autopilot.postgres.embedded import EmbeddedServer, running

ROOT = Path(__file__).parents[1]
#: Where `npm ci` put the peers; see tests/peers/package.json.
PEERS = Path(os.environ.get("AUTOPILOT_PEERS_DIR", ROOT / ".peers"))
_PLACES = ("{name}", "node_modules/.bin/{name}", "node_modules/@*/*linux-x64/bin/{name}", "@*/*linux-x64/bin/{name}")
_MAJOR = 15


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of a table; `limit` is None for what is only told."""

    what: str
    value: float
    unit: str
    limit: float | None = None
    note: str = ""

    @property
    def over(self) -> bool:
        return self.limit is not None and self.value > self.limit

    def shown(self) -> str:
        verdict = "" if self.limit is None else f"limit {self.limit:g} {self.unit}  {'over' if self.over else 'OK'}"
        return f"{self.what:<52} {self.value:9.2f} {self.unit:<5} {verdict:<26} {self.note}".rstrip()


@dataclass(frozen=True, slots=True, kw_only=True)
class Contender:
    """Somebody who does the work: `run` is timed, `prepare` before it is not."""

    name: str
    run: Callable[[], None]
    prepare: Callable[[], None] = lambda: None


def peer(name: str) -> Path | None:
    """The peer's program, or None where it is not installed (which is said)."""
    found = next((path for place in _PLACES for path in sorted(PEERS.glob(place.format(name=name))) if path.is_file()), None)
    if found is None:
        print(f"{name} is not installed under {PEERS}: left out")
    return found


@contextmanager
def server(*, durable: bool = False) -> Iterator[EmbeddedServer]:
    """PostgreSQL 15 of this machine, else the embedded one, on loopback TCP; durable: it waits for the disk, as any other.

    It takes as many connections as PostgreSQL does by default, because the size of its lock table hangs on that.
    """
    found = installations()
    chosen = next((i for i in found if i.major == _MAJOR and i.has_server), None) or for_embedded(found)
    with running(chosen, tcp=True, durable=durable, settings={"max_connections": "100"}) as started:
        yield started


def psql_of(installation: Installation) -> str:
    return installation.tool("psql")


def new_database(server: EmbeddedServer, name: str, *, template: str = "template1") -> str:
    """Makes the database anew and returns its URL."""
    with psycopg.connect(server.url().reveal(), autocommit=True) as connection:
        connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))
        connection.execute(sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), sql.Identifier(template)))
    return server.url(name).reveal()


def autopilot(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "autopilot", *arguments]


def check(argv: Sequence[str], *, cwd: Path, env: Mapping[str, str] | None = None) -> str:
    """Runs a program to its end and returns what it printed; its words are shown when it fails."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ}
    quiet = {"SUPABASE_TELEMETRY_DISABLED": "1", "DO_NOT_TRACK": "1", "SUPABASE_NO_UPDATE_NOTIFIER": "1"}
    done = subprocess.run(
        argv, cwd=cwd, env={**kept, **quiet, **(env or {})}, stdin=subprocess.DEVNULL, capture_output=True, check=False
    )
    if done.returncode != 0:
        words = (done.stdout + done.stderr).decode(errors="replace")
        raise SystemExit(f"{Path(argv[0]).name} ended with {done.returncode}:\n{words[-2000:]}")
    return done.stdout.decode(errors="replace")


def silently(argv: Sequence[str], *, cwd: Path, env: Mapping[str, str] | None = None) -> None:
    """`check`, for what only has to be done."""
    check(argv, cwd=cwd, env=env)


def medians(contenders: Sequence[Contender], *, rounds: int) -> dict[str, float]:
    """Seconds by name; everybody once a round, so that a noisy moment hits all, and each round begins with another."""
    taken: dict[str, list[float]] = {c.name: [] for c in contenders}
    for number in range(rounds):
        turn = number % len(contenders)
        for contender in (*contenders[turn:], *contenders[:turn]):
            contender.prepare()
            begun = time.perf_counter()
            contender.run()
            taken[contender.name].append(time.perf_counter() - begun)
    return {name: statistics.median(seconds) for name, seconds in taken.items()}


def finish(rows: Sequence[Row]) -> int:
    """Prints the table; 1 when anything is over its limit."""
    for row in rows:
        print(row.shown())
    return 1 if any(row.over for row in rows) else 0


def write_migrations(directory: Path, texts: Mapping[str, str]) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        (directory / name).write_text(text, encoding="utf-8")


def one_statement_migrations(count: int) -> dict[str, str]:
    """The smallest files: what a tool adds to them shows most."""
    return {f"{20250101000000 + n}_step_{n}.sql": f"create table step_{n} (id int);\n" for n in range(1, count + 1)}


def small_migrations(count: int) -> dict[str, str]:
    """Small files as a team writes them: a table, an index, a row."""
    return {
        f"{20250101000000 + n}_step_{n}.sql": (
            f"-- Step {n}\ncreate table step_{n} (id bigint primary key, name text not null);\n"
            f"create index step_{n}_name on step_{n} (name);\ninsert into step_{n} values ({n}, 'step {n}');\n"
        )
        for n in range(1, count + 1)
    }


def for_dbmate(texts: Mapping[str, str]) -> dict[str, str]:
    return {name: f"-- migrate:up\n{text}-- migrate:down\n" for name, text in texts.items()}
