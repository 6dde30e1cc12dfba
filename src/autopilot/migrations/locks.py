"""Which locks a statement takes on which relations, as far as its text shows: for the plan, before anything runs.

Modes are PostgreSQL's (chapter "Explicit Locking" and AlterTableGetLockLevel of PostgreSQL 18). What only reads is left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from autopilot.migrations.relations import dotted, dropped, named

EXCLUSIVE = "ACCESS EXCLUSIVE"
_ROWS = "ROW EXCLUSIVE"
_SHARE = "SHARE"
_MAINTENANCE = "SHARE UPDATE EXCLUSIVE"
_WRITES = "SHARE ROW EXCLUSIVE"
#: PostgreSQL's modes from the weakest to the strongest, in the numbers of lockdefs.h.
MODES = ("ACCESS SHARE", "ROW SHARE", _ROWS, _MAINTENANCE, _SHARE, _WRITES, "EXCLUSIVE", EXCLUSIVE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Lock:
    #: As the author wrote it.
    relation: str
    mode: str

    @property
    def keeps_waiting(self) -> str:
        """Whom it keeps waiting, in words."""
        return keeps_waiting(self.mode)


def keeps_waiting(mode: str) -> str:
    """Whom a lock of this mode keeps waiting."""
    if mode == EXCLUSIVE:
        return "reads and writes"
    if mode in {_SHARE, _WRITES, "EXCLUSIVE"}:
        return "writes"
    return "other schema changes" if mode == _MAINTENANCE else "nobody's reads or writes"


def is_gentle(mode: str) -> bool:
    """Whether waiting for it keeps no reader and no writer waiting behind it."""
    return MODES.index(mode) <= MODES.index(_MAINTENANCE)


#: Statements whose locks their text shows whole, and that only write rows, speak of settings, or none at all.
_PLAIN = {"insert_stmt", "update_stmt", "delete_stmt", "merge_stmt", "copy_stmt", "comment_stmt", "variable_set_stmt"}


def waits_gently(kind: str, taken: Iterable[Lock]) -> bool:
    """Whether nobody's reads or writes queue behind a statement that waits for its locks, as far as its text shows."""
    return (kind in _PLAIN or (kind == "alter_table_stmt" and bool(tuple(taken)))) and all(is_gentle(lock.mode) for lock in taken)


def strongest(locks: Iterable[Lock]) -> tuple[Lock, ...]:
    """One lock a relation, the strongest, in the order of first mention."""
    found: dict[str, Lock] = {}
    for lock in locks:
        known = found.get(lock.relation)
        if known is None or MODES.index(known.mode) < MODES.index(lock.mode):
            found[lock.relation] = lock
    return tuple(found.values())


def locks(kind: str, node: Any) -> tuple[Lock, ...]:
    """The locks of one statement, from its grammar node."""
    if kind in _ROW_WRITERS:
        return (Lock(relation=named(node.relation), mode=_ROWS),)
    reader = _BY_NODE.get(kind)
    return () if reader is None else strongest(reader(node))


_ROW_WRITERS = {"insert_stmt", "update_stmt", "delete_stmt", "merge_stmt"}


def _created(node: Any) -> Iterator[Lock]:
    """A new table stands in nobody's way; what it refers to or hangs under may."""
    for parent in node.inh_relations:
        yield Lock(relation=named(parent.range_var), mode=EXCLUSIVE if node.HasField("partbound") else _MAINTENANCE)
    for element in node.table_elts:
        if element.HasField("constraint"):
            yield from _referenced([element.constraint])
        if element.HasField("column_def"):
            yield from _referenced(c.constraint for c in element.column_def.constraints)


def _referenced(constraints: Iterable[Any]) -> Iterator[Lock]:
    for constraint in constraints:
        if constraint.HasField("pktable"):
            yield Lock(relation=named(constraint.pktable), mode=_WRITES)


def _altered(node: Any) -> Iterator[Lock]:
    import postgast

    kinds = postgast.pg_query_pb2
    if kinds.ObjectType.Name(node.objtype) == "OBJECT_TYPE":
        return
    for item in node.cmds:
        command = item.alter_table_cmd
        name = kinds.AlterTableType.Name(command.subtype).removeprefix("AT_")
        what = getattr(command, "def")
        foreign = name == "AddConstraint" and what.constraint.HasField("pktable")
        mode = _WRITES if foreign else _COMMANDS.get(name, EXCLUSIVE)
        if name == "DetachPartition" and what.partition_cmd.concurrent:
            mode = _MAINTENANCE
        yield Lock(relation=named(node.relation), mode=mode)
        if name in {"AttachPartition", "DetachPartition"}:
            yield Lock(
                relation=named(what.partition_cmd.name),
                mode=_MAINTENANCE if mode == _MAINTENANCE and name[0] == "D" else EXCLUSIVE,
            )
        if name == "AddConstraint":
            yield from _referenced([what.constraint])
        if name == "AddColumn":
            yield from _referenced(c.constraint for c in what.column_def.constraints)


