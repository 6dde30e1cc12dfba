"""Everything that can be refused, and the run that finds nothing to do, without taking the lock.

look → plan → (at rest?) → segments → rights → room → tools
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from autopilot.audit import journal, outbox, schema
from autopilot.errors import Refused
from autopilot.events import told
from autopilot.migrations.files import Listing
from autopilot.migrations.plan import Plan
from autopilot.postgres.session import READER_NAME, Connection, Server, look, require_writable, resolved, session
from autopilot.workflows import planning
from autopilot.workflows.logbook import Logbook, Wish
from autopilot.workflows.world import World

if TYPE_CHECKING:
    from collections.abc import Callable

    from autopilot.backups.restore_points import Target
    from autopilot.migrations.lint import Report
    from autopilot.migrations.segments import Migration
    from autopilot.postgres.clients import Installation
    from autopilot.workflows.ground import Ground
    from autopilot.workflows.net import Net


@dataclass(frozen=True, slots=True, kw_only=True)
class Tools:
    """The programs a release needs, found before anything is touched."""

    dump_client: Installation | None = None
    #: What the backup will be: a whole dump, one without some rows, a restore point.
    net: Net | None = None
    scratch: Ground | None = None
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
    #: Notices of earlier runs wait to be told.
    untold: bool


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
            untold = bool(world.settings.channels) and outbox.Box(connection).any_waiting()
            planning.tell_drift(world, plan)
            return AtRest(summary=planning.nothing_pending(files), untold=untold)
        return _cleared(world, wish, book, files, plan, server, connection)


def _is_at_rest(plan: Plan) -> bool:
    return not (plan.pending or plan.renamed or plan.accepted)


def _cleared(
    world: World, wish: Wish, book: Logbook, files: Listing, plan: Plan, server: Server, connection: Connection
) -> Cleared:
    from autopilot.deploys import hosts
    from autopilot.migrations import lint
    from autopilot.postgres.pooler import require_direct

    hosts.chosen(world.settings)
    require_direct(connection, lambda: session(world.database_url, application_name=READER_NAME))
    book.pending, book.files = tuple(f.version for f in plan.pending), tuple(f.file for f in plan.pending)
    pending = _cut(plan, connection) if plan.pending else ()
    linted = lint.begun(pending, server_major=server.major)
    if pending:
        _may_run(world, wish, pending)
    schema.require_rights(connection, server)
    if wish.backup and pending:
        from autopilot.backups import dump
        from autopilot.workflows import net as nets
        from autopilot.workflows.backing_up import safekeeping

        safekeeping(world.settings)
        chosen = nets.of(world.settings, connection)
        dump.prepare(world.settings.backups_dir, database_bytes=chosen.dumped_bytes)
    found = tools(world, wish, server, connection) if pending else Tools()
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


def tools(world: World, wish: Wish, server: Server, connection: Connection) -> Tools:
    """What the net under the release is made of, and with which programs. Raises Refused where something is missing."""
    if not wish.backup:
        return Tools()
    from autopilot.postgres import clients
    from autopilot.workflows import net as nets
    from autopilot.workflows.ground import IMPOSSIBLE

    found = clients.installations(world.settings.postgres_bin_dir)
    dump_client = clients.for_dump(found, server_major=server.major)
    chosen = nets.of(world.settings, connection)
    if chosen.kind == "restore_point":
        _require_provider(world, chosen, connection)
    whole = Tools(dump_client=dump_client, net=chosen)
    if not wish.rehearsal or world.settings.rehearsal == "off":
        return whole
    try:
        return replace(whole, scratch=_ground(world, found, dump_client, server, chosen))
    except Refused as cause:
        if world.settings.rehearsal != "auto" or cause.code not in IMPOSSIBLE:
            raise
        return replace(whole, no_scratch=cause.message)


def _require_provider(world: World, chosen: Net, connection: Connection) -> None:
    """A restore point can be had, as far as that shows before one is asked for."""
    from autopilot.backups.restore_points import PROVIDERS

    where = target_of(world, connection)
    PROVIDERS[chosen.provider].check(world.settings.providers, where, request=world.request, clock=world.clock)


def target_of(world: World, connection: Connection) -> Target:
    """The database as a provider has to know it."""
    from autopilot.backups.restore_points import Target
    from autopilot.postgres.address import parameters

    row = connection.execute("SELECT pg_catalog.clock_timestamp()").fetchone()
    return Target(parameters=parameters(world.database_url), now=world.clock.now() if row is None else row[0])


def _ground(world: World, found: tuple[Installation, ...], dump_client: Installation, server: Server, chosen: Net) -> Ground:
    """Where the copy will be made. Raises Refused, with a code of `ground.IMPOSSIBLE` where none can be made here."""
    from autopilot.workflows import ground

    s, rows = world.settings, world.settings.rehearsal != "schema"
    if s.scratch_url is not None and (s.scratch_is_copy or chosen.kind != "restore_point" or not rows):
        return ground.lent(
            resolved(s.scratch_url, tls_verify=s.tls_verify, ca_file=s.tls_ca_file).url, dump_client, target=world.database_url,
            server_major=server.major, lock_table=server.lock_table, is_copy=s.scratch_is_copy,
        )  # fmt: skip
    if chosen.kind == "restore_point" and rows:
        return ground.branch(chosen.provider, dump_client, version=server.version)
    own = ground.own(found, server_major=server.major, at_least=dump_client.major)
    ground.require_room(s, ground.needed_bytes(database_bytes=chosen.dumped_bytes, archive_bytes=0, rows=rows))
    return own
