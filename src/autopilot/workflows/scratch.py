"""A copy of the target: scratch server → roles → restore → compare. Gone when the block ends."""

from __future__ import annotations

import contextlib
import secrets
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Literal

from autopilot.backups import fingerprint, lent, peopled, restore
from autopilot.backups.dump import Backup
from autopilot.backups.fingerprint import Fingerprint
from autopilot.backups.manifest import Manifest
from autopilot.backups.stubs import StoodIn
from autopilot.clock import elapsed_ms
from autopilot.errors import Refused
from autopilot.postgres import embedded
from autopilot.postgres.address import parameters, spelled
from autopilot.postgres.session import READER_NAME, Connection, look, session
from autopilot.secret import Secret
from autopilot.workflows import ground as grounds
from autopilot.workflows.ground import Ground
from autopilot.workflows.world import World

_DATABASE, _AGAIN = "rehearsal", "rehearsal_again"
#: For who defines what is in it, for who owns it; notes; how to make another; how its superuser reaches one of them.
_Made = tuple[Secret, Secret, tuple[str, ...], Callable[[], Secret | None], Callable[[Secret], Secret] | None]
#: Extensions that reach out of their server, or run jobs.
_CALLS_OUT = frozenset({"dblink", "http", "pg_cron", "pg_net", "postgres_fdw", "wrappers"})
_SUPERUSER = "autopilot_scratch"
#: Ours: a copy need not have them, and gets them before anything is flown there.
_LEDGER = ("automation", "supabase_migrations")

#: "backup": the backup with its rows. "schema": without. "copy": a database that somebody else copied.
CopyKind = Literal["backup", "schema", "copy"]
WITHOUT_ROWS = "there were no rows: what NOT NULL, UNIQUE, CHECK and foreign keys, casts or duration meet there is not known"


@dataclass(frozen=True, slots=True, kw_only=True)
class Copy:
    """A copy of the target to fly on."""

    kind: CopyKind
    #: For the role that owns it.
    url: Secret
    restore_ms: int
    #: Extensions that the scratch server lacks and that something stands in for.
    stood_in: tuple[str, ...]
    server_version: str
    #: Where its server comes from: "debian", "embedded", "yours", …
    origin: str
    tables: int
    rows: int
    #: What a flight here cannot show, in words.
    blind_spots: tuple[str, ...] = ()
    #: Makes another copy of this one, before anything was flown here; None where there cannot be one.
    again: Callable[[], Secret | None] = lambda: None
    #: The URL of a copy, for the superuser of its server; None where the server is not ours.
    by_superuser: Callable[[Secret], Secret] | None = None


def stood_in(extensions: tuple[str, ...]) -> str:
    """What to say of extensions that something stood in for; nothing where there were none."""
    return f"; stood in for: {', '.join(extensions)}" if extensions else ""


def without_rows_of(tables: tuple[str, ...]) -> str:
    """What to say of a backup that some tables' rows are not in."""
    return f"; the rows of {', '.join(tables)} are not in it" if tables else ""


@contextlib.contextmanager
def restored(
    world: World, backup: Backup, ground: Ground, *, run_id: str, lock_table: int = 0, rows: bool = True
) -> Iterator[Copy]:
    """The backup in a scratch server, compared with what was dumped; gone at the end of the block.

    lock_table: the target's, which the scratch server's is at least as large as. rows: False restores the schema alone.
    Raises Refused (`restore_failed`, `extension_missing`, `backup_not_faithful`, `no_room_for_scratch`, `scratch_unfit`,
    and what starting a server raises).
    """
    made = _lent(backup, ground, run_id=run_id) if ground.kind == "lent" else _own(world, backup, ground, lock_table, rows)
    with made as (url, owner_url, notes, again, by_superuser):
        world.reached("R1")
        begun_s = world.clock.monotonic_s()
        found = _restore(world, backup, ground, url, owner_url, rows=rows)
        restore_ms = elapsed_ms(world.clock, begun_s)
        world.reached("R2")
        _compare(url, _loader(ground, owner_url), backup.manifest, found, timeout_s=world.settings.backup_timeout_s, rows=rows)
        yield Copy(
            kind="backup" if rows else "schema", url=owner_url, restore_ms=restore_ms, stood_in=found.words,
            server_version=ground.version, origin=ground.origin, tables=len(backup.manifest.rows),
            rows=sum(backup.manifest.rows.values()) if rows else 0,
            blind_spots=(*_unseen(backup.manifest, rows=rows), *ground.notes, *notes), again=again,
            by_superuser=by_superuser,
        )  # fmt: skip


def _unseen(manifest: Manifest, *, rows: bool) -> tuple[str, ...]:
    if not rows:
        return (WITHOUT_ROWS,)
    names = ", ".join(manifest.without_data)
    return (
        (f"no rows of {names} were there: what stands in their way, and how long they take, is not known",)
        if manifest.without_data
        else ()
    )


@contextlib.contextmanager
def _own(world: World, backup: Backup, ground: Ground, lock_table: int, rows: bool) -> Iterator[_Made]:
    manifest, password = backup.manifest, Secret(secrets.token_urlsafe(24))
    needed = _needed(backup, rows=rows)
    grounds.require_room(world.settings, needed)
    server = embedded.running(
        ground.programs, home_root=world.settings.scratch_dir, superuser=_SUPERUSER,
        settings=grounds.server_settings(lock_table), cut_off=True, by_copy=True,
    )  # fmt: skip
    with server as copy:
        with session(copy.url(), application_name=READER_NAME) as connection:
            restore.prepare(
                connection, manifest.roles, owner=manifest.role, password=password, database=_DATABASE,
                rights=manifest.database_rights,
            )  # fmt: skip

        def again() -> Secret | None:
            place = grounds.scratch_directory(world.settings)
            if shutil.disk_usage(next(p for p in (place, *place.parents) if p.exists())).free < needed:
                return None
            with session(copy.url(), application_name=READER_NAME) as connection:
                peopled.house(connection, _AGAIN, role=manifest.role, rights=manifest.database_rights, like=_DATABASE)
            return copy.url(_AGAIN, user=manifest.role, password=password)

        def by_superuser(url: Secret) -> Secret:
            return copy.url(parameters(url)["dbname"])

        yield copy.url(_DATABASE), copy.url(_DATABASE, user=manifest.role, password=password), (), again, by_superuser


