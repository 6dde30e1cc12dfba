"""Restore points of providers, in place of a dump of a very large database: one file a provider, and a line here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from autopilot.access import ProviderAccess
from autopilot.backups.restore_points import neon, supabase
from autopilot.backups.restore_points.point import RestorePoint, Target
from autopilot.clock import Clock
from autopilot.http import Client


class Make(Protocol):
    def __call__(self, access: ProviderAccess, target: Target, *, run_id: str, request: Client, clock: Clock) -> RestorePoint: ...


class Check(Protocol):
    def __call__(self, access: ProviderAccess, target: Target, *, request: Client, clock: Clock) -> str: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    name: str
    make: Make
    #: Says what is there; asks for nothing.
    check: Check
    #: A restore point of it can be branched for a rehearsal.
    branches: bool


PROVIDERS = {
    "supabase": Provider(name="Supabase", make=supabase.make, check=supabase.check, branches=False),
    "neon": Provider(name="Neon", make=neon.make, check=neon.check, branches=True),
}
__all__ = ["PROVIDERS", "Provider", "RestorePoint", "Target"]
