"""Going back: what a run destroyed or wrote, put right from the trash, in the caller's transaction, the last statement first.

    bring_back_tables(connection, run_id) -> Returned     before the schema is compared: a moved table is then as it was
    …                                                     the schema is undone (reverse DDL), so that tables and columns are there
    undo(connection, run_id, theirs=True) -> Returned     all that is left: copies of tables, columns, rows
    fill_columns(connection, run_id) -> Returned          the columns alone, where they must be full before a NOT NULL

Each may be called again: what came back is marked and left alone. A row that somebody changed since is a conflict: theirs stays,
unless `theirs=False`; what then gives way, like all that does not come back, is kept in the trash as a table of its own.
A row that the migration brought stays where rows written since refer to it, whatever is told. Sequences are never set back.
User's triggers do not act meanwhile, foreign keys bind as ever.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from autopilot.measures import counted
from autopilot.rollback import columns_back, live, tables_back, trash
from autopilot.rollback.image import Image, Left, Unreturned
from autopilot.rollback.live import Live, Session, quoted
from autopilot.rollback.rows_back import Rows
from autopilot.rollback.trash import Kept
from autopilot.rollback.unkeyed_back import Unkeyed

#: Conflicts that a report lists; all of them are kept.
LISTED = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class TableBack:
    """What came of one table."""

    #: "schema.table".
    table: str
    #: Rows put back, or columns filled in so many rows; of a moved table PostgreSQL's estimate.
    restored: int = 0
    #: Rows that the migration had brought, and that are gone again.
    deleted: int = 0
    conflicts: int = 0
    #: What is not as it was, in sentences.
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Returned:
    tables: tuple[TableBack, ...] = ()
    #: At most `LISTED`.
    conflicts: tuple[Unreturned, ...] = ()
    #: How many there are.
    conflicts_in_all: int = 0
    #: Entries that must wait: their table or column is not there.
    waiting: tuple[Kept, ...] = ()

    @property
    def restored(self) -> int:
        return sum(t.restored for t in self.tables)

    @property
    def deleted(self) -> int:
        return sum(t.deleted for t in self.tables)


@dataclass(slots=True)
class _Report:
    tables: list[TableBack] = field(default_factory=list)
    conflicts: list[Unreturned] = field(default_factory=list)
    in_all: int = 0
    waiting: list[Kept] = field(default_factory=list)

    def add(self, table: TableBack, conflicts: Iterable[Unreturned] = ()) -> None:
        self.tables.append(table)
        self.in_all += table.conflicts
        self.conflicts += list(conflicts)[: max(0, LISTED - len(self.conflicts))]

    def returned(self) -> Returned:
        return Returned(
            tables=tuple(self.tables), conflicts=tuple(self.conflicts), conflicts_in_all=self.in_all, waiting=tuple(self.waiting)
        )


def bring_back_tables(connection: Session, run_id: str) -> Returned:
    """Moves the run's dropped tables back. Raises Refused (`trash_name_taken`, `trash_schema_missing`, `trash_incomplete`)."""
    report = _Report()
    for kept in _open(connection, run_id):
        if kept.how == "move":
            _moved(connection, kept, report)
    return report.returned()


def fill_columns(connection: Session, run_id: str, *, theirs: bool = True) -> Returned:
    """Gives the run's dropped and changed columns their values again."""
    report = _Report()
    for kept in _open(connection, run_id):
        if kept.what == "column":
            _column(connection, kept, report, theirs=theirs)
    return report.returned()


