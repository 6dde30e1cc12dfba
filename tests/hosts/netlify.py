"""A stand-in for Netlify's API and build hooks: `python -m tests.hosts.netlify`.

Shapes: netlify-subset.json, to which every exchange is held by `referee.py`; words and rules: health.md, section 6. A deploy
moves one word along its walk each time it is looked at, and is published when it is ready, unless another one is locked.

Script: {"walk": [words of the next deploys], "ending": {fields of a deploy at its end}, "head": commit, "stop_builds": bool,
"no_credit": bool, "ill": [deploys whose site answers 503], "remove": [deploy ids], "left": requests until the limit}.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from tests.hosts.standin import Answer, Asked, serve, stamp

SITE, TOKEN, HOOK = "5e7d1b2c-site", "nfp_standinsecrettoken", "5e7d0123456789abcdef0123"
WALK = ["new", "building", "uploading", "processing", "ready"]
MOVING = {"new", "enqueued", "building", "uploading", "uploaded", "preparing", "prepared", "processing", "processed", "retrying"}


class Netlify:
    def __init__(self) -> None:
        self.deploys: list[dict[str, Any]] = []
        self.walks: dict[str, list[str]] = {}
        self.walk, self.head = list(WALK), "c0ffee" + "0" * 34
        self.ending: dict[str, Any] = {}
        self.endings: dict[str, dict[str, Any]] = {}
        self.published: str | None = None
        self.stop_builds = self.no_credit = False
        self.left = 500
        self.ill: list[str] = []

    @property
    def begun(self) -> int:
        return len(self.walks)

    def announcement(self, origin: str) -> dict[str, object]:
        return {
            "url": origin,
            "api_url": f"{origin}/api/v1",
            "site": SITE,
            "token": TOKEN,
            "hook": f"{origin}/build_hooks/{HOOK}",
        }

    def script(self, told: Mapping[str, Any]) -> None:
        for deploy_id in told.get("remove", []):
            self.deploys = [d for d in self.deploys if d["id"] != deploy_id]
        for name, value in told.items():
            if name != "remove":
                setattr(self, name, value)

    def answer(self, asked: Asked) -> Answer:
        if asked.path == f"/build_hooks/{HOOK}" and asked.method == "POST":
            if not self.stop_builds:
                self._begin(asked.query.get("trigger_title", "Triggered by hook"), asked.query.get("trigger_branch"))
            return Answer(status=200)
        if not asked.path.startswith("/api/v1/"):
            return self._visit(asked)
        if asked.headers.get("authorization") != f"Bearer {TOKEN}":
            return _error(401, "Access Denied")
        self.left -= 1
        limits = {"x-ratelimit-limit": "500", "x-ratelimit-remaining": str(max(self.left, 0)),
                  "x-ratelimit-reset": str(int(time.time()) + 1)}  # fmt: skip
        if self.left < 0:
            return Answer(status=429, document={"code": 429, "message": "Too Many Requests"}, headers=limits)
        found = self._api(asked)
        return Answer(status=found.status, document=found.document, text=found.text, headers=limits)

    def _visit(self, asked: Asked) -> Answer:
        """The site: the published deploy says which commit it is."""
        live = next((d for d in self.deploys if d["id"] == self.published), None)
        if live is None or asked.path not in {"/", "/api/health"}:
            return Answer(status=404, text="Not Found")
        ill = live["id"] in self.ill
        return Answer(status=503 if ill else 200, document={"status": "ill" if ill else "ok", "commit": live["commit_ref"]})

    def _api(self, asked: Asked) -> Answer:
        match (asked.method, *asked.path.removeprefix("/api/v1/").split("/")):
            case ("GET", "sites", site_id) if site_id == SITE:
                return Answer(status=200, document=self._site())
            case ("GET", "sites", site_id, "deploys") if site_id == SITE:
                page, size = int(asked.query.get("page", 1)), int(asked.query.get("per_page", 100))
                return Answer(status=200, document=self.deploys[(page - 1) * size : page * size])
            case ("GET", "sites", site_id, "deploys", deploy_id) if site_id == SITE and self._has(deploy_id):
                return Answer(status=200, document=self._moved(deploy_id))
            case ("POST", "sites", site_id, "builds") if site_id == SITE:
                return self._build(asked)
            case ("POST", "sites", site_id, "deploys", deploy_id, "restore") if site_id == SITE and self._has(deploy_id):
                return self._restore(deploy_id)
            case ("POST", "deploys", deploy_id, "lock" | "unlock" as how) if self._has(deploy_id):
                self._deploy(deploy_id)["locked"] = how == "lock"
                return Answer(status=200, document=self._deploy(deploy_id))
            case ("POST", "deploys", deploy_id, "cancel") if self._has(deploy_id):
                deploy = self._deploy(deploy_id)
                if deploy["state"] in MOVING:
                    deploy |= {"state": "error", "error_message": "Canceled build"}
                return Answer(status=201, document=deploy)
            case _:
                return _error(404, "Not Found")

    def _site(self) -> dict[str, Any]:
        live = next((d for d in self.deploys if d["id"] == self.published), None)
        shown = {} if live is None else {"published_deploy": live}
        return {"id": SITE, "name": "harbour", "build_settings": {"stop_builds": self.stop_builds}} | shown

    def _build(self, asked: Asked) -> Answer:
        if self.no_credit:
            return _error(403, "Account credit usage exceeded - new deploys are blocked")
        if self.stop_builds:
            return _error(422, "Builds are stopped for this site")
        deploy = self._begin(asked.query.get("title", ""), asked.query.get("branch"))
        build = {"id": deploy["build_id"], "deploy_id": deploy["id"], "sha": self.head, "done": False,
                 "created_at": deploy["created_at"]}  # fmt: skip
        return Answer(status=200, document=build)

    def _begin(self, title: str, branch: str | None) -> dict[str, Any]:
        number = len(self.walks) + 1
        deploy_id = f"{number:024x}"
        self.walks[deploy_id] = list(self.walk)
        self.endings[deploy_id] = dict(self.ending)
        deploy = {
            "id": deploy_id, "site_id": SITE, "build_id": f"b{number:023x}", "state": self.walk[0], "name": "harbour",
            "branch": branch or "main", "commit_ref": self.head, "title": title, "created_at": stamp(), "updated_at": stamp(),
            "context": "branch-deploy" if branch not in {None, "main"} else "production", "skipped": False, "locked": False,
            "deploy_ssl_url": f"https://{deploy_id}--harbour.example",
        }  # fmt: skip
        self.deploys.insert(0, deploy)
        self._settle(deploy)
        return deploy

    def _moved(self, deploy_id: str) -> dict[str, Any]:
        deploy = self._deploy(deploy_id)
        walk = self.walks[deploy_id]
        if len(walk) > 1 and deploy["state"] == walk[0]:
            walk.pop(0)
            deploy["state"] = walk[0]
            self._settle(deploy)
        return deploy

    def _settle(self, deploy: dict[str, Any]) -> None:
        """What comes of a deploy at the end of its walk."""
        if len(self.walks[deploy["id"]]) > 1:
            return
        deploy |= self.endings[deploy["id"]]
        locked = any(d["locked"] for d in self.deploys)
        if deploy["state"] == "ready" and deploy["context"] == "production" and not locked:
            self.published = deploy["id"]
            deploy["published_at"] = stamp()

    def _restore(self, deploy_id: str) -> Answer:
        deploy = self._deploy(deploy_id)
        if deploy["state"] != "ready":
            return _error(422, "Deploy is not ready")
        self.published = deploy_id
        deploy["published_at"] = stamp()
        return Answer(status=201, document=deploy)

    def _has(self, deploy_id: str) -> bool:
        return any(d["id"] == deploy_id for d in self.deploys)

    def _deploy(self, deploy_id: str) -> dict[str, Any]:
        return next(d for d in self.deploys if d["id"] == deploy_id)


def _error(code: int, message: str) -> Answer:
    return Answer(status=code, document={"code": code, "message": message})


if __name__ == "__main__":
    serve(Netlify)
