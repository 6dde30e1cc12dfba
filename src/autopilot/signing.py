"""Signs what is sent to programs of the user's own, as the workers' contract has it."""

from __future__ import annotations

import hashlib
import hmac
from datetime import datetime
from urllib.parse import urlsplit

from autopilot.secret import Secret


def headers(secret: Secret, *, method: str, url: str, body: bytes, nonce: str, now: datetime) -> dict[str, str]:
    """x-autopilot-timestamp (unix seconds), -nonce, and -sign: hex HMAC-SHA256 over `timestamp.nonce.METHOD.path.body`.

    The receiver takes each nonce once, and no timestamp further than 300 s from its own clock.
    """
    timestamp, path = str(int(now.timestamp())), urlsplit(url).path or "/"
    signed = f"{timestamp}.{nonce}.{method}.{path}.".encode() + body
    return {
        "x-autopilot-timestamp": timestamp,
        "x-autopilot-nonce": nonce,
        "x-autopilot-sign": hmac.new(secret.reveal().encode(), signed, hashlib.sha256).hexdigest(),
    }
