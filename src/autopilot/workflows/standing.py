"""Where the target stands: `status`, and the way back from there. Writes nothing."""

from __future__ import annotations

from dataclasses import dataclass

from autopilot.audit import reports
from autopilot.audit.reports import LastMigration, LastRun
from autopilot.backups import catalog, fingerprint
from autopilot.backups.catalog import Entry
from autopilot.errors import Refused
from autopilot.migrations.plan import Plan, Policy
from autopilot.postgres.session import Connection, Server, look
from autopilot.rollback.route import Facts, WayBack, way_back
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


def rollback_plan(world: World, *, to: str | None) -> WayBack:
    """`autopilot rollback --plan`: the routes from the last release, or from the run or backup named by `to`.

    Raises Refused (`unknown_run`).
    """
    with reader(world.settings) as connection:
        look(connection)
        found = reports.migration_of(connection, to) if reports.exists(connection) else None
        if to is not None and found is None:
            raise Refused(
                f"No run and no backup is called {to!r}.",
                code="unknown_run",
                hint="`autopilot log` names the runs, `autopilot backup list` the backups.",
            )
        return way_back(_facts(world, connection, found))


def _facts(world: World, connection: Connection, found: LastMigration | None) -> Facts:
    entry = None if found is None or found.backup_file is None else _entry(world, found.backup_file)
    good = entry is not None and entry.state == "good" and entry.manifest is not None
    absent = entry.manifest.absent.schemas if entry is not None and entry.manifest is not None else ()
    without = frozenset(entry.manifest.without_data if entry is not None and entry.manifest is not None else ())
    timeout_s = world.settings.backup_timeout_s
    rows_now = fingerprint.rows(connection, timeout_s=timeout_s, absent=absent, without=without) if good else None
    return Facts(
        run_id=None if found is None else found.run_id,
        status=None if found is None else found.status,
        versions=() if found is None else found.versions,
        backup_file=None if found is None else found.backup_file,
        backup_good=good,
        rows_then=entry.manifest.rows if good and entry is not None and entry.manifest is not None else None,
        rows_now=rows_now,
        without_data=tuple(sorted(without)),
        restore_point=None
        if found is None or found.backup_file is None
        else reports.restore_point(connection, found.backup_file),
    )


def _entry(world: World, file: str) -> Entry | None:
    secrets = world.settings.backup_access.signing
    return next(iter(catalog.entries(world.settings.backups_dir, verify=True, only=file, secrets=secrets)), None)
