"""Route 4: a backup takes the place of everything in the role's schemas; what was there stays beside it, in quarantine.

choose → check and open → (staged: build beside the live data, compare) → one transaction: aside, in place, proven, the caller's
rows about it → COMMIT. Before that COMMIT the schemas are as they were; after it the backup answers. There is nothing between.
"""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import psycopg

from autopilot.backups import catalog, fingerprint, platform, references
from autopilot.backups.manifest import Manifest
from autopilot.backups.replay import Replay
from autopilot.clock import elapsed_ms
from autopilot.errors import AutopilotError, Refused, RolledBack, Stranded
from autopilot.events import Noted, Step, told
from autopilot.postgres import clients
from autopilot.postgres.session import Connection, look, require_writable, session
from autopilot.rollback.live import quoted
from autopilot.rollback.quarantine import in_place, staged
from autopilot.rollback.quarantine.in_place import Asked, Replaced
from autopilot.workflows.applying import what_became_of
from autopilot.workflows.catching_up import CatchingUp, Since
from autopilot.workflows.opening import opened, warn_of_strangers
from autopilot.workflows.reading import reached
from autopilot.workflows.world import World

_TOKEN_BYTES = 4

#: Called within the transaction, once everything is proven: the ledger's rows about it.
Record = Callable[[Connection, Replaced], None]


def _nothing(_connection: Connection, _replaced: Replaced) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """A backup that is in place and committed."""

    manifest: Manifest
    replaced: Replaced
    staged: bool
    #: From the first lock to the acknowledged COMMIT: so long, at most, the application stood still.
    stalled_ms: int
    duration_ms: int
    #: What others wrote since the backup and is in again; None where that was not asked for.
    transactions: int | None = None
    rows: int | None = None

    @property
    def sentences(self) -> tuple[str, ...]:
        """What a person should know of it."""
        r = self.replaced
        since = (f"{self.transactions or 0:,} transactions of others since the backup, {self.rows or 0:,} rows, are in again",)
        return (
            *(since if self.transactions else ()),
            *(
                f"what was in {schema} lies in {aside}, with every row written since"
                for schema, aside in sorted(r.quarantines.items())
            ),
            *(f"{table}: the backup does not hold its rows; the {rows} live ones stay" for table, rows in sorted(r.kept.items())),
            *(one.words for one in r.settled),
            *(f"{what} still hangs on the quarantine: the backup has nothing of that name" for what in r.left),
        )


def restore_in_place(
    world: World, *, file: str, run_id: str, stage: bool = False, record: Record = _nothing, lock_wait_s: float = 30.0,
    since: Since | None = None,
) -> Restored:  # fmt: skip
    """Puts the backup called `file` in place and commits. The caller holds the run's lock.

    stage: build beside the live data first, so that the application stands still for the swap alone.
    record: writes the ledger's rows, in the same transaction.
    since: what others wrote since the backup is written into it too, or nothing is changed; it is staged then.
    Raises Refused (`no_backup`, `backup_damaged`, `backup_of_another`, `backup_newer_than_server`, and what `opened` and
    `in_place.plan` raise); RolledBack; Stranded (`commit_unknown`).
    """
    stage = stage or since is not None
    begun_s = world.clock.monotonic_s()
    with told(world.tell, world.clock, "choose", f"Checking {file}") as step:
        manifest = chosen(world, file)
        step.says(f"{file}, {manifest.size_bytes:,} bytes, taken {manifest.taken_at:%Y-%m-%d %H:%M} UTC, is what was made")
    with (
        told(world.tell, world.clock, "restore", "Putting the backup in place") as step,
        _source(world, step, manifest) as backup,
    ):
        with session(reached(world.settings).url, application_name=f"autopilot:{run_id}") as connection, _lost():
            require_fitting(connection, manifest)
            asked = _asked(world, manifest, run_id=run_id, lock_wait_s=lock_wait_s)
            ready = _ready(world, connection, backup, asked, keys_later=since is not None) if stage else None
            with _swept(connection, staged_too=stage):
                behind = _caught_up(step, connection, asked, ready, since)
                replaced, stalled_ms = _swap(world, connection, backup, asked, ready, record, behind)
            _settle_down(world, connection, replaced)
        step.says(
            f"{sum(replaced.rows.values()):,} rows of {len(replaced.rows)} tables put back, proven;"
            f" what was there lies in {', '.join(sorted(replaced.quarantines.values()))}"
        )
    return Restored(
        manifest=manifest, replaced=replaced, staged=stage, stalled_ms=stalled_ms, duration_ms=elapsed_ms(world.clock, begun_s),
        transactions=None if behind is None else behind.progress.transactions,
        rows=None if behind is None else behind.progress.rows,
    )  # fmt: skip


