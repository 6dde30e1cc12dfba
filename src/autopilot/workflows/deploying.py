"""Asks the host for a deploy and follows the build: intent row → look → ask → building → built and published.

D1 to D4 of the kill points. The row is there before the host is asked; a run that died after that is followed by one that looks
for a deploy of the same commit made since, and asks only where there is none.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import NoReturn

from autopilot.audit import journal
from autopilot.audit.journal import Run
from autopilot.deploys import hosts
from autopilot.deploys.asking import ask, follow
from autopilot.deploys.deploy import Deploy, Host, Wanted, title_of
from autopilot.errors import AutopilotError, Stranded
from autopilot.events import Step
from autopilot.postgres.session import Connection
from autopilot.secret import literals, scrub
from autopilot.workflows.world import World

#: The host's clock, and the database's, may be so much behind ours.
_CLOCKS_APART = timedelta(seconds=5)
#: Visitors see a deploy some moments after it is built.
_PUBLISHED_WITHIN_S, _POLL_S = 30.0, 1.0
#: After these the host may still come to build it.
_UNCLEAR = frozenset({"host_unsure", "host_answer", "host_unreachable"})

_OLD = "the site still runs the previous deploy."


@dataclass(frozen=True, slots=True, kw_only=True)
class Begun:
    """A deploy that was asked for: its row, and what the host tells of it."""

    deployment_id: int
    platform: str
    deploy: Deploy


def stranded(message: str, *, code: str, hint: str, state: str, retryable: bool = False, is_released: bool) -> Stranded:
    """The end of a deploy: of a release, whose migration is in, or of one that was asked for by hand."""
    if is_released:
        message, state = f"The migration is applied, but {message}", f"The migration is applied and recorded; {state}"
        hint = f"{hint} Then run again: only the deploy is made up for."
    return Stranded(
        message[:1].upper() + message[1:], code=code, hint=hint, state=state[:1].upper() + state[1:], retryable=retryable
    )


def trigger(
    world: World, step: Step, connection: Connection, run: Run, *, migration_log_id: int | None, is_released: bool = True
) -> Begun | None:
    """Asks the host for a deploy, and waits until it is built where the host tells; None without a host.

    Raises Stranded (`deploy_not_triggered`, `deploy_failed`, `deploy_unknown`, `deploy_not_published`), which says that the
    migration is in where one `is_released`.
    """
    host = hosts.host(world.settings, request=world.request, clock=world.clock)
    if host is None:
        step.skips("no build hook is configured, and no host")
        return None
    since = journal.deploy_intended_since(connection, run.commit_sha) or world.clock.now()
    deployment_id = journal.deployment_intended(
        connection, run, platform=host.platform, url=world.settings.site_url, migration_log_id=migration_log_id
    )
    row = Row(world=world, step=step, connection=connection, id=deployment_id, platform=host.platform, is_released=is_released)
    world.reached("D1")
    wanted = Wanted(title=title_of(run.run_id, run.commit_sha), commit=run.commit_sha, branch=None, since=since - _CLOCKS_APART)
    deploy = _asked(row, host, wanted)
    world.reached("D3")
    deploy = _followed(row, host, deploy, wanted)
    world.reached("D4")
    return Begun(deployment_id=deployment_id, platform=host.platform, deploy=deploy)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """The deployment's row, and who is told of it."""

    world: World
    step: Step
    connection: Connection
    id: int
    platform: str
    is_released: bool

    def moved(self, deploy: Deploy, words: str) -> None:
        journal.deployment_moved(self.connection, self.id, status="building", notes=self.clean(words), deploy_id=deploy.id)
        self.step.says(self.clean(f"{self.platform}: {words}"))

    def failed(self, message: str, *, code: str, hint: str, state: str, retryable: bool) -> NoReturn:
        message = self.clean(message)
        journal.deployment_moved(self.connection, self.id, status="failed", notes=message)
        raise stranded(message, code=code, hint=hint, state=state, retryable=retryable, is_released=self.is_released)

    def clean(self, text: str) -> str:
        known = tuple(literal for secret in self.world.settings.secrets() for literal in literals(secret))
        return scrub(text, known=known)


def _asked(row: Row, host: Host, wanted: Wanted) -> Deploy:
    try:
        deploy = ask(host, wanted, clock=row.world.clock)
    except AutopilotError as cause:
        if cause.code in _UNCLEAR:
            row.failed(
                f"whether there will be a deploy is not known: {cause.message}", code="deploy_unknown", hint=cause.hint,
                state="the host may or may not have begun a deploy.", retryable=True,
            )  # fmt: skip
        row.failed(
            f"there is no deploy: {cause.message}", code="deploy_not_triggered", hint=cause.hint, state=_OLD,
            retryable=cause.retryable,
        )  # fmt: skip
    row.world.reached("D2")
    row.moved(deploy, deploy.said if deploy.id is None and deploy.said else deploy.words())
    return deploy


def _followed(row: Row, host: Host, deploy: Deploy, wanted: Wanted) -> Deploy:
    """The deploy at its end, published where the host tells what is. A hook alone tells nothing, and is taken at its word."""
    if host.look is None:
        if deploy.is_over and deploy.state != "success":
            _bad(row, deploy)
        return deploy
    limit_s, clock = row.world.settings.deploy_timeout_s, row.world.clock
    begun_s = clock.monotonic_s()

    def seen(found: Deploy) -> None:
        row.moved(found, found.words())
        row.step.progress(int(clock.monotonic_s() - begun_s), int(limit_s), "s")

    try:
        deploy = follow(host, deploy, wanted, clock=clock, limit_s=limit_s, seen=seen)
    except AutopilotError as cause:
        row.failed(
            f"what became of the deploy is not known: {cause.message}", code="deploy_unknown", hint=cause.hint,
            state="the host may still be building.", retryable=True,
        )  # fmt: skip
    if deploy.state != "success":
        _bad(row, deploy)
    _require_published(row, host, deploy)
    return deploy


def _bad(row: Row, deploy: Deploy) -> NoReturn:
    if deploy.is_over:
        row.failed(
            f"the {deploy.words()}.", code="deploy_failed", hint="Look at the host's deploy log and mend what it names.",
            state=_OLD, retryable=False,
        )  # fmt: skip
    waits = deploy.state == "waiting_for_review"
    row.failed(
        f"the {deploy.words()}" + ("." if waits else f", after {row.world.settings.deploy_timeout_s:.0f} s."),
        code="deploy_unknown", state="the deploy may still come.", retryable=not waits,
        hint="Approve it, or reject it, at the host." if waits else "Look at the host's deploy log and status page.",
    )  # fmt: skip


def _require_published(row: Row, host: Host, deploy: Deploy) -> None:
    """Raises Stranded (`deploy_not_published`) where visitors see another deploy, older than this one."""
    if host.published is None or deploy.is_production is False:
        return
    begun_s, clock = row.world.clock.monotonic_s(), row.world.clock
    live: str | None = None
    limit_s = min(_PUBLISHED_WITHIN_S, row.world.settings.verify_s)
    while clock.monotonic_s() - begun_s < limit_s:
        try:
            live = host.published()
        except AutopilotError:  # the site itself is looked at next, and that decides
            return
        if live == deploy.id:
            return
        clock.sleep(_POLL_S)
    row.failed(
        f"the deploy {deploy.id} is built and not published: visitors see {live or 'none'}.", code="deploy_not_published",
        hint=f"Publishing is locked at the host, or something newer is live there: `autopilot deploy promote {deploy.id}`"
        " publishes this one.",
        state=_OLD, retryable=False,
    )  # fmt: skip
