"""Undoes a migration inside the caller's transaction, and proves it there. The caller commits."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import errors
from psycopg.pq import TransactionStatus

from autopilot.errors import Refused, RolledBack
from autopilot.measures import counted
from autopilot.rollback import proof
from autopilot.rollback.moved import made_anew
from autopilot.rollback.reverse import way_back
from autopilot.rollback.snapshot import TRASH, Key, Snapshot, read
from autopilot.rollback.statement import Phase, Reversal, Statement, Trashed
from autopilot.rollback.undo.words import name

_UNCHANGED = "Nothing was changed: the release is in as before, and the database is as it was before this try."
#: For the commands alone: full names, bodies not checked before what they speak of is there, and no policy may hide a row.
_SETTINGS = {"search_path": "", "check_function_bodies": "off", "row_security": "off"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Undone:
    """A way back that was gone and proven, not yet committed.

    kept: what lies in the trash schema, with its rows. renumbered: columns that came back at another place.
    scanned: foreign keys whose every row was found to have its parent.
    """

    reversal: Reversal
    kept: tuple[tuple[Trashed, int], ...]
    renumbered: tuple[str, ...]
    scanned: tuple[str, ...]
    #: Told of it: what could not be put back as it was.
    notes: tuple[str, ...]
    #: Tables and columns that were made again: their keys before, and now.
    remade: Mapping[Key, Key]


def undo(
    connection: psycopg.Connection[Any],
    before: Snapshot,
    *,
    after: Snapshot | None = None,
    token: str,
    lock_timeout_s: float = 5.0,
    accept_loss: bool = False,
    covered: frozenset[str] = frozenset(),
    fill: Callable[[], None] | None = None,
) -> Undone:
    """Leads the catalog back to `before`; rows that have no place there are kept in the trash schema.

    after: the catalog right after the migration: what others made since stays. None: everything that differs is undone.
    token: begins the names in the trash schema; unique to this call.
    accept_loss: make again what was dropped although it comes back empty.
    covered: objects, by their names, whose rows `fill` brings back once tables and columns are there.

    The transaction is open and READ COMMITTED; when this raises, it is as it was before the call.
    Raises Refused (conflicts, losses, rows in the way), RolledBack (locks, failures, not proven) and psycopg.OperationalError
    when the link is lost.
    """
    if connection.info.transaction_status != TransactionStatus.INTRANS:
        raise ValueError("undo() works inside the caller's transaction")
    with _explained(connection), connection.transaction(), _settings(connection, lock_timeout_s):
        now, reversal = _locked(connection, before, after, token)
        _allowed(reversal, accept_loss=accept_loss, covered=covered)
        kept, left = _run(connection, reversal, fill)
        final = read(connection)
        scanned = _proven(connection, before, after or now, now, final, reversal, left=frozenset(left))
    return Undone(
        reversal=reversal, kept=kept, renumbered=tuple(proof.renumbered(before, final)), scanned=scanned,
        notes=tuple(left.values()), remade=made_anew(before, final),
    )  # fmt: skip


def _locked(
    connection: psycopg.Connection[Any], before: Snapshot, after: Snapshot | None, token: str
) -> tuple[Snapshot, Reversal]:
    """The catalog as it is once nobody else can change what matters."""
    seen = read(connection)
    planned = _planned(before, after, seen, token)
    _allowed(planned, accept_loss=True)
    for table in planned.locks:
        connection.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE".encode())
    now = read(connection)
    reversal = planned if now == seen else _planned(before, after, now, token)
    if not set(reversal.locks) <= set(planned.locks):
        raise RolledBack(
            "Somebody changed tables while they were being locked, so that others have to be locked too.",
            code="undo_locked", hint="Run the same command again.", state=_UNCHANGED, retryable=True,
        )  # fmt: skip
    return now, reversal


def _planned(before: Snapshot, after: Snapshot | None, now: Snapshot, token: str) -> Reversal:
    return way_back(before, now, token=token) if after is None else way_back(before, after, now, token=token)


def _allowed(reversal: Reversal, *, accept_loss: bool, covered: frozenset[str] = frozenset()) -> None:
    if reversal.conflicts:
        raise Refused(
            f"The release cannot be undone: what was made or changed since is in the way: {_listed(reversal.conflicts)}.",
            code="undo_conflict", hint="Drop or change these by hand or with a migration; then run again.", state=_UNCHANGED,
        )  # fmt: skip
    cannot = [c for c in reversal.cannot if c.about not in covered]
    if cannot and not accept_loss:
        raise Refused(
            f"Undoing it would lose something: {_listed([c.sentence for c in cannot])}.",
            code="undo_loses", hint=f"Take another route: {', '.join(cannot[0].routes)}.", state=_UNCHANGED,
        )  # fmt: skip


def _listed(sentences: Sequence[str]) -> str:
    shown = "; ".join(sentences[:10])
    return shown + (f"; and {len(sentences) - 10} more" if len(sentences) > 10 else "")


def _run(
    connection: psycopg.Connection[Any], reversal: Reversal, fill: Callable[[], None] | None
) -> tuple[tuple[tuple[Trashed, int], ...], dict[str, str]]:
    """What lies in the trash now, and by name what was left out, in a sentence."""
    left: dict[str, str] = {}
    for statement in reversal.statements:
        if fill is not None and statement.phase >= Phase.BIND:
            fill()
            fill = None
        if statement.phase is Phase.CHECK:
            rows = _count(connection, statement.text)
            if rows:
                raise Refused(
                    f"Rows written since do not fit what was before: {_counted(statement, rows)}.",
                    code="undo_rows_in_the_way", hint="Change these rows, then run again.", state=_UNCHANGED,
                )  # fmt: skip
        elif statement.unless and (rows := _count(connection, statement.unless)):
            left[statement.about] = _counted(statement, rows)
        else:
            connection.execute(statement.text.encode())
    if fill is not None:
        fill()
    kept = []
    for entry in reversal.moves_to_trash:
        rows = _count(connection, f"SELECT count(*) FROM {name(TRASH, entry.name)}")
        if rows or entry.what == "table":
            kept.append((entry, rows))
        else:
            connection.execute(f"DROP TABLE {name(TRASH, entry.name)}".encode())
    return tuple(kept), left


def _counted(statement: Statement, rows: int) -> str:
    return statement.sentence.replace("{rows}", counted(rows, "row"))


def _count(connection: psycopg.Connection[Any], query: str) -> int:
    row = connection.execute(query.encode()).fetchone()
    return 0 if row is None else int(row[0])


def _proven(
    connection: psycopg.Connection[Any], before: Snapshot, after: Snapshot, now: Snapshot, final: Snapshot, reversal: Reversal, *,
    left: frozenset[str],
) -> tuple[str, ...]:  # fmt: skip
    wrong = proof.differences(before, after, now, final, left=left) + proof.rewound(now, final)
    scanned = []
    for path, query in proof.orphan_scans(final, reversal.locks):
        scanned.append(path)
        rows = _count(connection, query)
        wrong += [f"{path}: {counted(rows, 'row')} without a parent"] if rows else []
    if wrong:
        raise RolledBack(
            f"The release was undone for a try, and the database was not as before: {_listed(wrong)}.",
            code="undo_not_proven", hint="Take another route, and report this with --verbose's output.", state=_UNCHANGED,
        )  # fmt: skip
    return tuple(scanned)


@contextlib.contextmanager
def _settings(connection: psycopg.Connection[Any], lock_timeout_s: float) -> Iterator[None]:
    """For this work only: what stood there stands there again afterwards, or after the savepoint is rolled back."""
    wanted = {**_SETTINGS, "lock_timeout": f"{round(lock_timeout_s * 1000)}ms"}
    values = {}
    for setting, value in wanted.items():
        row = connection.execute("SELECT current_setting(%s), set_config(%s, %s, true)", (setting, setting, value)).fetchone()
        values[setting] = "" if row is None else row[0]
    yield
    for setting, value in values.items():
        connection.execute("SELECT set_config(%s, %s, true)", (setting, value))


@contextlib.contextmanager
def _explained(connection: psycopg.Connection[Any]) -> Iterator[None]:
    """PostgreSQL's refusals as ours; a lost link stays what it is."""
    try:
        yield
    except (errors.LockNotAvailable, errors.DeadlockDetected, errors.QueryCanceled) as cause:
        hint = "Others use these tables; run again when they are done, or wait longer."
        raise _because(cause, hint, code="undo_locked", retryable=True) from cause
    except (psycopg.IntegrityError, psycopg.DataError) as cause:
        hint = "Change the rows that do not fit what was before, then run again."
        raise _because(cause, hint, code="undo_rows_in_the_way") from cause
    except psycopg.Error as cause:
        if connection.broken or connection.closed:
            raise
        raise _because(cause, "Take another route, or do as the message says and run again.", code="undo_failed") from cause


def _because(cause: psycopg.Error, hint: str, *, code: str, retryable: bool = False) -> RolledBack:
    said = cause.diag.message_primary or str(cause)
    detail = f" ({cause.diag.message_detail.rstrip('.')})" if cause.diag.message_detail else ""
    message = f"PostgreSQL refused to undo the release: {said}{detail}."
    return RolledBack(message, code=code, hint=hint, state=_UNCHANGED, retryable=retryable)
