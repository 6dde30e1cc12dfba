"""SQL text cut into statements by PostgreSQL's own grammar, with the line each begins on."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from autopilot.errors import Refused, Where
from autopilot.migrations import grammar, locks, relations, work
from autopilot.migrations.blanks import first_word
from autopilot.migrations.change import ADDS, Change, change
from autopilot.migrations.copy_rows import lifted, reads_stdin
from autopilot.migrations.locks import Lock
from autopilot.migrations.loss import destroys
from autopilot.migrations.taken import Taken, taken
from autopilot.migrations.work import Work

#: PostgreSQL's own; Python knows more, and to PostgreSQL those are letters.
_BLANKS = " \t\n\r\f\v"
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
    #: What it means for the code that runs now, seen by itself.
    change: Change = ADDS
    locks: tuple[Lock, ...] = ()
    #: How much of which tables it has to go through, as far as its text shows.
    works: tuple[Work, ...] = ()
    #: What of it takes away data, or what data hangs on.
    takes: tuple[Taken, ...] = ()
    #: Keys (`relations.key`) of what it changes and of what it makes.
    touches: tuple[str, ...] = ()
    makes: tuple[str, ...] = ()
    #: Whether it makes that only where there is none of that name yet.
    only_if_absent: bool = False

    def shown(self) -> str:
        return shortened(self.text)


def shortened(text: str) -> str:
    """A statement for a message: one paragraph, not too long."""
    text = text.strip()
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"


def statements(text: str, *, file: str) -> tuple[Statement, ...]:
    """The statements of `text`, in order; comments and blanks alone are none.

    Raises Refused (`psql_command`, `syntax_error`, `copy_without_end`, `backslash_strings`) with file and line.
    """

    sql, rows = lifted(text, file=file)
    found: list[Statement] = []
    line, counted = 1, 0
    for node, start, end in _cut(sql, file):
        line += sql.count("\n", counted, start)
        counted = start
        found.append(_statement(node, sql[start:end].rstrip(_BLANKS), line, start, min(end + 1, len(sql)), rows))
    _refuse_backslashes(found, file)
    return tuple(found)


_BACKSLASH_ESCAPES = re.compile(r"(?i)standard_conforming_strings\s*(?:=|\bto\b)\s*'?(?:off|of|f\w*|no?|0)\b")


def _refuse_backslashes(found: Sequence[Statement], file: str) -> None:
    """A transaction is one message, and PostgreSQL reads all its strings under the setting of the moment it arrives."""
    off = False
    for statement in found:
        if statement.kind == "variable_set_stmt" and "standard_conforming_strings" in statement.text.lower():
            off = _BACKSLASH_ESCAPES.search(statement.text) is not None
        elif off and "\\" in statement.text and grammar.has_plain_backslash(statement.text):
            raise Refused(
                f"{file}:{statement.line}: with standard_conforming_strings off, a backslash in a plain string is an escape.",
                code="backslash_strings",
                hint="Write such strings as E'…', and remove the SET.",
                where=Where(file=file, line=statement.line, statement=statement.shown()),
            )


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
        change=change(kind, inner, text=text),
        locks=locks.locks(kind, inner),
        works=work.work(kind, inner),
        takes=taken(kind, inner),
        touches=relations.touched(kind, inner),
        makes=relations.made(kind, inner),
        only_if_absent=relations.only_if_absent(kind, inner),
        sets_session=kind == "variable_set_stmt" and not inner.is_local,
        enum_label=inner.new_val if kind == "alter_enum_stmt" and not inner.old_val else None,
        copy_rows=rows.get(end, "") if reads_stdin(node) else None,
    )


_ALWAYS_ALONE = {
    "vacuum_stmt": "VACUUM",
    "discard_stmt": "DISCARD ALL",
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
    if _is_but_a_namesake(kind, node):
        return None
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


def _is_but_a_namesake(kind: str, node: Any) -> bool:
    """ANALYZE has VACUUM's node, and DISCARD PLANS that of DISCARD ALL."""
    import postgast

    return (kind == "vacuum_stmt" and not node.is_vacuumcmd) or (
        kind == "discard_stmt" and node.target != postgast.pg_query_pb2.DISCARD_ALL
    )


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


def _unparsed(text: str, file: str, position: int, words: str) -> Refused:
    position = min(position, len(text))
    line = text.count("\n", 0, position) + 1
    content = text.split("\n")[line - 1]
    if text[position : position + 1] == "\\":
        return Refused(
            f"{file}:{line}: {content.strip()[:80]} is a command of psql, not SQL.",
            code="psql_command",
            hint=_psql_hint(text, position),
            where=Where(file=file, line=line, statement=shortened(content)),
        )
    return Refused(
        f"{file}:{line}: {words}.",
        code="syntax_error",
        hint=_PSQL_VARIABLE if _VARIABLE.match(text, position) else _GRAMMAR,
        where=Where(file=file, line=line, statement=shortened(content)),
    )


_VARIABLE = re.compile(r""":['"{]?\w""")
_PSQL_VARIABLE = "Write the value itself: `:name` is a variable of psql, and a migration is never run through psql."
_GRAMMAR = "Mend the statement; the line is where PostgreSQL's grammar stopped understanding."
_PSQL = "Remove it: a migration is sent to the server as it is and never run through psql."
_PSQL_HINTS = {
    "restrict": "Remove the line, and \\unrestrict at the end: newer pg_dumps write both for psql alone.",
    "unrestrict": "Remove the line, and \\restrict at the head: newer pg_dumps write both for psql alone.",
    ".": "Remove the line: it ends the rows of a COPY … FROM stdin, and none is open here.",
    "copy": "Write COPY … FROM stdin; with the rows below it and a line with \\. alone, or write INSERT.",
    "i": "Put that file's text here, or make it a migration of its own.",
    "gexec": "Write a DO block that runs each text with EXECUTE.",
    "gset": "Write a DO block with a variable.",
    "c": "Remove it: every migration runs in the database that Autopilot is given.",
} | dict.fromkeys(("if", "elif", "else", "endif"), "Write a DO block with IF … THEN.")
_SAME = {"ir": "i", "include": "i", "include_relative": "i", "connect": "c"}


def _psql_hint(text: str, position: int) -> str:
    found = re.match(r"\.|\w+", text[position + 1 : position + 40])
    name = found[0] if found is not None else ""
    return _PSQL_HINTS.get(_SAME.get(name, name), _PSQL)
