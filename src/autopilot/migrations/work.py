"""How much a statement has to read or write of a table, as far as its text shows: for a plan, before anything was rehearsed.

What it does with what it makes itself, and what a function, a query or a trigger does, its text does not show.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from autopilot.migrations.relations import key, named

#: Seconds for each GiB of the table, on two cores of a server with its data in memory: benchmarks/forecast.py. A small
#: cloud machine may take four times as long, a large one a quarter.
S_PER_GIB = {"reads": 2.5, "indexes": 7.0, "rewrites": 28.0, "updates": 100.0}


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    relation: str
    #: "reads", "indexes", "rewrites" or "updates" all of it.
    what: str


def work(kind: str, node: Any) -> tuple[Work, ...]:
    """From the statement's grammar node."""
    reader = _BY_NODE.get(kind)
    return () if reader is None else tuple(Work(relation=relation, what=what) for relation, what in reader(node))


def estimate_ms(works: Iterable[Work], size_bytes: Mapping[str, int]) -> float:
    """`size_bytes` by `relations.key`; what is not there has no size."""
    return round(sum(size_bytes.get(key(w.relation), 0) / (1 << 30) * S_PER_GIB[w.what] * 1000 for w in works), 1)


_Found = list[tuple[str, str]]


def _altered(node: Any) -> _Found:
    import postgast

    kinds, relation = postgast.pg_query_pb2, named(node.relation)
    found: _Found = []
    for item in node.cmds:
        command = item.alter_table_cmd
        name = kinds.AlterTableType.Name(command.subtype).removeprefix("AT_")
        what = getattr(command, "def")
        if name in {"AlterColumnType", "SetLogged", "SetUnLogged", "SetTableSpace", "SetAccessMethod", "SetExpression"}:
            found.append((relation, "rewrites"))
        elif name in {"SetNotNull", "ValidateConstraint"}:
            found.append((relation, "reads"))
        elif name == "AttachPartition":
            found.append((named(what.partition_cmd.name), "reads"))
        elif name == "AddConstraint" and not what.constraint.skip_validation:
            found.append((relation, _checked(kinds.ConstrType.Name(what.constraint.contype))))
        elif name == "AddColumn" and _fills(what.column_def, kinds):
            found.append((relation, "rewrites"))
    return found


def _checked(constraint: str) -> str:
    return "indexes" if constraint in {"CONSTR_PRIMARY", "CONSTR_UNIQUE", "CONSTR_EXCLUSION"} else "reads"


def _fills(column: Any, kinds: Any) -> bool:
    """Whether the new column has another value in each row; one that is the same for all costs nothing."""
    if column.type_name.names and column.type_name.names[-1].string.sval.endswith("serial"):
        return True
    for item in column.constraints:
        what = kinds.ConstrType.Name(item.constraint.contype)
        if what in {"CONSTR_IDENTITY", "CONSTR_GENERATED", "CONSTR_UNIQUE", "CONSTR_PRIMARY"}:
            return True
        expression = item.constraint.raw_expr
        if what == "CONSTR_DEFAULT" and expression.HasField("func_call"):
            return expression.func_call.funcname[-1].string.sval not in _SAME_FOR_ALL
    return False


#: Stable in a statement: PostgreSQL takes one value for all rows.
_SAME_FOR_ALL = {"now", "current_timestamp", "transaction_timestamp", "statement_timestamp", "current_setting", "to_char"}


def _changed(node: Any) -> _Found:
    """Without WHERE every row; with one, how many it finds is not known, but that it looks."""
    return [(named(node.relation), "reads" if node.HasField("where_clause") else "updates")]


def _vacuumed(node: Any) -> _Found:
    full = any(option.def_elem.defname == "full" for option in node.options)
    relations = [item.vacuum_relation.relation for item in node.rels]
    return [(named(r), "rewrites" if full else "reads") for r in relations if r.relname]


def _whole(what: str) -> Callable[[Any], _Found]:
    return lambda node: [(named(node.relation), what)] if node.relation.relname else []


_BY_NODE: dict[str, Callable[[Any], _Found]] = {
    "alter_table_stmt": _altered,
    "index_stmt": _whole("indexes"),
    "reindex_stmt": _whole("indexes"),
    "cluster_stmt": _whole("rewrites"),
    "refresh_mat_view_stmt": _whole("rewrites"),
    "update_stmt": _changed,
    "delete_stmt": _changed,
    "vacuum_stmt": _vacuumed,
}
