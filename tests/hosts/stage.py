"""Stand-in hosts for tests: each its own process, begun anew for every test, and every exchange held to its document."""

from __future__ import annotations

import contextlib
import json
import sys
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.conftest import ROOT
from tests.hosts import referee

from autopilot import http, programs
from autopilot.config import Settings, load
from autopilot.deploys import hosts
from autopilot.deploys.deploy import Host, Wanted

COMMIT, NEXT = "c0ffee" + "0" * 34, "decade" + "1" * 34
#: The referee's document of each stand-in.
DOCUMENTS = {
    "netlify": "netlify-subset.json", "vercel": "vercel-shapes.json", "cloudflare": "cloudflare-shapes.json", "webhook": None,
}  # fmt: skip
#: The key of `hosts.HOSTS` that each stand-in is.
KINDS = {"netlify": "netlify", "vercel": "vercel", "cloudflare": "cloudflare_pages", "webhook": "webhook"}


@dataclass
class Waiting:
    """A clock whose sleeps take no time, and are remembered."""

    slept: list[float] = field(default_factory=list)

    def now(self) -> datetime:
        return datetime.now(UTC) + timedelta(seconds=sum(self.slept))

    def monotonic_s(self) -> float:
        return sum(self.slept)

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)


@dataclass
class Staged:
    name: str
    told: Mapping[str, str]
    clock: Waiting

    def script(self, **words: Any) -> None:
        request = urllib.request.Request(f"{self.told['url']}/_script", data=json.dumps(words).encode(), method="POST")
        urllib.request.urlopen(request, timeout=10).close()

    def exchanges(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self._told()["exchanges"]
        return found

    def begun(self) -> int:
        """How many deploys there are."""
        return int(self._told()["begun"])

    def _told(self) -> dict[str, Any]:
        with urllib.request.urlopen(f"{self.told['url']}/_told", timeout=10) as answer:
            found: dict[str, Any] = json.load(answer)
        return found

    def variables(self, *, hook: bool = False) -> dict[str, str]:
        """What a user sets for this host."""
        told = self.told
        match self.name:
            case "netlify" if not hook:
                return {"NETLIFY_API_URL": told["api_url"], "NETLIFY_SITE_ID": told["site"], "NETLIFY_AUTH_TOKEN": told["token"]}
            case "netlify":
                return {"NETLIFY_BUILD_HOOK": told["hook"]}
            case "vercel":
                api = {"VERCEL_API_URL": told["api_url"], "VERCEL_PROJECT_ID": told["site"], "VERCEL_ORG_ID": told["team"],
                       "VERCEL_TOKEN": told["token"]}  # fmt: skip
                return {"VERCEL_DEPLOY_HOOK": told["hook"]} | ({} if hook else api)
            case "cloudflare" if not hook:
                return {"CLOUDFLARE_API_URL": told["api_url"], "CLOUDFLARE_ACCOUNT_ID": told["account"],
                        "CLOUDFLARE_PAGES_PROJECT": told["site"], "CLOUDFLARE_API_TOKEN": told["token"]}  # fmt: skip
            case "cloudflare":
                return {"CLOUDFLARE_DEPLOY_HOOK": told["hook"]}
            case _:
                return {"AUTOPILOT_DEPLOY_HOOK": told["hook"], "AUTOPILOT_SECRET": told["token"]}

    def settings(self, *, hook: bool = False, variables: Mapping[str, str] | None = None) -> Settings:
        return load(variables=self.variables(hook=hook) | dict(variables or {}))

    def host(self, *, hook: bool = False, variables: Mapping[str, str] | None = None) -> Host:
        found = hosts.host(self.settings(hook=hook, variables=variables), request=http.request, clock=self.clock)
        assert found is not None
        return found

    def hold_to_document(self) -> None:
        name = DOCUMENTS[self.name]
        if name is not None:
            document = referee.read(name)
            assert [c for e in self.exchanges() if not e["fault"] for c in referee.complaints(document, e)] == []


@contextlib.contextmanager
def standing_in(name: str) -> Iterator[Mapping[str, str]]:
    """The stand-in as its own process; yields what it announces."""
    command = programs.Command(
        argv=(sys.executable, "-m", f"tests.hosts.{name}"), stdin=b"",
        env={"PYTHONPATH": f"{ROOT / 'src'}:{ROOT}", "STOP_ON_EOF": "1"},
    )  # fmt: skip
    with programs.ended(programs.start(command, stderr=None)) as process:
        assert process.stdout is not None
        yield json.loads(process.stdout.readline())
        process.terminate()
        process.wait()


def wanted(title: str = "autopilot r1 c0ffee000000", *, commit: str | None = COMMIT, since: datetime | None = None) -> Wanted:
    return Wanted(title=title, commit=commit, branch=None, since=since or datetime.now(UTC) - timedelta(seconds=1))
