"""Which statements destroy rows that nothing but a backup could bring back."""

from __future__ import annotations

from typing import Any

_DROPPED = {"OBJECT_TABLE": "DROP TABLE", "OBJECT_SCHEMA": "DROP SCHEMA"}


def destroys(kind: str, node: Any) -> str | None:
    """What of the statement destroys rows, in the words of SQL; None where nothing does."""
    if kind == "drop_stmt":
        return _DROPPED.get(_object(node.remove_type))
    if kind == "alter_table_stmt":
        return "DROP COLUMN" if any(_drops_column(command.alter_table_cmd) for command in node.cmds) else None
    if kind == "delete_stmt" and not node.HasField("where_clause"):
        return "DELETE without WHERE"
    return {"truncate_stmt": "TRUNCATE", "dropdb_stmt": "DROP DATABASE", "drop_owned_stmt": "DROP OWNED"}.get(kind)


def _object(number: int) -> str:
    import postgast

    return str(postgast.pg_query_pb2.ObjectType.Name(number))


def _drops_column(command: Any) -> bool:
    import postgast

    return bool(command.subtype == postgast.pg_query_pb2.AT_DropColumn)
