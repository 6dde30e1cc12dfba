"""Hosts of which only a build hook is known: a deploy can be asked for, and no more."""

from __future__ import annotations

from dataclasses import dataclass

from autopilot.clock import Clock
from autopilot.deploys import build_hook
from autopilot.deploys.deploy import Deploy, Host, Wanted
from autopilot.errors import Refused
from autopilot.http import Client
from autopilot.secret import Secret


@dataclass(frozen=True, slots=True, kw_only=True)
class Hook:
    url: Secret
    request: Client
    clock: Clock
    #: The host's API finds the deploy, so that it is looked for before the hook is posted again.
    is_looked_for: bool = False

    def trigger(self, wanted: Wanted) -> Deploy:
        """A 2xx means that the request was taken; no id comes back. Raises Refused (`host_hook`, `host_unsure`)."""
        asked = build_hook.ask(
            self.url, title=wanted.title, request=self.request, sleep=self.clock.sleep, is_looked_for=self.is_looked_for
        )
        if not asked.taken:
            sentence = f"{asked.words[:1].upper()}{asked.words[1:]}."
            if asked.may_be_taken:
                state = "Whether the host acted is not known."
                raise Refused(sentence, code="host_unsure", hint=asked.hint, state=state, retryable=True)
            raise Refused(sentence, code="host_hook", hint=asked.hint, retryable=True)
        return Deploy(id=None, state="triggered", title=wanted.title, branch=wanted.branch, said=asked.words)


def host(url: Secret, *, platform: str | None = None, request: Client, clock: Clock) -> Host:
    """The platform is told from the hook's address where none is given."""
    return Host(platform=platform or build_hook.platform(url), trigger=Hook(url=url, request=request, clock=clock).trigger)
