"""Repairs the schema: what the last release recorded against what is there.

look → read → compare → (nothing to do?) → lock → settle → (open a backup) → put back + record → build apart → look again
"""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime

import msgspec
import psycopg

from autopilot.audit import journal, schema, ways_back
from autopilot.audit.journal import Run
from autopilot.clock import elapsed_ms
from autopilot.errors import AutopilotError, Refused, RolledBack, Stopped, Stranded
from autopilot.events import Noted, told
from autopilot.postgres import lock
from autopilot.postgres.bounded import patient
from autopilot.postgres.session import RUN_PREFIX, Connection, look, require_writable, session
from autopilot.rollback import putting_back
from autopilot.rollback.adopting import adoption
from autopilot.rollback.aligned import Aligned, aligned
from autopilot.rollback.drift import Drift, drifts
from autopilot.rollback.mending import Mending, mending
from autopilot.rollback.putting_back import PutBack, put_back, run_apart
from autopilot.rollback.snapshot import Key, Snapshot, decode, read
from autopilot.rollback.wanted import ROWS
from autopilot.workflows import bringing_back
from autopilot.workflows.bringing_back import Restored, Source
from autopilot.workflows.reading import reached, reader
from autopilot.workflows.resume import settle
from autopilot.workflows.world import World

#: Between two tries for locks that others hold.
_PAUSE_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How the live catalog stands to the recorded one, and what a repair would do."""

    database: str
    recorded_at: datetime
    #: The release that recorded it.
    run_id: str
    drifts: tuple[Drift, ...]
    #: As they would run: in one transaction, then each by itself.
    statements: tuple[str, ...]
    apart: tuple[str, ...]
    notes: tuple[str, ...]
    #: A migration file for what was added by hand.
    adoption: str | None

    @property
    def to_repair(self) -> tuple[Drift, ...]:
        return tuple(d for d in self.drifts if d.remedy in {"put_back", "restore", "person"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Repaired:
    """before: as it stood; after: as it stands now. failed: what could not be put back, with why."""

    run_id: str
    before: Standing
    after: Standing
    put_back: tuple[str, ...] = ()
    restored: tuple[Restored, ...] = ()
    failed: tuple[str, ...] = ()
    duration_ms: int = 0

    @property
    def is_whole(self) -> bool:
        return not self.after.to_repair


@dataclass(frozen=True, slots=True, kw_only=True)
class _Recorded:
    snapshot: Snapshot
    at: datetime
    run_id: str
    database: str


def plan(world: World) -> Standing:
    """`autopilot repair --plan`: reads, and writes nothing. Raises Refused (`no_recorded_catalog`, and what `reader` raises)."""
    with reader(world.settings) as connection:
        recorded = _recorded(connection)
        return _standing(recorded, read(connection), putting_back.roles(connection))


def apply(world: World, run: Run, *, restore_tables: bool) -> Repaired:
    """`autopilot repair --apply`.

    Raises Refused, Locked, RolledBack (the database is as it was) and Stranded (`database_lost`).
    """
    begun_s = world.clock.monotonic_s()
    world = replace(world, settings=replace(world.settings, database_url=reached(world.settings).url))
    with told(world.tell, world.clock, "look", "Comparing the catalog with the recorded one") as step:
        before = plan(world)
        step.says(f"{len(before.to_repair)} to repair, {sum(d.what == 'added' for d in before.drifts)} added by hand")
    wanted = {"put_back", "restore"} if restore_tables else {"put_back"}
    if not any(d.remedy in wanted for d in before.drifts):
        return Repaired(run_id=run.run_id, before=before, after=before)
    with _under_lock(world, run) as connection:
        with _rows(world, connection, restore_tables=restore_tables) as found:
            done, restored = _put_back(world, run, connection, found, begun_s)
        failed = {**done.failed, **_built_apart(world, run, done.mending)}
        after = _standing(_recorded(connection), read(connection), putting_back.roles(connection))
        _close(connection, run, state="nothing_to_do", notes="the schema was repaired")
    left = {d.object for d in after.to_repair}
    return Repaired(
        run_id=run.run_id, before=before, after=after, restored=restored,
        put_back=tuple(d.sentence for d in before.to_repair if d.object not in left),
        failed=tuple(f"{path}: {why}" for path, why in failed.items()), duration_ms=elapsed_ms(world.clock, begun_s),
    )  # fmt: skip


def last_recorded(connection: Connection) -> tuple[Snapshot, datetime, str] | None:
    """The catalog as the last release left it, when that was, and its run. Raises Refused (`unreadable_catalog`)."""
    try:
        found = ways_back.last_recorded(connection)
    except (psycopg.errors.UndefinedTable, psycopg.errors.InvalidSchemaName):
        return None
    if found is None:
        return None
    try:
        return decode(found[0]), found[1], found[2]
    except msgspec.DecodeError as cause:
        raise Refused(
            f"The catalog that run {found[2]} recorded cannot be read: {cause}.",
            code="unreadable_catalog", hint="Release with `autopilot migrate`: it records the catalog anew.",
        ) from cause  # fmt: skip


def _recorded(connection: Connection) -> _Recorded:
    found = last_recorded(connection)
    if found is None:
        raise Refused(
            "No release has recorded the catalog of this database yet: there is nothing to compare it with.",
            code="no_recorded_catalog",
            hint="Release with `autopilot migrate` once; each release records the catalog as it leaves it.",
        )
    snapshot, at, run_id = found
    was, has = snapshot.version_num // 10000, connection.info.server_version // 10000
    if was != has:
        raise Refused(
            f"The catalog was recorded on PostgreSQL {was}, and this is {has}: they write definitions differently.",
            code="recorded_on_another_major", hint="Release with `autopilot migrate` once; that records the catalog anew.",
        )  # fmt: skip
    return _Recorded(snapshot=snapshot, at=at, run_id=run_id, database=connection.info.dbname)


def _standing(recorded: _Recorded, live: Snapshot, roles: frozenset[str]) -> Standing:
    found = aligned(recorded.snapshot, live, roles=roles)
    todo = mending(found, live)
    listed = drifts(todo.wanted)
    added = [d.sentence for d in listed if d.remedy == "adopt"]
    at = f"run {recorded.run_id} of {recorded.at:%Y-%m-%d %H:%M} UTC"
    return Standing(
        database=recorded.database, recorded_at=recorded.at, run_id=recorded.run_id, drifts=listed, notes=todo.notes,
        statements=tuple(s.text for s in todo.statements), apart=tuple(t for a in todo.apart for t in a.statements),
        adoption=adoption(found, live, database=recorded.database, recorded_at=at, what=added) if added else None,
    )  # fmt: skip


@contextlib.contextmanager
def _under_lock(world: World, run: Run) -> Iterator[Connection]:
    """A session of the run, with what earlier runs left open settled; how the block ends is written down."""
    with (
        lock.held(
            world.database_url, run_id=run.run_id, wait_s=world.settings.lock_wait_s, clock=world.clock,
            waiting=lambda who: world.tell(Noted(text=f"Waiting for the lock, which {who} holds.")),
        ),
        session(world.database_url, application_name=RUN_PREFIX + run.run_id) as connection,
    ):  # fmt: skip
        server = look(connection)
        require_writable(server)
        with told(world.tell, world.clock, "settle", "Settling what earlier runs left open") as step:
            schema.ensure(connection, server, admins=world.settings.admins)
            journal.open_run(connection, run)
            found = settle(connection, run_id=run.run_id, clock=world.clock, step=step)
            step.says("; ".join(found.sentences) or "nothing was left open")
        try:
            yield connection
        except KeyboardInterrupt as cause:
            _close(connection, run, state="stopped", notes="repair: stopped by a signal")
            raise Stopped(
                int(getattr(cause, "signal_number", signal.SIGINT)),
                message="Stopped by a signal while the schema was being repaired.",
                state="The repair is in whole or not at all; `autopilot repair --plan` tells what is left.",
            ) from cause
        except AutopilotError as cause:
            _close(connection, run, state=cause.outcome, notes=f"repair: {cause.message}")
            raise


def _close(connection: Connection, run: Run, *, state: str, notes: str) -> None:
    """What cannot be written now, the next run settles."""
    with contextlib.suppress(psycopg.Error):
        journal.close_run(connection, run.run_id, state=state, notes=notes)


@contextlib.contextmanager
def _rows(world: World, connection: Connection, *, restore_tables: bool) -> Iterator[tuple[Source, ...]]:
    """The rows of what is lost, taken out of backups before anything is locked."""
    compare, live = _compare(connection), read(connection)
    found = compare(live)
    goal = mending(found, live).wanted
    keys = frozenset(key for key, why in goal.left.items() if why == ROWS) if restore_tables else frozenset[Key]()
    if not keys:
        yield ()
        return
    lost = bringing_back.lost_things(found.recorded, keys)
    bare = frozenset(k for k in keys if found.recorded.by_key[k].facts.get("partitioned"))
    with told(world.tell, world.clock, "backup", "Looking for the rows in backups") as step:
        stack = contextlib.ExitStack()
        sources = stack.enter_context(bringing_back.sources(world, step, lost, connection, without_rows=bare))
        step.says(", ".join(f"{s.lost.words} in {s.manifest.file}" for s in sources) or "no backup here holds them")
    with stack:
        yield sources


def _compare(connection: Connection) -> Callable[[Snapshot], Aligned]:
    recorded, roles = _recorded(connection).snapshot, putting_back.roles(connection)
    return lambda live: aligned(recorded, live, roles=roles)


def _put_back(
    world: World, run: Run, connection: Connection, found: tuple[Source, ...], begun_s: float
) -> tuple[PutBack, tuple[Restored, ...]]:
    """In one transaction, tried again where others hold locks."""
    tries = world.settings.lock_tries
    with told(world.tell, world.clock, "repair", "Putting back what was recorded") as step:
        for turn in range(1, tries + 1):
            try:
                done = _tried(world, run, connection, found, begun_s)
            except putting_back.PASSING as cause:
                if turn == tries:
                    raise RolledBack(
                        f"Others hold the tables that are to be repaired: {putting_back.said(cause)} ({tries} tries).",
                        code="repair_locked", hint="Run again when they are done, or raise lock_timeout_s.", retryable=True,
                    ) from cause  # fmt: skip
                world.tell(Noted(text=f"{putting_back.said(cause)}: everyone else first, then try {turn + 1} of {tries}."))
                world.clock.sleep(_PAUSE_S)
            except psycopg.Error as cause:
                raise _refused(connection, cause) from cause
            else:
                step.says(f"{len(done[0].mending.statements)} statements in one transaction, read again and found as recorded")
                return done
    raise AssertionError  # the last try returns or raises


def _tried(
    world: World, run: Run, connection: Connection, found: tuple[Source, ...], begun_s: float
) -> tuple[PutBack, tuple[Restored, ...]]:
    restored: list[Restored] = []
    keys = frozenset(s.lost.key for s in found)
    with patient(connection, world.settings.apply_timeout_s), connection.transaction():
        done = put_back(
            connection, _compare(connection), lock_timeout_s=world.settings.lock_timeout_s, restoring=keys,
            fill=lambda: restored.extend(bringing_back.load(connection, found)),
        )  # fmt: skip
        sentences = [*(f"{about} put back" for about in dict.fromkeys(s.about for s in done.mending.statements)),
                     *(r.sentence for r in restored)]  # fmt: skip
        notes = f"repair: {'; '.join(sentences) or 'what stands apart'}"[:4000]
        backup = found[0].manifest.file if found else None
        journal.repaired(connection, run, notes=notes, backup_file=backup, duration_ms=elapsed_ms(world.clock, begun_s))
        world.reached("H1")
    world.reached("H2")
    return done, tuple(restored)


def _refused(connection: Connection, cause: psycopg.Error) -> AutopilotError:
    if connection.broken or connection.closed:
        return Stranded(
            f"The database went away: {' '.join(str(cause).split())}",
            code="database_lost", state="The repair is in whole or not at all.", retryable=True,
            hint="Check that the server answers; `autopilot repair --plan` tells what is left, and --apply goes on from there.",
        )  # fmt: skip
    return RolledBack(
        f"The repair was refused: {putting_back.said(cause)}",
        code="repair_failed", hint="Do as the message says, then run again.",
    )  # fmt: skip


def _built_apart(world: World, run: Run, done: Mending) -> dict[str, str]:
    """Indexes and validations, each by itself while others read and write; returns what failed and why."""
    if not done.apart:
        return {}
    failed = {}
    with (
        told(world.tell, world.clock, "apart", "Building indexes and validating constraints beside the traffic") as step,
        session(world.database_url, application_name=RUN_PREFIX + run.run_id) as connection,
        patient(connection, world.settings.apply_timeout_s),
    ):
        for n, apart in enumerate(done.apart, start=1):
            step.progress(n, len(done.apart), "objects")
            world.reached("H3")
            try:
                why = run_apart(connection, apart, lock_timeout_s=world.settings.gentle_lock_timeout_s)
            except psycopg.Error as cause:
                raise _refused(connection, cause) from cause
            if why is not None:
                failed[apart.about] = why
        step.says(f"{len(done.apart) - len(failed)} of {len(done.apart)} done")
    return failed
