"""Chooses the way back from facts alone: the cheapest route that loses nothing comes first."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What is known about the release that would be undone."""

    run_id: str | None
    #: "success", "failure", "pending", or None when nothing was ever applied.
    status: str | None
    versions: tuple[str, ...]
    backup_file: str | None
    #: Whether that backup is there and is what its manifest describes.
    backup_good: bool
    #: Rows by table in the backup's snapshot, and now. None where they were not counted.
    rows_then: Mapping[str, int] | None
    rows_now: Mapping[str, int] | None
    #: Tables whose rows that backup left out.
    without_data: tuple[str, ...] = ()
    #: How to go back to the provider's restore point that stood in for a dump.
    restore_point: str | None = None
    #: The releases that are in and would be gone back on, the newest first.
    steps: tuple[Step, ...] = ()
    in_the_way: InTheWay = InTheWay()
    #: As --to was given.
    to: str | None = None
    #: What the newest run did, where it left nothing in, in a sentence.
    last: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    table: str
    rows_then: int | None
    rows_now: int | None

    def words(self) -> str:
        if self.rows_then is None:
            return f"{self.table}: new since the backup, {self.rows_now} rows"
        if self.rows_now is None:
            return f"{self.table}: gone since the backup, had {self.rows_then} rows"
        return f"{self.table}: {self.rows_then} rows then, {self.rows_now} now ({self.rows_now - self.rows_then:+d})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    name: str
    #: "automatic", "by_hand" or "not_needed".
    how: str
    text: str
    loses: tuple[Loss, ...]
    #: True where the count of rows cannot show all that would be lost, as changed rows.
    may_lose_more: bool
    command: str | None = None
    #: What would be lost, in sentences.
    would_lose: tuple[str, ...] = ()
    #: Whether a rehearsal has proven it; None: not tried, or there is nothing to prove.
    proven: bool | None = None
    steps: tuple[Step, ...] = ()
    in_the_way: InTheWay = InTheWay()
    #: Tables whose number of rows is not that of the backup; None: not counted. They are not lost here.
    written: tuple[Loss, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WayBack:
    """Routes, best first, and why the first is best."""

    summary: str
    routes: tuple[Route, ...]


def way_back(facts: Facts) -> WayBack:
    """The routes that exist today for this release."""
    if facts.status is None or facts.run_id is None:
        return WayBack(summary="Nothing was ever applied by Autopilot here: there is nothing to undo.", routes=())
    if facts.status in {"failure", "rollback"} and not facts.steps:
        return WayBack(
            summary=facts.last
            or f"The last run ({facts.run_id}) was rolled back or refused: the database is as it was before it.",
            routes=(_transaction_abort(),),
        )
    if facts.status == "pending":
        return WayBack(
            summary=f"The run {facts.run_id} has not ended. The next `autopilot migrate` settles it first.",
            routes=(_transaction_abort(),),
        )
    routes = [_code_only(), _forward()]
    if facts.steps and all(step.recorded for step in facts.steps):
        routes.insert(0, _undo(facts))
    if facts.backup_file is not None and facts.backup_good:
        routes.append(_restore(facts))
    if facts.restore_point is not None:
        routes.append(_restore_point(facts.restore_point))
        facts = replace(facts, backup_file=None)
    lost = f" No usable backup: {facts.backup_file} is missing or damaged." if facts.backup_file and not facts.backup_good else ""
    return WayBack(
        summary=f"{_in(facts)} These ways lead back, the least destructive first.{lost}",
        routes=tuple(routes),
    )


def _in(facts: Facts) -> str:
    """What is in, in sentences."""
    last = f"{facts.last} " if facts.last else ""
    if not facts.steps:
        return f"{last}The release {facts.run_id} applied {_listed(facts.versions)}."
    runs = list(dict.fromkeys(s.run_id for s in facts.steps))
    versions = _listed(tuple(dict.fromkeys(v for s in facts.steps for v in s.versions)))
    if len(runs) > 1:
        return f"{last}{len(runs)} runs are to be gone back on ({', '.join(runs)}): {versions}."
    if facts.steps[0].is_whole:
        return f"{last}The release {runs[0]} applied {versions}."
    return f"{last}The release {runs[0]} failed half-way: not all of {versions} is in."


def _undo(facts: Facts) -> Route:
    loses = tuple(dict.fromkeys(sentence for step in facts.steps for sentence in step.loses))
    proofs = {step.proven for step in facts.steps}
    command = "autopilot rollback" + (f" --to {facts.to}" if facts.to else "")
    many = len(facts.steps) > 1
    return Route(
        name="undo in one transaction", how="by_hand", loses=(), may_lose_more=False,
        command=command + (" --accept-data-loss" if loses else ""), would_lose=loses,
        proven=False if False in proofs else None if None in proofs else True,
        steps=facts.steps, in_the_way=facts.in_the_way,
        written=None if facts.rows_then is None or facts.rows_now is None else losses(facts.rows_then, facts.rows_now),
        text=f"Undoes {'them, the newest first,' if many else 'it'} and proves that all is as before, or changes nothing."
        " What it changed or dropped comes back from the trash; rows that others wrote since stay, and those that have no place"
        " any more are kept in autopilot_trash.",
    )  # fmt: skip


def _listed(versions: tuple[str, ...]) -> str:
    return ", ".join(versions[:5]) + (f" and {len(versions) - 5} more versions" if len(versions) > 5 else "")


def _transaction_abort() -> Route:
    return Route(
        name="transaction abort", how="not_needed", loses=(), may_lose_more=False,
        text="PostgreSQL undid the migration together with its ledger row; nothing is left to undo.",
    )  # fmt: skip


def _code_only() -> Route:
    return Route(
        name="last good deploy", how="by_hand", loses=(), may_lose_more=False,
        text="Publish the previous deploy in the host's dashboard. Right when the old code can live with the new schema"
        " (only tables, columns or indexes were added). The schema and every row stay.",
    )  # fmt: skip


def _forward() -> Route:
    return Route(
        name="a migration that undoes it", how="by_hand", loses=(), may_lose_more=False,
        text="Push a new migration that reverses the change; it is rehearsed on a copy first like any other.",
    )  # fmt: skip


def _restore(facts: Facts) -> Route:
    return Route(
        name="restore from backup", how="by_hand", loses=losses(facts.rows_then, facts.rows_now), may_lose_more=True,
        text=f"Restore {facts.backup_file} into a new database (pg_restore) and take back from it what was lost."
        " Restoring over the live database would discard every write since the backup." + _without(facts.without_data),
    )  # fmt: skip


def _without(tables: tuple[str, ...]) -> str:
    return f" The backup does not hold the rows of {', '.join(tables)}." if tables else ""


def _restore_point(how_back: str) -> Route:
    return Route(name="the provider's restore point", how="by_hand", loses=(), may_lose_more=True, text=how_back)


def losses(then: Mapping[str, int] | None, now: Mapping[str, int] | None) -> tuple[Loss, ...]:
    """Tables whose row counts differ. Equal counts do not prove equal rows."""
    if then is None or now is None:
        return ()
    return tuple(
        Loss(table=table, rows_then=then.get(table), rows_now=now.get(table))
        for table in sorted(set(then) | set(now))
        if then.get(table) != now.get(table) and not table.startswith(("automation.", "supabase_migrations."))
    )
