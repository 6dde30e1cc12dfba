"""`autopilot log`."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime, timedelta

import click

from autopilot.cli.frame import Frame, emit, options, say

_SPAN = re.compile(r"^([0-9]{1,6})([smhdw])\Z")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


@click.command("log")
@click.option("--since", metavar="WHEN", help="Only what is newer: 2h, 7d, or a time like 2026-11-23 or 2026-11-23T10:00.")
@click.option(
    "--limit", type=click.IntRange(1, 10_000), default=50, show_default=True, help="At most so many events, the newest."
)
@click.option("--follow", is_flag=True, help="Go on showing new events until Ctrl-C.")
@options(directory=False)
def command(frame: Frame, *, since: str | None, limit: int, follow: bool) -> int:
    """Show the timeline: migrations, deploys, changes of health, ways back. Newest last."""
    from autopilot.audit import reports
    from autopilot.workflows.reading import reader

    if follow and frame.as_json:
        raise click.UsageError("--follow and --json do not go together: one document cannot follow.")
    start = None if since is None else moment(since, now=datetime.now(UTC))
    with reader(frame.settings()) as connection:
        found = reports.timeline(connection, since=start, limit=limit) if reports.exists(connection) else ()
        if frame.as_json:
            emit([_document(a) for a in found])
            return 0
        for activity in found:
            say(line(activity))
        if not found and not follow:
            say("Nothing has happened yet." if since is None else f"Nothing has happened since {since}.")
        while follow:
            newest = found[-1].activity_at if found else start or datetime.now(UTC)
            time.sleep(1)
            more = reports.timeline(connection, since=newest, limit=limit) if reports.exists(connection) else ()
            for activity in more:
                say(line(activity))
            found = more or found
    return 0


def moment(text: str, *, now: datetime) -> datetime:
    """`2h` ago, or an ISO date or time (UTC where it names no zone)."""
    span = _SPAN.match(text)
    try:
        if span is not None:
            return now - timedelta(**{_UNITS[span[2]]: int(span[1])})
        found = datetime.fromisoformat(text)
    except (ValueError, OverflowError):
        raise click.BadParameter(
            f"{text!r} is neither a span like 2h nor a time like 2026-11-23T10:00.", param_hint="--since"
        ) from None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def line(activity: object) -> str:
    from autopilot.audit.reports import Activity

    if not isinstance(activity, Activity):  # pragma: no cover - callers pass what `timeline` gives
        raise TypeError
    commit = f"  {activity.commit_sha[:12]}" if activity.commit_sha else ""
    run = f"  run {activity.run_id}" if activity.run_id else ""
    when = activity.activity_at.astimezone(UTC)
    return f"{when:%Y-%m-%d %H:%M:%S}  {activity.kind:<9} {activity.status:<9} {activity.summary}{commit}{run}".replace("\n", " ")


def _document(activity: object) -> object:
    import msgspec

    return msgspec.to_builtins(activity)
