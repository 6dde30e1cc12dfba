"""Pure: what the output plugin test_decoding says of a change, read back into names and values.

    BEGIN 744
    table public.people: UPDATE: old-key: id[integer]:1 new-tuple: id[integer]:5 name[text]:'it''s' big[text]:null
    table public.people, public.orders: TRUNCATE: restart_seqs cascade
    message: transactional: 1 prefix: autopilot:1f, sz: 0 content:
    COMMIT 744

The format is contrib/test_decoding's, from PostgreSQL 13 to 18. Whatever is not of that form is refused: a change that was not
understood must not be taken for none.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from typing import Literal, NamedTuple

What = Literal["insert", "update", "delete"]

_NAME = r'(?:"(?:[^"]|"")*"|[a-z_][a-z0-9_]*)'
#: A type may end in [] itself, and be called anything between quotes.
_TYPE = r'\[((?:[^"\]]|\](?!:)|"(?:[^"]|"")*")*)\]:'
_VALUE = r"""null|unchanged-toast-datum|true|false|B'[01]*'|'[^']*(?:''[^']*)*'|-?Infinity|NaN|[-+0-9.eE]+"""
_DATUM = re.compile(rf" ({_NAME}){_TYPE}({_VALUE})(?= |\Z)")
_HEAD = re.compile(rf"table ({_NAME})\.({_NAME}): (INSERT|UPDATE|DELETE):")
_TRUNCATE = re.compile(
    rf"table ({_NAME}\.{_NAME}(?:, {_NAME}\.{_NAME})*): TRUNCATE:(?: restart_seqs)?(?: cascade)?(?: \(no-flags\))?\Z"
)
_QUALIFIED = re.compile(rf"({_NAME})\.({_NAME})")
_BORDER = re.compile(r"(BEGIN|COMMIT) [0-9]+\Z")
_MESSAGE = re.compile(r"message: transactional: [01] prefix: (.*), sz: [0-9]+ content:", re.DOTALL)
_NOTHING, _OLD, _NEW = " (no-tuple-data)", " old-key:", " new-tuple:"


class Unchanged(Enum):
    """A large value that an UPDATE left alone is not told."""

    TOAST = "unchanged-toast-datum"


class Datum(NamedTuple):
    """One column of a row."""

    name: str
    #: Without its modifiers: "numeric", never "numeric(10,2)".
    type: str
    #: As its type writes it; None is NULL.
    value: str | Unchanged | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Border:
    what: Literal["begin", "commit"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    schema: str
    table: str
    what: What
    #: The columns that tell the old row (its replica identity), those that are null left out. None: they did not change, or
    #: nothing tells them.
    old: tuple[Datum, ...] | None = None
    #: The new row. None where it is not told.
    new: tuple[Datum, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Truncate:
    #: (schema, name) of each, those emptied by CASCADE too.
    tables: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    prefix: str


def read(line: str) -> Border | Change | Truncate | Message:
    """Raises ValueError where the line is of another form; it does not repeat what the row holds."""
    if line.startswith("table "):
        head = _HEAD.match(line)
        if head is not None:
            return _change(line, head)
        found = _TRUNCATE.match(line)
        if found is not None:
            tables = tuple((_plain(s), _plain(n)) for s, n in _QUALIFIED.findall(found[1]))
            return Truncate(tables=tables)
    border = _BORDER.match(line)
    if border is not None:
        return Border(what="begin" if border[1] == "BEGIN" else "commit")
    message = _MESSAGE.match(line)
    if message is not None:
        return Message(prefix=message[1])
    raise ValueError(f"test_decoding said something that is not understood: {line[:40]!r}")


def _change(line: str, head: re.Match[str]) -> Change:
    schema, table, what = _plain(head[1]), _plain(head[2]), head[3]
    at = head.end()
    if what == "DELETE":
        old, at = _tuple(line, at)
        new = None
    elif line.startswith(_OLD, at):
        old, at = _tuple(line, at + len(_OLD))
        if not line.startswith(_NEW, at):
            raise ValueError(f"a change of {schema}.{table} is told without its new row, at character {at}")
        new, at = _tuple(line, at + len(_NEW))
    else:
        old = None
        new, at = _tuple(line, at)
    if at != len(line):
        raise ValueError(f"a change of {schema}.{table} is not understood from character {at} on")
    return Change(schema=schema, table=table, what=what.lower(), old=old, new=new)  # type: ignore[arg-type]


def _tuple(line: str, at: int) -> tuple[tuple[Datum, ...] | None, int]:
    """The columns from there on, and where they end."""
    if line.startswith(_NOTHING, at):
        return None, at + len(_NOTHING)
    found = []
    while (one := _DATUM.match(line, at)) is not None:
        found.append(Datum(_plain(one[1]), one[2], _value(one[3])))
        at = one.end()
    return tuple(found), at


def _plain(name: str) -> str:
    return name[1:-1].replace('""', '"') if name.startswith('"') else name


def _value(text: str) -> str | Unchanged | None:
    if text.startswith("'"):
        return text[1:-1].replace("''", "'")
    if text.startswith("B'"):
        return text[2:-1]
    if text == "null":
        return None
    return Unchanged.TOAST if text == Unchanged.TOAST.value else text
