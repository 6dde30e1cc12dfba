"""Cloudflare Pages by its API (npm cloudflare 7.3.0, src/resources/pages/projects), and by hook alone.

Below /accounts/{account_id}/pages/projects/{project_name}: POST /deployments, multipart {branch, commit_hash, commit_message,
commit_dirty} → Deployment; GET /deployments?env=production&page=&per_page= → [Deployment], newest first; GET
/deployments/{id}; POST /deployments/{id}/retry and /rollback → Deployment; GET the project itself → {canonical_deployment}.
Deployment: id, url, created_on, environment, is_skipped, skip_reason, latest_stage {name: queued|initialize|clone_repo|build|
deploy, status: success|idle|active|failure|canceled|skipped}, deployment_trigger.metadata {branch, commit_hash, commit_message}.

Every answer is {success, errors: [{code, message}], messages, result}, and success may be false under 2xx. A preview is no
target of a rollback (developers.cloudflare.com/pages/platform/rollbacks). There is no lock, and no cancelling.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

from autopilot.deploys import fields
from autopilot.deploys.answers import mapping, nonsense, request_id, said
from autopilot.deploys.api import Api
from autopilot.deploys.deploy import Deploy, Host, State, Wanted, is_wanted
from autopilot.errors import Refused
from autopilot.http import Reply

NAME = "Cloudflare Pages"
PLATFORM = "cloudflare_pages"
PER_PAGE = 25
_PAGES = 8

_STATES: dict[str, State] = {
    "idle": "triggered", "active": "building", "failure": "failed", "canceled": "cancelled", "skipped": "skipped",
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Project:
    api: Api
    account_id: str
    project_name: str

    def trigger(self, wanted: Wanted) -> Deploy:
        asked = {"branch": wanted.branch, "commit_hash": wanted.commit, "commit_message": wanted.title}
        content, kind = form({name: value for name, value in asked.items() if value is not None})
        return self._sent("/deployments", is_repeatable=False, content=content, kind=kind)

    def find(self, wanted: Wanted) -> Deploy | None:
        for page in range(1, _PAGES + 1):
            query = urlencode({"env": "production", "page": page, "per_page": PER_PAGE})
            reply = self._get(f"/deployments?{query}")
            listed = _result(reply)
            if not isinstance(listed, list):
                raise nonsense(NAME, reply, "its list of deployments is none")
            deploys = [read(one, reply) for one in listed]
            for deploy in deploys:
                if is_wanted(deploy, wanted):
                    return deploy
            is_older = any(d.created_at is not None and d.created_at < wanted.since for d in deploys)
            if is_older or len(deploys) < PER_PAGE:
                return None
        return None

    def look(self, deploy_id: str) -> Deploy:
        reply = self._get(f"/deployments/{quote(deploy_id, safe='')}")
        deploy = read(_result(reply), reply)
        if deploy.id != deploy_id:
            raise nonsense(NAME, reply, "the deployment that it speaks of is another one")
        return deploy

    def published(self) -> str | None:
        reply = self._get("")
        project = _result(reply)
        if fields.text(project, "id") is None:
            raise nonsense(NAME, reply, "what it says of the project has no id")
        return fields.text(project, "canonical_deployment", "id")

    def restore(self, deploy_id: str) -> Deploy:
        return self._sent(f"/deployments/{quote(deploy_id, safe='')}/rollback", is_repeatable=True)

    def retry(self, deploy_id: str) -> Deploy:
        return self._sent(f"/deployments/{quote(deploy_id, safe='')}/retry", is_repeatable=False)

    @property
    def _path(self) -> str:
        return f"/accounts/{quote(self.account_id, safe='')}/pages/projects/{quote(self.project_name, safe='')}"

    def _get(self, path: str) -> Reply:
        return self.api.get(self._path + path)

    def _sent(self, path: str, *, is_repeatable: bool, content: bytes | None = None, kind: str | None = None) -> Deploy:
        reply = self.api.send("POST", self._path + path, is_repeatable=is_repeatable, content=content, kind=kind)
        return read(_result(reply), reply)


def host(api: Api, *, account_id: str, project_name: str) -> Host:
    project = Project(api=api, account_id=account_id, project_name=project_name)
    return Host(
        platform=PLATFORM, trigger=project.trigger, find=project.find, look=project.look, published=project.published,
        restore=project.restore, retry=project.retry,
    )  # fmt: skip


def _result(reply: Reply) -> Any:
    """What is inside the envelope. Raises Refused (`host_refused`, `host_answer`)."""
    found = mapping(NAME, reply)
    success = fields.flag(found, "success")
    if success is False:
        raise Refused(
            f"{NAME} refuses: {said(reply) or 'it does not say why'}{request_id(reply)}.",
            code="host_refused", hint="Look at the project in the dashboard.",
        )  # fmt: skip
    result = fields.at(found, "result")
    if success is None or result is None:
        raise nonsense(NAME, reply, "its answer has no result")
    return result


def read(document: object, reply: Reply) -> Deploy:
    """A deploy from a Deployment. Raises Refused (`host_answer`)."""
    deploy_id = fields.text(document, "id")
    stage, status = fields.text(document, "latest_stage", "name"), fields.text(document, "latest_stage", "status")
    if deploy_id is None or stage is None or status is None:
        raise nonsense(NAME, reply, "a deployment of its has no id, or no stage")
    caused = ("deployment_trigger", "metadata")
    skipped = fields.flag(document, "is_skipped") is True
    environment = fields.text(document, "environment")
    state = "skipped" if skipped else state_of(stage, status)
    return Deploy(
        id=deploy_id, state=state, said=f"{stage} {status}", commit=fields.text(document, *caused, "commit_hash"),
        branch=fields.text(document, *caused, "branch"), title=fields.text(document, *caused, "commit_message"),
        url=fields.address(document, "url"), created_at=fields.moment(document, "created_on"),
        error=fields.words(document, "skip_reason") or (f"in the stage {stage}" if state == "failed" else ""),
        is_production=None if environment is None else environment == "production",
    )  # fmt: skip


def state_of(stage: str, status: str) -> State:
    """Ours for the latest stage: a stage that succeeded is the end only where it is the last one."""
    if status == "success":
        return "success" if stage == "deploy" else "building"
    if status == "idle" and stage != "queued":
        return "building"
    return _STATES.get(status, "unknown")


def form(values: dict[str, str]) -> tuple[bytes, str]:
    """multipart/form-data of plain fields: its bytes and its Content-Type."""
    boundary = secrets.token_hex(16)
    parts = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n' for name, value in values.items()
    ]
    return "".join([*parts, f"--{boundary}--\r\n"]).encode(), f"multipart/form-data; boundary={boundary}"
