"""What a file asks of Autopilot in a comment at its head: `-- autopilot:after-deploy`."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from autopilot.errors import Refused, Where
from autopilot.migrations.head import DIRECTIVE
from autopilot.migrations.statements import Statement

#: Each directive and what it asks for.
DIRECTIVES = {"after-deploy": "the file waits until the new deploy is proven healthy"}


def directives(sql: str, statements: Sequence[Statement], *, file: str) -> frozenset[str]:
    """The directives of a file. Text inside a statement is none.

    Raises Refused (`unknown_directive`, `late_directive`): one that is misspelt or overlooked would run at the wrong time.
    """
    if "autopilot:" not in sql.lower():
        return frozenset()
    head = statements[0].start if statements else len(sql)
    found = set()
    for match in DIRECTIVE.finditer(sql):
        if any(s.start < match.start() < s.start + len(s.text) for s in statements):
            continue
        word, line = match[1].lower(), sql.count("\n", 0, match.start(1)) + 1
        if word not in DIRECTIVES:
            raise _unknown(word, file, line)
        if match.start() > head:
            raise _late(word, file, line)
        found.add(word)
    return frozenset(found)


def _unknown(word: str, file: str, line: int) -> Refused:
    near = difflib.get_close_matches(word, DIRECTIVES, n=1, cutoff=0.4)
    return Refused(
        f"{file}:{line}: Autopilot knows no directive {word!r}." + (f" Did you mean {near[0]!r}?" if near else ""),
        code="unknown_directive",
        hint=f"Correct or remove the comment; known: {', '.join(f'-- autopilot:{d}' for d in DIRECTIVES)}.",
        where=Where(file=file, line=line),
    )


def _late(word: str, file: str, line: int) -> Refused:
    return Refused(
        f"{file}:{line}: -- autopilot:{word} speaks of the whole file and must stand above its first statement.",
        code="late_directive",
        hint="Move the comment to the head of the file; or put the statements below it into a file of their own.",
        where=Where(file=file, line=line),
    )
