"""`autopilot backup restore-test`."""

from __future__ import annotations

import click

from autopilot.cli.frame import Frame, emit, options, say
from autopilot.cli.telling import teller


@click.command("restore-test", short_help="Restore a backup and compare it with what was dumped.")
@click.argument("file", required=False)
@click.option(
    "--if-due", is_flag=True, help="Only when restore_test_every (7 days) has passed since the last good one; for cron."
)
@click.option("--allow-unsigned", is_flag=True, help="Restore one that is not signed although AUTOPILOT_SECRET is set.")
@options(directory=False)
def command(frame: Frame, *, file: str | None, if_due: bool, allow_unsigned: bool) -> int:
    """Restore a backup (the newest, or FILE) into a scratch server and compare it with what was dumped.

    Needs no production database; where one is configured, the test is written to its audit trail. Exits 1 when the
    backup is not what its manifest describes, does not come back as it was, or is not signed although AUTOPILOT_SECRET is set.
    A rehearsal counts as a test.
    """
    from autopilot.cli.world import quiet_world, telling_world
    from autopilot.measures import counted
    from autopilot.workflows.restore_test import due, restore_test

    if if_due and file is not None:
        raise click.UsageError("--if-due chooses the newest backup itself: give no FILE.")
    if if_due:
        world = quiet_world(frame)
        tests = due(world)
        if tests is not None and not tests.is_due(world.clock.now()):
            return _not_due(frame, tests.words, tests.due_at)
    with teller() as tell:
        found = restore_test(telling_world(frame, tell), file=file, allow_unsigned=allow_unsigned)
    if frame.as_json:
        emit({
            "file": found.manifest.file, "sha256": found.manifest.sha256, "status": "success", "restore_ms": found.restore_ms,
            "seconds_per_gib": found.seconds_per_gib, "server_version": found.server_version, "origin": found.origin,
            "rows": sum(found.manifest.rows.values()), "tables": len(found.manifest.rows), "recorded": found.recorded,
            "without_data": list(found.manifest.without_data),
        })  # fmt: skip
    else:
        m = found.manifest
        say(f"{m.file} came back as it was: {counted(len(m.rows), 'table')}, {counted(sum(m.rows.values()), 'row')}.")
    return 0


def _not_due(frame: Frame, words: str, due_at: object) -> int:
    if frame.as_json:
        emit({"status": "not_due", "due_at": due_at, "words": words})
    else:
        say(f"Not due: {words}.")
    return 0
