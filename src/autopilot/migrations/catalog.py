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
    return {int(oid): Relation(name=name, storage=storage) for oid, name, storage in connection.execute(_QUERIES["relations"])}
