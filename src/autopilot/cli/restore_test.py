"""`autopilot backup restore-test`."""

from __future__ import annotations

import click

from autopilot.cli.frame import Frame, emit, options, say
from autopilot.cli.telling import teller


@click.command("restore-test")
@click.argument("file", required=False)
@options(directory=False)
def command(frame: Frame, *, file: str | None) -> int:
    """Restore a backup (the newest, or FILE) into a scratch server and compare it with what was dumped.

    Needs no production database; where one is configured, the test is written to its audit trail. Exits 1 when the
    backup is not what its manifest describes, or does not come back as it was.
    """
    from autopilot.cli.world import telling_world
    from autopilot.workflows.restore_test import restore_test

    with teller() as tell:
        found = restore_test(telling_world(frame, tell), file=file)
    if frame.as_json:
        emit({
            "file": found.manifest.file, "sha256": found.manifest.sha256, "status": "success", "restore_ms": found.restore_ms,
            "seconds_per_gib": found.seconds_per_gib, "server_version": found.server_version, "origin": found.origin,
            "rows": sum(found.manifest.rows.values()), "tables": len(found.manifest.rows), "recorded": found.recorded,
        })  # fmt: skip
    else:
        m = found.manifest
        say(f"{m.file} came back as it was: {len(m.rows)} tables, {sum(m.rows.values()):,} rows.")
    return 0
