"""What is pending: files → history → plan. Writes nothing, and reads no SQL."""

from __future__ import annotations

from autopilot.errors import Refused, Where
from autopilot.events import Noted
from autopilot.migrations import history as histories
from autopilot.migrations.files import Listing, listing
from autopilot.migrations.plan import Plan, Policy, edited, plan
from autopilot.postgres.session import Connection
from autopilot.workflows.logbook import Wish
from autopilot.workflows.world import World

#: Differences between files and ledger that a release tells one by one.
_TOLD = 3


def read_files(world: World) -> Listing:
    """The migrations directory; what is passed over is told."""
    found = listed_files(world)
    for ignored in found.ignored:
        world.tell(Noted(text=f"Ignored {ignored.name!r}: {ignored.why}."))
    return found


def listed_files(world: World) -> Listing:
    """The migrations directory."""
    return listing(world.settings.migrations_dir, by_name=world.settings.duplicate_versions == "by-name")


def policy(world: World, *, allow_out_of_order: bool, accept_edited: frozenset[str]) -> Policy:
    """What the settings and the command line allow."""
    return Policy(
        allow_out_of_order=allow_out_of_order,
        accept_edited=accept_edited,
        refuse_deleted=world.settings.deleted == "refuse",
    )


def allowed(world: World, wish: Wish) -> Policy:
    """What the settings and the wish allow."""
    return policy(world, allow_out_of_order=wish.allow_out_of_order, accept_edited=wish.accept_edited)


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


def tell_drift(world: World, decided: Plan) -> None:
    """Where files and ledger disagree: what only a look at all of them would show."""
    for drift in decided.drift[:_TOLD]:
        world.tell(Noted(text=f"{drift.message}.", level="warning"))
    if len(decided.drift) > _TOLD:
        world.tell(Noted(text=f"{len(decided.drift) - _TOLD} more differ; `autopilot plan` lists them all.", level="warning"))


def nothing_pending(files: Listing) -> str:
    """Why there is nothing to do."""
    return f"Nothing is pending: {'every file here is applied' if files.files else 'the directory holds no migration'}."


def summary(decided: Plan) -> str:
    """The plan in a sentence."""
    drift = f", {len(decided.drift)} differing from the ledger" if decided.drift else ""
    return f"{len(decided.pending)} pending, {len(decided.applied)} applied{drift}"


def listed(files: tuple[str, ...]) -> str:
    """Files by name, the first few of many."""
    return ", ".join(files[:8]) + (f" and {len(files) - 8} more" if len(files) > 8 else "")
