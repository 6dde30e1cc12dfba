"""SQL text cut into statements by PostgreSQL's own grammar, with the line each begins on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from autopilot.errors import Refused, Where
from autopilot.migrations import grammar
from autopilot.migrations.blanks import first_word
from autopilot.migrations.copy_rows import lifted
from autopilot.migrations.loss import destroys

#: A statement is shown up to this many characters.
_SHOWN = 400


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    #: As the author wrote it, without the blanks and comments before it and without the semicolon.
    text: str
    #: 1-based line of its first word.
    line: int
    #: Character at which `text` begins in the file.
    start: int
    #: Character after its semicolon (or the end of the file).
    end: int
    #: libpg_query's name of the node, as "index_stmt".
    kind: str
    #: Why it cannot stand in a transaction block, or None when it can.
    alone_because: str | None
    #: For kind "transaction_stmt": "BEGIN", "COMMIT", "ROLLBACK", …; else None.
    control: str | None = None
    #: What of it destroys rows, as "DROP COLUMN"; else None.
    destroys: str | None = None
    #: For COPY … FROM STDIN: the rows that follow it in the file; else None.
    copy_rows: str | None = None
    #: For ALTER TYPE … ADD VALUE: the new label; else None.
    enum_label: str | None = None
    #: Whether it changes a setting for the rest of the session.
    sets_session: bool = False

    def shown(self) -> str:
        return shortened(self.text)


def shortened(text: str) -> str:
    """A statement for a message: one paragraph, not too long."""
    text = text.strip()
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"


def statements(text: str, *, file: str) -> tuple[Statement, ...]:
    """The statements of `text`, in order; comments and blanks alone are none.

    Raises Refused (`psql_command`, `syntax_error`, `copy_without_end`) with file and line.
    """

    sql, rows = lifted(text, file=file)
    found: list[Statement] = []
    line, counted = 1, 0
    for node, start, end in _cut(sql, file):
        line += sql.count("\n", counted, start)
        counted = start
        found.append(_statement(node, sql[start:end].rstrip(), line, start, min(end + 1, len(sql)), rows))
    return tuple(found)


def _cut(sql: str, file: str) -> Iterator[tuple[Any, int, int]]:
    """Each statement's node, first character, and the character after its last (its semicolon)."""
    import postgast

    try:
        parsed = grammar.parse(sql)
    except postgast.PgQueryError as cause:
        raise _unparsed(sql, file, max(0, (cause.cursorpos or 1) - 1), str(cause)) from cause
    raw = sql.encode("utf-8")
    to_char = _character_of(raw)
    for node in parsed:
        begin = node.stmt_location
        stop = begin + node.stmt_len if node.stmt_len else len(raw)
        yield node.stmt, first_word(sql, to_char(begin)), to_char(stop)


def _character_of(raw: bytes) -> Any:
    """libpg_query counts UTF-8 bytes; we count characters."""
    if raw.isascii():
        return lambda offset: offset
    seen_bytes, seen_chars = 0, 0

    def convert(offset: int) -> int:
        nonlocal seen_bytes, seen_chars
        seen_chars += len(raw[seen_bytes:offset].decode("utf-8"))
        seen_bytes = offset
        return seen_chars

    return convert


def _statement(node: Any, text: str, line: int, start: int, end: int, rows: Mapping[int, str]) -> Statement:
    kind = str(node.WhichOneof("node"))
    inner = getattr(node, kind)
    return Statement(
        text=text,
        line=line,
        start=start,
        end=end,
        kind=kind,
        alone_because=_alone_because(kind, inner),
        control=_control(inner) if kind == "transaction_stmt" else None,
        destroys=destroys(kind, inner),
        sets_session=kind == "variable_set_stmt" and not inner.is_local,
        enum_label=inner.new_val if kind == "alter_enum_stmt" and not inner.old_val else None,
        copy_rows=rows.get(end, "") if _reads_stdin(kind, inner) else None,
    )


