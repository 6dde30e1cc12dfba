"""A notice on its way to one channel, with what tells it from every other."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from autopilot.alerts.wording import Notice


@dataclass(frozen=True, slots=True, kw_only=True)
class Parcel:
    notice: Notice
    #: The same for every copy of it: what a receiver can tell copies by.
    key: str
    environment_name: str
    #: The page it opens, is about or resolves; None: it is about none.
    page: str | None
    written_at: datetime
