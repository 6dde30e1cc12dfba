"""What went wrong in a migration: file, line, statement and PostgreSQL's own words."""

from __future__ import annotations

from autopilot.errors import AutopilotError, RolledBack, Stranded, Where
from autopilot.migrations.segments import Migration, Segment
from autopilot.migrations.statements import Statement
from autopilot.migrations.unit import Part
from autopilot.migrations.wire import Envelope
from autopilot.postgres.message import Answer, Complaint, ConnectionLost, DeadlinePassed

_HINTS = {
    "55P03": "Something holds a lock on that table: find it in pg_stat_activity, let it end, and run again.",
    "40P01": "Run again at a quieter moment.",
    "42501": "Grant the role what it lacks, or give the URL of the role that owns the object.",
    "53100": "Make room on the server's disk, then run again.",
    "23505": "Mend the rows that are there twice, or change the migration; then push again.",
    "23514": "Mend the rows that break the rule, or change the migration; then push again.",
    "23502": "Fill the empty values first, or change the migration; then push again.",
    "23503": "Mend the rows that point nowhere, or change the migration; then push again.",
    "55P04": "Move the statement that uses the new enum value into a later file: it can be used once it is committed.",
}
_RETRYABLE = {"55P03", "40P01", "40001", "53100", "53300", "57P01", "57P02", "57P03"}


def rejected(answer: Answer, part: Part, envelope: Envelope, *, tries: int, blockers: tuple[str, ...] = ()) -> AutopilotError:
    """The error for a transaction that PostgreSQL refused; it has been rolled back."""
    complaint, migration, segment = answer.complaint, part.migration, part.segment
    if complaint is None:  # pragma: no cover - callers have looked
        raise AssertionError
    index = len(answer.finished) - envelope.first
    if not 0 <= index < envelope.count:
        return _ours(complaint, migration)
    where = locate(migration, segment, segment.statements[index], complaint, text_start=envelope.text_start)
    again = f" (tried {tries} times)" if tries > 1 else ""
    again += f". In the way: {'; '.join(blockers)}" if blockers and complaint.sqlstate in {"55P03", "40P01"} else ""
    return (RolledBack if _is_whole(migration, segment) else Stranded)(
        f"{where}: PostgreSQL says: {complaint.words()}{again}",
        code="lock_not_available" if complaint.sqlstate == "55P03" else "migration_failed",
        hint=complaint.hint or _HINTS.get(complaint.sqlstate, "Mend the migration and push again."),
        state=_state(migration, segment),
        retryable=complaint.sqlstate in _RETRYABLE,
        where=where,
    )


def locate(migration: Migration, segment: Segment, statement: Statement, complaint: Complaint, *, text_start: int) -> Where:
    """The line PostgreSQL points at, or the statement's first when it points nowhere."""
    line = statement.line
    if complaint.position is not None:
        at = segment.start + complaint.position - 1 - text_start
        if statement.start <= at <= statement.end:
            line = migration.sql.count("\n", 0, at) + 1
    return Where(file=migration.file.file, line=line, statement=statement.shown())


def rejected_commit(complaint: Complaint, migration: Migration) -> AutopilotError:
    """A deferred constraint or trigger that spoke up at COMMIT."""
    where = Where(file=migration.file.file)
    return RolledBack(
        f"{migration.file.file}: at COMMIT PostgreSQL says: {complaint.words()}",
        code="migration_failed",
        hint=complaint.hint
        or _HINTS.get(complaint.sqlstate, "A constraint that is checked at COMMIT was broken; mend it and push again."),
        where=where,
    )


def interrupted(part: Part, cause: Exception) -> AutopilotError:
    """The link or our patience ended inside a transaction: the server rolls it back, as no COMMIT was sent."""
    migration, segment = part.migration, part.segment
    late = isinstance(cause, DeadlinePassed)
    return (RolledBack if _is_whole(migration, segment) else Stranded)(
        f"{migration.file.file}: {'its statements took too long' if late else 'the connection broke'}: {cause}.",
        code="apply_timed_out" if late else "connection_lost",
        hint="Raise apply_timeout_s, or split the work into smaller migrations."
        if late
        else "Run again when the server answers.",
        state=_state(migration, segment),
        retryable=not late,
        where=Where(file=migration.file.file, line=segment.statements[0].line if segment.statements else None),
    )


