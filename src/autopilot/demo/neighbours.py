"""The stand-ins around a release: production, the host and the channel, started as processes and ended with the block."""

from __future__ import annotations

import contextlib
import json
import secrets
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg import sql

from autopilot import interrupts, programs
from autopilot.demo.repository import sample
from autopilot.errors import Refused
from autopilot.postgres import embedded
from autopilot.postgres.address import parameters
from autopilot.postgres.clients import Installation
from autopilot.secret import Secret

DATABASE = "lms"
#: As on Supabase, the role that applications and migrations use is called postgres and is no superuser.
OWNER = "postgres"
_SUPERUSER = "supabase_admin"


@dataclass(frozen=True, slots=True, kw_only=True)
class Neighbours:
    database_url: Secret
    hook_url: Secret
    site_url: str
    webhook_url: Secret
    #: One JSON line a message that the channel took.
    messages: Path
    #: How to look into the database: psql, with the password in a file of our own.
    psql: str


@contextlib.contextmanager
def started(installation: Installation, *, origin: Path, directory: Path) -> Iterator[Neighbours]:
    """An embedded production on loopback, a Netlify-like host that deploys `origin`, and a Slack-like channel."""
    with contextlib.ExitStack() as stack:
        production = stack.enter_context(embedded.running(installation, tcp=True, durable=True, superuser=_SUPERUSER))
        url = _furnish(production)
        host = stack.enter_context(
            _announced(
                "autopilot.demo.host", "--repository", str(origin), "--branch", "main", "--port", "0",
                "--state", str(directory / "host"), env={"DATABASE_URL": url.reveal()},
            )
        )  # fmt: skip
        channel = stack.enter_context(
            _announced("autopilot.demo.channel", "--port", "0", "--state", str(directory / "channel"), env={})
        )
        yield Neighbours(
            database_url=url,
            hook_url=Secret(host["hook_url"]),
            site_url=host["site_url"],
            webhook_url=Secret(channel["webhook_url"]),
            messages=directory / "channel" / "messages.jsonl",
            psql=_psql(installation, production, url, directory),
        )


def _psql(installation: Installation, production: embedded.EmbeddedServer, url: Secret, directory: Path) -> str:
    file = directory / "pgpass"
    file.touch(mode=0o600)
    password = parameters(url)["password"]
    file.write_text(f"127.0.0.1:{production.port}:*:{OWNER}:{password}\n")
    return f"PGPASSFILE={file} {installation.tool('psql')} -h 127.0.0.1 -p {production.port} -U {OWNER} {DATABASE}"


def _furnish(production: embedded.EmbeddedServer) -> Secret:
    """The role, the database and what Supabase brings; returns the owner's URL."""
    password = Secret(secrets.token_urlsafe(18))
    with psycopg.connect(production.url().reveal(), autocommit=True) as connection:
        connection.execute(
            sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(sql.Identifier(OWNER), sql.Literal(password.reveal()))
        )
        connection.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(sql.Identifier(DATABASE), sql.Identifier(OWNER)))
    with psycopg.connect(production.url(DATABASE).reveal(), autocommit=True) as connection:
        connection.execute((sample() / "platform.sql").read_bytes())
    return production.url(DATABASE, user=OWNER, password=password)


@contextlib.contextmanager
def _announced(module: str, *arguments: str, env: Mapping[str, str]) -> Iterator[dict[str, str]]:
    """A stand-in as a process; yields what it announces of itself. It leaves when its standard input ends, so with us."""
    command = programs.Command(
        argv=(sys.executable, "-m", module, *arguments), env={"STOP_ON_EOF": "1", "PYTHONUNBUFFERED": "1"} | dict(env), stdin=b""
    )
    with contextlib.ExitStack() as stack:
        with interrupts.held_back():
            process = programs.start(command, stderr=subprocess.DEVNULL)
            stack.callback(_end, process)
        line = b"" if process.stdout is None else process.stdout.readline()
        if not line:
            raise Refused(
                f"{module} did not start.", code="demo_failed", hint=f"Run it by hand to see why: python -m {module} --help"
            )
        yield json.loads(line)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Gently first: a stand-in takes its own children with it."""
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            stream.close()
