"""Backups as scripts and people read them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from autopilot.backups.catalog import Entry
from autopilot.cli.complaints import error_document
from autopilot.cli.frame import known_secrets
from autopilot.errors import AutopilotError
from autopilot.measures import counted
from autopilot.workflows.backing_up import Taken
from autopilot.workflows.keeping import Copied, Listed, Pruned
from autopilot.workflows.opening import Fetched, Verified

_SIGNATURES = {"valid": "signed", "unsigned": "not signed", "unknown": "signed, no secret here to check it", "forged": "forged"}


def taken_document(taken: Taken) -> dict[str, Any]:
    """`backup create --json`."""
    m = taken.backup.manifest
    return {
        "file": m.file, "sha256": m.sha256, "size_bytes": m.size_bytes, "run_id": m.run_id, "taken_at": m.taken_at,
        "database": m.database, "tables": len(m.rows), "rows": sum(m.rows.values()), "encryption": m.encryption,
        "signed": m.hmac is not None, "duration_ms": m.duration_ms, "left_out": list(m.absent.schemas),
        "copies": [{"store": c.store, "stored": c.failed is None, "why": c.failed} for c in taken.copies],
    }  # fmt: skip


def listed_document(found: Listed) -> list[dict[str, Any]]:
    """`backup list --json`: every backup once, with where else it lies; first of all `state`, that of the one here."""
    here = {entry.file: entry for entry in found.here}
    return [
        _entry_document(here.get(file), copies[0][1] if copies else None)
        | {"copies": [{"store": store, "state": entry.state, "why": entry.why or None} for store, entry in copies]}
        for file, copies in _by_file(found)
    ]


def _by_file(found: Listed) -> Iterator[tuple[str, list[tuple[str, Entry]]]]:
    files = {entry.file for entry in found.here} | {entry.file for held in found.stores for entry in held.entries}
    for file in sorted(files, reverse=True):
        yield file, [(held.store, entry) for held in found.stores for entry in held.entries if entry.file == file]


def _entry_document(here: Entry | None, elsewhere: Entry | None) -> dict[str, Any]:
    entry = here or elsewhere
    m = None if entry is None else entry.manifest
    return {
        "file": None if entry is None else entry.file,
        "state": "stored" if here is None else here.state,
        "why": None if here is None else here.why or None,
        "taken_at": None if m is None else m.taken_at,
        "size_bytes": None if m is None else m.size_bytes,
        "sha256": None if m is None else m.sha256,
        "database": None if m is None else m.database,
        "run_id": None if m is None else m.run_id,
        "commit_sha": None if m is None else m.commit_sha,
        "encryption": None if m is None else m.encryption,
        "left_out": [] if m is None else list(m.absent.schemas),
        "signature": None if entry is None else entry.signature,
    }


def listed_lines(found: Listed) -> list[str]:
    here = {entry.file: entry for entry in found.here}
    lines = []
    for file, copies in _by_file(found):
        entry = here.get(file)
        lines.append(_line(entry) if entry is not None else f"{file}  not here")
        lines += [f"    {store}  {copy.state}{'  ' + copy.why if copy.why else ''}" for store, copy in copies]
    return lines


def _line(entry: Entry) -> str:
    m = entry.manifest
    if m is None:
        return f"{entry.file}  {entry.state:<11} {entry.why}"
    what = f"{m.size_bytes:>12,} bytes  {m.database}  {counted(sum(m.rows.values()), 'row')}  run {m.run_id}"
    how = ("" if m.encryption == "none" else f"  {m.encryption}") + (f"  {m.absent.words}" if m.absent else "")
    return f"{entry.file}  {entry.state:<11} {what}{how}" + (f"  {entry.why}" if entry.why else "")


def verified_document(verified: Verified) -> dict[str, Any]:
    """One of `backup verify --json`."""
    return _entry_document(verified.entry, None) | {
        "read_whole": verified.read_whole,
        "why_not": verified.why_not,
        "instead": verified.instead,
    }


def verified_lines(verified: Verified) -> list[str]:
    entry = verified.entry
    older = f"The next older good one is {verified.instead}." if verified.instead else "There is no older good one here."
    if entry.state != "good":
        return [f"{entry.file}  {entry.state}: {entry.why}", f"    {older}"]
    read = "read to its end" if verified.read_whole else f"not opened: {verified.why_not or 'no key is here'}"
    line = f"{entry.file}  good, {read}, {_SIGNATURES[entry.signature]}"
    return [line, f"    {older}"] if verified.instead else [line]


def copied_document(copied: Copied) -> dict[str, Any]:
    """One store of `backup copy --json`."""
    copies = [{"file": file, "stored": copy.failed is None, "why": copy.failed} for file, copy in copied.copies]
    return {"store": copied.store, "copies": copies, "error": _error(copied.failed)}


def copied_lines(copied: Copied) -> list[str]:
    lines = [
        f"    {'not stored' if copy.failed else 'stored':<12} {file}{'  ' + copy.failed if copy.failed else ''}"
        for file, copy in copied.copies
    ]
    return [copied.store, *lines] if lines else [f"{copied.store}: " + ("not asked" if copied.failed else "no copy is missing")]


def pruned_document(pruned: Pruned) -> dict[str, Any]:
    """One place of `backup prune --json`."""
    return {
        "place": pruned.place,
        "prune": [v.file for v in pruned.verdicts if v.prune],
        "keep": [{"file": v.file, "why": v.why} for v in pruned.verdicts if not v.prune],
        "removed": list(pruned.removed),
        "error": _error(pruned.failed),
    }


def _error(failed: AutopilotError | None) -> dict[str, Any] | None:
    return None if failed is None else error_document(failed, known=known_secrets())


def pruned_lines(pruned: Pruned, *, dry_run: bool) -> list[str]:
    lines = [pruned.place]
    for verdict in pruned.verdicts:
        word = "keep" if not verdict.prune else "would remove" if dry_run else "removed"
        if verdict.prune and not dry_run and verdict.file not in pruned.removed:
            word = "not removed"
        lines.append(f"    {word:<12} {verdict.file}  {verdict.why}")
    return lines if len(lines) > 1 else [f"{pruned.place}: no backups"]


def fetched_document(fetched: Fetched) -> dict[str, Any]:
    """`backup fetch --json`."""
    m = fetched.manifest
    return {
        "file": m.file, "store": fetched.store, "path": str(fetched.path), "sha256": m.sha256, "size_bytes": m.size_bytes,
        "encryption": m.encryption, "plain": None if fetched.plain is None else str(fetched.plain),
    }  # fmt: skip
