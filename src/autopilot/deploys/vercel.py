"""Vercel: a deploy hook begins a deploy, the API tells and moves it (npm @vercel/sdk 1.28.35).

POST hook → 2xx {job: {id, state, createdAt}} (vercel.com/docs/deploy-hooks): no deployment's id comes back, so it is found in
GET /v7/deployments?projectId=&target=production&since=&sha=&limit=&teamId= (getDeployments) → 200 {deployments: [{uid,
readyState, state, url, created, createdAt, target, meta, errorMessage, …}], pagination}.
GET /v13/deployments/{idOrUrl} (getDeployment) → 200 {id, readyState, url, createdAt, target, gitSource, errorMessage, …}.
PATCH /v12/deployments/{id}/cancel → 200 deployment. POST /v10/projects/{projectId}/promote/{deploymentId} (requestPromote)
→ 201 or 202, POST /v1/projects/{projectId}/rollback/{deploymentId} (requestRollback) → 201, both without a body.
GET /v9/projects/{idOrName} (getProject) → 200 {id, targets: {production: {id, …}}}. An error is {error: {code, message}}.

readyState: QUEUED, INITIALIZING, BUILDING, READY, ERROR, CANCELED, BLOCKED, DELETED. Instant rollback turns off the automatic
assignment of domains until the next promotion (vercel.com/docs/instant-rollback), so it locks; there is no lock of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import quote, urlencode

from autopilot.deploys import fields
from autopilot.deploys.answers import mapping, nonsense
from autopilot.deploys.api import Api
from autopilot.deploys.deploy import Deploy, Host, State, Wanted, is_wanted
from autopilot.http import Reply

NAME = "Vercel"
PLATFORM = "vercel"
_LIMIT = 100

_STATES: dict[str, State] = {
    "QUEUED": "triggered", "INITIALIZING": "building", "BUILDING": "building", "READY": "success", "ERROR": "failed",
    "CANCELED": "cancelled", "DELETED": "cancelled", "BLOCKED": "waiting_for_review",
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Project:
    api: Api
    project_id: str
    #: "" for a personal account.
    team_id: str

    def find(self, wanted: Wanted) -> Deploy | None:
        query = {"projectId": self.project_id, "target": "production", "limit": _LIMIT,
                 "since": int(wanted.since.timestamp() * 1000)}  # fmt: skip
        if wanted.commit is not None and len(wanted.commit) == 40:
            query["sha"] = wanted.commit
        reply = self.api.get(self._path("/v7/deployments", query))
        listed = mapping(NAME, reply).get("deployments")
        if not isinstance(listed, list):
            raise nonsense(NAME, reply, "its list of deployments is none")
        for document in listed:
            deploy = read(document, reply)
            # The list was asked for this commit alone, so a deployment that tells none is one of it.
            told = replace(deploy, commit=wanted.commit) if "sha" in query and deploy.commit is None else deploy
            if is_wanted(told, wanted):
                return told
        return None

    def look(self, deploy_id: str) -> Deploy:
        reply = self.api.get(self._path(f"/v13/deployments/{_safe(deploy_id)}"))
        deploy = read(mapping(NAME, reply), reply)
        if deploy.id != deploy_id:
            raise nonsense(NAME, reply, "the deployment that it speaks of is another one")
        return deploy

    def published(self) -> str | None:
        reply = self.api.get(self._path(f"/v9/projects/{_safe(self.project_id)}"))
        found = mapping(NAME, reply)
        if fields.text(found, "id") is None:
            raise nonsense(NAME, reply, "what it says of the project has no id")
        return fields.text(found, "targets", "production", "id")

    def promote(self, deploy_id: str) -> Deploy:
        self.api.send(
            "POST", self._path(f"/v10/projects/{_safe(self.project_id)}/promote/{_safe(deploy_id)}"), is_repeatable=True
        )
        return self.look(deploy_id)

    def restore(self, deploy_id: str) -> Deploy:
        self.api.send(
            "POST", self._path(f"/v1/projects/{_safe(self.project_id)}/rollback/{_safe(deploy_id)}"), is_repeatable=True
        )
        return self.look(deploy_id)

    def cancel(self, deploy_id: str) -> Deploy:
        self.api.send("PATCH", self._path(f"/v12/deployments/{_safe(deploy_id)}/cancel"), is_repeatable=True)
        return self.look(deploy_id)

    def _path(self, path: str, query: dict[str, Any] | None = None) -> str:
        whole = (query or {}) | ({"teamId": self.team_id} if self.team_id else {})
        return f"{path}?{urlencode(whole)}" if whole else path


def host(api: Api, *, project_id: str, team_id: str, trigger: Callable[[Wanted], Deploy]) -> Host:
    """With the hook that triggers."""
    project = Project(api=api, project_id=project_id, team_id=team_id)
    return Host(
        platform=PLATFORM, trigger=trigger, find=project.find, look=project.look, published=project.published,
        restore=project.restore, promote=project.promote, cancel=project.cancel,
    )  # fmt: skip


def read(document: object, reply: Reply) -> Deploy:
    """A deploy from a deployment, whole or from the list. Raises Refused (`host_answer`)."""
    deploy_id = fields.text(document, "id") or fields.text(document, "uid")
    said = fields.text(document, "readyState") or fields.text(document, "state")
    if deploy_id is None or said is None:
        raise nonsense(NAME, reply, "a deployment of its has no id, or no readyState")
    return Deploy(
        id=deploy_id, state=_STATES.get(said, "unknown"), said=said, commit=fields.text(document, "gitSource", "sha"),
        url=fields.address(document, "url"),
        created_at=fields.moment(document, "createdAt") or fields.moment(document, "created"),
        error=fields.words(document, "errorMessage") or fields.words(document, "errorCode"),
        is_production=fields.at(document, "target") == "production",
    )  # fmt: skip


def _safe(part: str) -> str:
    return quote(part, safe="")
