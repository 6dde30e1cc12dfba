"""What would be released: files → history → plan → segments → lint. Writes nothing."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from autopilot.errors import Refused, Where
from autopilot.events import Noted
from autopilot.migrations import history as histories
from autopilot.migrations.files import Listing, listing
from autopilot.migrations.lint import Finding, lint
from autopilot.migrations.plan import Plan, Policy, edited, plan
from autopilot.migrations.segments import Migration, migration
from autopilot.migrations.unit import why_apart, why_never_together
from autopilot.postgres.session import Connection, Server, look
from autopilot.workflows.reading import reader
from autopilot.workflows.world import World


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """`autopilot plan`: everything that is known before a run."""

    plan: Plan
    listing: Listing
    migrations: tuple[Migration, ...]
    findings: tuple[Finding, ...]
    #: Why there are no findings, when the linter could not be asked.
    lint_unavailable: str | None
    #: Why the pending files commit one by one; None when they commit at once.
    apart: str | None
    server: Server


def preview(world: World, *, allow_out_of_order: bool, accept_edited: frozenset[str]) -> Preview:
    """Reads files and target and decides. Raises what reading, connecting and parsing raise."""
    found = _listing(world)
    with reader(world.settings) as connection:
        server = look(connection)
        decided = weigh(found, connection, policy(world, allow_out_of_order=allow_out_of_order, accept_edited=accept_edited))
    pending = migrations(decided)
    report = lint(pending, server_major=server.major)
    return Preview(
        plan=decided, listing=found, migrations=pending, findings=report.findings, lint_unavailable=report.unavailable,
        apart=apart(world, pending) if pending else None, server=server,
    )  # fmt: skip


def read_files(world: World) -> Listing:
    """The migrations directory; what is passed over is told."""
    found = _listing(world)
    for ignored in found.ignored:
        world.tell(Noted(text=f"Ignored {ignored.name!r}: {ignored.why}."))
    return found


def _listing(world: World) -> Listing:
    return listing(world.settings.migrations_dir, by_name=world.settings.duplicate_versions == "by-name")


def policy(world: World, *, allow_out_of_order: bool, accept_edited: frozenset[str]) -> Policy:
    """What the settings and the command line allow."""
    return Policy(
        allow_out_of_order=allow_out_of_order,
        accept_edited=accept_edited,
        refuse_deleted=world.settings.deleted == "refuse",
    )


def weigh(found: Listing, connection: Connection, allowed: Policy) -> Plan:
    """The plan from files and history, refusals and all."""
    history = histories.read(connection)
    changed = tuple(f.version for f in edited(found.files, history) if f.version not in allowed.accept_edited)
    return plan(found.files, history, allowed, recorded=histories.recorded(connection, changed))


def decide(found: Listing, connection: Connection, allowed: Policy) -> Plan:
    """The plan, or Refused with the first reason against it (and all of them in the message)."""
    decided = weigh(found, connection, allowed)
    refuse(decided)
    return decided


def refuse(decided: Plan) -> None:
    """Raises Refused when the plan holds refusals."""
    if decided.refusals:
        first = decided.refusals[0]
        raise Refused(
            " ".join(r.message for r in decided.refusals),
            code=first.code,
            hint=first.hint,
            where=Where(file=first.file, statement=first.detail),
        )


def migrations(decided: Plan) -> tuple[Migration, ...]:
    """The pending files cut into segments. Raises Refused for what cannot be run."""
    return tuple(migration(file) for file in decided.pending)


def refuse_apart(world: World, pending: tuple[Migration, ...]) -> None:
    """Raises Refused (`cannot_share_transaction`) where `transaction = "push"` asks for what cannot be."""
    why = why_never_together(pending) if world.settings.transaction == "push" and len(pending) > 1 else None
    if why is not None:
        raise Refused(
            f'transaction = "push" wants all pending files in one transaction, but {why}.',
            code="cannot_share_transaction",
            hint='Push that file by itself, or set transaction = "auto".',
        )


def apart(world: World, pending: tuple[Migration, ...]) -> str | None:
    """Why the pending files commit one by one, under the settings; None when they commit at once."""
    if world.settings.transaction == "file":
        return 'transaction = "file" is set'
    return why_never_together(pending) if world.settings.transaction == "push" else why_apart(pending)


def refuse_loss(pending: tuple[Migration, ...]) -> None:
    """Raises Refused (`would_destroy_data`) for a statement that destroys rows, when no backup is to be taken."""
    for found in pending:
        for statement in found.statements:
            if statement.destroys is not None:
                raise Refused(
                    f"{found.file.file}:{statement.line}: {statement.destroys} destroys rows,"
                    " and --no-backup leaves no copy of them.",
                    code="would_destroy_data",
                    hint="Leave --no-backup out; or say that the rows may go, with --yes-destroy-data.",
                    where=Where(file=found.file.file, line=statement.line, statement=statement.shown()),
                )


def summary(decided: Plan) -> str:
    """The plan in a sentence."""
    drift = f", {len(decided.drift)} differing from the ledger" if decided.drift else ""
    return f"{len(decided.pending)} pending, {len(decided.applied)} applied{drift}"


def findings_summary(findings: tuple[Finding, ...]) -> str:
    counts = Counter(f.severity for f in findings)
    return ", ".join(f"{counts[s]} {s}" for s in ("danger", "warning", "info") if counts[s]) or "nothing to remark"


def listed(files: tuple[str, ...]) -> str:
    """Files by name, the first few of many."""
    return ", ".join(files[:8]) + (f" and {len(files) - 8} more" if len(files) > 8 else "")
