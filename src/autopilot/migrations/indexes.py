"""What an index or detach statement is about, read with PostgreSQL's own grammar."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from psycopg import sql

from autopilot.migrations import grammar


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """The index that a statement builds: by its name, or where PostgreSQL chooses one, by its definition."""

    name: str
    definition: str

    def is_(self, name: str, definition: str) -> bool:
        """Whether an index of the catalog is this one."""
        return name == self.name if self.name else _definition(_index(definition)) == self.definition


@dataclass(frozen=True, slots=True, kw_only=True)
class Detachment:
    #: Both as SQL, quoted, qualified as the author did.
    parent: str
    partition: str


def wanted(text: str) -> Wanted:
    node = _index(text)
    return Wanted(name=str(node.idxname), definition=_definition(node))


def table(text: str) -> str:
    """The indexed table as SQL, quoted, qualified as the author did."""
    return _quoted(_index(text).relation)


def detachment(text: str) -> Detachment | None:
    """Of ALTER TABLE … DETACH PARTITION …; None for another ALTER TABLE."""
    node = grammar.parse(text)[0].stmt.alter_table_stmt
    for command in node.cmds:
        what = getattr(command.alter_table_cmd, "def")
        if what.WhichOneof("node") == "partition_cmd":
            return Detachment(parent=_quoted(node.relation), partition=_quoted(what.partition_cmd.name))
    return None


def _index(text: str) -> Any:
    return grammar.parse(text)[0].stmt.index_stmt


def _definition(node: Any) -> str:
    """The statement without what differs between what was asked and how the catalog tells it."""
    import postgast

    own = postgast.parse("CREATE INDEX i ON t (a)")
    plain = own.stmts[0].stmt.index_stmt
    plain.CopyFrom(node)
    plain.idxname = ""
    plain.concurrent = plain.if_not_exists = False
    plain.relation.schemaname = plain.relation.catalogname = ""
    plain.access_method = plain.access_method or "btree"
    return str(postgast.deparse(own))


def _quoted(relation: Any) -> str:
    parts = [relation.schemaname, relation.relname] if relation.schemaname else [relation.relname]
    return sql.Identifier(*parts).as_string(None)
