"""A GitHub issue for each page: found by its label and a hidden marker, commented on, closed when it is over.

Found by listing, never by search, whose index lags. Whatever comes from outside stands in a fenced block, where no name is
called, no link is made and no HTML is read.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from autopilot.alerts.answer import Answer, read, rest_asked_s
from autopilot.alerts.parcel import Parcel
from autopilot.channels import Channel
from autopilot.http import Client, Reply
from autopilot.secret import scrub

LABELS = ("urgent", "incident", "autopilot")
#: By which issues of ours are listed.
_LABEL = "autopilot"
#: GitHub's limits: title 256, body 65,536.
_TITLE, _BODY = 250, 60_000
_PER_PAGE, _PAGES = 100, 10
_TIMEOUT_S = 4.0
_WHO = "GitHub"


class _NotDone(Exception):
    """The answer that ends the errand early."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.words)
        self.answer = answer


@dataclass(frozen=True, slots=True, kw_only=True)
class _Errand:
    """One message's way to the issues of one repository."""

    channel: Channel
    request: Client
    now: datetime

    def ask(self, method: str, path: str, document: object | None = None) -> Any:
        """The reply's JSON. Raises _NotDone for every other reply."""
        reply = self.request(
            method, f"{self.channel.api_url}/repos/{self.channel.repository}{path}", json=document, timeout_s=_TIMEOUT_S,
            headers={
                "Authorization": f"Bearer {self.channel.secret.reveal()}", "Accept": "application/vnd.github+json",
                "X-GitHub-Api-Version": "2022-11-28", "User-Agent": "autopilot",
            },
        )  # fmt: skip
        if not reply.ok:
            raise _NotDone(self._refusal(reply))
        try:
            return json.loads(reply.body)
        except (ValueError, RecursionError):
            raise _NotDone(Answer(verdict="later", words=f"{_WHO} gave {reply.words()} that is no JSON")) from None

    def _refusal(self, reply: Reply) -> Answer:
        """A 403 may be a limit of GitHub's: then it passes."""
        found = read(reply, who=_WHO, secret=self.channel.secret, now=self.now)
        remaining, reset = reply.headers.get("x-ratelimit-remaining"), reply.headers.get("x-ratelimit-reset", "")
        is_limit = "retry-after" in reply.headers or remaining == "0" or b"rate limit" in reply.body[:2000].lower()
        if reply.status != 429 and not (reply.status == 403 and is_limit):
            return found
        rest_s = 60.0
        if remaining == "0" and reset.isascii() and reset.isdecimal():
            rest_s = min(3600.0, max(1.0, float(reset[:12]) - self.now.timestamp()))
        asked_s = rest_asked_s(reply, now=self.now)
        return Answer(verdict="later", words=found.words, rest_s=rest_s if asked_s is None else asked_s)

    def listed(self, path: str) -> Iterator[Mapping[str, Any]]:
        """All items of a list, page by page."""
        for page in range(1, _PAGES + 1):
            found = self.ask("GET", f"{path}{'&' if '?' in path else '?'}per_page={_PER_PAGE}&page={page}")
            if not isinstance(found, list):
                raise _NotDone(Answer(verdict="later", words=f"{_WHO} gave a list that is none"))
            yield from (item for item in found if isinstance(item, dict))
            if len(found) < _PER_PAGE:
                return


def post(channel: Channel, parcel: Parcel, *, request: Client, now: datetime) -> Answer:
    """One try: opens, comments on or closes the page's issue. A copy is known by its own marker and done only once."""
    errand = _Errand(channel=channel, request=request, now=now)
    try:
        return _opened(errand, parcel) if parcel.notice.action == "open" else _followed(errand, parcel)
    except _NotDone as early:
        return early.answer


def _opened(errand: _Errand, parcel: Parcel) -> Answer:
    issue = _issue(errand, parcel, state="all")
    if issue is not None and issue.get("state") == "open":
        return _commented(errand, issue, parcel)
    if issue is not None and _marker("notice", parcel.key) in str(issue.get("body")):
        return Answer(verdict="told", words=f"{_WHO} has the issue #{_number(issue)}")
    title = f"{parcel.notice.headline} ({parcel.environment_name})"
    made = errand.ask("POST", "/issues", {"title": scrub(title)[:_TITLE], "body": text_of(parcel), "labels": list(LABELS)})
    labels = {label.get("name") for label in made.get("labels", []) if isinstance(label, dict)}
    words = f"{_WHO} opened the issue #{_number(made)}"
    if _LABEL not in labels:
        words += f"; it dropped the label {_LABEL}, by which the issue is found again: the token needs the right to push"
    return Answer(verdict="told", words=words)


def _followed(errand: _Errand, parcel: Parcel) -> Answer:
    issue = _issue(errand, parcel, state="open")
    if issue is None:
        return Answer(verdict="told", words=f"{_WHO} has no open issue of it")
    told = _commented(errand, issue, parcel)
    if parcel.notice.action == "resolve":
        errand.ask("PATCH", f"/issues/{_number(issue)}", {"state": "closed", "state_reason": "completed"})
        return Answer(verdict="told", words=f"{_WHO} closed the issue #{_number(issue)}")
    return told


def _issue(errand: _Errand, parcel: Parcel, *, state: str) -> Mapping[str, Any] | None:
    """The page's issue: an open one, else the newest."""
    marker = _marker("page", parcel.page or parcel.key)
    found = [
        issue
        for issue in errand.listed(f"/issues?labels={_LABEL}&state={state}")
        if "pull_request" not in issue and marker in str(issue.get("body")) and _number(issue)
    ]
    return max(found, key=lambda issue: (issue.get("state") == "open", _number(issue)), default=None)


def _commented(errand: _Errand, issue: Mapping[str, Any], parcel: Parcel) -> Answer:
    number, marker = _number(issue), _marker("notice", parcel.key)
    words = f"{_WHO} has it in the issue #{number}"
    if marker in str(issue.get("body")):
        return Answer(verdict="told", words=words)
    if not any(marker in str(comment.get("body")) for comment in errand.listed(f"/issues/{number}/comments")):
        errand.ask("POST", f"/issues/{number}/comments", {"body": text_of(parcel, is_comment=True)})
    return Answer(verdict="told", words=words)


def _number(issue: Mapping[str, Any]) -> int:
    number = issue.get("number")
    return number if isinstance(number, int) else 0


def _marker(what: str, key: str) -> str:
    return f"<!-- autopilot:{what}:{re.sub(r'[^A-Za-z0-9_.:/ -]', '_', key).replace('--', '-_')} -->"


def text_of(parcel: Parcel, *, is_comment: bool = False) -> str:
    """The body of the issue or, with its headline, of a comment."""
    notice = parcel.notice
    lines = [_plain(notice.text), "", *(f"{_plain(k)}: {_plain(v)}" for k, v in notice.facts)]
    inside = "\n".join(lines)[:_BODY]
    longest = max((len(run) for run in re.findall("`+", inside)), default=0)
    fence = "`" * max(3, longest + 1)
    links = " · ".join(f"[{words}]({url})" for words, url in notice.links)
    markers = "\n".join((_marker("page", parcel.page or parcel.key), _marker("notice", parcel.key)))
    head = "" if not is_comment else f"**{_plain(notice.headline)[:_TITLE]}**\n\n".replace("@", "@\u200b")
    return f"{head}{fence}text\n{inside}\n{fence}\n" + (f"\n{links}\n" if links else "") + f"\n{markers}\n"


def _plain(text: str) -> str:
    return "".join(c for c in scrub(text) if c == "\n" or c.isprintable())
