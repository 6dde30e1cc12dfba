"""A build hook: an unauthenticated URL that asks the host to build the branch's head.

Its 2xx means only that the request was taken; no deploy id comes back (health.md, section 6).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from autopilot.deploys.answers import looks_like_a_page
from autopilot.http import Client, Reply
from autopilot.secret import Secret

#: Waits before the second and third try.
_BACKOFF_S = (1.0, 3.0)
_TIMEOUT_S = 20.0
_LONGEST_WAIT_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What the host said to the request for a build."""

    taken: bool
    words: str
    #: What a person does next when it was not taken.
    hint: str = ""
    #: The host may have taken it all the same.
    may_be_taken: bool = False


def platform(hook: Secret) -> str:
    """The host's name for `deployment_log.platform`."""
    name = (urlsplit(hook.reveal()).hostname or "").lower()
    for suffix, known in (("netlify.com", "netlify"), ("vercel.com", "vercel"), ("cloudflare.com", "cloudflare_pages")):
        if name == suffix or name.endswith("." + suffix):
            return known
    return "netlify" if "/build_hooks/" in hook.reveal() else "hook"


def titled(hook: Secret, title: str) -> str:
    """The hook's URL with a title by which the build can be told from others."""
    parts = urlsplit(hook.reveal())
    query = [(k, v) for k, v in parse_qsl(parts.query, keep_blank_values=True) if k != "trigger_title"]
    return urlunsplit(parts._replace(query=urlencode([*query, ("trigger_title", title)])))


def ask(hook: Secret, *, title: str, request: Client, sleep: Callable[[float], None], is_looked_for: bool = False) -> Asked:
    """Posts the hook, up to three times; a refusal (4xx) is final.

    `is_looked_for`: the deploy can be found, so nothing is posted again that may have been taken.
    """
    reply = Reply(status=0, failure="connect")
    for wait_s in (*_BACKOFF_S, None):
        reply = request("POST", titled(hook, title), json={}, timeout_s=_TIMEOUT_S)
        if not _worth_another_try(reply) or wait_s is None or (is_looked_for and _may_be_taken(reply)):
            break
        sleep(min(_retry_after_s(reply, wait_s), _LONGEST_WAIT_S))
    return _judged(reply)


def _may_be_taken(reply: Reply) -> bool:
    return reply.failure in {"timeout", "protocol"} or reply.status == 408 or reply.status >= 500


def _worth_another_try(reply: Reply) -> bool:
    return reply.status in {0, 408, 425, 429} or reply.status >= 500


def _retry_after_s(reply: Reply, default_s: float) -> float:
    text = reply.headers.get("retry-after", "")
    return float(text) if text.isascii() and text.isdecimal() else default_s


def _judged(reply: Reply) -> Asked:
    if reply.ok and looks_like_a_page(reply):
        return Asked(
            taken=False, words=f"a web page came in place of the host's answer ({reply.words()})", may_be_taken=True,
            hint="Check the hook's address and what stands between: a proxy, a login page.",
        )  # fmt: skip
    if reply.ok:
        return Asked(taken=True, words=f"the host took the request ({reply.words()})")
    hints = {
        404: "The hook is revoked or mistyped: make a new one in the host's settings and set NETLIFY_BUILD_HOOK.",
        410: "The hook is revoked: make a new one in the host's settings and set NETLIFY_BUILD_HOOK.",
        403: "The host refuses builds: look at its dashboard for a quota or stopped builds.",
        429: "The host limits builds: wait, then run again.",
    }
    return Asked(
        taken=False,
        words=f"the host did not take the request: {reply.words()}",
        hint=hints.get(reply.status, "Look at the host's dashboard and status page, then run again."),
        may_be_taken=_may_be_taken(reply),
    )
