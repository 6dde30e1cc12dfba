"""The one message that carries a transaction: BEGIN, limits, the author's text, ledger rows — all but the COMMIT."""

from __future__ import annotations

from dataclasses import dataclass

from autopilot import __version__
from autopilot.migrations.unit import Part
from autopilot.postgres.queries import templates
from autopilot.postgres.session import Connection


@dataclass(frozen=True, slots=True, kw_only=True)
class Stamp:
    """What a ledger row says beside the file itself."""

    run_id: str
    triggered_by: str
    commit_sha: str | None
    tool_version: str = __version__


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    #: How long a statement waits for a lock before the whole transaction lets go and tries again.
    lock_timeout_s: float = 3.0
    lock_tries: int = 10
    #: Wall limit for one segment.
    apply_timeout_s: float = 3600.0
    #: Whether the server can be told to notice that we are gone.
    checks_client: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """A message and where its parts are: counts are of statements, `text_start` of characters."""

    text: str
    #: Index of the first of the author's statements among the answers.
    first: int
    #: How many statements are the author's.
    count: int
    #: Character of `text` at which the author's text begins.
    text_start: int
    xid_before: int
    xid_after: int


_QUERIES = templates(__file__, "wire.sql")

_XID = "SELECT pg_catalog.pg_current_xact_id()::text"
#: What is checked at COMMIT is checked now, so that it can be said which file broke it.
_DEFERRED = "SET CONSTRAINTS ALL IMMEDIATE"
#: Our own rows are written as ourselves, whatever role the file has taken; its own choice is back after the COMMIT.
_AS_OURSELVES = ("SET LOCAL SESSION AUTHORIZATION DEFAULT", "SET LOCAL ROLE NONE")


def envelope(part: Part, stamp: Stamp, connection: Connection, *, opens: bool) -> Envelope:
    """Wraps a part; `opens` is false for the later files of one transaction.

    The COMMIT is a message of its own, so that the transaction's id is known before it is asked for.
    """
    fence = [_fence(part, stamp, connection)] if part.last else []
    early = fence if part.number == 0 else []  # a later part may run in a role of the file's choice
    opening = [*([part.segment.begin or "BEGIN"] if opens else []), _XID]
    closing = [_DEFERRED, *_AS_OURSELVES, *(fence if not early else []), *_records(part, stamp, connection), _XID]
    head = ";\n".join([*opening, *early]) + ";\n"
    first, count = len(opening) + len(early), len(part.segment.statements)
    return Envelope(
        text=f"{head}{part.segment.text}\n;\n" + ";\n".join(closing),
        first=first,
        count=count,
        text_start=len(head),
        xid_before=len(opening) - 1,
        xid_after=first + count + len(closing) - 1,
    )


def fresh(limits: Limits) -> tuple[str, ...]:
    """What makes a session as it was at first, but for our limits.

    It must be a message of its own: PostgreSQL reads a whole message under the settings (client_encoding,
    standard_conforming_strings) that are in force when it arrives.
    """
    guards = [
        _lock_timeout(limits),
        "SET statement_timeout = 0",
        "SET idle_in_transaction_session_timeout = 0",
    ]
    checks = ["SET client_connection_check_interval = 1000"] if limits.checks_client else []
    return ("RESET SESSION AUTHORIZATION", "RESET ROLE", "RESET ALL", *guards, *checks)


def settings_left(part: Part) -> tuple[str, ...]:
    """The settings that a file's earlier parts left, to be made again where an earlier run did those parts."""
    return tuple(s.text for segment in part.migration.segments[: part.number] for s in segment.statements if s.sets_session)


def impatient_again(part: Part, limits: Limits) -> tuple[str, ...]:
    """Our lock_timeout, after a stand-alone statement that was let wait; the author's own is left alone."""
    after_patience = part.number > 0 and part.migration.segments[part.number - 1].kind == "alone"
    return (_lock_timeout(limits),) if after_patience and not part.author_set("lock_timeout") else ()


def _lock_timeout(limits: Limits) -> str:
    return f"SET lock_timeout = {int(limits.lock_timeout_s * 1000)}"


def _fence(part: Part, stamp: Stamp, connection: Connection) -> str:
    """The ledger row comes first: its primary key stops whoever applies the same version at the same time."""
    file = part.migration.file
    values = (
        file.version, file.name, file.file, file.sha256, file.normalized_sha256, len(part.migration.statements),
        max(1, len(part.migration.segments)), stamp.run_id, stamp.triggered_by, stamp.commit_sha, stamp.tool_version,
    )  # fmt: skip
    return _QUERIES["fence"].format(*values).as_string(connection)


def _records(part: Part, stamp: Stamp, connection: Connection) -> list[str]:
    """Progress, where the file has several segments, and with the last the end of the ledger row and Supabase's own."""
    version, records = part.migration.version, []
    if not part.migration.transactional:
        own = part.migration.segments[part.number]
        records.append(_QUERIES["segment_done"].format(version, part.number, own.sha256, stamp.run_id).as_string(connection))
    if part.last:
        texts = [statement.text for statement in part.migration.statements]
        records.append(_QUERIES["ledger_finished"].format(version).as_string(connection))
        records.append(_QUERIES["supabase_row"].format(version, part.migration.file.name, texts).as_string(connection))
    return records