def chosen(world: World, file: str) -> Manifest:
    """The manifest of a backup whose file was hashed.

    Raises Refused (`no_backup`, `backup_damaged`), naming the next older good one.
    """
    secret, directory = world.settings.backup_access.signing, world.settings.backups_dir
    found = catalog.entries(directory, verify=True, only=file, secrets=secret)
    entry = found[0] if found else None
    if entry is not None and entry.state == "good" and entry.manifest is not None:
        return entry.manifest
    older = catalog.older_good(directory, file, secrets=secret)
    hint = f"The next older good one is {older}." if older else "There is no older good one."
    if entry is None:
        raise Refused(f"There is no backup called {file} in {directory}.", code="no_backup", hint=hint)
    raise Refused(f"The backup {file} cannot be put back: {entry.why}.", code="backup_damaged", hint=f"Do not rely on it. {hint}")


def require_fitting(connection: Connection, manifest: Manifest) -> None:
    """It is this database's, and no newer than this server. Raises Refused (`backup_of_another`, `backup_newer_than_server`)."""
    server = look(connection)
    require_writable(server)
    here = references.identity(connection)
    known = here.system_identifier is not None and manifest.system_identifier is not None
    if here.database != manifest.database or (known and here.system_identifier != manifest.system_identifier):
        raise Refused(
            f"The backup is of the database {manifest.database}, of another server or name than {here.database} here.",
            code="backup_of_another", hint="Name a backup of this database; `autopilot backup list` shows them.",
        )  # fmt: skip
    if int(manifest.server_version.split(".", 1)[0]) > server.major:
        raise Refused(
            f"The backup is of PostgreSQL {manifest.server_version}, the server runs {server.version}.",
            code="backup_newer_than_server", hint="Restore it into a server of its own version.",
        )  # fmt: skip


def asked_never(manifest: Manifest) -> frozenset[str]:
    """Schemas that a restore leaves alone: the platform's, and those that the backup does not hold."""
    return frozenset({*platform.PLATFORM, *manifest.absent.schemas})


@contextlib.contextmanager
def replay(world: World, step: Step, manifest: Manifest) -> Iterator[Replay]:
    """The backup's archive, decrypted where it must be. Raises what `opened` raises, and Refused (`client_too_old`)."""
    found = clients.installations(world.settings.postgres_bin_dir)
    client = clients.for_dump(found, server_major=int(manifest.tool_version.split(".", 1)[0]))
    warn_of_strangers(world, client, manifest)
    with opened(world, step, world.settings.backups_dir / manifest.file, manifest) as backup:
        yield Replay(path=backup.path, client=client, timeout_s=world.settings.backup_timeout_s)


@contextlib.contextmanager
def _source(world: World, step: Step, manifest: Manifest) -> Iterator[in_place.Backup]:
    with replay(world, step, manifest) as archive:
        yield in_place.Backup(
            file=manifest.file, archive=archive, objects=manifest.objects, rows=manifest.rows, sums=manifest.sums,
            without_data=manifest.without_data, database_bytes=manifest.database_bytes or 0,
        )  # fmt: skip


def _asked(world: World, manifest: Manifest, *, run_id: str, lock_wait_s: float) -> Asked:
    absent = manifest.absent.schemas
    return Asked(
        token=secrets.token_hex(_TOKEN_BYTES), run_id=run_id, never=asked_never(manifest),
        digests=lambda c, without: fingerprint.objects(c, absent=(*absent, *without)), timeout_s=world.settings.backup_timeout_s,
        lock_wait_s=lock_wait_s, reached=world.reached, monotonic_s=world.clock.monotonic_s,
    )  # fmt: skip


