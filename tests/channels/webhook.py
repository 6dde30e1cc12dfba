"""A webhook of the user's own that believes only what is signed: python -m tests.channels.webhook."""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Mapping
from typing import Any

from tests.hosts.standin import Answer, Asked, serve

SECRET = "5" * 64
PATH = "/notices/s3cr3tn0tic3path"


class Webhook:
    #: No deploys here.
    begun = 0

    def __init__(self) -> None:
        self.nonces: set[str] = set()

    def answer(self, asked: Asked) -> Answer:
        if asked.path != PATH:
            return Answer(status=404, text="nothing here")
        stamp, nonce = asked.headers.get("x-autopilot-timestamp", ""), asked.headers.get("x-autopilot-nonce", "")
        signed = f"{stamp}.{nonce}.{asked.method}.{asked.path}.".encode() + asked.body
        right = hmac.new(SECRET.encode(), signed, hashlib.sha256).hexdigest()
        if not hmac.compare_digest(right, asked.headers.get("x-autopilot-sign", "")) or abs(time.time() - int(stamp)) > 300:
            return Answer(status=401, text="not signed")
        if not nonce or nonce in self.nonces:
            return Answer(status=409, text="a nonce is good once")
        self.nonces.add(nonce)
        return Answer(status=204)

    def script(self, told: Mapping[str, Any]) -> None:
        """Nothing but faults."""

    def announcement(self, origin: str) -> dict[str, object]:
        return {"url": origin, "AUTOPILOT_NOTIFY_HOOK": origin + PATH, "AUTOPILOT_SECRET": SECRET}


if __name__ == "__main__":
    serve(Webhook)
