"""Proves a deploy: ask the host → look again and again → the commit answers healthily, or time is up."""

from __future__ import annotations

from dataclasses import dataclass

from autopilot.audit import journal
from autopilot.audit.journal import Run
from autopilot.deploys import build_hook
from autopilot.errors import Stranded
from autopilot.events import Step
from autopilot.health import looks
from autopilot.health.verdict import Verdict, same_commit, verdict
from autopilot.postgres.session import Connection
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


def trigger(world: World, step: Step, connection: Connection, run: Run, *, migration_log_id: int | None) -> int | None:
    """Asks the host for a deploy; the row is written before the request. Returns the row's id, None without a hook.

    Raises Stranded (`deploy_not_triggered`): the migration is in, the site is not told.
    """
    hook = world.settings.build_hook
    if hook is None:
        step.skips("no build hook is configured")
        return None
    platform = build_hook.platform(hook)
    deployment_id = journal.deployment_intended(
        connection, run, platform=platform, url=world.settings.site_url, migration_log_id=migration_log_id
    )
    title = f"autopilot {run.run_id} {(run.commit_sha or '')[:12]}".strip()
    asked = build_hook.ask(hook, title=title, request=world.request, sleep=world.clock.sleep)
    if not asked.taken:
        journal.deployment_moved(connection, deployment_id, status="failed", notes=asked.words)
        raise Stranded(
            f"The migration is applied, but {asked.words}.",
            code="deploy_not_triggered",
            state="The migration is applied and recorded; the site still runs the previous deploy.",
            hint=f"{asked.hint} Then run again: only the deploy is made up for.",
            retryable=True,
        )
    journal.deployment_moved(connection, deployment_id, status="building", notes=asked.words)
    step.says(f"{platform}: {asked.words}")
    return deployment_id


def answers_already(world: World, connection: Connection, run: Run) -> Deployed | None:
    """The deploy of this very commit, when it answers healthily without having been asked for; one look."""
    seen = _judged(world, connection, run, expects_commit=True)
    if seen.state != "proven":
        return None
    return Deployed(platform=_platform(world), status="success", proven=True, words=_words(seen, run))


def prove(world: World, step: Step, connection: Connection, run: Run, *, deployment_id: int | None) -> Deployed | None:
    """Looks until the deploy is proven or AUTOPILOT_VERIFY_S is over, and writes what was seen.

    None without any address to look at. Raises Stranded (`deploy_not_proven`, `deploy_did_not_come`).
    """
    settings = world.settings
    if settings.site_url is None and settings.health_url is None:
        step.skips("neither SITE_URL nor HEALTH_URL is set, so nothing was looked at")
        return None if deployment_id is None else _unseen(world, connection, deployment_id)
    seen = _look_until_proven(world, step, connection, run, expects_commit=deployment_id is not None)
    journal.health_seen(
        connection, status=seen.verdict.status, response_time_ms=seen.verdict.response_time_ms,
        checks=seen.verdict.checks, notes=seen.verdict.words, run_id=run.run_id,
    )  # fmt: skip
    words = _words(seen, run)
    fine = seen.state in {"proven", "unnamed"}
    if deployment_id is not None:
        journal.deployment_moved(connection, deployment_id, status="success" if fine else "failed", notes=words)
    if seen.state in {"other_commit", "other_unhealthy"} and deployment_id is not None:
        raise Stranded(
            f"The migration is applied, but the deploy did not come: {words}.",
            code="deploy_did_not_come",
            state="The migration is applied and recorded; the site still runs the previous deploy.",
            hint="Look at the host's deploy log. Then run again: only the deploy is made up for.",
        )
    if not fine:
        raise Stranded(
            f"The migration is applied, but the deploy is not proven healthy: {words}.",
            code="deploy_not_proven",
            state="The migration is applied and recorded; users may see a broken or an old site.",
            hint="Look at the host's deploy log; publish the last good deploy there if the site is broken. Then run again:"
            " only the deploy is made up for.",
        )
    step.says(words)
    return Deployed(platform=_platform(world), status="success", proven=True if seen.state == "proven" else None, words=words)


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


def _unseen(world: World, connection: Connection, deployment_id: int) -> Deployed:
    words = "asked for; not looked at, as no SITE_URL or HEALTH_URL is set"
    journal.deployment_moved(connection, deployment_id, status="success", notes=words)
    return Deployed(platform=_platform(world), status="success", proven=None, words=words)


def _platform(world: World) -> str:
    hook = world.settings.build_hook
    return "site" if hook is None else build_hook.platform(hook)
