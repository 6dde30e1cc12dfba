"""Goes back by itself on a release that failed past its first COMMIT, where that loses nothing; else says how a person can.

What the old code can live with is not undone: then only the deploy goes back. Of a release that was deployed and proven, what
waited for that is undone alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import psycopg

from autopilot.audit import ways_back
from autopilot.audit.ways_back import Release
from autopilot.errors import AutopilotError, Refused, RolledBack, Stopped, Stranded
from autopilot.events import Noted, told
from autopilot.postgres.session import Connection
from autopilot.rollback.snapshot import encode, read
from autopilot.workflows import replay_in_place
from autopilot.workflows.logbook import Logbook, Wish
from autopilot.workflows.rollback import undone_together
from autopilot.workflows.undoing import Back
from autopilot.workflows.world import World

#: The new deploy did not come: the site still runs the code of before.
_OLD_CODE_SERVES = frozenset({"deploy_not_triggered", "deploy_did_not_come", "deploy_failed"})
#: What came of the last statement is not known, or a person has to look at it first.
_NOT_KNOWN = frozenset({
    "commit_in_doubt", "half_done_statement", "changed_half_way", "database_lost", "connection_lost", "unexpected", "stopped",
})  # fmt: skip
#: Changes that code from before the release cannot live with.
_BREAKING = frozenset({"contract", "irreversible"})
#: Changes that write no row and take nothing away: their way back is proven by the catalog alone.
_BY_CATALOG = frozenset({"expand"})
_AS_BEFORE = "Undone at once: the database is as it was before the release."
_GOES_ON = " What is in stays in and is not run again."


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What is known of a release that failed past its first COMMIT."""

    #: The error's.
    code: str
    #: All that was to be applied is in, and something after it failed.
    is_whole: bool
    #: Classes of the statements (`migrations.change.KINDS`).
    changes: frozenset[str]
    #: None: there was no rehearsal.
    proven: bool | None
    #: What going back would lose, in sentences.
    loses: tuple[str, ...]
    #: Whether it is written down what the database was before.
    recorded: bool


def decide(case: Case) -> str:
    """Pure: "go", "stay" (there is no need to), "loses", "unproven", or "unknown" (a person has to look)."""
    if not case.recorded or case.code in _NOT_KNOWN:
        return "unknown"
    if case.is_whole and (case.code not in _OLD_CODE_SERVES or not case.changes & _BREAKING):
        return "stay"
    if case.loses:
        return "loses"
    return "go" if case.proven or case.changes <= _BY_CATALOG else "unproven"


def gone_back(world: World, wish: Wish, book: Logbook, error: AutopilotError, connection: Connection) -> AutopilotError:
    """The error to tell in place of `error`: rolled back where going back worked, else what a person can do."""
    if not isinstance(error, Stranded) or book.migration_log_id is None or connection.closed:
        return error
    try:
        release = next((r for r in ways_back.releases(connection) if r.migration_log_id == book.migration_log_id), None)
        if release is None:
            return error
        ways_back.ended(connection, release.migration_log_id, after=encode(read(connection)).decode())
        verdict = decide(
            Case(
                code=error.code, is_whole=not book.pending, changes=book.changes, proven=release.proven, loses=release.loses,
                recorded=release.has_before,
            )
        )  # fmt: skip
        return _as_decided(world, wish, book, error, connection, release, verdict)
    except (Stopped, KeyboardInterrupt) as cause:
        return _stopped(cause, wish, error)
    except (AutopilotError, psycopg.Error) as cause:
        words = cause.message if isinstance(cause, AutopilotError) else " ".join(str(cause).split())
        error.hint += f" Going back by itself failed: {words[:300]}; `{_command(wish)}` tries it again."
    return error


def _as_decided(
    world: World, wish: Wish, book: Logbook, error: AutopilotError, connection: Connection, release: Release, verdict: str
) -> AutopilotError:
    if verdict == "loses" and book.slot is not None:
        return _with_the_backup(world, wish, book, error, connection, release)
    if verdict != "go":
        return _with_hint(error, wish, verdict, release.loses)
    return _go(world, wish, book, error, connection, release)


