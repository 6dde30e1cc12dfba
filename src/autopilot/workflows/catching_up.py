"""Writes what others wrote since a backup was taken into what was made ready of it: beside the live data, then under its locks.

slot → what is told → the release's own work left out → into the new tables → (again, while it is much) → locks → the rest
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import psycopg

from autopilot.errors import RolledBack
from autopilot.events import Step
from autopilot.postgres.session import Connection
from autopilot.rollback import replayed, slot, written
from autopilot.rollback.decoding import Message
from autopilot.rollback.destinations import Goal, Origin
from autopilot.rollback.quarantine import session as sessions
from autopilot.rollback.quarantine.in_place import Asked, Taken
from autopilot.rollback.quarantine.staged import Staged
from autopilot.rollback.replayed import Progress
from autopilot.rollback.slot import Slot
from autopilot.rollback.written import Written

#: What is left to be written while everybody waits shall be little: so many transactions, or what so many rounds leave.
_LITTLE = 200
_ROUNDS = 6
HINT = "Keep the release and push a migration that mends it, or go back and take the loss."


@dataclass(frozen=True, slots=True, kw_only=True)
class Since:
    """From where on others' writes are wanted, and where they are told."""

    slot: Slot
    #: The dump's snapshot, as pg_current_snapshot() told it.
    snapshot: str
    #: The tables as they were just before it.
    origins: tuple[Origin, ...]
    #: (table, column) that the release's text gives another type.
    retyped: frozenset[tuple[str, str]]


@dataclass(slots=True, kw_only=True)
class CatchingUp:
    """One restore's way to now."""

    since: Since
    connection: Connection
    asked: Asked
    ready: Staged
    step: Step
    progress: Progress = field(default_factory=Progress)

    def ahead(self) -> None:
        """Beside the live data, while everybody works. Raises RolledBack (`replay_*`)."""
        for number in range(1, _ROUNDS + 1):
            found = self._read()
            with self.connection.transaction(), sessions.explained(), sessions.settled(self.connection, self.asked.timeout_s):
                self._write(found, self._goal(restored=self.ready.names, live={s: s for s in self.ready.names}))
            self.step.progress(number, _ROUNDS, "rounds")
            if sum(not one.ours for one in found) <= _LITTLE:
                return

    def rest(self, taken: Taken) -> None:
        """In the transaction in which the live tables have stepped aside and nobody writes. Raises RolledBack (`replay_*`)."""
        homes = {schema: schema for schema in self.ready.names}
        self._write(self._read(), self._goal(restored=homes, live={**homes, **taken.quarantines}))

    def _goal(self, *, restored: Mapping[str, str], live: Mapping[str, str]) -> Goal:
        return Goal(
            restored=restored, live=live, stays=self.ready.plan.stays, origins=self.since.origins, retyped=self.since.retyped
        )

    def _write(self, found: list[Written], goal: Goal) -> None:
        replayed.replay(self.connection, found, goal, self.progress, timeout_s=self.asked.timeout_s)

    def _read(self) -> list[Written]:
        """All that is committed by now. Raises RolledBack (`replay_failed`)."""
        try:
            trouble = slot.trouble(self.since.slot)
            if trouble is not None:
                raise _unreadable(trouble)
            return list(self._told(slot.mark(self.since.slot, secrets.token_hex(8))))
        except ValueError as cause:
            raise _unreadable(str(cause)) from cause
        except psycopg.Error as cause:
            raise _unreadable(f"PostgreSQL says: {cause.diag.message_primary or cause}") from cause

    def _told(self, mark: str) -> Iterator[Written]:
        told = slot.changes(self.since.slot, without=f"__r_{self.asked.token}", timeout_s=self.asked.timeout_s)
        reached = False
        for one in written.transactions(told, written.seen(self.since.snapshot)):
            if isinstance(one, Message):
                reached = reached or one.prefix == mark
            else:
                yield one
        if not reached:
            raise _unreadable("it does not tell of what was written last")


def _unreadable(why: str) -> RolledBack:
    return RolledBack(
        f"what was written since cannot be read from the replication slot: {why}",
        code="replay_failed", hint=HINT,
    )  # fmt: skip
