"""What hosts answer: looked at before it is believed, and told as an error with the request's id where it makes no sense."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from autopilot.errors import AutopilotError, Refused, UsageError
from autopilot.http import Reply
from autopilot.secret import scrub

#: Statuses (0: no answer) that another try may not meet.
PASSING = frozenset({0, 408, 425, 429, 500, 502, 503, 504})
#: Under which names hosts tell a request's id: Netlify's edge and its API, Vercel, Cloudflare, others.
_REQUEST_IDS = ("x-nf-request-id", "x-request-id", "x-vercel-id", "cf-ray", "x-correlation-id")
_DEEPEST = 64


def request_id(reply: Reply) -> str:
    """ " (request …)", by which the host's people find it; "" where none was told."""
    for name in _REQUEST_IDS:
        text = "".join(c for c in reply.headers.get(name, "") if c.isascii() and c.isprintable())[:80].strip()
        if text:
            return f" (request {scrub(text)})"
    return ""


def document(name: str, reply: Reply) -> Any:
    """The JSON of an answer. Raises Refused (`host_answer`)."""
    if reply.is_cut:
        raise nonsense(name, reply, "its answer is longer than 1 MiB")
    if not reply.body.strip():
        raise nonsense(name, reply, "its answer is empty")
    try:
        found = msgspec.json.decode(reply.body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ValueError):
        what = "a web page" if looks_like_a_page(reply) else "no JSON, or cut off"
        raise nonsense(name, reply, f"its answer is {what}") from None
    if _is_too_deep(found):
        raise nonsense(name, reply, "its answer is nested without end")
    return found


def mapping(name: str, reply: Reply) -> dict[str, Any]:
    """An answer that is one JSON object. Raises Refused (`host_answer`)."""
    found = document(name, reply)
    if not isinstance(found, dict):
        raise nonsense(name, reply, "its answer is not the JSON object that its documentation shows")
    return found


def listing(name: str, reply: Reply) -> list[Any]:
    """An answer that is one JSON array. Raises Refused (`host_answer`)."""
    found = document(name, reply)
    if not isinstance(found, list):
        raise nonsense(name, reply, "its answer is not the JSON array that its documentation shows")
    return found


def looks_like_a_page(reply: Reply) -> bool:
    start = reply.body[:200].lstrip().lower()
    return start.startswith((b"<!doctype html", b"<html")) or "text/html" in reply.headers.get("content-type", "").lower()


def _is_too_deep(found: object) -> bool:
    level: list[object] = [found]
    for _ in range(_DEEPEST):
        level = [v for at in level for v in (at.values() if isinstance(at, dict) else at if isinstance(at, list) else ())]
        if not level:
            return False
    return True


def refuse(name: str, reply: Reply, *, token_variable: str, is_effect: bool, known: tuple[str, ...] = ()) -> None:
    """Raises what an answer outside 2xx means; see docs/errors.md. `known` secrets are not repeated from it."""
    if reply.ok:
        return
    told = scrub(said(reply), known=known)
    words = f"{reply.words()}{f', {told!r}' if told else ''}{request_id(reply)}"
    raise _error(name, reply, words, told, token_variable=token_variable, is_effect=is_effect)


#: Words with which hosts say that an account may not build now (Netlify: health.md 2, item 16).
_NO_BUILDS = ("credit", "usage exceeded", "quota", "limit exceeded", "builds are stopped", "stopped builds", "build minutes",
              "billing", "payment", "suspended", "disabled", "upgrade")  # fmt: skip


