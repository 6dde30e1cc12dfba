"""`autopilot status`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from autopilot.cli.frame import Frame, emit, options, say
from autopilot.cli.world import quiet_world

if TYPE_CHECKING:
    from autopilot.workflows.proven import RestoreTestStanding
    from autopilot.workflows.standing import Standing


_ENDS = {
    "running": "is under way, since", "released": "released", "nothing_to_do": "had nothing to release", "refused": "was refused",
    "rolled_back": "failed and was rolled back", "stranded": "failed and needs a person", "stopped": "was stopped by a signal",
    "abandoned": "ended without a word (killed, or its machine)", "went_back": "went back on a release",
}  # fmt: skip


@click.command("status")
@options()
def command(frame: Frame) -> int:
    """Show what is applied and pending, drift, the last run, the last backup and open incidents."""
    from autopilot.workflows.standing import standing

    found = standing(quiet_world(frame))
    if frame.as_json:
        emit(_document(found))
    else:
        say(_described(found))
    return 0


def _document(found: Standing) -> dict[str, Any]:
    run, backup = found.last_run, found.last_backup
    return {
        "database": found.server.database,
        "server_version": found.server.version,
        "applied": list(found.plan.applied),
        "pending": [f.version for f in found.plan.pending],
        "drift": [{"kind": d.kind, "version": d.version, "message": d.message} for d in found.plan.drift],
        "last_run": None
        if run is None
        else {
            "run_id": run.run_id, "state": run.state, "started_at": run.started_at, "finished_at": run.finished_at,
            "commit_sha": run.commit_sha, "triggered_by": run.triggered_by, "notes": run.notes,
        },
        "last_backup": None
        if backup is None or backup.manifest is None
        else {
            "file": backup.file, "state": backup.state,
            "taken_at": backup.manifest.taken_at, "size_bytes": backup.manifest.size_bytes,
        },
        "open_incidents": found.open_incidents,
        "restore_test": restore_test_document(found.restore_test),
    }  # fmt: skip


def restore_test_document(tests: RestoreTestStanding) -> dict[str, Any]:
    last, good = tests.last, tests.last_good
    return {
        "state": tests.state, "words": tests.words, "due_at": tests.due_at,
        "last": None
        if last is None
        else {"tested_at": last.tested_at, "file": last.backup_file, "status": last.status, "notes": last.notes},
        "last_success_at": None if good is None else good.tested_at,
    }  # fmt: skip


def _described(found: Standing) -> str:
    plan, run, backup = found.plan, found.last_run, found.last_backup
    lines = [
        f"Database     {found.server.database}, PostgreSQL {found.server.version}",
        f"Applied      {len(plan.applied)}" + (f", newest {plan.applied[-1]}" if plan.applied else ""),
        f"Pending      {len(plan.pending)}" + "".join(f"\n             {f.file}" for f in plan.pending),
        *(f"Drift        {d.message}" for d in plan.drift),
    ]
    if run is None:
        lines.append("Last run     none: Autopilot was never here")
    else:
        commit = f", commit {run.commit_sha[:12]}" if run.commit_sha else ""
        lines.append(
            f"Last run     {run.run_id} {_ENDS[run.state]} at {run.started_at:%Y-%m-%d %H:%M} UTC by {run.triggered_by}{commit}"
        )
    if backup is None or backup.manifest is None:
        lines.append("Last backup  none here")
    else:
        lines.append(f"Last backup  {backup.file} ({backup.state}, {backup.manifest.size_bytes:,} bytes)")
    lines.append(f"Restored     {found.restore_test.words}")
    lines.append(f"Incidents    {found.open_incidents or 'none'} open")
    return "\n".join(lines)
