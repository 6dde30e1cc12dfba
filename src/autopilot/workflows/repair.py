"""Repairs the schema: what the last release recorded against what is there.

look → read → compare → (nothing to do?) → lock → settle → (open a backup) → put back + record → build apart → look again
"""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from dataclasses import dataclass, replace

import psycopg

from autopilot.audit import journal, schema, ways_back
from autopilot.audit.journal import Run
from autopilot.clock import elapsed_ms
from autopilot.errors import AutopilotError, RolledBack, Stopped, Stranded
from autopilot.events import Noted, told
from autopilot.measures import counted
from autopilot.postgres import lock
from autopilot.postgres.bounded import patient
from autopilot.postgres.session import RUN_PREFIX, Connection, look, require_writable, session
from autopilot.rollback import putting_back
from autopilot.rollback.aligned import at_keys
from autopilot.rollback.mending import Mending, mending
from autopilot.rollback.moved import made_anew
from autopilot.rollback.putting_back import PutBack, put_back, run_apart
from autopilot.rollback.snapshot import Key, read
from autopilot.rollback.wanted import ROWS
from autopilot.workflows import bringing_back
from autopilot.workflows.bringing_back import Restored, Source
from autopilot.workflows.reading import reached, reader
from autopilot.workflows.recorded import Standing, comparison, recorded, standing
from autopilot.workflows.resume import settle
from autopilot.workflows.world import World

#: Between two tries for locks that others hold.
_PAUSE_S = 1.0


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


def plan(world: World) -> Standing:
    """`autopilot repair --plan`: reads, and writes nothing. Raises what `recorded` and `reader` raise."""
    with reader(world.settings) as connection:
        return standing(connection)


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
        after = standing(connection)
        _close(connection, run, state="nothing_to_do", notes="the schema was repaired")
    left = {d.object for d in after.to_repair}
    return Repaired(
        run_id=run.run_id, before=before, after=after, restored=restored,
        put_back=tuple(d.sentence for d in before.to_repair if d.object not in left),
        failed=tuple(f"{path}: {why}" for path, why in failed.items()), duration_ms=elapsed_ms(world.clock, begun_s),
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
    compare, live = comparison(connection), read(connection)
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
                step.says(_done(len(done[0].mending.statements)))
                return done
    raise AssertionError  # the last try returns or raises


def _done(statements: int) -> str:
    what = f"{counted(statements, 'statement')} in one transaction" if statements else "the rows, in one transaction"
    return f"{what}, read again and found as recorded"


def _tried(
    world: World, run: Run, connection: Connection, found: tuple[Source, ...], begun_s: float
) -> tuple[PutBack, tuple[Restored, ...]]:
    restored: list[Restored] = []
    keys = frozenset(s.lost.key for s in found)
    with patient(connection, world.settings.apply_timeout_s), connection.transaction():
        done = put_back(
            connection, comparison(connection), lock_timeout_s=world.settings.lock_timeout_s, restoring=keys,
            fill=lambda: restored.extend(bringing_back.load(connection, found)),
        )  # fmt: skip
        sentences = [*(f"{about} put back" for about in dict.fromkeys(s.about for s in done.mending.statements)),
                     *(r.sentence for r in restored)]  # fmt: skip
        notes = f"repair: {'; '.join(sentences) or 'what stands apart'}"[:4000]
        backup = found[0].manifest.file if found else None
        duration_ms = elapsed_ms(world.clock, begun_s)
        log_id = journal.repaired(connection, run, notes=notes, backup_file=backup, duration_ms=duration_ms)
        _remember(connection, run, log_id, found, done, notes)
        world.reached("H1")
    world.reached("H2")
    return done, tuple(restored)


def _remember(connection: Connection, run: Run, log_id: int, found: tuple[Source, ...], done: PutBack, notes: str) -> None:
    """Where the restored tables and columns are now: releases from before can still be undone."""
    before = at_keys(recorded(connection).snapshot, ways_back.remade_since_recorded(connection))
    restored = {f"{s.lost.schema}.{s.lost.table}" for s in found}
    tables = {t.key for t in before.things if t.kind == "table" and f"{t.schema}.{t.name}" in restored}
    remade = {
        was: has for was, has in made_anew(before, done.after).items() if {was, before.by_key[was].parent} & tables
    }  # fmt: skip
    ways_back.made_anew(connection, run, log_id, remade=remade, notes=notes)


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