_COMMANDS = {
    **dict.fromkeys(
        ("SetStatistics", "SetOptions", "ResetOptions", "ClusterOn", "DropCluster", "SetRelOptions", "ResetRelOptions",
         "ReplaceRelOptions", "ValidateConstraint", "AttachPartition", "DetachPartitionFinalize"),
        _MAINTENANCE,
    ),
    **dict.fromkeys(
        ("EnableTrig", "EnableAlwaysTrig", "EnableReplicaTrig", "DisableTrig", "EnableTrigAll", "DisableTrigAll",
         "EnableTrigUser", "DisableTrigUser"),
        _WRITES,
    ),
}  # fmt: skip


def _indexed(node: Any) -> Iterator[Lock]:
    yield Lock(relation=named(node.relation), mode=_MAINTENANCE if node.concurrent else _SHARE)


def _removed(node: Any) -> Iterator[Lock]:
    import postgast

    what = postgast.pg_query_pb2.ObjectType.Name(node.remove_type).removeprefix("OBJECT_")
    if what in {"TABLE", "VIEW", "MATVIEW", "INDEX", "SEQUENCE", "FOREIGN_TABLE", "TRIGGER", "POLICY", "RULE"}:
        for name in dropped(node):
            yield Lock(relation=name, mode=_MAINTENANCE if node.concurrent else EXCLUSIVE)


def _on(mode: str, field: str = "relation") -> Any:
    def reader(node: Any) -> Iterator[Lock]:
        relation = getattr(node, field)
        if relation.relname:
            yield Lock(relation=named(relation), mode=mode)

    return reader


def _truncated(node: Any) -> Iterator[Lock]:
    for item in node.relations:
        yield Lock(relation=named(item.range_var), mode=EXCLUSIVE)


def _vacuumed(node: Any) -> Iterator[Lock]:
    full = any(option.def_elem.defname == "full" for option in node.options)
    for item in node.rels:
        relation = item.vacuum_relation.relation
        if relation.relname:
            yield Lock(relation=named(relation), mode=EXCLUSIVE if full else _MAINTENANCE)


def _refreshed(node: Any) -> Iterator[Lock]:
    yield Lock(relation=named(node.relation), mode="EXCLUSIVE" if node.concurrent else EXCLUSIVE)


def _reindexed(node: Any) -> Iterator[Lock]:
    if node.relation.relname:
        quiet = any(p.def_elem.defname == "concurrently" for p in node.params)
        yield Lock(relation=named(node.relation), mode=_MAINTENANCE if quiet else _SHARE)


def _locked(node: Any) -> Iterator[Lock]:
    for item in node.relations:
        yield Lock(relation=named(item.range_var), mode=MODES[node.mode - 1])


def _copied(node: Any) -> Iterator[Lock]:
    if node.is_from:
        yield Lock(relation=named(node.relation), mode=_ROWS)


def _replaced(node: Any) -> Iterator[Lock]:
    if node.replace:
        yield Lock(relation=named(node.view), mode=EXCLUSIVE)


def _commented(node: Any) -> Iterator[Lock]:
    import postgast

    if postgast.pg_query_pb2.ObjectType.Name(node.objtype) in {"OBJECT_TABLE", "OBJECT_VIEW", "OBJECT_MATVIEW", "OBJECT_INDEX"}:
        yield Lock(relation=dotted(node.object.list.items), mode=_MAINTENANCE)


_BY_NODE = {
    "create_stmt": _created,
    "alter_table_stmt": _altered,
    "index_stmt": _indexed,
    "drop_stmt": _removed,
    "create_trig_stmt": _on(_WRITES),
    "create_policy_stmt": _on(EXCLUSIVE, "table"),
    "alter_policy_stmt": _on(EXCLUSIVE, "table"),
    "rule_stmt": _on(EXCLUSIVE),
    "rename_stmt": _on(EXCLUSIVE),
    "alter_object_schema_stmt": _on(EXCLUSIVE),
    "alter_seq_stmt": _on(_WRITES, "sequence"),
    "cluster_stmt": _on(EXCLUSIVE),
    "truncate_stmt": _truncated,
    "vacuum_stmt": _vacuumed,
    "refresh_mat_view_stmt": _refreshed,
    "reindex_stmt": _reindexed,
    "lock_stmt": _locked,
    "copy_stmt": _copied,
    "view_stmt": _replaced,
    "comment_stmt": _commented,
}
