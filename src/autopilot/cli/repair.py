"""`autopilot repair`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from autopilot.cli.frame import Frame, emit, options, say

if TYPE_CHECKING:
    from autopilot.rollback.drift import Drift
    from autopilot.workflows.recorded import Standing
    from autopilot.workflows.repair import Repaired

_MARKS = {"danger": "!!", "warning": " !", "note": "  "}
_HOW = {
    "put_back": "--apply puts it back", "restore": "--apply --restore-tables", "adopt": "stays; --write-migration adopts it",
    "person": "a person is needed", "none": "nothing is to be done",
}  # fmt: skip


@click.command("repair")
@click.option("--plan", "plan_only", is_flag=True, help="Show what differs and what would be done. Changes nothing; the default.")
@click.option("--apply", "apply_it", is_flag=True, help="Put back what is missing or changed. Drops nothing of yours.")
@click.option("--check", is_flag=True, help="As --plan, and exit 1 when something is to be repaired; for CI.")
@click.option(
    "--restore-tables", is_flag=True, help="With --apply: lost tables and columns too, with rows from the newest backup."
)
@click.option(
    "--write-migration", is_flag=True, help="Write what was added by hand as a migration file; otherwise it is printed."
)
@options()
def command(frame: Frame, *, plan_only: bool, apply_it: bool, check: bool, restore_tables: bool, write_migration: bool) -> int:
    """Compare the schema with the one that the last release recorded, and put back what is missing or changed.

    Policies, row level security, indexes, triggers, functions, views, constraints, grants, owners, comments and defaults
    come back in one transaction. What somebody added by hand stays, and is told with a migration file that adopts it.
    What belongs to other roles is told and never touched. Exits 4 when something is left that a person must see to.
    """
    if apply_it and (plan_only or check):
        raise click.UsageError("--apply changes the database; --plan and --check do not: give one of them.")
    if restore_tables and not apply_it:
        raise click.UsageError("--restore-tables goes with --apply.")
    return _apply(frame, restore_tables, write_migration) if apply_it else _plan(frame, check, write_migration)


def _plan(frame: Frame, check: bool, write_migration: bool) -> int:
    from autopilot.cli.world import quiet_world
    from autopilot.workflows.repair import plan

    world = quiet_world(frame)
    found = plan(world)
    file = _written(frame, found) if write_migration else None
    if frame.as_json:
        emit(_document(found, file) | {"outcome": "differs" if found.to_repair else "as_recorded"})
    else:
        say(_described(found, file, verbose=frame.verbose))
    return 1 if check and found.to_repair else 0


def _apply(frame: Frame, restore_tables: bool, write_migration: bool) -> int:
    import os
    import secrets
    from dataclasses import replace

    from autopilot.audit.journal import Run
    from autopilot.cli.migrate import who
    from autopilot.cli.telling import teller
    from autopilot.cli.world import telling_world
    from autopilot.killpoints import from_environment
    from autopilot.workflows.repair import apply

    run = Run(run_id=secrets.token_hex(4), commit_sha=None, triggered_by=who())
    with teller() as tell:
        world = replace(telling_world(frame, tell), reached=from_environment(os.environ))
        done = apply(world, run, restore_tables=restore_tables)
    file = _written(frame, done.after) if write_migration else None
    if frame.as_json:
        emit(_repaired_document(done, file))
    else:
        say(_told(done, file))
    return 0 if done.is_whole else 4


def _written(frame: Frame, found: Standing) -> Path | None:
    if found.adoption is None:
        return None
    from autopilot.clock import SystemClock
    from autopilot.workflows.adopting import write

    return write(found.adoption, frame.settings().migrations_dir, now=SystemClock().now())


def _described(found: Standing, file: Path | None, *, verbose: bool) -> str:
    since = f"run {found.run_id} of {found.recorded_at:%Y-%m-%d %H:%M} UTC"
    if not found.drifts:
        return f"{found.database} is as {since} left it."
    shown = [d for d in found.drifts if verbose or d.remedy != "none"]
    unseen = len(found.drifts) - len(shown)
    lines = [f"{found.database} differs from how {since} left it:", *(_line(d) for d in shown)]
    if unseen:
        lines.append(f"  {unseen} more of other roles, or in order as they are (--verbose).")
    if verbose and (found.statements or found.apart):
        lines += ["", "In one transaction:", *(f"  {s};" for s in found.statements)]
        lines += ["Each by itself, while others work:", *(f"  {s};" for s in found.apart)] if found.apart else []
        lines += [f"Note: {note}." for note in found.notes]
    remedies = {d.remedy for d in found.drifts}
    lines += ["Next: autopilot repair --apply"] if "put_back" in remedies else []
    lines += ["Next: autopilot repair --apply --restore-tables"] if remedies & {"put_back", "restore"} == {"restore"} else []
    return "\n".join(lines + _adopted(found, file))


def _line(drift: Drift) -> str:
    how = _HOW[drift.remedy]
    # the reason names the command itself where rows are to be brought back
    told = drift.why if how in drift.why else f"{how}: {drift.why}" if drift.why else how
    return f"{_MARKS[drift.severity]} {drift.sentence} [{told}]"


def _adopted(found: Standing, file: Path | None) -> list[str]:
    if file is not None:
        return [f"Written: {file}"]
    if found.adoption is None:
        return []
    return ["", "A migration file for what was added by hand (--write-migration writes it):", "", found.adoption.rstrip()]


def _told(done: Repaired, file: Path | None) -> str:
    if not done.put_back and not done.restored and done.is_whole:
        lines = [f"{done.after.database} is as run {done.after.run_id} left it: nothing to repair."]
    else:
        lines = ["Found, and put right:", *(f"  {s}" for s in done.put_back)] if done.put_back else []
        lines += [f"Restored: {r.sentence}" for r in done.restored]
    lines += [f"Not put back: {f}" for f in done.failed]
    lines += [f"Left: {_line(d).strip()}" for d in done.after.to_repair]
    added = [d for d in done.after.drifts if d.remedy == "adopt"]
    lines += [f"Stays: {d.sentence}" for d in added]
    return "\n".join(lines + _adopted(done.after, file))


def _document(found: Standing, file: Path | None) -> dict[str, Any]:
    return {
        "database": found.database, "recorded_at": found.recorded_at, "recorded_by": found.run_id,
        "drift": [
            {"what": d.what, "kind": d.kind, "object": d.object, "severity": d.severity, "message": d.sentence,
             "remedy": d.remedy, "why": d.why or None}
            for d in found.drifts
        ],
        "statements": list(found.statements), "apart": list(found.apart), "notes": list(found.notes),
        "migration": found.adoption, "migration_file": None if file is None else str(file),
    }  # fmt: skip


def _repaired_document(done: Repaired, file: Path | None) -> dict[str, Any]:
    outcome = ("repaired" if done.put_back or done.restored else "nothing_to_do") if done.is_whole else "stranded"
    return {
        "run_id": done.run_id, "outcome": outcome, "put_back": list(done.put_back), "failed": list(done.failed),
        "restored": [
            {"object": r.object, "backup": r.backup_file, "taken_at": r.taken_at, "rows": r.rows, "rows_without_value": r.without,
             "message": r.sentence}
            for r in done.restored
        ],
        "before": _document(done.before, None), "after": _document(done.after, file), "duration_ms": done.duration_ms,
    }  # fmt: skip
