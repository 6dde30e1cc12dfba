"""A stand-in for Slack's incoming webhook, with Slack's limits: python -m tests.channels.slack."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from tests.hosts.standin import Answer, Asked, serve

from autopilot.demo.channel import objection

PATH = "/services/T0CHANNEL/B0CHANNEL/s3cr3tw3bh00kpath"


class Slack:
    #: No deploys here.
    begun = 0

    def answer(self, asked: Asked) -> Answer:
        if asked.path != PATH or asked.method != "POST":
            return Answer(status=404, text="no_service")
        refusal = objection(json.loads(asked.body))
        return Answer(status=200, text="ok") if refusal is None else Answer(status=400, text=refusal)

    def script(self, told: Mapping[str, Any]) -> None:
        """Nothing but faults."""

    def announcement(self, origin: str) -> dict[str, object]:
        return {"url": origin, "SLACK_WEBHOOK_URL": origin + PATH}


if __name__ == "__main__":
    serve(Slack)
