"""Route 5: the release's backup takes the place of everything, with all that others wrote since; nothing is lost.

Only within the run of the release: its replication slot tells what was written, and goes with the run.
"""

from __future__ import annotations

from collections.abc import Callable

from autopilot.audit import ways_back
from autopilot.audit.ways_back import Release
from autopilot.clock import elapsed_ms
from autopilot.errors import RolledBack
from autopilot.postgres.session import Connection
from autopilot.rollback import slot, trash
from autopilot.rollback.moved import moved, places
from autopilot.rollback.quarantine.in_place import NEVER, Replaced
from autopilot.rollback.snapshot import Snapshot, decode, read
from autopilot.workflows.catching_up import HINT, Since
from autopilot.workflows.logbook import Logbook, Wish
from autopilot.workflows.restore_in_place import Restored, restore_in_place
from autopilot.workflows.world import World


def why_not(book: Logbook, release: Release, connection: Connection) -> str | None:
    """What stands against it, in words; None: it can be tried."""
    if book.slot is None or book.backup is None or book.backup.sees is None:
        return book.no_slot or "there is no replication slot"
    if any(v not in release.versions for v in book.applied):
        return "what was applied before the deploy stays"
    if ways_back.begun_before(connection, release.versions, run_id=release.run_id):
        return "an earlier run had begun it, and the backup holds that"
    return slot.trouble(book.slot)


def replay_in_place(world: World, wish: Wish, book: Logbook, connection: Connection, release: Release, *, notes: str) -> Restored:
    """Puts it in place and commits. `why_not` has found nothing. connection: a session of the run.

    Raises what `restore_in_place` raises, and RolledBack (`replay_*`): then the release is in as before.
    """
    if book.slot is None or book.backup is None or book.backup.sees is None:  # pragma: no cover - see why_not
        raise AssertionError
    recorded, _ = ways_back.snapshots(connection, release.migration_log_id)
    if recorded is None:  # pragma: no cover - what is not recorded is for a person
        raise AssertionError
    return restore_in_place(
        world, file=book.backup.manifest.file, run_id=wish.run.run_id,
        lock_wait_s=world.settings.lock_timeout_s * world.settings.lock_tries,
        since=Since(slot=book.slot, snapshot=book.backup.sees, origins=book.origins, retyped=book.retyped),
        record=_record(world, wish, book, release, decode(recorded), notes),
    )  # fmt: skip


def _record(
    world: World, wish: Wish, book: Logbook, release: Release, before: Snapshot, notes: str
) -> Callable[[Connection, Replaced], None]:
    def record(connection: Connection, replaced: Replaced) -> None:
        left = [w for w in (*replaced.untouched, *replaced.left) if not _is_our_own(w)]
        if left:
            raise RolledBack(
                f"the release changed what is not put back: {'; '.join(left[:5])}",
                code="replay_not_whole", hint=HINT,
            )  # fmt: skip
        remade = moved(before, read(connection))
        ways_back.undone(
            connection, wish.run, release, notes=notes, remade=remade,
            duration_ms=elapsed_ms(world.clock, book.begun_s),
        )  # fmt: skip
        trash.follow(connection, places(remade))
        ways_back.went_back_at_once(connection, wish.run.run_id, notes=notes)

    return record


def _is_our_own(words: str) -> bool:
    """Of the audit trail, the trash or a quarantine: those are no part of what a release changes."""
    return any(f"{schema}." in words or words.startswith(f"schema {schema} ") for schema in NEVER) or "__q_" in words