_ALWAYS_ALONE = {
    "vacuum_stmt": "VACUUM",
    "createdb_stmt": "CREATE DATABASE",
    "dropdb_stmt": "DROP DATABASE",
    "create_table_space_stmt": "CREATE TABLESPACE",
    "drop_table_space_stmt": "DROP TABLESPACE",
    "alter_system_stmt": "ALTER SYSTEM",
    "create_subscription_stmt": "CREATE SUBSCRIPTION",
    "drop_subscription_stmt": "DROP SUBSCRIPTION",
}


def _alone_because(kind: str, node: Any) -> str | None:  # noqa: PLR0911 - a table of the grammar, one row a return
    """PreventInTransactionBlock() callers of PostgreSQL 18, by node."""
    if kind == "vacuum_stmt" and not node.is_vacuumcmd:
        return None  # ANALYZE
    if kind in _ALWAYS_ALONE:
        return _ALWAYS_ALONE[kind]
    if kind == "index_stmt" and node.concurrent:
        return "CREATE INDEX CONCURRENTLY"
    if kind == "drop_stmt" and node.concurrent:
        return "DROP INDEX CONCURRENTLY"
    if kind == "reindex_stmt":
        return _reindex_alone(node)
    if kind == "cluster_stmt" and not node.HasField("relation"):
        return "CLUSTER of all tables"
    if kind == "alter_table_stmt" and any(_detaches_concurrently(c.alter_table_cmd) for c in node.cmds):
        return "DETACH PARTITION CONCURRENTLY"
    if kind == "alter_database_stmt" and any(o.def_elem.defname == "tablespace" for o in node.options):
        return "ALTER DATABASE SET TABLESPACE"
    if kind == "alter_subscription_stmt" and _refreshes(node):
        return "ALTER SUBSCRIPTION … REFRESH"
    return None


def _refreshes(node: Any) -> bool:
    import postgast

    name = postgast.pg_query_pb2.AlterSubscriptionType.Name(node.kind)
    return "REFRESH" in name or name.endswith(("SET_PUBLICATION", "ADD_PUBLICATION", "DROP_PUBLICATION"))


def _reindex_alone(node: Any) -> str | None:
    import postgast

    kinds = postgast.pg_query_pb2
    if any(p.def_elem.defname == "concurrently" for p in node.params):
        return "REINDEX CONCURRENTLY"
    if node.kind in {kinds.REINDEX_OBJECT_SCHEMA, kinds.REINDEX_OBJECT_SYSTEM, kinds.REINDEX_OBJECT_DATABASE}:
        return "REINDEX of more than one table"
    return None


def _detaches_concurrently(command: Any) -> bool:
    return bool(
        command.HasField("def")
        and getattr(command, "def").WhichOneof("node") == "partition_cmd"
        and getattr(command, "def").partition_cmd.concurrent
    )


def _control(node: Any) -> str:
    import postgast

    name = postgast.pg_query_pb2.TransactionStmtKind.Name(node.kind).removeprefix("TRANS_STMT_")
    name = "BEGIN" if name == "START" else name
    return f"{name} AND CHAIN" if node.chain else name


def _reads_stdin(kind: str, node: Any) -> bool:
    return kind == "copy_stmt" and bool(node.is_from) and not node.filename and not node.is_program


def _unparsed(text: str, file: str, position: int, words: str) -> Refused:
    position = min(position, len(text))
    line = text.count("\n", 0, position) + 1
    content = text.split("\n")[line - 1]
    if text[position : position + 1] == "\\":
        return Refused(
            f"{file}:{line}: {content.strip()[:80]!r} is a command of psql, not SQL.",
            code="psql_command",
            hint="Remove it: a migration is sent to the server as it is and never run through psql.",
            where=Where(file=file, line=line, statement=shortened(content)),
        )
    return Refused(
        f"{file}:{line}: {words}.",
        code="syntax_error",
        hint="Mend the statement; the line is where PostgreSQL's grammar stopped understanding.",
        where=Where(file=file, line=line, statement=shortened(content)),
    )
