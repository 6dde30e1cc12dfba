"""A webhook of the user's own: signed, so that it can tell us from others.

POST {"event": "deploy", "title", "commit", "branch"} with x-autopilot-timestamp (unix seconds), x-autopilot-nonce and
x-autopilot-sign, the hex HMAC-SHA256 with AUTOPILOT_SECRET over `timestamp.nonce.METHOD.path.body` (contract.md, Workers).
It answers 2xx with an empty body, plain text, or JSON {"id", "url", "state", "commit", "error"}, every key optional; state is
one of ours (docs/deploys.md). Asked again only where the first was surely not acted upon.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass

import msgspec

from autopilot import signing
from autopilot.clock import Clock
from autopilot.deploys import fields
from autopilot.deploys.answers import looks_like_a_page, mapping, nonsense, refuse, request_id
from autopilot.deploys.api import Pacing
from autopilot.deploys.deploy import Deploy, Host, State, Wanted
from autopilot.errors import Refused
from autopilot.http import Client, Reply
from autopilot.secret import Secret, literals

NAME = "The deploy webhook"
PLATFORM = "webhook"
_TIMEOUT_S = 20.0
_STATES: dict[str, State] = {
    "triggered": "triggered", "building": "building", "success": "success", "failed": "failed", "cancelled": "cancelled",
    "skipped": "skipped", "waiting_for_review": "waiting_for_review",
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Webhook:
    url: Secret
    signing: Secret
    request: Client
    clock: Clock

    def trigger(self, wanted: Wanted) -> Deploy:
        body = msgspec.json.encode({"event": "deploy", "title": wanted.title, "commit": wanted.commit, "branch": wanted.branch})
        reply = Pacing(clock=self.clock).tried(lambda: self._post(body))
        known = (*literals(self.url), *literals(self.signing))
        refuse(NAME, reply, token_variable="AUTOPILOT_SECRET", is_effect=True, known=known)  # noqa: S106 - a variable's name
        return _read(reply, wanted)

    def _post(self, body: bytes) -> Reply:
        """Signed anew for each try: a nonce is good once."""
        url = self.url.reveal()
        headers = {"Content-Type": "application/json", "User-Agent": "autopilot"} | signing.headers(
            self.signing, method="POST", url=url, body=body, nonce=secrets.token_hex(16), now=self.clock.now()
        )
        return self.request("POST", self.url.reveal(), content=body, headers=headers, timeout_s=_TIMEOUT_S)


def host(url: Secret, *, signing: Secret, request: Client, clock: Clock) -> Host:
    return Host(platform=PLATFORM, trigger=Webhook(url=url, signing=signing, request=request, clock=clock).trigger)


def _read(reply: Reply, wanted: Wanted) -> Deploy:
    if looks_like_a_page(reply):
        raise nonsense(NAME, reply, "its answer is a web page")
    is_json = reply.body.lstrip().startswith((b"{", b"[")) or "json" in reply.headers.get("content-type", "").lower()
    found = mapping(NAME, reply) if reply.body.strip() and is_json else {}
    said = fields.text(found, "state") or "triggered"
    state, error = _STATES.get(said, "unknown"), fields.words(found, "error") or fields.words(found, "error", "message")
    if error and state not in {"failed", "cancelled", "skipped"}:
        raise Refused(
            f"{NAME} refuses: {error}{request_id(reply)}.", code="host_refused", hint="Look at what runs behind the webhook."
        )
    return Deploy(
        id=fields.words(found, "id") or None, state=state, said=said, commit=fields.text(found, "commit"), branch=wanted.branch,
        title=wanted.title, url=fields.address(found, "url"), error=error,
    )  # fmt: skip
