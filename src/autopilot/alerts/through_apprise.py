"""Email, Teams, Discord, Telegram and whatever else the library apprise knows, by a URL of its kind."""

from __future__ import annotations

import logging
import re
from datetime import datetime

from autopilot.alerts.answer import Answer
from autopilot.alerts.parcel import Parcel
from autopilot.channels import Channel
from autopilot.http import Client
from autopilot.secret import literals, scrub

#: apprise's own limits for connecting and reading, in seconds, where the URL sets none.
_WAITS = "cto=3&rto=4"
_TEXT = 3_500
_KINDS = {"info": "info", "warning": "warning", "error": "failure", "critical": "failure"}


def words_of(parcel: Parcel) -> tuple[str, str]:
    """Title and text. A zero-width space keeps an @ or a # from naming somebody, on services that read markup in plain text."""
    notice = parcel.notice
    facts = "\n".join(f"{k}: {v}" for k, v in notice.facts)
    text = _inert(f"{notice.text}\n\n{facts}")
    links = "\n".join(f"{words}: {url}" for words, url in notice.links)
    return _inert(notice.headline)[:200], text[:_TEXT] + (f"\n{links}" if links else "")


def post(channel: Channel, parcel: Parcel, *, request: Client, now: datetime) -> Answer:  # noqa: ARG001 - apprise asks by itself
    """One try. apprise says only whether it went well; why not, stands in its log."""
    import apprise

    url = channel.secret.reveal()
    said: list[str] = []
    log = _Heard(said)
    apprise.logger.addHandler(log)
    try:
        apprised = apprise.Apprise()
        with_waits = url if "cto=" in url else url + ("&" if "?" in url else "?") + _WAITS
        if not apprised.add(with_waits):
            return Answer(verdict="never", words=f"apprise cannot read the URL of {channel.name}")
        title, text = words_of(parcel)
        kind = "success" if parcel.notice.action == "resolve" else _KINDS[parcel.notice.severity]
        if apprised.notify(body=text, title=title, notify_type=kind, body_format="text"):
            return Answer(verdict="told", words=f"{channel.name} took it")
    except Exception as cause:  # noqa: BLE001 - a service's plug-in may raise anything
        said.append(type(cause).__name__)
    finally:
        apprise.logger.removeHandler(log)
    parts = tuple(re.findall(r"[A-Za-z0-9_.-]{8,}", url))
    why = scrub(" ".join(" ".join(said).split()), known=(*literals(channel.secret), *parts))[:200] or "it does not say why"
    return Answer(verdict="later", words=f"{channel.name} did not take it ({why})")


class _Heard(logging.Handler):
    """Keeps what apprise warns of."""

    def __init__(self, said: list[str]) -> None:
        super().__init__(level=logging.WARNING)
        self.said = said

    def emit(self, record: logging.LogRecord) -> None:
        self.said.append(record.getMessage())


def _inert(text: str) -> str:
    return scrub(text).replace("@", "@\u200b").replace("<", "<\u200b").replace("](", "]\u200b(")
