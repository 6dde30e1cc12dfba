"""A migration as PostgreSQL can run it: transactions, and statements that must stand alone."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field

from autopilot.errors import Refused, Where
from autopilot.migrations.change import worst
from autopilot.migrations.copy_rows import lifted
from autopilot.migrations.directives import directives
from autopilot.migrations.effect import Effect
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
    def copy_rows(self) -> tuple[str, ...]:
        """The rows of its COPY … FROM STDIN statements, in order."""
        return tuple(s.copy_rows for s in self.statements if s.copy_rows is not None)

    @property
    def sha256(self) -> str:
        whole = "\x00".join((self.text, *self.copy_rows))
        return hashlib.sha256(whole.encode("utf-8")).hexdigest()


#: A label that a DO block adds to an enum, perhaps in a string that it EXECUTEs.
_ADDS_VALUE = re.compile(r"(?i)\badd\s+value\s+(?:if\s+not\s+exists\s+)?'+([^']+)'")

#: What an empty file runs, and what is left of a stand-alone statement once it is done.
EMPTY = Segment(kind="transaction", statements=(), begin=None, text="", start=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Migration:
    """A file together with its segments. An empty file has none."""

    file: MigrationFile
    #: The file's text with blank lines in place of COPY rows; every position is one in this.
    sql: str
    statements: tuple[Statement, ...]
    segments: tuple[Segment, ...]
    #: Positions of statements that stand alone because running them showed that they commit.
    alone: frozenset[int] = frozenset()
    #: What the file asks of Autopilot (`directives.DIRECTIVES`).
    asks: frozenset[str] = frozenset()
    #: One a statement, as seen within its push; empty where nobody has looked.
    effects: tuple[Effect, ...] = ()

    @property
    def after_deploy(self) -> bool:
        """Whether it waits until the new deploy is proven."""
        return "after-deploy" in self.asks

    @property
    def change(self) -> str | None:
        """The class of the whole file, that of its worst statement; None where nobody has looked."""
        return worst(self.changes) if self.effects or not self.statements else None

    @property
    def changes(self) -> list[str]:
        """The class of each statement."""
        return [effect.change.kind for effect in self.effects]

    @property
    def version(self) -> str:
        return self.file.version

    @property
    def transactional(self) -> bool:
        """Whether the whole file commits at once, together with its ledger row."""
        return len(self.segments) <= 1 and all(s.kind == "transaction" for s in self.segments)


def migration(file: MigrationFile, *, alone: frozenset[int] = frozenset()) -> Migration:
    """The file cut into segments; `alone` names (by position) CALL and DO statements that turned out to commit.

    Raises Refused as `statements()` does, and `alone_in_transaction`, `transaction_control`, `unclosed_transaction`."""
    found = statements(file.text, file=file.file)
    sql, _ = lifted(file.text, file=file.file)
    return Migration(
        file=file,
        sql=sql,
        statements=found,
        segments=segments(found, text=sql, file=file.file, alone=alone),
        alone=alone,
        asks=directives(sql, found, file=file.file),
    )


def segments(found: tuple[Statement, ...], *, text: str, file: str, alone: frozenset[int] = frozenset()) -> tuple[Segment, ...]:
    """Cuts at the author's BEGIN and COMMIT and around each statement that must stand alone."""
    knife = _Knife(text=text, file=file)
    for position, statement in enumerate(found):
        if position in alone:
            knife.alone(statement)
        else:
            knife.take(statement)
    return knife.finished()


@dataclass(slots=True, kw_only=True)
class _Knife:
    """What has been cut, and what is gathered for the next segment."""

    text: str
    file: str
    cut: list[Segment] = field(default_factory=list)
    gathered: list[Statement] = field(default_factory=list)
    #: Enum values added in the transaction at hand.
    labels: list[str] = field(default_factory=list)
    begin: Statement | None = None

    def take(self, statement: Statement) -> None:
        match statement.control:
            case "BEGIN" if self.begin is None:
                self.close()
                self.begin = statement
            case "COMMIT":
                self.close()
                self.begin = None
            case None if statement.alone_because is not None:
                self.alone(statement)
            case None if self.begin is None and self.uses_new_label(statement):
                self.close()
                self.gather(statement)
            case None | "BEGIN" | "SAVEPOINT" | "RELEASE" | "ROLLBACK_TO":
                # a BEGIN inside a BEGIN: PostgreSQL warns and goes on, and so it must be counted
                self.gather(statement)
            case _:
                raise _control_refused(statement, self.file)

    def uses_new_label(self, statement: Statement) -> bool:
        """Whether an enum value added in the transaction at hand may be used: it can be only once it is committed."""
        return any("'" + label.replace("'", "''") + "'" in statement.text for label in self.labels)

    def gather(self, statement: Statement) -> None:
        self.gathered.append(statement)
        if statement.enum_label is not None:
            self.labels.append(statement.enum_label)
        elif statement.kind == "do_stmt":
            self.labels += _ADDS_VALUE.findall(statement.text)

    def close(self) -> None:
        """Ends the transaction that is being gathered, if there is one."""
        if self.gathered:
            own = None if self.begin is None else self.begin.text
            self.cut.append(_segment("transaction", tuple(self.gathered), self.text, own))
            self.gathered.clear()
            self.labels.clear()

    def alone(self, statement: Statement) -> None:
        if self.begin is not None:
            raise _alone_refused(statement, self.begin, self.file)
        self.close()
        self.cut.append(_segment("alone", (statement,), self.text, None))

    def finished(self) -> tuple[Segment, ...]:
        if self.begin is not None:
            raise _unclosed(self.begin, self.file)
        self.close()
        return tuple(self.cut)


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
