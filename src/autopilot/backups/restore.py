"""Restores a backup into an empty scratch database and compares what came back."""

from __future__ import annotations

import re
import tempfile
from dataclasses import dataclass
from pathlib import Path

from psycopg import sql

from autopilot import programs
from autopilot.backups import contents, fingerprint
from autopilot.backups.roles import Role
from autopilot.backups.stand_ins import STAND_INS
from autopilot.errors import Refused
from autopilot.postgres.address import libpq_environment, parameters
from autopilot.postgres.clients import Installation
from autopilot.postgres.session import READER_NAME, Connection, session
from autopilot.secret import Secret


@dataclass(frozen=True, slots=True, kw_only=True)
class StoodIn:
    """What a scratch server has in place of extensions that it lacks."""

    extensions: tuple[str, ...] = ()
    #: Schemas that belong to those alone.
    schemas: frozenset[str] = frozenset()
    #: What was made in their place, in the fingerprint's words.
    objects: frozenset[str] = frozenset()

    def hides(self, name: str) -> bool:
        """Whether what the fingerprint calls `name` cannot be compared because of them."""
        kind, _, identity = name.partition(" ")
        if kind == "extension" or name in self.objects:
            return identity.strip('"') in self.extensions or name in self.objects
        return any(f" {schema}." in name or name == f"schema {schema}" for schema in self.schemas)


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


def restore(backup: Path, url: Secret, *, client: Installation, jobs: int, timeout_s: float) -> StoodIn:
    """The whole archive into the empty database at `url`, with stand-ins for extensions that its server lacks.

    Raises Refused (`restore_failed`, `extension_missing`, `program_timed_out`).
    """
    found = contents.items(_asked(client, ("--list", str(backup)), backup, timeout_s=timeout_s))
    with session(url, application_name=READER_NAME) as scratch:
        missing = frozenset(contents.extensions(found)) - _available(scratch)
        _refuse_without_stand_in(missing, client)
        if not missing:
            _run(restore_command(backup, url, client=client, jobs=jobs, timeout_s=timeout_s), backup)
            return StoodIn()
        homes = _homes(backup, found, missing, client=client, timeout_s=timeout_s)
        own = frozenset(s for e in missing if (s := STAND_INS[e].schema) is not None)
        left = contents.without(found, extensions=missing, schemas=own, shared=frozenset(homes.values()))
        with tempfile.TemporaryDirectory(prefix="autopilot-restore-") as directory:
            schemas = _written(Path(directory) / "schemas", [i.line for i in left if i.what == "SCHEMA"])
            rest = _written(Path(directory) / "rest", [i.line for i in left if i.what != "SCHEMA"])
            _run(restore_command(backup, url, client=client, jobs=1, timeout_s=timeout_s, only=schemas), backup)
            made = _stand_in(scratch, homes)
            _run(restore_command(backup, url, client=client, jobs=jobs, timeout_s=timeout_s, only=rest), backup)
    return StoodIn(extensions=tuple(sorted(missing)), schemas=own, objects=made)


def restore_command(
    backup: Path, url: Secret, *, client: Installation, jobs: int, timeout_s: float, only: Path | None = None
) -> programs.Command:
    """pg_restore as a value; `only` lists the items to restore."""
    target = parameters(url)
    return programs.Command(
        argv=(
            client.tool("pg_restore"), "--exit-on-error", "--no-password", f"--jobs={jobs}",
            *(() if only is None else (f"--use-list={only}",)), f"--dbname={target['dbname']}", str(backup),
        ),
        env=libpq_environment({k: v for k, v in target.items() if k != "dbname"}),
        timeout_s=timeout_s,
    )  # fmt: skip


def _run(command: programs.Command, backup: Path) -> str:
    finished = programs.run(command)
    if not finished.ok:
        said = " ".join(finished.stderr.split())[:600]
        raise Refused(
            f"The backup {backup.name} could not be restored into a scratch database; pg_restore says: {said}",
            code="restore_failed",
            hint="Mend what pg_restore complains of, or run this once with --no-rehearsal, knowing what that gives up.",
        )
    return finished.stdout.decode("utf-8", "replace")


def _asked(client: Installation, arguments: tuple[str, ...], backup: Path, *, timeout_s: float) -> str:
    return _run(programs.Command(argv=(client.tool("pg_restore"), *arguments), timeout_s=timeout_s), backup)


def _available(scratch: Connection) -> frozenset[str]:
    return frozenset(row[0] for row in scratch.execute("SELECT name FROM pg_catalog.pg_available_extensions"))


def _refuse_without_stand_in(missing: frozenset[str], client: Installation) -> None:
    unknown = sorted(missing - STAND_INS.keys())
    if unknown:
        raise Refused(
            f"The scratch server (PostgreSQL {client.version}, {client.origin}) lacks the extension {', '.join(unknown)},"
            " and Autopilot has no stand-in for it.",
            code="extension_missing",
            hint="Install PostgreSQL of the target's version with that extension (postgres_bin_dir in autopilot.toml);"
            " or run this once with --no-rehearsal, knowing what that gives up.",
        )


_CREATE = re.compile(
    r'^CREATE EXTENSION (?:IF NOT EXISTS )?"?(?P<name>[^"\s;]+)"? WITH SCHEMA "?(?P<schema>[^";]+?)"?;', re.MULTILINE
)


def _homes(
    backup: Path, found: tuple[contents.Item, ...], missing: frozenset[str], *, client: Installation, timeout_s: float
) -> dict[str, str]:
    """The schema in which each missing extension lives, as the archive says."""
    with tempfile.TemporaryDirectory(prefix="autopilot-restore-") as directory:
        lines = [item.line for item in found if item.what == "EXTENSION" and item.name in missing]
        listed = _written(Path(directory) / "extensions", lines)
        said = _asked(client, ("--file=-", f"--use-list={listed}", str(backup)), backup, timeout_s=timeout_s)
    known = {m["name"]: m["schema"] for m in _CREATE.finditer(said)}
    return {e: STAND_INS[e].schema or known.get(e, "public") for e in missing}


def _written(path: Path, lines: list[str]) -> Path:
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


def _stand_in(scratch: Connection, homes: dict[str, str]) -> frozenset[str]:
    """Runs the stand-ins; returns what the fingerprint calls the objects they made."""
    before = fingerprint.objects(scratch).keys()
    for extension, schema in sorted(homes.items()):
        scratch.execute(sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(sql.Identifier(schema)))
        if STAND_INS[extension].schema is not None:
            scratch.execute(sql.SQL("GRANT USAGE ON SCHEMA {} TO PUBLIC").format(sql.Identifier(schema)))
        scratch.execute(sql.SQL("SET search_path = {}").format(sql.Identifier(schema)))
        scratch.execute(STAND_INS[extension].script(extension).encode())
    scratch.execute("RESET search_path")
    return frozenset(fingerprint.objects(scratch).keys() - before)
