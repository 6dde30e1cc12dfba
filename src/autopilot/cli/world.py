"""The outside world of a command that only reads."""

from __future__ import annotations

from autopilot.cli.frame import Frame, new_random
from autopilot.clock import SystemClock
from autopilot.http import request
from autopilot.workflows.world import World


def quiet_world(frame: Frame) -> World:
    """A world whose events nobody needs."""
    settings = frame.settings()
    return World(settings=settings, clock=SystemClock(), request=request, chance=new_random(), tell=lambda _event: None)
