"""A server as Supabase runs it: `supabase_admin` above all, `postgres` without much power, schemas that belong to others."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
from psycopg import sql
from tests.conftest import Cli, Database

from autopilot.postgres.clients import Installation
from autopilot.postgres.embedded import EmbeddedServer, running
from autopilot.secret import Secret

OWNER = "postgres"
PASSWORD = Secret("project-Pa55%word")
_HERE = Path(__file__).parent
_TEMPLATE = "supabase_like"


@contextmanager
def platform(installation: Installation) -> Iterator[EmbeddedServer]:
    with running(installation, tcp=True, superuser="supabase_admin") as server:
        with psycopg.connect(server.url().reveal(), autocommit=True) as connection:
            connection.execute((_HERE / "supabase_like_roles.sql").read_bytes())
            connection.execute(sql.SQL("alter role {} password {}").format(sql.Identifier(OWNER), sql.Literal(PASSWORD.reveal())))
            connection.execute(f"create database {_TEMPLATE} owner {OWNER}".encode())
        with psycopg.connect(server.url(_TEMPLATE).reveal(), autocommit=True) as connection:
            connection.execute((_HERE / "supabase_like.sql").read_text().replace(":database", _TEMPLATE).encode())
        yield server


def pilot_of(home: Path, target: Database) -> Cli:
    """The command line in a project directory of its own, at work on that database."""
    (home / "supabase" / "migrations").mkdir(parents=True)
    return Cli(home=home, env={"SUPABASE_DB_URL": target.url, "AUTOPILOT_VERIFY_S": "10"})


def project(server: EmbeddedServer) -> Database:
    """A database of its own, for `postgres`."""
    name = f"p_{secrets.token_hex(5)}"
    with psycopg.connect(server.url().reveal(), autocommit=True) as connection:
        connection.execute(f"create database {name} template {_TEMPLATE} owner {OWNER}".encode())
    return Database(name=name, url=server.url(name, user=OWNER, password=PASSWORD).reveal(), admin_url=server.url(name).reveal())
