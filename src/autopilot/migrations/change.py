"""What a statement means for the code that runs now: expand, data, contract or irreversible.

expand        the code that runs now lives on with it: going back needs no change of the schema
data          rows are written; the schema is as it was
contract      the code that runs now may break: something is taken away, renamed, replaced or newly forbidden
irreversible  what is gone comes back from a backup only

Where a statement does not show which it is, it counts as the worse one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from autopilot.migrations.loss import destroys

#: From the mildest to the worst.
KINDS = ("expand", "data", "contract", "irreversible")


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    kind: str
    #: In a few words, what makes it so.
    why: str


def _expand(why: str) -> Change:
    return Change(kind="expand", why=why)


def _contract(why: str) -> Change:
    return Change(kind="contract", why=why)


ADDS = _expand("adds something new")
OWN = _expand("touches only what this push has made")
LOOSENS = _expand("forbids less than before")
INVISIBLE = _expand("changes nothing that code can see")
WRITES = Change(kind="data", why="writes rows")
UNSEEN = _contract("what it does cannot be read from it")


def worst(kinds: Iterable[str]) -> str:
    """The class of a whole file: that of its worst statement; an empty file is `expand`."""
    return KINDS[max((KINDS.index(kind) for kind in kinds), default=0)]


def change(kind: str, node: Any, *, text: str) -> Change:
    """The class of one statement by itself, whatever was made before it."""
    gone = destroys(kind, node)
    if gone is not None:
        return Change(kind="irreversible", why=f"{gone} destroys data")
    by_node = _BY_NODE.get(kind)
    if by_node is not None:
        return by_node(node)
    if kind == "do_stmt":
        return by_words(text)
    return _BY_KIND.get(kind, UNSEEN)


def _table(node: Any) -> Change:
    """ALTER TABLE: the worst of its commands."""
    found = [_command(c.alter_table_cmd) for c in node.cmds]
    return max(found, key=lambda c: KINDS.index(c.kind), default=UNSEEN)


def _command(command: Any) -> Change:
    import postgast

    name = postgast.pg_query_pb2.AlterTableType.Name(command.subtype).removeprefix("AT_")
    if name == "AddColumn":
        return _column(getattr(command, "def").column_def)
    if name == "ColumnDefault":
        return _expand("gives a default") if command.HasField("def") else _contract("takes a default away")
    if name == "AlterColumnType":
        return _retyped(getattr(command, "def").column_def)
    return _BY_COMMAND.get(name, _contract(f"changes a table ({name})"))


def _column(column: Any) -> Change:
    """A new column breaks the code that runs now only where its INSERTs would have to fill it."""
    kinds = {_constraint(c.constraint) for c in column.constraints}
    fills_itself = kinds & {"DEFAULT", "IDENTITY", "GENERATED"} or _serial(column)
    if kinds & {"NOTNULL", "PRIMARY"} and not fills_itself:
        return _contract("adds a column that every INSERT must fill")
    return _expand("adds a column")


def _serial(column: Any) -> bool:
    names = column.type_name.names
    return bool(names) and names[-1].string.sval in {"serial", "bigserial", "smallserial", "serial4", "serial8", "serial2"}


def _constraint(node: Any) -> str:
    import postgast

    return str(postgast.pg_query_pb2.ConstrType.Name(node.contype)).removeprefix("CONSTR_")


#: Types that hold every value a column may have had, where no USING says otherwise.
_ROOMY = {"text", "int8", "numeric", "varchar", "jsonb"}


def _retyped(column: Any) -> Change:
    type_name = column.type_name
    if (
        type_name.names
        and type_name.names[-1].string.sval in _ROOMY
        and not type_name.typmods
        and not column.HasField("raw_default")
    ):
        return _contract("changes a column's type")
    return Change(kind="irreversible", why="changes a column's type, and values that the new type cannot hold are gone")


def _dropped(node: Any) -> Change:
    import postgast

    name = postgast.pg_query_pb2.ObjectType.Name(node.remove_type).removeprefix("OBJECT_").lower().replace("_", " ")
    cascades = postgast.pg_query_pb2.DropBehavior.Name(node.behavior) == "DROP_CASCADE"
    if cascades and name in {"type", "domain", "extension"}:
        return Change(kind="irreversible", why=f"DROP {name.upper()} … CASCADE takes columns of that type with it")
    return INVISIBLE if name == "index" else _contract(f"takes a {name} away")


def _granted(node: Any) -> Change:
    return _expand("gives rights") if node.is_grant else _contract("takes rights away")


def _function(node: Any) -> Change:
    return _contract("replaces a function") if node.replace else ADDS


def _view(node: Any) -> Change:
    return _contract("replaces a view") if node.replace else ADDS


def _index(node: Any) -> Change:
    return _contract("forbids rows that were allowed before") if node.unique else INVISIBLE


def _policy(node: Any) -> Change:
    return _expand("lets rows be seen") if node.permissive else _contract("hides rows that were seen before")


def _enum(node: Any) -> Change:
    if node.old_val:
        return _contract("renames an enum value")
    return _expand("adds an enum value, which no later statement can take away again")


def _default_rights(node: Any) -> Change:
    return _granted(node.action)


def _copied(node: Any) -> Change:
    return WRITES if node.is_from else INVISIBLE


def _selected(node: Any) -> Change:
    return ADDS if node.HasField("into_clause") else Change(kind="data", why="a query, whose functions may write")


def _membership(node: Any) -> Change:
    return _expand("gives rights") if node.is_grant else _contract("takes rights away")


_DESTROYING = re.compile(r"(?i)\bdrop\s+(table|schema|column|owned|database)\b|\btruncate\b|\bdrop\s+type\b.*\bcascade\b")
_TAKING = re.compile(
    r"(?i)\b(drop|rename|revoke|replace|execute|call|disable|enable|owner|constraint|set\s+not|set\s+schema)\b|\balter\s+column\b"
)
_WRITING = re.compile(r"(?i)\b(insert|update|delete|merge|copy|perform)\b")


def by_words(text: str) -> Change:
    """A block of procedural code, read by its words; comments and strings count too, so it may look worse than it is."""
    if _DESTROYING.search(text):
        return Change(kind="irreversible", why="a block that drops or truncates")
    if _TAKING.search(text):
        return _contract("a block that may take away or replace")
    return Change(kind="data", why="a block that may write rows") if _WRITING.search(text) else ADDS


_BINDS = "forbids rows that were allowed before"
_STORAGE = (
    "SetStatistics", "SetOptions", "ResetOptions", "SetStorage", "SetCompression", "ClusterOn", "DropCluster", "SetLogged",
    "SetUnLogged", "SetAccessMethod", "SetTableSpace", "SetRelOptions", "ResetRelOptions", "ReplaceRelOptions", "ReplicaIdentity",
    "ValidateConstraint", "DetachPartitionFinalize", "AddOf", "DropOf",
)  # fmt: skip
_BY_COMMAND = {
    **dict.fromkeys(_STORAGE, INVISIBLE),
    "DropNotNull": LOOSENS,
    "DisableRowSecurity": LOOSENS,
    "NoForceRowSecurity": LOOSENS,
    "AddIdentity": ADDS,
    "AttachPartition": _expand("adds a partition"),
    "AddInherit": _expand("adds a parent"),
    "SetNotNull": _contract(_BINDS),
    "AddConstraint": _contract(_BINDS),
    "AddIndexConstraint": _contract(_BINDS),
    "DropConstraint": _contract("takes a constraint away, which code may rely on"),
    "EnableRowSecurity": _contract("hides rows that were seen before"),
    "ForceRowSecurity": _contract("hides rows that were seen before"),
    "DetachPartition": _contract("takes rows out of the partitioned table"),
    "ChangeOwner": _contract("changes who owns it, and so who may use it"),
}

_BY_NODE = {
    "alter_table_stmt": _table,
    "drop_stmt": _dropped,
    "grant_stmt": _granted,
    "grant_role_stmt": _membership,
    "alter_default_privileges_stmt": _default_rights,
    "create_function_stmt": _function,
    "view_stmt": _view,
    "index_stmt": _index,
    "create_policy_stmt": _policy,
    "alter_enum_stmt": _enum,
    "copy_stmt": _copied,
    "select_stmt": _selected,
}

_NEW = (
    "create_stmt", "create_table_as_stmt", "create_foreign_table_stmt", "create_schema_stmt", "create_extension_stmt",
    "create_seq_stmt", "create_domain_stmt", "composite_type_stmt", "create_enum_stmt", "create_range_stmt", "define_stmt",
    "create_op_class_stmt", "create_op_family_stmt", "create_cast_stmt", "create_conversion_stmt", "create_transform_stmt",
    "create_am_stmt", "create_plang_stmt", "create_role_stmt", "create_publication_stmt", "create_subscription_stmt",
    "create_fdw_stmt", "create_foreign_server_stmt", "create_user_mapping_stmt", "import_foreign_schema_stmt", "createdb_stmt",
    "create_table_space_stmt",
)  # fmt: skip
_UNSEEN_BY_CODE = (
    "variable_set_stmt", "variable_show_stmt", "transaction_stmt", "comment_stmt", "sec_label_stmt", "vacuum_stmt",
    "reindex_stmt", "cluster_stmt", "lock_stmt", "notify_stmt", "listen_stmt", "unlisten_stmt", "explain_stmt",
    "check_point_stmt", "discard_stmt",
    "constraints_set_stmt", "load_stmt", "prepare_stmt", "deallocate_stmt", "declare_cursor_stmt", "fetch_stmt",
    "close_portal_stmt", "create_stats_stmt", "alter_stats_stmt", "alter_database_refresh_coll_stmt", "alter_table_move_all_stmt",
    "alter_table_space_options_stmt", "alter_object_depends_stmt",
)  # fmt: skip
_BY_KIND = {
    **dict.fromkeys(_NEW, ADDS),
    **dict.fromkeys(_UNSEEN_BY_CODE, INVISIBLE),
    **dict.fromkeys(("insert_stmt", "update_stmt", "delete_stmt", "merge_stmt", "refresh_mat_view_stmt"), WRITES),
    "create_trig_stmt": _contract("runs on writes of the code that is there"),
    "rule_stmt": _contract("changes what the code that is there does"),
    "create_event_trig_stmt": _contract("runs on every change of the schema"),
    "rename_stmt": _contract("renames something"),
    "alter_object_schema_stmt": _contract("moves something to another schema"),
    "alter_owner_stmt": _contract("changes who owns it, and so who may use it"),
    "alter_policy_stmt": _contract("changes which rows are seen"),
    "alter_seq_stmt": _contract("changes a sequence"),
    "alter_domain_stmt": _contract("changes a domain"),
    "alter_function_stmt": _contract("changes a function"),
    "alter_extension_stmt": _contract("changes an extension"),
    "alter_role_stmt": _contract("changes a role"),
    "alter_role_set_stmt": _contract("changes a role's settings"),
    "drop_role_stmt": _contract("takes a role away"),
    "alter_publication_stmt": _contract("changes a publication"),
}  # fmt: skip
