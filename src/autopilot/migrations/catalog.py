"""What the target's catalog already has."""

from __future__ import annotations

from autopilot.migrations.locks import MODES, Lock, strongest
from autopilot.postgres.queries import named
from autopilot.postgres.session import Connection

_QUERIES = named(__file__, "catalog.sql")


def there(connection: Connection, keys: frozenset[str]) -> frozenset[str]:
    """Which of those relations and functions (`relations.key`) are there. Writes nothing."""
    if not keys:
        return frozenset()
    return frozenset(row[0] for row in connection.execute(_QUERIES["there"], (sorted(keys),)))


def relations(connection: Connection) -> list[int]:
    """The numbers of all relations that are there now."""
    return [int(row[0]) for row in connection.execute(_QUERIES["relations"])]


def held(connection: Connection, pid: int, among: list[int]) -> tuple[Lock, ...]:
    """The locks that another session holds on those relations; what only reads is left out."""
    rows = connection.execute(_QUERIES["held"], (pid, among)).fetchall()
    return strongest(Lock(relation=relation, mode=_MODES[mode]) for relation, mode in rows)


#: pg_locks says "AccessExclusiveLock", the manual ACCESS EXCLUSIVE.
_MODES = {"".join(word.capitalize() for word in mode.split()) + "Lock": mode for mode in MODES}
