"""Rehearses a release: scratch server → roles → restore → compare → apply by the very code of production."""

from __future__ import annotations

import contextlib
import itertools
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, replace

from autopilot.backups import fingerprint, restore
from autopilot.backups.dump import Backup
from autopilot.backups.manifest import Manifest
from autopilot.backups.restore import StoodIn
from autopilot.clock import elapsed_ms
from autopilot.errors import AutopilotError, Refused
from autopilot.events import Step
from autopilot.migrations import apply as applying
from autopilot.migrations import catalog
from autopilot.migrations.locks import Lock, strongest
from autopilot.migrations.segments import Migration
from autopilot.migrations.unit import lock_room
from autopilot.migrations.wire import Limits, Stamp
from autopilot.postgres import embedded
from autopilot.postgres.clients import Installation
from autopilot.postgres.session import READER_NAME, Server, look, session
from autopilot.secret import Secret
from autopilot.workflows.outcome import Rehearsed
from autopilot.workflows.world import World

_DATABASE = "rehearsal"
_SUPERUSER = "autopilot_scratch"


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """A backup that came back as it was, in a scratch server."""

    #: For the role that owns it.
    url: Secret
    restore_ms: int
    #: Extensions that the scratch server lacks and that something stands in for.
    stood_in: tuple[str, ...]


def stood_in(extensions: tuple[str, ...]) -> str:
    """What to say of extensions that something stood in for; nothing where there were none."""
    return f"; stood in for: {', '.join(extensions)}" if extensions else ""


def rehearse(
    world: World, step: Step, *, backup: Backup, batches: tuple[tuple[Migration, ...], ...],
    server: Server, scratch: Installation, stamp: Stamp,
) -> Rehearsed:  # fmt: skip
    """Applies `batches`, each as production would get it, to a scratch server that holds the restored backup.

    Raises Refused: `refused_in_rehearsal` when a migration fails there, and for a rehearsal that cannot be made.
    """
    with restored(world, backup, scratch) as copy:
        step.progress(0, sum(map(len, batches)), "files")
        begun_s = world.clock.monotonic_s()
        with session(copy.url, application_name=READER_NAME) as connection:
            there = catalog.relations(connection)
        flown = [_fly(world, step, copy.url, batch, server, stamp, there) for batch in batches]
        return Rehearsed(
            server_version=scratch.version,
            origin=scratch.origin,
            restored_tables=len(backup.manifest.rows),
            restored_rows=sum(backup.manifest.rows.values()),
            restore_ms=copy.restore_ms,
            stood_in=copy.stood_in,
            locks=strongest(lock for locks in flown for lock in locks),
            apply_ms=elapsed_ms(world.clock, begun_s),
        )


@contextlib.contextmanager
def restored(world: World, backup: Backup, scratch: Installation) -> Iterator[Restored]:
    """The backup in a scratch server, compared with what was dumped; gone at the end of the block.

    Raises Refused (`restore_failed`, `extension_missing`, `backup_not_faithful`, and what starting a server raises).
    """
    password, manifest, timeout_s = Secret(secrets.token_urlsafe(24)), backup.manifest, world.settings.backup_timeout_s
    with embedded.running(scratch, superuser=_SUPERUSER) as copy:
        with session(copy.url(), application_name=READER_NAME) as connection:
            restore.prepare(connection, manifest.roles, owner=manifest.role, password=password, database=_DATABASE)
        world.reached("R1")
        begun_s = world.clock.monotonic_s()
        stood_in = restore.restore(backup.path, copy.url(_DATABASE), client=scratch, jobs=2, timeout_s=timeout_s)
        restore_ms = elapsed_ms(world.clock, begun_s)
        world.reached("R2")
        _compare(copy.url(_DATABASE), manifest, stood_in, timeout_s=timeout_s)
        yield Restored(
            url=copy.url(_DATABASE, user=manifest.role, password=password), restore_ms=restore_ms, stood_in=stood_in.extensions
        )


def _compare(url: Secret, manifest: Manifest, stood_in: StoodIn, *, timeout_s: float) -> None:
    with session(url, application_name=READER_NAME) as connection, connection.transaction():
        found = fingerprint.read(connection, timeout_s=timeout_s)
    different = fingerprint.differences(fingerprint.of(manifest), found, hidden=stood_in.hides)
    if different:
        raise Refused(
            f"The backup does not restore to what was dumped: {'; '.join(different[:3])}.",
            code="backup_not_faithful",
            hint="Do not rely on this backup. Run again; if it stays so, report it with `autopilot --version`.",
        )


def _fly(
    world: World,
    step: Step,
    url: Secret,
    migrations: tuple[Migration, ...],
    server: Server,
    stamp: Stamp,
    there: list[int],
) -> tuple[Lock, ...]:
    """Returns the locks on the relations `there`, as held just before each COMMIT; by its text for what had none."""
    seen: list[Lock] = []

    def reached(point: str) -> None:
        if point == "A6":
            seen.extend(catalog.held(ledger, connection.info.backend_pid, there))
        elif point == "A2":
            world.reached("R3")

    with (
        session(url, application_name="autopilot-rehearsal") as connection,
        session(url, application_name="autopilot-rehearsal") as ledger,
    ):
        target = applying.Target(
            connection=connection,
            ledger=ledger,
            limits=Limits(
                apply_timeout_s=world.settings.apply_timeout_s, checks_client=look(connection).checks_client, lock_tries=1
            ),
            clock=world.clock,
            chance=world.chance,
            settle=lambda _xid: "unknown",
            transaction=world.settings.transaction,
            lock_room=lock_room(server.lock_table),
            progress=lambda done, total: step.progress(done, total, "files"),
            reached=reached,
        )
        try:
            applying.apply(migrations, target, replace(stamp, triggered_by="rehearsal"))
        except AutopilotError as cause:
            raise refused(cause) from cause
    alone = (e.locks for m in migrations for s, e in zip(m.statements, m.effects, strict=False) if s.alone_because)
    return strongest((*seen, *itertools.chain.from_iterable(alone)))


def refused(cause: AutopilotError) -> Refused:
    """A failure on the copy, told as what it means for production."""
    return Refused(
        f"Refused in rehearsal, on a copy of the target: {cause.message}",
        code="refused_in_rehearsal",
        state="Nothing was touched: the target never saw the migration.",
        hint=cause.hint,
        where=cause.where,
    )
