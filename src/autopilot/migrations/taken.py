"""What a statement takes away that a row, a column or a table of data hangs on, as far as its text shows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from autopilot.migrations.relations import dropped, named

#: Types that hold every value a column may have had, where no USING says otherwise: their way back loses nothing.
_ROOMY = {"text", "int8", "numeric", "varchar", "jsonb"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    #: "drop table", "drop column", "retype column", "truncate", "alter table" (may switch triggers off), "drop other".
    what: str
    #: As the author wrote them.
    relations: tuple[str, ...] = ()
    #: Schemas that go with all that is in them.
    schemas: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    cascade: bool = False


def taken(kind: str, node: Any) -> tuple[Taken, ...]:
    """From the statement's grammar node."""
    if kind == "drop_stmt":
        return _dropped(node)
    if kind == "alter_table_stmt":
        return _altered(node)
    if kind == "truncate_stmt":
        return (Taken(what="truncate", relations=tuple(named(i.range_var) for i in node.relations), cascade=_cascades(node)),)
    return (Taken(what="drop other", cascade=_cascades(node)),) if kind == "drop_owned_stmt" else ()


def _cascades(node: Any) -> bool:
    import postgast

    return bool(node.behavior == postgast.pg_query_pb2.DROP_CASCADE)


def _dropped(node: Any) -> tuple[Taken, ...]:
    import postgast

    what = postgast.pg_query_pb2.ObjectType.Name(node.remove_type).removeprefix("OBJECT_")
    if what == "TABLE":
        return (Taken(what="drop table", relations=dropped(node), cascade=_cascades(node)),)
    if what in {"INDEX", "VIEW", "TRIGGER", "POLICY", "RULE", "MATVIEW"}:
        return ()
    schemas = tuple(item.string.sval for item in node.objects) if what == "SCHEMA" else ()
    return (Taken(what="drop other", schemas=schemas, cascade=_cascades(node)),)


def _altered(node: Any) -> tuple[Taken, ...]:
    import postgast

    kinds, found = postgast.pg_query_pb2, []
    if kinds.ObjectType.Name(node.objtype) != "OBJECT_TABLE":
        return ()
    relations = (named(node.relation),)
    for item in node.cmds:
        command = item.alter_table_cmd
        name = kinds.AlterTableType.Name(command.subtype).removeprefix("AT_")
        cascade = bool(command.behavior == kinds.DROP_CASCADE)
        if name == "DropColumn":
            found.append(Taken(what="drop column", relations=relations, columns=(command.name,), cascade=cascade))
        elif name == "AlterColumnType" and not _holds_all(getattr(command, "def").column_def):
            found.append(Taken(what="retype column", relations=relations, columns=(command.name,)))
        elif "Trig" in name:
            found.append(Taken(what="alter table", relations=relations))
    return tuple(found)


def _holds_all(column: Any) -> bool:
    names = column.type_name.names
    roomy = bool(names) and names[-1].string.sval in _ROOMY and not column.type_name.typmods
    return roomy and not column.HasField("raw_default")


def switches_role(kind: str, text: str) -> bool:
    """Whether what follows in the file runs as somebody else: SET [LOCAL] ROLE, SET SESSION AUTHORIZATION."""
    words = text.lower().split()[:4]
    return kind == "variable_set_stmt" and ("role" in words or "authorization" in words)
