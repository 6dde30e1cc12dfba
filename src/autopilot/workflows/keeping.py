"""What is kept, and where: lists backups with their copies, and prunes what nothing needs any more."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from autopilot.audit import reports
from autopilot.backups import catalog, references, retention, stores
from autopilot.backups.catalog import Entry
from autopilot.backups.references import References
from autopilot.backups.retention import Facts, Policy, Verdict
from autopilot.errors import Refused, UsageError
from autopilot.events import told
from autopilot.workflows import backing_up, copying
from autopilot.workflows.backing_up import FAILED_MARK
from autopilot.workflows.copying import Asked, Copy
from autopilot.workflows.reading import reader
from autopilot.workflows.world import World


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """What one store holds."""

    store: str
    entries: tuple[Entry, ...] = ()
    #: Why it could not be asked.
    failed: Refused | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    here: tuple[Entry, ...]
    stores: tuple[Held, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pruned:
    """What was decided in one place, and what of it was done."""

    place: str
    verdicts: tuple[Verdict, ...] = ()
    removed: tuple[str, ...] = ()
    failed: Refused | None = None


def listed(world: World, *, verify: bool) -> Listed:
    """`autopilot backup list`. Raises UsageError as `safekeeping` does."""
    secrets = world.settings.backup_access.signing
    kept = backing_up.safekeeping(world.settings)
    here = catalog.entries(world.settings.backups_dir, verify=verify, secrets=secrets)
    return Listed(here=here, stores=tuple(_held(world, store, verify=verify) for store in kept.stores))


def _held(world: World, store: stores.Store, *, verify: bool) -> Held:
    try:
        found = stores.entries(store, secrets=world.settings.backup_access.signing, verify=verify)
    except Refused as cause:
        return Held(store=store.url, failed=cause)
    return Held(store=store.url, entries=found)


@dataclass(frozen=True, slots=True, kw_only=True)
class Copied:
    """What was made up for in one store."""

    store: str
    #: By the backup's name, newest first.
    copies: tuple[tuple[str, Copy], ...] = ()
    #: Why it could not be asked.
    failed: Refused | None = None


def copied(world: World) -> tuple[Copied, ...]:
    """`autopilot backup copy`: every good backup here to each store that lacks it. Raises UsageError as `safekeeping` does."""
    kept = backing_up.safekeeping(world.settings)
    if not kept.stores:
        raise UsageError("There is no store to copy to.", code="no_store", hint="Add a [[backup_store]] table to autopilot.toml.")
    return tuple(_copied(world, store) for store in kept.stores)


def _copied(world: World, store: stores.Store) -> Copied:
    with told(world.tell, world.clock, "copies", f"Making up for copies in {store.url}") as step:
        try:
            asked = Asked(store=store, sizes=store.objects.sizes())
        except Refused as cause:
            step.state = "failed"
            return Copied(store=store.url, failed=cause)
        made = copying.make_up(world, step, asked, at_most=None)
        good = sum(copy.failed is None for _, copy in made)
        step.says(f"{good} of {len(made)} missing copies made" if made else "no copy is missing")
    return Copied(store=store.url, copies=made)


def prune(world: World, *, dry_run: bool) -> tuple[Pruned, ...]:
    """`autopilot backup prune`: ask the audit trail → weigh each place's backups → remove, the manifest first.

    Raises what connecting raises: without the audit trail nobody knows what is still needed.
    """
    settings = world.settings
    kept = backing_up.safekeeping(settings)
    facts, found = _facts(world)
    here = catalog.entries(settings.backups_dir, verify=True, secrets=settings.backup_access.signing)
    facts = replace(facts, last_failed=(settings.backups_dir / FAILED_MARK).exists())
    pruned = [
        _prune(world, str(settings.backups_dir), here, facts, found, dry_run=dry_run, delete=_delete_here(settings.backups_dir))
    ]
    for store in kept.stores:
        held = _held(world, store, verify=False)
        if held.failed is not None:
            pruned.append(Pruned(place=store.url, failed=held.failed))
            continue
        pruned.append(_prune(world, store.url, held.entries, facts, found, dry_run=dry_run, delete=_delete_there(store)))
    return tuple(pruned)


def _facts(world: World) -> tuple[Facts, References]:
    with reader(world.settings) as connection:
        found = references.read(connection) if reports.exists(connection) else References()
        identity = references.identity(connection)
    facts = Facts(database=identity, unconfirmed_runs=found.runs, unconfirmed_files=found.files, restored=found.restored)
    return facts, found


def _prune(
    world: World, place: str, entries: tuple[Entry, ...], facts: Facts, found: References, *, dry_run: bool,
    delete: Callable[[str], None],
) -> Pruned:  # fmt: skip
    policy = Policy(keep_days=world.settings.backup_keep_days, keep_last=world.settings.backup_keep_last)
    facts = replace(facts, last_failed=facts.last_failed or newest_failed(entries, found))
    verdicts = retention.weigh(entries, policy, facts, now=world.clock.now())
    removed: list[str] = []
    try:
        for verdict in verdicts:
            if verdict.prune and not dry_run:
                delete(verdict.file)
                removed.append(verdict.file)
    except Refused as cause:
        return Pruned(place=place, verdicts=verdicts, removed=tuple(removed), failed=cause)
    return Pruned(place=place, verdicts=verdicts, removed=tuple(removed))


def newest_failed(entries: tuple[Entry, ...], found: References) -> bool:
    """Whether the newest attempt came to nothing: a half-made newest file, or a release that failed before it had a backup."""
    newest_good = max((e.file for e in entries if e.state == "good"), default="")
    half_made = any(e.state == "no manifest" and e.file > newest_good for e in entries)
    taken_at = max((e.manifest.taken_at for e in entries if e.state == "good" and e.manifest is not None), default=None)
    return half_made or (found.failed_at is not None and (taken_at is None or found.failed_at > taken_at))


def _delete_here(directory: Path) -> Callable[[str], None]:
    def delete(file: str) -> None:
        try:
            catalog.delete(directory, file)
        except OSError as cause:
            raise Refused(
                f"{file} cannot be removed from {directory}: {cause.strerror}.",
                code="backup_directory",
                hint="Check its permissions, then run again.",
            ) from cause

    return delete


def _delete_there(store: stores.Store) -> Callable[[str], None]:
    return lambda file: stores.delete(store, file)
