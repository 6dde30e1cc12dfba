"""A statement that no transaction can hold: intent, run, ask the catalog what came of it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql
from psycopg.types.json import Jsonb

from autopilot.migrations import failure, grammar, indexes
from autopilot.migrations.segments import Segment
from autopilot.migrations.unit import Part
from autopilot.postgres.bounded import ANSWER_S, patient
from autopilot.postgres.message import ConnectionLost, DeadlinePassed, Patience, ask, send
from autopilot.postgres.queries import named
from autopilot.postgres.session import Connection

_QUERIES = named(__file__, "alone.sql")


#: A half-built index that cannot be dropped in this time, because somebody still looks at it, is left and named.
_DROP_PATIENCE_S = 3.0
#: Of these nobody but a person can tell how far an attempt came.
_COMMITS_ON_THE_WAY = {"call_stmt", "do_stmt"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """A segment's progress row."""

    state: str
    #: For an index build: the table and the indexes it had before, by number and by name.
    before: dict[str, Any] | None
    #: Of the segment's text when it was begun.
    sha256: str


def progress(connection: Connection, version: str) -> dict[int, Mark]:
    rows = connection.execute(_QUERIES["progress"], (version,))
    return {row[0]: Mark(state=row[1], before=row[2], sha256=row[3]) for row in rows}


def begun(connection: Connection, versions: tuple[str, ...]) -> dict[str, dict[int, Mark]]:
    """The progress of those versions that an earlier run has begun."""
    found: dict[str, dict[int, Mark]] = {}
    for version, segment, state, before, sha256 in connection.execute(_QUERIES["begun"], (list(versions),)):
        found.setdefault(version, {})[segment] = Mark(state=state, before=before, sha256=sha256)
    return found


def run(
    part: Part,
    connection: Connection,
    ledger: Connection,
    *,
    patience: Patience,
    run_id: str,
    mark: Mark | None,
    reached: Callable[[str], None],
    tell: Callable[[str], None],
) -> None:
    """Runs the statement unless the catalog shows that an earlier run's attempt succeeded.

    What an earlier attempt left half-built is removed first, and `tell` hears of it. `connection` is the file's own session,
    in whatever role and search_path the file has chosen; our rows are written on `ledger`. Raises RolledBack or Stranded.
    """
    segment, number, migration = part.segment, part.number, part.migration
    if mark is not None and segment.statements[0].kind in _COMMITS_ON_THE_WAY:
        raise failure.undecided(part)
    if mark is not None and _came_through(segment, connection, ledger, mark, timeout_s=patience.timeout_s, tell=tell):
        tell(f"{_place(part)}: an earlier run's {segment.statements[0].alone_because} went through, the catalog shows.")
        return
    before = mark.before if mark is not None and mark.before is not None else _before(segment, connection)
    ledger.execute(
        _QUERIES["intend"],
        (migration.version, number, segment.sha256, run_id, Jsonb(before)),
    )
    reached("A9")
    try:
        answer = ask(connection, _patient(segment, part), timeout_s=30)
        if answer.complaint is None:
            answer = send(connection, segment.text, patience=patience)
    except (ConnectionLost, DeadlinePassed) as cause:
        raise failure.alone_interrupted(part, cause) from cause
    except KeyboardInterrupt as cause:
        cause.add_note(_after_interrupt(part, ledger, before))
        raise
    if answer.complaint is not None:
        leftover = _clear(segment, ledger, before)
        if leftover is None and segment.statements[0].kind not in _COMMITS_ON_THE_WAY:
            _forget(ledger, migration.version, number)
        raise failure.alone_failed(answer.complaint, part, leftover=leftover)
    _refuse_invalid(part, connection)


def _after_interrupt(part: Part, ledger: Connection, before: dict[str, Any]) -> str:
    """Takes away what the cancelled statement left; what is left all the same, in words."""
    segment = part.segment
    if segment.statements[0].kind in _COMMITS_ON_THE_WAY:
        return f"{segment.statements[0].alone_because or segment.statements[0].kind} may have committed some of its work."
    leftover = _clear(segment, ledger, before)
    if leftover is None:
        _forget(ledger, part.migration.version, part.number)
        return ""
    return f"Left behind: {leftover}; the next run takes it away and builds it anew."


def _patient(segment: Segment, part: Part) -> str:
    """CONCURRENTLY waits for other transactions without standing in anybody's way: a lock_timeout would only leave
    a half-built index. The author's own lock_timeout is kept."""
    waits = "CONCURRENTLY" in (segment.statements[0].alone_because or "") and not part.author_set("lock_timeout")
    return "SET lock_timeout = 0" if waits else "SELECT"


def _place(part: Part) -> str:
    return f"{part.migration.file.file}:{part.segment.statements[0].line}"


