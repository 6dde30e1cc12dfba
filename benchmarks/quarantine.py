"""A backup put back under a writer and a reader: in place against a plain `pg_restore` into an empty database; staged, by how
long the application stands still. Over 400 MB in 108 tables, by a role that is no superuser; no acknowledged row may be lost.
"""

from __future__ import annotations

import secrets
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import psycopg
from benchmarks.backup import LEAST_BYTES, MB, fill
from benchmarks.peers import Row, autopilot, check, finish, server
from psycopg import sql
from tests.at_work import TABLE, at_work, rows_anywhere
from tests.conftest import Database
from tests.putting_back import world_of

from autopilot.postgres.clients import for_dump, installations
from autopilot.postgres.embedded import EmbeddedServer
from autopilot.secret import Secret
from autopilot.workflows.restore_in_place import Restored, restore_in_place

ROUNDS = 3
OWNER = "owner"
TIMES_PG_RESTORE = 1.3
STALLED_S = 2.0


def main() -> int:
    with server() as started, tempfile.TemporaryDirectory(prefix="quarantine-") as directory:
        home = Path(directory)
        target, size = _filled(started)
        check(
            autopilot("backup", "create", "--db", target.url), cwd=home
        )  # fmt: skip
        backup = max((home / "supabase" / "backups").glob("backup_*.dump"))
        plain, ours, ready = [], [], []
        for _ in range(ROUNDS):
            plain.append(_plain(started, backup))
            ours.append(_put_back(target, backup, stage=False))
            ready.append(_put_back(target, backup, stage=True))
    middle = sorted(plain)[ROUNDS // 2]
    in_place = sorted(done.stalled_ms / 1000 for done, _ in ours)[ROUNDS // 2]
    # each against its neighbour in time: both hear the same noise of the machine
    times = sorted(done.stalled_ms / 1000 / beside for (done, _), beside in zip(ours, plain, strict=True))[ROUNDS // 2]
    whole = sorted(done.duration_ms / 1000 for done, _ in ready)[ROUNDS // 2]
    return finish(
        [
            Row(what="the database", value=size / MB, unit="MB", note="108 tables" if size >= LEAST_BYTES else "too small"),
            Row(what="pg_restore into an empty database", value=middle, unit="s"),
            Row(what="in place, first lock to COMMIT", value=in_place, unit="s"),
            Row(what="in place / pg_restore", value=times, unit="x", limit=TIMES_PG_RESTORE),
            Row(what="staged, all of it", value=whole, unit="s"),
            Row(what="staged: the swap, at most", value=max(d.stalled_ms for d, _ in ready) / 1000, unit="s", limit=STALLED_S),
            Row(what="staged: the application's longest wait", value=max(wait for _, wait in ready), unit="s", limit=STALLED_S),
            Row(what="in place: the application's longest wait", value=max(wait for _, wait in ours), unit="s"),
        ]
    )


def _filled(started: EmbeddedServer) -> tuple[Database, int]:
    password = Secret(secrets.token_urlsafe(12))
    with psycopg.connect(started.url().reveal(), autocommit=True) as connection:
        connection.execute(
            sql.SQL("create role {} login password {}").format(sql.Identifier(OWNER), sql.Literal(password.reveal()))
        )
        connection.execute(f"create database app owner {OWNER}".encode())
    target = Database(
        name="app", url=started.url("app", user=OWNER, password=password).reveal(), admin_url=started.url("app").reveal()
    )
    target.run(f"grant all on schema public to {OWNER}; create schema app authorization {OWNER}", admin=True)
    target.run(TABLE)
    return target, fill(target.url)


def _plain(started: EmbeddedServer, backup: Path) -> float:
    client = for_dump(installations(), server_major=_major(started))
    name = f"fresh_{secrets.token_hex(3)}"
    with psycopg.connect(started.url().reveal(), autocommit=True) as connection:
        connection.execute(f"create database {name} owner {OWNER}".encode())
        begun = time.monotonic()
        check(
            [client.tool("pg_restore"), "--exit-on-error", f"--dbname={started.url(name).reveal()}", str(backup)],
            cwd=backup.parent,
        )
        taken = time.monotonic() - begun
        connection.execute(f"drop database {name} with (force)".encode())
    return taken


def _major(started: EmbeddedServer) -> int:
    with psycopg.connect(started.url().reveal()) as connection:
        return connection.info.server_version // 10000


def _put_back(target: Database, backup: Path, *, stage: bool) -> tuple[Restored, float]:
    """Puts it back while somebody writes and reads; what stepped aside is dropped afterwards, once nothing is missing."""
    world = world_of(target.url, backup.parent, reached=lambda _point: None)
    target.run("truncate app.ledger")
    with at_work(target) as application:
        time.sleep(0.5)
        done = restore_in_place(replace(world), file=backup.name, run_id="bench", stage=stage)
        time.sleep(0.5)
    missing = set(application.acknowledged) - rows_anywhere(target)
    if missing or application.failures:
        raise SystemExit(f"{len(missing)} acknowledged rows are lost; {application.failures[:3]}")
    for aside in done.replaced.quarantines.values():
        target.run(f"drop schema {aside} cascade")
    return done, application.longest_s


if __name__ == "__main__":
    sys.exit(main())
