"""The net under a release: a backup, and a flight on that very backup. Read only where one is wanted.

pg_dump + fingerprint → read back → (notice: it begins) → restore into a scratch server → compare → apply there
Of a very large database: (rows left out, or a provider's restore point instead) → a copy to fly on, or its schema alone
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import replace

from autopilot.audit import journal
from autopilot.backups import dump, left_out, work
from autopilot.backups.restore_points import PROVIDERS
from autopilot.errors import Refused
from autopilot.events import Noted, told
from autopilot.measures import counted, size_in_words
from autopilot.postgres import clients
from autopilot.postgres.session import RUN_PREFIX, Connection, Server, resolved
from autopilot.workflows import net as nets
from autopilot.workflows import replay_slot
from autopilot.workflows.applying import stamp
from autopilot.workflows.backing_up import Taken, backed_up
from autopilot.workflows.cutting import Order
from autopilot.workflows.ground import IMPOSSIBLE, Ground, lent
from autopilot.workflows.logbook import Logbook, Wish
from autopilot.workflows.notices import announce
from autopilot.workflows.outcome import Rehearsed
from autopilot.workflows.preflight import Tools, target_of
from autopilot.workflows.rehearsal import files_of, rehearse
from autopilot.workflows.scratch import Copy, restored, standing_copy, stood_in, without_rows_of
from autopilot.workflows.standing import proof
from autopilot.workflows.world import World

_STAYS = "what is applied to that copy stays in it: the next rehearsal needs a fresh one"


def spread(world: World, wish: Wish, book: Logbook, order: Order, found: Tools, server: Server, connection: Connection) -> None:
    """Takes the backup and rehearses on it. Raises Refused: nothing was touched."""
    if found.dump_client is None or found.net is None:  # pragma: no cover - whoever spreads the net has looked
        raise AssertionError
    for sentence in nets.sentences(found.net):
        world.tell(Noted(text=sentence, level="note" if found.net.kind == "whole" else "warning"))
    with contextlib.ExitStack() as until_rehearsed:
        if found.net.kind == "restore_point":
            _point(world, wish, book, found.net, connection)
        else:
            until_rehearsed.enter_context(_backed_up(world, wish, book, order, found, connection))
        announce(world, wish, book, connection)
        _rehearse(world, wish, book, order, found, server, connection)
    if book.rehearsal is None or book.rehearsal.kind != "backup":
        tests = proof(world, connection)
        world.tell(Noted(text=f"Restore test: {tests.words}.", level="warning" if tests.is_worrying else "note"))


def _point(world: World, wish: Wish, book: Logbook, chosen: nets.Net, connection: Connection) -> None:
    """A restore point in place of a dump, verified and written down before anything is applied."""
    with told(world.tell, world.clock, "backup", f"Asking {PROVIDERS[chosen.provider].name} for a restore point") as step:
        book.restore_point = point = PROVIDERS[chosen.provider].make(
            world.settings.providers,
            target_of(world, connection),
            run_id=wish.run.run_id,
            request=world.request,
            clock=world.clock,
        )
        journal.restore_point_made(
            connection, made_at=point.made_at, provider=point.provider, name=point.name, run_id=wish.run.run_id,
            how_back=point.how_back, details=point.details,
        )  # fmt: skip
        step.says(f"{point.words}; no dump was taken")


def _source(world: World, wish: Wish, found: Tools, without_data: tuple[str, ...], size_bytes: int) -> dump.Source:
    if found.dump_client is None:  # pragma: no cover - see spread
        raise AssertionError
    return dump.Source(
        url=world.database_url, client=found.dump_client, size_bytes=size_bytes, without_data=without_data,
        application_name=RUN_PREFIX + wish.run.run_id, compression="zstd" if clients.zstd(found.dump_client) else "1",
    )  # fmt: skip


@contextlib.contextmanager
def _backed_up(world: World, wish: Wish, book: Logbook, order: Order, found: Tools, connection: Connection) -> Iterator[None]:
    """The plain archive is at hand for the length of the block; what is kept of it may be encrypted."""
    chosen = found.net
    if chosen is None:  # pragma: no cover - see spread
        raise AssertionError
    with contextlib.ExitStack() as stack:
        with told(world.tell, world.clock, "backup", "Backing up") as step:
            source = _source(world, wish, found, chosen.without_data, chosen.dumped_bytes)
            replay_slot.begin(world, wish, book, order, chosen, connection)
            taken = stack.enter_context(
                backed_up(
                    world, step, source=source, connection=connection, run_id=wish.run.run_id, commit_sha=wish.run.commit_sha
                )
            )
            book.backup = taken.backup
            step.says(_in_words(taken))
        yield


def _in_words(taken: Taken) -> str:
    manifest, copies = taken.backup.manifest, sum(copy.failed is None for copy in taken.copies)
    held = f"{counted(len(manifest.rows), 'table')}, {counted(sum(manifest.rows.values()), 'row')}"
    what = f"{size(manifest.size_bytes)}, {held}, read back whole"
    without = f", without the rows of {len(manifest.without_data)} more" if manifest.without_data else ""
    encrypted = "" if manifest.encryption == "none" else f", encrypted with {manifest.encryption}"
    where = f", {copies} of {len(taken.copies)} copies made" if taken.copies else ""
    unread = f", {manifest.absent.words}" if manifest.absent else ""
    return f"{manifest.file}: {what}{without}{unread}{encrypted}{where}"


def _rehearse(
    world: World, wish: Wish, book: Logbook, order: Order, found: Tools, server: Server, connection: Connection
) -> None:
    if found.scratch is None:
        _unrehearsed(world, found.no_scratch)
        return
    with told(world.tell, world.clock, "rehearse", _title(found.scratch, world)) as step:
        try:
            book.rehearsal = r = rehearse(
                world, step, made=_copy(world, wish, book, found, found.scratch, server, connection),
                batches=tuple(b for b in (order.now, order.waiting) if b), server=server, stamp=stamp(wish.run),
                target=connection,
            )  # fmt: skip
        except Refused as cause:
            if cause.code not in IMPOSSIBLE or world.settings.rehearsal != "auto":
                raise _without_rows(world, cause) from cause
            step.skips("not possible here")
            _unrehearsed(world, cause.message)
            return
        if r.kind != "schema":
            copy = f"PostgreSQL {r.server_version} ({r.origin})"
            journal.rehearsed(connection, wish.run.run_id, copy=copy, files=files_of(r, order.all))
        world.reached("R4")
        _record(wish, book, r, connection)
        step.says(_flown(r))
    for spot in r.blind_spots:
        world.tell(Noted(text=f"The rehearsal's blind spot: {spot}.", level="warning"))
    world.reached("R5")


def _title(ground: Ground, world: World) -> str:
    if ground.kind == "copy":
        return "Rehearsing on a copy of the target"
    return "Rehearsing on the schema alone" if world.settings.rehearsal == "schema" else "Rehearsing on the restored backup"


def _copy(
    world: World, wish: Wish, book: Logbook, found: Tools, ground: Ground, server: Server, connection: Connection
) -> AbstractContextManager[Copy]:
    """The copy to fly on, not yet made."""
    if ground.kind == "copy" and ground.url is not None:
        return standing_copy(world, ground.url, ground, target=connection, blind_spots=(_STAYS,))
    if ground.kind == "copy":
        return _branch(world, book, ground, server, connection)
    rows = world.settings.rehearsal != "schema"
    if book.backup is not None:
        return restored(world, book.backup, ground, run_id=wish.run.run_id, lock_table=server.lock_table, rows=rows)
    return _schema_only(world, wish, found, ground, server, connection)


@contextlib.contextmanager
def _branch(world: World, book: Logbook, ground: Ground, server: Server, connection: Connection) -> Iterator[Copy]:
    from autopilot.backups.restore_points import neon

    if book.restore_point is None:  # pragma: no cover - see preflight
        raise AssertionError
    s = world.settings
    with neon.flown_on(
        s.providers, book.restore_point, target_of(world, connection), request=world.request, clock=world.clock
    ) as url:
        reached = resolved(url, tls_verify=s.tls_verify, ca_file=s.tls_ca_file).url
        found = lent(
            reached, ground.programs, target=world.database_url, server_major=server.major, lock_table=server.lock_table,
            is_copy=True,
        )  # fmt: skip
        with standing_copy(world, reached, replace(found, origin=ground.origin), target=connection, blind_spots=()) as copy:
            yield copy


@contextlib.contextmanager
def _schema_only(
    world: World, wish: Wish, found: Tools, ground: Ground, server: Server, connection: Connection
) -> Iterator[Copy]:
    """A dump of the schema and the ledger, made for this rehearsal alone and gone with it."""
    without = left_out.all_but_the_ledger(connection)
    with work.directory(world.settings.backups_dir) as private:
        backup = dump.take(
            _source(world, wish, found, without, 0), private, connection=connection, run_id=wish.run.run_id,
            commit_sha=wish.run.commit_sha, clock=world.clock, timeout_s=world.settings.backup_timeout_s,
            progress=lambda _written, _tables, _of: None,
        )  # fmt: skip
        with restored(world, backup, ground, run_id=wish.run.run_id, lock_table=server.lock_table, rows=False) as copy:
            yield copy


def _without_rows(world: World, cause: Refused) -> Refused:
    """A refusal on a schema without rows may be a false alarm, and says so."""
    if cause.code == "refused_in_rehearsal" and world.settings.rehearsal == "schema":
        cause.hint += (
            " This rehearsal had no rows: a statement that needs some fails there and not on the target."
            " If that is all there is to it, run this once with --no-rehearsal."
        )
    return cause


def _record(wish: Wish, book: Logbook, r: Rehearsed, connection: Connection) -> None:
    """A backup whose rows came back is proven; one of which only the schema was restored is not."""
    if book.backup is None or r.kind != "backup":
        return
    m = book.backup.manifest
    journal.restore_tested(
        connection, backup_file=m.file, sha256=m.sha256, size_bytes=m.size_bytes, restore_ms=r.restore_ms,
        server_version=r.server_version, run_id=wish.run.run_id,
        notes="restored for its rehearsal" + without_rows_of(m.without_data),
    )  # fmt: skip


def _flown(r: Rehearsed) -> str:
    where = f"applied in {r.apply_ms} ms on PostgreSQL {r.server_version} ({r.origin}){stood_in(r.stood_in)}{_way_back(r)}"
    if r.kind == "copy":
        return where
    return f"{'restored' if r.kind == 'backup' else 'the schema restored without rows'} in {r.restore_ms / 1000:.1f} s, {where}"


def _way_back(r: Rehearsed) -> str:
    if r.way_back is None:
        return ""
    return "; went back and forward again, losing nothing" if r.way_back.proven else "; going back would lose something"


def _unrehearsed(world: World, why: str | None) -> None:
    asked, because = (", as asked", "") if why is None else ("", f" {why}")
    text = f"No rehearsal{asked}: the target is the first to see these migrations.{because}"
    world.tell(Noted(text=text, level="warning"))


def size(number: int) -> str:
    """Bytes for a person."""
    return size_in_words(number)
