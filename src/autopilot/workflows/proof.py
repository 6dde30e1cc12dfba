"""Proves a deploy: look again and again → the commit answers healthily, or time is up."""

from __future__ import annotations

from dataclasses import dataclass

from autopilot.audit import journal
from autopilot.audit.journal import Run
from autopilot.deploys import hosts
from autopilot.errors import Stranded
from autopilot.events import Step
from autopilot.health import looks
from autopilot.health.verdict import Verdict, same_commit, verdict
from autopilot.postgres.session import Connection
from autopilot.workflows.deploying import Begun, stranded
from autopilot.workflows.outcome import Deployed
from autopilot.workflows.world import World

#: Good answers in a row that prove a deploy which names its commit, and one that does not.
PROVEN_AFTER = 2
UNNAMED_AFTER = 3
_POLL_S = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """The last look before the story went on."""

    verdict: Verdict
    #: "proven", "unnamed" (healthy, and nothing tells which deploy answered), "other_commit", "unhealthy", or "other_unhealthy"
    #: (it is the deploy of before that does not answer well).
    state: str


def answers_already(world: World, connection: Connection, run: Run) -> Deployed | None:
    """The deploy of this very commit, when it answers healthily without having been asked for; one look."""
    seen = _judged(world, connection, run, expects_commit=True)
    if seen.state != "proven":
        return None
    return Deployed(platform=_platform(world), status="success", proven=True, words=_words(seen, run))


def prove(
    world: World, step: Step, connection: Connection, run: Run, *, begun: Begun | None, is_released: bool = True
) -> Deployed | None:
    """Looks until the deploy is proven or AUTOPILOT_VERIFY_S is over, and writes what was seen.

    None without any address to look at. Raises Stranded (`deploy_not_proven`, `deploy_did_not_come`).
    """
    settings, deployment_id = world.settings, None if begun is None else begun.deployment_id
    if settings.site_url is None and settings.health_url is None:
        step.skips("neither SITE_URL nor HEALTH_URL is set, so nothing was looked at")
        return None if begun is None else _unseen(connection, begun)
    seen = _look_until_proven(world, step, connection, run, expects_commit=begun is not None)
    journal.health_seen(
        connection, status=seen.verdict.status, response_time_ms=seen.verdict.response_time_ms,
        checks=seen.verdict.checks, notes=seen.verdict.words, run_id=run.run_id,
    )  # fmt: skip
    words = _words(seen, run)
    fine = seen.state in {"proven", "unnamed"}
    if deployment_id is not None:
        journal.deployment_moved(connection, deployment_id, status="success" if fine else "failed", notes=words)
    if not fine:
        raise _ill(seen, words, is_asked_for=begun is not None, is_released=is_released)
    step.says(words)
    return Deployed(
        platform=_platform(world) if begun is None else begun.platform, status="success",
        proven=True if seen.state == "proven" else None, words=words, deploy_id=None if begun is None else begun.deploy.id,
    )  # fmt: skip


def _ill(seen: Seen, words: str, *, is_asked_for: bool, is_released: bool) -> Stranded:
    if seen.state in {"other_commit", "other_unhealthy"} and is_asked_for:
        return stranded(
            f"the deploy did not come: {words}.", code="deploy_did_not_come", state="the site still runs the previous deploy.",
            hint="Look at the host's deploy log.", is_released=is_released,
        )  # fmt: skip
    return stranded(
        f"the deploy is not proven healthy: {words}.", code="deploy_not_proven",
        state="users may see a broken or an old site.", is_released=is_released,
        hint="Look at the host's deploy log; `autopilot deploy restore` publishes the last good deploy if the site is broken.",
    )  # fmt: skip


def _look_until_proven(world: World, step: Step, connection: Connection, run: Run, *, expects_commit: bool) -> Seen:
    settings = world.settings
    begun_s = world.clock.monotonic_s()
    good, last_state = 0, ""
    while True:
        seen = _judged(world, connection, run, expects_commit=expects_commit)
        good = good + 1 if seen.state == last_state else 1
        last_state = seen.state
        enough = {"proven": PROVEN_AFTER, "unnamed": UNNAMED_AFTER}.get(seen.state)
        waited_s = world.clock.monotonic_s() - begun_s
        if (enough is not None and good >= enough) or waited_s >= settings.verify_s:
            return seen
        step.progress(int(waited_s), int(settings.verify_s), "s")
        world.clock.sleep(_POLL_S)


def _judged(world: World, connection: Connection, run: Run, *, expects_commit: bool) -> Seen:
    """One look at site, API and database."""
    found = looks.look(
        site_url=world.settings.site_url, health_url=world.settings.health_url, request=world.request,
        database=lambda: looks.ask_database(connection),
    )  # fmt: skip
    return judge(verdict(found), expected=run.commit_sha if expects_commit else None)


def judge(found: Verdict, *, expected: str | None) -> Seen:
    """What one look proves about the deploy of the commit `expected`."""
    if found.status != "healthy":
        state = "other_unhealthy" if same_commit(found.commit, expected) is False else "unhealthy"
        return Seen(verdict=found, state=state)
    match same_commit(found.commit, expected):
        case True:
            return Seen(verdict=found, state="proven")
        case False:
            return Seen(verdict=found, state="other_commit")
        case _:
            return Seen(verdict=found, state="unnamed")


def _words(seen: Seen, run: Run) -> str:
    commit = (run.commit_sha or "")[:12]
    return {
        "proven": f"the commit {commit} answers healthily",
        "unnamed": "the site answers healthily; nothing tells which deploy it is",
        "other_commit": f"the site is healthy but still answers from {(seen.verdict.commit or '')[:12]}, not {commit}",
        "unhealthy": seen.verdict.words,
        "other_unhealthy": f"{seen.verdict.words}; it is still {(seen.verdict.commit or '')[:12]} that answers, not {commit}",
    }[seen.state]


def _unseen(connection: Connection, begun: Begun) -> Deployed:
    done = begun.deploy.state == "success"
    words = f"{begun.deploy.words() if done else 'asked for'}; not looked at, as no SITE_URL or HEALTH_URL is set"
    journal.deployment_moved(connection, begun.deployment_id, status="success", notes=words)
    return Deployed(platform=begun.platform, status="success", proven=None, words=words, deploy_id=begun.deploy.id)


def _platform(world: World) -> str:
    host = hosts.host(world.settings, request=world.request, clock=world.clock)
    return "site" if host is None else host.platform
