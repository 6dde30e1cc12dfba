"""The relations that a statement names and makes, as its author wrote them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def named(relation: Any) -> str:
    """A RangeVar as `schema.name`, or `name` where the author gave no schema."""
    return f"{relation.schemaname}.{relation.relname}" if relation.schemaname else str(relation.relname)


def dotted(strings: Any) -> str:
    """A list of String nodes as `schema.name`."""
    return ".".join(item.string.sval for item in strings)


def key(name: str) -> str:
    """The name under which two spellings of one relation meet: `public.t` and `t` are the same."""
    return name.removeprefix("public.")


def made(kind: str, node: Any) -> tuple[str, ...]:
    """Keys of what the statement makes: relations, and functions as `name()`."""
    relation = _MADE[kind](node) if kind in _MADE else None
    if relation is not None:
        return (key(named(relation)),) if relation.relname else ()
    if kind == "create_function_stmt":
        return (key(dotted(node.funcname)) + "()",)
    if kind == "rename_stmt" and node.newname and not node.subname and node.relation.relname:
        schema = f"{node.relation.schemaname}." if node.relation.schemaname else ""
        return (key(schema + node.newname),)
    return ()


def only_if_absent(kind: str, node: Any) -> bool:
    """Whether it makes something new only where there is none of that name: IF NOT EXISTS, OR REPLACE."""
    if kind == "create_table_as_stmt":
        return bool(node.if_not_exists)
    if kind == "create_foreign_table_stmt":
        return bool(node.base_stmt.if_not_exists)
    return bool(getattr(node, "if_not_exists", False)) or (kind != "rename_stmt" and bool(getattr(node, "replace", False)))


def touched(kind: str, node: Any) -> tuple[str, ...]:
    """Keys of what the statement changes; empty where that cannot be read from it."""
    if kind == "drop_stmt":
        return tuple(key(name) for name in dropped(node))
    if kind == "truncate_stmt":
        return tuple(key(named(item.range_var)) for item in node.relations)
    if kind == "create_function_stmt":
        return (key(dotted(node.funcname)) + "()",)
    relation = getattr(node, _TOUCHED.get(kind, "relation"), None)
    return (key(named(relation)),) if getattr(relation, "relname", "") else ()


#: The new relation of each kind of CREATE.
_MADE: dict[str, Callable[[Any], Any]] = {
    "create_stmt": lambda node: node.relation,
    "view_stmt": lambda node: node.view,
    "create_seq_stmt": lambda node: node.sequence,
    "create_foreign_table_stmt": lambda node: node.base_stmt.relation,
    "create_table_as_stmt": lambda node: node.into.rel,
    "select_stmt": lambda node: node.into_clause.rel,
}
#: Where it is not `relation`: the field with the relation that a statement changes.
_TOUCHED = {"create_policy_stmt": "table", "alter_policy_stmt": "table", "view_stmt": "view", "alter_seq_stmt": "sequence"}


def dropped(node: Any) -> tuple[str, ...]:
    """What a DROP names: relations by name, a table's trigger, policy or rule by the table's."""
    import postgast

    what = postgast.pg_query_pb2.ObjectType.Name(node.remove_type)
    found = []
    for item in node.objects:
        if item.HasField("list"):
            parts = list(item.list.items)
            found.append(dotted(parts[:-1] if what in {"OBJECT_TRIGGER", "OBJECT_POLICY", "OBJECT_RULE"} else parts))
        elif item.HasField("object_with_args"):
            found.append(dotted(item.object_with_args.objname) + "()")
    return tuple(found)
