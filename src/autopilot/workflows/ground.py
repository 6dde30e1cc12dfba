"""Where a copy of the target is made: a scratch server of our own, one that the user lends, or a copy that is there already."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from autopilot.backups.lent import unfit
from autopilot.backups.restore_points import PROVIDERS
from autopilot.config import Settings
from autopilot.config_file import Provider
from autopilot.errors import Refused
from autopilot.measures import size_in_words
from autopilot.postgres import clients, homes, identity
from autopilot.postgres.clients import Installation
from autopilot.postgres.session import READER_NAME, look, session
from autopilot.secret import Secret

#: "own": a server of ours. "lent": a database of ours on the user's. "copy": the user's database is the copy.
GroundKind = Literal["own", "lent", "copy"]

#: Codes of refusals that say: here no rehearsal can be made. None of them speaks of the backup or of the files.
IMPOSSIBLE = frozenset({
    "no_scratch_server", "extension_missing", "no_room_for_scratch", "scratch_unfit", "scratch_unreachable", "scratch_not_a_copy",
    "no_copy_to_fly_on", "embedded_failed", "no_space", "no_permission",
})  # fmt: skip

#: A restored database is no larger than the original; the WAL of restoring it comes on top, up to max_wal_size.
_GROWTH = 1.2
_MOST_WAL_BYTES = 1 << 30
#: An empty server, and what a release itself writes.
_EMPTY_BYTES = 128 << 20
#: A custom archive is this many times smaller than its database, measured (396 MB → 37 MB); for manifests without the size.
_PACKED = 10
_CONNECTIONS = 50
_USUAL_LOCKS = 1024
#: An entry takes some 300 bytes of shared memory; beyond this no server of ours would start on a small machine.
_MOST_LOCKS = 2_000_000
_FIRST_WITH_TRANSACTION_TIMEOUT = 17


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    kind: GroundKind
    #: Programs of a fitting version: pg_restore, and for a server of our own the server.
    programs: Installation
    #: The server's.
    version: str
    #: Where it comes from: "debian", "embedded", …; "yours" where the user lends it.
    origin: str
    url: Secret | None = None
    #: What is not as it should be there, in words.
    notes: tuple[str, ...] = ()


def own(found: tuple[Installation, ...], *, server_major: int, at_least: int) -> Ground:
    """Raises Refused (`no_scratch_server`)."""
    programs = clients.for_scratch(found, server_major=server_major, at_least=at_least)
    return Ground(kind="own", programs=programs, version=programs.version, origin=programs.origin)


def lent(
    url: Secret, dump_client: Installation, *, target: Secret | None, server_major: int, lock_table: int, is_copy: bool
) -> Ground:
    """The user's server, looked at and compared with the target, where that is known. Writes nothing.

    Raises Refused (`scratch_is_target`, `scratch_unfit`, `scratch_unreachable`).
    """
    there, one = _there(target, url)
    if one is not None:
        raise Refused(
            f"The scratch server (AUTOPILOT_SCRATCH_URL, or a provider's branch) is the target's own: {one}."
            " A rehearsal there would be no rehearsal.",
            code="scratch_is_target",
            hint="Name another server: a branch, a container, a machine of your own; or unset it.",
        )
    if there.in_recovery:
        raise unfit("it is a standby and takes no writes", "Name a server that may be written to.")
    with session(url, application_name=READER_NAME) as connection:
        server = look(connection)
    if server.major != server_major:
        raise unfit(
            f"it runs PostgreSQL {server.version}, the target {server_major}", f"Name a server of PostgreSQL {server_major}."
        )
    if not is_copy and dump_client.major >= _FIRST_WITH_TRANSACTION_TIMEOUT > server.major:
        raise unfit(
            f"pg_restore here is of PostgreSQL {dump_client.version} and sets what {server.major} does not know",
            f"Install the client programs of PostgreSQL {server.major} (postgres_bin_dir in autopilot.toml).",
        )
    notes = []
    if server.lock_table < lock_table:
        notes.append(f"its lock table has room for {server.lock_table:,} locks, the target's for {lock_table:,}")
    if server.is_superuser and not is_copy:
        notes.append("it was filled by a superuser, as whom everything ran that rows set off; a lesser role will do")
    kind: GroundKind = "copy" if is_copy else "lent"
    return Ground(kind=kind, programs=dump_client, version=server.version, origin="yours", url=url, notes=tuple(notes))


def branch(provider: Provider, dump_client: Installation, *, version: str) -> Ground:
    """A branch of the provider's restore point, made when it is flown on. Raises Refused (`no_copy_to_fly_on`)."""
    chosen = PROVIDERS[provider]
    if not chosen.branches:
        raise Refused(
            f"With a restore point at {chosen.name} there is no dump, and so no copy to rehearse on.",
            code="no_copy_to_fly_on",
            hint="Set AUTOPILOT_SCRATCH_URL to a fresh copy of the target and scratch_is_copy = true;"
            ' or rehearsal = "schema", which shows less.',
        )
    return Ground(kind="copy", programs=dump_client, version=version, origin=f"a branch at {chosen.name}")


