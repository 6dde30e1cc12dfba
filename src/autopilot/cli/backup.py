"""`autopilot backup …`."""

from __future__ import annotations

from typing import Any

import click

from autopilot.cli.frame import Frame, emit, options, say


@click.group("backup")
def command() -> None:
    """Backups: each read back whole, hashed and described by a manifest when it was taken."""


@command.command("list")
@click.option("--verify", is_flag=True, help="Hash every file against its manifest instead of comparing sizes only.")
@options(database=False, directory=False)
def list_backups(frame: Frame, *, verify: bool) -> int:
    """List the backups here, newest first, and whether each is still what its manifest describes.

    Exits 1 when one is damaged or missing.
    """
    from autopilot.backups.catalog import entries

    directory = frame.settings().backups_dir
    found = entries(directory, verify=verify)
    if frame.as_json:
        emit([_document(e) for e in found])
    elif not found:
        say(f"No backups in {directory}.")
    else:
        for entry in found:
            m = entry.manifest
            what = (
                entry.why
                if m is None
                else f"{m.size_bytes:>12,} bytes  {m.database}  {sum(m.rows.values()):,} rows  run {m.run_id}"
            )
            say(f"{entry.file}  {entry.state:<11} {what}" + (f"  {entry.why}" if m is not None and entry.why else ""))
    return 1 if any(e.state in {"damaged", "missing"} for e in found) else 0


def _document(entry: Any) -> dict[str, Any]:
    m = entry.manifest
    return {
        "file": entry.file,
        "state": entry.state,
        "why": entry.why or None,
        "taken_at": None if m is None else m.taken_at,
        "size_bytes": None if m is None else m.size_bytes,
        "sha256": None if m is None else m.sha256,
        "database": None if m is None else m.database,
        "run_id": None if m is None else m.run_id,
        "commit_sha": None if m is None else m.commit_sha,
    }
