"""Route 3: from a backup, of the tables that a migration touched, the rows that it changed; what others wrote since stays.

`from_backup` does so while the release's schema is undone: rows nobody kept are merged, tables and columns that come back empty
are filled; all in that one transaction.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from autopilot.audit import ways_back
from autopilot.audit.ways_back import Release
from autopilot.backups.manifest import Manifest
from autopilot.backups.replay import Copy, Entry, Replay
from autopilot.errors import Refused
from autopilot.events import Event, Noted, Step, told
from autopilot.postgres.bounded import patient
from autopilot.postgres.session import Connection
from autopilot.rollback import loading, merge, row_numbers
from autopilot.rollback.loading import Loaded
from autopilot.rollback.merge import Merged, Touched
from autopilot.rollback.missing import added_again
from autopilot.rollback.snapshot import Snapshot, read
from autopilot.workflows import bringing_back, lacking
from autopilot.workflows.lacking import Lacking
from autopilot.workflows.restore_in_place import chosen, replay, require_fitting
from autopilot.workflows.undoing import Besides
from autopilot.workflows.world import World


def merge_back(
    world: World, connection: Connection, *, file: str, touched: Sequence[Touched], run_id: str, accept_uncertain: bool = False
) -> tuple[Merged, ...]:
    """Merges in the caller's open transaction, which the caller commits.

    Raises Refused (`no_backup`, `backup_damaged`, `backup_of_another`, `merge_*`, and what opening a backup raises) and
    RolledBack (`merge_failed`); then nothing of it may be committed.
    """
    with told(world.tell, world.clock, "merge", f"Merging rows from {file}") as step:
        manifest = chosen(world, file)
        require_fitting(connection, manifest)
        _require_rows(manifest, touched)
        with replay(world, step, manifest) as archive, patient(connection, world.settings.backup_timeout_s):
            world.reached("X1")
            loaded = _loaded(connection, archive, touched)
            world.reached("X2")
            found = merge.merge(
                connection, loaded, touched, run_id=run_id, accept_uncertain=accept_uncertain,
                keep_days=world.settings.trash_keep_days,
            )  # fmt: skip
            world.reached("X4")
        back, theirs = sum(m.restored + m.returned for m in found), sum(m.conflicts for m in found)
        step.says(f"{back:,} rows put back, {theirs:,} changed since stay")
    return found


@contextmanager
def from_backup(
    world: World, step: Step, connection: Connection, release: Release, *, file: str, run_id: str, overwrite: bool
) -> Iterator[Besides]:
    """What the release's backup brings of what the trash lacks; opened and read as far as can be before anything is locked.

    overwrite: rows that are missing come back although others may have deleted them.
    Raises Refused (`no_backup`, `backup_*`, `no_route`, and what opening a backup raises); in its functions Refused (`merge_*`)
    and RolledBack (`merge_failed`).
    """
    world = _told_once(world)
    manifest = chosen(world, file)
    require_fitting(connection, manifest)
    before, way = lacking.reversal(connection, release)
    with patient(connection, world.settings.backup_timeout_s):
        by = row_numbers.counted(connection, after="0", by=ways_back.transactions(connection, release.versions))
    lack = lacking.lacking(connection, release, manifest, before, way, by)
    if lack.is_nothing:
        raise Refused(
            f"Nothing is missing that {file} would have to bring.",
            code="no_route", hint="Undo it: `autopilot rollback`; `autopilot rollback --plan` tells what that would lose.",
        )  # fmt: skip
    lost = bringing_back.lost_things(before, lack.empty)
    bare = frozenset(key for key in lack.empty if before.by_key[key].facts.get("partitioned"))
    with (
        replay(world, step, manifest) as archive,
        bringing_back.sources(world, step, lost, connection, without_rows=bare, file=file) as sources,
    ):
        yield _besides(world, connection, archive, lack, sources, before, file=file, run_id=run_id, overwrite=overwrite)


def _told_once(world: World) -> World:
    """The archive is opened for rows and for tables: what is to be said of it is said once."""
    notes: set[str] = set()

    def tell(event: Event) -> None:
        if not isinstance(event, Noted) or event.text not in notes:
            world.tell(event)
        notes.update({event.text} if isinstance(event, Noted) else set())

    return replace(world, tell=tell)


def _besides(
    world: World, connection: Connection, archive: Replay, lack: Lacking, sources: tuple[bringing_back.Source, ...],
    before: Snapshot, *, file: str, run_id: str, overwrite: bool,
) -> Besides:  # fmt: skip
    again = added_again(before, read(connection))
    names = {(one.schema, one.table) for one in lack.rows}
    oids = [t.oid for t in before.things if t.kind == "table" and (t.schema, t.name) in names]
    storage = _storage(connection, oids)
    told_of: list[str] = []

    def rows() -> None:
        told_of.clear()
        if not lack.rows:
            return
        if _storage(connection, oids) != storage:
            raise Refused(
                "The rows of a table were written anew as the type of a column went back: nobody can tell any more which of them"
                " the release had changed.",
                code="merge_rewritten", hint="Take another route (`autopilot rollback --plan`).",
            )  # fmt: skip
        loaded = {
            place: replace(one, types={c: t for c, t in one.types.items() if c not in again.get(place, frozenset())})
            for place, one in _loaded(connection, archive, lack.rows).items()
        }
        world.reached("X2")
        found = merge.merge(
            connection, loaded, lack.rows, run_id=run_id, accept_uncertain=overwrite, keep_days=world.settings.trash_keep_days
        )
        told_of.extend(sentence for one in found for sentence in _sentences(one, file))

    def filled() -> None:
        told_of.extend(f"{one.sentence.removesuffix('.')}" for one in bringing_back.load(connection, sources))

    covers = frozenset(before.paths[key] for key in {s.lost.key for s in sources})
    return Besides(covers=covers, rows=rows, filled=filled, sentences=lambda: tuple(told_of))


def _storage(connection: Connection, oids: Sequence[int]) -> dict[int, int]:
    """The number of each table's file: another one when its rows were written anew."""
    query = "SELECT oid::bigint, relfilenode::bigint FROM pg_catalog.pg_class WHERE oid = ANY (%s::oid[])"
    return dict(connection.execute(query, (list(oids),)).fetchall())


