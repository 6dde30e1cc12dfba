"""What tables hold, in numbers that do not hang on the order of rows or columns: for telling whether a way back led back."""

from __future__ import annotations

from typing import Any

import psycopg

from autopilot.postgres.queries import named
from autopilot.rollback.snapshot import LEFT_OUT

_QUERIES = named(__file__, "contents.sql")
_ROWS = "SELECT pg_catalog.count(*), pg_catalog.sum(pg_catalog.hashtextextended(ROW({columns})::text, 0))::text FROM ONLY {table}"

#: By "schema.table": how many rows, and the sum of their hashes.
Contents = dict[str, tuple[int, str | None]]


def read(connection: psycopg.Connection[Any]) -> Contents:
    """Of every table that the role may read, but for Autopilot's own. Raises psycopg.Error."""
    found: Contents = {}
    with connection.transaction():
        for table, columns in connection.execute(_QUERIES["tables"], {"left_out": list(LEFT_OUT)}).fetchall():
            row = connection.execute(_ROWS.format(columns=columns, table=table).encode()).fetchone()
            found[table] = (0, None) if row is None else (row[0], row[1])
    return found


def differences(was: Contents, found: Contents) -> list[str]:
    """In sentences."""
    return [
        f"the rows of {table} are not what they were"
        for table in sorted(was.keys() | found.keys())
        if was.get(table) != found.get(table)
    ]
