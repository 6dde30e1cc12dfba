"""What stands between statements (blanks, comments, semicolons), and what a semicolon can be inside of."""

from __future__ import annotations

import re

_SKIPPED = re.compile(r"\s+|--[^\n]*")
_COMMENT_MARK = re.compile(r"/\*|\*/")
#: What ends a statement, or begins something in which a semicolon ends none.
MARK = re.compile(r"""(?x) ; | -- | /\* | ' | " | \$ (?<![\w$]\$) (?: [^\W\d]\w* )? \$ """)
_ESCAPES = re.compile(r"(?<![\w$])[eE]")
#: A literal in which backslash escapes, with the parts that go on after a line break.
_ESCAPED = re.compile(
    r"""(?xs) ' (?: [^'\\]++ | \\. | '' )*+ '
    (?: [ \t\f\v]* (?:--[^\n]*)? \n (?: [ \t\n\f\v] | --[^\n]*\n )*+ ' (?: [^'\\]++ | \\. | '' )*+ ' )*+"""
)


def first_word(text: str, position: int) -> int:
    """The first character at or after `position` that is neither blank nor inside a comment."""
    while position < len(text):
        if text.startswith("/*", position):
            position = _after_comment(text, position)
        elif skipped := _SKIPPED.match(text, position):
            position = skipped.end()
        else:
            break
    return position


def _after_comment(text: str, position: int) -> int:
    depth = 0
    for mark in _COMMENT_MARK.finditer(text, position):
        depth += 1 if mark[0] == "/*" else -1
        if depth == 0:
            return mark.end()
    return len(text)


def after(text: str, mark: re.Match[str]) -> int:
    """The character after what begins at `mark`: a comment, a literal, a quoted name or a body; the end where it has none.

    Of anything else it is the mark's own end.
    """
    opening = mark[0]
    if opening == "/*":
        return _after_comment(text, mark.start())
    if _escapes(text, mark):
        escaped = _ESCAPED.match(text, mark.start())
        return len(text) if escaped is None else escaped.end()
    closing = {"--": "\n", ";": ""}.get(opening, opening)
    found = text.find(closing, mark.end())
    return len(text) if found < 0 else found + len(closing)


def _escapes(text: str, mark: re.Match[str]) -> bool:
    return mark[0] == "'" and _ESCAPES.match(text, max(0, mark.start() - 1)) is not None


#: A part of such a literal, or a comment between two of them.
_PART = re.compile(r"""(?s)('(?:[^'\\]++|\\.|'')*+')|--[^\n]*""")


def without_line_comments(text: str) -> str:
    """The same bytes with blanks for every `-- comment`."""
    pieces, position = [], 0
    while (mark := MARK.search(text, position)) is not None:
        pieces.append(text[position : mark.start()])
        position = after(text, mark)
        own = text[mark.start() : position]
        pieces.append(_PART.sub(_blanked, own) if mark[0] == "--" or _escapes(text, mark) else own)
    return "".join([*pieces, text[position:]])


def _blanked(part: re.Match[str]) -> str:
    return part[0] if part[1] else " " * len(part[0].encode("utf-8"))


def find(text: str, piece: str, position: int) -> int:
    """Where `piece` begins at or after `position`, with nothing but blanks, comments and semicolons before it."""
    while not text.startswith(piece, position) and position < len(text):
        if text.startswith("/*", position):
            position = _after_comment(text, position)
        elif skipped := _SKIPPED.match(text, position):
            position = skipped.end()
        else:
            position += 1
    return position
