"""`autopilot plan`: everything that is known before a run. Writes nothing."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from autopilot.audit import reports
from autopilot.audit.reports import RehearsedFile
from autopilot.migrations import catalog
from autopilot.migrations.files import Listing
from autopilot.migrations.forecast import Blocked, Forecast, by_size
from autopilot.migrations.lint import Finding, lint
from autopilot.migrations.plan import Plan
from autopilot.migrations.relations import key
from autopilot.migrations.segments import Migration
from autopilot.postgres.session import Connection, Server, look
from autopilot.workflows import cutting, planning
from autopilot.workflows import net as nets
from autopilot.workflows.failing import Failing, failing
from autopilot.workflows.net import Net
from autopilot.workflows.reading import reader
from autopilot.workflows.world import World


@dataclass(frozen=True, slots=True, kw_only=True)
class Predicted:
    """How long a file would take, and whom it would keep waiting."""

    forecast: Forecast
    #: When this very text was rehearsed; None = guessed from the size of its tables.
    rehearsed_at: datetime | None


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
    #: What a release's backup would be.
    net: Net
    #: By version.
    predicted: dict[str, Predicted]
    #: The way that a failure would take, and what going back would lose; None with nothing pending.
    failing: Failing | None = None


def preview(world: World, *, allow_out_of_order: bool, accept_edited: frozenset[str]) -> Preview:
    """Reads files and target and decides. Raises what reading, connecting and parsing raise."""
    found = planning.listed_files(world)
    with reader(world.settings) as connection:
        server = look(connection)
        decided = planning.weigh(
            found, connection, planning.policy(world, allow_out_of_order=allow_out_of_order, accept_edited=accept_edited)
        )
        pending = cutting.migrations(decided, connection)
        chosen = nets.of(world.settings, connection)
        predicted = _predicted(connection, pending)
        now = cutting.in_order(pending).now
        apart = cutting.apart(world, now, server) if now else None
        ways = failing(connection, world.settings, pending, apart=apart)
    report = lint(pending, server_major=server.major)
    return Preview(
        plan=decided, listing=found, migrations=pending, findings=report.findings, lint_unavailable=report.unavailable,
        apart=apart, server=server, net=chosen, predicted=predicted, failing=ways,
    )  # fmt: skip


def _predicted(connection: Connection, pending: tuple[Migration, ...]) -> dict[str, Predicted]:
    rehearsed = reports.rehearsed(connection, tuple(m.file.sha256 for m in pending))
    keys = frozenset(key(w.relation) for m in pending for s in m.statements for w in s.works)
    sizes = catalog.sizes(connection, keys)
    return {m.version: _prediction(m, rehearsed.get(m.file.sha256), sizes) for m in pending}


def _prediction(migration: Migration, rehearsed: RehearsedFile | None, sizes: dict[str, int]) -> Predicted:
    if rehearsed is None:
        return Predicted(forecast=by_size(migration, sizes), rehearsed_at=None)
    blocked = tuple(
        Blocked(relation=b["relation"], mode=b["mode"], duration_ms=float(b["duration_ms"])) for b in rehearsed.blocked
    )
    return Predicted(forecast=Forecast(duration_ms=rehearsed.predicted_ms, blocked=blocked), rehearsed_at=rehearsed.rehearsed_at)