@contextlib.contextmanager
def _lent(backup: Backup, ground: Ground, *, run_id: str) -> Iterator[_Made]:
    if ground.url is None:  # pragma: no cover - a lent ground has one
        raise AssertionError
    manifest = backup.manifest
    with lent.database(ground.url, run_id=run_id, wanted=manifest.roles, owner=manifest.role) as made:
        yield made.url, made.owner_url, made.notes, lambda: None, None


def _needed(backup: Backup, *, rows: bool) -> int:
    m = backup.manifest
    return grounds.needed_bytes(database_bytes=m.database_bytes, archive_bytes=m.plain_size_bytes or m.size_bytes, rows=rows)


def _restore(world: World, backup: Backup, ground: Ground, url: Secret, owner_url: Secret, *, rows: bool) -> StoodIn:
    own, manifest = ground.kind == "own", backup.manifest
    archive = restore.Archive(
        path=backup.path, url=url, client=ground.programs, jobs=grounds.jobs(), timeout_s=world.settings.backup_timeout_s,
        loader=_loader(ground, owner_url),
        wanted=manifest.roles if own else (), absent=manifest.absent,
    )  # fmt: skip
    try:
        return restore.restore(archive, rows=rows)
    except Refused as cause:
        if "No space left on device" not in cause.message or ground.kind != "own":
            raise
        place = grounds.scratch_directory(world.settings)
        free = shutil.disk_usage(next(p for p in (place, *place.parents) if p.exists())).free
        raise grounds.no_room(place, needed=max(_needed(backup, rows=rows), free + 1), free=free) from cause


def _loader(ground: Ground, owner_url: Secret) -> Secret | None:
    """In a server of ours, who makes and reads tables there: whatever that calls is not called by a superuser."""
    return spelled(parameters(owner_url) | {"user": peopled.LOADER}) if ground.kind == "own" else None


def _compare(url: Secret, loader: Secret | None, manifest: Manifest, stood_in: StoodIn, *, timeout_s: float, rows: bool) -> None:
    with session(url, application_name=READER_NAME) as connection:
        with session(loader or url, application_name=READER_NAME) as reader, connection.transaction(), reader.transaction():
            reader.execute("SET TRANSACTION READ ONLY")
            found = fingerprint.read(connection, timeout_s=timeout_s, absent=manifest.absent.schemas, reader=reader)
        if loader is not None:
            peopled.dismiss_loader(connection)
    expected = fingerprint.of(manifest)
    if not rows:
        expected = replace(expected, rows={}, sums={}, sequences={}, large_objects=None)
    different = fingerprint.differences(expected, found, hidden=stood_in.hides)
    if different:
        raise Refused(
            f"The backup does not restore to what was dumped: {'; '.join(different[:3])}.",
            code="backup_not_faithful",
            hint="Do not rely on this backup. Run again; if it stays so, report it with `autopilot --version`.",
        )


@contextlib.contextmanager
def standing_copy(
    world: World, url: Secret, ground: Ground, *, target: Connection, blind_spots: tuple[str, ...]
) -> Iterator[Copy]:
    """A database that is a copy of the target already; flown on as it is, and changed by that.

    Raises Refused (`scratch_not_a_copy`), and what connecting and making the ledger raise.
    """
    from autopilot.audit import schema

    begun_s = world.clock.monotonic_s()
    objects = _without_ledger(fingerprint.objects(target))
    with session(url, application_name=READER_NAME) as connection:
        different = fingerprint.differences(
            Fingerprint(objects=objects), Fingerprint(objects=_without_ledger(fingerprint.objects(connection)))
        )
        if different:
            raise Refused(
                f"The database to rehearse on is no copy of the target as it is now: {'; '.join(different[:3])}.",
                code="scratch_not_a_copy",
                hint="Make a fresh branch or copy of the target, and set AUTOPILOT_SCRATCH_URL to it.",
            )
        schema.ensure(connection, look(connection))
        calls_out = _calling_out(connection)
    world.reached("R1")
    yield Copy(
        kind="copy", url=url, restore_ms=elapsed_ms(world.clock, begun_s), stood_in=(), server_version=ground.version,
        origin=ground.origin, tables=sum(name.startswith("table ") for name in objects), rows=0,
        blind_spots=(*ground.notes, *blind_spots, *calls_out),
    )  # fmt: skip


def _calling_out(connection: Connection) -> tuple[str, ...]:
    """What on a copy that is none of ours would reach out of it, in words."""
    found = {row[0] for row in connection.execute("SELECT extname::text FROM pg_catalog.pg_extension")}
    real = sorted(found & _CALLS_OUT)
    return (f"the copy has {', '.join(real)}: what is called or scheduled there is real",) if real else ()


def _without_ledger(objects: dict[str, str]) -> dict[str, str]:
    """The objects but for ours, which a first run has just made."""
    return {
        name: digest
        for name, digest in objects.items()
        if not any(f" {schema}." in name or name.endswith(f"schema {schema}") or f" on {schema}." in name for schema in _LEDGER)
    }
