"""A copy of the target: scratch server → roles → restore → compare. Gone when the block ends."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Iterator
from dataclasses import dataclass

from autopilot.backups import fingerprint, restore
from autopilot.backups.dump import Backup
from autopilot.backups.manifest import Manifest
from autopilot.backups.restore import StoodIn
from autopilot.clock import elapsed_ms
from autopilot.errors import Refused
from autopilot.postgres import embedded
from autopilot.postgres.clients import Installation
from autopilot.postgres.session import READER_NAME, session
from autopilot.secret import Secret
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
