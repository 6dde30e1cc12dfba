"""Real servers for every test: one a worker process, one template database, a clone of it a test."""

from __future__ import annotations

import contextlib
import os
import secrets
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql

from autopilot.postgres.clients import for_embedded, installations
from autopilot.postgres.embedded import EmbeddedServer, running
from autopilot.secret import Secret

ROOT = Path(__file__).parents[1]
LMS = ROOT / "examples" / "lms"
OWNER = "lms_owner"
PASSWORD = Secret("owner-Pa55%word")


@dataclass(frozen=True, kw_only=True)
class Database:
    """A fresh database: `url` is its owner's, who is no superuser; `admin_url` the superuser's."""

    name: str
    url: str
    admin_url: str

    def rows(self, query: str, *parameters: Any, admin: bool = True) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.admin_url if admin else self.url, autocommit=True) as connection:
            return connection.execute(query.encode(), parameters or None).fetchall()

    def run(self, text: str, *, admin: bool = False) -> None:
        with psycopg.connect(self.admin_url if admin else self.url, autocommit=True) as connection:
            connection.execute(text.encode())

    def value(self, query: str, *parameters: Any) -> Any:
        return self.rows(query, *parameters)[0][0]


@dataclass(frozen=True, kw_only=True)
class Ran:
    """What a command line came to."""

    code: int
    out: str
    err: str


@dataclass(kw_only=True)
class Cli:
    """The real `autopilot` in a subprocess, in a directory of its own."""

    home: Path
    env: dict[str, str] = field(default_factory=dict)

    @property
    def migrations(self) -> Path:
        return self.home / "supabase" / "migrations"

    @property
    def backups(self) -> Path:
        return self.home / "supabase" / "backups"

    def write(self, name: str, text: str | bytes) -> Path:
        """Puts a migration file there."""
        self.migrations.mkdir(parents=True, exist_ok=True)
        path = self.migrations / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    def __call__(self, *arguments: str, timeout_s: float = 120, **env: str) -> Ran:
        done = subprocess.run(
            self.argv(*arguments), cwd=self.home, env=self.environment(**env), capture_output=True, timeout=timeout_s, check=False
        )
        return Ran(code=done.returncode, out=done.stdout.decode(), err=done.stderr.decode())

    def start(self, *arguments: str, **env: str) -> subprocess.Popen[bytes]:
        """The same, left running; the caller ends it."""
        return subprocess.Popen(
            self.argv(*arguments), cwd=self.home, env=self.environment(**env), stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )

    def argv(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "autopilot", *arguments]

    def environment(self, **env: str) -> dict[str, str]:
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR", "LANG") if name in os.environ}
        return kept | self.env | env


@contextlib.contextmanager
def production_like(**settings: str) -> Iterator[EmbeddedServer]:
    """An embedded server on loopback TCP with scram, an owner's role and what Supabase brings as a template."""
    with running(for_embedded(installations()), tcp=True, superuser="supabase_admin", settings=settings) as started:
        with psycopg.connect(started.url().reveal(), autocommit=True) as connection:
            connection.execute(
                sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(sql.Identifier(OWNER), sql.Literal(PASSWORD.reveal()))
            )
            connection.execute("CREATE DATABASE platform_template")
        with psycopg.connect(started.url("platform_template").reveal(), autocommit=True) as connection:
            connection.execute((LMS / "platform.sql").read_bytes())
        yield started


@pytest.fixture(scope="session")
def server() -> Iterator[EmbeddedServer]:
    """One a test process."""
    with production_like() as started:
        yield started


@pytest.fixture(scope="session")
def released_once(server: EmbeddedServer, tmp_path_factory: pytest.TempPathFactory) -> Callable[[Database, Cli], None]:
    """Releases a project's files without a backup, the first time in a test process; later they are there already.

    The database is then one that was made, released to and kept, and has everything in it but the first run's backup.
    """
    made: dict[tuple[tuple[str, bytes], ...], str] = {}

    def release(database: Database, cli: Cli) -> None:
        files = tuple((path.name, path.read_bytes()) for path in sorted(cli.migrations.iterdir()))
        with psycopg.connect(server.url().reveal(), autocommit=True) as connection:
            if files in made:
                connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(database.name)))
                _clone(connection, database.name, made[files])
                return
            assert cli("migrate", "--no-backup", NETLIFY_BUILD_HOOK="").code == 0
            made[files] = f"released_{secrets.token_hex(6)}"
            _clone(connection, made[files], database.name)

    return release


def _clone(connection: psycopg.Connection[Any], name: str, template: str) -> None:
    connection.execute(
        sql.SQL("CREATE DATABASE {} TEMPLATE {} OWNER {}").format(
            sql.Identifier(name), sql.Identifier(template), sql.Identifier(OWNER)
        )
    )


@pytest.fixture
def new_database(server: EmbeddedServer) -> Iterator[Callable[[], Database]]:
    """Makes databases that hold what Supabase brings (roles, `auth.uid()`), owned by a role that is no superuser."""
    made: list[str] = []

    def make() -> Database:
        name = f"t_{secrets.token_hex(6)}"
        with psycopg.connect(server.url().reveal(), autocommit=True) as connection:
            _clone(connection, name, "platform_template")
        made.append(name)
        return Database(
            name=name,
            url=server.url(name, user=OWNER, password=PASSWORD).reveal(),
            admin_url=server.url(name).reveal(),
        )

    yield make
    with psycopg.connect(server.url().reveal(), autocommit=True) as connection:
        for name in made:
            connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.fixture
def database(new_database: Callable[[], Database]) -> Database:
    return new_database()


@pytest.fixture
def cli(tmp_path: Path, database: Database) -> Cli:
    """The command line with `database` as its target and an empty migrations directory."""
    home = tmp_path / "project"
    (home / "supabase" / "migrations").mkdir(parents=True)
    return Cli(home=home, env={"SUPABASE_DB_URL": database.url, "AUTOPILOT_VERIFY_S": "10"})
