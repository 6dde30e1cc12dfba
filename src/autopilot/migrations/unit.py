"""What commits together: all pending files where that provably changes nothing, else one segment at a time."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from autopilot.migrations.relations import key
from autopilot.migrations.segments import EMPTY, Migration, Segment
from autopilot.migrations.statements import Statement


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


def units(migrations: tuple[Migration, ...], *, transaction: str = "auto", lock_room: int | None = None) -> tuple[Unit, ...]:
    """The transactions of a run, in order. `transaction` is the setting: "auto", "push" or "file"."""
    parts = tuple(part for migration in migrations for part in _parts(migration))
    if together(migrations, transaction=transaction, lock_room=lock_room):
        return (Unit(parts=parts),)
    return tuple(Unit(parts=(part,)) for part in parts)


def together(migrations: tuple[Migration, ...], *, transaction: str = "auto", lock_room: int | None = None) -> bool:
    """Whether these files make one transaction, under the setting."""
    if len(migrations) < 2 or transaction == "file" or why_never_together(migrations) is not None:
        return False
    return transaction == "push" or why_apart(migrations, lock_room=lock_room) is None


def gathered(parts: tuple[Part, ...]) -> Iterator[tuple[Part, ...]]:
    """Parts of one transaction that share a message: whole files that only make what is new, which takes no time.

    Everything else is a message of its own: it may take the whole of our patience, or change how a message is read.
    """
    batch: list[Part] = []
    for part in parts:
        if batch and not (_is_quick(part) and len(batch) < _AT_MOST_FILES):
            yield tuple(batch)
            batch.clear()
        batch.append(part)
        if not _is_quick(part):
            yield tuple(batch)
            batch.clear()
    if batch:
        yield tuple(batch)


def _is_quick(part: Part) -> bool:
    found = part.segment.statements
    return len(part.segment.text) <= _AT_MOST_CHARACTERS and all(s.kind in _QUICK for s in found)


_AT_MOST_FILES = 50
_AT_MOST_CHARACTERS = 10_000
_QUICK = {
    "create_stmt", "create_schema_stmt", "create_enum_stmt", "create_domain_stmt", "create_seq_stmt", "create_function_stmt",
    "create_policy_stmt", "create_trig_stmt", "composite_type_stmt", "view_stmt", "comment_stmt", "grant_stmt", "rename_stmt",
}  # fmt: skip


def why_never_together(migrations: tuple[Migration, ...]) -> str | None:
    """Why no setting can make these files one transaction, or None where `transaction = "push"` can."""
    for migration in migrations:
        file = migration.file.file
        if not migration.transactional:
            return f"{file} holds statements that cannot share a transaction"
        if any(s.begin is not None for s in migration.segments):
            return f"{file} has a BEGIN of its own"
    return None


def why_apart(migrations: tuple[Migration, ...], *, lock_room: int | None = None) -> str | None:
    """Why these files commit one by one, or None where they can commit at once.

    Conservative: anything whose meaning may depend on a COMMIT between two files keeps them apart, and so do more locks
    than there is room for (`lock_room`; None where that is not known).
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
    return None if lock_room is None else _too_many_locks(locks_taken(migrations), lock_room)


def lock_room(lock_table: int) -> int:
    """How many locks one transaction may take: half of what the server's table holds, the rest is for everybody else."""
    return lock_table // 2


def locks_taken(migrations: tuple[Migration, ...]) -> int:
    """How many objects the files may lock until they commit: an estimate, rather too high, from their text alone.

    What is made brings its TOAST table, indexes and sequences; what is there already its indexes.
    """
    found = tuple(s for migration in migrations for s in migration.statements)
    made = {name for s in found for name in s.makes}
    there = {name for s in found for lock in s.locks if (name := key(lock.relation)) not in made}
    return _PER_RELATION * len(there) + sum(_locks_made(s) for s in found)


def _locks_made(statement: Statement) -> int:
    if statement.kind in {"create_stmt", "create_table_as_stmt"}:
        return _PER_TABLE + len(_BRINGS_ANOTHER.findall(statement.text))
    if statement.kind == "drop_stmt":
        return _PER_DROP * max(1, len(statement.touches))
    return 0 if statement.kind in _ROWS_ONLY else 1


#: A table, its TOAST table and that one's index.
_PER_TABLE = 3
_BRINGS_ANOTHER = re.compile(r"(?i)\bprimary\s+key\b|\bunique\b|\bexclude\b|\b(small|big)?serial[248]?\b|\bas\s+identity\b")
#: A relation that was there, with its TOAST table and a few indexes.
_PER_RELATION = 6
#: What hangs on it goes with it.
_PER_DROP = 10
_ROWS_ONLY = {"insert_stmt", "update_stmt", "delete_stmt", "merge_stmt", "select_stmt", "copy_stmt", "variable_set_stmt"}


def _too_many_locks(taken: int, room: int) -> str | None:
    if taken <= room:
        return None
    return (
        f"all files at once might take {taken:,} locks, and the server's lock table surely has room for {room:,}"
        " (max_locks_per_transaction)"
    )


#: Temporary tables with ON COMMIT, deferred constraints, and the moment a transaction takes for "now".
_LIVES_BY_COMMIT = re.compile(r"(?i)\bon\s+commit\b|\bdeferrable\b|\binitially\s+deferred\b|\btemp(orary)?\s+table\b")


def _parts(migration: Migration) -> tuple[Part, ...]:
    segments = migration.segments or (EMPTY,)
    return tuple(
        Part(migration=migration, segment=segment, number=number, last=number == len(segments) - 1)
        for number, segment in enumerate(segments)
    )
