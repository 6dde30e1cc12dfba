"""Everything that can be refused, and the run that finds nothing to do, without taking the lock.

look → plan → (at rest?) → segments → rights → room → tools
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from autopilot.audit import journal, schema
from autopilot.errors import Refused
from autopilot.events import told
from autopilot.migrations.files import Listing
from autopilot.migrations.plan import Plan
from autopilot.postgres.session import READER_NAME, Connection, Server, look, require_writable, session, size_bytes
from autopilot.workflows import planning
from autopilot.workflows.logbook import Logbook, Wish
from autopilot.workflows.world import World

if TYPE_CHECKING:
    from collections.abc import Callable

    from autopilot.migrations.lint import Report
    from autopilot.migrations.segments import Migration
    from autopilot.postgres.clients import Installation


@dataclass(frozen=True, slots=True, kw_only=True)
class Tools:
    """The programs a release needs, found before anything is touched."""

    dump_client: Installation | None = None
    scratch: Installation | None = None
    #: Why there is no scratch server although one was asked for.
    no_scratch: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Cleared:
    """Nothing stands against the release so far."""

    files: Listing
    server: Server
    tools: Tools
    #: The pending files as they were cut; under the lock it may turn out that others are pending.
    pending: tuple[Migration, ...]
    #: Waits for what the linter says of them, while it is on its way.
    linted: Callable[[], Report]


@dataclass(frozen=True, slots=True, kw_only=True)
class AtRest:
    """Nothing is pending and nothing was left open: the run is over, and written down."""

    summary: str


def preflight(world: World, wish: Wish, book: Logbook, files: Listing) -> Cleared | AtRest:
    """Raises Refused and UsageError for whatever can be said against the release without writing a byte on the target."""
    with (
        told(world.tell, world.clock, "connect", "Looking at the target") as step,
        session(world.database_url, application_name=READER_NAME) as connection,
    ):
        world.reached("L2")
        server = look(connection)
        require_writable(server)
        plan = planning.decide(files, connection, planning.allowed(world, wish))
        step.says(f"PostgreSQL {server.version}, database {server.database}, role {server.role}")
        if _is_at_rest(plan) and schema.is_current(connection) and journal.is_at_rest(connection):
            schema.admit(connection, admins=world.settings.admins)
            journal.nothing_to_do(connection, wish.run)
            return AtRest(summary="Nothing is pending: every file here is applied.")
        return _cleared(world, wish, book, files, plan, server, connection)


def _is_at_rest(plan: Plan) -> bool:
    return not (plan.pending or plan.renamed or plan.accepted)


def _cleared(
    world: World, wish: Wish, book: Logbook, files: Listing, plan: Plan, server: Server, connection: Connection
) -> Cleared:
    from autopilot.migrations import lint
    from autopilot.postgres.pooler import require_direct

    require_direct(connection, lambda: session(world.database_url, application_name=READER_NAME))
    book.pending, book.files = tuple(f.version for f in plan.pending), tuple(f.file for f in plan.pending)
    pending = _cut(plan, connection) if plan.pending else ()
    linted = lint.begun(pending, server_major=server.major)
    if pending:
        _may_run(world, wish, pending)
    schema.require_rights(connection, server)
    if wish.backup and pending:
        from autopilot.backups import dump
        from autopilot.workflows.backing_up import safekeeping

        safekeeping(world.settings)
        dump.prepare(world.settings.backups_dir, database_bytes=size_bytes(connection))
    found = tools(world, wish, server) if pending else Tools()
    return Cleared(files=files, server=server, tools=found, pending=pending, linted=linted)


def _cut(plan: Plan, connection: Connection) -> tuple[Migration, ...]:
    from autopilot.workflows import cutting

    return cutting.migrations(plan, connection)


def _may_run(world: World, wish: Wish, pending: tuple[Migration, ...]) -> None:
    from autopilot.workflows import cutting

    order = cutting.in_order(pending, wish)
    cutting.refuse_apart(world, order.now)
    if not (wish.backup or wish.destroy_data):  # what waits for a deploy that this run cannot prove will not run in it
        cutting.refuse_loss(order.now if cutting.never_proven(world, wish) else order.all)


def tools(world: World, wish: Wish, server: Server) -> Tools:
    """The client programs and the scratch server's. Raises Refused where one that is needed is missing."""
    if not wish.backup:
        return Tools()
    from autopilot.postgres import clients

    found = clients.installations(world.settings.postgres_bin_dir)
    dump_client = clients.for_dump(found, server_major=server.major)
    if not wish.rehearsal or world.settings.rehearsal == "off":
        return Tools(dump_client=dump_client)
    try:
        scratch = clients.for_scratch(found, server_major=server.major, at_least=dump_client.major)
    except Refused as cause:
        if world.settings.rehearsal == "required":
            raise
        return Tools(dump_client=dump_client, no_scratch=cause.message)
    return Tools(dump_client=dump_client, scratch=scratch)
