"""What went wrong in a migration: file, line, statement and PostgreSQL's own words."""

from __future__ import annotations

from autopilot.errors import AutopilotError, RolledBack, Stranded, Where
from autopilot.migrations.segments import Migration
from autopilot.migrations.statements import Statement
from autopilot.migrations.unit import Part, Unit
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
    **dict.fromkeys(
        ("22P02", "22001", "22003", "22007", "22008"),
        "Mend the values that do not fit, or change the migration; then push again.",
    ),
    "55P04": "Move the statement that uses the new enum value into a later file: it can be used once it is committed.",
}
_RETRYABLE = {"55P03", "40P01", "40001", "53100", "53300", "57P01", "57P02", "57P03"}


def rejected(answer: Answer, met: Envelope, *, tries: int, blockers: tuple[str, ...] = ()) -> AutopilotError:
    """The error for a transaction that PostgreSQL refused at the part `met`; it has been rolled back."""
    complaint, part = answer.complaint, met.part
    if complaint is None:  # pragma: no cover - callers have looked
        raise AssertionError
    index = _statement_met(answer, complaint, met)
    if len(answer.finished) == met.deferred:
        return deferred(complaint, part)
    if len(answer.finished) > met.xid_after:
        return not_ready(complaint, part)
    if not 0 <= index < len(met.answers):
        return _ours(complaint, part)
    segment = part.segment
    at = None if complaint.position is None else met.in_file(complaint.position)
    where = locate(part.migration, segment.statements[index], at)
    again = f" (tried {tries} times)" if tries > 1 else ""
    again += f". In the way: {'; '.join(blockers)}" if blockers and complaint.sqlstate in {"55P03", "40P01"} else ""
    return _kind(part)(
        f"{where}: PostgreSQL says: {complaint.words()}{again}",
        code="lock_not_available" if complaint.sqlstate == "55P03" else "migration_failed",
        hint=complaint.hint or _HINTS.get(complaint.sqlstate, "Mend the migration and push again."),
        state=_state(part),
        retryable=complaint.sqlstate in _RETRYABLE,
        where=where,
    )


def _statement_met(answer: Answer, complaint: Complaint, met: Envelope) -> int:
    """Which of the part's statements was refused, by what is finished; by its position where nothing was begun."""
    if answer.finished or complaint.position is None or not met.places or complaint.position <= met.places[0]:
        return met.statement(len(answer.finished))
    at = met.in_file(complaint.position)
    begun = sum(s.start <= at for s in met.part.segment.statements)
    return max(0, begun - 1)


def locate(migration: Migration, statement: Statement, at: int | None) -> Where:
    """The line of the character `at` that PostgreSQL points at, or the statement's first when it points nowhere."""
    line = statement.line
    if at is not None and statement.start <= at <= statement.end:
        line = migration.sql.count("\n", 0, at) + 1
    return Where(file=migration.file.file, line=line, statement=statement.shown())


def rejected_commit(complaint: Complaint | None, part: Part) -> AutopilotError:
    """A COMMIT that was answered by something else."""
    file = part.migration.file.file
    words = "nothing" if complaint is None else complaint.words()
    sqlstate = "" if complaint is None else complaint.sqlstate
    return _kind(part)(
        f"{file}: at COMMIT PostgreSQL says: {words}",
        code="migration_failed",
        hint=_HINTS.get(sqlstate, "Mend what PostgreSQL complains of and push again."),
        state=_state(part),
        where=Where(file=file),
    )


def deferred(complaint: Complaint, part: Part) -> AutopilotError:
    """A deferred constraint or trigger that spoke up at the end of its file."""
    file = part.migration.file.file
    return _kind(part)(
        f"{file}: at its end, where what is deferred is checked, PostgreSQL says: {complaint.words()}",
        code="migration_failed",
        hint=complaint.hint or _HINTS.get(complaint.sqlstate, "Mend the rows that break the rule, or change the migration."),
        state=_state(part),
        where=Where(file=file),
    )