def _command(wish: Wish) -> str:
    return f"autopilot rollback --to {wish.run.run_id}"


def _with_hint(error: AutopilotError, wish: Wish, verdict: str, loses: tuple[str, ...]) -> AutopilotError:
    if verdict == "loses":
        error.state += f" Not undone by itself, because going back would lose data: {'; '.join(loses[:5])}."
        error.hint += f" Or go back and take that loss: `{_command(wish)} --accept-data-loss`."
    elif verdict == "unproven":
        error.state += " Not undone by itself, because no rehearsal has proven the way back."
        error.hint += f" Or go back: `{_command(wish)}`."
    elif verdict == "stay" and error.code == "deploy_not_proven":
        error.hint += f" To go back with the schema too: `{_command(wish)}`."
    return error


def _stopped(cause: Stopped | KeyboardInterrupt, wish: Wish, error: AutopilotError) -> AutopilotError:
    stopped = Stopped(
        int(getattr(cause, "signal_number", 2)), message=f"Stopped by a signal while going back, after this: {error.message}",
        state=f"Going back was rolled back. {error.state}", outcome="stranded",
    )  # fmt: skip
    stopped.hint = f"`{_command(wish)}` goes back; `autopilot migrate` goes on."
    return stopped


def _go(
    world: World, wish: Wish, book: Logbook, error: AutopilotError, connection: Connection, release: Release
) -> AutopilotError:
    everything = (*book.applied, *book.pending)
    stays = tuple(v for v in book.applied if v not in release.versions)
    state = _AS_BEFORE
    if stays:
        state = f"What waited for the deploy is undone at once; {', '.join(stays)} applied, and the new deploy is proven healthy."

    def closing(backs: Sequence[Back]) -> None:
        nonlocal state
        state += "".join(f" {s}." for back in backs for s in back.sentences)
        if not stays:
            ways_back.went_back_at_once(connection, wish.run.run_id, notes=f"{error.message} {state}")

    with told(world.tell, world.clock, "undo", "Going back: what is in would not work without what failed") as step:
        undone_together(world, step, connection, (release,), run=wish.run, begun_s=book.begun_s, closing=closing)
        step.says("the database is as it was before, and proven")
    book.applied, book.pending = stays, tuple(v for v in everything if v not in stays)
    kind = Stranded if stays else RolledBack
    return kind(
        error.message, code=error.code, hint=_next(error), state=state, retryable=error.retryable, where=error.where,
    )  # fmt: skip


def _with_the_backup(
    world: World, wish: Wish, book: Logbook, error: AutopilotError, connection: Connection, release: Release
) -> AutopilotError:
    """Where going back itself would lose something: the backup, with what others wrote since, or a person."""
    why = replay_in_place.why_not(book, release, connection)
    if why is None:
        world.tell(Noted(text="Going back would lose data: the backup comes back instead, with all that was written since."))
        try:
            done = replay_in_place.replay_in_place(world, wish, book, connection, release, notes=f"{error.message} {_AS_BEFORE}")
        except (Refused, RolledBack) as cause:
            why = cause.message
        else:
            state = _AS_BEFORE + "".join(f" {s[:1].upper()}{s[1:]}." for s in done.sentences)
            book.applied, book.pending = (), (*book.applied, *book.pending)
            return RolledBack(
                error.message, code=error.code, hint=_next(error), state=state, retryable=error.retryable, where=error.where
            )
    told = _with_hint(error, wish, "loses", release.loses)
    told.state += f" Nor could its backup come back with what was written since: {why.removesuffix('.')}."
    return told


def _next(error: AutopilotError) -> str:
    """The hint of before, less what is not true any more."""
    if error.code in _OLD_CODE_SERVES:
        return (
            "Look at the host's deploy log, and stop a build that is still under way there: its code expects what is undone now."
            " Then run again: everything is applied and deployed anew."
        )
    return error.hint.removesuffix(_GOES_ON)
