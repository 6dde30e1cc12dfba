"""What others wrote since a backup was taken, written into the tables that were made of it.

    progress = Progress()
    replay(connection, written, goal, progress, timeout_s=…)      in the caller's transaction; again for what came meanwhile

In order of commit, row by row, as a subscriber would: no trigger acts, and foreign keys are not there yet. A change that has no
place is never left out in silence: then nothing is written at all.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import psycopg

from autopilot.errors import RolledBack
from autopilot.postgres.bounded import BoundedConnection
from autopilot.postgres.message import Answer, ConnectionLost, DeadlinePassed, Patience, send
from autopilot.postgres.queries import named
from autopilot.rollback import carried, live
from autopilot.rollback.carried import Known, Name, NoPlace, Statement, Table
from autopilot.rollback.decoding import Change, Truncate
from autopilot.rollback.destinations import Destinations, Goal
from autopilot.rollback.written import Written

_QUERIES = named(__file__, "replayed.sql")
#: One message to the server holds at most so many statements, and about so much text.
_STATEMENTS, _CHARACTERS = 500, 1_000_000
#: Schemas that are no part of what is restored, in which Autopilot itself writes.
_OWN = frozenset({"automation", "supabase_migrations", "autopilot_trash"})
_SHOWN = 5


@dataclass(slots=True)
class Progress:
    """What has been written so far, over all calls."""

    transactions: int = 0
    rows: int = 0
    #: Whether the release had begun with the transactions read so far.
    begun: bool = False
    known: Known = field(default_factory=Known)
    #: Why changes have no place → how many.
    without_place: dict[str, int] = field(default_factory=dict)

    def misses(self, table: str, why: str) -> None:
        words = f"{table}: {why}"
        self.without_place[words] = self.without_place.get(words, 0) + 1

    def require_places(self) -> None:
        """Raises RolledBack (`replay_no_place`)."""
        if self.without_place:
            found = [f"{w} ({n} {'change' if n == 1 else 'changes'})" for w, n in self.without_place.items()]
            more = f"; and {len(found) - _SHOWN} more reasons" if len(found) > _SHOWN else ""
            raise RolledBack(
                f"what was written since has no place in the backup: {'; '.join(found[:_SHOWN])}{more}",
                code="replay_no_place", hint="Keep the release and push a migration that mends it, or go back and take the loss.",
            )  # fmt: skip


def replay(
    connection: BoundedConnection, written: Iterable[Written], goal: Goal, progress: Progress, *, timeout_s: float
) -> None:
    """Raises RolledBack (`replay_no_place`, `replay_failed`), psycopg.OperationalError."""
    connection.execute(_QUERIES["spoken"])
    tables = Destinations(connection=connection, goal=goal)
    try:
        statements = _planned(tables, written, progress)
    except ValueError as cause:
        raise RolledBack(
            f"what was written since cannot be read: {cause}", code="replay_failed", hint="Take another route, and report it."
        ) from cause
    progress.require_places()
    with live.undisturbed(connection, tables.tables()):
        connection.execute("SET CONSTRAINTS ALL DEFERRED")
        for batch in _batches(statements):
            _run(connection, batch, progress, timeout_s)
        connection.execute("SET CONSTRAINTS ALL IMMEDIATE")


def _planned(tables: Destinations, written: Iterable[Written], progress: Progress) -> list[Statement]:
    statements: list[Statement] = []
    for transaction in written:
        progress.begun = progress.begun or transaction.applies
        before = len(statements)
        for change in transaction.changes():
            made = _carried(tables, change, progress, ours=transaction.ours)
            if made is not None:
                statements.append(made)
        progress.transactions += not transaction.ours and len(statements) > before
    return statements


def _carried(tables: Destinations, change: Change | Truncate, progress: Progress, *, ours: bool) -> Statement | None:
    if isinstance(change, Truncate):
        found = [_met(tables, name, progress, ours=ours) for name in change.tables]
        return _emptied([one for one in found if one is not None], progress, ours=ours)
    met = _met(tables, (change.schema, change.table), progress, ours=ours)
    if met is None:
        return None
    name, table = met
    change = tables.as_before(name, change, begun=progress.begun)
    try:
        if ours:
            carried.of_release(table, name, change, progress.known)
            return None
        return carried.statement(table, name, change, progress.known, later=progress.begun)
    except NoPlace as cause:
        progress.misses(table.words, str(cause))
        return None


def _met(tables: Destinations, told: Name, progress: Progress, *, ours: bool) -> tuple[Name, Table] | None:
    """The table that a change is of; None where there is nothing to carry over."""
    goal = tables.goal
    if told[0] not in goal.restored:
        if ours and told[0] not in _OWN:
            progress.misses(".".join(told), "the release wrote there, and that is not put back")
        return None
    try:
        name = tables.name_of(told, begun=progress.begun)
        table = None if name in goal.stays or name[0] not in goal.restored else tables.at(name)
    except NoPlace as cause:
        if not ours:  # what the release made itself is not to be there
            progress.misses(".".join(told), str(cause))
        return None
    return None if table is None else (name, table)


def _emptied(found: Sequence[tuple[Name, Table]], progress: Progress, *, ours: bool) -> Statement | None:
    for name, _ in found:
        progress.known.forget_all(name)
    if ours or not found:
        return None
    listed = ", ".join(table.to.sql for _, table in found)
    return Statement(text=f"TRUNCATE {listed}", table=", ".join(t.words for _, t in found), must_find=False)


def _batches(statements: Sequence[Statement]) -> Iterator[list[Statement]]:
    batch: list[Statement] = []
    length = 0
    for statement in statements:
        batch.append(statement)
        length += len(statement.text)
        if len(batch) >= _STATEMENTS or length >= _CHARACTERS:
            yield batch
            batch, length = [], 0
    if batch:
        yield batch


def _run(connection: BoundedConnection, batch: Sequence[Statement], progress: Progress, timeout_s: float) -> None:
    try:
        answer = send(connection, ";\n".join(s.text for s in batch), patience=Patience(timeout_s=timeout_s))
    except ConnectionLost as cause:
        raise psycopg.OperationalError(str(cause)) from cause
    except DeadlinePassed as cause:
        raise RolledBack(
            f"writing what was written since: {cause}", code="replay_failed", hint="Raise backup_timeout_s, then run again."
        ) from cause
    _found(answer, batch, progress)
    progress.require_places()


def _found(answer: Answer, batch: Sequence[Statement], progress: Progress) -> None:
    for statement, (tag, _) in zip(batch, answer.finished, strict=False):
        rows = int(tag.rsplit(" ", 1)[-1]) if tag[-1:].isdigit() else 0
        progress.rows += rows
        if statement.must_find and not rows:
            progress.misses(statement.table, "the row is not there before the release, or what was written does not fit into it")
    if answer.complaint is not None:
        # no word of the row: what PostgreSQL says of it may hold its values
        about = f" ({answer.complaint.constraint})" if answer.complaint.constraint else ""
        progress.misses(batch[len(answer.finished)].table, f"{answer.complaint.message}{about}")
