"""What a run would do, decided from files and history alone."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from autopilot.errors import Refused
from autopilot.migrations.files import MigrationFile
from autopilot.migrations.head import waits
from autopilot.migrations.history import History, LedgerRow


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """Files and history disagree."""

    #: "edited", "deleted", "renamed" or "applied_elsewhere".
    kind: str
    version: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """A reason not to run at all."""

    code: str
    message: str
    hint: str
    file: str | None
    #: What to look at, as the lines that changed.
    detail: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Renamed:
    """A file that was applied under another name: the ledger follows it."""

    was: LedgerRow
    now: MigrationFile


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What the user allows."""

    allow_out_of_order: bool = False
    accept_edited: frozenset[str] = frozenset()
    #: Whether an applied file that is no longer here is a reason not to run.
    refuse_deleted: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    pending: tuple[MigrationFile, ...]
    #: Versions applied by anyone, in version order.
    applied: tuple[str, ...]
    drift: tuple[Drift, ...]
    refusals: tuple[Refusal, ...]
    #: Edited files that the user accepts as they are now.
    accepted: tuple[MigrationFile, ...]
    renamed: tuple[Renamed, ...] = ()


def plan(
    files: tuple[MigrationFile, ...],
    history: History,
    policy: Policy,
    *,
    recorded: Mapping[str, tuple[str, ...]] = MappingProxyType({}),
) -> Plan:
    """Pending files in file order, drift, and what stands in the way.

    `recorded` holds the statements that were applied, by version, as far as they are known.
    """
    renamed, applied = _renamed(files, history), history.applied
    followed = {r.now.version for r in renamed}
    pending = tuple(f for f in files if f.version not in applied and f.version not in followed)
    changed = edited(files, history)
    refusals = [_edited_refusal(f, recorded.get(f.version)) for f in changed if f.version not in policy.accept_edited]
    if not policy.allow_out_of_order:
        refusals += _out_of_order(files, pending, history)
    refusals += [_unknown(v) for v in sorted(policy.accept_edited - history.applied)]
    drift = _drift(files, changed, history, renamed)
    if policy.refuse_deleted:
        refusals += [_deleted_refusal(d) for d in drift if d.kind == "deleted"]
    return Plan(
        pending=pending,
        applied=tuple(sorted(history.applied, key=by_number)),
        drift=drift,
        refusals=tuple(refusals),
        accepted=tuple(f for f in changed if f.version in policy.accept_edited),
        renamed=renamed,
    )


def edited(files: tuple[MigrationFile, ...], history: History) -> tuple[MigrationFile, ...]:
    """Files whose text is not the one that was applied; line ends and a byte order mark do not count."""
    return tuple(
        f
        for f in files
        if (row := history.ledger.get(f.version)) is not None and row.normalized_sha256 not in {"", f.normalized_sha256}
    )


def by_number(version: str) -> tuple[int, str]:
    """Versions of different widths in one order: 9 before 10."""
    return (int(version), version) if version.isdecimal() and version.isascii() else (-1, version)


def _renamed(files: tuple[MigrationFile, ...], history: History) -> tuple[Renamed, ...]:
    """Files with the text of an applied one that is no longer here under its version; only where that is unambiguous."""
    here = {f.version for f in files}
    gone: dict[str, list[LedgerRow]] = {}
    for row in history.ledger.values():
        if row.version not in here and row.statements > 0:
            gone.setdefault(row.normalized_sha256, []).append(row)
    new: dict[str, list[MigrationFile]] = {}
    applied = history.applied
    for file in files:
        if file.version not in applied and file.normalized_sha256 in gone:
            new.setdefault(file.normalized_sha256, []).append(file)
    other_version = [
        Renamed(was=gone[sha][0], now=found[0]) for sha, found in new.items() if len(found) == 1 and len(gone[sha]) == 1
    ]
    same_version = [
        Renamed(was=own, now=f)
        for f in files
        if (own := history.ledger.get(f.version)) is not None
        and own.file != f.file
        and own.normalized_sha256 == f.normalized_sha256
    ]
    return tuple(other_version + same_version)


def _edited_refusal(file: MigrationFile, recorded: tuple[str, ...] | None) -> Refusal:
    return Refusal(
        code="edited_after_applied",
        message=f"{file.file} was changed after it was applied: the database holds what the earlier text did.",
        hint=f"Put the earlier text back and write the change as a new migration; or, when the change is only cosmetic,"
        f" say so with --accept-edited {file.version}.",
        file=file.file,
        detail=None if recorded is None else changed_statements(recorded, file),
    )


def changed_statements(recorded: tuple[str, ...], file: MigrationFile) -> str | None:
    """The statements that differ, applied ones with -, the file's with +; None where only comments do."""
    from autopilot.migrations.statements import shortened, statements

    try:
        now = tuple(s.text for s in statements(file.text, file=file.file))
    except Refused as cause:
        return f"+ {cause.message}"
    lines = [
        line
        for line in difflib.ndiff([shortened(s) for s in recorded], [shortened(s) for s in now])
        if line.startswith(("- ", "+ "))
    ]
    return "\n".join(lines[:10]) or None


def _deleted_refusal(drift: Drift) -> Refusal:
    return Refusal(
        code="deleted_after_applied",
        message=f"{drift.message}.",
        hint='Put the file back; or set deleted = "warn" in autopilot.toml.',
        file=None,
    )


def _unknown(version: str) -> Refusal:
    return Refusal(
        code="nothing_to_accept",
        message=f"--accept-edited {version}: no migration of that version was ever applied.",
        hint="Check the version: it is the number before the first _ of the file's name.",
        file=None,
    )


def _out_of_order(files: tuple[MigrationFile, ...], pending: tuple[MigrationFile, ...], history: History) -> list[Refusal]:
    """supabase/cli refuses a pending file that sorts before one already applied; so do we, but for one already begun
    and one that waits for a deploy."""
    place = {f.version: i for i, f in enumerate(files)}
    newest = max((place[v] for v in history.applied if v in place), default=-1)
    late = [f for f in pending if place[f.version] < newest and f.version not in history.begun and not waits(f.text)]
    return [
        Refusal(
            code="out_of_order",
            message=f"{f.file} is older than {files[newest].file}, which is already applied.",
            hint="Give it a newer version by renaming it; or run it now, after the newer one, with --allow-out-of-order.",
            file=f.file,
        )
        for f in late
    ]


def _drift(
    files: tuple[MigrationFile, ...], changed: tuple[MigrationFile, ...], history: History, renamed: tuple[Renamed, ...]
) -> tuple[Drift, ...]:
    here = {f.version for f in files} | {r.was.version for r in renamed}
    found = [Drift(kind="edited", version=f.version, message=f"{f.file} differs from what was applied") for f in changed]
    for version in sorted(history.applied - here, key=by_number):
        row = history.ledger.get(version)
        if row is None:
            message = f"version {version} was applied by another tool and has no file here"
            found.append(Drift(kind="applied_elsewhere", version=version, message=message))
        else:
            found.append(Drift(kind="deleted", version=version, message=f"{row.file} was applied and is no longer here"))
    found += [Drift(kind="renamed", version=r.now.version, message=f"{r.was.file} is now called {r.now.file}") for r in renamed]
    return tuple(found)
