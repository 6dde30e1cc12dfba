"""PostgreSQL's grammar by way of libpg_query, also where its answer is too deep to be handed over.

Protocol Buffers refuse a tree of more than about a hundred levels, and `'a' || 'b' || …` with sixty terms has that.
Such a statement is found by libpg_query's own splitter and known by its first words alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from autopilot.migrations.blanks import find

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Located:
    """A statement and its place in UTF-8 bytes, as libpg_query tells it (0 = to the end)."""

    stmt: Any
    stmt_location: int
    stmt_len: int


def parse(sql: str) -> list[Located]:
    """Every statement of `sql`. Raises postgast.PgQueryError where the grammar does not understand it."""
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
