"""Puts back what is missing or changed, inside the caller's transaction, and proves it there. The caller commits."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import errors

from autopilot.errors import RolledBack
from autopilot.measures import counted
from autopilot.rollback.aligned import Aligned, holds_rows
from autopilot.rollback.mending import Apart, Mending, framing, mending
from autopilot.rollback.snapshot import Key, Snapshot, read
from autopilot.rollback.statement import Phase

#: Names in full, bodies not checked before what they speak of is there, and no policy may hide a row from a check.
_SETTINGS = {"search_path": "", "check_function_bodies": "off", "row_security": "off"}
_ROLES = "SELECT rolname::text FROM pg_catalog.pg_roles WHERE pg_catalog.pg_has_role(oid, 'MEMBER')"
#: Waiting again, or another session, may help.
PASSING = (errors.LockNotAvailable, errors.DeadlockDetected, errors.QueryCanceled, errors.SerializationFailure)
_UNCHANGED = "Nothing was changed: the database is as it was."

#: Gives the live catalog the form in which it is compared with the recorded one.
Compare = Callable[[Snapshot], Aligned]
#: Fills tables and columns that are there again, empty.
Fill = Callable[[], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class PutBack:
    """found, before: as it was; mending: what was decided and done; failed: by path, what PostgreSQL would not have."""

    before: Snapshot
    mending: Mending
    after: Snapshot
    failed: Mapping[str, str]


def roles(connection: psycopg.Connection[Any]) -> frozenset[str]:
    """Whom the session's role may act as."""
    return frozenset(row[0] for row in connection.execute(_ROLES))


def put_back(
    connection: psycopg.Connection[Any], compare: Compare, *, lock_timeout_s: float, restoring: frozenset[Key], fill: Fill
) -> PutBack:
    """Whatever cannot be put back is left, and the rest is done. `Mending.apart` is for after the COMMIT.

    Raises RolledBack (`repair_not_proven`), and psycopg.Error of `PASSING` or of a lost link.
    """
    for setting, value in {**_SETTINGS, "lock_timeout": f"{round(lock_timeout_s * 1000)}ms"}.items():
        connection.execute("SELECT set_config(%s, %s, true)", (setting, value))
    before = read(connection)
    if restoring:
        for statement in framing(compare(before), before, restoring=restoring):
            connection.execute(statement.text.encode())
        fill()
    live = read(connection) if restoring else before
    failed: dict[str, str] = {}
    while True:
        todo = mending(compare(live), live, failed=failed)
        trouble = _tried(connection, todo)
        if trouble is None:
            break
        about, why = trouble
        if about in failed:
            raise RolledBack(
                f"{about} could not be put back, and nothing without it: {why}",
                code="repair_failed", hint="Mend it by hand as the message says, then run again.", state=_UNCHANGED,
            )  # fmt: skip
        failed[about] = why
    after = read(connection)
    _proven(compare, before, after, todo, failed)
    return PutBack(before=before, mending=todo, after=after, failed=failed)


def _tried(connection: psycopg.Connection[Any], todo: Mending) -> tuple[str, str] | None:
    """What failed and why; then all of it is undone."""
    about = ""
    try:
        with connection.transaction():
            for statement in todo.statements:
                about = statement.about
                counts = statement.text if statement.phase is Phase.CHECK else statement.unless
                row = connection.execute(counts.encode()).fetchone() if counts else None
                if row is not None and row[0]:
                    raise _InTheWay(statement.sentence.replace("{rows}", counted(row[0], "row")))
                if statement.phase is not Phase.CHECK:
                    connection.execute(statement.text.encode())
    except _InTheWay as cause:
        return about, str(cause)
    except PASSING:
        raise
    except psycopg.Error as cause:
        if connection.broken or connection.closed:
            raise
        return about, said(cause)
    return None


class _InTheWay(Exception):
    """Rows that do not fit what was recorded."""


def said(cause: psycopg.Error) -> str:
    words = cause.diag.message_primary or " ".join(str(cause).split())
    return words + (f" ({cause.diag.message_detail})" if cause.diag.message_detail else "")


def _proven(compare: Compare, before: Snapshot, after: Snapshot, done: Mending, failed: Mapping[str, str]) -> None:
    """Nothing is left to do, and nothing of the user's is gone."""
    left = mending(compare(after), after, failed=failed)
    apart = {a.about for a in done.apart}
    wrong = [f"{s.about} is still not as it was recorded" for s in left.statements if s.about not in apart]
    had = {t.key: before.paths[t.key] for t in before.things if holds_rows(t)}
    wrong += [f"{path} is gone" for key, path in had.items() if key not in after.by_key]
    paths = {done.wanted.snapshot.paths[t.key] for t in done.wanted.snapshot.things} - {a.about for a in done.apart}
    wrong += [f"{path} is not there" for path in sorted(paths - after.by_path.keys())]
    if wrong:
        raise RolledBack(
            f"the repair did not lead to what was recorded: {'; '.join(wrong[:8])}",
            code="repair_not_proven", hint="Report this with the output of `autopilot repair --plan --json`.", state=_UNCHANGED,
        )  # fmt: skip


def run_apart(connection: psycopg.Connection[Any], apart: Apart, *, lock_timeout_s: float) -> str | None:
    """In autocommit, while others read and write. Returns why it failed; then nothing of it stays.

    Raises psycopg.Error of a lost link.
    """
    for setting, value in {**_SETTINGS, "lock_timeout": f"{round(lock_timeout_s * 1000)}ms"}.items():
        connection.execute("SELECT set_config(%s, %s, false)", (setting, value))
    try:
        for text in apart.statements:
            connection.execute(text.encode())
    except psycopg.Error as cause:
        if connection.broken or connection.closed:
            raise
        if apart.undo is not None:
            connection.execute(apart.undo.encode())
        return said(cause)
    return None
