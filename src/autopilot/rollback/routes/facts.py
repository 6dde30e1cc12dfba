"""What is known when a route back is chosen. Values alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from autopilot.measures import counted

#: The routes that `rollback` can take, as --route names them; the cheapest first.
Key = Literal["undo", "merge", "restore"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """One thing that the trash keeps of a release."""

    #: In words: "public.old", "age of public.users", "rows of public.users".
    name: str
    #: "move" (the table itself), "copy", or "images" (each row before and after).
    how: str
    #: As counted when it was kept; None of a table that was moved, which nobody counted.
    rows: int | None
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One release on the way back."""

    run_id: str
    versions: tuple[str, ...]
    #: Whether all of it is in.
    is_whole: bool
    #: Whether going forward, back and forward again worked on a copy; None: not tried.
    proven: bool | None
    #: What going back would lose, in sentences, as written down when it was applied.
    loses: tuple[str, ...]
    #: Whether the catalog from before it was written down.
    recorded: bool
    #: None where this role may not look into the trash.
    held: tuple[Held, ...] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class InTheWay:
    """What the catalog of now says of going back on the newest release."""

    #: Made or changed since by others, in sentences; nothing is dropped from under them.
    conflicts: tuple[str, ...] = ()
    #: What goes to the trash with its rows, by its name.
    to_trash: tuple[str, ...] = ()


NOTHING_IN_THE_WAY = InTheWay()


@dataclass(frozen=True, slots=True, kw_only=True)
class Copy:
    """A backup that is good, of this database, and fits this server."""

    file: str
    taken_at: datetime
    #: How long the dump took, and what the database took on its server's disk.
    took_ms: int
    database_bytes: int | None
    #: Runs that are in and began after it: to put it in place is to go back on them too.
    runs: tuple[str, ...]
    #: Runs that it holds and that were gone back on since: the ledger would not know what is in.
    holds_undone: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Brought:
    """What the release's backup would have to bring, because nothing else keeps it. In words."""

    brings: tuple[str, ...] = ()
    #: What stays lost all the same.
    leaves: tuple[str, ...] = ()
    #: From the backup to the release's first statement: what was written there meanwhile is in neither.
    gap_s: float = 0.0
    #: Why this cannot be done; None where it can.
    why_not: str | None = None


NOT_LOOKED_AT = Brought(why_not="it was not looked at")


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """Rows of a table in the backup, and now."""

    table: str
    rows_then: int | None
    rows_now: int | None

    def words(self) -> str:
        if self.rows_then is None:
            return f"{self.table}: new since the backup, {counted(self.rows_now or 0, 'row')}"
        if self.rows_now is None:
            return f"{self.table}: gone since the backup, had {counted(self.rows_then, 'row')}"
        return f"{self.table}: {counted(self.rows_then, 'row')} then, {self.rows_now:,} now ({self.rows_now - self.rows_then:+d})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Since:
    """Rows of a table that transactions after the release have inserted or changed, and that are still there."""

    table: str
    rows: int

    def words(self) -> str:
        return f"{self.table}: {counted(self.rows, 'row')} inserted or changed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What is known about the releases that would be undone."""

    run_id: str | None
    #: "success", "failure", "pending", or None when nothing was ever applied.
    status: str | None
    versions: tuple[str, ...]
    #: The release's own backup, or the one that --to names.
    backup_file: str | None
    #: Whether that backup is there, is what its manifest describes, and is of this database.
    backup_good: bool
    #: Why it is not.
    backup_why: str = ""
    #: Rows by table in the backup that would be put in place, and now. None where they were not counted.
    rows_then: Mapping[str, int] | None
    rows_now: Mapping[str, int] | None
    #: Tables whose rows that backup left out.
    without_data: tuple[str, ...] = ()
    #: How to go back to the provider's restore point that stood in for a dump.
    restore_point: str | None = None
    #: The releases that are in and would be gone back on, the newest first.
    steps: tuple[Step, ...] = ()
    in_the_way: InTheWay = NOTHING_IN_THE_WAY
    #: As --to was given.
    to: str | None = None
    #: What the newest run did, where it left nothing in, in a sentence.
    last: str | None = None
    #: That backup, or the next older good one where it is not good; None: there is none.
    copy: Copy | None = None
    merge: Brought = NOT_LOOKED_AT
    #: By transaction numbers: exact for rows that are there; what was deleted does not show. None: not counted.
    since: tuple[Since, ...] | None = None
    #: Runs that went back on later releases: what they put back counts there too.
    gone_since: tuple[str, ...] = ()


def losses(then: Mapping[str, int] | None, now: Mapping[str, int] | None) -> tuple[Loss, ...]:
    """Tables whose row counts differ. Equal counts do not prove equal rows."""
    if then is None or now is None:
        return ()
    return tuple(
        Loss(table=table, rows_then=then.get(table), rows_now=now.get(table))
        for table in sorted(set(then) | set(now))
        if then.get(table) != now.get(table) and not table.startswith(("automation.", "supabase_migrations.", "autopilot_trash."))
    )
