"""Rows that follow `COPY … FROM STDIN;` in a file, as pg_dump writes them, lifted out of the SQL."""

from __future__ import annotations

import re

from autopilot.errors import Refused, Where

#: A COPY that may be followed by rows: it ends its line. Whether it is a statement, only the grammar can tell.
_COPY = re.compile(r"(?im)^[ \t]*copy\b[^;]*?\bfrom[ \t\n]+stdin\b[^;\n]*;[ \t]*\n")
_END = re.compile(r"(?m)^\\\.[ \t]*$")


def lifted(text: str, *, file: str) -> tuple[str, dict[int, str]]:
    """The SQL with blank lines where rows were, so that every line keeps its number, and the rows.

    Rows are keyed by the character after their COPY's semicolon. Raises Refused (`copy_without_end`).
    """
    if not re.search(r"(?i)\bfrom\s+stdin\b", text):
        return text, {}
    sql: list[str] = []
    rows: dict[int, str] = {}
    done, length = 0, 0
    position = 0
    while (match := _COPY.search(text, position)) is not None:
        chunk = text[done : match.end()]
        if not _ends_with_copy(chunk):
            position = text.index("\n", match.start()) + 1
            continue
        end = _END.search(text, match.end())
        if end is None:
            line = text.count("\n", 0, match.start()) + 1
            raise Refused(
                f"{file}:{line}: the rows of this COPY are never ended by a line with \\. alone.",
                code="copy_without_end",
                hint="Add the line, or write the rows as INSERT.",
                where=Where(file=file, line=line, statement=match[0].strip()),
            )
        length += len(chunk)
        semicolon = length - len(chunk) + chunk.rindex(";") + 1
        rows[semicolon] = text[match.end() : end.start()]
        blank = "\n" * text.count("\n", match.end(), end.end())
        sql += [chunk, blank]
        length += len(blank)
        done = position = end.end()
    return "".join([*sql, text[done:]]), rows


def _ends_with_copy(chunk: str) -> bool:
    """Whether the chunk is whole statements, the last of them a COPY: no string, body or comment is open there."""
    import postgast

    try:
        parsed = postgast.parse(chunk)
    except postgast.PgQueryError:
        return False
    return bool(parsed.stmts) and parsed.stmts[-1].stmt.WhichOneof("node") == "copy_stmt"
