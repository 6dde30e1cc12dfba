"""Stand-in channels for tests: each its own process, begun anew for every test, every exchange held to its document."""

from __future__ import annotations

import contextlib
import json
import sys
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tests.channels import referee
from tests.conftest import ROOT

from autopilot import programs

KINDS = ("pagerduty", "github", "slack", "webhook")
#: What refuses every connection.
CLOSED = "http://127.0.0.1:1"


@dataclass(frozen=True, kw_only=True)
class Staged:
    name: str
    told: Mapping[str, str]

    @property
    def variables(self) -> dict[str, str]:
        """What a user sets for this channel."""
        return {k: v for k, v in self.told.items() if k.isupper()}

    def script(self, **words: Any) -> None:
        request = urllib.request.Request(f"{self.told['url']}/_script", data=json.dumps(words).encode(), method="POST")
        urllib.request.urlopen(request, timeout=10).close()

    def fails(self, *faults: Mapping[str, Any]) -> None:
        """Every request but as told is done; `on` may be left out."""
        self.script(faults=[{"on": "* /", "times": 0, **fault} for fault in faults])

    def works(self) -> None:
        self.script(faults=[])

    def exchanges(self) -> list[dict[str, Any]]:
        with urllib.request.urlopen(f"{self.told['url']}/_told", timeout=10) as answer:
            found: list[dict[str, Any]] = json.load(answer)["exchanges"]
        return found

    def took(self) -> list[dict[str, Any]]:
        """The bodies of what it was sent and did, reading left out; what a fault kept from it is not among them."""
        return [
            json.loads(e["body"].encode("latin-1")) for e in self.exchanges()
            if e["method"] != "GET" and (not e["fault"] or e["document"] is not None)
        ]  # fmt: skip

    def headlines(self) -> list[str]:
        """First words of what people read there."""
        match self.name:
            case "slack":
                return [body["blocks"][0]["text"]["text"] for body in self.took()]
            case "webhook":
                return [body["headline"] for body in self.took()]
            case "pagerduty":
                return [body.get("event_action") or body["payload"]["summary"] for body in self.took()]
            case _:
                return [body.get("title") or body.get("state") or body["body"].split("\n")[0] for body in self.took()]

    def hold_to_document(self) -> None:
        if self.name not in {"github", "pagerduty"}:
            return
        for e in self.exchanges():
            body = json.loads(e["body"].encode("latin-1")) if e["body"] else None
            assert referee.asked(self.name, e["method"], e["path"], body) == []
            if not e["fault"] and e["status"] is not None:
                assert referee.answered(self.name, e["method"], e["path"], e["status"], e["document"]) == []


@contextlib.contextmanager
def standing_in(name: str) -> Iterator[Staged]:
    """The stand-in as its own process."""
    command = programs.Command(
        argv=(sys.executable, "-m", f"tests.channels.{name}"), stdin=b"",
        env={"PYTHONPATH": f"{ROOT / 'src'}:{ROOT}", "STOP_ON_EOF": "1"},
    )  # fmt: skip
    with programs.ended(programs.start(command, stderr=None)) as process:
        assert process.stdout is not None
        yield Staged(name=name, told=json.loads(process.stdout.readline()))
        process.terminate()
        process.wait()
