"""One entry of the trash comes back by hand. Nothing is ever written over: what stands in its place is named instead."""

from __future__ import annotations

from autopilot.errors import Refused
from autopilot.rollback import columns_back, live, tables_back, trash
from autopilot.rollback.live import Live, Session, quoted
from autopilot.rollback.returning import works
from autopilot.rollback.rows_back import Rows
from autopilot.rollback.trash import Kept


def put_back(connection: Session, kept: Kept) -> str:
    """Puts a table in its place, fills a column, or puts deleted rows back; says in a sentence what it did.

    Raises Refused (`trash_restored`, `trash_name_taken`, `trash_schema_missing`, `trash_incomplete`, `trash_table_missing`,
    `trash_column_missing`, `trash_rows_without_key`, `trash_only_to_read`).
    """
    if kept.restored_at is not None:
        raise Refused(
            f"{kept.name} came back at {kept.restored_at:%Y-%m-%d %H:%M} UTC already.",
            code="trash_restored", hint="`autopilot trash list` shows what has not.",
        )  # fmt: skip
    if kept.how == "conflicts":
        raise Refused(
            f"Entry {kept.id} holds rows of {kept.schema}.{kept.table} that gave way or did not come back.",
            code="trash_only_to_read", hint=f"Look at them: SELECT * FROM autopilot_trash.{quoted(kept.kept_as or '')};",
        )  # fmt: skip
    told = {"table": _table, "column": _column, "rows": _rows}[kept.what](connection, kept)
    trash.came_back(connection, kept, notes=told)
    return told


def _table(connection: Session, kept: Kept) -> str:
    landed = tables_back.move(connection, kept) if kept.how == "move" else tables_back.make(connection, kept)
    how = "as it was" if kept.how == "move" and not kept.is_undone else f"with {landed.rows:,} rows"
    gone = ["its foreign keys, triggers and policies went when it was undone"] if kept.is_undone else []
    return "; ".join([f"{kept.name} is back, {how}", *gone, *landed.notes]) + "."


def _column(connection: Session, kept: Kept) -> str:
    table = _live(connection, kept)
    if kept.is_undone and (missing := [c for c in kept.columns if table.column(c) is None]):
        raise Refused(
            f"{kept.schema}.{kept.table} has no column {', '.join(missing)}: the release that made it was undone.",
            code="trash_column_missing",
            hint="Push a migration that makes it again, then run this: it fills what is null there. To look at what was kept:"
            f" SELECT * FROM autopilot_trash.{quoted(kept.kept_as or '')};",
        )  # fmt: skip
    made = []
    for name in kept.columns:
        then = next(c for c in kept.details["columns"] if c["name"] == name)
        if table.column(name) is None and not then["generated"]:
            connection.execute(f"ALTER TABLE {table.sql} ADD COLUMN {quoted(name)} {then['type']}".encode())
            made.append(name)
    table = _live(connection, kept)
    with live.undisturbed(connection, [table]):
        filled = columns_back.fill(connection, kept, table)
    if filled is None:
        raise Refused(
            f"{kept.name} cannot be filled: it is computed from others.",
            code="trash_incomplete", hint="Add the column with its expression; it fills itself.",
        )  # fmt: skip
    added = f"{', '.join(made)} made again without default and constraints; " if made else ""
    left = f"; {len(filled.left)} rows keep what was written since" if filled.left else ""
    gone = f"; {filled.gone} rows of then are not found any more" if filled.gone else ""
    return f"{kept.name}: {added}{filled.rows:,} rows filled{left}{gone}."


def _rows(connection: Session, kept: Kept) -> str:
    table = _live(connection, kept)
    work = next(iter(works(connection, [kept], [], since=0, until=trash.new_id(connection))), None)
    if not isinstance(work, Rows):
        raise Refused(
            f"{table.schema}.{table.name} has no key that tells which of its rows are gone.",
            code="trash_rows_without_key",
            hint=f"`autopilot rollback --to {kept.run}` undoes the whole run; its rows are in autopilot_trash.",
        )  # fmt: skip
    with live.undisturbed(connection, [table]):
        work.open()
        done = work.missing_again()
        gone = work.inserts
        work.close()
    left = f"; {gone - done} stay in the trash, their place is taken or what they refer to is gone" if gone > done else ""
    return f"{done:,} deleted rows of {table.schema}.{table.name} are back; changed ones stay as they are{left}."


def _live(connection: Session, kept: Kept) -> Live:
    table = live.read(connection, oid=kept.table_oid, schema=kept.schema, name=kept.table)
    if table is None:
        raise Refused(
            f"The table {kept.schema}.{kept.table} is not there.",
            code="trash_table_missing", hint="Bring the table back first; `autopilot trash list` shows whether it is kept.",
        )  # fmt: skip
    return table
