"""Notices by hand: a test of every channel, what waits, and a page that somebody looks after."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from autopilot.alerts import letter as letters
from autopilot.alerts import wording
from autopilot.alerts.answer import Answer
from autopilot.alerts.parcel import Parcel
from autopilot.alerts.wording import Notice
from autopilot.audit.outbox import Box, Dead, Page, Waiting
from autopilot.audit.spool import spool
from autopilot.channels import Channel
from autopilot.errors import Refused, UsageError
from autopilot.postgres.session import connect
from autopilot.workflows.notices import SESSION_NAME, composed, deliver, written
from autopilot.workflows.notify_round import Heard, sent, shown
from autopilot.workflows.reading import reach
from autopilot.workflows.world import World

_TEST_S = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Tested:
    channel: str
    kind: str
    took: bool
    words: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What the outbox and the spool hold."""

    waiting: tuple[Waiting, ...]
    dead: tuple[Dead, ...]
    pages: tuple[Page, ...]
    #: Lines of the spool that the outbox does not have yet.
    spooled: int


def test(world: World, *, by: str) -> tuple[Tested, ...]:
    """One real message on each channel; what opens a page or an issue is closed again. Raises UsageError (`no_channels`)."""
    settings = world.settings
    if not settings.channels and not settings.channels_unset:
        raise UsageError(
            f"No channel is configured for the environment {settings.environment_name!r}.", code="no_channels",
            hint="Set SLACK_WEBHOOK_URL, PAGERDUTY_ROUTING_KEY, GITHUB_TOKEN with GITHUB_REPOSITORY, or a [[notify]] table.",
        )  # fmt: skip
    token = secrets.token_hex(6)
    found = [_tested(world, channel, token=token, by=by) for channel in settings.channels]
    found += [
        Tested(channel=name, kind="", took=False, words=f"{variable} is not set here")
        for name, variable in settings.channels_unset
    ]
    return tuple(found)


def _tested(world: World, channel: Channel, *, token: str, by: str) -> Tested:
    environment = world.settings.environment_name
    first = sent(world, channel, _parcel(world, wording.trial(environment_name=environment, by=by), token), within_s=_TEST_S)
    words = first.words
    if first.verdict == "told" and channel.kind in {"pagerduty", "github"}:
        over = wording.resolved(environment_name=environment, headline="Autopilot test message", by=by)
        second = sent(world, channel, _parcel(world, over, token), within_s=_TEST_S)
        first, words = _both(first, second)
    return Tested(channel=shown(channel), kind=channel.kind, took=first.verdict == "told", words=words)


def _both(first: Answer, second: Answer) -> tuple[Answer, str]:
    return second, f"{first.words}; {second.words}"


def _parcel(world: World, notice: Notice, token: str) -> Parcel:
    letter = composed(world, notice, run_id=f"test-{token}", what=notice.action, about="test")
    return Parcel(
        notice=letters.notice(letter.notice), key=letter.key, environment_name=letter.environment,
        page=f"{letter.environment}-test-{token}", written_at=letter.written_at,
    )  # fmt: skip


def flush(world: World, *, again: bool = False) -> tuple[Heard, ...]:
    """Tells what waits, without our own patience between two tries; `again`: what was refused before, too."""
    if again:
        with _outbox(world) as box:
            box.revive()
    return deliver(reach(world), by_hand=True)


def standing(world: World) -> Standing:
    settings = world.settings
    own = spool(settings.state_dir, environment=settings.environment_name, target=world.database_url)
    spooled = 0 if own.is_empty() else len(own.lines())
    with _outbox(world) as box:
        return Standing(waiting=box.waiting(), dead=box.dead(), pages=box.open_pages(), spooled=spooled)


def acknowledge(world: World, *, page: str | None, by: str) -> tuple[Page, ...]:
    """Says that somebody looks after the open pages of this environment, or the one that is named; each is told once.

    Raises Refused (`no_open_page`).
    """
    with _outbox(world) as box:
        found = [p for p in box.open_pages() if (p.page == page if page else p.environment == world.settings.environment_name)]
        if not found:
            raise Refused(
                f"No page is open{'' if page is None else f' that is called {page!r}'}.", code="no_open_page",
                hint="`autopilot notify list` shows those that are.",
            )  # fmt: skip
        fresh: list[Any] = []
        for p in found:
            with box.connection.transaction():
                if box.ack(p.page, by=by):
                    notice = wording.acknowledged(environment_name=p.environment, headline=p.headline, by=by)
                    fresh += written(world, box.connection, notice, run_id=p.page, what="ack", about=p.about, page=p.page)
        deliver(world, box.connection, fresh=fresh, by_hand=True)
    return tuple(replace(p, acked_by=p.acked_by or by) for p in found)


@contextlib.contextmanager
def _outbox(world: World) -> Iterator[Box]:
    """Raises Refused (`no_outbox`) beside what connecting raises."""
    world = reach(world)
    with contextlib.closing(connect(world.database_url, application_name=SESSION_NAME)) as connection:
        box = Box(connection)
        if not box.is_there():
            raise Refused(
                "This database has no outbox yet.", code="no_outbox", hint="It is made by the first `autopilot migrate` there."
            )
        yield box
