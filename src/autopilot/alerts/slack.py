"""Slack's incoming webhook: Block Kit inside its limits, and text that can ping nobody."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from autopilot.alerts.wording import Notice
from autopilot.http import Client, Reply
from autopilot.secret import Secret, scrub

#: Slack's limits (health.md, section 6): header 150, section text 3,000, ten fields of 2,000.
_HEADER, _SECTION, _FIELD, _FIELDS = 150, 2900, 1850, 10
_TIMEOUT_S = 10.0


def payload(notice: Notice) -> dict[str, Any]:
    """The message body: `text` for notifications, `blocks` for the eye."""
    text = _quoted(notice.text, _SECTION)
    fields = [{"type": "mrkdwn", "text": f"*{_quoted(k, 100)}*\n{_quoted(v, _FIELD)}"} for k, v in notice.facts[:_FIELDS]]
    blocks: list[dict[str, Any]] = [
        {"type": "header", "text": {"type": "plain_text", "text": scrub(notice.headline)[:_HEADER], "emoji": True}},
        {"type": "section", "text": {"type": "mrkdwn", "text": text}},
    ]
    if fields:
        blocks.append({"type": "section", "fields": fields})
    return {
        "text": _quoted(f"{notice.headline} — {notice.text}", _SECTION),
        "blocks": blocks,
        "unfurl_links": False,
        "unfurl_media": False,
    }


def send(webhook: Secret, notice: Notice, *, request: Client, sleep: Callable[[float], None]) -> str | None:
    """None when Slack took it, else why not. A refusal (4xx) is final; 429 and outages are tried three times."""
    reply = Reply(status=0, failure="connect")
    for wait_s in (1.0, 2.0, None):
        reply = request("POST", webhook.reveal(), json=payload(notice), timeout_s=_TIMEOUT_S)
        if reply.ok:
            return None
        if wait_s is None or (400 <= reply.status < 500 and reply.status != 429):
            break
        after = reply.headers.get("retry-after", "")
        sleep(min(30.0, float(after)) if after.isdecimal() else wait_s)
    said = reply.body[:60].decode("utf-8", "replace").strip()
    return f"Slack gave {reply.words()}" + (f" ({scrub(said)})" if said and reply.status else "")


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
