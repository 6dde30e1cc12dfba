"""Rows of a table without a key come back: statement by statement, the last first, each row found by all that it holds.

Of rows that are alike any one will do. A row that somebody changed since is not found any more: what it was stays in the trash.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import psycopg

from autopilot.rollback import trash
from autopilot.rollback.image import Image, Left, Tally
from autopilot.rollback.live import Live, Session, quoted
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
        for image, moment, was, became in self._moments():
            self._undo(image, moment, was=was, became=became)
        return self.tally.restored + self.tally.deleted - before

    def take_away(self, *, force: bool = False) -> int:  # noqa: ARG002
        return 0

    def unreturned(self) -> Iterator[Left]:
        yield from self.left

    def _moments(self) -> list[tuple[Image, int, bool, bool]]:
        found = []
        for image in self.images:
            rows = self._rows(
                f"SELECT moment, bool_or(side = 'o'), bool_or(side = 'n') FROM {image.sql}"
                f" WHERE moment > {self.since} AND moment <= {self.until} GROUP BY moment"
            )
            found += [(image, row[0], row[1], row[2]) for row in rows]
        return sorted(found, key=lambda x: -x[1])

    def _undo(self, image: Image, moment: int, *, was: bool, became: bool) -> None:
        if became:
            self._find(image, moment)
        if not became:
            self.tally.restored += self._step(self._inserted(image, moment), image, moment)
        elif was:
            self.tally.restored += self._step(self._changed(image, moment), image, moment)
        else:
            self.tally.deleted += self._step(
                f"DELETE FROM {self.table.sql} l USING {self.work} m WHERE l.ctid = m.at AND l.tableoid = m.part", image, moment
            )
        if became:
            self._note_missing(image, moment)
            self._run(f"DROP TABLE {self.work}")

    def _find(self, image: Image, moment: int) -> None:
        """Which live row is which of the rows that a statement left, one to one."""
        theirs = f"ROW({', '.join(_plain(f'l.{quoted(h.live.name)}', h.as_text) for h in image.columns)})::text"
        self._run(
            f"CREATE UNLOGGED TABLE {self.work} AS WITH n AS MATERIALIZED ("
            f"SELECT nth, {self._text(image)} AS x, row_number() OVER (PARTITION BY {self._text(image)} ORDER BY nth) AS k"
            f" FROM {image.sql} n WHERE moment = {moment} AND side = 'n'), l AS ("
            "SELECT part, at, x, row_number() OVER (PARTITION BY x ORDER BY at DESC) AS k FROM ("
            f"SELECT l.tableoid AS part, l.ctid AS at, {theirs} AS x FROM {self.table.sql} l) q WHERE x IN (SELECT x FROM n))"
            " SELECT n.nth, l.part, l.at FROM n JOIN l ON l.x = n.x AND l.k = n.k"
        )
        self._run(f"ANALYZE {self.work}")

    def _text(self, image: Image) -> str:
        return f"ROW({', '.join(_plain(h.value('n'), h.as_text) for h in image.columns)})::text"

    def _changed(self, image: Image, moment: int) -> str:
        columns = [h for h in image.columns if not h.live.generated and not h.live.fixed]
        sets = ", ".join(f"{quoted(h.live.name)} = {h.value('o')}" for h in columns)
        return (
            f"UPDATE {self.table.sql} l SET {sets} FROM {self.work} m JOIN {image.sql} o ON o.nth = m.nth AND o.side = 'o'"
            f" AND o.moment = {moment} WHERE l.ctid = m.at AND l.tableoid = m.part"
        )

    def _inserted(self, image: Image, moment: int) -> str:
        columns = [h for h in image.columns if not h.live.generated]
        names = ", ".join(quoted(h.live.name) for h in columns)
        return (
            f"INSERT INTO {self.table.sql} ({names}) OVERRIDING SYSTEM VALUE SELECT {', '.join(h.value('o') for h in columns)}"
            f" FROM {image.sql} o WHERE o.moment = {moment} AND o.side = 'o'"
        )

    def _step(self, text: str, image: Image, moment: int) -> int:
        """In bulk, or where a constraint stands in the way row by row; what it lets not pass is left."""
        try:
            with self.connection.transaction():
                return self._run(text)
        except psycopg.IntegrityError:
            done = 0
        source = "m" if f"{self.work} m" in text else "o"
        side = "n" if source == "m" else "o"
        nths = self._rows(f"SELECT nth, {self._text(image)} FROM {image.sql} n WHERE moment = {moment} AND side = '{side}'")
        for nth, shown in nths:
            try:
                with self.connection.transaction():
                    done += self._run(f"{text} AND {source}.nth = {nth}")
            except psycopg.IntegrityError as cause:
                self._leave(image, moment, nth, shown, str(cause.diag.message_primary))
        return done

    def _note_missing(self, image: Image, moment: int) -> None:
        missing = self._rows(
            f"SELECT n.nth, {self._text(image)} FROM {image.sql} n WHERE n.moment = {moment} AND n.side = 'n'"
            f" AND NOT EXISTS (SELECT FROM {self.work} m WHERE m.nth = n.nth)"
        )
        for nth, shown in missing:
            self._leave(image, moment, nth, shown, "changed or deleted since")

    def _leave(self, image: Image, moment: int, nth: int, shown: str, why: str) -> None:
        before = self._rows(f"SELECT to_jsonb(o)::text FROM {image.sql} o WHERE moment = {moment} AND nth = {nth} AND side = 'o'")
        self.left.append((len(self.left) + 1, shown, why, before[0][0] if before else None, None))

    def _run(self, text: str) -> int:
        return self.connection.execute(text.encode()).rowcount

    def _rows(self, text: str) -> list[Any]:
        return self.connection.execute(text.encode()).fetchall()


def _plain(value: str, as_text: bool) -> str:
    return f"({value})::text" if as_text else value