def _error(name: str, reply: Reply, words: str, told: str, *, token_variable: str, is_effect: bool) -> AutopilotError:
    status = reply.status
    no_builds = status in {400, 403, 409, 422} and any(word in told.lower() for word in _NO_BUILDS)
    if status == 402 or (is_effect and no_builds):
        return cannot_deploy(name, words)
    if status in {401, 403}:
        return UsageError(
            f"{name} does not accept the credential: {words}.", code="host_denied",
            hint=f"Check {token_variable}: it has to be valid, and may see and deploy this site.",
        )  # fmt: skip
    if 300 <= status < 400:
        return nonsense(name, reply, f"it sends us elsewhere ({reply.words()}), and a credential is not sent on")
    if status in PASSING or status >= 500:
        return _passing(name, reply, words, is_effect=is_effect)
    return _final(name, words, status)


def _passing(name: str, reply: Reply, words: str, *, is_effect: bool) -> Refused:
    if reply.status == 429:
        return Refused(
            f"{name} limits requests: {words}.", code="host_limited", hint="Wait, then run again.", retryable=True,
        )  # fmt: skip
    if is_effect and reply.failure not in {"connect", "tls"} and reply.status != 425:
        return Refused(
            f"{name} gave no clear answer, and may have acted: {words}.", code="host_unsure",
            state="Whether the host acted is not known.", hint="Look at the host's list of deploys, then run again.",
            retryable=True,
        )  # fmt: skip
    return Refused(
        f"{name} could not be asked: {words}.", code="host_unreachable",
        hint="Look at its status page and at the network, then run again.", retryable=True,
    )  # fmt: skip


def _final(name: str, words: str, status: int) -> Refused:
    if status in {404, 410}:
        return Refused(
            f"{name} does not know what was asked for: {words}.", code="host_unknown",
            hint="Check the id of the site, project or deploy; hosts remove old deploys after some weeks.",
        )  # fmt: skip
    return Refused(f"{name} refuses: {words}.", code="host_refused", hint="Look at the host's dashboard for what it says there.")


def cannot_deploy(name: str, words: str) -> Refused:
    """A fault of its own: trying again and healing are of no use."""
    return Refused(
        f"{name} builds nothing for this site now: {words}.", code="host_cannot_deploy",
        hint="In the host's dashboard: activate builds, or see to quota and billing. Then run again.",
    )  # fmt: skip


def nonsense(name: str, reply: Reply, why: str) -> Refused:
    """An answer of which nothing can be made."""
    return Refused(
        f"{name} gives an answer that makes no sense: {why}{request_id(reply)}.", code="host_answer",
        state="Whether the host acted is not known.",
        hint="Check the address and what stands between (a proxy, a login page), and the host's status page. Then run again.",
        retryable=True,
    )  # fmt: skip


def said(reply: Reply) -> str:
    """The host's own words in an error's body: {message}, {error: {message}}, {errors: [{message}]}, or a short plain text."""
    if reply.is_cut or looks_like_a_page(reply):
        return ""
    try:
        found = msgspec.json.decode(reply.body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ValueError):
        found = reply.body.decode("utf-8", "replace") if len(reply.body) < 300 else ""
    return one_line(_message(found))


def _message(found: object) -> str:
    if isinstance(found, list):
        return next((text for at in found[:5] if (text := _message(at))), "")
    if not isinstance(found, Mapping):
        return found if isinstance(found, str) else ""
    for key in ("message", "error", "errors"):
        inner = found.get(key)
        if isinstance(inner, (str, Mapping, list)) and (text := _shallow(inner)):
            return text
    return ""


def _shallow(inner: str | Mapping[str, Any] | list[Any]) -> str:
    """A text, the `message` of an object, or of the first object of a list that has one."""
    if isinstance(inner, str):
        return inner
    for at in [inner] if isinstance(inner, Mapping) else inner:
        if isinstance(at, Mapping) and isinstance(at.get("message"), str):
            return str(at["message"])
    return ""


def one_line(text: str, limit: int = 200) -> str:
    """Somebody else's words: one line, printable, short, without what looks like a secret."""
    clean = "".join(c if c.isprintable() else " " for c in text[: limit * 4])
    clean = " ".join(scrub(clean).split())
    return clean if len(clean) <= limit else clean[: limit - 1] + "…"
