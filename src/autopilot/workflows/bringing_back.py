"""Lost tables and columns get their rows from the newest backup that holds them: choose → check → open → take out → load."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from autopilot.backups import catalog, table_rows, work
from autopilot.backups.catalog import Entry
from autopilot.backups.manifest import Manifest
from autopilot.backups.table_rows import Rows
from autopilot.errors import AutopilotError
from autopilot.events import Noted, Step
from autopilot.measures import counted
from autopilot.postgres import clients
from autopilot.postgres.session import Connection
from autopilot.rollback import refilling
from autopilot.rollback.snapshot import Key, Snapshot
from autopilot.workflows.opening import opened, warn_of_strangers
from autopilot.workflows.world import World


@dataclass(frozen=True, slots=True, kw_only=True)
class Lost:
    """A table, or a column of one that is there. key: as recorded."""

    key: Key
    schema: str
    table: str
    column: str | None

    @property
    def words(self) -> str:
        whole = f"{self.schema}.{self.table}"
        return whole if self.column is None else f"{self.column} of {whole}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where a lost thing's rows lie. rows: None of a partitioned table, which has none of its own."""

    lost: Lost
    manifest: Manifest
    rows: Rows | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    object: str
    backup_file: str
    taken_at: datetime
    rows: int
    #: Rows of the table that got no value, because the backup does not know them.
    without: int

    @property
    def sentence(self) -> str:
        back = f"{self.object} is back from {self.backup_file}, taken {self.taken_at:%Y-%m-%d %H:%M} UTC"
        none = f"; {counted(self.without, 'row')} of today got no value: not in the backup" if self.without else ""
        return f"{back}: {counted(self.rows, 'row')}{none}. What was written there since then is not in it."


def lost_things(recorded: Snapshot, keys: frozenset[Key]) -> tuple[Lost, ...]:
    """Columns of lost tables come with them."""
    found = []
    for key in sorted(keys):
        thing = recorded.by_key[key]
        table = thing if thing.kind == "table" else recorded.parent(thing)
        if table is not None and table.schema is not None and (thing is table or table.key not in keys):
            column = None if thing is table else thing.name
            found.append(Lost(key=key, schema=table.schema, table=table.name, column=column))
    return tuple(found)


@contextlib.contextmanager
def sources(
    world: World, step: Step, lost: Sequence[Lost], connection: Connection, *, without_rows: frozenset[Key],
    file: str | None = None,
) -> Iterator[tuple[Source, ...]]:  # fmt: skip
    """The rows of what is found, in files that are gone at the end of the block; what no backup here holds is left out.

    without_rows: partitioned tables. file: from this backup alone. Raises Refused as opening a backup does.
    """
    with contextlib.ExitStack() as stack:
        private = stack.enter_context(work.directory(world.settings.backups_dir))
        wanted, found = list(lost), list[Source]()
        for entry, manifest in _candidates(world, connection):
            if file not in {None, entry.file}:
                continue
            here = [x for x in wanted if f"{x.schema}.{x.table}" in manifest.rows or x.key in without_rows]
            here = [x for x in here if f"{x.schema}.{x.table}" not in manifest.without_data]
            if not here or _damaged(world, entry):
                continue
            taken = _taken(world, step, stack, private, manifest, here, without_rows, number=len(found))
            found += taken
            wanted = [x for x in wanted if x.key not in {s.lost.key for s in taken}]
            if not wanted:
                break
        for missing in wanted:
            world.tell(Noted(text=f"No good backup here holds {missing.words}: it stays lost.", level="warning"))
        yield tuple(found)


def _candidates(world: World, connection: Connection) -> Iterator[tuple[Entry, Manifest]]:
    """Backups of this very database, the newest first, not yet hashed."""
    row = connection.execute(
        "SELECT current_database(), oid::bigint FROM pg_database WHERE datname = current_database()"
    ).fetchone()
    secrets = world.settings.backup_access.signing
    for entry in catalog.entries(world.settings.backups_dir, verify=False, secrets=secrets):
        manifest = entry.manifest
        if entry.state != "good" or manifest is None or (manifest.database, manifest.database_oid) != row:
            continue
        if secrets and entry.signature == "unsigned":
            world.tell(
                Noted(text=f"{entry.file} is passed over: it is not signed, and AUTOPILOT_SECRET is set.", level="warning")
            )
            continue
        yield entry, manifest


def _damaged(world: World, entry: Entry) -> bool:
    secrets = world.settings.backup_access.signing
    checked = catalog.entries(world.settings.backups_dir, verify=True, only=entry.file, secrets=secrets)
    if checked and checked[0].state == "good":
        return False
    why = checked[0].why if checked else "it is gone"
    world.tell(Noted(text=f"{entry.file} is passed over: {why}.", level="warning"))
    return True


def _taken(
    world: World, step: Step, stack: contextlib.ExitStack, private: Path, manifest: Manifest, lost: Sequence[Lost],
    without_rows: frozenset[Key], *, number: int,
) -> list[Source]:  # fmt: skip
    found = clients.installations(world.settings.postgres_bin_dir)
    client = clients.for_dump(found, server_major=int(manifest.tool_version.split(".", 1)[0]))
    warn_of_strangers(world, client, manifest)
    try:
        backup = stack.enter_context(opened(world, step, world.settings.backups_dir / manifest.file, manifest))
    except AutopilotError as cause:
        world.tell(Noted(text=f"{manifest.file} is passed over: {cause.message}", level="warning"))
        return []
    taken = []
    for place, thing in enumerate(lost, start=number):
        if thing.key in without_rows:
            taken.append(Source(lost=thing, manifest=manifest, rows=None))
            continue
        rows = table_rows.taken_out(
            backup.path, client, schema=thing.schema, table=thing.table, to=private / f"rows-{manifest.run_id}-{place}",
            timeout_s=world.settings.backup_timeout_s,
        )  # fmt: skip
        if rows is not None and (thing.column is None or thing.column in rows.columns):
            taken.append(Source(lost=thing, manifest=manifest, rows=rows))
    return taken


def load(connection: Connection, found: Sequence[Source]) -> tuple[Restored, ...]:
    """Tables before columns; in the caller's transaction, where all of them are there, empty."""
    restored = []
    for source in sorted(found, key=lambda s: s.lost.column is not None):
        lost, rows = source.lost, source.rows
        if rows is None:
            continue
        if lost.column is None:
            done = refilling.refill_table(
                connection, schema=lost.schema, table=lost.table, columns=rows.columns, rows=rows.pieces()
            )
        else:
            done = refilling.refill_column(
                connection, schema=lost.schema, table=lost.table, column=lost.column, columns=rows.columns, rows=rows.pieces()
            )
        restored.append(
            Restored(
                object=lost.words, backup_file=source.manifest.file, taken_at=source.manifest.taken_at, rows=done.rows,
                without=done.without,
            )
        )  # fmt: skip
    return tuple(restored)