def undo(connection: Session, run_id: str, *, theirs: bool = True) -> Returned:
    """All of the run that has not come back yet.

    Raises Refused (`trash_name_taken`, `trash_schema_missing`, `trash_incomplete`, `foreign_trash_schema`) and psycopg.Error; the
    transaction is the caller's to roll back then.
    """
    report = _Report()
    entries = _open(connection, run_id)
    for kept in entries:
        if kept.how == "move":
            _moved(connection, kept, report)
    _copies(connection, [k for k in entries if k.what == "table" and k.how == "copy"], report)
    rows = [k for k in entries if k.how == "images"]
    until = trash.new_id(connection)
    for kept in (k for k in entries if k.what == "column"):
        _stretch(connection, rows, report, since=kept.id, until=until, theirs=theirs)
        _column(connection, kept, report, theirs=theirs)
        until = kept.id
    _stretch(connection, rows, report, since=0, until=until, theirs=theirs)
    for kept in (k for k in rows if k not in report.waiting):
        trash.came_back(connection, kept, notes="its rows are back")
    return report.returned()


def _open(connection: Session, run_id: str) -> tuple[Kept, ...]:
    """The run's entries that have not come back, the last first."""
    found = [k for k in trash.listed(connection, run_id=run_id) if k.restored_at is None and k.how != "conflicts"]
    return tuple(reversed(found))


def _moved(connection: Session, kept: Kept, report: _Report) -> None:
    landed = tables_back.move(connection, kept)
    trash.came_back(connection, kept, notes="; ".join(landed.notes) or "as it was")
    report.add(TableBack(table=f"{kept.schema}.{kept.table}", restored=landed.rows, notes=landed.notes))


def _copies(connection: Session, entries: Sequence[Kept], report: _Report) -> None:
    """Parents first; a table that is not there waits for who makes it."""
    pairs = {}
    for kept in entries:
        table = _table(connection, kept)
        if table is None:
            report.waiting.append(kept)
        else:
            pairs[table.oid] = (kept, table)
    ordered = live.parents_first([table for _, table in pairs.values()])
    with live.undisturbed(connection, ordered):
        for table in ordered:
            kept = pairs[table.oid][0]
            landed = tables_back.fill(connection, kept, table)
            trash.came_back(connection, kept, notes="; ".join(landed.notes) or "its rows are back")
            report.add(TableBack(table=f"{table.schema}.{table.name}", restored=landed.rows, notes=landed.notes))


def _column(connection: Session, kept: Kept, report: _Report, *, theirs: bool) -> None:
    table = _table(connection, kept)
    if table is None:
        report.waiting.append(kept)
        return
    with live.undisturbed(connection, [table]):
        filled = columns_back.fill(connection, kept, table, theirs=theirs)
    if filled is None:
        report.waiting.append(kept)
        return
    name = f"{table.schema}.{table.name}"
    gone = (f"{counted(filled.gone, 'row')} of then stayed deleted: somebody removed them since",) if filled.gone else ()
    trash.came_back(connection, kept, notes=f"{counted(filled.rows, 'row')} filled, {len(filled.left)} left as is")
    conflicts = [Unreturned(table=name, key=key, why=why) for key, why in filled.left]
    report.add(TableBack(table=name, restored=filled.rows, conflicts=len(filled.left), notes=gone), conflicts)


def _stretch(connection: Session, entries: Sequence[Kept], report: _Report, *, since: int, until: int, theirs: bool) -> None:
    """The rows that were written between two moments."""
    found = {w.table.oid: w for w in works(connection, entries, report.waiting, since=since, until=until)}
    ordered = [found[table.oid] for table in live.parents_first([w.table for w in found.values()])]
    if not ordered:
        return
    with live.undisturbed(connection, [w.table for w in ordered]):
        for work in ordered:
            work.open()
        _rounds(ordered, force=False)
        _settle(connection, ordered, report, theirs=theirs)
        for work in ordered:
            work.close()


def _rounds(rows: Sequence[Rows | Unkeyed], *, force: bool) -> None:
    """Parents come back before who refers to them, and go after them; again, as long as that sets more of them free."""
    while True:
        moved = sum(work.bring(force=force) for work in rows)
        moved += sum(work.take_away(force=force) for work in reversed(rows))
        if not moved or all(_complete(work) for work in rows):
            return


