"""Rehearses a release: a copy of the target → apply there by the very code of production."""

from __future__ import annotations

import itertools
from dataclasses import replace

from autopilot.backups.dump import Backup
from autopilot.clock import elapsed_ms
from autopilot.errors import AutopilotError, Refused
from autopilot.events import Step
from autopilot.migrations import apply as applying
from autopilot.migrations import catalog
from autopilot.migrations.locks import Lock, strongest
from autopilot.migrations.segments import Migration
from autopilot.migrations.unit import lock_room
from autopilot.migrations.wire import Limits, Stamp
from autopilot.postgres.clients import Installation
from autopilot.postgres.session import READER_NAME, Server, look, session
from autopilot.secret import Secret
from autopilot.workflows.outcome import Rehearsed
from autopilot.workflows.scratch import restored
from autopilot.workflows.world import World


def rehearse(
    world: World, step: Step, *, backup: Backup, batches: tuple[tuple[Migration, ...], ...],
    server: Server, scratch: Installation, stamp: Stamp,
) -> Rehearsed:  # fmt: skip
    """Applies `batches`, each as production would get it, to a scratch server that holds the restored backup.

    Raises Refused: `refused_in_rehearsal` when a migration fails there, and for a rehearsal that cannot be made.
    """
    with restored(world, backup, scratch) as copy:
        step.progress(0, sum(map(len, batches)), "files")
        begun_s = world.clock.monotonic_s()
        with session(copy.url, application_name=READER_NAME) as connection:
            there = catalog.relations(connection)
        flown = [_fly(world, step, copy.url, batch, server, stamp, there) for batch in batches]
        return Rehearsed(
            server_version=scratch.version,
            origin=scratch.origin,
            restored_tables=len(backup.manifest.rows),
            restored_rows=sum(backup.manifest.rows.values()),
            restore_ms=copy.restore_ms,
            stood_in=copy.stood_in,
            locks=strongest(lock for locks in flown for lock in locks),
            apply_ms=elapsed_ms(world.clock, begun_s),
        )


def _fly(
    world: World,
    step: Step,
    url: Secret,
    migrations: tuple[Migration, ...],
    server: Server,
    stamp: Stamp,
    there: list[int],
) -> tuple[Lock, ...]:
    """Returns the locks on the relations `there`, as held just before each COMMIT; by its text for what had none."""
    seen: list[Lock] = []

    def reached(point: str) -> None:
        if point == "A6":
            seen.extend(catalog.held(ledger, connection.info.backend_pid, there))
        elif point == "A2":
            world.reached("R3")

    with (
        session(url, application_name="autopilot-rehearsal") as connection,
        session(url, application_name="autopilot-rehearsal") as ledger,
    ):
        target = applying.Target(
            connection=connection,
            ledger=ledger,
            limits=Limits(
                apply_timeout_s=world.settings.apply_timeout_s, checks_client=look(connection).checks_client, lock_tries=1
            ),
            clock=world.clock,
            chance=world.chance,
            settle=lambda _xid: "unknown",
            transaction=world.settings.transaction,
            lock_room=lock_room(server.lock_table),
            progress=lambda done, total: step.progress(done, total, "files"),
            reached=reached,
        )
        try:
            applying.apply(migrations, target, replace(stamp, triggered_by="rehearsal"))
        except AutopilotError as cause:
            raise refused(cause) from cause
    alone = (e.locks for m in migrations for s, e in zip(m.statements, m.effects, strict=False) if s.alone_because)
    return strongest((*seen, *itertools.chain.from_iterable(alone)))


def refused(cause: AutopilotError) -> Refused:
    """A failure on the copy, told as what it means for production."""
    return Refused(
        f"Refused in rehearsal, on a copy of the target: {cause.message}",
        code="refused_in_rehearsal",
        state="Nothing was touched: the target never saw the migration.",
        hint=cause.hint,
        where=cause.where,
    )
