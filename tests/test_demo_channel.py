"""The stand-in channel: Slack's replies, and what it keeps."""

from __future__ import annotations

import contextlib
import http.client
import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from autopilot import programs
from autopilot.demo.channel import Allowance, objection

ROOT = Path(__file__).parents[1]
WORDS = {"type": "mrkdwn", "text": "words"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    webhook_url: str
    state: Path

    def post(self, body: bytes, *, path: str | None = None) -> tuple[int, str, Mapping[str, str]]:
        return self.ask("POST", path or urlsplit(self.webhook_url).path, body)

    def ask(self, method: str, path: str, body: bytes | None = None) -> tuple[int, str, Mapping[str, str]]:
        connection = http.client.HTTPConnection("127.0.0.1", urlsplit(self.webhook_url).port)
        with contextlib.closing(connection):
            connection.request(method, path, body=body, headers={"Content-Type": "application/json"})
            answer = connection.getresponse()
            return answer.status, answer.read().decode(), dict(answer.getheaders())

    def messages(self) -> list[dict[str, Any]]:
        file = self.state / "messages.jsonl"
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


@contextlib.contextmanager
def listening(state: Path) -> Iterator[Running]:
    command = programs.Command(
        argv=(sys.executable, "-m", "autopilot.demo.channel", "--port", "0", "--state", str(state)),
        env={"PYTHONPATH": str(ROOT / "src"), "STOP_ON_EOF": "1"},
        stdin=b"",
    )
    with programs.ended(programs.start(command, stderr=None)) as process:
        assert process.stdout is not None
        yield Running(webhook_url=json.loads(process.stdout.readline())["webhook_url"], state=state)
        process.terminate()
        assert process.wait() == 0


@pytest.fixture
def channel(tmp_path: Path) -> Iterator[Running]:
    with listening(tmp_path / "state") as channel:
        yield channel


def section(text: str) -> dict[str, Any]:
    return {"type": "section", "text": {"type": "mrkdwn", "text": text}}


def header(text: str) -> dict[str, Any]:
    return {"type": "header", "text": {"type": "plain_text", "text": text}}


def test_a_message_is_answered_with_ok_and_kept(channel: Running) -> None:
    message = {"text": "✅ Migration success", "blocks": [header("✅ Migration success"), section("3 files")]}
    status, word, headers = channel.post(json.dumps(message).encode())
    assert (status, word) == (200, "ok")
    assert headers["Content-Type"].startswith("text/plain")
    assert channel.messages() == [message]


@pytest.mark.parametrize(
    ("body", "status", "word"),
    [
        pytest.param(b"", 400, "invalid_payload", id="nothing"),
        pytest.param(b"payload=x", 400, "invalid_payload", id="a form"),
        pytest.param(b"[]", 400, "invalid_payload", id="a list"),
        pytest.param(b"{}", 400, "no_text", id="an empty object"),
        pytest.param(b'{"blocks": [{}]}', 400, "invalid_blocks", id="a block without a type"),
        pytest.param(json.dumps({"blocks": [section("x" * 2_700)] * 5}).encode(), 400, "msg_blocks_too_long", id="too long"),
        pytest.param(b" " * (1024 * 1024 + 1), 413, "body_too_large", id="too large"),
    ],
)
def test_the_channel_refuses_as_slack_does(channel: Running, body: bytes, status: int, word: str) -> None:
    assert channel.post(body)[:2] == (status, word)
    assert channel.messages() == []


def test_only_the_whole_path_is_a_webhook(channel: Running) -> None:
    right = urlsplit(channel.webhook_url).path
    for path in (right[:-1], right + "x", "/services/T0/B0/x", "/"):
        assert channel.post(b'{"text": "x"}', path=path)[:2] == (404, "no_service")
    assert channel.ask("GET", right)[:2] == (404, "no_service")
    assert right.startswith("/services/T")


def test_who_goes_on_without_a_pause_is_told_to_wait(channel: Running) -> None:
    accepted = 0
    while (answer := channel.post(b'{"text": "again"}'))[0] == 200:
        accepted += 1
    status, _, headers = answer
    assert (status, headers["Retry-After"]) == (429, "1")
    assert accepted >= 5
    assert len(channel.messages()) == accepted


def test_the_webhook_stays_the_same_when_the_channel_starts_again(tmp_path: Path) -> None:
    with listening(tmp_path) as channel:
        before = urlsplit(channel.webhook_url).path
        channel.post(b'{"text": "one"}')
    with listening(tmp_path) as channel:
        assert urlsplit(channel.webhook_url).path == before
        channel.post(b'{"text": "two"}')
        assert [message["text"] for message in channel.messages()] == ["one", "two"]


def test_a_burst_of_five_may_come_at_once_and_then_one_a_second() -> None:
    allowance = Allowance(at_s=100.0)
    for _ in range(5):
        spent = allowance.spend(100.0)
        assert spent is not None
        allowance = spent
    assert allowance.spend(100.0) is None
    assert allowance.spend(100.9) is None
    spent = allowance.spend(101.0)
    assert spent is not None
    assert spent.spend(101.5) is None


def test_silence_does_not_save_up_more_than_a_burst() -> None:
    spent = Allowance(at_s=0.0).spend(3600.0)
    assert spent is not None
    assert spent.left == 4


@pytest.mark.parametrize(
    ("message", "word"),
    [
        ({"text": "words"}, None),
        ({"blocks": [section("words")]}, None),
        ({"text": 5}, "invalid_payload"),
        ({"text": "", "blocks": []}, "no_text"),
        ({"blocks": "words"}, "invalid_blocks"),
        ({"blocks": ["words"]}, "invalid_blocks"),
        ({"blocks": [{"type": "divider"}] * 50}, None),
        ({"blocks": [{"type": "divider"}] * 51}, "invalid_blocks"),
        ({"blocks": [header("x" * 150)]}, None),
        ({"blocks": [header("x" * 151)]}, "invalid_blocks"),
        ({"blocks": [section("x" * 3_000)]}, None),
        ({"blocks": [section("x" * 3_001)]}, "invalid_blocks"),
        ({"blocks": [section("")]}, "invalid_blocks"),
        ({"blocks": [{"type": "section"}]}, "invalid_blocks"),
        ({"blocks": [{"type": "section", "text": "words"}]}, "invalid_blocks"),
        ({"blocks": [{"type": "section", "fields": [WORDS] * 10}]}, None),
        ({"blocks": [{"type": "section", "fields": [WORDS] * 11}]}, "invalid_blocks"),
        ({"blocks": [{"type": "section", "fields": [WORDS | {"text": "x" * 2_001}]}]}, "invalid_blocks"),
        ({"text": "x" * 13_000}, None),
        ({"text": "x", "blocks": [section("x" * 3_000)] * 4 + [section("x" * 999)]}, None),
        ({"text": "x", "blocks": [section("x" * 3_000)] * 4 + [section("x" * 1_000)]}, "msg_blocks_too_long"),
        ({"blocks": [{"type": "context", "elements": [WORDS | {"text": "x" * 13_001}]}]}, "msg_blocks_too_long"),
    ],
)
def test_messages_are_held_to_slacks_limits(message: object, word: str | None) -> None:
    assert objection(message) == word
