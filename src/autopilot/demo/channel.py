"""A stand-in for a Slack channel's incoming webhook, with Slack's limits and Slack's replies.

    python -m autopilot.demo.channel --port 0 --state DIR

When it listens, one JSON line on stdout names the webhook. DIR/messages.jsonl holds what was accepted.
"""

from __future__ import annotations

import argparse
import hmac
import json
import secrets
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from http import HTTPStatus
from pathlib import Path
from typing import Any

from autopilot.clock import Clock, SystemClock
from autopilot.demo.loopback import Answering, LoopbackServer, announce_and_serve, kept

MOST_BLOCKS = 50
MOST_FIELDS = 10
LONGEST_HEADER_CHARS = 150
LONGEST_SECTION_CHARS = 3_000
LONGEST_FIELD_CHARS = 2_000
LONGEST_MESSAGE_CHARS = 13_000
#: Messages that may follow each other at once; after them one a second.
BURST = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowance:
    """How many messages may still come at `at_s`; it grows by one a second, up to the burst."""

    left: float = BURST
    at_s: float

    def spend(self, now_s: float) -> Allowance | None:
        """What is left after one more message; None when there is none to be had yet."""
        left = min(BURST, self.left + now_s - self.at_s)
        return None if left < 1 else replace(self, left=left - 1, at_s=now_s)


def objection(message: object) -> str | None:
    """The word with which Slack refuses `message`; None when it takes it."""
    if not isinstance(message, dict):
        return "invalid_payload"
    text, blocks = message.get("text") or "", message.get("blocks") or []
    if not isinstance(text, str):
        return "invalid_payload"
    if not text and not blocks:
        return "no_text"
    if not isinstance(blocks, list) or len(blocks) > MOST_BLOCKS or not all(map(_is_well_formed, blocks)):
        return "invalid_blocks"
    if len(text) + sum(len(string) for string in _texts(blocks)) > LONGEST_MESSAGE_CHARS:
        return "msg_blocks_too_long"
    return None


def _is_well_formed(block: object) -> bool:
    if not isinstance(block, dict) or not isinstance(block.get("type"), str):
        return False
    match block["type"]:
        case "header":
            return _fits(block.get("text"), LONGEST_HEADER_CHARS)
        case "section":
            fields = block.get("fields", [])
            if not isinstance(fields, list) or len(fields) > MOST_FIELDS:
                return False
            has_text = not fields or "text" in block
            return (not has_text or _fits(block.get("text"), LONGEST_SECTION_CHARS)) and all(
                _fits(field, LONGEST_FIELD_CHARS) for field in fields
            )
        case _:
            return True


def _fits(text_object: object, longest_chars: int) -> bool:
    if not isinstance(text_object, dict) or text_object.get("type") not in {"plain_text", "mrkdwn"}:
        return False
    text = text_object.get("text")
    return isinstance(text, str) and 0 < len(text) <= longest_chars


def _texts(part: object) -> Iterator[str]:
    """Every string under a key named text, however deep."""
    match part:
        case dict():
            for key, value in part.items():
                if key == "text" and isinstance(value, str):
                    yield value
                else:
                    yield from _texts(value)
        case list():
            for item in part:
                yield from _texts(item)


class Channel(LoopbackServer):
    def __init__(self, *, port: int, path: str, messages: Path, clock: Clock) -> None:
        super().__init__(("127.0.0.1", port), Door)
        self.path = path
        self._messages = messages
        self._clock = clock
        self._turn = threading.Lock()
        self._allowance = Allowance(at_s=clock.monotonic_s())

    def accept(self, message: dict[str, Any]) -> bool:
        """Writes the message down; False when it came too soon after the others."""
        with self._turn:
            allowance = self._allowance.spend(self._clock.monotonic_s())
            if allowance is None:
                return False
            self._allowance = allowance
            with self._messages.open("a", encoding="utf-8") as file:
                file.write(json.dumps(message, ensure_ascii=False) + "\n")
            return True


class Door(Answering):
    server: Channel

    def do_GET(self) -> None:  # noqa: N802  # http.server's name
        self.answer_text(HTTPStatus.NOT_FOUND, "no_service")

    def do_POST(self) -> None:  # noqa: N802  # http.server's name
        body = self.body()
        if body is None:
            return
        if not hmac.compare_digest(self.path.encode(), self.server.path.encode()):
            self.answer_text(HTTPStatus.NOT_FOUND, "no_service")
            return
        message = _parsed(body)
        if (refusal := objection(message)) is not None:
            self.answer_text(HTTPStatus.BAD_REQUEST, refusal)
        elif not self.server.accept(message):
            self.answer_text(HTTPStatus.TOO_MANY_REQUESTS, "rate_limited", headers={"Retry-After": "1"})
        else:
            self.answer_text(HTTPStatus.OK, "ok")


def _parsed(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m autopilot.demo.channel", description="A local stand-in for a Slack incoming webhook."
    )
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--state", type=Path, required=True, help="a directory for its path and messages")
    options = parser.parse_args()
    path = kept(options.state / "channel.json", {"path": _fresh_path()})["path"]
    messages = options.state / "messages.jsonl"
    with Channel(port=options.port, path=path, messages=messages, clock=SystemClock()) as channel:
        announce_and_serve(channel, {"webhook_url": f"{channel.origin}{path}", "port": channel.server_port})


def _fresh_path() -> str:
    team, bot = (secrets.token_hex(5).upper() for _ in range(2))
    return f"/services/T{team}/B{bot}/{secrets.token_urlsafe(18)}"


if __name__ == "__main__":
    main()
