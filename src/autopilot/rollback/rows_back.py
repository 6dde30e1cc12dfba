"""Rows of a table with a key come back: each to what it was before the migration first wrote it, whatever wrote it how often.

A row is put right only where it still is what the migration left. What "done" means is read from the rows themselves (the table
holds what it should), so a step may be tried again: first in bulk, and where a constraint stands in the way, row by row.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from autopilot.rollback import live, row_by_row, trash
from autopilot.rollback.image import Image, Left, Tally, has_parent, live_row, referring, row
from autopilot.rollback.live import Live, Session, quoted, rows, run
from autopilot.rollback.trash import Kept


@dataclass(slots=True, kw_only=True)
class Rows:
    """The rows of one table that a stretch of the run wrote, on their way back."""

    connection: Session
    table: Live
    kept: Kept
    images: tuple[Image, ...]
    #: Moments after the first and up to the second belong to it.
    since: int
    until: int
    tally: Tally = field(default_factory=Tally)
    work: str = ""
    updates: int = 0
    inserts: int = 0
    deletes: int = 0
    indexed: bool = False

    @property
    def key(self) -> tuple[str, ...]:
        return self.table.key or ()

    def open(self) -> None:
        """Finds each row's first image and its last: what it was, and what the migration left.

        action: 'u' changed, 'i' gone, 'd' brought by the migration; 'm' moved to another key.
        """
        self.work = f"autopilot_trash.w_{trash.new_id(self.connection)}"
        keys = ", ".join(f"k{n}" for n in range(len(self.key)))
        parts = " UNION ALL ".join(self._moments(image) for image in self.images)
        run(
            self.connection,
            f"CREATE UNLOGGED TABLE {self.work} AS SELECT row_number() OVER () AS id, {keys},"
            " first / 2 AS first, last / 2 AS last,"
            " CASE WHEN first % 2 = 1 THEN 'd' WHEN last % 2 = 1 THEN 'u' ELSE 'i' END::\"char\" AS action,"
            f" NULL::text AS why FROM (SELECT {keys}, min(e) AS first, max(e) AS last FROM ({parts}) m GROUP BY {keys}"
            " HAVING NOT (min(e) % 2 = 1 AND max(e) % 2 = 0)) i",
        )
        run(self.connection, f"ANALYZE {self.work}")
        for image in self.images:
            run(self.connection, f"ANALYZE {image.sql} (moment, side, {', '.join(image.of(k).sql for k in self.key)})")
        counts = "".join(f", count(*) FILTER (WHERE action = '{a}')" for a in "uid").removeprefix(", ")
        self.updates, self.inserts, self.deletes = rows(self.connection, f"SELECT {counts} FROM {self.work}")[0]
        if self.inserts and self.deletes:
            self._link_moved()

    def close(self) -> None:
        run(self.connection, f"DROP TABLE {self.work}")

    def bring(self, *, force: bool = False) -> int:
        """Rows changed go back, rows gone come back; how many did."""
        done = 0
        for first in self.images:
            for last in self.images if self.updates or self.deletes else ():
                done += self._step(self._moved_back(first, last)) if self.inserts and self.deletes else 0
                done += self._step(self._changed_back(first, last, force=force)) if self.updates else 0
            if self.inserts or force:
                if force:
                    done += self._step(self._overwritten(first))
                done += self._step(self._inserted(first, force=force))
        self.tally.restored += done
        return done

    def take_away(self, *, force: bool = False) -> int:
        """Rows that the migration brought go, unless somebody refers to them by now; how many did."""
        done = sum(self._step(self._deleted(last, force=force)) for last in self.images) if self.deletes else 0
        self.tally.deleted += done
        return done

    def missing_again(self) -> int:
        """Only rows that are gone come back; how many did."""
        done = 0
        while moved := sum(self._step(self._inserted(first, force=False)) for first in self.images):
            done += moved
        return done

    def unreturned(self) -> Iterator[Left]:
        """Rows that are not as before."""
        for first in self.images:
            wanted = row(first.columns, "f")
            has = live_row(first.columns)
            yield from rows(
                self.connection,
                f"SELECT w.id, {self._key_text()}, CASE"
                " WHEN w.why IS NOT NULL THEN w.why"
                " WHEN l.found IS NULL AND w.action = 'u' THEN 'deleted since'"
                " WHEN l.found IS NULL THEN 'what it refers to is gone, or its place is taken'"
                " WHEN w.action = 'i' THEN 'made again since' ELSE 'changed since' END,"
                f" to_jsonb(f)::text, l.found::text"
                f" FROM {self.work} w JOIN {first.sql} f ON f.side = 'o' AND f.moment = w.first AND {self._match(first, 'f')}"
                f" LEFT JOIN LATERAL (SELECT to_jsonb(l) AS found, {has} AS has FROM {self.table.sql} l"
                f" WHERE {self._live_match()}) l ON true"
                f" WHERE w.action IN ('u', 'i') AND (l.found IS NULL OR NOT l.has OPERATOR(pg_catalog.*=) {wanted})",
            )
        for last in self.images:
            wanted, has = row(last.columns, "n"), live_row(last.columns)
            yield from rows(
                self.connection,
                f"SELECT w.id, {self._key_text()}, CASE WHEN NOT {has} OPERATOR(pg_catalog.*=) {wanted} THEN 'changed since'"
                f" ELSE coalesce(w.why, 'rows written since refer to it') END, NULL, to_jsonb(l)::text"
                f" FROM {self.work} w JOIN {self.table.sql} l ON {self._live_match()}"
                f" JOIN {last.sql} n ON n.side = 'n' AND n.moment = w.last AND {self._match(last, 'n')}"
                " WHERE w.action = 'd'",
            )
        if self.inserts and self.deletes:
            yield from self._unmoved()

    def _unmoved(self) -> Iterator[Left]:
        """Rows that are not under their key of before again."""
        for first in self.images:
            was = " AND ".join(f"{first.of(name).value('f')} {self._column(n).equal} w.was{n}" for n, name in enumerate(self.key))
            there = " AND ".join(f"l.{quoted(name)} {self._column(n).equal} w.was{n}" for n, name in enumerate(self.key))
            yield from rows(
                self.connection,
                f"SELECT w.id, {self._key_text()}, coalesce(w.why, 'changed or deleted since'), to_jsonb(f)::text,"
                f" (SELECT to_jsonb(l)::text FROM {self.table.sql} l WHERE {self._live_match()})"
                f" FROM {self.work} w JOIN {first.sql} f ON f.side = 'o' AND f.moment = w.first AND {was}"
                f" WHERE w.action = 'm' AND NOT EXISTS (SELECT FROM {self.table.sql} l WHERE {there}"
                f" AND {live_row(first.columns)} OPERATOR(pg_catalog.*=) {row(first.columns, 'f')})",
            )

    def _moments(self, image: Image) -> str:
        keys = ", ".join(f"{image.of(name).value('i')} AS k{n}" for n, name in enumerate(self.key))
        return (
            f"SELECT {keys}, i.moment * 2 + (i.side = 'n')::int AS e FROM {image.sql} i"
            f" WHERE i.moment > {self.since} AND i.moment <= {self.until}"
        )

    def _link_moved(self) -> None:
        """Rows whose key the migration changed: the row to delete is the row to put back, under its key of before."""
        for n in range(len(self.key)):
            run(self.connection, f"ALTER TABLE {self.work} ADD COLUMN was{n} {self._column(n).type}")
        for image in self.images:
            edges = (
                f"SELECT d.id AS gone, {', '.join(f'b.k{n} AS k{n}' for n in range(len(self.key)))}, b.id AS back, b.first"
                f" FROM {image.sql} o JOIN {image.sql} n ON n.moment = o.moment AND n.nth = o.nth AND n.side = 'n'"
                f" JOIN {self.work} b ON {self._match(image, 'o', 'b')} AND b.first = o.moment AND b.action = 'i'"
                f" JOIN {self.work} d ON {self._match(image, 'n', 'd')} AND d.action = 'd' AND d.last = n.moment"
                " WHERE o.side = 'o'"
            )
            set_ = ", ".join(f"was{n} = e.k{n}" for n in range(len(self.key)))
            run(
                self.connection,
                f"UPDATE {self.work} w SET {set_}, first = e.first, action = 'm' FROM ({edges}) e WHERE w.id = e.gone",
            )
            gone = " AND ".join(f"w.k{n} {self._column(n).equal} g.was{n}" for n in range(len(self.key)))
            run(
                self.connection,
                f"DELETE FROM {self.work} w USING {self.work} g WHERE g.action = 'm' AND {gone} AND w.action = 'i'",
            )

    def _changed_back(self, first: Image, last: Image, *, force: bool) -> str:
        same = "true" if force else f"{live_row(last.columns)} OPERATOR(pg_catalog.*=) {row(last.columns, 'n')}"
        differs = f"NOT {live_row(first.columns)} OPERATOR(pg_catalog.*=) {row(first.columns, 'f')}"
        parents = " AND ".join(["true", *(has_parent(key, first, unless=last) for key in self.table.refers_to)])
        return (
            f"UPDATE {self.table.sql} l SET {self._set(first, 'f')} FROM {self.work} w"
            f" JOIN {first.sql} f ON f.side = 'o' AND f.moment = w.first AND {self._match(first, 'f')}"
            f" JOIN {last.sql} n ON n.side = 'n' AND n.moment = w.last AND {self._match(last, 'n')}"
            f" WHERE w.action = 'u' AND {self._live_match()} AND {same} AND {differs} AND {parents}"
        )

    def _moved_back(self, first: Image, last: Image) -> str:
        same = f"{live_row(last.columns)} OPERATOR(pg_catalog.*=) {row(last.columns, 'n')}"
        was = " AND ".join(f"{first.of(name).value('f')} {self._column(n).equal} w.was{n}" for n, name in enumerate(self.key))
        return (
            f"UPDATE {self.table.sql} l SET {self._set(first, 'f')} FROM {self.work} w"
            f" JOIN {first.sql} f ON f.side = 'o' AND f.moment = w.first AND {was}"
            f" JOIN {last.sql} n ON n.side = 'n' AND n.moment = w.last AND {self._match(last, 'n')}"
            f" WHERE w.action = 'm' AND {self._live_match()} AND {same}"
        )

    def _overwritten(self, first: Image) -> str:
        """Somebody made a row of that key again: told to, ours takes its place."""
        differs = f"NOT {live_row(first.columns)} OPERATOR(pg_catalog.*=) {row(first.columns, 'f')}"
        return (
            f"UPDATE {self.table.sql} l SET {self._set(first, 'f')} FROM {self.work} w"
            f" JOIN {first.sql} f ON f.side = 'o' AND f.moment = w.first AND {self._match(first, 'f')}"
            f" WHERE w.action = 'i' AND {self._live_match()} AND {differs}"
        )

    def _inserted(self, first: Image, *, force: bool) -> str:
        columns = [h for h in first.columns if not h.live.generated]
        names = ", ".join(quoted(h.live.name) for h in columns)
        values = ", ".join(h.value("f") for h in columns)
        actions = "'i', 'u'" if force else "'i'"
        parents = " AND ".join(["true", *(has_parent(key, first) for key in self.table.refers_to)])
        late = "" if self.table.checks_late else " ON CONFLICT DO NOTHING"
        return (
            f"INSERT INTO {self.table.sql} ({names}) OVERRIDING SYSTEM VALUE SELECT {values} FROM {self.work} w"
            f" JOIN {first.sql} f ON f.side = 'o' AND f.moment = w.first AND {self._match(first, 'f')}"
            f" WHERE w.action IN ({actions}) AND {parents}"
            f" AND NOT EXISTS (SELECT FROM {self.table.sql} l WHERE {self._live_match()}){late}"
        )

    def _deleted(self, last: Image, *, force: bool) -> str:
        same = "true" if force else f"{live_row(last.columns)} OPERATOR(pg_catalog.*=) {row(last.columns, 'n')}"
        free = " AND ".join(["true", *(f"NOT EXISTS ({referring(key)})" for key in self.table.referred_by)])
        return (
            f"DELETE FROM {self.table.sql} l USING {self.work} w"
            f" JOIN {last.sql} n ON n.side = 'n' AND n.moment = w.last AND {self._match(last, 'n')}"
            f" WHERE w.action = 'd' AND {self._live_match()} AND {same} AND {free}"
        )

    def _step(self, text: str) -> int:
        settled = f"UPDATE {self.work} SET why = NULL WHERE id = r.id AND why IS NOT NULL"
        return row_by_row.step(self.connection, text, self.work, settled=settled, before=self._index)

    def _index(self) -> None:
        if not self.indexed:
            for image in self.images:
                run(self.connection, f"CREATE INDEX ON {image.sql} ({', '.join(image.of(name).sql for name in self.key)})")
        self.indexed = True

    def _set(self, image: Image, alias: str) -> str:
        moves = [h for h in image.columns if not h.live.generated and not h.live.fixed]
        return ", ".join(f"{quoted(h.live.name)} = {h.value(alias)}" for h in moves)

    def _match(self, image: Image, alias: str, work: str = "w") -> str:
        return " AND ".join(
            f"{image.of(name).value(alias)} {self._column(n).equal} {work}.k{n}" for n, name in enumerate(self.key)
        )

    def _live_match(self) -> str:
        return " AND ".join(f"l.{quoted(name)} {self._column(n).equal} w.k{n}" for n, name in enumerate(self.key))

    def _key_text(self) -> str:
        return " || ', ' || ".join(f"w.k{n}::text" for n in range(len(self.key)))

    def _column(self, number: int) -> live.Column:
        column = self.table.column(self.key[number])
        if column is None:  # pragma: no cover - a key's columns are the table's
            raise AssertionError
        return column
