"""What the channel is told about a release, as plain values."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    #: First words as the contract fixes them.
    headline: str
    #: One or two sentences.
    text: str
    #: Label and value, shown side by side.
    facts: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """The release as the channel needs it."""

    environment_name: str
    commit_sha: str | None
    triggered_by: str
    run_id: str
    files: tuple[str, ...]
    backup_file: str | None
    duration_ms: int


def started(release: Release) -> Notice:
    """The backup is there and the migration begins."""
    headline = "🚀 Backup created" if release.backup_file else "🚀 Migration started"
    text = (
        f"{_count(release.files)} to {release.environment_name}: the rehearsal comes first."
        if release.backup_file
        else (f"{_count(release.files)} to {release.environment_name}, without a backup.")
    )
    return Notice(headline=headline, text=text, facts=_facts(release))


def succeeded(release: Release, *, deploy: str) -> Notice:
    return Notice(
        headline="✅ Migration success",
        text=f"{_count(release.files)} applied to {release.environment_name}. {deploy} "
        + ("The backup is retained." if release.backup_file else "No backup was taken."),
        facts=_facts(release),
    )


def failed(release: Release, *, message: str, state: str, hint: str) -> Notice:
    return Notice(headline="❌ Migration failed", text=f"{message}\n{state}\nNext: {hint}", facts=_facts(release))


def went_back(release: Release, *, text: str) -> Notice:
    return Notice(headline="🚨 Rollback executed", text=text, facts=_facts(release))


def did_not_go_back(release: Release, *, message: str, state: str, hint: str) -> Notice:
    return Notice(
        headline="❌ Rollback failed — manual intervention required",
        text=f"{message}\n{state}\nNext: {hint}",
        facts=_facts(release),
    )


def _count(files: tuple[str, ...]) -> str:
    return f"{len(files)} migration" + ("" if len(files) == 1 else "s")


def _facts(release: Release) -> tuple[tuple[str, str], ...]:
    shown = ", ".join(release.files[:5]) + (f" and {len(release.files) - 5} more" if len(release.files) > 5 else "")
    facts = [
        ("Environment", release.environment_name),
        ("Commit", (release.commit_sha or "none")[:12]),
        ("By", release.triggered_by),
        ("Run", release.run_id),
        ("Migrations", shown or "none"),
        ("Backup", release.backup_file or "none"),
    ]
    if release.duration_ms:
        facts.append(("Took", f"{release.duration_ms / 1000:.1f} s"))
    return tuple(facts)
