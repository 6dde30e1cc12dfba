"""Foreign keys of what is put back, to rows that are gone since: the key's own ON DELETE is carried out, and told."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from autopilot.errors import RolledBack
from autopilot.measures import counted
from autopilot.rollback import live
from autopilot.rollback.live import Live, Session, quoted

_ACTIONS = {"c": "deleted", "n": "set to null", "d": "set to the default", "a": "deleted", "r": "deleted"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """A foreign key as the archive makes it."""

    schema: str
    table: str
    name: str
    columns: tuple[str, ...]
    parent_schema: str
    parent: str
    parent_columns: tuple[str, ...]
    #: As in pg_constraint.confdeltype.
    on_delete: str
    #: ON DELETE SET NULL (…) may name some of the columns.
    set_columns: tuple[str, ...]
    checked: bool
    #: The command that makes it.
    text: str

    @property
    def child(self) -> tuple[str, str]:
        return self.schema, self.table


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """Restored rows whose parent was gone."""

    table: str
    constraint: str
    parent: str
    #: "deleted", "set to null", "set to the default".
    how: str
    rows: int

    @property
    def words(self) -> str:
        whose = f"{counted(self.rows, 'row')} of {self.table}"
        return f"{whose} {self.how}: no parent in {self.parent} any more ({self.constraint})"


def keys(text: str) -> tuple[Key, ...]:
    """The foreign keys that the archive's commands add. Raises postgast.PgQueryError."""
    import postgast

    raw = text.encode()
    found = []
    for one in postgast.parse(text).stmts if text.strip() else ():
        start = one.stmt_location
        words = raw[start : start + one.stmt_len if one.stmt_len else len(raw)].decode().strip()
        statement = one.stmt.alter_table_stmt
        found += [_key(statement.relation, getattr(c.alter_table_cmd, "def").constraint, words) for c in statement.cmds]
    return tuple(found)


def _key(relation: Any, added: Any, words: str) -> Key:
    return Key(
        schema=relation.schemaname, table=relation.relname, name=added.conname,
        columns=_strings(added.fk_attrs), parent_schema=added.pktable.schemaname, parent=added.pktable.relname,
        parent_columns=_strings(added.pk_attrs), on_delete=added.fk_del_action or "a",
        set_columns=_strings(added.fk_del_set_cols), checked=not added.skip_validation, text=words,
    )  # fmt: skip


def _strings(nodes: Iterable[Any]) -> tuple[str, ...]:
    return tuple(node.string.sval for node in nodes)


def settle(
    connection: Session, all_keys: Sequence[Key], doubtful: Callable[[Key], bool], *, placed: Callable[[str], str] = lambda s: s
) -> tuple[Settled, ...]:
    """Carries out ON DELETE wherever a parent is missing, down to whoever refers to what is deleted by that.

    all_keys: none of them is there yet. doubtful: which to look at. placed: the schema where a restored one lies for now.
    """
    found: list[Settled] = []
    waiting = [key for key in all_keys if key.checked and doubtful(key)]
    while waiting:
        key = waiting.pop(0)
        for settled in _settle(connection, key, placed):
            found.append(settled)
            if settled.how == "deleted":
                waiting += [k for k in all_keys if k.checked and (k.parent_schema, k.parent) == key.child and k not in waiting]
    return tuple(found)


def _settle(connection: Session, key: Key, placed: Callable[[str], str]) -> Iterator[Settled]:
    """`=` between the columns as the key's own index would have it."""
    child = _table(connection, placed(key.schema), key.table)
    parent = _table(connection, placed(key.parent_schema), key.parent)
    orphan = orphans(key, parent)
    row = connection.execute(f"SELECT count(*) FROM {child.sql} c WHERE {orphan}".encode()).fetchone()
    if not row or not row[0]:
        return
    how = _ACTIONS[key.on_delete]
    for manner in [how, "deleted"] if how == "set to the default" else [how]:
        rows = connection.execute(_command(key, child.sql, orphan, manner).encode()).rowcount
        if rows > 0:
            yield Settled(
                table=f"{key.schema}.{key.table}",
                constraint=key.name,
                parent=f"{key.parent_schema}.{key.parent}",
                how=manner,
                rows=rows,
            )


def _command(key: Key, child: str, orphan: str, how: str) -> str:
    if how == "deleted":
        return f"DELETE FROM {child} c WHERE {orphan}"
    value = "NULL" if how == "set to null" else "DEFAULT"
    columns = ", ".join(f"{quoted(column)} = {value}" for column in key.set_columns or key.columns)
    return f"UPDATE {child} c SET {columns} WHERE {orphan}"


def orphans(key: Key, parent: Live) -> str:
    """The condition on a child's row `c` that its parent is missing."""
    filled = " AND ".join(f"c.{quoted(column)} IS NOT NULL" for column in key.columns)
    equal = " AND ".join(
        f"p.{quoted(theirs)} {_equal(parent, theirs)} c.{quoted(ours)}"
        for theirs, ours in zip(key.parent_columns, key.columns, strict=True)
    )
    return f"{filled} AND NOT EXISTS (SELECT FROM {parent.sql} p WHERE {equal})"


def _equal(table: Live, name: str) -> str:
    column = table.column(name)
    return column.equal if column is not None else "="


def _table(connection: Session, schema: str, name: str) -> Live:
    found = live.read(connection, oid=0, schema=schema, name=name)
    if found is None:
        raise RolledBack(
            f"the table {schema}.{name}, which the backup refers to, is not there",
            code="quarantine_failed", hint="Make it again, or restore into a new database.",
        )  # fmt: skip
    return found


def moved(settled: Sequence[Settled]) -> dict[str, int]:
    """Rows deleted, by table."""
    total: dict[str, int] = {}
    for one in settled:
        if one.how == "deleted":
            total[one.table] = total.get(one.table, 0) + one.rows
    return total
