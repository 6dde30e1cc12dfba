"""Route 4 with its ledger: a backup in the place of everything, and in the same transaction the rows that say so.

Releases since the backup are marked undone, their versions are pending again, and it is written down where tables and all else
are since, so that older releases can still be undone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from autopilot.audit import ways_back
from autopilot.audit.journal import Run
from autopilot.audit.ways_back import Release
from autopilot.backups.manifest import Manifest
from autopilot.clock import elapsed_ms
from autopilot.measures import about_in_words, counted
from autopilot.postgres.session import Connection
from autopilot.rollback import trash
from autopilot.rollback.aligned import at_keys
from autopilot.rollback.moved import moved, places
from autopilot.rollback.quarantine.in_place import Replaced
from autopilot.rollback.snapshot import Snapshot, decode, read
from autopilot.workflows.restore_in_place import Restored, chosen, restore_in_place
from autopilot.workflows.which import runs, versions
from autopilot.workflows.world import World


@dataclass(frozen=True, slots=True, kw_only=True)
class InPlace:
    #: By which `salvage` knows what stepped aside.
    token: str
    sentences: tuple[str, ...]


def put_in_place(
    world: World, run: Run, connection: Connection, releases: Sequence[Release], *, file: str, stage: bool, begun_s: float
) -> InPlace:
    """Raises what `restore_in_place` raises. `connection` holds no transaction: what was before is read on it."""
    manifest = chosen(world, file)
    then = _then(connection, releases)

    def record(there: Connection, replaced: Replaced) -> None:
        _record(run, there, releases, manifest, replaced, then, elapsed_ms(world.clock, begun_s))

    done = restore_in_place(world, file=file, run_id=run.run_id, stage=stage, record=record)
    return InPlace(token=done.replaced.token, sentences=_sentences(done))


def _then(connection: Connection, releases: Sequence[Release]) -> Snapshot:
    """The catalog that the backup holds, as far as it is known, by the keys of today."""
    oldest = releases[-1] if releases else None
    if oldest is None or not oldest.has_before:
        return read(connection)
    before, _ = ways_back.snapshots(connection, oldest.migration_log_id)
    return at_keys(decode(before or ""), ways_back.remade_since(connection, oldest.migration_log_id))


def _record(
    run: Run, there: Connection, releases: Sequence[Release], manifest: Manifest, replaced: Replaced,
    then: Snapshot, duration_ms: int,
) -> None:  # fmt: skip
    """The ledger's rows, in the transaction of the restore."""
    notes = _notes(manifest.file, releases, replaced)
    for release in releases:
        ways_back.marked_undone(there, run, release, notes=notes)
    since = ways_back.applied_since(there, manifest.taken_at)
    pending = tuple(dict.fromkeys((*versions(releases), *since)))
    remade = moved(then, read(there))
    ways_back.put_in_place(
        there, run, versions=pending, backup_file=manifest.file, notes=notes, duration_ms=duration_ms, remade=remade
    )
    trash.follow(there, places(remade))


def _notes(file: str, releases: Sequence[Release], replaced: Replaced) -> str:
    kept = "".join(f"; {rows:,} live rows of {table} stay" for table, rows in sorted(replaced.kept.items()))
    aside = ", ".join(sorted(replaced.quarantines.values()))
    return (
        f"Put {file} in place, going back on {runs(releases)}. Route: restore. {counted(sum(replaced.rows.values()), 'row')} of"
        f" {counted(len(replaced.rows), 'table')} put back{kept}; everything that was there lies in {aside}."
    )


def _sentences(done: Restored) -> tuple[str, ...]:
    stood = f"the application stood still for {about_in_words(done.stalled_ms)} at most" + (", staged" if done.staged else "")
    return (*done.sentences, stood)
