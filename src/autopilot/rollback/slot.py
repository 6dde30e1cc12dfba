"""A logical replication slot: the server keeps what is written from now on, until it is read or the slot is dropped.

    slot = create(connection, run_id="1f2e3d4c", wait_s=10)      before the dump's snapshot is taken
    for xid, line in changes(slot, …): …                         each once, in the order in which they were committed
    drop(slot)

Where its session is the server's own (no pooler between), the slot is a temporary one: it goes with the session, whoever is
killed. Behind a session pooler the server's session may outlive ours; there the slot is a lasting one, and `left` tells the
next run of it. Any error in the session of a temporary slot ends the slot.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import psycopg
from psycopg import errors

from autopilot.postgres.bounded import BoundedConnection, patient
from autopilot.postgres.queries import named

_QUERIES = named(__file__, "slot.sql")
PREFIX = "autopilot_"
#: So many changes come with one answer.
_AT_ONCE = 2000
_WHY = {
    errors.InsufficientPrivilege: "the role may not replicate (ALTER ROLE … REPLICATION)",
    errors.ObjectNotInPrerequisiteState: "the server's wal_level is not logical",
    errors.ConfigurationLimitExceeded: "no replication slot is free (max_replication_slots)",
    errors.UndefinedFile: "the server has no output plugin test_decoding",
    errors.QueryCanceled: "somebody's transaction did not end in time for a slot to begin",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    name: str
    #: The session that made it and alone reads it.
    connection: BoundedConnection
    #: It goes with its session.
    temporary: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class NoSlot:
    #: In words that follow "there is none: ".
    why: str


def name_of(run_id: str) -> str:
    """Slots' names are of small letters, digits and _."""
    return PREFIX + re.sub(r"[^a-z0-9_]", "_", run_id.lower())[: 63 - len(PREFIX)]


def create(connection: BoundedConnection, *, run_id: str, wait_s: float) -> Slot | NoSlot:
    """A slot from which everything can be read that is committed from now on. Waits `wait_s` for transactions under way.

    Raises psycopg.OperationalError where the link is lost.
    """
    row = connection.execute(_QUERIES["facts"]).fetchone()
    why = "the role is not known" if row is None else _why_not(*row[:4])
    if row is None or why is not None:
        return NoSlot(why=why or "")
    slot = Slot(name=name_of(run_id), connection=connection, temporary=row[4] == connection.info.backend_pid)
    connection.execute(_QUERIES["settings"])
    connection.execute(f"SET statement_timeout = {int(wait_s * 1000)}".encode())
    try:
        with patient(connection, wait_s + 10):
            connection.execute(_QUERIES["create"], (slot.name, slot.temporary))
    except tuple(_WHY) as cause:
        return NoSlot(why=" or ".join(words for kind, words in _WHY.items() if type(cause) is kind))
    except psycopg.OperationalError:
        raise
    except psycopg.Error as cause:
        return NoSlot(why=f"PostgreSQL says: {cause.diag.message_primary or cause}")
    connection.execute("SET statement_timeout = 0")
    return slot


def _why_not(wal_level: str, may_replicate: bool, is_free: bool, in_recovery: bool) -> str | None:
    if wal_level != "logical":
        return f"the server's wal_level is {wal_level}, not logical"
    if not may_replicate:
        return _WHY[errors.InsufficientPrivilege]
    if not is_free:
        return _WHY[errors.ConfigurationLimitExceeded]
    return "the server is a standby" if in_recovery else None


def trouble(slot: Slot) -> str | None:
    """Why nothing can be read from it any more; None where it is as it should be."""
    try:
        row = slot.connection.execute(_QUERIES["standing"], (slot.name,)).fetchone()
    except psycopg.Error:
        return "its session has ended, and so has the slot (the link was cut, or it held more than max_slot_wal_keep_size)"
    if row is None:
        return "the slot is gone"
    return "the server has thrown away what it held (max_slot_wal_keep_size)" if row[0] == "lost" else None


def mark(slot: Slot, token: str) -> str:
    """Writes a mark that the slot tells in its place: whoever has read it has read all that was committed before.

    The commit of it also makes durable what others committed without waiting for that. Returns the mark as it is told.
    """
    prefix = f"autopilot:{token}"
    slot.connection.execute(_QUERIES["mark"], (prefix,))
    return prefix


def changes(slot: Slot, *, without: str, timeout_s: float) -> Iterator[tuple[str, str]]:
    """(transaction's number, test_decoding's line) of all that was committed since the last call; they are told once only.

    without: of tables in a schema whose name holds this, nothing is told; "" tells of all.
    Raises psycopg.Error where the slot cannot be read.
    """
    asked = {"name": slot.name, "without": without}
    with (
        patient(slot.connection, timeout_s),
        slot.connection.transaction(),
        slot.connection.cursor(name="autopilot_changes") as cursor,
    ):
        cursor.itersize = _AT_ONCE
        yield from cursor.execute(_QUERIES["changes"], asked)


def drop(slot: Slot, another: BoundedConnection | None = None) -> None:
    """Lets go of it. another: asked where its own session is lost. Raises psycopg.Error."""
    for connection in (slot.connection, another):
        if connection is None or connection.closed:
            continue
        try:
            connection.execute(_QUERIES["drop"], (slot.name,))
        except psycopg.OperationalError:
            if connection is another:
                raise
            continue
        return


@dataclass(frozen=True, slots=True, kw_only=True)
class Left:
    name: str
    #: The process that holds it.
    pid: int | None


def left(connection: BoundedConnection) -> tuple[Left, ...]:
    """Slots of our name in this database."""
    return tuple(Left(name=row[0], pid=row[1]) for row in connection.execute(_QUERIES["left"]).fetchall())


def drop_named(connection: BoundedConnection, name: str) -> None:
    """Drops it unless somebody reads it. Raises psycopg.Error."""
    connection.execute(_QUERIES["drop"], (name,))
