"""A rehearsal without a release: private dump → copy → the pending files flown there → both gone. The target is only read."""

from __future__ import annotations

import contextlib

from autopilot.audit import schema
from autopilot.backups import dump, work
from autopilot.events import told
from autopilot.measures import size_in_words
from autopilot.migrations.forecast import by_file
from autopilot.migrations.segments import Migration
from autopilot.migrations.wire import Stamp
from autopilot.postgres import clients
from autopilot.postgres.session import READER_NAME, Server, look, session, size_bytes
from autopilot.workflows import cutting, ground
from autopilot.workflows.outcome import Rehearsed
from autopilot.workflows.preview import Predicted
from autopilot.workflows.reading import reached, reader
from autopilot.workflows.rehearsal import rehearse
from autopilot.workflows.scratch import restored
from autopilot.workflows.world import World

_RUN_ID = "plan"


def trial(world: World, pending: tuple[Migration, ...], server: Server) -> Rehearsed:
    """What the pending files do on a copy of the target as it is now.

    Raises Refused as a release's backup and rehearsal do.
    """
    found = clients.installations(world.settings.postgres_bin_dir)
    client = clients.for_dump(found, server_major=server.major)
    own = ground.own(found, server_major=server.major, at_least=client.major)
    order = cutting.in_order(pending)
    with reader(world.settings) as target, work.directory(world.settings.backups_dir) as private:
        size = size_bytes(target)
        ground.require_room(world.settings, ground.needed_bytes(database_bytes=size, archive_bytes=0, rows=True))
        source = dump.Source(
            url=reached(world.settings).url, client=client, size_bytes=size, application_name=READER_NAME,
            compression="zstd" if clients.zstd(client) else "1",
        )  # fmt: skip
        with told(world.tell, world.clock, "backup", "Copying the target") as step:
            copied = dump.take(
                source, private, connection=target, run_id=_RUN_ID, commit_sha=None, clock=world.clock,
                timeout_s=world.settings.backup_timeout_s,
                progress=lambda written, _tables, _of: step.progress(written, None, "bytes"),
            )  # fmt: skip
            step.says(f"copied for this rehearsal: {size_in_words(copied.manifest.size_bytes)}, removed afterwards")
        with (
            told(world.tell, world.clock, "rehearse", "Rehearsing on the copy") as step,
            restored(world, copied, own, run_id=_RUN_ID, lock_table=server.lock_table) as copy,
        ):
            with session(copy.url, application_name=READER_NAME) as connection:
                schema.ensure(connection, look(connection))
            tried = rehearse(
                world, step, made=contextlib.nullcontext(copy), batches=tuple(b for b in (order.now, order.waiting) if b),
                server=server, stamp=Stamp(run_id=_RUN_ID, triggered_by="plan", commit_sha=None), target=target,
            )  # fmt: skip
            step.says("the copy took every pending file")
        return tried


def predicted(world: World, rehearsed: Rehearsed) -> dict[str, Predicted]:
    """By version: the forecast from a rehearsal of this very moment."""
    at = world.clock.now()
    return {
        version: Predicted(forecast=forecast, rehearsed_at=at)
        for version, (_, forecast) in by_file(rehearsed.transactions, rehearsed.pace).items()
    }
