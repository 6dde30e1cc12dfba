"""A stand-in for Cloudflare Pages' API and deploy hooks: `python -m tests.hosts.cloudflare`.

Shapes: cloudflare-shapes.json, written from the types of npm cloudflare 7.3.0. A deployment moves one stage along its walk each
time it is looked at; stages are "name status".

Script: {"walk": [...], "ending": {...}, "head": commit, "remove": [ids]}.
"""

from __future__ import annotations

import email
from collections.abc import Mapping
from typing import Any

from tests.hosts.standin import Answer, Asked, serve, stamp

ACCOUNT, PROJECT, TOKEN, HOOK = "acc0123", "harbour", "cfstandinsecrettoken", "5e7d-hook"
WALK = ["queued idle", "initialize active", "build active", "build success", "deploy success"]
BASE = f"/client/v4/accounts/{ACCOUNT}/pages/projects/{PROJECT}"


class Cloudflare:
    def __init__(self) -> None:
        self.deployments: list[dict[str, Any]] = []
        self.walks: dict[str, list[str]] = {}
        self.endings: dict[str, dict[str, Any]] = {}
        self.walk, self.head = list(WALK), "c0ffee" + "0" * 34
        self.ending: dict[str, Any] = {}
        self.live: str | None = None

    @property
    def begun(self) -> int:
        return len(self.walks)

    def announcement(self, origin: str) -> dict[str, object]:
        hook = f"{origin}/client/v4/pages/webhooks/deploy_hooks/{HOOK}"
        return {
            "url": origin, "api_url": f"{origin}/client/v4", "account": ACCOUNT, "site": PROJECT, "token": TOKEN, "hook": hook,
        }  # fmt: skip

    def script(self, told: Mapping[str, Any]) -> None:
        for deploy_id in told.get("remove", []):
            self.deployments = [d for d in self.deployments if d["id"] != deploy_id]
        for name, value in told.items():
            if name != "remove":
                setattr(self, name, value)

    def answer(self, asked: Asked) -> Answer:
        if asked.path == f"/client/v4/pages/webhooks/deploy_hooks/{HOOK}" and asked.method == "POST":
            return _enveloped({"id": self._begin(self.head, "main", "")["id"]})
        if asked.headers.get("authorization") != f"Bearer {TOKEN}":
            return _failed(403, 10000, "Authentication error")
        if not asked.path.startswith(BASE):
            return _failed(404, 8000007, "Project not found")
        return self._api(asked, asked.path.removeprefix(BASE).strip("/").split("/"))

    def _api(self, asked: Asked, parts: list[str]) -> Answer:
        match (asked.method, *parts):
            case ("GET", ""):
                live = None if self.live is None else self._deploy(self.live)
                return _enveloped({"id": "prj-1", "name": PROJECT, "canonical_deployment": live})
            case ("GET", "deployments"):
                page, size = int(asked.query.get("page", 1)), int(asked.query.get("per_page", 25))
                return _enveloped(self.deployments[(page - 1) * size : page * size])
            case ("POST", "deployments"):
                fields = form(asked)
                commit, branch = fields.get("commit_hash", self.head), fields.get("branch", "main")
                return _enveloped(self._begin(commit, branch, fields.get("commit_message", "")))
            case ("GET", "deployments", deploy_id) if self._has(deploy_id):
                return _enveloped(self._moved(deploy_id))
            case ("POST", "deployments", deploy_id, "retry") if self._has(deploy_id):
                caused = self._deploy(deploy_id)["deployment_trigger"]["metadata"]
                return _enveloped(self._begin(caused["commit_hash"], caused["branch"], caused["commit_message"]))
            case ("POST", "deployments", deploy_id, "rollback") if self._has(deploy_id):
                if self._deploy(deploy_id)["latest_stage"] | {"started_on": 0, "ended_on": 0} != _stage("deploy success", 0):
                    return _failed(400, 8000039, "This deployment is no valid target of a rollback")
                self.live = deploy_id
                return _enveloped(self._deploy(deploy_id))
            case _:
                return _failed(404, 8000009, "The deployment ID you have specified does not exist")

    def _begin(self, commit: str, branch: str, message: str) -> dict[str, Any]:
        deploy_id = f"00000000-0000-4000-8000-{len(self.walks) + 1:012x}"
        self.walks[deploy_id], self.endings[deploy_id] = list(self.walk), dict(self.ending)
        deployment = {
            "id": deploy_id, "short_id": f"{len(self.walks):08x}", "project_name": PROJECT, "environment": "production",
            "url": f"https://{len(self.walks):08x}.harbour.example", "created_on": stamp(), "is_skipped": False,
            "latest_stage": _stage(self.walk[0], stamp()),
            "deployment_trigger": {
                "type": "ad_hoc",
                "metadata": {"branch": branch, "commit_hash": commit, "commit_message": message, "commit_dirty": False},
            },
        }  # fmt: skip
        self.deployments.insert(0, deployment)
        self._settle(deployment)
        return deployment

    def _moved(self, deploy_id: str) -> dict[str, Any]:
        deployment, walk = self._deploy(deploy_id), self.walks[deploy_id]
        if len(walk) > 1:
            walk.pop(0)
            deployment["latest_stage"] = _stage(walk[0], stamp())
            self._settle(deployment)
        return deployment

    def _settle(self, deployment: dict[str, Any]) -> None:
        walk = self.walks[deployment["id"]]
        if len(walk) > 1:
            return
        deployment |= self.endings[deployment["id"]]
        if walk[0] == "deploy success":
            self.live = deployment["id"]

    def _has(self, deploy_id: str) -> bool:
        return any(d["id"] == deploy_id for d in self.deployments)

    def _deploy(self, deploy_id: str) -> dict[str, Any]:
        return next(d for d in self.deployments if d["id"] == deploy_id)


def form(asked: Asked) -> dict[str, str]:
    """The fields of a multipart body, read by the standard library's own parser."""
    whole = f"Content-Type: {asked.headers['content-type']}\r\n\r\n".encode() + asked.body
    found = {}
    for part in email.message_from_bytes(whole).walk():
        name = part.get_param("name", header="content-disposition")
        if isinstance(name, str):
            found[name] = str(part.get_payload())
    return found


def _stage(text: str, moment: str | int) -> dict[str, Any]:
    name, status = text.split()
    return {"name": name, "status": status, "started_on": moment, "ended_on": moment}


def _enveloped(result: Any) -> Answer:
    return Answer(status=200, document={"success": True, "errors": [], "messages": [], "result": result}, headers=_RAY)


def _failed(status: int, code: int, message: str) -> Answer:
    errors = [{"code": code, "message": message}]
    return Answer(status=status, document={"success": False, "errors": errors, "messages": [], "result": None}, headers=_RAY)


_RAY = {"cf-ray": "8f00standin-FRA"}


if __name__ == "__main__":
    serve(Cloudflare)