def _there(target: Secret | None, url: Secret) -> tuple[identity.Identity, str | None]:
    """What the lent server says of itself, and why it is the target's; where no target is known, it is nobody's."""
    try:
        if target is not None:
            return identity.look_at_both(target, url)[1:]
        with session(url, application_name=READER_NAME) as connection:
            return identity.identity(connection), None
    except Refused as cause:
        raise Refused(
            f"The scratch server at AUTOPILOT_SCRATCH_URL, or the target, does not answer: {cause.message}",
            code="scratch_unreachable", hint=cause.hint, retryable=cause.retryable,
        ) from cause  # fmt: skip


def server_settings(lock_table: int) -> dict[str, str]:
    """What our own scratch server is told: room for as many locks as the target has, and little shared memory.

    What workers of an index build share lies in files: /dev/shm is 64 MB in many containers.
    """
    each = max(_USUAL_LOCKS, -(-min(lock_table, _MOST_LOCKS) // _CONNECTIONS))
    return {
        "max_connections": str(_CONNECTIONS), "max_locks_per_transaction": str(each),
        "shared_buffers": "64MB", "dynamic_shared_memory_type": "mmap",
    }  # fmt: skip


def jobs() -> int:
    """How many parts of an archive are restored at once: as many as this machine has cores for us, up to eight."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(8, cores))


def needed_bytes(*, database_bytes: int | None, archive_bytes: int, rows: bool) -> int:
    """What a restored copy may take in the scratch server's directory."""
    if not rows:
        return _EMPTY_BYTES
    size = archive_bytes * _PACKED if database_bytes is None else database_bytes
    return _EMPTY_BYTES + int(size * _GROWTH) + min(size, _MOST_WAL_BYTES)


def require_room(settings: Settings, needed: int) -> None:
    """Raises Refused (`no_room_for_scratch`)."""
    place = scratch_directory(settings)
    free = shutil.disk_usage(next(p for p in (place, *place.parents) if p.exists())).free
    if free < needed:
        raise no_room(place, needed=needed, free=free)


def no_room(place: Path, *, needed: int, free: int) -> Refused:
    return Refused(
        f"There is no room for the scratch: a copy of the database takes about {size_in_words(needed)} in {place},"
        f" and {size_in_words(free)} are free.",
        code="no_room_for_scratch",
        hint='Set scratch_dir in autopilot.toml (or TMPDIR) to a larger disk; or AUTOPILOT_SCRATCH_URL, or rehearsal = "schema".',
    )


def scratch_directory(settings: Settings) -> Path:
    return settings.scratch_dir or homes.default_root(shared=os.geteuid() == 0)
