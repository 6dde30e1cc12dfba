"""Holds the lock that keeps two runs apart, and says so."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from autopilot.events import Noted, told
from autopilot.postgres import lock
from autopilot.postgres.session import Connection
from autopilot.workflows.world import World


@contextlib.contextmanager
def locked(world: World, run_id: str) -> Iterator[Connection]:
    """Yields the session that holds it. Raises Locked."""
    with contextlib.ExitStack() as stack:
        with told(world.tell, world.clock, "lock", "Taking the lock") as step:
            holder = stack.enter_context(
                lock.held(
                    world.database_url, run_id=run_id, wait_s=world.settings.lock_wait_s, clock=world.clock,
                    waiting=lambda who: world.tell(Noted(text=f"Waiting for the lock, which {who} holds.")),
                )
            )  # fmt: skip
            step.says("no other run is under way")
        world.reached("L3")
        yield holder
