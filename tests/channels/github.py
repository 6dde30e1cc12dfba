"""A stand-in for GitHub's issues: python -m tests.channels.github.

{"issues": [...]} scripts what is there already: {title, body, labels, state, pull_request}.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Mapping
from typing import Any

from tests.channels import referee
from tests.hosts.standin import Answer, Asked, serve, stamp

TOKEN = "ghp_" + "t0kenT0kenT0kenT0kenT0kenT0kenT0ken"
REPOSITORY = "acme/shop"
_GONE = {"message": "Not Found", "documentation_url": "https://docs.github.com/rest"}


class GitHub:
    #: No deploys here.
    begun = 0

    def __init__(self) -> None:
        self.issues: list[dict[str, Any]] = []
        self.comments: dict[int, list[dict[str, Any]]] = {}

    def script(self, told: Mapping[str, Any]) -> None:
        for issue in told.get("issues", []):
            self._made(issue)

    def answer(self, asked: Asked) -> Answer:
        path = asked.path.removeprefix(f"/repos/{REPOSITORY}")
        if asked.headers.get("authorization") != f"Bearer {TOKEN}":
            return Answer(status=401, document={"message": "Bad credentials"})
        if path == asked.path or "user-agent" not in asked.headers:
            return Answer(status=404, document=_GONE)
        body = json.loads(asked.body) if asked.body else None
        wrong = referee.asked("github", asked.method, asked.path, body)
        if wrong:
            return Answer(status=422, document={"message": "Validation Failed", "errors": [{"resource": w} for w in wrong]})
        match = re.fullmatch(r"/issues(?:/(\d+)(/comments)?)?", path)
        assert match is not None, path
        return self._done(asked, None if match[1] is None else int(match[1]), bool(match[2]), body)

    def _done(self, asked: Asked, number: int | None, of_comments: bool, body: Any) -> Answer:
        match asked.method, number, of_comments:
            case "GET", None, _:
                return Answer(status=200, document=_page(self._listed(asked.query), asked.query))
            case "POST", None, _:
                return Answer(status=201, document=self._made(body))
        issue = next((i for i in self.issues if i["number"] == number), None)
        if issue is None or number is None:
            return Answer(status=404, document=_GONE)
        match asked.method, of_comments:
            case "GET", True:
                return Answer(status=200, document=_page(self.comments[number], asked.query))
            case "POST", True:
                comment = copy.deepcopy(referee.example("issue-comment")) | {"id": len(self.comments[number]) + 1, **body}
                self.comments[number].append(comment)
                return Answer(status=201, document=comment)
            case "PATCH", False:
                issue |= body
                issue["closed_at"] = stamp() if issue["state"] == "closed" else None
                return Answer(status=200, document=issue)
        return Answer(status=404, document=_GONE)

    def _made(self, body: Mapping[str, Any]) -> dict[str, Any]:
        assert len(body["title"]) <= 256
        assert len(body.get("body", "")) <= 65_536
        example = copy.deepcopy(referee.example("issue"))
        label = example["labels"][0]
        issue = example | {k: v for k, v in body.items() if k != "labels"} | {
            "number": len(self.issues) + 1, "state": body.get("state", "open"), "comments": 0, "created_at": stamp(),
            "labels": [label | {"name": name} for name in body.get("labels", [])],
        }  # fmt: skip
        if "pull_request" not in body:
            issue.pop("pull_request", None)
        self.issues.append(issue)
        self.comments[issue["number"]] = []
        return issue

    def _listed(self, query: Mapping[str, str]) -> list[dict[str, Any]]:
        """The newest first, as GitHub does."""
        wanted = set(filter(None, query.get("labels", "").split(",")))
        return [
            i for i in reversed(self.issues)
            if wanted <= {label["name"] for label in i["labels"]} and query.get("state", "open") in {"all", i["state"]}
        ]  # fmt: skip

    def announcement(self, origin: str) -> dict[str, object]:
        return {"url": origin, "GITHUB_API_URL": origin, "GITHUB_TOKEN": TOKEN, "GITHUB_REPOSITORY": REPOSITORY}


def _page(items: list[dict[str, Any]], query: Mapping[str, str]) -> list[dict[str, Any]]:
    size, page = int(query.get("per_page", "30")), int(query.get("page", "1"))
    return items[(page - 1) * size : page * size]


if __name__ == "__main__":
    serve(GitHub)
