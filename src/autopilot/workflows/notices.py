"""Tells the channel how a release goes. A channel that is down never holds one up."""

from __future__ import annotations

from dataclasses import replace

from autopilot.alerts import slack, wording
from autopilot.alerts.wording import Notice
from autopilot.clock import elapsed_ms
from autopilot.events import told
from autopilot.workflows.logbook import Logbook, Wish
from autopilot.workflows.world import World


def announce(world: World, wish: Wish, book: Logbook) -> None:
    book.announced = True
    tell_channel(world, wording.started(replace(as_told(world, wish, book), duration_ms=0)))


def tell_channel(world: World, notice: Notice) -> None:
    """A channel that is down never holds up a release; that it was not told is said."""
    webhook = world.settings.slack_webhook
    if webhook is None:
        return
    with told(world.tell, world.clock, "notify", f"Telling Slack: {notice.headline}") as step:
        why = slack.send(webhook, notice, request=world.request, sleep=world.clock.sleep)
        if why is None:
            step.says(f"Slack was told: {notice.headline}")
        else:
            step.skips(f"{why}; the release goes on")


def as_told(world: World, wish: Wish, book: Logbook) -> wording.Release:
    return wording.Release(
        environment_name=world.settings.environment_name,
        commit_sha=wish.run.commit_sha,
        triggered_by=wish.run.triggered_by,
        run_id=wish.run.run_id,
        files=book.files,
        backup_file=book.backup_name,
        duration_ms=elapsed_ms(world.clock, book.begun_s),
    )
