"""What a run would do, decided from files and history alone."""

from __future__ import annotations

from dataclasses import dataclass

from autopilot.migrations.files import MigrationFile
from autopilot.migrations.history import History


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    pending: tuple[MigrationFile, ...]
    #: Versions applied by anyone, in version order.
    applied: tuple[str, ...]
    drift: tuple[Drift, ...]
    refusals: tuple[Refusal, ...]
    #: Edited files that the user accepts as they are now.
    accepted: tuple[MigrationFile, ...]


def plan(
    files: tuple[MigrationFile, ...],
    history: History,
    *,
    allow_out_of_order: bool = False,
    accept_edited: frozenset[str] = frozenset(),
) -> Plan:
    """Pending files in file order, drift, and what stands in the way."""
    pending = tuple(f for f in files if f.version not in history.applied)
    edited = tuple(f for f in files if _edited(f, history))
    refusals = [_edited_refusal(f) for f in edited if f.version not in accept_edited]
    if not allow_out_of_order:
        refusals += _out_of_order(files, pending, history)
    refusals += [_not_edited(v) for v in sorted(accept_edited - {f.version for f in edited})]
    return Plan(
        pending=pending,
        applied=tuple(sorted(history.applied, key=by_number)),
        drift=_drift(files, edited, history),
        refusals=tuple(refusals),
        accepted=tuple(f for f in edited if f.version in accept_edited),
    )


def by_number(version: str) -> tuple[int, str]:
    """Versions of different widths in one order: 9 before 10."""
    return (int(version), version) if version.isdecimal() and version.isascii() else (-1, version)


def _edited(file: MigrationFile, history: History) -> bool:
    row = history.ledger.get(file.version)
    return row is not None and row.normalized_sha256 not in {"", file.normalized_sha256}


def _edited_refusal(file: MigrationFile) -> Refusal:
    return Refusal(
        code="edited_after_applied",
        message=f"{file.file} was changed after it was applied: the database holds what the earlier text did.",
        hint=f"Put the earlier text back and write the change as a new migration; or, when the change is only cosmetic,"
        f" say so with --accept-edited {file.version}.",
        file=file.file,
    )


def _not_edited(version: str) -> Refusal:
    return Refusal(
        code="nothing_to_accept",
        message=f"--accept-edited {version}: no applied migration of that version was edited.",
        hint="Leave the option out, or check the version.",
        file=None,
    )


def _out_of_order(files: tuple[MigrationFile, ...], pending: tuple[MigrationFile, ...], history: History) -> list[Refusal]:
    """supabase/cli refuses a pending file that sorts before one already applied; so do we, for begun files do not count."""
    positions = [i for i, f in enumerate(files) if f.version in history.applied]
    if not positions:
        return []
    newest = files[positions[-1]]
    late = [f for f in pending if files.index(f) < positions[-1] and f.version not in history.begun]
    return [
        Refusal(
            code="out_of_order",
            message=f"{f.file} is older than {newest.file}, which is already applied.",
            hint="Give it a newer version by renaming it; or run it now, after the newer one, with --allow-out-of-order.",
            file=f.file,
        )
        for f in late
    ]


def _drift(files: tuple[MigrationFile, ...], edited: tuple[MigrationFile, ...], history: History) -> tuple[Drift, ...]:
    here = {f.version: f for f in files}
    found = [Drift(kind="edited", version=f.version, message=f"{f.file} differs from what was applied") for f in edited]
    for version in sorted(history.applied - set(here), key=by_number):
        row = history.ledger.get(version)
        if row is None:
            message = f"version {version} was applied by another tool and has no file here"
            found.append(Drift(kind="applied_elsewhere", version=version, message=message))
        else:
            found.append(Drift(kind="deleted", version=version, message=f"{row.file} was applied and is no longer here"))
    for version, row in history.ledger.items():
        file = here.get(version)
        if file is not None and file.file != row.file and file not in edited:
            found.append(Drift(kind="renamed", version=version, message=f"{row.file} is now called {file.file}"))
    return tuple(found)
