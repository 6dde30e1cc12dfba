"""Goes back on one release inside the caller's transaction: dropped tables from the trash → catalog as it was, with columns
and rows from the trash → proof. The caller commits.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from autopilot.measures import counted
from autopilot.postgres.session import Connection
from autopilot.rollback import act, returning, trash
from autopilot.rollback.act import Undone
from autopilot.rollback.returning import Returned
from autopilot.rollback.snapshot import Snapshot
from autopilot.rollback.trash import Kept


@dataclass(frozen=True, slots=True, kw_only=True)
class Besides:
    """What brings back, from elsewhere, what the trash does not keep. Called once tables and columns are there again."""

    #: Objects, by their names in the catalog, that it fills.
    covers: frozenset[str]
    #: Before the trash is asked, and after.
    rows: Callable[[], None]
    filled: Callable[[], None]
    #: What it did, in sentences.
    sentences: Callable[[], tuple[str, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Back:
    """A way back that was gone and proven, not yet committed."""

    undone: Undone
    tables: Returned
    rows: Returned
    besides: tuple[str, ...] = ()

    @property
    def sentences(self) -> tuple[str, ...]:
        """What a person should know of it."""
        found = [f"{t.origin}: {counted(rows, 'row')} kept in autopilot_trash.{t.name}" for t, rows in self.undone.kept if rows]
        back = [*self.tables.tables, *self.rows.tables]
        found += self.besides
        found += [f"{t.table}: {counted(t.restored, 'row')} put back" for t in back if t.restored]
        found += [f"{t.table}: {counted(t.deleted, 'row')} of the release taken out" for t in back if t.deleted]
        found += [f"{t.table}: {counted(t.conflicts, 'row')} left as found: changed since" for t in back if t.conflicts]
        if any(t.conflicts for t in back):
            found.append("`autopilot trash list` names the tables in which these rows stand, as they were and as found")
        found += [f"{t.table}: {note}" for t in back for note in t.notes]
        found += self.undone.renumbered
        return (*found, *self.undone.notes, *self.undone.reversal.notes)


def go_back(
    connection: Connection, *, before: Snapshot, after: Snapshot | None, kept_as: str, token: str,
    accept_loss: bool = False, theirs: bool = True, lock_timeout_s: float = 5.0, keep_days: int = 30,
    besides: Besides | None = None,
) -> Back:  # fmt: skip
    """Undoes a release in the open transaction.

    kept_as: by which the trash knows what it kept. theirs: rows that somebody changed since stay theirs. keep_days: how long the
    trash keeps what has no place any more. besides: what the trash lacks and comes from elsewhere.
    Raises Refused and RolledBack as `act.undo` and `returning.undo` do; then nothing of it may be committed.
    """
    entries = trash.listed(connection, run_id=kept_as)
    tables = returning.bring_back_tables(connection, kept_as)
    filled: list[Returned] = []

    def fill() -> None:
        if besides is not None:
            besides.rows()
        if entries:
            filled.append(returning.undo(connection, kept_as, theirs=theirs))
        if besides is not None:
            besides.filled()

    undone = act.undo(
        connection, before, after=after, token=token, lock_timeout_s=lock_timeout_s, accept_loss=accept_loss,
        covered=covered(entries) | (besides.covers if besides is not None else frozenset()),
        fill=fill if entries or besides is not None else None,
    )  # fmt: skip
    trash.register_undone(connection, undone.kept, kept_as=kept_as, keep_days=keep_days)
    connection.execute("SET CONSTRAINTS ALL IMMEDIATE")
    return Back(
        undone=undone, tables=tables, rows=filled[0] if filled else Returned(),
        besides=() if besides is None else besides.sentences(),
    )  # fmt: skip


def covered(entries: tuple[Kept, ...]) -> frozenset[str]:
    """What the trash brings back, in the catalog's words for it."""
    found = set()
    for kept in entries:
        if kept.restored_at is None and kept.what == "table":
            found.add(f"table {kept.schema}.{kept.table}")
        elif kept.restored_at is None and kept.what == "column":
            found |= {f"column {kept.schema}.{kept.table}.{column}" for column in kept.columns}
    return frozenset(found)
