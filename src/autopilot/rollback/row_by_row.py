"""One statement over many rows: in bulk, and where a constraint stands in the way, row by row, leaving what it lets not pass."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import psycopg

from autopilot.rollback.live import Session


def step(connection: Session, text: str, work: str, *, settled: str, before: Callable[[], None] = lambda: None) -> int:
    """Runs `text`, which takes its rows from the table `work` as `w`; how many rows it wrote.

    Row by row it goes forwards and backwards until nothing moves any more. `work` has the columns id and why: what stood in the
    way of a row is noted there.

    settled: what becomes of a row in `work` that went through, after "r.id".
    before: called once before it goes row by row.
    """
    try:
        with connection.transaction():
            return connection.execute(text.encode()).rowcount
    except psycopg.IntegrityError:
        before()
        one = text.replace(f"{work} w", f"(SELECT * FROM {work} WHERE id = $1) w", 1).replace("'", "''")
        done, orders = 0, itertools.cycle(("ASC", "DESC"))
        while moved := _looped(connection, one, work, settled, next(orders)):
            done += moved
        return done


def _looped(connection: Session, one: str, work: str, settled: str, order: str) -> int:
    connection.execute((
        "DO $autopilot$ DECLARE r record; n bigint; done bigint := 0; BEGIN"
        f" FOR r IN SELECT id FROM {work} ORDER BY id {order} LOOP"
        f" BEGIN EXECUTE '{one}' USING r.id; GET DIAGNOSTICS n = ROW_COUNT; done := done + n;"
        f" IF n > 0 THEN {settled}; END IF;"
        f" EXCEPTION WHEN integrity_constraint_violation THEN UPDATE {work} SET why = SQLERRM WHERE id = r.id; END;"
        " END LOOP; PERFORM set_config('autopilot_trash.done', done::text, true); END $autopilot$"
    ).encode())  # fmt: skip
    row = connection.execute("SELECT current_setting('autopilot_trash.done')").fetchone()
    return int(row[0]) if row else 0
