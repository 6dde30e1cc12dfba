"""`autopilot plan`: everything that is known before a run. Writes nothing."""

from __future__ import annotations

from dataclasses import dataclass

from autopilot.migrations.files import Listing
from autopilot.migrations.lint import Finding, lint
from autopilot.migrations.plan import Plan
from autopilot.migrations.segments import Migration
from autopilot.postgres.session import Server, look
from autopilot.workflows import cutting, planning
from autopilot.workflows.reading import reader
from autopilot.workflows.world import World


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    #: Pending files before and after the deploy, and what stands in the way.
    plan: Plan
    listing: Listing
    migrations: tuple[Migration, ...]
    findings: tuple[Finding, ...]
    #: Why there are no findings, when the linter could not be asked.
    lint_unavailable: str | None
    #: Why the files that run before the deploy commit one by one; None when they commit at once.
    apart: str | None
    server: Server


def preview(world: World, *, allow_out_of_order: bool, accept_edited: frozenset[str]) -> Preview:
    """Reads files and target and decides. Raises what reading, connecting and parsing raise."""
    found = planning.listed_files(world)
    with reader(world.settings) as connection:
        server = look(connection)
        decided = planning.weigh(
            found, connection, planning.policy(world, allow_out_of_order=allow_out_of_order, accept_edited=accept_edited)
        )
        pending = cutting.migrations(decided, connection)
    now = cutting.in_order(pending).now
    report = lint(pending, server_major=server.major)
    return Preview(
        plan=decided, listing=found, migrations=pending, findings=report.findings, lint_unavailable=report.unavailable,
        apart=cutting.apart(world, now, server) if now else None, server=server,
    )  # fmt: skip
