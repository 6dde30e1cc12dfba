"""The stand-in host's builds: queue, check out, start, prove, publish, retire."""

from __future__ import annotations

import contextlib
import secrets
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, Self

from autopilot import programs
from autopilot.clock import Clock
from autopilot.demo.sites import Site, started
from autopilot.errors import AutopilotError, Refused
from autopilot.secret import Secret, literals, scrub

_CLONE_TIMEOUT_S = 120.0
#: How long a deploy that was replaced may finish the requests it is answering.
_FAREWELL_S = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Deploy:
    """One build and what came of it."""

    id: str
    branch: str
    title: str
    context: Literal["production", "branch-deploy"]
    created_at: datetime
    state: Literal["new", "building", "ready", "error"] = "new"
    #: Known once the branch has been checked out.
    commit_ref: str | None = None
    #: This deploy's own address; it answers as long as the deploy is its branch's newest.
    url: str | None = None
    #: When it became what its branch serves.
    published_at: datetime | None = None
    error_message: str | None = None
    #: Never built, because a newer one of its branch was waiting.
    skipped: bool = False


class Builds:
    """Builds one deploy after the other and knows which one each branch serves."""

    def __init__(self, *, repository: Path, branch: str, directory: Path, database_url: Secret, clock: Clock) -> None:
        self._repository = repository
        self._branch = branch
        self._directory = directory
        self._database_url = database_url
        self._clock = clock
        self._changed = threading.Condition()
        self._closing = False
        self._deploys: dict[str, Deploy] = {}
        self._waiting: list[str] = []
        self._live: dict[str, Site] = {}
        self._visitors: Counter[int] = Counter()
        self._builder = threading.Thread(target=self._work, name="builder")

    def __enter__(self) -> Self:
        self._builder.start()
        return self

    def __exit__(self, *_: object) -> None:
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._builder.join()
        for site in self._live.values():
            site.stop()

    def request(self, *, branch: str | None, title: str) -> Deploy:
        """Queues a build of `branch`, the production branch when None, and returns at once."""
        wanted = branch or self._branch
        deploy = Deploy(
            id=secrets.token_hex(12),
            branch=wanted,
            title=title,
            context="production" if wanted == self._branch else "branch-deploy",
            created_at=self._clock.now(),
        )
        with self._changed:
            self._deploys[deploy.id] = deploy
            self._waiting.append(deploy.id)
            self._changed.notify_all()
        return deploy

    def deploys(self) -> list[Deploy]:
        """All of them, newest first."""
        with self._changed:
            return list(reversed(self._deploys.values()))

    def deploy(self, deploy_id: str) -> Deploy | None:
        with self._changed:
            return self._deploys.get(deploy_id)

    def published(self) -> Deploy | None:
        """The deploy that visitors see."""
        with self._changed:
            site = self._live.get(self._branch)
            return None if site is None else self._deploys[site.deploy_id]

    @contextlib.contextmanager
    def visit(self) -> Iterator[Site | None]:
        """The published site, which is not stopped while the block runs; None before the first deploy."""
        with self._changed:
            site = self._live.get(self._branch)
            port = 0 if site is None else site.port
            self._visitors[port] += 1
        try:
            yield site
        finally:
            with self._changed:
                self._visitors[port] -= 1
                self._changed.notify_all()

    def _work(self) -> None:
        while (deploy := self._next()) is not None:
            self._build(deploy)

    def _next(self) -> Deploy | None:
        """Waits for work; of several deploys of one branch the newest is built and the others are skipped."""
        with self._changed:
            self._changed.wait_for(lambda: self._closing or self._waiting)
            if self._closing:
                return None
            branch = self._deploys[self._waiting[0]].branch
            same = [waiting for waiting in self._waiting if self._deploys[waiting].branch == branch]
            self._waiting = [waiting for waiting in self._waiting if waiting not in same]
            for overtaken in same[:-1]:
                message = "Skipped: a newer build of this branch was waiting."
                self._note(overtaken, state="error", skipped=True, error_message=message)
            return self._note(same[-1], state="building")

    def _build(self, deploy: Deploy) -> None:
        checkout = self._directory / deploy.id
        try:
            commit = check_out(repository=self._repository, branch=deploy.branch, into=checkout)
            self._note(deploy.id, commit_ref=commit)
            site = started(
                deploy_id=deploy.id,
                checkout=checkout,
                commit=commit,
                database_url=self._database_url,
                clock=self._clock,
                given_up=lambda: self._closing,
            )
        except (AutopilotError, OSError) as cause:
            message = scrub(str(cause), known=literals(self._database_url))
            self._note(deploy.id, state="error", error_message=message)
        else:
            self._publish(deploy, site)

    def _publish(self, deploy: Deploy, site: Site) -> None:
        with self._changed:
            previous = self._live.get(deploy.branch)
            self._live[deploy.branch] = site
            self._note(deploy.id, state="ready", url=site.url, published_at=self._clock.now())
            if previous is not None:
                self._changed.wait_for(lambda: self._closing or not self._visitors[previous.port], timeout=_FAREWELL_S)
        if previous is not None:
            previous.stop()

    def _note(self, deploy_id: str, **facts: Any) -> Deploy:
        with self._changed:
            self._deploys[deploy_id] = replace(self._deploys[deploy_id], **facts)
            self._changed.notify_all()
            return self._deploys[deploy_id]


def check_out(*, repository: Path, branch: str, into: Path) -> str:
    """Puts the branch's newest commit into the new directory `into` and returns its id.

    Raises Refused (`checkout_failed`).
    """
    _git(
        "clone",
        "--quiet",
        "--single-branch",
        f"--branch={branch}",
        "--",
        str(repository.absolute()),
        str(into),
    )
    return _git("-C", str(into), "rev-parse", "HEAD")


def _git(*arguments: str) -> str:
    finished = programs.run(programs.Command(argv=("git", *arguments), timeout_s=_CLONE_TIMEOUT_S))
    if not finished.ok:
        raise Refused(
            f"The repository cannot be checked out: {finished.stderr.strip()}",
            code="checkout_failed",
            hint="Push the branch first.",
        )
    return finished.stdout.decode().strip()
