"""Netlify by its API (npm @netlify/open-api 2.60.0, dist/swagger.json), and by hook alone.

POST /sites/{site_id}/builds?title=&branch= (createSiteBuild) → 200 {id, deploy_id, sha, done, error, created_at}.
GET /sites/{site_id}/deploys?page=&per_page= (listSiteDeploys) → 200 [deploy], newest first; GET …/deploys/{deploy_id}
(getSiteDeploy) → 200 deploy. POST /sites/{site_id}/deploys/{deploy_id}/restore (restoreSiteDeploy) → 201 deploy; POST
/deploys/{id}/lock, /unlock → 200 deploy; POST /deploys/{id}/cancel → 201 deploy. GET /sites/{site_id} (getSite) → 200
{published_deploy: deploy, build_settings: {stop_builds}}. An error is {code, message}.

The document leaves deploy.state a free string; the words, and that a skipped or cancelled build says "error" too, are in
health.md, section 6, as is that requests are not idempotent: `asking.ask` looks for the title first.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

from autopilot.deploys import fields
from autopilot.deploys.answers import cannot_deploy, listing, mapping, nonsense, request_id
from autopilot.deploys.api import Api
from autopilot.deploys.deploy import Deploy, Host, State, Wanted, is_wanted
from autopilot.errors import Refused
from autopilot.http import Reply

NAME = "Netlify"
PLATFORM = "netlify"
#: A deploy is some kilobytes, and an answer is read up to 1 MiB.
PER_PAGE = 30
#: Beyond so many deploys since the intent, something else is wrong.
_PAGES = 10

_STATES: dict[str, State] = {
    "new": "triggered", "enqueued": "triggered", "accepted": "triggered",
    "building": "building", "uploading": "building", "uploaded": "building", "preparing": "building", "prepared": "building",
    "processing": "building", "processed": "building", "retrying": "building",
    "ready": "success",
    "pending_review": "waiting_for_review", "rejected": "cancelled",
}  # fmt: skip
_SKIPPED = re.compile(r"\bskip|no content change", re.IGNORECASE)
_CANCELLED = re.compile(r"\bcancell?ed\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    api: Api
    site_id: str

    def trigger(self, wanted: Wanted) -> Deploy:
        if fields.flag(self._site(), "build_settings", "stop_builds"):
            raise cannot_deploy(NAME, "builds are stopped in its settings, and a request for one does nothing")
        query = {"title": wanted.title} | ({} if wanted.branch is None else {"branch": wanted.branch})
        reply = self.api.send("POST", f"{self._path}/builds?{urlencode(query)}", is_repeatable=False)
        build = mapping(NAME, reply)
        if error := fields.words(build, "error"):
            raise Refused(
                f"{NAME} began no build: {error}{request_id(reply)}.", code="host_refused",
                hint="Look at the site's deploys in the dashboard.",
            )  # fmt: skip
        deploy_id = fields.text(build, "deploy_id")
        if deploy_id is None:
            raise nonsense(NAME, reply, "the build that it began has no deploy_id")
        return Deploy(
            id=deploy_id, state="triggered", commit=fields.text(build, "sha"), branch=wanted.branch, title=wanted.title,
            created_at=fields.moment(build, "created_at"),
        )  # fmt: skip

    def find(self, wanted: Wanted) -> Deploy | None:
        for page in range(1, _PAGES + 1):
            query = urlencode({"page": page, "per_page": PER_PAGE})
            reply = self.api.get(f"{self._path}/deploys?{query}")
            deploys = [read(document, reply) for document in listing(NAME, reply)]
            for deploy in deploys:
                if is_wanted(deploy, wanted):
                    return deploy
            is_older = any(d.created_at is not None and d.created_at < wanted.since for d in deploys)
            if is_older or len(deploys) < PER_PAGE:
                return None
        return None

    def look(self, deploy_id: str) -> Deploy:
        return self._same(deploy_id, self.api.get(f"{self._path}/deploys/{_safe(deploy_id)}"))

    def published(self) -> str | None:
        return fields.text(self._site(), "published_deploy", "id")

    def restore(self, deploy_id: str) -> Deploy:
        return self._changed(deploy_id, f"{self._path}/deploys/{_safe(deploy_id)}/restore")

    def lock(self, deploy_id: str) -> Deploy:
        return self._changed(deploy_id, f"/deploys/{_safe(deploy_id)}/lock")

    def unlock(self, deploy_id: str) -> Deploy:
        return self._changed(deploy_id, f"/deploys/{_safe(deploy_id)}/unlock")

    def cancel(self, deploy_id: str) -> Deploy:
        return self._changed(deploy_id, f"/deploys/{_safe(deploy_id)}/cancel")

    @property
    def _path(self) -> str:
        return f"/sites/{_safe(self.site_id)}"

    def _site(self) -> dict[str, Any]:
        reply = self.api.get(self._path)
        found = mapping(NAME, reply)
        if fields.text(found, "id") is None:
            raise nonsense(NAME, reply, "what it says of the site has no id")
        return found

    def _changed(self, deploy_id: str, path: str) -> Deploy:
        return self._same(deploy_id, self.api.send("POST", path, is_repeatable=True))

    def _same(self, deploy_id: str, reply: Reply) -> Deploy:
        found = mapping(NAME, reply)
        deploy = read(found, reply)
        site_id = fields.text(found, "site_id")
        if deploy.id != deploy_id or (site_id is not None and site_id != self.site_id):
            raise nonsense(NAME, reply, "the deploy that it speaks of is another one, or another site's")
        return deploy


def host(api: Api, *, site_id: str) -> Host:
    site = Site(api=api, site_id=site_id)
    return Host(
        platform=PLATFORM, trigger=site.trigger, find=site.find, look=site.look, published=site.published, restore=site.restore,
        promote=site.restore, lock=site.lock, unlock=site.unlock, cancel=site.cancel,
    )  # fmt: skip


def read(document: object, reply: Reply) -> Deploy:
    """A deploy from a `deploy` of the answer. Raises Refused (`host_answer`)."""
    deploy_id, said = fields.text(document, "id"), fields.text(document, "state")
    if deploy_id is None or said is None:
        raise nonsense(NAME, reply, "a deploy of its has no id, or no state")
    error = fields.words(document, "error_message")
    context = fields.text(document, "context")
    return Deploy(
        id=deploy_id, state=state_of(said, error=error, skipped=fields.flag(document, "skipped") is True), said=said,
        commit=fields.text(document, "commit_ref"), branch=fields.text(document, "branch"), title=fields.text(document, "title"),
        url=fields.address(document, "deploy_ssl_url"), created_at=fields.moment(document, "created_at"),
        error=error or ("somebody rejected it" if said == "rejected" else ""),
        is_production=None if context is None else context == "production", is_locked=fields.flag(document, "locked"),
    )  # fmt: skip


def state_of(said: str, *, error: str, skipped: bool) -> State:
    """Ours for Netlify's word: "error" is also what a skipped and a cancelled build says."""
    if said != "error":
        return _STATES.get(said, "unknown")
    if skipped or _SKIPPED.search(error):
        return "skipped"
    return "cancelled" if _CANCELLED.search(error) else "failed"


def _safe(part: str) -> str:
    return quote(part, safe="")