def alone_failed(complaint: Complaint, migration: Migration, segment: Segment, *, leftover: str | None) -> AutopilotError:
    """A statement outside any transaction failed. `leftover` names what it left behind, when it did."""
    where = locate(migration, segment, segment.statements[0], complaint, text_start=0)
    kind = RolledBack if _is_whole(migration, segment) and leftover is None else Stranded
    return kind(
        f"{where}: PostgreSQL says: {complaint.words()}",
        code="migration_failed" if kind is RolledBack else "partially_applied",
        hint=complaint.hint or _HINTS.get(complaint.sqlstate, "Mend the cause and run again: it goes on from this statement."),
        state=(f"Left behind: {leftover}. " if leftover else "") + _state(migration, segment),
        retryable=complaint.sqlstate in _RETRYABLE,
        where=where,
    )


def alone_interrupted(migration: Migration, segment: Segment, cause: ConnectionLost | DeadlinePassed) -> AutopilotError:
    statement = segment.statements[0]
    return Stranded(
        f"{migration.file.file}:{statement.line}: no answer to {statement.alone_because}: {cause}.",
        code="connection_lost",
        state=f"The server may still be working on it. {_state(migration, segment)}",
        hint="Run again: Autopilot asks the catalog what came of it and goes on from there.",
        retryable=True,
        where=Where(file=migration.file.file, line=statement.line, statement=statement.shown()),
    )


def after(cause: RolledBack, *, done: tuple[str, ...], migrations: tuple[Migration, ...]) -> AutopilotError:
    """The same failure, told with what of the push is in and what is not."""
    out = tuple(m.file.file for m in migrations if m.file.file not in done)
    if done:
        return Stranded(
            cause.message,
            code=cause.code,
            state=f"{_listed(done)} in; {_listed(out)} not. {cause.state}",
            hint=cause.hint + " What is in stays in and is not run again.",
            retryable=cause.retryable,
            where=cause.where,
        )
    if len(out) > 1 and cause.state == _AS_BEFORE:
        cause.state = f"Rolled back: none of the {len(out)} files is in, the database is as it was."
    return cause


def _listed(files: tuple[str, ...]) -> str:
    return f"{', '.join(files)} {'is' if len(files) == 1 else 'are'}"


_AS_BEFORE = "Rolled back: the database is as it was."


def _is_whole(migration: Migration, segment: Segment) -> bool:
    """Whether nothing of the file was committed before this segment."""
    return segment not in migration.segments or migration.segments.index(segment) == 0


def _state(migration: Migration, segment: Segment) -> str:
    if _is_whole(migration, segment):
        return _AS_BEFORE
    before = migration.segments.index(segment)
    lines = migration.segments[before - 1].statements[-1].line
    return (
        f"This part was rolled back; what the file did up to line {lines} is committed and recorded, "
        "because the file holds statements that cannot share a transaction."
    )


def _ours(complaint: Complaint, migration: Migration) -> AutopilotError:
    if complaint.sqlstate == "23505" and complaint.table in {"applied_migrations", "schema_migrations"}:
        return RolledBack(
            f"{migration.file.file} was applied by someone else in this very moment.",
            code="applied_elsewhere",
            hint="Run again: it will be taken as applied.",
            retryable=True,
            where=Where(file=migration.file.file),
        )
    return RolledBack(
        f"{migration.file.file}: its ledger row could not be written; PostgreSQL says: {complaint.words()}",
        code="ledger_not_written",
        hint=complaint.hint or "Check the role's rights on the schemas automation and supabase_migrations, then run again.",
        where=Where(file=migration.file.file),
    )


def invalid_index(migration: Migration, segment: Segment, name: str) -> AutopilotError:
    statement = segment.statements[0]
    return Stranded(
        f"{migration.file.file}:{statement.line}: the index {name} is there but invalid: an earlier build of it failed half-way.",
        code="invalid_index",
        state=_state(migration, segment),
        hint=f"Run DROP INDEX CONCURRENTLY {name}; and then run again: it will be built anew.",
        where=Where(file=migration.file.file, line=statement.line, statement=statement.shown()),
    )
