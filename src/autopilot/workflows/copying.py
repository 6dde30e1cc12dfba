"""Copies of backups in stores: asked whether they can be made, made, and made up for where one is missing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from autopilot.backups import catalog, names, stores
from autopilot.backups import manifest as manifests
from autopilot.backups.catalog import Entry
from autopilot.backups.manifest import Manifest
from autopilot.backups.stores import Store
from autopilot.errors import Refused
from autopilot.events import Noted, Step
from autopilot.workflows.world import World


@dataclass(frozen=True, slots=True, kw_only=True)
class Copy:
    store: str
    #: Why there is none.
    failed: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A store that was asked before there was anything to put there."""

    store: Store
    #: What lies there, by name; nothing where it could not be asked.
    sizes: Mapping[str, int] = field(default_factory=dict)
    #: Why nothing can be put there; only of a store that is not required.
    failed: Refused | None = None


def ask(into: tuple[Store, ...], *, size_bytes: int) -> tuple[Asked, ...]:
    """Whether each store answers, takes the keys, and has room for `size_bytes`, before work is done for it.

    A listing is all that is asked: whether the keys may also write shows only when something is written, and nothing is
    written that is no backup. Raises Refused (`store_*`) for a required store.
    """
    found = []
    for store in into:
        try:
            sizes = store.objects.sizes()
            store.objects.require_room(size_bytes)
            found.append(Asked(store=store, sizes=sizes))
        except Refused as cause:
            if store.required:
                raise Refused(
                    f"No backup is begun, as its copy could not be made: {cause.message}",
                    code=cause.code,
                    hint=f"{cause.hint} Or write required = false for that store.",
                    retryable=cause.retryable,
                ) from cause
            found.append(Asked(store=store, failed=cause))
    return tuple(found)


def put(world: World, step: Step, into: tuple[Asked, ...], backup: Path, manifest: Manifest) -> tuple[Copy, ...]:
    """A copy in each store. One that fails does not keep the others from theirs; afterwards a required one refuses.

    Raises Refused (`store_*`).
    """
    copies, refusal = [], None
    for asked in into:
        failed = asked.failed or _put(world, step, asked.store, backup, manifest)
        copies.append(Copy(store=asked.store.url, failed=None if failed is None else failed.message))
        if failed is not None and asked.store.required:
            refusal = refusal or _no_copy(manifest.file, failed)
        elif failed is not None:
            world.tell(Noted(text=f"{manifest.file} has one copy less: {failed.message} {failed.hint}", level="warning"))
    if refusal is not None:
        raise refusal
    return tuple(copies)


def _put(world: World, step: Step, store: Store, backup: Path, manifest: Manifest) -> Refused | None:
    """Why there is no copy."""
    try:
        stores.put(
            store, backup, manifest, progress=lambda read: step.progress(read, manifest.size_bytes, "bytes"),
            midway=lambda: world.reached("B7"),
        )  # fmt: skip
    except Refused as cause:
        return cause
    return None


def _no_copy(file: str, cause: Refused) -> Refused:
    return Refused(
        f"The backup {file} is made, and a required copy of it is missing: {cause.message}",
        code=cause.code,
        hint=f"{cause.hint} `autopilot backup copy` makes up for it. Or write required = false for that store.",
        retryable=cause.retryable,
    )


def missing(world: World, asked: Asked) -> tuple[Manifest, ...]:
    """Good backups here that the store lacks, newest first; those that it may not have do not count."""
    if asked.failed is not None:
        return ()
    here = catalog.entries(world.settings.backups_dir, verify=False, secrets=world.settings.backup_access.signing)
    return tuple(m for entry in here if (m := _wanted(entry, asked)) is not None)


def _wanted(entry: Entry, asked: Asked) -> Manifest | None:
    manifest = entry.manifest
    if entry.state != "good" or manifest is None or entry.file + names.MANIFEST in asked.sizes:
        return None
    may_leave = manifest.encryption != "none" or asked.store.is_local or asked.store.allow_plain
    return manifest if may_leave else None


def make_up(world: World, step: Step, asked: Asked, *, at_most: int | None) -> tuple[tuple[str, Copy], ...]:
    """Puts the copies that the store lacks, the newest `at_most` of them; each by the backup's name, told as it is made.

    Never raises for one that cannot be put; after one that failed no other is tried there.
    """
    made: list[tuple[str, Copy]] = []
    for manifest in missing(world, asked)[:at_most]:
        backup = world.settings.backups_dir / manifest.file
        try:
            manifests.check(manifest, backup)
        except Refused as cause:
            world.tell(Noted(text=f"{cause.message} It gets no copy.", level="warning"))
            made.append((manifest.file, Copy(store=asked.store.url, failed=cause.message)))
            continue
        failed = _put(world, step, asked.store, backup, manifest)
        made.append((manifest.file, Copy(store=asked.store.url, failed=None if failed is None else failed.message)))
        if failed is not None:
            world.tell(Noted(text=f"{manifest.file} still lacks its copy: {failed.message} {failed.hint}", level="warning"))
            break
        world.tell(Noted(text=f"{manifest.file} had no copy in {asked.store.url}: it has one now."))
    return tuple(made)
