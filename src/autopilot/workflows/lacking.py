"""What a release destroyed and the trash does not keep, and which of it the release's backup holds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from autopilot.audit import ways_back
from autopilot.audit.ways_back import Release
from autopilot.backups.manifest import Manifest
from autopilot.postgres.session import Connection
from autopilot.rollback import live, reverse, trash
from autopilot.rollback.aligned import at_keys
from autopilot.rollback.merge import Touched
from autopilot.rollback.missing import Name, missing
from autopilot.rollback.row_numbers import Counted
from autopilot.rollback.snapshot import Key, Snapshot, decode, read
from autopilot.rollback.statement import Reversal
from autopilot.workflows.undoing import covered


@dataclass(frozen=True, slots=True, kw_only=True)
class Lacking:
    """What the backup brings. empty: tables and columns that come back empty, by their keys as recorded."""

    empty: frozenset[Key]
    #: Tables of which rows that the release changed are merged.
    rows: tuple[Touched, ...]
    #: What stays lost, in sentences.
    leaves: tuple[str, ...]

    @property
    def is_nothing(self) -> bool:
        return not self.empty and not self.rows

    def words(self, before: Snapshot) -> tuple[str, ...]:
        return (*sorted(before.paths[key] for key in self.empty), *(f"rows of {touched.name}" for touched in self.rows))


def reversal(connection: Connection, release: Release) -> tuple[Snapshot, Reversal]:
    """The catalog before the release, at today's keys, and what would lead back to it. Both of it must be recorded."""
    before, after = ways_back.snapshots(connection, release.migration_log_id)
    places = ways_back.remade_since(connection, release.migration_log_id)
    then, left = (at_keys(decode(text), places) for text in (before or "", after or ""))
    return then, reverse.way_back(then, left, read(connection), token="plan")  # noqa: S106 - it begins names


def lacking(
    connection: Connection, release: Release, manifest: Manifest, before: Snapshot, reversal: Reversal, wrote: Sequence[Counted]
) -> Lacking:
    """before: the recorded catalog at today's keys. Raises Refused (`foreign_trash_schema`)."""
    entries = trash.listed(connection, run_id=release.kept_as) if release.kept_as else ()
    kept = [k for k in entries if k.restored_at is None]
    rehearsed = {_name(r.relation): r for r in ways_back.rehearsed(connection, release)}
    named = _names(before)
    found = missing(
        before, reversal.cannot, covered=covered(tuple(kept)), loses=release.loses,
        wrote={named.get(w.oid, (w.schema, w.table)) for w in wrote if w.by_release} | set(rehearsed),
        imaged={(k.schema, k.table) for k in kept},
    )  # fmt: skip
    held = {t for t in manifest.rows if t not in manifest.without_data}
    empty = {k for k in found.empty if _table_of(before, k) in held or before.by_key[k].facts.get("partitioned")}
    leaves = [f"{before.paths[k]}: the backup does not hold its rows" for k in sorted(found.empty - empty)]
    rows, xids = [], ways_back.transactions(connection, release.versions)
    for schema, table in found.rows:
        why = _why_not(connection, before, schema, table, held)
        if why is not None:
            leaves.append(f"rows of {schema}.{table} that the release changed: {why}")
            continue
        seen = rehearsed.get((schema, table))
        rows.append(
            Touched(
                schema=schema, table=table, xids=xids, deleted=None if seen is None else seen.deleted,
                emptied=seen is not None and seen.emptied,
            )
        )  # fmt: skip
    return Lacking(empty=frozenset(empty), rows=tuple(rows), leaves=(*found.leaves, *leaves))


def _names(before: Snapshot) -> dict[int, Name]:
    """How tables were called, by their OID."""
    return {t.oid: (t.schema or "", t.name) for t in before.things if t.kind == "table"}


def _name(relation: str) -> Name:
    schema, dot, table = relation.partition(".")
    return (schema, table) if dot else ("public", schema)


def _table_of(before: Snapshot, key: Key) -> str:
    thing = before.by_key[key]
    table = before.parent(thing) if thing.kind == "column" else thing
    return "" if table is None else f"{table.schema}.{table.name}"


def _why_not(connection: Connection, before: Snapshot, schema: str, table: str, held: set[str]) -> str | None:
    if f"{schema}.{table}" not in held:
        return "the backup does not hold them"
    thing = next((t for t in before.things if t.kind == "table" and (t.schema, t.name) == (schema, table)), None)
    there = live.read(connection, oid=0 if thing is None else thing.oid, schema=schema, name=table)
    return "nothing tells its rows apart (no primary key)" if there is not None and there.key is None else None
