"""Releases what was pushed.

read → look → (nothing to do?) → lock → settle → plan → lint → backup → rehearse → apply + record → deploy → prove → notify

Until *apply* every failure ends as refused: nothing was touched. From the lock on, the story goes on in `flight`, which is
read only then: most runs find nothing to do.
"""

from __future__ import annotations

from autopilot.errors import Stranded
from autopilot.postgres.session import RUN_PREFIX, session
from autopilot.workflows import planning
from autopilot.workflows.logbook import Logbook, Wish
from autopilot.workflows.outcome import Outcome, outcome_of
from autopilot.workflows.preflight import AtRest, Cleared, preflight
from autopilot.workflows.reading import reach
from autopilot.workflows.world import World


def release(world: World, wish: Wish) -> Outcome:
    """The release story. Never raises for what goes wrong on the way: the outcome tells it."""
    book = Logbook(begun_s=world.clock.monotonic_s())
    try:
        summary = _released(world, wish, book)
    except (Exception, KeyboardInterrupt) as cause:  # noqa: BLE001 - every end is told, this one too
        from autopilot.workflows.ending import as_error, ended_badly

        return ended_badly(world, wish, book, as_error(cause, book))
    outcome = "released" if book.applied or book.deploy is not None else "nothing_to_do"
    return outcome_of(world, wish, book, outcome, summary=summary, error=None)


def _released(world: World, wish: Wish, book: Logbook) -> str:
    files = planning.read_files(world)
    world.reached("L1")
    world = reach(world)
    found = preflight(world, wish, book, files)
    if isinstance(found, AtRest):
        if found.untold:
            from autopilot.workflows.notices import deliver

            deliver(world)
        return found.summary
    return _under_lock(world, wish, book, found)


def _under_lock(world: World, wish: Wish, book: Logbook, cleared: Cleared) -> str:
    from autopilot.workflows import flight
    from autopilot.workflows.holding import locked

    with (
        locked(world, wish.run.run_id) as holder,
        session(world.database_url, application_name=RUN_PREFIX + wish.run.run_id) as connection,
    ):
        try:
            return flight.fly(world, wish, book, cleared, connection=connection, holder=holder)
        except (Exception, KeyboardInterrupt) as cause:
            from autopilot.workflows.ending import as_error, record_failure

            error = record_failure(world, wish, book, as_error(cause, book), connection)
            if isinstance(error, Stranded):
                from autopilot.workflows.at_once import gone_back

                error = gone_back(world, wish, book, error, connection)
            raise error from cause
        finally:
            if book.slot is not None:
                from autopilot.workflows import replay_slot

                replay_slot.drop(world, book, connection)
