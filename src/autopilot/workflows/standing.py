"""Where the target stands: `status`. Writes nothing."""

from __future__ import annotations

from dataclasses import dataclass

from autopilot.audit import reports
from autopilot.audit.reports import LastRun
from autopilot.backups import catalog
from autopilot.backups.catalog import Entry
from autopilot.migrations.plan import Plan, Policy
from autopilot.postgres.session import Connection, Server, look
from autopilot.workflows import planning, proven
from autopilot.workflows.proven import RestoreTestStanding
from autopilot.workflows.reading import reader
from autopilot.workflows.world import World


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    server: Server
    plan: Plan
    last_run: LastRun | None
    last_backup: Entry | None
    open_incidents: int
    restore_test: RestoreTestStanding


def standing(world: World) -> Standing:
    """`autopilot status`."""
    files = planning.read_files(world)
    with reader(world.settings) as connection:
        server = look(connection)
        decided = planning.weigh(files, connection, Policy(allow_out_of_order=True))
        known = reports.exists(connection)
        last_run = reports.last_run(connection) if known else None
        incidents = reports.open_incidents(connection) if known else 0
        tests = proof(world, connection)
    backups = catalog.entries(world.settings.backups_dir, verify=False, secrets=world.settings.backup_access.signing)
    return Standing(
        server=server,
        plan=decided,
        last_run=last_run,
        last_backup=next((b for b in backups if b.manifest is not None and b.manifest.database == server.database), None),
        open_incidents=incidents,
        restore_test=tests,
    )


def proof(world: World, connection: Connection) -> RestoreTestStanding:
    """How well the target's backups are proven, as its audit trail tells."""
    last, good = reports.restore_tests(connection)
    return proven.standing(last, good, every_s=world.settings.restore_test_every_s, now=world.clock.now())
