"""What commits together: all pending files where that provably changes nothing, else one segment at a time."""

from __future__ import annotations

import re
from dataclasses import dataclass

from autopilot.migrations.segments import EMPTY, Migration, Segment


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One segment of one migration, and its place there."""

    migration: Migration
    segment: Segment
    number: int
    #: Whether the migration's ledger row belongs to this part.
    last: bool

    @property
    def is_closing(self) -> bool:
        """Whether only our rows are left to write, for a stand-alone statement that is done."""
        return self.segment is EMPTY and bool(self.migration.segments)

    @property
    def first(self) -> bool:
        """Whether nothing of the file is in before it."""
        return self.number == 0 and not self.is_closing

    def author_set(self, setting: str) -> bool:
        """Whether the file itself has set this for its session, before this part."""
        earlier = self.migration.segments[: self.number]
        return any(s.sets_session and setting in s.text.lower() for segment in earlier for s in segment.statements)

    def closing(self) -> Part:
        """The part without its statement: what is left to write once a stand-alone statement is done."""
        return Part(migration=self.migration, segment=EMPTY, number=self.number, last=self.last)


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """Parts of one transaction, or one stand-alone statement."""

    parts: tuple[Part, ...]


def units(migrations: tuple[Migration, ...], *, transaction: str = "auto") -> tuple[Unit, ...]:
    """The transactions of a run, in order. `transaction` is the setting: "auto", "push" or "file"."""
    parts = tuple(part for migration in migrations for part in _parts(migration))
    together = transaction == "push" or (transaction == "auto" and why_apart(migrations) is None)
    if together and len(migrations) > 1 and why_never_together(migrations) is None:
        return (Unit(parts=parts),)
    return tuple(Unit(parts=(part,)) for part in parts)


def why_never_together(migrations: tuple[Migration, ...]) -> str | None:
    """Why no setting can make these files one transaction, or None where `transaction = "push"` can."""
    for migration in migrations:
        file = migration.file.file
        if not migration.transactional:
            return f"{file} holds statements that cannot share a transaction"
        if any(s.begin is not None for s in migration.segments):
            return f"{file} has a BEGIN of its own"
    return None


def why_apart(migrations: tuple[Migration, ...]) -> str | None:
    """Why these files commit one by one, or None where they can commit at once.

    Conservative: anything whose meaning may depend on a COMMIT between two files keeps them apart.
    """
    if len(migrations) < 2:
        return "there is only one file"
    never = why_never_together(migrations)
    if never is not None:
        return never
    for migration in migrations:
        file = migration.file.file
        for statement in migration.statements:
            if statement.kind == "alter_enum_stmt":
                return f"{file} adds an enum value, which can be used only once it is committed"
            if statement.kind in {"constraints_set_stmt", "lock_stmt", "call_stmt"} or _LIVES_BY_COMMIT.search(statement.text):
                return f"{file}:{statement.line} holds something that lives by COMMIT"
    return None


#: Temporary tables with ON COMMIT, deferred constraints, and the moment a transaction takes for "now".
_LIVES_BY_COMMIT = re.compile(r"(?i)\bon\s+commit\b|\bdeferrable\b|\binitially\s+deferred\b|\btemp(orary)?\s+table\b")


def _parts(migration: Migration) -> tuple[Part, ...]:
    segments = migration.segments or (EMPTY,)
    return tuple(
        Part(migration=migration, segment=segment, number=number, last=number == len(segments) - 1)
        for number, segment in enumerate(segments)
    )