def _came_through(
    segment: Segment, connection: Connection, ledger: Connection, mark: Mark, *, timeout_s: float, tell: Callable[[str], None]
) -> bool:
    """What the catalog says of an attempt whose end nobody saw. Removes a half-built index, within `timeout_s`."""
    statement = segment.statements[0]
    if statement.kind == "index_stmt" and mark.before is not None:
        new = _new_indexes(segment, ledger, mark.before)
        names = [name for oid, valid in new if not valid and (name := _name(ledger, oid)) is not None]
        _drop_invalid(ledger, new, patience_s=timeout_s)
        for name in names:
            tell(f"The index {name}, which an earlier run left half-built, is dropped and built anew.")
        return any(valid for _, valid in new)
    if statement.kind == "alter_table_stmt":
        return _detached(statement.text, connection, timeout_s=timeout_s)
    if statement.kind in {"drop_stmt", "dropdb_stmt", "createdb_stmt"}:
        return _exists(statement.text, connection) is (statement.kind == "createdb_stmt")
    return False  # VACUUM, REINDEX, ALTER SYSTEM and the like may simply run again


def _before(segment: Segment, connection: Connection) -> dict[str, Any]:
    statement = segment.statements[0]
    if statement.kind != "index_stmt":
        return {}
    table = indexes.table(statement.text)
    row = connection.execute(
        _QUERIES["table_and_indexes"],
        {"table": table},
    ).fetchone()
    return {} if row is None or row[0] is None else {"table": row[0], "indexes": row[1], "name": row[2], "names": row[3]}


def _new_indexes(segment: Segment, ledger: Connection, before: dict[str, Any]) -> list[tuple[int, bool]]:
    """Indexes that came to the table since the intent and are the statement's own: by name, or by definition."""
    if "table" not in before:
        return []
    wanted = indexes.wanted(segment.text)
    rows = ledger.execute(_QUERIES["new_indexes"], {"name": None, "names": [], **before}).fetchall()
    return [(int(oid), bool(valid)) for oid, valid, name, definition in rows if wanted.is_(name, definition)]


def _drop_invalid(connection: Connection, indexes: Sequence[tuple[int, bool]], *, patience_s: float = _DROP_PATIENCE_S) -> None:
    for oid, valid in indexes:
        name = None if valid else _name(connection, oid)
        if name is not None:
            connection.execute(f"SET statement_timeout = {int(patience_s * 1000)}".encode())
            answers = patient(connection, patience_s + ANSWER_S)
            with answers, contextlib.suppress(psycopg.errors.QueryCanceled, psycopg.errors.LockNotAvailable):
                connection.execute(sql.SQL("DROP INDEX CONCURRENTLY IF EXISTS {}").format(sql.SQL(name)))
            connection.execute("RESET statement_timeout")


def _clear(segment: Segment, ledger: Connection, before: dict[str, Any]) -> str | None:
    """Drops the invalid index that a failed build left; names it when that fails too."""
    if segment.statements[0].kind != "index_stmt":
        return None
    ours = [(oid, valid) for oid, valid in _new_indexes(segment, ledger, before) if not valid]
    _drop_invalid(ledger, ours)
    left = [name for oid, _ in ours if (name := _name(ledger, oid)) is not None]
    return f"the invalid index {left[0]} (DROP INDEX CONCURRENTLY {left[0]};)" if left else None


def _detached(text: str, connection: Connection, *, timeout_s: float) -> bool:
    """Whether the partition is off its table; one that hangs half-way is finalised, within `timeout_s`."""
    found = indexes.detachment(text)
    if found is None:
        return False
    row = connection.execute(_QUERIES["detach_pending"], (found.partition, found.parent)).fetchone()
    if row is None:
        return True
    if row[0]:
        finalize = sql.SQL("ALTER TABLE {} DETACH PARTITION {} FINALIZE")
        with patient(connection, timeout_s):
            connection.execute(finalize.format(sql.SQL(found.parent), sql.SQL(found.partition)))
        return True
    return False


def _name(connection: Connection, oid: int) -> str | None:
    row = connection.execute(
        _QUERIES["index_name"],
        (oid,),
    ).fetchone()
    return None if row is None else str(row[0])


def _refuse_invalid(part: Part, connection: Connection) -> None:
    """CREATE INDEX CONCURRENTLY IF NOT EXISTS is content with an invalid index of that name; we are not."""
    segment = part.segment
    if segment.statements[0].kind != "index_stmt":
        return
    node = grammar.parse(segment.text)[0].stmt.index_stmt
    if not (node.if_not_exists and node.idxname):
        return
    row = connection.execute(
        _QUERIES["invalid_index"],
        (indexes.table(segment.text), node.idxname),
    ).fetchone()
    if row is not None:
        raise failure.invalid_index(part, str(row[0]))


def _exists(text: str, connection: Connection) -> bool:
    """Whether the thing that a DROP or CREATE DATABASE names is there."""
    stmt = grammar.parse(text)[0].stmt
    kind = stmt.WhichOneof("node")
    if kind in {"createdb_stmt", "dropdb_stmt"}:
        row = connection.execute(_QUERIES["database_exists"], (getattr(stmt, kind).dbname,)).fetchone()
    else:
        parts = [item.string.sval for item in stmt.drop_stmt.objects[0].list.items]
        row = connection.execute(_QUERIES["relation_exists"], (sql.Identifier(*parts).as_string(None),)).fetchone()
    return row is not None and row[0] > 0


def _forget(connection: Connection, version: str, number: int) -> None:
    connection.execute(
        _QUERIES["forget"],
        (version, number),
    )
