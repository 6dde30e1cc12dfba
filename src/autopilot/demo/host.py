"""A local host that behaves like Netlify as far as a build hook goes.

    python -m autopilot.demo.host --repository BARE_REPOSITORY --branch main --port 0 --state DIR

DATABASE_URL comes from the environment. When it listens, one JSON line on stdout names its addresses.
"""

from __future__ import annotations

import argparse
import hmac
import http.client
import os
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from autopilot.clock import SystemClock
from autopilot.demo.builds import Builds, Deploy
from autopilot.demo.loopback import Answering, LoopbackServer, announce_and_serve, kept
from autopilot.demo.sites import Site
from autopilot.secret import Secret

_SITE_TIMEOUT_S = 30
#: Headers that speak of one connection only, and those that the answer gets anew.
_NOT_PASSED_ON = frozenset(
    {
        "connection",
        "content-length",
        "date",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "server",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
_NO_DEPLOY_YET = b"<!doctype html><title>Not found</title><h1>No deploy yet</h1><p>Call the build hook.\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """What the host gives out: whoever knows the hook's id may build, whoever has the token may read."""

    hook_id: str
    site_id: str
    token: str


class Host(LoopbackServer):
    def __init__(self, *, port: int, credentials: Credentials, builds: Builds) -> None:
        super().__init__(("127.0.0.1", port), Door)
        self.credentials = credentials
        self.builds = builds

    def announcement(self) -> dict[str, object]:
        return {
            "hook_url": f"{self.origin}/build_hooks/{self.credentials.hook_id}",
            "site_url": self.origin,
            "port": self.server_port,
            "api_url": f"{self.origin}/api/v1",
            "site_id": self.credentials.site_id,
            "token": self.credentials.token,
        }


class Door(Answering):
    """Hooks and the read API are the host's; everything else belongs to the published deploy."""

    server: Host

    def do_GET(self) -> None:  # noqa: N802  # http.server's name
        path, _, query = self.path.partition("?")
        if path.startswith("/build_hooks/"):
            self._hook(path.removeprefix("/build_hooks/"), parse_qs(query))
        elif path.startswith("/api/v1/"):
            self._api(path.removeprefix("/api/v1/").split("/"))
        else:
            self._pass_on()

    do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = do_GET  # noqa: N815  # likewise

    def _hook(self, hook_id: str, query: dict[str, list[str]]) -> None:
        if self.body() is None:
            return
        if not hmac.compare_digest(hook_id.encode(), self.server.credentials.hook_id.encode()):
            self.answer_text(HTTPStatus.NOT_FOUND, "Not Found")
        elif self.command != "POST":
            self.answer_text(HTTPStatus.METHOD_NOT_ALLOWED, "Method Not Allowed", headers={"Allow": "POST"})
        else:
            title = query.get("trigger_title", ["Triggered by hook"])[0]
            self.server.builds.request(branch=query.get("trigger_branch", [None])[0], title=title)
            self.answer_text(HTTPStatus.OK, "")

    def _api(self, parts: list[str]) -> None:
        sent = self.headers.get("Authorization", "").encode("utf-8", "replace")
        if not hmac.compare_digest(sent, f"Bearer {self.server.credentials.token}".encode()):
            self.answer_json(HTTPStatus.UNAUTHORIZED, {"code": 401, "message": "Access Denied"})
        elif self.command != "GET":
            self.answer_text(HTTPStatus.METHOD_NOT_ALLOWED, "Method Not Allowed", headers={"Allow": "GET"})
        elif (found := self._document(parts)) is None:
            self.answer_json(HTTPStatus.NOT_FOUND, {"code": 404, "message": "Not Found"})
        else:
            self.answer_json(HTTPStatus.OK, found)

    def _document(self, parts: list[str]) -> object | None:
        builds, site_id = self.server.builds, self.server.credentials.site_id
        match parts:
            case ["sites", asked] if asked == site_id:
                live = builds.published()
                shown = None if live is None else deploy_document(live, site_id=site_id)
                return {"id": site_id, "ssl_url": self.server.origin, "published_deploy": shown}
            case ["sites", asked, "deploys"] if asked == site_id:
                return [deploy_document(deploy, site_id=site_id) for deploy in builds.deploys()]
            case ["deploys", deploy_id] if (deploy := builds.deploy(deploy_id)) is not None:
                return deploy_document(deploy, site_id=site_id)
            case _:
                return None

    def _pass_on(self) -> None:
        body = self.body()
        if body is None:
            return
        with self.server.builds.visit() as site:
            if site is None:
                self.answer(HTTPStatus.NOT_FOUND, _NO_DEPLOY_YET, {"Content-Type": "text/html"})
                return
            try:
                status, headers, content = self._ask(site, body)
            except (OSError, http.client.HTTPException, UnicodeError):
                self.answer_text(HTTPStatus.BAD_GATEWAY, "The site does not answer.")
                return
        self._relay(status, headers, content)

    def _ask(self, site: Site, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", site.port, timeout=_SITE_TIMEOUT_S)
        try:
            headers = dict(passed_on(self.headers.items()))
            headers["Content-Length"] = str(len(body))
            connection.request(self.command, self.path, body=body, headers=headers)
            answer = connection.getresponse()
            return answer.status, answer.getheaders(), answer.read()
        finally:
            connection.close()

    def _relay(self, status: int, headers: list[tuple[str, str]], content: bytes) -> None:
        self.send_response(status)
        for name, value in passed_on(headers):
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


def passed_on(headers: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """Those headers that a proxy hands to the other side."""
    return [(name, value) for name, value in headers if name.lower() not in _NOT_PASSED_ON]


def deploy_document(deploy: Deploy, *, site_id: str) -> dict[str, Any]:
    """A deploy in the shape of Netlify's API, as far as ours has something to say."""
    return {
        "id": deploy.id,
        "site_id": site_id,
        "state": deploy.state,
        "title": deploy.title,
        "branch": deploy.branch,
        "context": deploy.context,
        "commit_ref": deploy.commit_ref,
        "deploy_ssl_url": deploy.url,
        "created_at": _stamp(deploy.created_at),
        "published_at": None if deploy.published_at is None else _stamp(deploy.published_at),
        "error_message": deploy.error_message,
        "skipped": deploy.skipped,
    }


def _stamp(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m autopilot.demo.host", description="A stand-in for Netlify.")
    parser.add_argument("--repository", type=Path, required=True, help="the bare git repository to build from")
    parser.add_argument("--branch", default="main", help="the branch that production follows")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--state", type=Path, required=True, help="a directory for credentials and deploys")
    options = parser.parse_args()
    if "DATABASE_URL" not in os.environ:
        parser.error("set DATABASE_URL: the site reads it")
    builds = Builds(
        repository=options.repository,
        branch=options.branch,
        directory=options.state / "deploys",
        database_url=Secret(os.environ["DATABASE_URL"]),
        clock=SystemClock(),
    )
    with builds, Host(port=options.port, credentials=_credentials(options.state), builds=builds) as host:
        announce_and_serve(host, host.announcement())


def _credentials(state: Path) -> Credentials:
    fresh = {
        "hook_id": secrets.token_hex(12),
        "site_id": secrets.token_hex(16),
        "token": secrets.token_urlsafe(24),
    }
    return Credentials(**kept(state / "host.json", fresh))


if __name__ == "__main__":
    main()
