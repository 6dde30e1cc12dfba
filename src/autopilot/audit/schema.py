"""The `automation` schema: created on first contact, upgraded by numbered SQL files, each exactly once."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import psycopg

from autopilot.errors import Refused
from autopilot.postgres.session import Connection, Server

_SQL = Path(__file__).parent / "sql"

_STANDING = """
SELECT to_regnamespace('automation') IS NOT NULL,
       to_regclass('automation.schema_versions') IS NOT NULL,
       to_regclass('supabase_migrations.schema_migrations') IS NOT NULL
       AND 2 = (SELECT count(*) FROM pg_catalog.pg_attribute
                WHERE attrelid = to_regclass('supabase_migrations.schema_migrations')
                  AND attname IN ('statements', 'name') AND NOT attisdropped)
"""


def numbered() -> tuple[tuple[int, str, str], ...]:
    """Our own schema's versions: (number, name, SQL), in order."""
    return tuple((int(f.stem[:4]), f.stem[5:], f.read_text("utf-8")) for f in _files())


def _numbers() -> tuple[int, ...]:
    return tuple(int(f.stem[:4]) for f in _files())


def _files() -> list[Path]:
    return sorted(_SQL.glob("[0-9]*.sql"))


def is_current(connection: Connection) -> bool:
    """Whether nothing is left to make or upgrade. Writes nothing."""
    _, has_versions, has_history = _row(connection, _STANDING)
    return has_versions and has_history and frozenset(_numbers()) == _known_versions(connection)


def admit(connection: Connection, *, admins: tuple[str, ...]) -> None:
    """Lets service_role and the listed admins read, as far as they do not yet."""
    connection.execute(_admission(admins).encode())


def require_rights(connection: Connection, server: Server) -> None:
    """What can be said against making the schema before anything is made; writes nothing.

    Raises Refused (`cannot_create_schema`, `foreign_automation_schema`, `newer_automation_schema`, `no_audit_rights`).
    """
    has_schema, has_versions, has_history = _row(connection, _STANDING)
    if has_schema and not has_versions:
        _refuse_foreign(connection)
    if not (has_schema and has_history) and not server.can_create_schema:
        raise Refused(
            f"The role {server.role!r} may not create the schema `automation`, where Autopilot keeps its ledger.",
            code="cannot_create_schema",
            hint=f'As the owner of the database: GRANT CREATE ON DATABASE "{server.database}" TO "{server.role}";'
            " or give the URL of a role that owns it.",
        )
    if has_versions:
        _require_writable(connection, server)
        _refuse_newer(_known_versions(connection))


def ensure(connection: Connection, server: Server, *, admins: tuple[str, ...] = ()) -> tuple[int, ...]:
    """Brings `automation` (and the Supabase CLI's history table) up to date in one transaction; returns what was new.

    Raises Refused as `require_rights` does.
    """
    require_rights(connection, server)
    _, has_versions, has_history = _row(connection, _STANDING)
    try:
        return _upgrade(connection, has_versions=has_versions, has_history=has_history, admins=admins)
    except psycopg.errors.InsufficientPrivilege as cause:
        raise _no_rights(server, str(cause.diag.message_primary)) from cause


def _require_writable(connection: Connection, server: Server) -> None:
    row = _row(
        connection,
        "SELECT has_schema_privilege('automation', 'USAGE')"
        " AND has_table_privilege('automation.schema_versions', 'SELECT')"
        " AND has_table_privilege('automation.applied_migrations', 'SELECT, INSERT')",
    )
    if not row[0]:
        raise _no_rights(server, "it may not write the ledger automation.applied_migrations")


def _no_rights(server: Server, words: str) -> Refused:
    return Refused(
        f"The role {server.role!r} has no rights on the schema `automation`: {words}.",
        code="no_audit_rights",
        hint="Run as the role that made the schema, or transfer its ownership to this role.",
    )


def _refuse_newer(done: frozenset[int]) -> None:
    newest = _numbers()[-1]
    if done and max(done) > newest:
        raise Refused(
            f"The schema `automation` is at version {max(done)}; this Autopilot knows versions up to {newest}.",
            code="newer_automation_schema",
            hint="Use the newer Autopilot that wrote it.",
        )


def _upgrade(connection: Connection, *, has_versions: bool, has_history: bool, admins: tuple[str, ...]) -> tuple[int, ...]:
    done = _known_versions(connection) if has_versions else frozenset()
    todo = tuple(v for v in numbered() if v[0] not in done)
    with connection.transaction():
        connection.execute("SET LOCAL lock_timeout = '4s'")
        for number, name, text in todo:
            connection.execute(text.encode())
            connection.execute("INSERT INTO automation.schema_versions (version, name) VALUES (%s, %s)", (number, name))
        if not has_history:
            connection.execute((_SQL / "supabase_history.sql").read_bytes())
        admit(connection, admins=admins)
    return tuple(number for number, _, _ in todo)


def creation_script(admins: tuple[str, ...] = ()) -> str:
    """SQL that makes or completes the schema on any database, safe to run twice; for the pasted bundle."""
    parts = []
    for number, name, text in numbered():
        parts.append(
            f"DO $schema_{number}$\nDECLARE known boolean := false;\nBEGIN\n"
            f"IF to_regclass('automation.schema_versions') IS NOT NULL THEN\n"
            f"  SELECT EXISTS (SELECT FROM automation.schema_versions WHERE version = {number}) INTO known;\n"
            f"END IF;\nIF NOT known THEN\nEXECUTE $body_{number}$\n{text}$body_{number}$;\n"
            f"INSERT INTO automation.schema_versions (version, name) VALUES ({number}, '{name}');\n"
            f"END IF;\nEND\n$schema_{number}$;\n"
        )
    parts.append((_SQL / "supabase_history.sql").read_text("utf-8"))
    parts.append(_admission(admins))
    return "\n".join(parts)


def _admission(admins: tuple[str, ...]) -> str:
    """`admit.sql` for service_role and the listed admins."""
    quoted = ", ".join("'" + name.replace("'", "''") + "'" for name in ("service_role", *admins))
    text = (_SQL / "admit.sql").read_text("utf-8")
    return re.sub(r"/\*readers\*/ARRAY\[[^\]]*\]", lambda _: f"ARRAY[{quoted}]", text)


def _known_versions(connection: Connection) -> frozenset[int]:
    return frozenset(row[0] for row in connection.execute("SELECT version FROM automation.schema_versions"))


def _refuse_foreign(connection: Connection) -> None:
    row = _row(
        connection,
        "SELECT array_agg(relname::text ORDER BY relname) FROM pg_catalog.pg_class"
        " WHERE relnamespace = to_regnamespace('automation') AND relkind IN ('r', 'v', 'm', 'p')",
    )
    if row[0]:
        raise Refused(
            f"There is a schema `automation` that Autopilot did not make; it holds {', '.join(row[0][:5])}.",
            code="foreign_automation_schema",
            hint="Rename it (ALTER SCHEMA automation RENAME TO automation_old;) and run again; its rows stay there.",
        )


def _row(connection: Connection, query: str) -> tuple[Any, ...]:
    row = connection.execute(query).fetchone()
    return () if row is None else row
