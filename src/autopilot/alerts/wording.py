"""What channels are told, as plain values; how each shows it is its own file's business."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from autopilot.channels import Severity
from autopilot.measures import counted

#: "open", "ack" and "resolve" are about a page: what a person is called for. "change": production is another now.
#: "remind": nobody has acknowledged it. "tell": the rest.
Action = Literal["tell", "change", "open", "ack", "resolve", "remind"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    #: First words as the contract fixes them.
    headline: str
    #: One or two sentences.
    text: str
    #: Label and value, shown side by side.
    facts: tuple[tuple[str, str], ...]
    severity: Severity = "info"
    action: Action = "tell"
    #: Words and an address of ours to look at: made here, never taken from outside.
    links: tuple[tuple[str, str], ...] = ()


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
    links: tuple[tuple[str, str], ...] = ()


def started(release: Release) -> Notice:
    """The backup is there and the migration begins."""
    headline = "🚀 Backup created" if release.backup_file else "🚀 Migration started"
    text = (
        f"{_count(release.files)} to {release.environment_name}: the rehearsal comes first."
        if release.backup_file
        else (f"{_count(release.files)} to {release.environment_name}, without a backup.")
    )
    return Notice(headline=headline, text=text, facts=_facts(release), links=release.links)


def succeeded(release: Release, *, deploy: str) -> Notice:
    return Notice(
        headline="✅ Migration success", action="change", links=release.links, facts=_facts(release),
        text=f"{_count(release.files)} applied to {release.environment_name}. {deploy} "
        + ("The backup is retained." if release.backup_file else "No backup was taken."),
    )  # fmt: skip


#: How grave each end of a release is: refused and locked touched nothing, stranded needs a person now.
_GRAVITY: dict[str, Severity] = {"stranded": "critical", "rolled_back": "error"}


def failed(release: Release, *, message: str, state: str, hint: str, outcome: str = "refused") -> Notice:
    severity = _GRAVITY.get(outcome, "warning")
    return Notice(
        headline="❌ Migration failed", text=f"{message}\n{state}\nNext: {hint}", facts=_facts(release), links=release.links,
        severity=severity, action="tell" if severity == "warning" else "open",
    )  # fmt: skip


def ended_without_a_word(release: Release, *, words: str, is_whole: bool) -> Notice:
    """A run that died; the run that found it has settled what it left and goes on."""
    headline = "⚠️ A run ended without a word" if is_whole else "❌ Migration failed"
    text = f"Run {release.run_id} ended without a word: {words}. What it left open is settled by the run that found it."
    return Notice(headline=headline, text=text, facts=_facts(release), links=release.links, severity="warning")


def went_back(release: Release, *, text: str) -> Notice:
    return Notice(
        headline="🚨 Rollback executed", text=text, facts=_facts(release), links=release.links, severity="warning",
        action="change",
    )  # fmt: skip


def did_not_go_back(release: Release, *, message: str, state: str, hint: str, outcome: str = "stranded") -> Notice:
    """Where nothing was to be undone, or what asked for it was wrong, nobody is called for it."""
    severity = _GRAVITY.get(outcome, "warning")
    return Notice(
        headline="❌ Rollback failed — manual intervention required", text=f"{message}\n{state}\nNext: {hint}",
        facts=_facts(release), links=release.links, severity=severity, action="tell" if severity == "warning" else "open",
    )  # fmt: skip


def resolved(*, environment_name: str, headline: str, by: str) -> Notice:
    """What was told under `headline` is over."""
    facts = (("Environment", environment_name), ("Was", headline), ("By", by))
    return Notice(headline="✅ Resolved", text=f"{headline}: this is over.", facts=facts, action="resolve")


def acknowledged(*, environment_name: str, headline: str, by: str) -> Notice:
    facts = (("Environment", environment_name), ("By", by))
    return Notice(headline="👀 Acknowledged", text=f"{by} looks after it: {headline}", facts=facts, action="ack")


def reminder(*, environment_name: str, headline: str, since: str) -> Notice:
    return Notice(
        headline="🔔 Still open, and nobody has acknowledged it", text=f"{headline}\nOpen since {since}.", severity="critical",
        facts=(("Environment", environment_name), ("To acknowledge", "autopilot notify ack")), action="remind",
    )  # fmt: skip


def channel_broken(*, environment_name: str, channel: str, why: str) -> Notice:
    """Told through the other channels."""
    return Notice(
        headline=f"⚠️ {channel} channel is broken", severity="error", action="open", facts=(("Environment", environment_name),),
        text=f"It refuses notices: {why}. What it refused is not sent there again.\nNext: correct its address or key, then"
        " `autopilot notify test`.",
    )  # fmt: skip


def channel_mended(*, environment_name: str, channel: str) -> Notice:
    return Notice(
        headline=f"✅ {channel} channel works again", text="It takes notices again.", action="resolve",
        facts=(("Environment", environment_name),),
    )  # fmt: skip


def trial(*, environment_name: str, by: str) -> Notice:
    text = f"{by} asked for one message on every channel. Nothing is wrong."
    return Notice(headline="🔧 Autopilot test message", text=text, facts=(("Environment", environment_name),), action="open")


#: Of a longer backlog only so many are named.
_NAMED = 20


def digest(notices: tuple[tuple[str, Notice], ...]) -> Notice:
    """One message for what a channel missed; with the time of each, as text."""
    lines = [f"{at}  {notice.headline}" for at, notice in notices[-_NAMED:]]
    if len(notices) > _NAMED:
        lines.insert(0, f"… and {len(notices) - _NAMED} before these")
    grave = [n for _, n in notices if n.action == "open"]
    last = f"\n\nThe last that needed somebody:\n{grave[-1].headline}\n{grave[-1].text}" if grave else ""
    severity: Severity = "critical" if any(n.severity == "critical" for _, n in notices) else "warning"
    return Notice(
        headline=f"📬 {len(notices)} messages while this channel could not be told", text="\n".join(lines) + last,
        facts=notices[-1][1].facts[:1], severity=severity, links=notices[-1][1].links,
    )  # fmt: skip


def _count(files: tuple[str, ...]) -> str:
    return counted(len(files), "migration")


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
