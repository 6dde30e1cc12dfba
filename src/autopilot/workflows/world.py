"""Everything a story needs from outside, as one frozen value."""

from __future__ import annotations

import random
from dataclasses import dataclass

from autopilot.clock import Clock
from autopilot.config import Settings
from autopilot.events import Tell
from autopilot.http import Client
from autopilot.killpoints import Reached, nowhere
from autopilot.secret import Secret


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    settings: Settings
    clock: Clock
    request: Client
    chance: random.Random
    tell: Tell
    #: Told which named point of a run is reached, so that a test can end it there.
    reached: Reached = nowhere

    @property
    def database_url(self) -> Secret:
        return self.settings.require_database()
