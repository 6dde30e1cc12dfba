"""A deploy as every host's is told, what is wanted of one, and what a host can do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Literal

#: triggered → building → success | failed | cancelled | skipped, or waiting_for_review; "unknown": the host said a word that is
#: in no document of its, and nothing is made of it.
State = Literal["triggered", "building", "success", "failed", "cancelled", "skipped", "waiting_for_review", "unknown"]
OVER: frozenset[State] = frozenset({"success", "failed", "cancelled", "skipped"})

_SHORTEST_COMMIT = 7


@dataclass(frozen=True, slots=True, kw_only=True)
class Deploy:
    #: None where the host tells none (a hook alone).
    id: str | None
    state: State
    #: The host's own word for its state.
    said: str = ""
    commit: str | None = None
    branch: str | None = None
    title: str | None = None
    #: Its own address, under which it answers whether published or not.
    url: str | None = None
    #: Aware.
    created_at: datetime | None = None
    #: Why it is not good, in the host's words.
    error: str = ""
    #: For the production branch; None where the host does not say.
    is_production: bool | None = None
    is_locked: bool | None = None

    @property
    def is_over(self) -> bool:
        return self.state in OVER

    def words(self) -> str:
        """The deploy in a few words, for a message."""
        what = {"triggered": "is queued", "building": "is being built", "success": "is built", "failed": "failed",
                "cancelled": "was cancelled", "skipped": "was skipped", "waiting_for_review": "waits for somebody's review",
                "unknown": f"is in a state that is not known here, {self.said!r}"}[self.state]  # fmt: skip
        return f"deploy {self.id or '(no id told)'} {what}" + (f": {self.error}" if self.error else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A deploy to ask for, and how to know it again."""

    #: No other run's deploy has it.
    title: str
    commit: str | None
    #: None = the host's production branch.
    branch: str | None
    #: Aware; a deploy of the same commit made from then on is the one.
    since: datetime


def title_of(run_id: str, commit: str | None) -> str:
    """A title that is no other run's and shows the commit."""
    return f"autopilot {run_id} {(commit or '')[:12]}".strip()


def is_wanted(deploy: Deploy, wanted: Wanted) -> bool:
    """Whether a deploy is the one: by its title, or as one of the same commit for production made since.

    A title of ours stands for a commit that the host has not read yet.
    """
    if deploy.title == wanted.title:
        return True
    if wanted.commit is None or deploy.created_at is None or deploy.created_at < wanted.since or deploy.is_production is False:
        return False
    if deploy.commit is not None:
        return same_commit(deploy.commit, wanted.commit)
    words = (deploy.title or "").split()
    return len(words) == 3 and words[0] == "autopilot" and same_commit(words[2], wanted.commit)


def same_commit(one: str, other: str) -> bool:
    shorter = min(len(one), len(other))
    return shorter >= _SHORTEST_COMMIT and one[:shorter].lower() == other[:shorter].lower()


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """What a host can do; None for what it cannot. Each raises Refused (`host_*`) and UsageError (`host_denied`).

    `trigger` asks once for a deploy: whoever calls it looks first (`asking.ask`).
    """

    #: For `deployment_log.platform`.
    platform: str
    trigger: Callable[[Wanted], Deploy]
    #: The newest deploy that is the wanted one.
    find: Callable[[Wanted], Deploy | None] | None = None
    look: Callable[[str], Deploy] | None = None
    #: The id of the deploy that visitors see; None where there is none yet.
    published: Callable[[], str | None] | None = None
    #: Makes an earlier deploy, that visitors saw before, the one they see again.
    restore: Callable[[str], Deploy] | None = None
    #: Shows visitors a deploy that is built and was not published yet.
    promote: Callable[[str], Deploy] | None = None
    #: Keeps later deploys from being published by themselves.
    lock: Callable[[str], Deploy] | None = None
    unlock: Callable[[str], Deploy] | None = None
    cancel: Callable[[str], Deploy] | None = None
    #: Builds the same commit again.
    retry: Callable[[str], Deploy] | None = None

    @property
    def can(self) -> frozenset[str]:
        return frozenset(f.name for f in fields(self) if f.name != "platform" and getattr(self, f.name) is not None)
