"""How each kind of channel is told: one file a kind."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Protocol

from autopilot.alerts import github, pagerduty, slack, through_apprise, webhook
from autopilot.alerts.answer import Answer
from autopilot.alerts.parcel import Parcel
from autopilot.channels import Channel, Kind
from autopilot.http import Client


class Send(Protocol):
    """One try at telling one channel. Never raises for what the channel does."""

    def __call__(self, channel: Channel, parcel: Parcel, /, *, request: Client, now: datetime) -> Answer: ...


SENDERS: Mapping[Kind, Send] = {
    "pagerduty": pagerduty.post,
    "github": github.post,
    "slack": slack.post,
    "webhook": webhook.post,
    "apprise": through_apprise.post,
}
#: Kinds that a person reads: after an outage they get one digest in place of everything that was missed.
READ_BY_PEOPLE: frozenset[Kind] = frozenset({"slack", "apprise"})
