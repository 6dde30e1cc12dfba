"""A migration as PostgreSQL can run it: transactions, and statements that must stand alone."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from autopilot.errors import Refused, Where
from autopilot.migrations.files import MigrationFile
from autopilot.migrations.statements import Statement, statements


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """Statements that commit together, or one that commits by itself."""

    #: "transaction" or "alone".
    kind: str
    statements: tuple[Statement, ...]
    #: The author's own BEGIN, word for word; None where Autopilot supplies it.
    begin: str | None
    #: The file's text from the first statement to the last, as the author wrote it.
    text: str
    #: Character of the file at which `text` begins.
    start: int

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.text.encode("utf-8")).hexdigest()


#: What an empty file runs, and what is left of a stand-alone statement once it is done.
EMPTY = Segment(kind="transaction", statements=(), begin=None, text="", start=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Migration:
    """A file together with its segments. An empty file has none."""

    file: MigrationFile
    statements: tuple[Statement, ...]
    segments: tuple[Segment, ...]

    @property
    def version(self) -> str:
        return self.file.version

    @property
    def transactional(self) -> bool:
        """Whether the whole file commits at once, together with its ledger row."""
        return len(self.segments) <= 1 and all(s.kind == "transaction" for s in self.segments)


def migration(file: MigrationFile) -> Migration:
    """Raises Refused as `statements()` does, and `alone_in_transaction`, `transaction_control`, `unclosed_transaction`."""
    found = statements(file.text, file=file.file)
    return Migration(file=file, statements=found, segments=segments(found, text=file.text, file=file.file))


def segments(found: tuple[Statement, ...], *, text: str, file: str) -> tuple[Segment, ...]:
    """Cuts at the author's BEGIN and COMMIT and around each statement that must stand alone."""
    cut: list[Segment] = []
    gathered: list[Statement] = []
    begin: Statement | None = None

    def close(own_begin: Statement | None = None) -> None:
        if gathered:
            cut.append(_segment("transaction", tuple(gathered), text, None if own_begin is None else own_begin.text))
            gathered.clear()

    for statement in found:
        if statement.control == "BEGIN" and begin is None:
            close()
            begin = statement
        elif statement.control == "BEGIN":
            gathered.append(statement)  # PostgreSQL warns and goes on, and so it must be counted
        elif statement.control == "COMMIT":
            close(begin)
            begin = None
        elif statement.control is not None and statement.control not in _INSIDE_ONE_TRANSACTION:
            raise _control_refused(statement, file)
        elif statement.alone_because is not None:
            if begin is not None:
                raise _alone_refused(statement, begin, file)
            close()
            cut.append(_segment("alone", (statement,), text, None))
        else:
            gathered.append(statement)
    if begin is not None:
        raise _unclosed(begin, file)
    close()
    return tuple(cut)


_INSIDE_ONE_TRANSACTION = {"SAVEPOINT", "RELEASE", "ROLLBACK_TO"}


def _segment(kind: str, inside: tuple[Statement, ...], text: str, begin: str | None) -> Segment:
    start, end = inside[0].start, inside[-1].end
    return Segment(kind=kind, statements=inside, begin=begin, text=text[start:end], start=start)


def _control_refused(statement: Statement, file: str) -> Refused:
    return Refused(
        f"{file}:{statement.line}: {statement.text.splitlines()[0]} would take the migration out of its transaction.",
        code="transaction_control",
        hint="Remove it. BEGIN … COMMIT, SAVEPOINT, RELEASE and ROLLBACK TO are fine.",
        where=Where(file=file, line=statement.line, statement=statement.shown()),
    )


def _alone_refused(statement: Statement, begin: Statement, file: str) -> Refused:
    return Refused(
        f"{file}:{statement.line}: {statement.alone_because} cannot run inside the transaction begun on line {begin.line}.",
        code="alone_in_transaction",
        hint="Move the statement after the COMMIT, or into a file of its own.",
        where=Where(file=file, line=statement.line, statement=statement.shown()),
    )


def _unclosed(begin: Statement, file: str) -> Refused:
    return Refused(
        f"{file}:{begin.line}: the transaction begun here is never committed; everything after it would be undone.",
        code="unclosed_transaction",
        hint="Add the COMMIT, or remove the BEGIN: Autopilot runs the file in a transaction anyway.",
        where=Where(file=file, line=begin.line, statement=begin.shown()),
    )
