"""Columns get back what they held: the column itself is there again, made by who undoes the schema."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from autopilot.postgres.queries import named
from autopilot.rollback import live
from autopilot.rollback.image import live_row, row
from autopilot.rollback.live import Held, Live, Session, quoted
from autopilot.rollback.trash import Kept

_QUERIES = named(__file__, "columns_back.sql")


@dataclass(frozen=True, slots=True, kw_only=True)
class Filled:
    rows: int
    #: Key and why, of rows whose value stays as it is.
    left: tuple[tuple[str, str], ...] = ()
    #: Rows of the copy that the table does not have any more.
    gone: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    table: Live
    #: The copy's columns that the table has.
    all: tuple[Held, ...]
    #: Those that get their values back.
    wanted: tuple[Held, ...]
    #: Those that tell which row is which; all others where the copy has no key.
    key: tuple[Held, ...]
    source: str
    #: What the migration left in them, where that was kept.
    after: str | None
    after_columns: tuple[Held, ...]


def fill(connection: Session, kept: Kept, table: Live, *, theirs: bool = True) -> Filled | None:
    """None where a column that was kept is not in the table. Values that somebody has written since stay, with `theirs`.

    A column made in this very transaction holds nobody's values; in an older one only nulls are filled.
    """
    place = _place(connection, kept, table)
    if len(place.wanted) < len([c for c in kept.columns if not _generated(kept, table, c)]):
        return None
    if not place.wanted:
        return Filled(rows=0)
    if kept.details["key"] is None:
        return _by_whole_rows(connection, place)
    keeps = _keeps(connection, place, theirs=theirs)
    match = " AND ".join(f"l.{quoted(h.live.name)} {h.live.equal} {h.value('k')}" for h in place.key)
    differs = f"NOT {live_row(place.wanted)} OPERATOR(pg_catalog.*=) {row(place.wanted, 'k')}"
    joined = f"autopilot_trash.{place.source} k"
    if place.after is not None:
        same = " AND ".join(f"a.{h.sql} OPERATOR(pg_catalog.=) k.{h.sql}" for h in place.key)
        joined += f" LEFT JOIN autopilot_trash.{place.after} a ON {same}"
    sets = ", ".join(f"{quoted(h.live.name)} = {h.value('k')}" for h in place.wanted)
    done = connection.execute(
        f"UPDATE {table.sql} l SET {sets} FROM {joined} WHERE {match} AND {differs} AND NOT ({keeps})".encode()
    )
    shown = " || ', ' || ".join(f"l.{quoted(h.live.name)}::text" for h in place.key)
    left = connection.execute(
        f"SELECT {shown} FROM {table.sql} l JOIN {joined} ON {match} WHERE {differs} ORDER BY 1".encode()
    ).fetchall()
    gone = connection.execute(
        f"SELECT count(*) FROM autopilot_trash.{place.source} k"
        f" WHERE NOT EXISTS (SELECT FROM {table.sql} l WHERE {match})".encode()
    ).fetchone()
    return Filled(rows=done.rowcount, left=tuple((key, "changed since") for (key,) in left), gone=(gone or (0,))[0])


def _generated(kept: Kept, table: Live, name: str) -> bool:
    """Whether nobody writes it: it is computed, then or now."""
    column = table.column(name)
    then = next((c for c in kept.details["columns"] if c["name"] == name), None)
    return bool((column is not None and column.generated) or (column is None and then is not None and then["generated"]))


def _place(connection: Session, kept: Kept, table: Live) -> _Place:
    columns = kept.details["columns"]
    held = live.held(table, columns, same_table=table.oid == kept.table_oid, numbered=False)
    called = {h.sql: h for h in held}
    key = kept.details["key"]
    wanted = [called[quoted(c)] for c in kept.columns if quoted(c) in called and not called[quoted(c)].live.generated]
    others = [h for h in held if h not in wanted and h.sql not in {quoted(c) for c in kept.columns}]
    after = kept.details.get("after")
    found = json.loads(_types(connection, after)) if after else {}
    return _Place(
        table=table, all=held, wanted=tuple(wanted), source=quoted(kept.kept_as or ""),
        key=tuple(called[quoted(k)] for k in key if quoted(k) in called) if key else tuple(others),
        after=quoted(after) if after else None,
        after_columns=tuple(Held(sql=h.sql, live=h.live, kept_type=found.get(h.sql, "text"), as_text=False) for h in wanted),
    )  # fmt: skip


def _types(connection: Session, table: str) -> str:
    found = connection.execute(_QUERIES["types"], (table,)).fetchone()
    return "{}" if found is None else str(found[0])


def _keeps(connection: Session, place: _Place, *, theirs: bool) -> str:
    """When a value is somebody's own."""
    if not theirs:
        return "false"
    if place.after is not None:
        return f"NOT coalesce({live_row(place.wanted)} OPERATOR(pg_catalog.*=) {row(place.after_columns, 'a')}, false)"
    names = [h.live.name for h in place.wanted]
    made = connection.execute(_QUERIES["made_here"], {"oid": place.table.oid, "names": names}).fetchone()
    if made is not None and made[0]:
        return "false"
    return " OR ".join(f"l.{quoted(name)} IS NOT NULL" for name in names)


def _by_whole_rows(connection: Session, place: _Place) -> Filled:
    """Nothing tells the rows apart: each is found by all else that it holds; of those alike, any."""
    ours = f"ROW({', '.join(h.value('k') for h in place.key)})::text"
    theirs = f"ROW({', '.join(f'l.{quoted(h.live.name)}' for h in place.key)})::text"
    sets = ", ".join(f"{quoted(h.live.name)} = {h.value('k')}" for h in place.wanted)
    table = place.table.sql
    number = "row_number() OVER (PARTITION BY x)"
    kept = f"SELECT at, x, {number} AS n FROM (SELECT k.ctid AS at, {ours} AS x FROM autopilot_trash.{place.source} k) q"
    found = f"SELECT part, at, x, {number} AS n FROM (SELECT l.tableoid AS part, l.ctid AS at, {theirs} AS x FROM {table} l) q"
    done = connection.execute(
        f"WITH o AS ({kept}), t AS ({found}) UPDATE {table} l SET {sets} FROM o JOIN t ON t.x = o.x AND t.n = o.n"
        f" JOIN autopilot_trash.{place.source} k ON k.ctid = o.at WHERE l.ctid = t.at AND l.tableoid = t.part".encode()
    )
    missing: Any = connection.execute(f"SELECT count(*) FROM autopilot_trash.{place.source}".encode()).fetchone()
    return Filled(rows=done.rowcount, gone=missing[0] - done.rowcount)
