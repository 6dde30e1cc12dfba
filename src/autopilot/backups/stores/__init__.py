"""Places that hold copies of backups. One file a kind of store, one line in the table, and the contract test.

A copy counts once its manifest is there, and that is written last: after the whole backup was read back and hashed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from autopilot.backups import manifest as manifests
from autopilot.backups import names
from autopilot.backups.catalog import Entry, described
from autopilot.backups.manifest import Manifest
from autopilot.backups.partial import partial
from autopilot.backups.stores import local, s3
from autopilot.backups.stores.objects import Access, Objects
from autopilot.errors import Refused, UsageError
from autopilot.secret import Secret

STORES: Mapping[str, Callable[[str, Access], Objects]] = {
    "file": local.opened,
    "s3": s3.opened,
}

Progress = Callable[[int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Store:
    #: Its name, too: nothing secret is in it.
    url: str
    objects: Objects
    #: Without a copy there, a backup is refused.
    required: bool = True
    #: Whether what it holds stays on this machine's disks.
    is_local: bool = False
    #: Unencrypted backups may go there.
    allow_plain: bool = False


def store(url: str, *, required: bool, allow_plain: bool, access: Access) -> Store:
    """Raises UsageError (`bad_store`, `no_store_keys`)."""
    try:
        parts = urlsplit(url)
        secretive = parts.username is not None or parts.password is not None or bool(parts.query or parts.fragment)
    except ValueError:
        parts, secretive = urlsplit(""), False
    if secretive:
        raise UsageError(
            f"The URL of a backup store ({parts.scheme}://{parts.hostname or ''}…) holds more than a place.",
            code="bad_store",
            hint="Leave out user, key, query and fragment: keys come from AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.",
        )
    if parts.scheme not in STORES:
        raise UsageError(
            f"The backup store {url!r} is of no kind that Autopilot knows.",
            code="bad_store",
            hint="Write s3://bucket/prefix or file:///path.",
        )
    objects = STORES[parts.scheme](url, access)
    return Store(
        url=url, objects=objects, required=required, is_local=parts.scheme == "file", allow_plain=allow_plain,
    )  # fmt: skip


def put(
    into: Store,
    backup: Path,
    manifest: Manifest,
    *,
    progress: Progress = lambda _: None,
    midway: Callable[[], None] = lambda: None,
) -> None:
    """A whole copy: the backup, read back and hashed; then the manifest.

    midway: called while the backup goes there, and again while its manifest does.
    A copy that is there already counts, once it is proven to be the same. Raises Refused (`store_*`).
    """
    for path, size_bytes, sha256 in (
        (backup, manifest.size_bytes, manifest.sha256),
        (manifests.path_of(backup), manifests.path_of(backup).stat().st_size, manifests.sha256(manifests.path_of(backup))),
    ):
        try:
            into.objects.put(path.name, path, midway=midway)
        except Refused as cause:
            if cause.code != "store_exists" or not _holds(into, path.name, size_bytes, sha256, progress):
                raise
        else:
            if not _holds(into, path.name, size_bytes, sha256, progress):
                into.objects.delete(path.name)
                raise Refused(
                    f"The backup store {into.url} gave back something else than what was sent as {path.name}; it was removed.",
                    code="store_damaged",
                    hint="Run again; if it stays so, do not rely on that store.",
                    retryable=True,
                )


def _holds(where: Store, name: str, size_bytes: int, sha256: str, progress: Progress) -> bool:
    if where.objects.sizes().get(name) != size_bytes:
        return False
    digest, count = hashlib.sha256(), 0
    for piece in where.objects.chunks(name):
        digest.update(piece)
        count += len(piece)
        progress(count)
    return digest.hexdigest() == sha256


def entries(where: Store, *, secrets: tuple[Secret, ...] = (), verify: bool = False) -> tuple[Entry, ...]:
    """What lies there, newest first; each backup's size compared, and with `verify` read whole and hashed.

    Raises Refused (`store_*`).
    """
    sizes = where.objects.sizes()
    found = []
    for name in sizes:
        if names.is_manifest(name):
            found.append(_entry(where, name, sizes, secrets=secrets, verify=verify))
        elif names.is_backup(name) and name + names.MANIFEST not in sizes:
            found.append(Entry(file=name, state="no manifest", manifest=None, why="its upload was never finished"))
    return tuple(sorted(found, key=lambda entry: entry.file, reverse=True))


def _entry(where: Store, name: str, sizes: Mapping[str, int], *, secrets: tuple[Secret, ...], verify: bool) -> Entry:
    file = name.removesuffix(names.MANIFEST)
    try:
        entry = described(file, read_manifest(where, file, sizes), secrets=secrets)
    except Refused as cause:
        return Entry(file=file, state="damaged", manifest=None, why=str(cause))
    if entry.state != "good" or entry.manifest is None:
        return entry
    if file not in sizes:
        return entry.but(state="missing", why="the file is gone")
    if sizes[file] != entry.manifest.size_bytes:
        return entry.but(state="damaged", why="its size is not the manifest's")
    if verify and not _holds(where, file, entry.manifest.size_bytes, entry.manifest.sha256, lambda _: None):
        return entry.but(state="damaged", why="its SHA-256 is not the manifest's")
    return entry


def read_manifest(where: Store, file: str, sizes: Mapping[str, int]) -> bytes:
    """Raises Refused (`bad_manifest`, `store_*`)."""
    name = file + names.MANIFEST
    if sizes.get(name, 0) > manifests.CAP_BYTES:
        raise manifests.bad(name, f"it is larger than {manifests.CAP_BYTES >> 20} MiB")
    return b"".join(where.objects.chunks(name))


def fetch(source: Store, file: str, directory: Path, *, progress: Progress = lambda _: None) -> Path:
    """The backup and its manifest into `directory`, where each gets its name once it is proven whole.

    Raises Refused (`bad_manifest`, `backup_damaged`, `backup_exists`, `no_space`, `backup_directory`, `store_*`).
    """
    data = read_manifest(source, file, source.objects.sizes())
    manifest = manifests.parse(data, file + names.MANIFEST)
    target = directory / file
    with partial(target) as copy:
        digest, count = hashlib.sha256(), 0
        for piece in source.objects.chunks(file):
            count += len(piece)
            if count > manifest.size_bytes:
                break
            digest.update(piece)
            copy.write(piece)
            progress(count)
        if (count, digest.hexdigest()) != (manifest.size_bytes, manifest.sha256):
            raise manifests.damaged(file, f"in {source.url} is not what its manifest describes (size or SHA-256 differ)")
        copy.keep()
    with partial(manifests.path_of(target)) as beside:
        beside.write(data)
        beside.keep()
    return target


def delete(where: Store, file: str) -> None:
    """The manifest first: a backup without one never counts. Raises Refused (`store_*`)."""
    where.objects.delete(file + names.MANIFEST)
    where.objects.delete(file)
