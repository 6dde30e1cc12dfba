"""Route 3: of the tables that a migration touched, only the rows that it changed are put back from the backup.

    loaded = loading.load(connection, copies, …)   # rows of the archive, as text, in temporary tables
    merged = merge.merge(connection, loaded, touched)

All in the caller's transaction: a kill leaves nothing behind. A row is the migration's where its `xmin` is one of the
migration's transactions. Weak points, and what is done about them: rows written under a savepoint bear another number (they
count as others' and stay, told as conflicts, unless their number is given too); what is deleted leaves no number (rows of the
backup that are missing come back only where the migration is known to have deleted as many, or when told); after two billion
transactions a number may come again (refused).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import psycopg

from autopilot.errors import Refused
from autopilot.postgres.queries import named
from autopilot.rollback import live, trash
from autopilot.rollback.apart import Apart
from autopilot.rollback.live import Session, quoted
from autopilot.rollback.loading import Loaded, explained
from autopilot.rollback.quarantine.inventory import plain_names

_QUERIES = named(__file__, "merge.sql")
_TRASH = named(__file__, "trash.sql")
#: A number this old may be another transaction's: half of the two billion after which they wrap.
_OLDEST = 1_000_000_000
_KEEP_DAYS = 30
_LOCK = "SHARE ROW EXCLUSIVE"


@dataclass(frozen=True, slots=True, kw_only=True)
class Touched:
    """A table that the migration touched, and what is known of that."""

    schema: str
    table: str
    #: The migration's transactions that wrote to it, as pg_current_xact_id() told them.
    xids: tuple[str, ...] = ()
    #: How many rows the migration deleted, where that was counted.
    deleted: int | None = None
    #: It truncated the table: whatever is missing was deleted by it.
    emptied: bool = False

    @property
    def name(self) -> str:
        return f"{self.schema}.{self.table}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Merged:
    """What became of one table, in rows."""

    table: str
    #: Changed by the migration, now as in the backup.
    restored: int
    #: Deleted by the migration, there again.
    returned: int
    #: Made by the migration, taken out; kept in the trash.
    removed: int
    #: Changed by somebody since: theirs stays.
    conflicts: int
    #: Missing, and nobody knows who deleted them: not restored unless told.
    uncertain: int
    #: Made by the migration, and somebody refers to them since; or their place is taken, or their parent gone.
    stuck: int


def merge(
    connection: Session, loaded: Mapping[tuple[str, str], Loaded], touched: Sequence[Touched], *, run_id: str,
    accept_uncertain: bool = False, keep_days: int = _KEEP_DAYS,
) -> tuple[Merged, ...]:  # fmt: skip
    """Puts back what the migration changed; what others changed since stays. The transaction is open, and stays open.

    accept_uncertain: rows that are missing come back although others may have deleted them; and where a table's transactions
    are not known, every row that differs becomes what the backup has.
    Raises Refused (`merge_*`) and RolledBack (`merge_failed`); then nothing of it may be committed.
    """
    with explained(connection), plain_names(connection):
        for part in ("schema", "moments", "register", "images"):
            connection.execute(_TRASH[part])
        works = [_work(connection, one, loaded) for one in touched]
        for name in sorted({work.pair.table.sql for work in works}):
            connection.execute(f"LOCK TABLE {name} IN {_LOCK} MODE".encode())
        _require_recent(connection, {xid for one in touched for xid in one.xids})
        ordered = live.parents_first([work.pair.table for work in works])
        by_oid = {work.pair.table.oid: work for work in works}
        with live.undisturbed(connection, ordered):
            for table in ordered:
                by_oid[table.oid].put_back(accept_uncertain=accept_uncertain, run_id=run_id, keep_days=keep_days)
            for table in reversed(ordered):
                by_oid[table.oid].take_out(run_id=run_id, keep_days=keep_days)
        return tuple(by_oid[table.oid].merged() for table in ordered)


@dataclass(slots=True, kw_only=True)
class _Work:
    connection: Session
    touched: Touched
    pair: Apart
    restored: int = 0
    returned: int = 0
    removed: int = 0
    conflicts: int = 0
    uncertain: int = 0
    stuck: int = 0

    @property
    def theirs(self) -> str:
        """The condition that a live row `l` was last written by the migration."""
        numbers = ", ".join(f"'{int(xid) & 0xFFFFFFFF}'" for xid in self.touched.xids)
        return f"l.xmin::text IN ({numbers})" if numbers else "false"

    def put_back(self, *, accept_uncertain: bool, run_id: str, keep_days: int) -> None:
        """Rows that the migration changed or deleted."""
        everything = accept_uncertain and not self.touched.xids
        condition = "true" if everything else self.theirs
        self._keep(f"SELECT l.* {self.pair.both(condition)}", "was put back as in the backup", run_id, keep_days)
        self.restored = self._run(self.pair.update(condition=condition))
        self.conflicts = self._count(self.pair.both())
        missing = self._count(self.pair.only_kept())
        if missing and (accept_uncertain or self.touched.emptied or self.touched.deleted == missing):
            self.returned = self._run(self.pair.insert())
            self.stuck += missing - self.returned
        else:
            self.uncertain = missing

    def take_out(self, *, run_id: str, keep_days: int) -> None:
        """Rows that the migration made, and nobody refers to; where somebody does, they stay."""
        free = " AND ".join(
            [self.theirs]
            + [
                f"NOT EXISTS (SELECT FROM {key.child} r WHERE "
                + " AND ".join(
                    f"l.{quoted(ours)} {operator} r.{quoted(theirs)}"
                    for ours, theirs, operator in zip(key.parent_columns, key.child_columns, key.equal, strict=True)
                )
                + ")"
                for key in self.pair.table.referred_by
            ]
        )
        made = self._count(self.pair.only_live(self.theirs))
        if made:
            self._keep(f"SELECT l.* {self.pair.only_live(free)}", "was made by the migration and taken out", run_id, keep_days)
            self.removed = self._run(f"DELETE {self.pair.only_live(free)}")
            self.stuck += made - self.removed

    def merged(self) -> Merged:
        return Merged(
            table=self.touched.name, restored=self.restored, returned=self.returned, removed=self.removed,
            conflicts=self.conflicts, uncertain=self.uncertain, stuck=self.stuck,
        )  # fmt: skip

    def _keep(self, query: str, notes: str, run_id: str, keep_days: int) -> None:
        """What is overwritten or taken out lies in the trash from now on."""
        connection = self.connection
        if not self._count(f"FROM ({query}) q"):
            return
        number = trash.new_id(connection)
        place = trash.fitted(f"k{number}_merged_{self.touched.table}")
        qualified = f"autopilot_trash.{quoted(place)}"
        columns = ", ".join(f"q.{quoted(c.name)}::text" for c in self.pair.table.columns)
        rows = connection.execute(f"CREATE TABLE {qualified} AS SELECT {columns} FROM ({query}) q".encode()).rowcount
        connection.execute(
            _QUERIES["keep"],
            {
                "id": number, "run_id": run_id, "schema": self.touched.schema, "table": self.touched.table,
                "oid": self.pair.table.oid,
                "kept_as": place, "rows": rows, "place": qualified, "keep_days": keep_days, "notes": notes,
            },
        )  # fmt: skip

    def _run(self, command: str) -> int:
        return max(0, self.connection.execute(command.encode()).rowcount)

    def _count(self, source: str) -> int:
        row = self.connection.execute(f"SELECT count(*) {source}".encode()).fetchone()
        return 0 if row is None else int(row[0])


def _work(connection: Session, touched: Touched, loaded: Mapping[tuple[str, str], Loaded]) -> _Work:
    kept = loaded.get((touched.schema, touched.table))
    table = live.read(connection, oid=0, schema=touched.schema, name=touched.table)
    if kept is None:
        raise _cannot(touched, "the backup does not hold its rows", code="merge_not_in_backup")
    if table is None:
        raise _cannot(touched, "it is not there", code="merge_no_table")
    gone = [name for name in kept.types if table.column(name) is None]
    if gone:
        raise _cannot(touched, f"it has no column {', '.join(gone)} any more", code="merge_columns_gone")
    other = [c.name for c in table.columns if c.name in kept.types and kept.types[c.name] != c.type]
    if other:
        raise _cannot(touched, f"{', '.join(other)} is of another type than in the backup", code="merge_types_differ")
    values = {name: f"s.{quoted(name)}::{column.type}" for name in kept.types if (column := table.column(name)) is not None}
    pair = Apart(table=table, kept=kept.place, values=values)
    if pair.key is None:
        raise _cannot(touched, "nothing tells its rows apart (no primary key)", code="merge_no_key")
    _index(connection, pair)
    return _Work(connection=connection, touched=touched, pair=pair)


def _cannot(touched: Touched, why: str, *, code: str) -> Refused:
    return Refused(
        f"The rows of {touched.name} cannot be merged from the backup: {why}.",
        code=code, hint="Undo the change of the schema first, or take another route (`autopilot rollback --plan`).",
    )  # fmt: skip


def _index(connection: Session, pair: Apart) -> None:
    expressions = ", ".join(f"({pair.values[k].removeprefix('s.')})" for k in pair.key or ())
    try:
        with connection.transaction():
            connection.execute(f"CREATE INDEX ON {pair.kept} ({expressions})".encode())
            connection.execute(f"ANALYZE {pair.kept}".encode())
    except psycopg.errors.InvalidObjectDefinition:
        return  # text that means another thing in another time zone cannot be indexed; it is compared without


def _require_recent(connection: Session, xids: Iterable[str]) -> None:
    for xid, age in connection.execute(_QUERIES["ages"], {"xids": sorted(xids)}).fetchall():
        if age > _OLDEST or age < 0:
            raise Refused(
                f"The transaction {xid} is too long ago: rows that bear its number may be another's by now.",
                code="merge_too_old", hint="Take another route (`autopilot rollback --plan`).",
            )  # fmt: skip
