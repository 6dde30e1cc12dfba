"""Rehearses a release: a copy of the target → apply there by the very code of production."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any

from autopilot.clock import elapsed_ms
from autopilot.events import Step
from autopilot.migrations import catalog, forecast, observed
from autopilot.migrations.observed import Watch
from autopilot.migrations.segments import Migration
from autopilot.migrations.wire import Stamp
from autopilot.postgres.session import READER_NAME, Connection, Server, session
from autopilot.workflows import supplying
from autopilot.workflows.copy_flight import Flight, fly
from autopilot.workflows.held_back import spared
from autopilot.workflows.outcome import Rehearsed
from autopilot.workflows.scratch import Copy
from autopilot.workflows.there_and_back import there_and_back
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
        another = copy.again()
        supply = supplying.supply(copy, batches, target=target)
        supplied = supply(copy.url)
        begun_s = world.clock.monotonic_s()
        with session(copy.url, application_name=READER_NAME) as connection:
            watch = Watch(there=catalog.relations(connection))
        flight = Flight(world=world, step=step, server=server, stamp=stamp, supply=supplied)
        for batch in batches:
            fly(flight, copy.url, batch, watch=watch)
        apply_ms = elapsed_ms(world.clock, begun_s)
        with session(copy.url, application_name=READER_NAME) as connection:
            pace = forecast.compared(target, connection, world.clock)
        left = spared(watch.transactions, world.settings, pace)
        way_back = None
        if another is not None:
            way_back = there_and_back(replace(flight, supply=supply(another)), another, batches, watch, left)
        transactions = watch.transactions if way_back is None else way_back.transactions
        return Rehearsed(
            server_version=copy.server_version,
            origin=copy.origin,
            restored_tables=copy.tables,
            restored_rows=copy.rows,
            restore_ms=copy.restore_ms,
            stood_in=tuple(dict.fromkeys((*copy.stood_in, *supplied.stood_in))),
            kind=copy.kind,
            blind_spots=copy.blind_spots,
            transactions=tuple(transactions),
            locks=observed.locks(transactions),
            touched=observed.touched(transactions),
            forecast=forecast.forecast(transactions, pace),
            pace=pace,
            apply_ms=apply_ms,
            spared=left,
            way_back=way_back,
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