def _sentences(one: Merged, file: str) -> Iterator[str]:
    counted = (
        (one.restored, f"rows put back from {file}"),
        (one.returned, f"deleted rows put back from {file}"),
        (one.removed, "rows of the release taken out"),
        (one.conflicts, "rows that others changed stay as they are"),
        (one.uncertain, "rows of the backup are gone, and nobody knows who deleted them: not put back (--overwrite does)"),
        (one.stuck, "rows stay as they are: others refer to them, or their place is taken"),
    )
    return (f"{one.table}: {rows:,} {words}" for rows, words in counted if rows)


def _loaded(connection: Connection, archive: Replay, touched: Sequence[Touched]) -> dict[tuple[str, str], Loaded]:
    with _rows_of(archive, touched) as (copies, definition):
        return loading.load(connection, copies, definition)


def _require_rows(manifest: Manifest, touched: Sequence[Touched]) -> None:
    """Raises Refused (`merge_not_in_backup`)."""
    without = sorted(t.name for t in touched if t.name in manifest.without_data or t.name not in manifest.rows)
    if without:
        raise Refused(
            f"The backup {manifest.file} does not hold the rows of {', '.join(without)}.",
            code="merge_not_in_backup", hint="Take another route (`autopilot rollback --plan`).",
        )  # fmt: skip


@contextmanager
def _rows_of(archive: Replay, touched: Sequence[Touched]) -> Iterator[tuple[Iterator[Copy], Callable[[str, str], str]]]:
    wanted = {(t.schema, t.table) for t in touched}
    entries = archive.entries()
    rows = tuple(e for e in entries if e.what == "TABLE DATA" and (e.schema, e.name) in wanted)

    def definition(schema: str, table: str) -> str:
        return archive.text([e for e in entries if _is(e, schema, table)])

    with archive.copies(rows) as copies:
        yield copies, definition


def _is(entry: Entry, schema: str, table: str) -> bool:
    return (entry.what, entry.schema, entry.name) == ("TABLE", schema, table)
