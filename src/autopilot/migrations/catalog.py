"""What the target's catalog already has."""

from __future__ import annotations

from autopilot.migrations.observed import Relation
from autopilot.postgres.queries import named
from autopilot.postgres.session import Connection

_QUERIES = named(__file__, "catalog.sql")


def there(connection: Connection, keys: frozenset[str]) -> frozenset[str]:
    """Which of those relations and functions (`relations.key`) are there. Writes nothing."""
    if not keys:
        return frozenset()
    return frozenset(row[0] for row in connection.execute(_QUERIES["there"], (sorted(keys),)))


def sizes(connection: Connection, keys: frozenset[str]) -> dict[str, int]:
    """Bytes of those tables (`relations.key`) that are there, without their indexes. Writes nothing."""
    if not keys:
        return {}
    return {name: int(size) for name, size in connection.execute(_QUERIES["sizes"], (sorted(keys),))}


def relations(connection: Connection) -> dict[int, Relation]:
    """All relations that are there now, by number."""
    return {
        int(oid): Relation(name=table if schema == "public" else f"{schema}.{table}", table=(schema, table), storage=storage)
        for oid, schema, table, storage in connection.execute(_QUERIES["relations"])
    }


def resolved(connection: Connection, names: frozenset[str]) -> dict[str, tuple[str, str]]:
    """Schema and name of those tables that are there, by what an author calls them. Writes nothing."""
    if not names:
        return {}
    return {name: (schema, table) for name, schema, table in connection.execute(_QUERIES["resolved"], (sorted(names),))}


def tables_in(connection: Connection, schemas: frozenset[str]) -> tuple[tuple[str, str], ...]:
    """The tables of those schemas. Writes nothing."""
    if not schemas:
        return ()
    return tuple((schema, table) for schema, table in connection.execute(_QUERIES["tables_in"], (sorted(schemas),)))
