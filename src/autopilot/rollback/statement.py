"""What a way back consists of: commands by phase, what they keep, what they cannot bring back and what stands against them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum


class Phase(IntEnum):
    """In this order; within a phase in the order of what needs what."""

    #: A query that counts rows in the way; all must say 0.
    CHECK = 0
    #: Copies of what a command below would lose.
    KEEP = 1
    #: Ties that would take along, or hold, what should stay.
    LOOSEN = 2
    DROP = 3
    #: New tables, with all their rows, into the trash schema.
    MOVE = 4
    RENAME = 5
    #: Made again, or altered in place: what rows lie in, and what that needs.
    BUILD = 6
    #: Made again or altered: what rows must fit, or what reads them. Rows are brought back before it.
    BIND = 7
    #: Options, states, owners, grants, comments.
    FINISH = 8
    CLEAN = 9


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    phase: Phase
    text: str
    #: What it is about, by its name: "column public.orders.note".
    about: str
    #: What it means when a CHECK, or `unless`, finds rows; "{rows}" stands for how many: "3 rows".
    sentence: str = ""
    #: A query that counts rows; where it finds some, the command is left out, and that is told.
    unless: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trashed:
    """Something whose rows are kept in the trash schema."""

    #: The table there, unique.
    name: str
    #: "table" (moved as it was) or "columns" (a copy: the primary key and the columns that went).
    what: str
    #: What it was, by its name.
    origin: str
    columns: tuple[str, ...] = ()
    #: What finds the row again; empty where the table has no primary key and whole rows were copied.
    key: tuple[str, ...] = ()
    #: The table that it was, or was of, and its OID.
    schema: str = ""
    table: str = ""
    oid: int = 0
    #: Of a copy, the number of each of its columns in that table.
    numbers: tuple[tuple[str, int], ...] = ()
    #: Of a moved table, what was renamed with it: "TABLE", "INDEX" or "SEQUENCE"; its name before, quoted; its name in the trash.
    renamed: tuple[tuple[str, str, str], ...] = ()
    #: A moved table's own comment: in the trash it bears ours.
    comment: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Cannot:
    """What commands alone do not bring back, and which other routes may."""

    about: str
    sentence: str
    routes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reversal:
    """Pure outcome of `way_back`.

    conflicts: objects made or changed by others since, that stand in the way: nothing is dropped from under them.
    notes: what a reader should know and nobody needs to do.
    locks: tables to lock first, quoted and qualified, in one order.
    """

    statements: tuple[Statement, ...]
    moves_to_trash: tuple[Trashed, ...]
    cannot: tuple[Cannot, ...]
    conflicts: tuple[str, ...]
    notes: tuple[str, ...]
    locks: tuple[str, ...]

    def script(self) -> str:
        """The commands as one readable text."""
        return "".join(f"{statement.text};\n" for statement in self.statements)
