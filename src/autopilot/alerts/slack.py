"""Slack's incoming webhook: Block Kit inside its limits, and text that can ping nobody."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from autopilot.alerts.answer import Answer, read
from autopilot.alerts.parcel import Parcel
from autopilot.alerts.wording import Notice
from autopilot.channels import Channel
from autopilot.http import Client
from autopilot.secret import scrub

#: Slack's limits (health.md, section 6): header 150, section text 3,000, ten fields of 2,000, and about 13,200 in all. These add
#: up to less than 10,000.
_HEADER, _TEXT, _FIELD, _FIELDS, _FALLBACK = 150, 2900, 380, 10, 1200
_LINKS = 4
_TIMEOUT_S = 4.0


def payload(notice: Notice) -> dict[str, Any]:
    """The message body: `text` for notifications, `blocks` for the eye."""
    fields = [_mrkdwn(f"*{_quoted(k, 100)}*\n{_quoted(v, _FIELD)}") for k, v in notice.facts[:_FIELDS]]
    blocks: list[dict[str, Any]] = [
        {"type": "header", "text": {"type": "plain_text", "text": scrub(notice.headline)[:_HEADER], "emoji": True}},
        {"type": "section", "text": _mrkdwn(_quoted(notice.text, _TEXT) or "-")},
    ]
    if fields:
        blocks.append({"type": "section", "fields": fields})
    if notice.links:
        links = " · ".join(f"<{_address(url)}|{_quoted(words, 40)}>" for words, url in notice.links[:_LINKS])
        blocks.append({"type": "context", "elements": [_mrkdwn(links)]})
    return {
        "text": _quoted(f"{notice.headline} — {notice.text}", _FALLBACK),
        "blocks": blocks,
        "unfurl_links": False,
        "unfurl_media": False,
    }


def post(channel: Channel, parcel: Parcel, *, request: Client, now: datetime) -> Answer:
    """One try. Slack knows no key of ours: a copy is told twice."""
    reply = request("POST", channel.secret.reveal(), json=payload(parcel.notice), timeout_s=_TIMEOUT_S)
    return read(reply, who="Slack", secret=channel.secret, now=now)


def _mrkdwn(text: str) -> dict[str, Any]:
    """Verbatim: what looks like an address or a name stays text."""
    return {"type": "mrkdwn", "text": text, "verbatim": True}


def _address(url: str) -> str:
    return "".join(_ESCAPES.get(c, c) for c in url[:300] if c not in "|<>\n ")


def _quoted(text: str, limit: int) -> str:
    """Slack's own escapes make links, mentions and pings inert; control characters are dropped."""
    clean = "".join(c for c in scrub(text) if c == "\n" or c.isprintable())
    pieces: list[str] = []
    length = 0
    for character in clean:
        piece = _ESCAPES.get(character, character)
        if length + len(piece) > limit - 1:
            return "".join(pieces) + "…"
        pieces.append(piece)
        length += len(piece)
    return "".join(pieces)


_ESCAPES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
