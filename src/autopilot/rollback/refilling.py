"""Rows from a backup go into a table, or values into a column, that was lost and is there again. In the caller's transaction."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from autopilot.errors import Refused
from autopilot.rollback import live
from autopilot.rollback.live import Live, Session, quoted, run

_STAGE = "pg_temp.autopilot_rows"


@dataclass(frozen=True, slots=True, kw_only=True)
class Refilled:
    #: Rows that came back, or that have their value back.
    rows: int
    #: Rows of the table that got no value: the backup does not know them.
    without: int = 0


def refill_table(connection: Session, *, schema: str, table: str, columns: tuple[str, ...], rows: Iterable[bytes]) -> Refilled:
    """columns: in the order of their values; those that the table does not have are passed over. Raises psycopg.Error."""
    target = _target(connection, schema, table)
    _stage(connection, columns, rows)
    known = [c for c in target.columns if c.name in columns and not c.generated]
    names = ", ".join(quoted(c.name) for c in known)
    values = ", ".join(f"{quoted(c.name)}::{c.type}" for c in known)
    done = run(connection, f"INSERT INTO {target.sql} ({names}) OVERRIDING SYSTEM VALUE SELECT {values} FROM {_STAGE}")
    run(connection, f"DROP TABLE {_STAGE}")
    _count_on(connection, target)
    return Refilled(rows=done)


def refill_column(
    connection: Session, *, schema: str, table: str, column: str, columns: tuple[str, ...], rows: Iterable[bytes]
) -> Refilled:
    """By the primary key, or another unique one; the user's triggers do not act. Raises Refused (`nothing_to_match_by`)."""
    target = _target(connection, schema, table)
    wanted, key = target.column(column), target.key
    if wanted is None or key is None or wanted.fixed or not {*key, column} <= set(columns):
        raise Refused(
            f"The values of {column} in {schema}.{table} cannot be brought back: no key tells which row is which.",
            code="nothing_to_match_by",
            hint="Bring them back by hand: `autopilot backup fetch` and pg_restore open a backup.",
        )
    _stage(connection, columns, rows)
    by = [c for c in target.columns if c.name in key]
    same = " AND ".join(f"t.{quoted(c.name)} {c.equal} s.{quoted(c.name)}::{c.type}" for c in by)
    with live.undisturbed(connection, (target,)):
        done = run(
            connection,
            f"UPDATE {target.sql} t SET {quoted(column)} = s.{quoted(column)}::{wanted.type} FROM {_STAGE} s WHERE {same}",
        )
    row = connection.execute(f"SELECT count(*) FROM {target.sql}".encode()).fetchone()
    run(connection, f"DROP TABLE {_STAGE}")
    _count_on(connection, target)
    return Refilled(rows=done, without=(row or (0,))[0] - done)


def _target(connection: Session, schema: str, table: str) -> Live:
    found = live.read(connection, oid=0, schema=schema, name=table)
    if found is None:  # it was made in this transaction
        raise AssertionError
    return found


def _stage(connection: Session, columns: tuple[str, ...], rows: Iterable[bytes]) -> None:
    """All as text: what the columns are of now, the casts tell."""
    listed = ", ".join(f"{quoted(name)} text" for name in columns)
    run(connection, f"CREATE TEMPORARY TABLE autopilot_rows ({listed}) ON COMMIT DROP")
    with connection.cursor().copy(f"COPY {_STAGE} FROM STDIN".encode()) as copy:
        for piece in rows:
            copy.write(piece)
    run(connection, f"ANALYZE {_STAGE}")


def _count_on(connection: Session, target: Live) -> None:
    """Sequences of the table's columns go on after the highest number there, and never go back."""
    for column in target.columns:
        found = connection.execute("SELECT pg_catalog.pg_get_serial_sequence(%s, %s)", (target.sql, column.name)).fetchone()
        if found is not None and found[0] is not None:
            sequence, highest = found[0].replace("'", "''"), f"max({quoted(column.name)})"
            number = f"greatest({highest}, (SELECT last_value FROM {found[0]}))"
            run(connection, f"SELECT pg_catalog.setval('{sequence}', {number}) FROM {target.sql} HAVING {highest} IS NOT NULL")
