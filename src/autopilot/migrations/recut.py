"""Cuts a migration anew around a statement that no transaction can hold where only running it tells, as a CALL or DO
that commits, or REINDEX of a partitioned table; nothing of the transaction is in then."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from autopilot.errors import Stranded, Where
from autopilot.migrations.alone import Mark
from autopilot.migrations.segments import Migration, migration
from autopilot.migrations.wire import Envelope
from autopilot.postgres.message import Answer

#: Which statements may turn out so, and what PostgreSQL then says: invalid_transaction_termination (COMMIT or ROLLBACK
#: in a procedure that runs inside a transaction), active_sql_transaction ("cannot run inside a transaction block").
_COMPLAINTS = {
    "call_stmt": "2D000",
    "do_stmt": "2D000",
    "reindex_stmt": "25001",
    "cluster_stmt": "25001",
    "variable_set_stmt": "25001",
}


class CommitsByItself(Exception):
    """A statement that has to stand alone, found by running it; its transaction was rolled back."""

    def __init__(self, version: str, position: int) -> None:
        super().__init__(version, position)
        self.version = version
        #: The statement's place among the file's statements.
        self.position = position


def raise_if_it_commits(answer: Answer, met: Envelope) -> None:
    """Raises CommitsByItself where PostgreSQL refused a statement for the transaction around it, which is not the author's."""
    index, part = met.statement(len(answer.finished)), met.part
    if answer.complaint is None or not 0 <= index < len(met.answers):
        return
    statement = part.segment.statements[index]
    if _COMPLAINTS.get(statement.kind) == answer.complaint.sqlstate and part.segment.begin is None:
        raise CommitsByItself(part.migration.version, part.migration.statements.index(statement))


def with_alone(found: Migration, position: int) -> Migration:
    """The same migration with one more statement standing alone."""
    return replace(migration(found.file, alone=found.alone | {position}), effects=found.effects)


def as_begun(found: Migration, marks: Mapping[int, Mark]) -> Migration:
    """The cut that an earlier run's progress rows belong to.

    Raises Stranded (`changed_half_way`) when there is none: the file is not the one that was begun.
    """
    wanted = {number: mark.sha256 for number, mark in marks.items()}
    candidates = [i for i, s in enumerate(found.statements) if s.kind in _COMPLAINTS and i not in found.alone]
    for position in candidates:
        if _sha256_alone(found, position) in wanted.values():
            found = with_alone(found, position)
    # a run may have ended just before its stand-alone statement: then only the part before it was written down
    for cut in (found, *(with_alone(found, i) for i in candidates if i not in found.alone)):
        if _fits(cut, wanted):
            return cut
    raise Stranded(
        f"{found.file.file} was begun by an earlier run and has been changed since.",
        code="changed_half_way",
        state=f"{len([m for m in marks.values() if m.state == 'done'])} of its parts are applied and recorded.",
        hint="Put the earlier text back and run again; write the change as a new migration.",
        where=Where(file=found.file.file),
    )


def _sha256_alone(found: Migration, position: int) -> str:
    """What the statement's own part would be called by, if it stood alone."""
    statement = found.statements[position]
    return next(s.sha256 for s in with_alone(found, position).segments if s.statements == (statement,))


def _fits(found: Migration, wanted: Mapping[int, str]) -> bool:
    return all(number < len(found.segments) and found.segments[number].sha256 == sha for number, sha in wanted.items())
