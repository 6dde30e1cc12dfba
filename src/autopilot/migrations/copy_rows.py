"""Rows that follow `COPY … FROM STDIN;` in a file, as pg_dump writes them, lifted out of the SQL."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from autopilot.errors import Refused, Where
from autopilot.migrations import grammar
from autopilot.migrations.blanks import MARK, after, first_word

#: Without this word there are no rows. PostgreSQL takes STDOUT for STDIN here.
_STDIN = re.compile(r"(?i)\bstd(?:in|out)\b")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rows:
    #: Character after the semicolon of their COPY.
    semicolon: int
    start: int
    end: int
    #: Character after the line that ends them.
    after: int


def lifted(text: str, *, file: str) -> tuple[str, dict[int, str]]:
    """The SQL with blank lines where rows were, so that every line keeps its number, and the rows.

    Rows are keyed by the character after their COPY's semicolon. Raises Refused (`copy_without_end`).
    """
    if not _STDIN.search(text):
        return text, {}
    found = list(_found(text, file))
    sql: list[str] = []
    done = 0
    for rows in found:
        sql += [text[done : rows.start], "\n" * text.count("\n", rows.start, rows.after)]
        done = rows.after
    return "".join([*sql, text[done:]]), dict(_keyed(found, text))


def _keyed(found: list[_Rows], text: str) -> Iterator[tuple[int, str]]:
    """Each COPY's rows by its semicolon's place in the SQL without them; the rows of two COPYs on one line stand below both."""
    gone, passed = 0, 0
    for rows in found:
        while found[passed].start <= rows.semicolon:
            before = found[passed]
            gone += before.after - before.start - text.count("\n", before.start, before.after)
            passed += 1
        yield rows.semicolon - gone, text[rows.start : rows.end]


def _found(text: str, file: str) -> Iterator[_Rows]:
    """Goes from semicolon to semicolon, as psql does: rows begin on the line below their COPY's semicolon."""
    begin = position = 0
    below: tuple[int, int] | None = None  # where rows begin below the line at hand, and where the last of them end
    while True:
        mark = MARK.search(text, position, len(text) if below is None else below[0])
        if mark is None:
            if below is None:
                return
            begin = begin if first_word(text, begin) < below[0] else below[1]
            position, below = below[1], None
            continue
        position = after(text, mark)
        if mark[0] != ";":
            continue
        start = (text.find("\n", position) if below is None else below[1]) + 1
        if start > 0 and _reads_rows(text[begin : mark.start()]):
            rows = _rows(text, begin, position, start, file)
            below = (start if below is None else below[0], rows.after)
            yield rows
        begin = position


def _reads_rows(statement: str) -> bool:
    import postgast

    first = first_word(statement, 0)
    if statement[first : first + 4].lower() != "copy" or not _STDIN.search(statement):
        return False
    try:
        parsed = grammar.parse(statement)
    except postgast.PgQueryError:
        return False
    return len(parsed) == 1 and reads_stdin(parsed[0].stmt)


def reads_stdin(node: Any) -> bool:
    """Whether the statement is a COPY that takes its rows from the client."""
    copy = node.copy_stmt
    return node.WhichOneof("node") == "copy_stmt" and bool(copy.is_from) and not copy.filename and not copy.is_program


def _rows(text: str, begin: int, semicolon: int, start: int, file: str) -> _Rows:
    end = _end(text, start)
    if end is not None:
        return _Rows(semicolon=semicolon, start=start, end=end, after=end + 2)
    begin = first_word(text, begin)
    line = text.count("\n", 0, begin) + 1
    raise Refused(
        f"{file}:{line}: the rows of this COPY are never ended by a line with \\. alone.",
        code="copy_without_end",
        hint="Add the line, or write the rows as INSERT.",
        where=Where(file=file, line=line, statement=text[begin:semicolon]),
    )


def _end(text: str, start: int) -> int | None:
    """Where the first line at or after `start` begins that is `\\.` and nothing else."""
    before = text.find("\n\\.", start - 1)
    while before >= 0 and text[before + 3 : before + 4] not in {"", "\n"}:
        before = text.find("\n\\.", before + 1)
    return before + 1 if before >= 0 else None
