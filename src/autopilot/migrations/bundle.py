"""All migrations as one SQL text for an SQL editor: each part runs once, however often it is pasted."""

from __future__ import annotations

import re
from dataclasses import replace

from autopilot import __version__
from autopilot.errors import Refused, Where
from autopilot.migrations.effect import conditional, effects
from autopilot.migrations.segments import EMPTY, Migration, Segment

FILE_NAME = "ALL_IN_ONE__paste.sql"


def bundle(migrations: tuple[Migration, ...], *, schema_script: str) -> str:
    """`schema_script` makes the automation schema. Statements that no transaction can hold are
    rewritten (an index is built without CONCURRENTLY) or, where they change no schema, listed and left out.

    Raises Refused (`cannot_bundle`) for what an SQL editor cannot run: COPY rows and savepoints.
    """
    migrations = tuple(_weighed(m) for m in migrations)
    parts = [_head(migrations), "BEGIN;\n", schema_script, "COMMIT;\n"]
    for before, migration in zip((None, *migrations), migrations, strict=False):
        parts += _migration(migration, before)
    return "\n".join(parts)


def _weighed(migration: Migration) -> Migration:
    """With what each statement means. Where it will be pasted is not known: what may be there already counts as there."""
    return replace(migration, effects=effects(migration.statements, there=conditional(migration.statements)))


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
            bare = (raw[: token.start] + raw[token.end :].lstrip(b" ")).decode("utf-8")
            return re.sub(r"\(\s*\)|(?<=\()\s*,\s*|\s*,\s*(?=\))", "", bare, count=1)
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


def _migration(migration: Migration, before: Migration | None) -> list[str]:
    """A transaction for each part, so that an enum value is committed before it is used; each asks the ledger first."""
    segments = migration.segments or (EMPTY,)
    return [f"-- {_comment(migration.file.file)}"] + [
        _part(migration, segment, number, before, last=number == len(segments) - 1) for number, segment in enumerate(segments)
    ]


def _part(migration: Migration, segment: Segment, number: int, before: Migration | None, *, last: bool) -> str:
    version = _literal(migration.file.version)
    inner = "\n".join(
        [
            "DECLARE",
            "    done boolean;",
            "BEGIN",
            "LOCK TABLE automation.applied_migrations IN SHARE ROW EXCLUSIVE MODE;",
            *_after(before, migration),
            f"SELECT {_is_applied(version)} INTO done;",
            "IF NOT done THEN",
            "SELECT EXISTS (SELECT FROM automation.migration_segments",
            f"    WHERE version = {version} AND segment = {number} AND state = 'done') INTO done;",
            "IF NOT done THEN",
            _run(migration, segment, number),
            "END IF;",
            "RESET SESSION AUTHORIZATION;",
            "RESET ROLE;",
            _ledger(migration) if last else _progress(migration, segment, number),
            "END IF;",
            "END",
        ]
    )
    tag = _tag("autopilot", inner)
    return f"BEGIN;\nDO {tag}\n{inner}\n{tag};\nCOMMIT;\n" + ("RESET ALL;\n" if last else "")


def _is_applied(version: str) -> str:
    return (
        f"EXISTS (SELECT FROM automation.applied_migrations WHERE version = {version})"
        f" OR EXISTS (SELECT FROM supabase_migrations.schema_migrations WHERE version = {version})"
    )


def _after(before: Migration | None, migration: Migration) -> list[str]:
    """Nothing runs after a migration that failed, even where psql goes on after an error."""
    if before is None:
        return []
    words = _literal(f"{migration.file.file} is not run: {before.file.file}, which comes before it, is not applied")
    return [f"IF NOT ({_is_applied(_literal(before.file.version))}) THEN", f"RAISE EXCEPTION USING MESSAGE = {words};", "END IF;"]


def _run(migration: Migration, segment: Segment, number: int) -> str:
    _refuse_unpasteable(migration, segment)
    if not segment.statements:
        return "NULL;"
    text = segment.text if segment.kind == "transaction" else pasteable(segment)
    if text is None:
        return f"-- left out: {segment.statements[0].alone_because}\nNULL;"
    tag = _tag(f"part_{number}", text)
    return f"EXECUTE {tag}{text}\n{tag};"


def _refuse_unpasteable(migration: Migration, segment: Segment) -> None:
    for statement in segment.statements:
        if statement.copy_rows is not None or statement.control is not None:
            what = "COPY with its rows" if statement.copy_rows is not None else statement.control
            raise Refused(
                f"{migration.file.file}:{statement.line}: {what} cannot be part of a text that is pasted.",
                code="cannot_bundle",
                hint="Write the rows as INSERT, and leave savepoints out; or run `autopilot migrate` instead of pasting.",
                where=Where(file=migration.file.file, line=statement.line, statement=statement.shown()),
            )


def _progress(migration: Migration, segment: Segment, number: int) -> str:
    values = f"{_literal(migration.file.version)}, {number}, 'done', '{segment.sha256}', 'pasted', now()"
    return (
        "INSERT INTO automation.migration_segments (version, segment, state, sha256, run_id, finished_at)"
        f" VALUES ({values}) ON CONFLICT (version, segment) DO UPDATE SET state = 'done', finished_at = now();"
    )


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
    changes = ", ".join(_literal(change) for change in migration.changes)
    return (
        "INSERT INTO automation.applied_migrations (version, name, file, sha256, normalized_sha256, statements, segments,"
        " started_at, duration_ms, run_id, origin, triggered_by, tool_version, change, changes)"
        f" VALUES ({values}, {_literal(str(migration.change))}, ARRAY[{changes}]::text[]);\n"
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
