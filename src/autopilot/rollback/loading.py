"""Rows of an archive beside the live ones: in temporary tables, every value as the text that the backup has of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import psycopg
from psycopg import errors

from autopilot.errors import Refused, RolledBack
from autopilot.postgres.queries import named
from autopilot.rollback.live import Session, quoted
from autopilot.rollback.quarantine.archive import Copy
from autopilot.rollback.quarantine.inventory import plain_names

_QUERIES = named(__file__, "merge.sql")


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """A table of the archive in a temporary table, every value as the text that the backup has of it."""

    place: str
    #: Each column's type then, as PostgreSQL calls it.
    types: Mapping[str, str]
    rows: int


def load(connection: Session, copies: Iterable[Copy], definition: Callable[[str, str], str]) -> dict[tuple[str, str], Loaded]:
    """The rows in temporary tables, which go with the transaction. Needs the right TEMPORARY.

    definition: a table's CREATE TABLE in the archive. Raises Refused (`merge_types_differ`) where a type of then is not there.
    """
    with explained(connection), plain_names(connection):
        return {
            (copy.schema, copy.table): _loaded(connection, number, copy, definition(copy.schema, copy.table))
            for number, copy in enumerate(copies)
        }


def _loaded(connection: Session, number: int, copy: Copy, definition: str) -> Loaded:
    types = _types(connection, definition, f"{copy.schema}.{copy.table}")
    columns = _columns(copy.statement)
    name = f"autopilot_merge_{number}"
    listed = ", ".join(f"{quoted(c)} text" for c in columns)
    connection.execute(f"CREATE TEMP TABLE {name} ({listed}) ON COMMIT DROP".encode())
    with connection.cursor() as cursor:
        with cursor.copy(f"COPY pg_temp.{name} FROM stdin".encode()) as target:
            for piece in copy.pieces:
                target.write(piece)
        rows = cursor.rowcount
    return Loaded(place=f"pg_temp.{name}", types={c: types[c] for c in columns}, rows=rows)


def _columns(statement: str) -> tuple[str, ...]:
    """COPY s.t (a, "b") FROM stdin → a, b."""
    import postgast

    attributes = postgast.parse(statement).stmts[0].stmt.copy_stmt.attlist
    return tuple(node.string.sval for node in attributes)


def bare(definition: str, name: str) -> str:
    """A CREATE TABLE's columns and their types, and nothing else of it, as a temporary table."""
    import postgast

    tree = postgast.parse(definition)
    created = next(one.stmt.create_stmt for one in tree.stmts if one.stmt.HasField("create_stmt"))
    for field in ("constraints", "inh_relations", "options", "partbound", "partspec", "access_method", "tablespacename"):
        created.ClearField(field)
    columns = [element for element in created.table_elts if element.HasField("column_def")]
    for element in columns:
        element.column_def.ClearField("constraints")
        element.column_def.ClearField("storage_name")
    del created.table_elts[:]
    created.table_elts.extend(columns)
    created.relation.schemaname, created.relation.relname, created.relation.relpersistence = "", name, "t"
    made = next(one for one in tree.stmts if one.stmt.HasField("create_stmt"))
    alone = type(tree)(version=tree.version, stmts=[made])
    return str(postgast.deparse(alone))


def _types(connection: Session, definition: str, table: str) -> dict[str, str]:
    name = "autopilot_merge_types"
    try:
        with connection.transaction():
            connection.execute(bare(definition, name).encode())
    except (errors.UndefinedObject, errors.InvalidSchemaName) as cause:
        raise Refused(
            f"The rows of {table} cannot be merged from the backup: {cause.diag.message_primary}.",
            code="merge_types_differ", hint="Undo the change of the schema first, or take another route.",
        ) from cause  # fmt: skip
    rows = connection.execute(_QUERIES["types"], {"table": f"pg_temp.{name}"}).fetchall()
    connection.execute(f"DROP TABLE pg_temp.{name}".encode())
    return dict(rows)


@contextmanager
def explained(connection: Session) -> Iterator[None]:
    """PostgreSQL's refusals as ours; a lost link stays what it is."""
    try:
        yield
    except psycopg.Error as cause:
        if connection.broken or connection.closed or cause.diag.sqlstate is None:
            raise
        detail = f" ({cause.diag.message_detail.rstrip('.')})" if cause.diag.message_detail else ""
        busy = isinstance(cause, errors.LockNotAvailable | errors.DeadlockDetected | errors.QueryCanceled)
        raise RolledBack(
            f"PostgreSQL refused the merge from the backup: {cause.diag.message_primary}{detail}.",
            code="merge_failed", hint="Run again." if busy else "Take another route, or do as the message says and run again.",
            retryable=busy,
        ) from cause  # fmt: skip
