"""Route 3: from a backup, of the tables that a migration touched, the rows that it changed; what others wrote since stays."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from autopilot.backups.manifest import Manifest
from autopilot.backups.replay import Copy, Entry, Replay
from autopilot.errors import Refused
from autopilot.events import told
from autopilot.postgres.bounded import patient
from autopilot.postgres.session import Connection
from autopilot.rollback import loading, merge
from autopilot.rollback.merge import Merged, Touched
from autopilot.workflows.restore_in_place import chosen, replay, require_fitting
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
            with _rows_of(archive, touched) as (copies, definition):
                loaded = loading.load(connection, copies, definition)
            world.reached("X2")
            found = merge.merge(
                connection, loaded, touched, run_id=run_id, accept_uncertain=accept_uncertain,
                keep_days=world.settings.trash_keep_days,
            )  # fmt: skip
            world.reached("X4")
        back, theirs = sum(m.restored + m.returned for m in found), sum(m.conflicts for m in found)
        step.says(f"{back:,} rows put back, {theirs:,} changed since stay")
    return found


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
