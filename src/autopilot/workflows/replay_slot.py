"""A release's replication slot: made before its backup, kept while going back would lose something, dropped in every ending."""

from __future__ import annotations

import contextlib

import psycopg

from autopilot.audit import journal
from autopilot.errors import AutopilotError
from autopilot.events import Noted
from autopilot.migrations.segments import Migration
from autopilot.postgres.session import RUN_PREFIX, Connection, connect
from autopilot.rollback import destinations, slot
from autopilot.rollback.quarantine.in_place import NEVER
from autopilot.rollback.slot import Slot
from autopilot.workflows import backing_up, opening
from autopilot.workflows.cutting import Order
from autopilot.workflows.logbook import Logbook, Wish
from autopilot.workflows.net import Net
from autopilot.workflows.world import World

#: A slot begins once every transaction under way has ended: so long that is waited for.
_WAIT_S = 10.0
#: Going back on these is proven by the catalog alone and loses nothing.
_NEEDS_NONE = frozenset({"expand"})
#: What may commit on its own way: what it wrote then is not to be told from what others wrote.
_COMMITS_ON_THE_WAY = frozenset({"call_stmt", "do_stmt"})


def begin(world: World, wish: Wish, book: Logbook, order: Order, chosen: Net, connection: Connection) -> None:
    """Before the backup's snapshot is taken. Without a slot the release goes on as ever; why there is none, is kept in mind."""
    if {c for m in order.all for c in m.changes} <= _NEEDS_NONE:
        return
    book.no_slot = _why_not(world, order, chosen, connection)
    if book.no_slot is not None:
        return
    try:
        _made(world, wish, book, connection)
    except (psycopg.Error, AutopilotError) as cause:
        book.no_slot = f"it could not be made ({cause.message if isinstance(cause, AutopilotError) else type(cause).__name__})"


def _made(world: World, wish: Wish, book: Logbook, connection: Connection) -> None:
    own = connect(world.database_url, application_name=RUN_PREFIX + wish.run.run_id)
    try:
        made = slot.create(own, run_id=wish.run.run_id, wait_s=_WAIT_S)
    except BaseException:
        own.close()
        raise
    if isinstance(made, Slot):
        book.slot, book.origins = made, destinations.origins(connection)
    else:
        own.close()
        book.no_slot = made.why


def _why_not(world: World, order: Order, chosen: Net, connection: Connection) -> str | None:
    if world.settings.replay_slot == "off":
        return 'replay_slot = "off" is set'
    if chosen.without_data:
        return "the backup leaves rows out"
    if not opening.can_open(world.settings, backing_up.safekeeping(world.settings).encryption):
        return "the backup is encrypted, and no key here opens it"
    by_itself = [m.file.file for m in order.all if _commits_by_itself(m)]
    if by_itself:
        return f"{by_itself[0]} may commit on its own way"
    tables = destinations.untold(connection, never=NEVER)
    return f"{tables[0]} is an unlogged table, and nothing is told of those" if tables else None


def _commits_by_itself(migration: Migration) -> bool:
    return any(
        segment.kind == "alone" and statement.kind in _COMMITS_ON_THE_WAY
        for segment in migration.segments
        for statement in segment.statements
    )


def settle_need(world: World, book: Logbook, migrations: tuple[Migration, ...], loses: tuple[str, ...]) -> None:
    """Once it is known what going back would lose: nothing, and the slot is let go of at once."""
    book.retyped |= {
        (relation.rpartition(".")[2].strip('"'), column)
        for m in migrations for s in m.statements for t in s.takes if t.what == "retype column"
        for relation in t.relations for column in t.columns
    }  # fmt: skip
    if book.slot is not None and (not loses or book.applied):
        drop(world, book)
    elif book.slot is not None:
        world.tell(Noted(text=f"Kept for that until this run ends: the replication slot {book.slot.name}. Should the release"
                              " fail, its backup can come back with all that others write from now on."))  # fmt: skip
    elif loses and book.no_slot is not None:
        world.tell(Noted(text=f"No replication slot keeps what others write from now on: {book.no_slot}."))


def drop(world: World, book: Logbook, another: Connection | None = None) -> None:
    """Never raises: what is left of it, the next run drops."""
    found, book.slot = book.slot, None
    if found is None:
        return
    try:
        slot.drop(found, another)
    except (psycopg.Error, AutopilotError) as cause:
        if not found.temporary:
            text = f"The replication slot {found.name} could not be dropped ({type(cause).__name__}); the next run does it."
            world.tell(Noted(text=text, level="warning"))
    finally:
        with contextlib.suppress(psycopg.Error):
            found.connection.close()


def sweep(connection: Connection, *, run_id: str) -> tuple[str, ...]:
    """Drops what dead runs left; to be called only by whoever holds the lock. In sentences."""
    found = {one.name.removeprefix(slot.PREFIX): one for one in slot.left(connection)}
    dead = journal.runs_among(connection, tuple(found)) - {run_id}
    sentences = []
    for run in sorted(dead):
        one = found[run]
        try:
            slot.drop_named(connection, one.name)
        except psycopg.Error as cause:
            sentences.append(f"the replication slot {one.name} of a dead run is still there ({cause.diag.message_primary})")
            continue
        held = any(left.name == one.name for left in slot.left(connection))
        sentences.append(
            f"process {one.pid} still holds the replication slot {one.name} of a dead run: end it, as it keeps WAL on the server"
            if held
            else f"the replication slot {one.name} of a dead run is dropped"
        )
    return tuple(sentences)
