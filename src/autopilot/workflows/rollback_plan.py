"""The ways back from where the target stands, and what each would lose: `rollback --plan`. Writes nothing."""

from __future__ import annotations

from dataclasses import replace

from autopilot.audit import reports, ways_back
from autopilot.audit.reports import LastMigration
from autopilot.audit.ways_back import Release
from autopilot.backups import catalog, fingerprint
from autopilot.backups.catalog import Entry
from autopilot.errors import Refused
from autopilot.postgres.session import Connection, look
from autopilot.rollback import reverse, trash
from autopilot.rollback.aligned import at_keys
from autopilot.rollback.route import Facts, Held, InTheWay, Step, WayBack, way_back
from autopilot.rollback.snapshot import decode, read
from autopilot.workflows.reading import reader
from autopilot.workflows.rollback import pick
from autopilot.workflows.world import World


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
        releases = ways_back.releases(connection) if found is not None and ways_back.known(connection) else ()
        return way_back(_facts(world, connection, found, _chosen(releases, to=to), to=to))


def _chosen(releases: tuple[Release, ...], *, to: str | None) -> tuple[Release, ...]:
    """The releases that `rollback` would go back on; none where what is named is not in."""
    try:
        return pick(releases, to=to)
    except Refused:
        return ()


def _facts(
    world: World, connection: Connection, found: LastMigration | None, chosen: tuple[Release, ...], *, to: str | None
) -> Facts:
    last = None if found is None else _last(found, chosen, to=to)
    if found is not None and chosen and found.status != "pending":
        # what a restore would bring is the state before the oldest of them
        found = replace(found, run_id=chosen[0].run_id, status="success", backup_file=chosen[-1].backup_file)
    elif found is not None and found.status == "success":
        found = replace(found, status="rollback")
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
        steps=tuple(_step(connection, release) for release in chosen),
        in_the_way=_in_the_way(connection, chosen),
        to=to,
        last=last,
    )


def _last(found: LastMigration, chosen: tuple[Release, ...], *, to: str | None) -> str | None:
    """The newest run, where it left nothing in."""
    if found.run_id in {r.run_id for r in chosen} or found.status == "pending":
        return None
    if to is not None and found.status in {"success", "rollback"}:
        return f"Nothing of {to} is in: it was gone back on."
    if found.status == "rollback":
        return f"The last run ({found.run_id}) went back on {', '.join(found.versions)}."
    return f"The run {found.run_id} was rolled back or refused: the database is as it was before it."


def _step(connection: Connection, release: Release) -> Step:
    return Step(
        run_id=release.run_id, versions=release.versions, is_whole=release.is_whole, proven=release.proven, loses=release.loses,
        recorded=release.has_before, held=_held(connection, release),
    )  # fmt: skip


def _held(connection: Connection, release: Release) -> tuple[Held, ...] | None:
    try:
        kept = trash.listed(connection, run_id=release.kept_as) if release.kept_as else ()
    except Refused:  # nobody but its owner may look into it
        return None
    return tuple(
        Held(name=k.name, how=k.how, rows=None if k.how == "move" else k.rows, size_bytes=k.size_bytes)
        for k in kept
        if k.restored_at is None and k.how != "conflicts"
    )


def _in_the_way(connection: Connection, chosen: tuple[Release, ...]) -> InTheWay:
    """Of the newest only: what stands in the way of the others shows once that is undone."""
    if not chosen or not chosen[0].has_before or not chosen[0].has_after or not ways_back.may_undo(connection):
        return InTheWay()
    before, after = ways_back.snapshots(connection, chosen[0].migration_log_id)
    places = ways_back.remade_since(connection, chosen[0].migration_log_id)
    then, left = (at_keys(decode(text), places) for text in (before or "", after or ""))
    reversal = reverse.way_back(then, left, read(connection), token="plan")  # noqa: S106 - it begins names
    return InTheWay(conflicts=reversal.conflicts, to_trash=tuple(t.origin for t in reversal.moves_to_trash))


def _entry(world: World, file: str) -> Entry | None:
    secrets = world.settings.backup_access.signing
    return next(iter(catalog.entries(world.settings.backups_dir, verify=True, only=file, secrets=secrets)), None)
