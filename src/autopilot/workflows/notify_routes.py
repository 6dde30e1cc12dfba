"""Which channel is told what, and what waits: decided from values alone."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from autopilot.alerts import letter as letters
from autopilot.alerts.answer import Answer
from autopilot.alerts.parcel import Parcel
from autopilot.alerts.senders import READ_BY_PEOPLE
from autopilot.alerts.wording import digest
from autopilot.audit.outbox import Delivery, Letter, Waiting
from autopilot.channels import SEVERITIES, Channel

#: After the third failure a channel is left alone for this long, after each further one about twice as long.
_BACKOFF_S, _LONGEST_BACKOFF_S = 5.0, 900.0
#: From so many on, what a channel missed is told in one message.
_BACKLOG = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Errand:
    """One message for one channel, and the letters that it tells."""

    keys: tuple[str, ...]
    parcel: Parcel
    #: The most tries that one of its letters has behind it.
    tries: int


def routed(
    channels: Sequence[Channel], letter: Letter, *, now: datetime, told_of_page: Collection[str] = (), but: Collection[str] = ()
) -> tuple[Delivery, ...]:
    """Where a letter goes. told_of_page: names of the channels that were told when its page opened."""
    return tuple(_held(c, letter, now) for c in channels if c.name not in but and _takes(c, letter, told_of_page=told_of_page))


def _takes(channel: Channel, letter: Letter, *, told_of_page: Collection[str]) -> bool:
    grave_enough = SEVERITIES.index(channel.least) <= [*SEVERITIES].index(letter.severity)  # type: ignore[arg-type]
    match letter.action:
        case "remind":  # PagerDuty escalates by itself
            return channel.name in told_of_page and channel.kind != "pagerduty"
        case "ack" | "resolve":
            return channel.name in told_of_page
        case "open" if letter.about.startswith("channel:"):  # every other channel is all there is
            return letter.about != f"channel:{channel.name}"
        case "open":
            return grave_enough
        case "change":
            return channel.kind == "pagerduty" or (channel.kind != "github" and grave_enough)
        case _:
            return channel.kind not in {"pagerduty", "github"} and grave_enough


def _held(channel: Channel, letter: Letter, now: datetime) -> Delivery:
    """Quiet hours hold back no page: neither what is critical nor what PagerDuty is told of one."""
    is_page = letter.severity == "critical" or (channel.kind == "pagerduty" and letter.action in {"open", "ack", "resolve"})
    until = None if is_page or channel.quiet is None else channel.quiet.until(now)
    return Delivery(channel=channel.name, not_before=until, held_by=None if until is None else "quiet")


def errands(
    waiting: Sequence[Waiting], channel: Channel, *, now: datetime, fresh: Collection[str], by_hand: bool = False
) -> tuple[Errand, ...]:
    """What to tell a channel now, in order; nothing while it is left alone.

    fresh: keys of this run's own letters. A rest that the channel asked for is kept in any case, our own patience ends for a page
    of this run and for a person who asks.
    """
    mine = [w for w in waiting if w.delivery.channel == channel.name]
    held = {w.delivery.held_by for w in mine if w.delivery.not_before is not None and w.delivery.not_before > now}
    is_urgent = by_hand or any(w.letter.key in fresh and w.letter.severity == "critical" for w in mine)
    if "rest" in held or ("backoff" in held and not is_urgent):
        return ()
    ready = [w for w in mine if not (w.delivery.held_by == "quiet" and w.delivery.not_before and w.delivery.not_before > now)]
    missed = [w for w in ready if w.letter.key not in fresh]
    if channel.kind in READ_BY_PEOPLE and len(missed) >= _BACKLOG:
        return (_digest(missed), *(_errand(w) for w in ready if w.letter.key in fresh))
    return tuple(_errand(w) for w in ready)


def _errand(waiting: Waiting) -> Errand:
    letter = waiting.letter
    parcel = Parcel(
        notice=letters.notice(letter.notice), key=letter.key, environment_name=letter.environment, page=letter.page,
        written_at=letter.written_at,
    )  # fmt: skip
    return Errand(keys=(letter.key,), parcel=parcel, tries=waiting.delivery.tries)


def _digest(missed: Sequence[Waiting]) -> Errand:
    last = missed[-1].letter
    notices = tuple((f"{w.letter.written_at:%Y-%m-%d %H:%M} UTC", letters.notice(w.letter.notice)) for w in missed)
    parcel = Parcel(
        notice=digest(notices), key=f"{last.key}/digest", environment_name=last.environment, page=None, written_at=last.written_at
    )
    return Errand(keys=tuple(w.letter.key for w in missed), parcel=parcel, tries=max(w.delivery.tries for w in missed))


def after(errand: Errand, channel: Channel, answer: Answer, *, now: datetime) -> Delivery:
    """How its letters stand after one try."""
    if answer.verdict == "told":
        return Delivery(channel=channel.name, state="told", answer=answer.words)
    if answer.verdict == "never":
        return Delivery(channel=channel.name, state="dead", answer=answer.words)
    if answer.rest_s is not None:
        until = now + timedelta(seconds=answer.rest_s)
        return Delivery(channel=channel.name, not_before=until, held_by="rest", answer=answer.words)
    pause_s = min(_LONGEST_BACKOFF_S, _BACKOFF_S * (2 ** max(0, min(errand.tries - 1, 10)) - 1))
    until = now + timedelta(seconds=pause_s)
    return Delivery(channel=channel.name, not_before=until if pause_s else None, held_by="backoff" if pause_s else None,
                    answer=answer.words)  # fmt: skip
