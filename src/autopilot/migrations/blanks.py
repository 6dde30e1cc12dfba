"""What stands between statements: blanks, comments, semicolons."""

from __future__ import annotations

import re

_SKIPPED = re.compile(r"\s+|--[^\n]*")


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
    for mark in re.finditer(r"/\*|\*/", text[position:]):
        depth += 1 if mark[0] == "/*" else -1
        if depth == 0:
            return position + mark.end()
    return len(text)


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
