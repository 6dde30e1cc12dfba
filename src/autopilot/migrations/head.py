"""The head of a file: the comments above its first statement, read without its grammar."""

from __future__ import annotations

import re

from autopilot.migrations.blanks import first_word

DIRECTIVE = re.compile(r"(?mi)^[ \t]*--[ \t]*autopilot:[ \t]*(\S*)")


def waits(text: str) -> bool:
    """Whether the file asks to wait for a proven deploy."""
    return any(match[1].lower() == "after-deploy" for match in DIRECTIVE.finditer(text[: first_word(text, 0)]))
