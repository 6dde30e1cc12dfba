"""A stand-in for Vercel's API and deploy hooks: `python -m tests.hosts.vercel`.

Shapes: vercel-shapes.json, written from the types of npm @vercel/sdk 1.28.35. A deployment moves one word along its walk each
time it is looked at; a promoted one, and one that is READY while no rollback holds, becomes production's.

Script: {"walk": [...], "ending": {...}, "head": commit, "shown_after": lists until a new deployment is shown, "remove": [ids]}.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tests.hosts.standin import Answer, Asked, milliseconds, serve

PROJECT, TEAM, TOKEN, HOOK = "prj_harbour", "team_harbour", "vercelstandinsecrettoken", "Hq8sVercelHook"
WALK = ["QUEUED", "INITIALIZING", "BUILDING", "READY"]


class Vercel:
    def __init__(self) -> None:
        self.deployments: list[dict[str, Any]] = []
        self.walks: dict[str, list[str]] = {}
        self.endings: dict[str, dict[str, Any]] = {}
        self.walk, self.head = list(WALK), "c0ffee" + "0" * 34
        self.ending: dict[str, Any] = {}
        self.live: str | None = None
        self.is_rolled_back = False
        self.shown_after = 0

    @property
    def begun(self) -> int:
        return len(self.walks)

    def announcement(self, origin: str) -> dict[str, object]:
        hook = f"{origin}/v1/integrations/deploy/{PROJECT}/{HOOK}"
        return {"url": origin, "api_url": origin, "site": PROJECT, "team": TEAM, "token": TOKEN, "hook": hook}

    def script(self, told: Mapping[str, Any]) -> None:
        for deploy_id in told.get("remove", []):
            self.deployments = [d for d in self.deployments if d["id"] != deploy_id]
        for name, value in told.items():
            if name != "remove":
                setattr(self, name, value)

    def answer(self, asked: Asked) -> Answer:
        if asked.path == f"/v1/integrations/deploy/{PROJECT}/{HOOK}" and asked.method == "POST":
            job = {"id": f"job{len(self.walks)}", "state": "PENDING", "createdAt": milliseconds()}
            self._begin()
            return Answer(status=201, document={"job": job})
        if asked.path.startswith("/v1/integrations/"):
            return _error(404, "not_found", "Not Found")
        if asked.headers.get("authorization") != f"Bearer {TOKEN}" or asked.query.get("teamId") != TEAM:
            return _error(403, "forbidden", "Not authorized")
        return self._api(asked)

    def _api(self, asked: Asked) -> Answer:
        match (asked.method, *asked.path.strip("/").split("/")):
            case ("GET", "v7", "deployments"):
                return self._list(asked.query)
            case ("GET", "v13", "deployments", deploy_id) if self._has(deploy_id):
                return Answer(status=200, document=self._moved(deploy_id))
            case ("GET", "v9", "projects", project) if project == PROJECT:
                live = None if self.live is None else {k: v for k, v in self._deploy(self.live).items() if k != "gitSource"}
                return Answer(status=200, document={"id": PROJECT, "name": "harbour", "targets": {"production": live}})
            case ("PATCH", "v12", "deployments", deploy_id, "cancel") if self._has(deploy_id):
                self._deploy(deploy_id)["readyState"] = "CANCELED"
                return Answer(status=200, document=self._deploy(deploy_id))
            case ("POST", "v10" | "v1" as version, "projects", project, "promote" | "rollback" as how, deploy_id) if (
                project == PROJECT and self._has(deploy_id) and (version == "v10") == (how == "promote")
            ):
                if self._deploy(deploy_id)["readyState"] != "READY":
                    return _error(422, "not_ready", "Deployment is not READY")
                self.live, self.is_rolled_back = deploy_id, how == "rollback"
                return Answer(status=201)
            case _:
                return _error(404, "not_found", "Deployment not found")

    def _list(self, query: Mapping[str, str]) -> Answer:
        self.shown_after -= 1
        shown = [d for d in self.deployments if d["createdAt"] >= int(query.get("since", 0)) and self.shown_after < 0]
        shown = [d for d in shown if query.get("sha", d["gitSource"]["sha"]) == d["gitSource"]["sha"]]
        listed = [_listed(d) for d in shown[: int(query.get("limit", 20))]]
        return Answer(
            status=200, document={"deployments": listed, "pagination": {"count": len(listed), "next": None, "prev": None}}
        )

    def _begin(self) -> None:
        deploy_id = f"dpl_{len(self.walks) + 1:024x}"
        self.walks[deploy_id], self.endings[deploy_id] = list(self.walk), dict(self.ending)
        deployment = {
            "id": deploy_id, "name": "harbour", "readyState": self.walk[0], "url": f"harbour-{len(self.walks)}.vercel.example",
            "createdAt": milliseconds(), "target": "production", "aliasAssigned": False, "gitSource": {"sha": self.head},
        }  # fmt: skip
        self.deployments.insert(0, deployment)
        self._settle(deployment)

    def _moved(self, deploy_id: str) -> dict[str, Any]:
        deployment, walk = self._deploy(deploy_id), self.walks[deploy_id]
        if len(walk) > 1 and deployment["readyState"] == walk[0]:
            walk.pop(0)
            deployment["readyState"] = walk[0]
            self._settle(deployment)
        return deployment

    def _settle(self, deployment: dict[str, Any]) -> None:
        if len(self.walks[deployment["id"]]) > 1:
            return
        deployment |= self.endings[deployment["id"]]
        if deployment["readyState"] == "READY" and not self.is_rolled_back:
            self.live, deployment["aliasAssigned"] = deployment["id"], True

    def _has(self, deploy_id: str) -> bool:
        return any(d["id"] == deploy_id for d in self.deployments)

    def _deploy(self, deploy_id: str) -> dict[str, Any]:
        return next(d for d in self.deployments if d["id"] == deploy_id)


def _listed(deployment: Mapping[str, Any]) -> dict[str, Any]:
    """As the list shows it: under other names, and without the commit."""
    kept = {k: v for k, v in deployment.items() if k not in {"id", "gitSource", "aliasAssigned"}}
    return kept | {"uid": deployment["id"], "created": deployment["createdAt"], "state": deployment["readyState"]}


def _error(status: int, code: str, message: str) -> Answer:
    return Answer(status=status, document={"error": {"code": code, "message": message}}, headers={"x-vercel-id": "fra1::standin"})


if __name__ == "__main__":
    serve(Vercel)
