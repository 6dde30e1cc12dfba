"""The net under a release: a backup, and a flight on that very backup. Read only where one is wanted.

pg_dump + fingerprint → read back → (notice: it begins) → restore into a scratch server → compare → apply there
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from autopilot.audit import journal
from autopilot.backups import dump
from autopilot.errors import Refused
from autopilot.events import Noted, told
from autopilot.postgres import clients
from autopilot.postgres.session import RUN_PREFIX, Connection, Server, size_bytes
from autopilot.workflows.applying import stamp
from autopilot.workflows.backing_up import Taken, backed_up
from autopilot.workflows.cutting import Order
from autopilot.workflows.logbook import Logbook, Wish
from autopilot.workflows.notices import announce
from autopilot.workflows.preflight import Tools
from autopilot.workflows.rehearsal import rehearse
from autopilot.workflows.scratch import stood_in
from autopilot.workflows.world import World


def spread(world: World, wish: Wish, book: Logbook, order: Order, found: Tools, server: Server, connection: Connection) -> None:
    """Takes the backup and rehearses on it. Raises Refused: nothing was touched."""
    with contextlib.ExitStack() as until_rehearsed:
        until_rehearsed.enter_context(_backed_up(world, wish, book, found, connection))
        announce(world, wish, book)
        _rehearse(world, wish, book, order, found, server, connection)


@contextlib.contextmanager
def _backed_up(world: World, wish: Wish, book: Logbook, found: Tools, connection: Connection) -> Iterator[None]:
    """The plain archive is at hand for the length of the block; what is kept of it may be encrypted."""
    if found.dump_client is None:  # pragma: no cover - whoever spreads the net has looked
        raise AssertionError
    with contextlib.ExitStack() as stack:
        with told(world.tell, world.clock, "backup", "Backing up") as step:
            source = dump.Source(
                url=world.database_url, client=found.dump_client, size_bytes=size_bytes(connection),
                application_name=RUN_PREFIX + wish.run.run_id,
                compression="zstd" if clients.zstd(found.dump_client) else "1",
            )  # fmt: skip
            taken = stack.enter_context(
                backed_up(
                    world, step, source=source, connection=connection, run_id=wish.run.run_id, commit_sha=wish.run.commit_sha
                )
            )
            book.backup = taken.backup
            step.says(_in_words(taken))
        yield


def _in_words(taken: Taken) -> str:
    manifest, copies = taken.backup.manifest, sum(copy.failed is None for copy in taken.copies)
    what = f"{size(manifest.size_bytes)}, {len(manifest.rows)} tables, {sum(manifest.rows.values()):,} rows, read back whole"
    encrypted = "" if manifest.encryption == "none" else f", encrypted with {manifest.encryption}"
    where = f", {copies} of {len(taken.copies)} copies made" if taken.copies else ""
    return f"{manifest.file}: {what}{encrypted}{where}"


def _rehearse(
    world: World, wish: Wish, book: Logbook, order: Order, found: Tools, server: Server, connection: Connection
) -> None:
    if book.backup is None:
        return
    if found.scratch is None:
        _unrehearsed(world, found.no_scratch)
        return
    with told(world.tell, world.clock, "rehearse", "Rehearsing on the restored backup") as step:
        try:
            book.rehearsal = r = rehearse(
                world, step, backup=book.backup, batches=tuple(b for b in (order.now, order.waiting) if b),
                server=server, scratch=found.scratch, stamp=stamp(wish.run),
            )  # fmt: skip
        except Refused as cause:
            if cause.code != "extension_missing" or world.settings.rehearsal != "auto":
                raise
            step.skips("not possible here")
            _unrehearsed(world, cause.message)
            return
        world.reached("R4")
        manifest = book.backup.manifest
        journal.restore_tested(
            connection, backup_file=manifest.file, sha256=manifest.sha256, size_bytes=manifest.size_bytes,
            restore_ms=r.restore_ms, server_version=r.server_version, run_id=wish.run.run_id, notes="restored for its rehearsal",
        )  # fmt: skip
        step.says(
            f"restored in {r.restore_ms / 1000:.1f} s, applied in {r.apply_ms} ms on PostgreSQL {r.server_version} ({r.origin})"
            f"{stood_in(r.stood_in)}"
        )
    world.reached("R5")


def _unrehearsed(world: World, why: str | None) -> None:
    asked, because = (", as asked", "") if why is None else ("", f" {why}")
    text = f"No rehearsal{asked}: the target is the first to see these migrations.{because}"
    world.tell(Noted(text=text, level="warning"))


def size(number: int) -> str:
    """Bytes for a person."""
    return f"{number / 1024:.0f} KiB" if number < 1 << 20 else f"{number / (1 << 20):.1f} MiB"
