"""`autopilot backup …`."""

from __future__ import annotations

import os
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from autopilot.cli.frame import Frame, emit, known_secrets, options, say
from autopilot.cli.restore_test import command as restore_test
from autopilot.cli.telling import teller

if TYPE_CHECKING:
    from autopilot.errors import AutopilotError
    from autopilot.workflows.keeping import Pruned


@click.group("backup")
def command() -> None:
    """Backups: each read back whole, hashed and described by a manifest when it was taken.

    With backup_recipients in autopilot.toml they are encrypted (age, or GnuPG); each [[backup_store]] there gets a copy.

    \b
    Stores:          AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN,
                     AWS_REGION, AWS_ENDPOINT_URL
    To open them:    AUTOPILOT_AGE_IDENTITY_FILE, or AUTOPILOT_AGE_IDENTITY
    To sign them:    AUTOPILOT_SECRET
    """


command.add_command(restore_test)


@command.command("create", short_help="Take a backup now.")
@click.option("--commit", metavar="SHA", help="The commit that production is at, for the manifest; default: GITHUB_SHA.")
@options(directory=False)
def create(frame: Frame, *, commit: str | None) -> int:
    """Take a backup now: dump, read back, encrypt, describe, copy to each store.

    Exits 1 when none could be made, or when a required store has no copy of it.
    """
    from autopilot.cli.documents_of_backups import taken_document
    from autopilot.cli.world import telling_world
    from autopilot.workflows.backing_up import create as take

    with teller() as tell:
        taken = take(telling_world(frame, tell), run_id=secrets.token_hex(4), commit_sha=commit or os.environ.get("GITHUB_SHA"))
    if frame.as_json:
        emit(taken_document(taken))
    else:
        say(f"{taken.backup.manifest.file} is made.")
    return 0


@command.command("list", short_help="List the backups here and in the stores.")
@click.option("--verify", is_flag=True, help="Hash every file against its manifest instead of comparing sizes only.")
@options(database=False, directory=False)
def list_backups(frame: Frame, *, verify: bool) -> int:
    """List the backups here and in the stores, newest first, and whether each is still what its manifest describes.

    Exits 1 when one is damaged or missing, or when a store cannot be asked.
    """
    from autopilot.cli.documents_of_backups import listed_document, listed_lines
    from autopilot.cli.world import quiet_world
    from autopilot.workflows.keeping import listed

    world = quiet_world(frame)
    found = listed(world, verify=verify)
    if frame.as_json:
        emit(listed_document(found))
    else:
        say("\n".join(listed_lines(found)) or f"No backups in {world.settings.backups_dir}.")
    failures = [held.failed for held in found.stores if held.failed is not None]
    _say_failures(failures)
    entries = [*found.here, *(entry for held in found.stores for entry in held.entries)]
    return 1 if failures or any(e.state in {"damaged", "missing"} for e in entries) else 0


@command.command("verify", short_help="Hash backups and read each to its end.")
@click.argument("files", nargs=-1, metavar="[FILE]...")
@click.option("--allow-unsigned", is_flag=True, help="Open one that is not signed although AUTOPILOT_SECRET is set.")
@options(database=False, directory=False)
def verify(frame: Frame, *, files: tuple[str, ...], allow_unsigned: bool) -> int:
    """Hash backups (all here, or each FILE), decrypt them where a key is here, and read each to its end.

    Exits 1 when one is not what its manifest describes, and names the next older good one; when the key is another's; or when
    it is not signed although AUTOPILOT_SECRET is set.
    """
    from autopilot.cli.documents_of_backups import verified_document, verified_lines
    from autopilot.cli.world import telling_world
    from autopilot.workflows.opening import verify as prove

    with teller() as tell:
        found = prove(telling_world(frame, tell), files, allow_unsigned=allow_unsigned)
    if frame.as_json:
        emit([verified_document(v) for v in found])
    else:
        say("\n".join(line for v in found for line in verified_lines(v)) or "There is nothing to verify here.")
    return 0 if all(v.entry.state == "good" and v.read_whole is not False for v in found) else 1


@command.command("copy", short_help="Put backups into the stores that lack them.")
@options(database=False, directory=False)
def copy(frame: Frame) -> int:
    """Put the backups that are here into each store that lacks them, newest first; each is hashed before and read back after.

    For copies that could not be made when the backup was. `backup create` makes up for the newest three by itself.
    Exits 1 when one could not be made.
    """
    from autopilot.cli.documents_of_backups import copied_document, copied_lines
    from autopilot.cli.world import telling_world
    from autopilot.workflows.keeping import copied

    with teller() as tell:
        found = copied(telling_world(frame, tell))
    if frame.as_json:
        emit([copied_document(c) for c in found])
    else:
        say("\n".join(line for c in found for line in copied_lines(c)))
    failures = [c.failed for c in found if c.failed is not None]
    _say_failures(failures)
    return 1 if failures or any(made.failed for c in found for _, made in c.copies) else 0


@command.command("prune", short_help="Remove backups that nothing needs any more.")
@click.option("--dry-run", is_flag=True, help="Say what would be removed, and why the rest is kept. Removes nothing.")
@options(directory=False)
def prune(frame: Frame, *, dry_run: bool) -> int:
    """Remove backups that nothing needs any more, here and in the stores.

    Only those older than backup_keep_days (30) and beyond backup_keep_last (10), not needed by a run that is not settled,
    with a newer one that was restored; none at all after a failed backup. Needs the database, whose audit trail tells.
    """
    from autopilot.cli.documents_of_backups import pruned_document, pruned_lines
    from autopilot.cli.world import quiet_world
    from autopilot.workflows.keeping import prune as remove

    found = remove(quiet_world(frame), dry_run=dry_run)
    if frame.as_json:
        emit({"dry_run": dry_run, "places": [pruned_document(p) for p in found]})
    else:
        say("\n".join(line for p in found for line in pruned_lines(p, dry_run=dry_run)))
    return _pruned_code(found)


def _pruned_code(found: tuple[Pruned, ...]) -> int:
    failures = [p.failed for p in found if p.failed is not None]
    _say_failures(failures)
    return 1 if failures else 0


@command.command("fetch", short_help="Bring a backup back from a store.")
@click.argument("file")
@click.option("--from", "source", metavar="STORE", help="The store's URL; default: the first that has a good copy.")
@click.option("--to", type=click.Path(path_type=Path, file_okay=False), metavar="DIR", help="Default: backups_dir.")
@click.option("--allow-unsigned", is_flag=True, help="Take one that is not signed although AUTOPILOT_SECRET is set.")
@options(database=False, directory=False)
def fetch(frame: Frame, *, file: str, source: str | None, to: Path | None, allow_unsigned: bool) -> int:
    """Bring the backup FILE back from a store, check it, and decrypt it where a key is here.

    Nothing gets its name before it is proven whole, and nothing is written over.
    """
    from autopilot.cli.documents_of_backups import fetched_document
    from autopilot.cli.world import telling_world
    from autopilot.workflows.opening import fetch as bring

    with teller() as tell:
        found = bring(telling_world(frame, tell), file, source=source, to=to, allow_unsigned=allow_unsigned)
    if frame.as_json:
        emit(fetched_document(found))
    else:
        say(f"{found.plain or found.path} is what was made.")
    return 0


def _say_failures(failures: Sequence[AutopilotError]) -> None:
    from autopilot.cli.complaints import sentences

    for failure in failures:
        click.echo(sentences(failure, known=known_secrets()), err=True, nl=False)
