"""Rehearses a release: a copy of the target → apply there by the very code of production."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any

from autopilot.clock import elapsed_ms
from autopilot.errors import AutopilotError, Refused
from autopilot.events import Step
from autopilot.migrations import apply as applying
from autopilot.migrations import catalog, forecast, observed
from autopilot.migrations.observed import Watch
from autopilot.migrations.segments import Migration
from autopilot.migrations.unit import lock_room
from autopilot.migrations.wire import Limits, Stamp
from autopilot.postgres.session import READER_NAME, Connection, Server, look, session
from autopilot.secret import Secret
from autopilot.workflows.outcome import Rehearsed
from autopilot.workflows.scratch import Copy
from autopilot.workflows.world import World


def rehearse(
    world: World, step: Step, *, made: AbstractContextManager[Copy], batches: tuple[tuple[Migration, ...], ...],
    server: Server, stamp: Stamp, target: Connection,
) -> Rehearsed:  # fmt: skip
    """Applies `batches`, each as production would get it, to a copy of the target.

    `target` is only asked how fast it is.

    Raises Refused: `refused_in_rehearsal` when a migration fails there, and for a rehearsal that cannot be made.
    """
    with made as copy:
        step.progress(0, sum(map(len, batches)), "files")
        begun_s = world.clock.monotonic_s()
        with session(copy.url, application_name=READER_NAME) as connection:
            watch = Watch(there=catalog.relations(connection))
            copy_ms = forecast.counting_ms(connection)
        for batch in batches:
            _fly(world, step, copy.url, batch, server, stamp, watch)
        apply_ms = elapsed_ms(world.clock, begun_s)
        target_ms, trip_ms = forecast.counting_ms(target), forecast.trip_ms(target, world.clock)
        pace = forecast.pace(target_ms=target_ms, copy_ms=copy_ms, trip_ms=trip_ms)
        return Rehearsed(
            server_version=copy.server_version,
            origin=copy.origin,
            restored_tables=copy.tables,
            restored_rows=copy.rows,
            restore_ms=copy.restore_ms,
            stood_in=copy.stood_in,
            kind=copy.kind,
            blind_spots=copy.blind_spots,
            transactions=tuple(watch.transactions),
            locks=observed.locks(watch.transactions),
            touched=observed.touched(watch.transactions),
            forecast=forecast.forecast(watch.transactions, pace),
            pace=pace,
            apply_ms=apply_ms,
        )


def files_of(rehearsed: Rehearsed, migrations: tuple[Migration, ...]) -> tuple[dict[str, Any], ...]:
    """What is kept of each file's rehearsal."""
    known = {m.version: m.file for m in migrations}
    return tuple(
        {
            "version": version, "file": known[version].file, "sha256": known[version].sha256,
            "duration_ms": round(sum(s.duration_ms for s in statements), 1), "predicted_ms": foretold.duration_ms,
            "blocked": [b.document() for b in foretold.blocked], "statements": [s.document() for s in statements],
        }
        for version, (statements, foretold) in forecast.by_file(rehearsed.transactions, rehearsed.pace).items()
    )  # fmt: skip


def _fly(
    world: World,
    step: Step,
    url: Secret,
    migrations: tuple[Migration, ...],
    server: Server,
    stamp: Stamp,
    watch: Watch,
) -> None:
    def reached(point: str) -> None:
        if point == "A2":
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
            watch=watch,
        )
        try:
            applying.apply(migrations, target, replace(stamp, triggered_by="rehearsal"))
        except AutopilotError as cause:
            raise refused(cause) from cause


def refused(cause: AutopilotError) -> Refused:
    """A failure on the copy, told as what it means for production."""
    return Refused(
        f"Refused in rehearsal, on a copy of the target: {cause.message}",
        code="refused_in_rehearsal",
        state="Nothing was touched: the target never saw the migration.",
        hint=cause.hint,
        where=cause.where,
    )
