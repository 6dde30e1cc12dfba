"""PostgreSQL's grammar by way of libpg_query, also where its answer is too deep to be handed over.

Protocol Buffers refuse a tree of more than about a hundred levels, and `'a' || 'b' || …` with sixty terms has that.
Such a statement is found by libpg_query's own splitter and known by its first words alone.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from autopilot.migrations.blanks import find, without_line_comments

#: First words and the node they make; whatever is too deep for its tree is one of these.
_BY_FIRST_WORD = {
    "INSERT": "insert_stmt",
    "UPDATE": "update_stmt",
    "DELETE_P": "delete_stmt",
    "CREATE": "create_stmt",
    "ALTER": "alter_table_stmt",
    "WITH": "select_stmt",
    "SELECT": "select_stmt",
    "MERGE": "merge_stmt",
}


#: libpg_query calls itself once a level and knows no limit; PostgreSQL's own (some thousand levels) is far below this.
_STACK_BYTES = 256 * 1024 * 1024
#: A shorter text cannot hold as many levels as a thread's usual stack has room for.
_SHORT = 32_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Located:
    """A statement and its place in UTF-8 bytes, as libpg_query tells it (0 = to the end)."""

    stmt: Any
    stmt_location: int
    stmt_len: int


def parse(sql: str) -> list[Located]:
    """Every statement of `sql`. Raises postgast.PgQueryError, its `cursorpos` a character of `sql` from 1 on,
    where the grammar does not understand it."""
    return _understood(sql) if len(sql) < _SHORT else _with_room(lambda: _understood(sql))


def _with_room(work: Callable[[], list[Located]]) -> list[Located]:
    usual = threading.stack_size(_STACK_BYTES)
    try:
        with ThreadPoolExecutor(max_workers=1) as pool:
            return pool.submit(work).result()
    finally:
        threading.stack_size(usual)


def _understood(sql: str) -> list[Located]:
    import postgast

    try:
        return _parsed(sql)
    except postgast.PgQueryError:
        # between two parts of one literal libpg_query's scanner, unlike PostgreSQL's, does not take a comment for a blank
        blanked = without_line_comments(sql)
        if blanked == sql:
            raise
        try:
            return _parsed(blanked)
        except postgast.PgQueryError as cause:
            cause.cursorpos = _same_place(cause.cursorpos, blanked, sql)
            raise


def _same_place(position: int, blanked: str, sql: str) -> int:
    """A character of one text as the character at the same byte of another; both count from 1."""
    offset = len(blanked[: max(0, position - 1)].encode("utf-8"))
    return len(sql.encode("utf-8")[:offset].decode("utf-8", "ignore")) + 1


def _parsed(sql: str) -> list[Located]:
    import postgast
    from google.protobuf.message import DecodeError

    try:
        parsed = postgast.parse(sql)
    except DecodeError:
        return _one_by_one(sql)
    return [Located(stmt=s.stmt, stmt_location=s.stmt_location, stmt_len=s.stmt_len) for s in parsed.stmts]


def _one_by_one(sql: str) -> list[Located]:
    import postgast
    from google.protobuf.message import DecodeError

    found, position, at = [], 0, 0
    for piece in postgast.split(sql):
        start = find(sql, piece, position)
        length = len(piece.encode("utf-8"))
        at += len(sql[position:start].encode("utf-8"))
        position = start + len(piece)
        try:
            stmt = postgast.parse(piece).stmts[0].stmt
        except DecodeError:
            stmt = _known_by_first_word(piece)
        found.append(Located(stmt=stmt, stmt_location=at, stmt_len=length))
        at += length
    return found


def _known_by_first_word(piece: str) -> Any:
    """A node of the right kind with nothing in it but, for DELETE, that it has a WHERE."""
    import postgast

    token = postgast.scan(piece).tokens
    words = [postgast.pg_query_pb2.Token.Name(t.token) for t in token if t.token not in _comments()]
    node = postgast.pg_query_pb2.Node()
    kind = _BY_FIRST_WORD.get(words[0], "select_stmt")
    getattr(node, kind).SetInParent()
    if kind == "delete_stmt":
        node.delete_stmt.where_clause.a_const.SetInParent()
    return node


def _comments() -> frozenset[int]:
    import postgast

    kinds = postgast.pg_query_pb2
    return frozenset({kinds.SQL_COMMENT, kinds.C_COMMENT})


def has_plain_backslash(sql: str) -> bool:
    """Whether a literal without a prefix holds a backslash."""
    import postgast

    raw = sql.encode("utf-8")
    return any(
        token.token == postgast.pg_query_pb2.SCONST
        and raw[token.start : token.start + 1] == b"'"
        and b"\\" in raw[token.start : token.end]
        for token in postgast.scan(sql).tokens
    )
