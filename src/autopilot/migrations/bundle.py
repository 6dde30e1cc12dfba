"""All migrations as one SQL text for an SQL editor: each part runs once, however often it is pasted."""

from __future__ import annotations

from autopilot import __version__
from autopilot.migrations.segments import Migration, Segment

FILE_NAME = "ALL_IN_ONE__paste.sql"


def bundle(migrations: tuple[Migration, ...], *, schema_script: str) -> str:
    """`schema_script` makes the automation schema. Statements that no transaction can hold are
    rewritten (an index is built without CONCURRENTLY) or, where they change no schema, listed and left out."""
    parts = [_head(migrations), "BEGIN;\n", schema_script, "COMMIT;\n"]
    parts += [_migration(m) for m in migrations]
    return "\n".join(parts)


def left_out(migrations: tuple[Migration, ...]) -> tuple[str, ...]:
    """Statements that a pasted text cannot run."""
    return tuple(
        f"{m.file.file}:{s.statements[0].line}: {s.statements[0].alone_because}"
        for m in migrations
        for s in m.segments
        if s.kind == "alone" and pasteable(s) is None
    )


def pasteable(segment: Segment) -> str | None:
    """The statement in a form that a transaction can hold, or None where there is none."""
    statement = segment.statements[0]
    if statement.kind in {"index_stmt", "drop_stmt", "reindex_stmt", "alter_table_stmt"}:
        return without_concurrently(statement.text) if "CONCURRENTLY" in (statement.alone_because or "") else None
    return None


def without_concurrently(text: str) -> str:
    """The statement without its word CONCURRENTLY, found as a token, not in a name or a string."""
    import postgast

    raw = text.encode("utf-8")
    for token in postgast.scan(text).tokens:
        if (
            raw[token.start : token.end].upper() == b"CONCURRENTLY"
            and postgast.pg_query_pb2.Token.Name(token.token) == "CONCURRENTLY"
        ):
            return (raw[: token.start] + raw[token.end :].lstrip(b" ")).decode("utf-8")
    return text


def _head(migrations: tuple[Migration, ...]) -> str:
    lines = [
        f"-- All {len(migrations)} migrations in one text, made by autopilot {__version__}.",
        "-- Paste it into an SQL editor or run it with psql. It is safe to run twice: what the ledger",
        "-- automation.applied_migrations (or the Supabase CLI's) lists is passed over.",
    ]
    left = left_out(migrations)
    if left:
        lines += ["-- Not in here, because no transaction can hold it; run by hand if you need it:", *(f"--   {w}" for w in left)]
    return "\n".join(lines) + "\n"


def _migration(migration: Migration) -> str:
    """One transaction a migration: its segments, then its ledger rows, all under one question to the ledger."""
    file = migration.file
    body = [_segment(s, n) for n, s in enumerate(migration.segments)]
    version = _literal(file.version)
    inner = "\n".join(
        [
            "DECLARE",
            "    done boolean;",
            "BEGIN",
            "LOCK TABLE automation.applied_migrations IN SHARE ROW EXCLUSIVE MODE;",
            f"SELECT EXISTS (SELECT FROM automation.applied_migrations WHERE version = {version})",
            f"    OR EXISTS (SELECT FROM supabase_migrations.schema_migrations WHERE version = {version}) INTO done;",
            "IF NOT done THEN",
            *[_guarded(text, version, number) for number, text in enumerate(body)],
            "RESET SESSION AUTHORIZATION;",
            "RESET ROLE;",
            _ledger(migration),
            "END IF;",
            "END",
        ]
    )
    tag = _tag("autopilot", inner)
    return f"-- {_comment(file.file)}\nBEGIN;\nDO {tag}\n{inner}\n{tag};\nCOMMIT;\nRESET ALL;\n"


def _guarded(text: str, version: str, number: int) -> str:
    return (
        f"SELECT EXISTS (SELECT FROM automation.migration_segments WHERE version = {version} AND segment = {number}"
        f" AND state = 'done') INTO done;\nIF NOT done THEN\n{text}\nEND IF;"
    )


def _segment(segment: Segment, number: int) -> str:
    text = segment.text if segment.kind == "transaction" else pasteable(segment)
    if text is None:
        return f"-- left out: {segment.statements[0].alone_because}\nNULL;"
    tag = _tag(f"part_{number}", text)
    return f"EXECUTE {tag}{text}\n{tag};"


def _ledger(migration: Migration) -> str:
    file = migration.file
    values = ", ".join(
        [
            *(_literal(v) for v in (file.version, file.name, file.file, file.sha256, file.normalized_sha256)),
            str(len(migration.statements)),
            str(max(1, len(migration.segments))),
            "pg_catalog.now()",
            "0",
            "'pasted'",
            "'bundle'",
            "current_user::text",
            _literal(__version__),
        ]
    )
    statements = ", ".join(_literal(s.text) for s in migration.statements)
    return (
        "INSERT INTO automation.applied_migrations (version, name, file, sha256, normalized_sha256, statements, segments,"
        f" started_at, duration_ms, run_id, origin, triggered_by, tool_version) VALUES ({values});\n"
        "INSERT INTO supabase_migrations.schema_migrations (version, name, statements)"
        f" VALUES ({_literal(file.version)}, {_literal(file.name)}, ARRAY[{statements}]::text[]);"
    )


def _tag(stem: str, text: str) -> str:
    """A dollar quote that does not occur in `text`."""
    number = 0
    tag = f"${stem}$"
    while tag in text:
        number += 1
        tag = f"${stem}_{number}$"
    return tag


def _literal(text: str) -> str:
    """An SQL string: E'' where a backslash is in it, so that it reads the same under any setting."""
    quoted = text.replace("'", "''")
    return "E'" + quoted.replace("\\", "\\\\") + "'" if "\\" in quoted else f"'{quoted}'"


def _comment(text: str) -> str:
    return "".join(c for c in text if c.isprintable())