def after_doubt(outcome: str, unit: Unit, cause: Exception) -> Exception | None:
    """What a COMMIT without an answer came to, once the server was asked; None where it went through."""
    part = unit.parts[-1]
    files = ", ".join(p.migration.file.file for p in unit.parts)
    if outcome == "committed":
        return None
    if outcome == "aborted":
        error: Exception = _kind(part)(
            f"The connection broke while {files} was being committed, and the server undid it.",
            code="connection_lost",
            hint="Run again.",
            state=_state(part),
            retryable=True,
        )
    else:
        error = Stranded(
            f"The connection broke while {files} was being committed, and the server cannot be asked what came of it.",
            code="commit_in_doubt",
            state="Either wholly applied and recorded or not at all; the server's ledger knows which.",
            hint="Run again as soon as the server answers: it is settled first, and nothing is applied twice.",
            retryable=True,
        )
    error.__cause__ = cause
    return error


def not_ready(complaint: Complaint, part: Part) -> AutopilotError:
    """The session could not be made as at first, or as the file's earlier parts left it."""
    return _kind(part)(
        f"{part.migration.file.file}: its session could not be set up; PostgreSQL says: {complaint.words()}",
        code="session_not_ready",
        hint=complaint.hint or "Check the settings that the file's first statements make, then run again.",
        state=_state(part),
        where=Where(file=part.migration.file.file),
    )


def undecided(part: Part) -> AutopilotError:
    """A CALL or DO that commits on the way, begun by an earlier run: how far it came, only a person can tell."""
    statement, file = part.segment.statements[0], part.migration.file
    row = f"WHERE version = '{file.version}' AND segment = {part.number}"
    return Stranded(
        f"{file.file}:{statement.line}: an earlier run began this statement, which commits on the way, and its end was not seen."
        " Did it do all of its work?",
        code="half_done_statement",
        state="What it committed stays; everything before it is applied and recorded, nothing after it is.",
        hint=f"If it did: UPDATE automation.migration_segments SET state = 'done' {row};"
        f" if it may run again from the start: DELETE FROM automation.migration_segments {row}; then run again.",
        where=Where(file=file.file, line=statement.line, statement=statement.shown()),
    )


def interrupted(parts: tuple[Part, ...], cause: Exception) -> AutopilotError:
    """The link or our patience ended inside a transaction: the server rolls it back, as no COMMIT was sent.

    `parts` are those whose answer was due.
    """
    part, files = parts[0], [p.migration.file.file for p in parts]
    line = part.segment.statements[0].line if part.segment.statements else None
    late = isinstance(cause, DeadlinePassed)
    return _kind(part)(
        f"{files[0] if len(files) == 1 else f'{files[0]} to {files[-1]}'}:"
        f" {'its statements took too long' if late else 'the connection broke'}: {cause}.",
        code="apply_timed_out" if late else "connection_lost",
        hint="Raise apply_timeout_s, or split the work into smaller migrations."
        if late
        else "Run again when the server answers.",
        state=_state(part),
        retryable=not late,
        where=Where(file=files[0], line=line) if len(files) == 1 else Where(),
    )


def alone_failed(complaint: Complaint, part: Part, *, leftover: str | None) -> AutopilotError:
    """A statement outside any transaction failed. `leftover` names what it left behind, when it did."""
    migration, segment = part.migration, part.segment
    at = None if complaint.position is None else segment.start + complaint.position - 1
    where = locate(migration, segment.statements[0], at)
    commits = segment.statements[0].kind in {"call_stmt", "do_stmt"}
    kind = RolledBack if part.first and leftover is None and not commits else Stranded
    return kind(
        f"{where}: PostgreSQL says: {complaint.words()}",
        code="migration_failed" if kind is RolledBack else "partially_applied",
        hint=complaint.hint or _HINTS.get(complaint.sqlstate, "Mend the cause and run again: it goes on from this statement."),
        state=(f"Left behind: {leftover}. " if leftover else "")
        + ("What the statement committed on its way stays. " if commits else "")
        + ("" if commits and part.first else _state(part)),
        retryable=complaint.sqlstate in _RETRYABLE,
        where=where,
    )


