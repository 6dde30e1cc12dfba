"""Tells each channel what waits for it: send → mark, one message after the other. What fails stays for the next run."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from autopilot.alerts.answer import Answer, patiently
from autopilot.alerts.parcel import Parcel
from autopilot.alerts.senders import SENDERS
from autopilot.audit.outbox import Delivery, Waiting
from autopilot.channels import Channel
from autopilot.events import Step, told
from autopilot.http import Client, Reply
from autopilot.workflows.notify_routes import Errand, after, errands
from autopilot.workflows.world import World

#: A channel that is down holds nothing up for longer than this; GitHub takes several requests a message.
_WITHIN_S: Mapping[str, float] = {"github": 8.0}
_USUALLY_WITHIN_S = 5.0
#: A person who asks for it waits longer.
_BY_HAND_S = 30.0
_SHOWN = {"slack": "Slack", "pagerduty": "PagerDuty", "github": "GitHub"}


class Store(Protocol):
    """Where letters lie until they are told: the outbox or the spool."""

    def waiting(self) -> tuple[Waiting, ...]: ...

    def moved(self, keys: Sequence[str], delivery: Delivery, /) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """What came of one message."""

    channel: Channel
    #: The letters it told.
    keys: tuple[str, ...]
    answer: Answer


def shown(channel: Channel) -> str:
    """A channel as people know it."""
    return _SHOWN.get(channel.name, channel.name)


def tell(world: World, store: Store, *, fresh: Collection[str], by_hand: bool = False) -> tuple[Heard, ...]:
    """One round over all channels, those that page first."""
    waiting = store.waiting()
    heard: list[Heard] = []
    for channel in world.settings.channels:
        todo = errands(waiting, channel, now=world.clock.now(), fresh=fresh, by_hand=by_hand)
        if todo:
            heard += _told_one(world, store, channel, todo, by_hand=by_hand)
            world.reached("N3")
    return tuple(heard)


def _told_one(world: World, store: Store, channel: Channel, todo: Sequence[Errand], *, by_hand: bool) -> list[Heard]:
    heard: list[Heard] = []
    first = todo[0].parcel.notice.headline
    begun_s = world.clock.monotonic_s()
    within_s = _BY_HAND_S if by_hand else _WITHIN_S.get(channel.kind, _USUALLY_WITHIN_S)
    with told(world.tell, world.clock, "notify", f"Telling {shown(channel)}: {first}") as step:
        for errand in todo:
            left_s = within_s - (world.clock.monotonic_s() - begun_s)
            if left_s <= 0:
                break
            world.reached("N1")
            answer = sent(world, channel, errand.parcel, within_s=left_s)
            if answer.verdict == "told":
                world.reached("N2")
            store.moved(errand.keys, after(errand, channel, answer, now=world.clock.now()))
            heard.append(Heard(channel=channel, keys=errand.keys, answer=answer))
            if answer.verdict == "later":
                break
        _say(step, channel, todo, heard)
    return heard


def _say(step: Step, channel: Channel, todo: Sequence[Errand], heard: Sequence[Heard]) -> None:
    bad = [h.answer for h in heard if h.answer.verdict != "told"]
    fine = [e.parcel.notice.headline for e, h in zip(todo, heard, strict=False) if h.answer.verdict == "told"]
    done = f"{shown(channel)} was told: {'; '.join(fine)}" if fine else ""
    if not bad:
        left = len(todo) - len(heard)
        step.says(done + (f"; {left} more {'is' if left == 1 else 'are'} left to the next run" if left else ""))
        return
    what = "it is told by the next run" if bad[-1].verdict == "later" else "that message is not sent there again"
    step.skips("; ".join(part for part in (done, bad[-1].words, what, "nothing waits for it") if part))


def sent(world: World, channel: Channel, parcel: Parcel, *, within_s: float) -> Answer:
    """Tries up to three times within `within_s`."""
    deadline_s = world.clock.monotonic_s() + within_s
    request = _until(world, deadline_s)
    send = SENDERS[channel.kind]
    return patiently(lambda: send(channel, parcel, request=request, now=world.clock.now()), clock=world.clock, within_s=within_s)


def _until(world: World, deadline_s: float) -> Client:
    """The world's client, whose requests end with the time there is."""

    def request(
        method: str, url: str, *, json: object | None = None, content: bytes | None = None,
        headers: Mapping[str, str] | None = None, timeout_s: float,
    ) -> Reply:  # fmt: skip
        left_s = deadline_s - world.clock.monotonic_s()
        if left_s < 0.1:
            return Reply(status=0, failure="timeout")
        return world.request(method, url, json=json, content=content, headers=headers, timeout_s=min(timeout_s, left_s))

    return request
