"""What a database is: every object and every row, in numbers that a dump and its restore leave as they are."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

import psycopg
from psycopg import sql

from autopilot.backups.manifest import Manifest
from autopilot.errors import Refused
from autopilot.measures import counted
from autopilot.postgres.bounded import patient
from autopilot.postgres.queries import named
from autopilot.postgres.session import Connection

_QUERIES = named(__file__, "fingerprint.sql")

#: Rows are summed up by hash: their order does not count, how often each is there does. Not `{row}::text`: that asks for a
#: cast, and whoever owns a table may have made one that runs as us.
_ROWS = (
    "SELECT pg_catalog.count(*),"
    " pg_catalog.sum(pg_catalog.hashtextextended(pg_catalog.textin(pg_catalog.record_out({row})), 0))::text"
    " FROM ONLY {table} AS {row}"
)
#: No column is called like this; the row goes by it.
_ROW = "autopilot whole row"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fingerprint:
    #: MD5 of each object's definition, owner, rights and comment, by PostgreSQL's own name for it.
    objects: Mapping[str, str] = field(default_factory=dict)
    #: Exact rows by "schema.table".
    rows: Mapping[str, int] = field(default_factory=dict)
    #: Sum of the hashes of a table's rows, by "schema.table".
    sums: Mapping[str, str] = field(default_factory=dict)
    #: Last value by name; a crash may leave a sequence a little ahead, never behind.
    sequences: Mapping[str, int] = field(default_factory=dict)
    #: How many large objects, and the sum of their hashes; None where they may not be read.
    large_objects: tuple[int, str] | None = None
    #: Whether it tells of `_LATER` objects too: those of backups made before did not.
    tells_all: bool = True


#: Default rights, foreign servers, and who owns a publication or an event trigger.
_LATER = re.compile(r"^(default acl|server) | \(more\)$")


def read(
    connection: Connection, *, timeout_s: float, without: frozenset[str] = frozenset(), absent: tuple[str, ...] = (),
    reader: Connection | None = None,
) -> Fingerprint:  # fmt: skip
    """The fingerprint in the connection's open transaction; each table may take `timeout_s`.

    without: tables whose rows are not looked at. absent: schemas that are not looked at. reader: another open transaction,
    which reads the tables: that may call users' functions, and where `connection` is a superuser's they shall not run as one.
    Raises Refused (`backup_failed`) for a table that may not be read.
    """
    connection.execute(_QUERIES["settings"])
    if reader is not None:
        reader.execute(_QUERIES["settings"])
    with patient(connection, timeout_s), patient(reader or connection, timeout_s):
        rows, sums = {}, {}
        for table, count, total in _tables(reader or connection, without, absent):
            rows[table], sums[table] = count, total
        return Fingerprint(
            objects=objects(connection, absent=absent),
            rows=rows,
            sums=sums,
            sequences=sequences(connection, absent=absent),
            large_objects=_large_objects(connection),
        )


def objects(connection: Connection, *, absent: tuple[str, ...] = ()) -> dict[str, str]:
    """The digest of each object's definition, by PostgreSQL's own name for it."""
    return {row[0]: row[1] for row in connection.execute(_QUERIES["objects"], {"absent": list(absent)})}


def sequences(connection: Connection, *, absent: tuple[str, ...] = ()) -> dict[str, int]:
    """The last value of each sequence. No snapshot holds them still: for a backup, ask before pg_dump does."""
    return {row[0]: row[1] for row in connection.execute(_QUERIES["sequences"], {"absent": list(absent)})}


def rows(
    connection: Connection, *, timeout_s: float, absent: tuple[str, ...] = (), without: frozenset[str] = frozenset()
) -> dict[str, int]:
    """Exact rows by "schema.table". Raises Refused as `read` does."""
    with patient(connection, timeout_s):
        return {table: count for table, count, _ in _tables(connection, without, absent)}


def _tables(connection: Connection, without: frozenset[str], absent: tuple[str, ...]) -> Iterator[tuple[str, int, str]]:
    for schema, table in connection.execute(_QUERIES["tables"], {"absent": list(absent)}).fetchall():
        if f"{schema}.{table}" in without:
            continue
        query = sql.SQL(_ROWS).format(row=sql.Identifier(_ROW), table=sql.Identifier(schema, table))
        try:
            row = connection.execute(query).fetchone()
        except psycopg.errors.LockNotAvailable as cause:
            raise Refused(
                f"The table {schema}.{table} cannot be backed up: somebody holds it exclusively.",
                code="backup_failed",
                hint="Find who holds it in pg_stat_activity, let it end, and run again.",
                retryable=True,
            ) from cause
        except psycopg.errors.InsufficientPrivilege as cause:
            raise Refused(
                f"The table {schema}.{table} cannot be backed up whole: {cause.diag.message_primary}.",
                code="backup_failed",
                hint=f'Let the role read every row: GRANT SELECT ON "{schema}"."{table}" TO it, and BYPASSRLS or ownership'
                " where row level security hides rows.",
            ) from cause
        yield f"{schema}.{table}", *((0, "0") if row is None else (int(row[0]), str(row[1] or "0")))


def _large_objects(connection: Connection) -> tuple[int, str] | None:
    may = connection.execute(_QUERIES["may_read_large_objects"]).fetchone()
    row = connection.execute(_QUERIES["large_objects"]).fetchone() if may is not None and may[0] else None
    return None if row is None else (int(row[0]), str(row[1]))


def differences(
    expected: Fingerprint, found: Fingerprint, *, hidden: Callable[[str], bool] = lambda _name: False
) -> tuple[str, ...]:
    """What a restore did not bring back as it was, in words; empty when everything did.

    hidden: tells of an object's name whether it cannot be compared.
    """

    def unseen(name: str) -> bool:
        return hidden(name) or not (expected.tells_all or _LATER.search(name) is None)

    return (
        *_rows_lost(expected, found),
        *_objects_lost(_shown(expected.objects, unseen), _shown(found.objects, unseen)),
        *(
            f"the sequence {name} stands at {found.sequences.get(name, 'nothing')}, not at {value}"
            for name, value in sorted(expected.sequences.items())
            if found.sequences.get(name, -1) < value
        ),
        *_large_objects_lost(expected.large_objects, found.large_objects),
    )


def _rows_lost(expected: Fingerprint, found: Fingerprint) -> Iterator[str]:
    for table in sorted(expected.rows):
        if found.rows.get(table) != expected.rows[table]:
            wanted = counted(expected.rows[table], "row")
            yield f"{table}: {wanted} in the backup's snapshot, {found.rows.get(table, 'no table')} restored"
        elif table in expected.sums and found.sums.get(table) != expected.sums[table]:
            yield f"{table}: as many rows as in the backup's snapshot, but not the same ones"


def _objects_lost(expected: Mapping[str, str], found: Mapping[str, str]) -> Iterator[str]:
    for name in sorted(expected):
        if name not in found:
            yield f"{name} is not there"
        elif found[name] != expected[name]:
            yield f"{name} is not as it was"
    if expected:
        yield from (f"{name} is new" for name in sorted(found.keys() - expected.keys()))


def _shown(objects: Mapping[str, str], hidden: Callable[[str], bool]) -> dict[str, str]:
    return {name: digest for name, digest in objects.items() if not hidden(name)}


def _large_objects_lost(expected: tuple[int, str] | None, found: tuple[int, str] | None) -> Iterator[str]:
    if expected is not None and found is not None and expected != found:
        yield f"{expected[0]} large objects in the backup's snapshot, {found[0]} restored, or not the same ones"


def of(manifest: Manifest) -> Fingerprint:
    """The fingerprint that a backup was taken with."""
    return Fingerprint(
        objects=manifest.objects,
        rows=manifest.rows,
        sums=manifest.sums,
        sequences=manifest.sequences,
        large_objects=manifest.large_objects,
        tells_all=bool(manifest.database_rights.owner),
    )
