"""`autopilot demo`."""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING

import click

from autopilot.cli.frame import clean
from autopilot.cli.telling import is_lively

if TYPE_CHECKING:
    from autopilot.demo.story import Stage, Told


@click.command("demo")
@click.option(
    "--exit", "leave", is_flag=True, help="Leave when the story is told, instead of keeping everything up until Ctrl-C."
)
def command(*, leave: bool) -> int:
    """Tell the whole story on an embedded PostgreSQL: five pushes, three of which go wrong on purpose.

    A temporary git repository, a real PostgreSQL as production, and local stand-ins for the host's build hook (it
    really redeploys the sample site) and for Slack's webhook. Nothing outside a temporary directory is touched.
    """
    from autopilot.clock import SystemClock
    from autopilot.demo.story import tell
    from autopilot.http import request

    begun_s = time.monotonic()

    def finale(told: tuple[Told, ...], stage: Stage) -> None:
        _show(told, stage, took_s=time.monotonic() - begun_s)
        if not leave:
            _stay(stage)

    tell(say=_say, request=request, clock=SystemClock(), finale=finale)
    return 0


def _say(text: str) -> None:
    """The narrator, on stderr between the runs' own lines."""
    if is_lively(sys.stderr, os.environ):
        from rich.console import Console
        from rich.markup import escape

        style = "bold cyan" if text.startswith("\n") else "cyan" if text.startswith("$") else "default"
        Console(stderr=True, highlight=False).print(f"[{style}]{escape(clean(text, known=()))}[/]")
    else:
        sys.stderr.write(clean(text, known=()) + "\n")
        sys.stderr.flush()


def _show(told: tuple[Told, ...], stage: Stage, *, took_s: float) -> None:
    from autopilot.demo.summary import QUERIES, activity, plain, table

    rows = table(told)
    _say(f"\nThe story in a table ({took_s:.0f} s in all)")
    if is_lively(sys.stdout, os.environ):
        from rich.console import Console
        from rich.table import Table

        drawn = Table(*rows[0])
        for row in rows[1:]:
            drawn.add_row(*row)
        Console().print(drawn)
    else:
        click.echo(plain(rows))
    _say("\nWhat production's own audit trail says (automation.recent_activity, newest first)")
    click.echo(clean(activity(stage), known=()))
    _say(f"\nThe channel got {sum(1 for _ in stage.around.messages.open(encoding='utf-8'))} messages. SQL to look at:")
    for query in QUERIES:
        click.echo(f"  {query}")


def _stay(stage: Stage) -> None:
    around = stage.around
    _say("\nEverything stays up until Ctrl-C.")
    click.echo(f"  The site:      {around.site_url}/  and  {around.site_url}/api/health")
    click.echo(f"  The database:  {around.psql}")
    click.echo(f"  The messages:  {around.messages}")
    try:
        while True:
            time.sleep(3600)
    except KeyboardInterrupt:
        _say("Taking the stage down.")
