"""Asks for a deploy without asking twice, and follows it to its end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from autopilot.clock import Clock
from autopilot.deploys.deploy import OVER, Deploy, Host, Wanted
from autopilot.errors import AutopilotError, Refused

#: A host shows a deploy in its list some moments after it took the request.
_SHOWN_AFTER_S = 3.0
_POLL_S, _SLOWEST_POLL_S = 1.0, 15.0
#: A host that cannot be asked while it builds is asked again so often before that ends the waiting.
_PATIENCE = 5
#: A deploy that ended so is none: asking again is no second copy of it.
_GONE = OVER - {"success"}


def ask(host: Host, wanted: Wanted, *, clock: Clock) -> Deploy:
    """The wanted deploy: one that is there already, else one that is asked for now.

    Where the host gave no clear answer, it is looked for, and asked for once more only when it is not there.
    Raises Refused (`host_*`, `program_*`) and UsageError (`host_denied`).
    """
    there = _there(host, wanted)
    if there is not None:
        return there
    try:
        return host.trigger(wanted)
    except Refused as cause:
        if cause.code not in {"host_unsure", "host_answer"} or host.find is None:
            raise
        clock.sleep(_SHOWN_AFTER_S)
        there = host.find(wanted)
        return host.trigger(wanted) if there is None else there


def _there(host: Host, wanted: Wanted) -> Deploy | None:
    found = None if host.find is None else host.find(wanted)
    return None if found is None or found.state in _GONE else found


def follow(host: Host, deploy: Deploy, wanted: Wanted, *, clock: Clock, limit_s: float, seen: Callable[[Deploy], None]) -> Deploy:
    """Looks until the deploy is over, waits for a person, or `limit_s` is over; the last of it is returned.

    `seen` is told of each state once. Raises as the host does when it cannot be asked several times in a row.
    """
    begun_s, poll_s, failures = clock.monotonic_s(), _POLL_S, 0
    seen(deploy)
    while not _is_at_rest(deploy) and clock.monotonic_s() - begun_s < limit_s and host.look is not None:
        clock.sleep(min(poll_s, max(0.0, limit_s - (clock.monotonic_s() - begun_s))))
        poll_s = min(poll_s * 1.3, _SLOWEST_POLL_S)
        try:
            now = _looked(host, deploy, wanted)
        except Refused as cause:
            failures += 1
            if not cause.retryable or failures >= _PATIENCE:
                raise
            continue
        failures = 0
        if now is not None:
            if (now.id, now.state) != (deploy.id, deploy.state):
                seen(now)
            deploy = now
    return deploy


def _is_at_rest(deploy: Deploy) -> bool:
    return deploy.is_over or deploy.state == "waiting_for_review"


def _looked(host: Host, deploy: Deploy, wanted: Wanted) -> Deploy | None:
    """The deploy as it is now; None while the host shows no deploy of that hook yet."""
    if deploy.id is None:
        return None if host.find is None else host.find(wanted)
    if host.look is None:
        return None
    now = host.look(deploy.id)
    return now if now.title is not None else replace(now, title=deploy.title)


def is_there(host: Host, deploy_id: str) -> bool | None:
    """Whether a deploy can still be gone back to; None where the host tells nothing. Raises as the host does.

    Hosts remove old deploys (Netlify: after 30 or 90 days, health.md section 6).
    """
    if host.look is None or host.restore is None:
        return None
    try:
        return host.look(deploy_id).state == "success"
    except AutopilotError as cause:
        if cause.code == "host_unknown":
            return False
        raise
