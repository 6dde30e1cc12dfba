"""A webhook of the user's own: the notice as JSON, signed where AUTOPILOT_SECRET is set, so that it can tell us from others.

POST {"key", "action", "severity", "environment", "page", "headline", "text", "facts", "links", "at"}; `key` is the same for
every copy. Any 2xx takes it.
"""

from __future__ import annotations

import secrets
from datetime import datetime
from typing import Any

import msgspec

from autopilot import signing
from autopilot.alerts.answer import Answer, read
from autopilot.alerts.parcel import Parcel
from autopilot.channels import Channel
from autopilot.http import Client
from autopilot.secret import scrub

_TIMEOUT_S = 4.0


def body(parcel: Parcel) -> dict[str, Any]:
    notice = parcel.notice
    return {
        "key": parcel.key, "action": notice.action, "severity": notice.severity, "environment": parcel.environment_name,
        "page": parcel.page, "headline": scrub(notice.headline), "text": scrub(notice.text),
        "facts": {k: scrub(v) for k, v in notice.facts}, "links": [{"text": words, "href": url} for words, url in notice.links],
        "at": parcel.written_at.isoformat(timespec="milliseconds"),
    }  # fmt: skip


def post(channel: Channel, parcel: Parcel, *, request: Client, now: datetime) -> Answer:
    """One try, signed anew: a nonce is good once."""
    url, content = channel.secret.reveal(), msgspec.json.encode(body(parcel))
    headers = {"Content-Type": "application/json", "User-Agent": "autopilot"}
    if channel.signing is not None:
        headers |= signing.headers(channel.signing, method="POST", url=url, body=content, nonce=secrets.token_hex(16), now=now)
    reply = request("POST", url, content=content, headers=headers, timeout_s=_TIMEOUT_S)
    return read(reply, who=f"The webhook {channel.name}", secret=channel.secret, now=now)
