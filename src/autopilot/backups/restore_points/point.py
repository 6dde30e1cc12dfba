"""What every provider's restore point is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from autopilot.errors import UsageError


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What a provider needs to know of the database."""

    #: Of its URL, by libpq's keywords.
    parameters: Mapping[str, str]
    #: The server's clock, now.
    now: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class RestorePoint:
    """A moment that the provider can bring back, verified."""

    provider: str
    #: Stands in migration_log.backup_file: "supabase:<ref>@<time>", "neon:<project>/<branch>".
    name: str
    made_at: datetime
    words: str
    #: What a person does to go back.
    how_back: str
    details: Mapping[str, Any] = field(default_factory=dict)


def no_key(variable: str, provider: str) -> UsageError:
    return UsageError(
        f"big_restore_point names {provider}, and {variable} is not set.",
        code="no_provider_key",
        hint=f"Set {variable} in the environment.",
    )