def alone_interrupted(part: Part, cause: ConnectionLost | DeadlinePassed) -> AutopilotError:
    migration, statement = part.migration, part.segment.statements[0]
    return Stranded(
        f"{migration.file.file}:{statement.line}: no answer to {statement.alone_because}: {cause}.",
        code="connection_lost",
        state=f"The server may still be working on it. {_state(part)}",
        hint="Run again: Autopilot asks the catalog what came of it and goes on from there.",
        retryable=True,
        where=Where(file=migration.file.file, line=statement.line, statement=statement.shown()),
    )


def after(cause: RolledBack | Stranded, *, done: tuple[str, ...], migrations: tuple[Migration, ...]) -> AutopilotError:
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
    if isinstance(cause, RolledBack) and len(out) > 1 and cause.state == _AS_BEFORE:
        cause.state = f"Rolled back: none of the {len(out)} files is in, the database is as it was."
    return cause


def _listed(files: tuple[str, ...]) -> str:
    return f"{', '.join(files)} {'is' if len(files) == 1 else 'are'}"


_AS_BEFORE = "Rolled back: the database is as it was."


def _kind(part: Part) -> type[RolledBack | Stranded]:
    """Rolled back where nothing of the file was in before, else stranded."""
    return RolledBack if part.first else Stranded


def _state(part: Part) -> str:
    if part.first:
        return _AS_BEFORE
    done = part.migration.segments[: part.number + part.is_closing]
    line = done[-1].statements[-1].line
    return (
        f"This part was rolled back; what the file did up to line {line} is committed, "
        "because the file holds statements that cannot share a transaction."
    )


def _ours(complaint: Complaint, part: Part) -> AutopilotError:
    file = part.migration.file.file
    if complaint.sqlstate == "23505" and complaint.table in {"applied_migrations", "schema_migrations"}:
        return _kind(part)(
            f"{file} was applied by someone else in this very moment.",
            code="applied_elsewhere",
            hint="Run again: it will be taken as applied.",
            state=_state(part),
            retryable=True,
            where=Where(file=file),
        )
    return _kind(part)(
        f"{file}: its ledger row could not be written; PostgreSQL says: {complaint.words()}",
        code="ledger_not_written",
        hint=complaint.hint or "Check the role's rights on the schemas automation and supabase_migrations, then run again.",
        state=_state(part),
        where=Where(file=file),
    )


def row_gone(part: Part) -> AutopilotError:
    """The file took its own ledger row away: nothing would say that it is applied."""
    file = part.migration.file.file
    return _kind(part)(
        f"{file} removed its own row from Autopilot's ledger.",
        code="ledger_not_written",
        hint="Leave the rows of automation.applied_migrations alone in migrations, then run again.",
        state=_state(part),
        where=Where(file=file),
    )


def escaped(part: Part) -> Stranded:
    """The transaction at the end of the part is not the one at its beginning."""
    return Stranded(
        f"{part.migration.file.file} ended its own transaction on the way (a procedure that commits?).",
        code="partially_applied",
        state="What the file did before that stays; the rest was rolled back, and the ledger does not list the file.",
        hint="Look at what the file did, undo or finish it by hand, and take the COMMIT out of the procedure it calls.",
    )


def invalid_index(part: Part, name: str) -> AutopilotError:
    migration, statement = part.migration, part.segment.statements[0]
    return Stranded(
        f"{migration.file.file}:{statement.line}: the index {name} is there but invalid: an earlier build of it failed half-way.",
        code="invalid_index",
        state=_state(part),
        hint=f"Run DROP INDEX CONCURRENTLY {name}; and then run again: it will be built anew.",
        where=Where(file=migration.file.file, line=statement.line, statement=statement.shown()),
    )
