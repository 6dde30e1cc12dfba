"""A stand-in for PagerDuty's Events API v2: python -m tests.channels.pagerduty.

A trigger opens an alert or merges into the open one of its dedup_key; after resolve it opens a new one; what is acknowledged or
resolved and is not open is dropped. All of it is answered with 202.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from tests.channels import referee
from tests.hosts.standin import Answer, Asked, serve

KEY = "0123456789abcdef0123456789abcdef"


class PagerDuty:
    #: No deploys here.
    begun = 0

    def answer(self, asked: Asked) -> Answer:
        body = json.loads(asked.body)
        wrong = referee.asked("pagerduty", asked.method, asked.path, body)
        if asked.path not in {"/v2/enqueue", "/v2/change/enqueue"}:
            return Answer(status=404, text="not found")
        if wrong or body["routing_key"] != KEY or len(asked.body) > 512 * 1024 or _too_long(body):
            document = {"status": "invalid event", "message": "Event object is invalid", "errors": wrong or ["not accepted"]}
            return Answer(status=400, document=document)
        return Answer(
            status=202,
            document={"status": "success", "message": "Event processed", "dedup_key": body.get("dedup_key", "made-by-pagerduty")},
        )

    def script(self, told: Mapping[str, Any]) -> None:
        """Nothing but faults."""

    def announcement(self, origin: str) -> dict[str, object]:
        return {"url": origin, "PAGERDUTY_API_URL": origin, "PAGERDUTY_ROUTING_KEY": KEY}


def _too_long(body: Mapping[str, Any]) -> bool:
    return len(body.get("dedup_key", "")) > 255 or len(body.get("payload", {}).get("summary", "")) > 1024


def alerts(events: list[dict[str, Any]]) -> list[list[str]]:
    """What PagerDuty makes of these events: for each alert its actions, in order."""
    made: list[list[str]] = []
    is_open: dict[str, list[str]] = {}
    for event in events:
        key, action = event["dedup_key"], event["event_action"]
        if action == "trigger" and key not in is_open:
            made.append([])
            is_open[key] = made[-1]
        if key in is_open:
            is_open[key].append(action)
        if action == "resolve":
            is_open.pop(key, None)
    return made


if __name__ == "__main__":
    serve(PagerDuty)
