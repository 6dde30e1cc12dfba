"""Rows of a table without a key come back: each found by all that it holds. Of rows that are alike any one will do.

What several statements did to a row, one after the other, is one way back: from what the last of them left to what the first of
them found. A row that somebody changed since is not found any more: what it was stays in the trash.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from autopilot.rollback import row_by_row, trash
from autopilot.rollback.image import Image, Left, Tally
from autopilot.rollback.live import Live, Session, quoted, rows, run
from autopilot.rollback.trash import Kept


@dataclass(slots=True, kw_only=True)
class Unkeyed:
    """The same shape as `rows_back.Rows`; all is done by the first `bring`, and nothing is ever forced."""

    connection: Session
    table: Live
    kept: Kept
    images: tuple[Image, ...]
    since: int
    until: int
    tally: Tally = field(default_factory=Tally)
    work: str = ""
    left: list[Left] = field(default_factory=list)
    done: bool = False

    def open(self) -> None:
        self.work = f"autopilot_trash.w_{trash.new_id(self.connection)}"

    def close(self) -> None:
        """Nothing stays."""

    def bring(self, *, force: bool = False) -> int:  # noqa: ARG002 - nothing here can be forced
        if self.done:
            return 0
        self.done = True
        before = self.tally.restored + self.tally.deleted
        for images in reversed(_of_one_shape(self.images)):
            self._undo(images)
        return self.tally.restored + self.tally.deleted - before

    def take_away(self, *, force: bool = False) -> int:  # noqa: ARG002
        return 0

    def unreturned(self) -> Iterator[Left]:
        yield from self.left

    def _undo(self, images: Sequence[Image]) -> None:
        self._link(images)
        self._follow()
        self._find(images[0])
        self.tally.deleted += self._step(
            f"DELETE FROM {self.table.sql} l USING {self.work} w WHERE w.was IS NULL AND l.ctid = w.at AND l.tableoid = w.part"
        )
        for image in images:
            self.tally.restored += self._step(self._changed(image))
            self.tally.restored += self._step(self._inserted(image))
        self._note_left(images)
        run(self.connection, f"DROP TABLE {self.work}")

    def _link(self, images: Sequence[Image]) -> None:
        """Each row that a statement wrote, and the one before it that left what this one found.

        Of rows that are alike, the balance of left and found ones pairs them: where it comes back to a height, a pair closes.
        A statement finds rows before it leaves any.
        """
        events = " UNION ALL ".join(
            f"SELECT i.moment, i.nth, i.side, {_text(image, 'i')} AS x FROM {image.sql} i"
            f" WHERE i.moment > {self.since} AND i.moment <= {self.until}"
            for image in images
        )
        order = "ORDER BY moment, side = 'n', nth"
        run(
            self.connection,
            f"CREATE UNLOGGED TABLE {self.work}_s AS WITH e AS ({events}),"
            " high AS (SELECT *, sum(CASE side WHEN 'n' THEN 1 ELSE -1 END) OVER (PARTITION BY x"
            f" {order} ROWS UNBOUNDED PRECEDING) + (side = 'o')::int AS height FROM e),"
            " paired AS (SELECT *, lag(moment) OVER h AS of, lag(nth) OVER h AS of_nth,"
            f" lead(moment) OVER h IS NOT NULL AS goes_on FROM high WINDOW h AS (PARTITION BY x, height {order}))"
            " SELECT moment, nth, o.x AS found, n.x AS became, o.of, o.of_nth, coalesce(n.goes_on, false) AS goes_on"
            " FROM (SELECT * FROM paired WHERE side = 'o') o FULL JOIN (SELECT * FROM paired WHERE side = 'n') n"
            " USING (moment, nth)",
        )
        run(self.connection, f"ANALYZE {self.work}_s")

    def _follow(self) -> None:
        """Every row to where it began: each round goes twice as far back."""
        while run(
            self.connection,
            f"UPDATE {self.work}_s w SET of = p.of, of_nth = p.of_nth FROM {self.work}_s p"
            " WHERE p.moment = w.of AND p.nth = w.of_nth AND p.of IS NOT NULL",
        ):
            continue

    def _find(self, image: Image) -> None:
        """What is to be done with which live row, one to one: it goes (was is null), is changed, or comes back (not became)."""
        live = f"ROW({', '.join(_plain(f'l.{quoted(h.live.name)}', h.as_text) for h in image.columns)})::text"
        run(
            self.connection,
            f"CREATE UNLOGGED TABLE {self.work} AS WITH w AS MATERIALIZED (SELECT row_number() OVER () AS id,"
            " CASE WHEN b.found IS NOT NULL THEN b.moment END AS was, b.nth AS was_nth, e.became AS x"
            f" FROM {self.work}_s e JOIN {self.work}_s b"
            " ON b.moment = coalesce(e.of, e.moment) AND b.nth = coalesce(e.of_nth, e.nth)"
            " WHERE NOT e.goes_on AND b.found IS DISTINCT FROM e.became),"
            " n AS (SELECT id, x, row_number() OVER (PARTITION BY x ORDER BY id) AS k FROM w WHERE x IS NOT NULL),"
            " l AS (SELECT part, at, x, row_number() OVER (PARTITION BY x ORDER BY at DESC) AS k FROM ("
            f"SELECT l.tableoid AS part, l.ctid AS at, {live} AS x FROM {self.table.sql} l) q WHERE x IN (SELECT x FROM n))"
            " SELECT w.*, l.part, l.at, w.x IS NOT NULL AS became, NULL::text AS why"
            " FROM w LEFT JOIN n ON n.id = w.id LEFT JOIN l ON l.x = n.x AND l.k = n.k",
        )
        run(self.connection, f"DROP TABLE {self.work}_s")
        run(self.connection, f"ANALYZE {self.work}")

    def _changed(self, image: Image) -> str:
        columns = [h for h in image.columns if not h.live.generated and not h.live.fixed]
        sets = ", ".join(f"{quoted(h.live.name)} = {h.value('o')}" for h in columns)
        return (
            f"UPDATE {self.table.sql} l SET {sets} FROM {self.work} w JOIN {image.sql} o ON o.side = 'o' AND o.moment = w.was"
            " AND o.nth = w.was_nth WHERE l.ctid = w.at AND l.tableoid = w.part"
        )

    def _inserted(self, image: Image) -> str:
        columns = [h for h in image.columns if not h.live.generated]
        names = ", ".join(quoted(h.live.name) for h in columns)
        return (
            f"INSERT INTO {self.table.sql} ({names}) OVERRIDING SYSTEM VALUE SELECT {', '.join(h.value('o') for h in columns)}"
            f" FROM {self.work} w JOIN {image.sql} o ON o.side = 'o' AND o.moment = w.was AND o.nth = w.was_nth"
            " WHERE NOT w.became"
        )

    def _step(self, text: str) -> int:
        return row_by_row.step(self.connection, text, self.work, settled=f"DELETE FROM {self.work} WHERE id = r.id")

    def _note_left(self, images: Sequence[Image]) -> None:
        befores = " UNION ALL ".join(
            f"SELECT moment, nth, {_text(i, 'o')} AS shown, to_jsonb(o)::text AS row FROM {i.sql} o WHERE side = 'o'"
            for i in images
        )
        self.left += rows(
            self.connection,
            f"SELECT w.id, coalesce(w.x, o.shown), coalesce(w.why, 'changed or deleted since'), o.row, NULL"
            f" FROM {self.work} w LEFT JOIN ({befores}) o ON o.moment = w.was AND o.nth = w.was_nth"
            " WHERE w.why IS NOT NULL OR w.became AND w.at IS NULL ORDER BY w.id",
        )


def _of_one_shape(images: Sequence[Image]) -> list[tuple[Image, ...]]:
    """Those that follow each other with the same columns."""
    return [tuple(found) for _, found in itertools.groupby(images, key=lambda i: [(h.live.name, h.as_text) for h in i.columns])]


def _text(image: Image, alias: str) -> str:
    return f"ROW({', '.join(_plain(h.value(alias), h.as_text) for h in image.columns)})::text"


def _plain(value: str, as_text: bool) -> str:
    return f"({value})::text" if as_text else value
