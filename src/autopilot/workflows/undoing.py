"""Goes back on one release inside the caller's transaction: dropped tables from the trash → catalog as it was, with columns
and rows from the trash → proof. The caller commits.
"""

from __future__ import annotations

from dataclasses import dataclass

from autopilot.postgres.session import Connection
from autopilot.rollback import act, returning, trash
from autopilot.rollback.act import Undone
from autopilot.rollback.returning import Returned
from autopilot.rollback.snapshot import Snapshot
from autopilot.rollback.trash import Kept


@dataclass(frozen=True, slots=True, kw_only=True)
class Back:
    """A way back that was gone and proven, not yet committed."""

    undone: Undone
    tables: Returned
    rows: Returned

    @property
    def sentences(self) -> tuple[str, ...]:
        """What a person should know of it."""
        found = [f"{t.origin}: {rows} rows kept in autopilot_trash.{t.name}" for t, rows in self.undone.kept if rows]
        back = [*self.tables.tables, *self.rows.tables]
        found += [f"{t.table}: {t.restored} rows put back" for t in back if t.restored]
        found += [f"{t.table}: {t.deleted} rows of the release taken out" for t in back if t.deleted]
        found += [f"{t.table}: {t.conflicts} rows changed since stay as they are" for t in back if t.conflicts]
        found += [f"{t.table}: {note}" for t in back for note in t.notes]
        found += self.undone.renumbered
        return (*found, *self.undone.notes, *self.undone.reversal.notes)


def go_back(
    connection: Connection, *, before: Snapshot, after: Snapshot | None, kept_as: str, token: str,
    accept_loss: bool = False, theirs: bool = True, lock_timeout_s: float = 5.0, keep_days: int = 30,
) -> Back:  # fmt: skip
    """Undoes a release in the open transaction.

    kept_as: by which the trash knows what it kept. theirs: rows that somebody changed since stay theirs. keep_days: how long the
    trash keeps what has no place any more.
    Raises Refused and RolledBack as `act.undo` and `returning.undo` do; then nothing of it may be committed.
    """
    entries = trash.listed(connection, run_id=kept_as)
    tables = returning.bring_back_tables(connection, kept_as)
    filled: list[Returned] = []

    def fill() -> None:
        filled.append(returning.undo(connection, kept_as, theirs=theirs))

    undone = act.undo(
        connection, before, after=after, token=token, lock_timeout_s=lock_timeout_s, accept_loss=accept_loss,
        covered=covered(entries), fill=fill if entries else None,
    )  # fmt: skip
    trash.register_undone(connection, undone.kept, kept_as=kept_as, keep_days=keep_days)
    connection.execute("SET CONSTRAINTS ALL IMMEDIATE")
    return Back(undone=undone, tables=tables, rows=filled[0] if filled else Returned())


def covered(entries: tuple[Kept, ...]) -> frozenset[str]:
    """What the trash brings back, in the catalog's words for it."""
    found = set()
    for kept in entries:
        if kept.restored_at is None and kept.what == "table":
            found.add(f"table {kept.schema}.{kept.table}")
        elif kept.restored_at is None and kept.what == "column":
            found |= {f"column {kept.schema}.{kept.table}.{column}" for column in kept.columns}
    return frozenset(found)
