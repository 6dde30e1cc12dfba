"""PagerDuty's Events API v2: a page is triggered, acknowledged and resolved under one dedup_key; a change is told as one."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any

from autopilot.alerts.answer import Answer, read
from autopilot.alerts.parcel import Parcel
from autopilot.channels import Channel
from autopilot.http import Client
from autopilot.secret import scrub

#: health.md, section 6: summary 1,024, dedup_key 255, 512 KB in all.
_SUMMARY, _KEY, _DETAIL = 1024, 255, 20_000
_TIMEOUT_S = 4.0
_ACTIONS = {"open": "trigger", "ack": "acknowledge", "resolve": "resolve"}


def event(channel: Channel, parcel: Parcel) -> dict[str, Any]:
    """The body of an alert event or, for a change, of a change event."""
    notice = parcel.notice
    links = [{"href": url, "text": words} for words, url in notice.links]
    if notice.action not in _ACTIONS:
        payload = {
            "summary": _summary(parcel), "source": _source(parcel), "timestamp": _stamp(parcel.written_at),
            "custom_details": _details(parcel),
        }  # fmt: skip
        return {"routing_key": channel.secret.reveal(), "payload": payload, **({"links": links} if links else {})}
    body: dict[str, Any] = {
        "routing_key": channel.secret.reveal(), "event_action": _ACTIONS[notice.action],
        "dedup_key": (parcel.page or parcel.key)[:_KEY],
    }  # fmt: skip
    if notice.action == "open":
        body |= {
            "client": "Autopilot",
            "payload": {
                "summary": _summary(parcel), "source": _source(parcel), "severity": notice.severity,
                "timestamp": _stamp(parcel.written_at), "group": parcel.environment_name[:200] or "production",
                "custom_details": _details(parcel),
            },
        } | ({"links": links} if links else {})  # fmt: skip
    return body


def post(channel: Channel, parcel: Parcel, *, request: Client, now: datetime) -> Answer:
    """One try. A copy merges into the page that its dedup_key opened; of a change event two may be shown."""
    body = event(channel, parcel)
    path = "/v2/enqueue" if "event_action" in body else "/v2/change/enqueue"
    base = re.sub(r"/v2/?$", "", channel.api_url)
    reply = request("POST", base + path, json=body, timeout_s=_TIMEOUT_S)
    return read(reply, who="PagerDuty", secret=channel.secret, now=now)


def _summary(parcel: Parcel) -> str:
    notice = parcel.notice
    text = " ".join(f"{notice.headline} ({parcel.environment_name}): {notice.text}".split())
    return scrub(text)[:_SUMMARY]


def _source(parcel: Parcel) -> str:
    return f"autopilot {parcel.environment_name}"[:200]


def _details(parcel: Parcel) -> dict[str, str]:
    return {"text": scrub(parcel.notice.text)[:_DETAIL]} | {k: scrub(v)[:_DETAIL] for k, v in parcel.notice.facts}


def _stamp(at: datetime) -> str:
    return at.isoformat(timespec="milliseconds")
