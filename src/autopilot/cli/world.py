"""The outside world of a command that only reads."""

from __future__ import annotations

from autopilot.cli.frame import Frame, new_random
from autopilot.clock import SystemClock
from autopilot.events import Tell
from autopilot.http import request
from autopilot.workflows.world import World


def quiet_world(frame: Frame) -> World:
    """A world whose events nobody needs."""
    return telling_world(frame, lambda _event: None)


def telling_world(frame: Frame, tell: Tell) -> World:
    return World(settings=frame.settings(), clock=SystemClock(), request=request, chance=new_random(), tell=tell)