def _ready(world: World, connection: Connection, backup: in_place.Backup, asked: Asked, *, keys_later: bool) -> staged.Staged:
    """The backup beside the live data, compared with its fingerprint, committed; nobody stood still for it."""
    for name in staged.sweep(connection):
        world.tell(Noted(text=f"What an earlier run left half ready is gone: {name}."))

    def found(there: Connection, schemas: tuple[str, ...]) -> tuple[dict[str, int], dict[str, str]]:
        others = tuple(r[0] for r in there.execute("SELECT nspname::text FROM pg_catalog.pg_namespace") if r[0] not in schemas)
        read = fingerprint.read(there, timeout_s=asked.timeout_s, absent=others)
        return dict(read.rows), dict(read.sums)

    with connection.transaction():
        return staged.build(connection, backup, asked, sums=found, keys_later=keys_later)


def _caught_up(
    step: Step, connection: Connection, asked: Asked, ready: staged.Staged | None, since: Since | None
) -> CatchingUp | None:
    if ready is None or since is None:
        return None
    behind = CatchingUp(since=since, connection=connection, asked=asked, ready=ready, step=step)
    behind.ahead()
    return behind


@contextlib.contextmanager
def _swept(connection: Connection, *, staged_too: bool) -> Iterator[None]:
    """What was made ready goes where it does not come into its place."""
    try:
        yield
    except BaseException:
        with contextlib.suppress(psycopg.Error, AutopilotError):
            if staged_too:
                staged.sweep(connection)
        raise


def _swap(
    world: World, connection: Connection, backup: in_place.Backup, asked: Asked, ready: staged.Staged | None, record: Record,
    behind: CatchingUp | None,
) -> tuple[Replaced, int]:  # fmt: skip
    connection.execute("BEGIN")
    try:
        replaced = _exchanged(connection, backup, asked, ready, behind)
        record(connection, replaced)
        row = connection.execute("SELECT pg_catalog.pg_current_xact_id()::text").fetchone() or ("",)
        asked.reached("X6")
    except BaseException:
        with contextlib.suppress(psycopg.Error):
            connection.rollback()
        raise
    _commit(world, connection, row[0])
    stalled_ms = elapsed_ms(world.clock, replaced.locked_at_s)
    asked.reached("X7")
    return replaced, stalled_ms


def _exchanged(
    connection: Connection, backup: in_place.Backup, asked: Asked, ready: staged.Staged | None, behind: CatchingUp | None
) -> Replaced:
    if ready is None:
        return in_place.restore(connection, backup, asked)
    return staged.swap(connection, backup, asked, ready, catch_up=None if behind is None else behind.rest)


def _commit(world: World, connection: Connection, xid: str) -> None:
    """Raises RolledBack (`commit_lost`) or Stranded (`commit_unknown`) where the answer was lost and is not to be had."""
    try:
        connection.execute("COMMIT")
    except psycopg.OperationalError as cause:
        state = what_became_of(world, xid)
        if state == "committed":
            return
        if state == "aborted":
            raise RolledBack(
                "The link was lost at COMMIT, and the server rolled back.", code="commit_lost", hint="Run again.", retryable=True
            ) from cause
        raise Stranded(
            f"The link was lost at COMMIT, and the server does not say what came of it (transaction {xid}).",
            code="commit_unknown",
            hint=f"Ask it once it answers: SELECT pg_xact_status('{xid}'). Committed: the backup is in place.",
        ) from cause


def _settle_down(world: World, connection: Connection, replaced: Replaced) -> None:
    """Statistics for the planner, after the fact; without them the restore is as good, and queries slower for a while."""
    for table in sorted(replaced.rows):
        schema, _, name = table.partition(".")
        try:
            connection.execute(f"ANALYZE {quoted(schema)}.{quoted(name)}".encode())
        except psycopg.Error as cause:
            world.tell(Noted(text=f"{table} was not analyzed: {' '.join(str(cause).split())[:200]}", level="warning"))
            return


@contextlib.contextmanager
def _lost() -> Iterator[None]:
    """A link that is lost before COMMIT was sent: the server rolls back."""
    try:
        yield
    except psycopg.OperationalError as cause:
        raise RolledBack(
            f"The connection was lost: {' '.join(str(cause).split())[:200]}", code="restore_cut_off",
            hint="Check the network and the server, then run again.", retryable=True,
        ) from cause  # fmt: skip
