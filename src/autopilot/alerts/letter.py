"""A notice as it lies in the outbox and in the spool: plain JSON values, without a secret in them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

import msgspec

from autopilot.alerts.wording import Notice
from autopilot.secret import scrub

#: No sentence of ours is longer; what comes from outside may be.
_TEXT_CHARS = 20_000
_FACT_CHARS = 2_000


def clean(notice: Notice, *, known: tuple[str, ...]) -> Notice:
    """Without `known` secrets, what looks like one, and without control characters; cut to a length that every store takes."""

    def said(text: str, limit: int) -> str:
        whole = "".join(c for c in scrub(text[: 4 * limit], known=known) if c == "\n" or c.isprintable())
        return whole if len(whole) <= limit else whole[: limit - 1] + "…"

    return replace(
        notice, headline=said(notice.headline, 200), text=said(notice.text, _TEXT_CHARS),
        facts=tuple((said(k, 100), said(v, _FACT_CHARS)) for k, v in notice.facts),
    )  # fmt: skip


def document(notice: Notice) -> dict[str, Any]:
    return asdict(notice)


def notice(found: Mapping[str, Any]) -> Notice:
    """Raises ValueError for what is no notice of ours."""
    return msgspec.convert(dict(found), Notice)
