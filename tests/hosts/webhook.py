"""A stand-in for a user's own deploy webhook: `python -m tests.hosts.webhook`. It takes what is signed, each nonce once.

Script: {"reply": the JSON that it answers, "plain": a text instead}.
"""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Mapping
from typing import Any

from tests.hosts.standin import Answer, Asked, serve

SECRET, PATH = "a" * 64, "/hooks/deploy-4f1c"


class Webhook:
    def __init__(self) -> None:
        self.nonces: set[str] = set()
        self.reply: Any = {"id": "d1", "url": "https://d1.harbour.example", "state": "success"}
        self.plain: str | None = None

    @property
    def begun(self) -> int:
        return len(self.nonces)

    def announcement(self, origin: str) -> dict[str, object]:
        return {"url": origin, "hook": f"{origin}{PATH}", "token": SECRET}

    def script(self, told: Mapping[str, Any]) -> None:
        for name, value in told.items():
            setattr(self, name, value)

    def answer(self, asked: Asked) -> Answer:
        if asked.path != PATH:
            return Answer(status=404, text="Not Found")
        stamp, nonce = asked.headers.get("x-autopilot-timestamp", "0"), asked.headers.get("x-autopilot-nonce", "")
        signed = f"{stamp}.{nonce}.{asked.method}.{asked.path}.".encode() + asked.body
        good = hmac.new(SECRET.encode(), signed, hashlib.sha256).hexdigest()
        is_fresh = stamp.isdecimal() and abs(time.time() - int(stamp)) <= 300 and nonce and nonce not in self.nonces
        if not is_fresh or not hmac.compare_digest(good, asked.headers.get("x-autopilot-sign", "")):
            return Answer(status=401, text="bad signature")
        self.nonces.add(nonce)
        return Answer(status=200, text=self.plain) if self.plain is not None else Answer(status=200, document=self.reply)


if __name__ == "__main__":
    serve(Webhook)
