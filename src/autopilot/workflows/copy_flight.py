"""Flies migrations on a copy of the target, by the very code that applies them to the target."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from autopilot.errors import AutopilotError, Refused
from autopilot.events import Step
from autopilot.migrations import apply as applying
from autopilot.migrations.observed import Watch
from autopilot.migrations.segments import Migration
from autopilot.migrations.unit import Part, lock_room
from autopilot.migrations.wire import Keeping, Limits, Stamp
from autopilot.postgres.session import Server, look, session
from autopilot.secret import Secret
from autopilot.workflows.supplying import Supply
from autopilot.workflows.world import World


@dataclass(frozen=True, slots=True, kw_only=True)
class Flight:
    """What all flights of one rehearsal have in common."""

    world: World
    step: Step
    #: The target's.
    server: Server
    stamp: Stamp
    #: What is said there in place of statements that make extensions.
    supply: Supply = field(default_factory=Supply)


def fly(
    flight: Flight, url: Secret, migrations: tuple[Migration, ...], *, watch: Watch | None = None,
    keeping: Callable[[Part], Keeping] = lambda _part: Keeping(),
) -> None:  # fmt: skip
    """Applies them to the copy at `url`. Raises Refused (`refused_in_rehearsal`)."""
    world = flight.world

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
            lock_room=lock_room(flight.server.lock_table),
            progress=lambda done, total: flight.step.progress(done, total, "files"),
            reached=reached,
            watch=watch,
            keeping=flight.supply.around(keeping),
        )
        try:
            applying.apply(migrations, target, replace(flight.stamp, triggered_by="rehearsal"))
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
