"""How the story went, as lines for a terminal or a log."""

from __future__ import annotations

from collections.abc import Sequence

import psycopg

from autopilot.demo.story import Stage, Told

#: The contract's queries that are worth a look after the demo.
QUERIES = (
    "SELECT * FROM automation.recent_activity LIMIT 20;",
    "SELECT ran_at, commit_sha, status, duration_ms, notes FROM automation.migration_log ORDER BY ran_at DESC LIMIT 10;",
    "SELECT deployed_at, platform, status, notes FROM automation.deployment_log ORDER BY deployed_at DESC LIMIT 10;",
    (
        "SELECT checked_at, status, response_time_ms, checks->>'site_status' as site_status, checks->>'db_status' as db_status"
        " FROM automation.health_log ORDER BY checked_at DESC LIMIT 20;"
    ),
    "SELECT * FROM automation.dashboard_stats;",
)


def table(told: Sequence[Told]) -> tuple[tuple[str, ...], ...]:
    """One row a chapter, the heading first."""
    rows = [("Chapter", "Files", "Outcome", "Exit", "Took", "Production afterwards")]
    rows += [
        (
            t.chapter.title,
            str(t.files),
            t.chapter.outcome.replace("_", " ") + (", undone" if t.chapter.goes_back else ""),
            str(t.exit_code),
            f"{t.duration_s:.1f} s",
            t.chapter.afterwards,
        )
        for t in told
    ]
    return tuple(rows)


def plain(rows: Sequence[Sequence[str]]) -> str:
    """The table with aligned columns."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join([lines[0], "  ".join("-" * width for width in widths), *lines[1:]])


def activity(stage: Stage) -> str:
    """What the audit trail holds after the story, newest first."""
    with psycopg.connect(stage.around.database_url.reveal()) as connection:
        rows = connection.execute("SELECT activity_at, kind, status, summary FROM automation.recent_activity LIMIT 20").fetchall()
    return "\n".join(f"{at:%H:%M:%S}  {kind:<9} {status:<9} {_short(summary)}" for at, kind, status, summary in rows)


def _short(text: str | None) -> str:
    line = " ".join((text or "").split())
    return line if len(line) <= 110 else line[:109] + "…"
