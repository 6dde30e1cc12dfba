"""`autopilot notify …`."""

from __future__ import annotations

import getpass
import os
from typing import TYPE_CHECKING, Any

import click

from autopilot.cli.frame import Frame, emit, options, say
from autopilot.cli.telling import teller
from autopilot.cli.world import quiet_world, telling_world

if TYPE_CHECKING:
    from autopilot.workflows.notify import Standing


@click.group("notify")
def command() -> None:
    """The channels that notices go to, and the notices that wait for them."""


@command.command("test", short_help="Send one real message to every channel.")
@options(database=False, directory=False)
def test(frame: Frame) -> int:
    """Send one real message to every channel and say what came back.

    A page or an issue that this opens is closed again at once. Exits 1 when one channel did not take it.
    """
    from autopilot.workflows import notify

    found = notify.test(quiet_world(frame), by=_who())
    if frame.as_json:
        rows = [{"channel": t.channel, "kind": t.kind, "took": t.took, "answer": t.words} for t in found]
        emit({"outcome": "told" if all(t.took for t in found) else "not_told", "channels": rows})
    else:
        say("\n".join(f"{'✔' if t.took else '✘'} {t.channel}: {t.words}." for t in found))
    return 0 if all(t.took for t in found) else 1


@command.command("flush", short_help="Tell now what waits.")
@click.option("--again", is_flag=True, help="Also what a channel has refused before.")
@options(directory=False)
def flush(frame: Frame, *, again: bool) -> int:
    """Tell now what waits: in the outbox of the database, and in the spool of this machine.

    Every release does the same. Exits 1 when a channel did not take it.
    """
    from autopilot.workflows import notify

    with teller() as tell:
        found = notify.flush(telling_world(frame, tell), again=again)
    fine = all(h.answer.verdict == "told" for h in found)
    if frame.as_json:
        rows = [{"channel": h.channel.name, "letters": list(h.keys), "told": h.answer.verdict == "told", "answer": h.answer.words}
                for h in found]  # fmt: skip
        emit({"outcome": "told" if fine else "not_told", "messages": rows})
    elif not found:
        say("Nothing waits that could be told now.")
    return 0 if fine else 1


@command.command("list", short_help="List open pages and notices that wait.")
@options(directory=False)
def show(frame: Frame) -> int:
    """List open pages, notices that wait, and those that a channel has refused."""
    from autopilot.workflows import notify

    found = notify.standing(quiet_world(frame))
    if frame.as_json:
        emit(_document(found))
    else:
        say(_listed(found))
    return 0


@command.command("ack", short_help="Say that somebody looks after the pages.")
@click.argument("page", required=False)
@click.option("--by", metavar="WHO", help="Who looks after it; default: the GitHub actor or the local user.")
@options(directory=False)
def ack(frame: Frame, *, page: str | None, by: str | None) -> int:
    """Say that somebody looks after the open pages (or PAGE): its channels are told, and nobody is reminded any more."""
    from autopilot.workflows import notify

    with teller() as tell:
        found = notify.acknowledge(telling_world(frame, tell), page=page, by=by or _who())
    if frame.as_json:
        emit([{"page": p.page, "headline": p.headline, "acked_by": p.acked_by} for p in found])
    else:
        say("\n".join(f"{p.headline}: {p.acked_by} looks after it." for p in found))
    return 0


def _who() -> str:
    try:
        return os.environ.get("GITHUB_ACTOR") or getpass.getuser()
    except (KeyError, OSError):  # a user without a name
        return "somebody"


def _document(found: Standing) -> dict[str, Any]:
    return {
        "pages": [
            {
                "page": p.page, "environment": p.environment, "about": p.about, "severity": p.severity, "headline": p.headline,
                "opened_at": p.opened_at, "acked_at": p.acked_at, "acked_by": p.acked_by,
            }
            for p in found.pages
        ],
        "waiting": [
            {
                "key": w.letter.key, "channel": w.delivery.channel, "headline": w.letter.notice.get("headline"),
                "written_at": w.letter.written_at, "tries": w.delivery.tries, "not_before": w.delivery.not_before,
                "held_by": w.delivery.held_by,
            }
            for w in found.waiting
        ],
        "refused": [
            {"key": d.key, "channel": d.channel, "headline": d.headline, "written_at": d.written_at, "answer": d.answer}
            for d in found.dead
        ],
        "spooled": found.spooled,
    }  # fmt: skip


def _listed(found: Standing) -> str:
    lines = []
    for p in found.pages:
        who = f", {p.acked_by} looks after it" if p.acked_by else ", nobody has acknowledged it"
        lines.append(
            f"open     {p.page}: {p.headline} ({p.environment}, {p.severity}), since {p.opened_at:%Y-%m-%d %H:%M} UTC{who}"
        )
    for w in found.waiting:
        why = {"quiet": ", quiet hours", "backoff": "", "rest": ", the channel asked for it", None: ""}[w.delivery.held_by]
        until = f", not before {w.delivery.not_before:%Y-%m-%d %H:%M} UTC{why}" if w.delivery.not_before else ""
        lines.append(
            f"waiting  {w.delivery.channel}: {w.letter.notice.get('headline')}, of {w.letter.written_at:%Y-%m-%d %H:%M} UTC,"
            f" tried {w.delivery.tries} times{until}"
        )
    lines += [f"refused  {d.channel}: {d.headline}, of {d.written_at:%Y-%m-%d %H:%M} UTC: {d.answer}" for d in found.dead]
    if found.spooled:
        lines.append(f"spooled  {found.spooled} on this machine, until the database can be written")
    return "\n".join(lines) or "No page is open and nothing waits."
