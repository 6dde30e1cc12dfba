"""Restores a backup into an empty scratch database and compares what came back."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from psycopg import sql

from autopilot import programs
from autopilot.errors import Refused
from autopilot.postgres.address import libpq_environment, parameters
from autopilot.postgres.clients import Installation
from autopilot.postgres.queries import named
from autopilot.postgres.session import Connection
from autopilot.secret import Secret

_QUERIES = named(__file__, "snapshot.sql")


@dataclass(frozen=True, slots=True, kw_only=True)
class Role:
    """A role of the source, as far as ownership, grants and policies need it. Never its password."""

    name: str
    is_superuser: bool
    inherits: bool
    may_create_role: bool
    may_create_db: bool
    bypasses_rls: bool
    member_of: tuple[str, ...]
    #: Its own settings, "name=value".
    settings: tuple[str, ...]


def roles(connection: Connection) -> tuple[Role, ...]:
    """The source's roles: they are not in a dump, but what is in it names them."""
    return tuple(
        Role(
            name=row[0], is_superuser=row[1], inherits=row[2], may_create_role=row[3], may_create_db=row[4],
            bypasses_rls=row[5], member_of=tuple(row[6]), settings=tuple(row[7]),
        )
        for row in connection.execute(_QUERIES["roles"])
    )  # fmt: skip


def prepare(scratch: Connection, wanted: tuple[Role, ...], *, owner: str, password: Secret, database: str) -> None:
    """Makes the source's roles (without passwords) and an empty database owned by `owner`, who may log in."""
    present = {row[0] for row in scratch.execute("SELECT rolname FROM pg_catalog.pg_roles")}
    for role in wanted:
        if role.name not in present:
            scratch.execute(sql.SQL("CREATE ROLE {} {}").format(sql.Identifier(role.name), _attributes(role)))
    for role in wanted:
        for group in role.member_of:
            if group != role.name:
                scratch.execute(sql.SQL("GRANT {} TO {}").format(sql.Identifier(group), sql.Identifier(role.name)))
        if role.name == owner:
            _copy_settings(scratch, role)
    scratch.execute(sql.SQL("ALTER ROLE {} LOGIN PASSWORD {}").format(sql.Identifier(owner), sql.Literal(password.reveal())))
    scratch.execute(
        sql.SQL("CREATE DATABASE {} OWNER {} TEMPLATE template0").format(sql.Identifier(database), sql.Identifier(owner))
    )


def _attributes(role: Role) -> sql.SQL:
    words = [
        "SUPERUSER" if role.is_superuser else "NOSUPERUSER",
        "INHERIT" if role.inherits else "NOINHERIT",
        "CREATEROLE" if role.may_create_role else "NOCREATEROLE",
        "CREATEDB" if role.may_create_db else "NOCREATEDB",
        "BYPASSRLS" if role.bypasses_rls else "NOBYPASSRLS",
    ]
    return sql.SQL(" ".join(words))


def _copy_settings(scratch: Connection, role: Role) -> None:
    for setting in role.settings:
        name, _, value = setting.partition("=")
        if name in {"search_path", "role", "row_security", "TimeZone", "DateStyle", "IntervalStyle", "bytea_output"}:
            values = [v.strip().strip('"') for v in value.split(",")] if name == "search_path" else [value]
            scratch.execute(
                sql.SQL("ALTER ROLE {} SET {} = {}").format(
                    sql.Identifier(role.name), sql.Identifier(name), sql.SQL(", ").join(sql.Literal(v) for v in values)
                )
            )


def restore(backup: Path, url: Secret, *, client: Installation, jobs: int, timeout_s: float) -> None:
    """The whole archive into the empty database at `url`. Raises Refused (`restore_failed`, `program_timed_out`)."""
    finished = programs.run(restore_command(backup, url, client=client, jobs=jobs, timeout_s=timeout_s))
    if not finished.ok:
        said = " ".join(finished.stderr.split())[:600]
        raise Refused(
            f"The backup {backup.name} could not be restored into a scratch database; pg_restore says: {said}",
            code="restore_failed",
            hint=_hint(said),
        )


def restore_command(backup: Path, url: Secret, *, client: Installation, jobs: int, timeout_s: float) -> programs.Command:
    target = parameters(url)
    return programs.Command(
        argv=(
            client.tool("pg_restore"), "--exit-on-error", "--no-password", f"--jobs={jobs}",
            f"--dbname={target['dbname']}", str(backup),
        ),
        env=libpq_environment({k: v for k, v in target.items() if k != "dbname"}),
        timeout_s=timeout_s,
    )  # fmt: skip


def _hint(said: str) -> str:
    if "extension" in said and ("not available" in said or "could not open extension" in said):
        return (
            "The scratch server lacks that extension. Install PostgreSQL of the target's version with its extensions"
            " (postgres_bin_dir in autopilot.toml), or run this once with --no-rehearsal, knowing what that gives up."
        )
    return "Mend what pg_restore complains of, or run this once with --no-rehearsal, knowing what that gives up."