def _complete(work: Rows | Unkeyed) -> bool:
    if isinstance(work, Unkeyed):
        return True
    return work.tally.restored >= work.updates + work.inserts and work.tally.deleted >= work.deletes


def _unreturned(work: Rows | Unkeyed) -> list[Left]:
    return list(work.unreturned()) if isinstance(work, Unkeyed) or not _complete(work) else []


def _settle(connection: Session, rows: Sequence[Rows | Unkeyed], report: _Report, *, theirs: bool) -> None:
    """Keeps what did not come back; told to, makes theirs give way and keeps that instead."""
    left = [(work, _unreturned(work)) for work in rows]
    for work, found in left:
        if found:
            _keep(connection, work, found, "did not come back: theirs stays" if theirs else "gave way, or did not come back")
    if not theirs and any(found for _, found in left):
        _rounds(rows, force=True)
        left = [(work, list(work.unreturned()) if found else []) for work, found in left]
    for work, found in left:
        name = f"{work.table.schema}.{work.table.name}"
        back = TableBack(table=name, restored=work.tally.restored, deleted=work.tally.deleted, conflicts=len(found))
        report.add(back, [Unreturned(table=name, key=str(one[1])[:200], why=one[2]) for one in found])


def _keep(connection: Session, work: Rows | Unkeyed, left: Sequence[Left], notes: str) -> None:
    number = trash.new_id(connection)
    place = trash.fitted(f"k{number}_conflicts_{work.table.name}")
    connection.execute(f"CREATE TABLE autopilot_trash.{quoted(place)} (key text, why text, before jsonb, theirs jsonb)".encode())
    with connection.cursor() as cursor:
        cursor.executemany(
            f"INSERT INTO autopilot_trash.{quoted(place)} VALUES (%s, %s, %s, %s)".replace("%", "%%")
            .replace("%%s", "%s")
            .encode(),
            [(str(key), why, _named(work, before), theirs) for _, key, why, before, theirs in left],
        )
    trash.register_conflicts(connection, of=work.kept, kept_id=number, kept_as=place, rows=len(left), notes=notes)


def _named(work: Rows | Unkeyed, before: str | None) -> str | None:
    """An image's row by its columns' names."""
    if before is None:
        return None
    row = json.loads(before)
    for image in work.images:
        if all(h.sql in row for h in image.columns):
            return json.dumps({h.live.name: row[h.sql] for h in image.columns})
    return before


def works(
    connection: Session, entries: Sequence[Kept], waiting: list[Kept], *, since: int, until: int
) -> Iterable[Rows | Unkeyed]:
    """One for each table, whatever number of transactions it was watched in; entries whose table is gone go to `waiting`."""
    found: dict[int, tuple[Live, Kept, list[Image]]] = {}
    for kept in entries:
        table = _table(connection, kept)
        if table is None:
            waiting += [] if kept in waiting else [kept]
            continue
        images = found.setdefault(table.oid, (table, kept, []))[2]
        for name, relation, columns in trash.images(connection, kept):
            if _holds(connection, name, since=since, until=until):
                images.append(
                    Image(name=name, columns=live.held(table, columns, same_table=relation == table.oid, numbered=True))
                )
    for table, kept, images in found.values():
        if images:
            keyed = table.key is not None and all(image.has(table.key) for image in images)
            kind = Rows if keyed else Unkeyed
            yield kind(connection=connection, table=table, kept=kept, images=tuple(images), since=since, until=until)


def _holds(connection: Session, name: str, *, since: int, until: int) -> bool:
    row = connection.execute(
        f"SELECT EXISTS (SELECT FROM autopilot_trash.{quoted(name)} WHERE moment > {since} AND moment <= {until})".encode()
    ).fetchone()
    return bool(row and row[0])


def _table(connection: Session, kept: Kept) -> Live | None:
    return live.read(connection, oid=kept.table_oid, schema=kept.schema, name=kept.table)
