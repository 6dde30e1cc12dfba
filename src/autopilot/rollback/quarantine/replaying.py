"""Makes what the archive holds, stage by stage, in its own schemas or, renamed, in others."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

from autopilot.errors import RolledBack
from autopilot.rollback.live import quoted
from autopilot.rollback.quarantine import inventory, orphans
from autopilot.rollback.quarantine.archive import Archive, Entry
from autopilot.rollback.quarantine.choice import Stages
from autopilot.rollback.quarantine.orphans import Key, Settled
from autopilot.rollback.quarantine.session import Connection, run


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """Where and how the archive is replayed."""

    connection: Connection
    archive: Archive
    stages: Stages
    timeout_s: float
    #: The schema where a restored one is made.
    placed: Callable[[str], str] = lambda schema: schema
    #: The archive's text with those names in it.
    renamed: Callable[[str], str] = lambda text: text
    reached: Callable[[str], None] = lambda _point: None


@dataclass(slots=True, kw_only=True)
class Made:
    """What was replayed so far."""

    #: Rows by "schema.table", as loaded.
    rows: dict[str, int] = field(default_factory=dict)
    #: Rows that were taken over from the live table, because the backup does not hold them.
    kept: dict[str, int] = field(default_factory=dict)
    settled: tuple[Settled, ...] = ()


def define(site: Site) -> None:
    """Extensions and schemas that are gone, then definitions."""
    stages = site.stages
    _run(site, (*stages.extensions, *stages.schemas), "making what was dropped", renamed=False)
    _run(site, stages.definitions, "making the backup's tables")


def load(site: Site, made: Made) -> None:
    """The rows, straight from pg_restore into the session; frozen, so that older snapshots of others see them too."""
    reached = False
    with site.archive.copies(site.stages.rows) as copies:
        for copy in copies:
            statement = site.renamed(copy.statement) + " WITH (FREEZE)"
            with site.connection.cursor() as cursor:
                with cursor.copy(statement.encode()) as target:
                    for piece in copy.pieces:
                        target.write(piece)
                made.rows[f"{copy.schema}.{copy.table}"] = cursor.rowcount
            if not reached:
                reached = True
                site.reached("X3")


def take_over(site: Site, made: Made, tables: Sequence[str], live_schema: Callable[[str], str]) -> None:
    """Rows that the backup does not hold stay the live ones. Raises RolledBack (`rows_do_not_fit`)."""
    connection = site.connection
    for name in tables:
        schema, _, table = name.partition(".")
        if schema == site.placed(schema) == live_schema(schema) or not _is_there(site, schema, table):
            continue
        ours, theirs = _qualified(site.placed(schema), table), _qualified(live_schema(schema), table)
        there = inventory.columns(connection, theirs)
        shared = [c for c in inventory.columns(connection, ours) if c in there]
        if not there:
            continue
        lost = [c for c in there if c not in shared]
        if lost:
            raise RolledBack(
                f"the backup does not hold the rows of {name}, and the table as it was has no place for {', '.join(lost)}",
                code="rows_do_not_fit", hint="Move that column's values elsewhere first, or restore into a new database.",
            )  # fmt: skip
        listed = ", ".join(quoted(c) for c in shared)
        types = _types(connection, ours)
        values = ", ".join(
            f"{quoted(c)}::text::{types[c]}" if types[c].startswith('"') or "." in types[c] else quoted(c) for c in shared
        )
        done = connection.execute(
            f"INSERT INTO {ours} ({listed}) OVERRIDING SYSTEM VALUE SELECT {values} FROM ONLY {theirs}".encode()
        )
        made.kept[name] = done.rowcount


def _is_there(site: Site, schema: str, table: str) -> bool:
    return any((e.what, e.schema, e.name) == ("TABLE", schema, table) for e in site.stages.definitions)


def _types(connection: Connection, table: str) -> dict[str, str]:
    rows = connection.execute(
        "SELECT attname::text, pg_catalog.format_type(atttypid, atttypmod) FROM pg_catalog.pg_attribute"
        " WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped", (table,),
    ).fetchall()  # fmt: skip
    return dict(rows)


def tie(
    site: Site, made: Made, keys: Sequence[Key], *, doubtful: Callable[[Key], bool], left_for_later: Callable[[Key], bool]
) -> None:
    """Indexes and keys; then rows whose parents are gone; then foreign keys, triggers, policies, rights, comments, full views."""
    _run(site, site.stages.keys, "making the backup's indexes and keys")
    made.settled += orphans.settle(site.connection, keys, doubtful, placed=site.placed)
    text = ";\n".join(key.text for key in keys if not left_for_later(key))
    run(site.connection, site.renamed(text), timeout_s=site.timeout_s, doing="making the backup's foreign keys")
    _run(site, site.stages.bonds, "making the backup's triggers and policies")
    _run(site, site.stages.said, "giving the backup's rights")
    _run(site, site.stages.refreshes, "filling the backup's materialized views")


def count_on(site: Site, before: Mapping[tuple[str, str], inventory.Counter]) -> None:
    """Sequences as in the backup, and never before where they stood: numbers once given out are not given again."""
    _run(site, site.stages.numbers, "setting the backup's sequences", renamed=False)
    schemas = sorted({schema for schema, _ in before})
    after = inventory.counters(site.connection, schemas)
    for (schema, name), now in after.items():
        was = before.get((schema, name))
        if was is not None and was.further_than(now):
            site.connection.execute(
                "SELECT pg_catalog.setval(%s::regclass, %s, %s)", (_qualified(schema, name), was.last, was.given_out)
            )


def publish(site: Site, already: Collection[tuple[str, str, str]]) -> tuple[str, ...]:
    """Publication membership as the backup has it, where the publication is there and lacks the table; in words."""
    names = {row[0] for row in site.connection.execute("SELECT pubname::text FROM pg_catalog.pg_publication")}
    done = []
    for entry in site.stages.publications:
        publication, _, table = entry.name.partition(" ")
        if publication in names and (publication, entry.schema, table) not in already:
            _run(site, (entry,), "publishing the backup's tables", renamed=False)
            done.append(f"{_qualified(entry.schema, table)} in publication {publication}")
    return tuple(done)


def _run(site: Site, entries: Sequence[Entry], doing: str, *, renamed: bool = True) -> None:
    text = site.archive.text(entries)
    run(site.connection, site.renamed(text) if renamed else text, timeout_s=site.timeout_s, doing=doing)


def _qualified(schema: str, name: str) -> str:
    return f"{quoted(schema)}.{quoted(name)}"
