"""The messages that carry a transaction: BEGIN, limits, the author's text, ledger rows — all but the COMMIT."""

from __future__ import annotations

import bisect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from psycopg import pq

from autopilot import __version__
from autopilot.migrations import locks
from autopilot.migrations.unit import Part, Unit
from autopilot.postgres.message import Answer
from autopilot.postgres.queries import named
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
    #: The same where nobody's reads or writes queue behind the one that waits.
    gentle_lock_timeout_s: float = 30.0
    lock_tries: int = 10
    #: Wall limit for one segment.
    apply_timeout_s: float = 3600.0
    #: Whether the server can be told to notice that we are gone.
    checks_client: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """Where a part stands in its message; answers are counted over the whole message, from 0."""

    part: Part
    #: The answer to each of the author's statements.
    answers: tuple[int, ...]
    #: The character of the message at which each of them begins.
    places: tuple[int, ...]
    #: The character at which the part begins.
    begins: int
    #: The answers that tell the transaction's id.
    xid_before: int
    xid_after: int
    #: The answer to what checks deferred constraints.
    deferred: int
    #: The answers to looks at what was done: before the first statement, after each, after what was deferred.
    looks: tuple[int, ...] = ()

    def statement(self, finished: int) -> int:
        """Which of the author's statements (from 0) is at work, or made ready, once so many answers are in; their number
        where all are done, -1 before the first."""
        return -1 if finished <= self.xid_before else bisect.bisect_left(self.answers, finished)

    def in_file(self, position: int) -> int:
        """The character of the file at which PostgreSQL's 1-based `position` in the message points."""
        number = max(0, bisect.bisect_right(self.places, position - 1) - 1)
        return self.part.segment.statements[number].start + position - 1 - self.places[number]


@dataclass(frozen=True, slots=True, kw_only=True)
class Around:
    """What is said around one of the author's statements."""

    before: tuple[str, ...] = ()
    #: In its place, where that does the same and more; None = the statement itself.
    instead: tuple[str, ...] | None = None
    after: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Keeping:
    """What is said within a part so that the way back loses nothing. It is ours, and runs in the part's transaction."""

    opening: tuple[str, ...] = ()
    #: By the character of the file at which the author's statement begins.
    around: Mapping[int, Around] = field(default_factory=dict)
    closing: tuple[str, ...] = ()


_NOTHING_KEPT = Keeping()
_AS_IT_IS = Around()


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    text: str
    #: One a part.
    envelopes: tuple[Envelope, ...]

    @property
    def copy_rows(self) -> tuple[str, ...]:
        return tuple(rows for envelope in self.envelopes for rows in envelope.part.segment.copy_rows)

    def met(self, answer: Answer) -> Envelope:
        """The part at which a refused message stopped."""
        at = len(answer.finished)
        if at == 0 and answer.complaint is not None and answer.complaint.position is not None:
            # PostgreSQL's grammar takes the whole message or nothing of it
            at = max(e.xid_before + 1 for e in self.envelopes if e is self.envelopes[0] or e.begins < answer.complaint.position)
        return next((e for e in self.envelopes if at <= e.xid_after), self.envelopes[-1])


_QUERIES = {name: text.decode() for name, text in named(__file__, "wire.sql").items()}

_XID = "SELECT pg_catalog.pg_current_xact_id()::text"
#: What is checked at COMMIT is checked now, so that it can be said which file broke it.
_DEFERRED = "SET CONSTRAINTS ALL IMMEDIATE"
#: Our own rows are written as ourselves, whatever role the file has taken; its own choice is back after the COMMIT.
_AS_OURSELVES = ("SET LOCAL SESSION AUTHORIZATION DEFAULT", "SET LOCAL ROLE NONE")


def message(
    parts: Sequence[Part], stamp: Stamp, connection: Connection, *, opens: Sequence[str], then: Sequence[str] = (),
    look: str | None = None, keeping: Callable[[Part], Keeping] = lambda _part: _NOTHING_KEPT,
) -> Message:  # fmt: skip
    """Wraps each part and says `then` after it; `opens` begins the transaction and is empty in its later messages.

    `look` is asked before the author's first statement, after each, and after what is deferred; `keeping` tells what else
    is said in between.
    The COMMIT is a message of its own, so that the transaction's id is known before it is asked for.
    """
    script = _Script()
    envelopes: list[Envelope] = []
    for part in parts:
        before, after = _around(part, stamp, connection, opens=() if envelopes else opens)
        envelopes.append(_enveloped(script, part, before, after, look=look, keeping=keeping(part)))
        script.say_all(then)
    return Message(text="".join(script.texts), envelopes=tuple(envelopes))


@dataclass(slots=True)
class _Script:
    """A message as it grows: its text, and how many statements that is."""

    texts: list[str] = field(default_factory=list)
    length: int = 0
    said: int = 0

    def say(self, text: str) -> int:
        """Returns which answer will be its. A line of its own ends it, as it may end in a comment."""
        self.texts.append(f"{text}\n;\n")
        self.length += len(self.texts[-1])
        self.said += 1
        return self.said - 1

    def say_all(self, texts: Sequence[str]) -> list[int]:
        return [self.say(text) for text in texts]


def _enveloped(
    script: _Script, part: Part, before: Sequence[str], after: Sequence[str], *, look: str | None, keeping: Keeping
) -> Envelope:
    looking = () if look is None else (look,)
    begins = script.length
    xid_before = script.say_all(before)[-1]
    script.say_all(keeping.opening)
    answers, places, looks = [], [], script.say_all(looking)
    for statement in part.segment.statements:
        around = keeping.around.get(statement.start, _AS_IT_IS)
        script.say_all(around.before)
        places.append(script.length)
        answers.append(script.say_all((statement.text,) if around.instead is None else around.instead)[-1])
        script.say_all(around.after)
        looks += script.say_all(looking)
    deferred = script.say(_DEFERRED)
    looks += script.say_all(looking)
    script.say_all(keeping.closing)
    xid_after = script.say_all(after)[-1]
    return Envelope(
        part=part, answers=tuple(answers), places=tuple(places), begins=begins, xid_before=xid_before, xid_after=xid_after,
        deferred=deferred, looks=tuple(looks),
    )  # fmt: skip


def opening(unit: Unit, limits: Limits) -> tuple[str, ...]:
    """The BEGIN of a transaction, the author's own where there is one, and how long it waits for locks."""
    first = unit.parts[0]
    begin = first.segment.begin or "BEGIN"
    return (begin, f"SET LOCAL {_lock_timeout(limits)}") if waits_gently(unit) else (begin,)


def waits_gently(unit: Unit) -> bool:
    """Whether nobody queues behind it while it waits, and its author has not said himself how long that may be."""
    return all(locks.waits_gently(s.kind, s.locks) for part in unit.parts for s in part.segment.statements) and not any(
        part.author_set("lock_timeout") for part in unit.parts
    )


def patient(unit: Unit, limits: Limits) -> Limits:
    """The limits of one transaction."""
    return replace(limits, lock_timeout_s=limits.gentle_lock_timeout_s) if waits_gently(unit) else limits


def _around(part: Part, stamp: Stamp, connection: Connection, *, opens: Sequence[str]) -> tuple[list[str], list[str]]:
    """What is said before the author's text, and what after it and its checks; the last of each answers with the
    transaction's id."""
    fence = [_fence(part, stamp, connection)] if part.last else []
    early = part.number == 0  # a later part may run in a role of the file's choice
    before = [*opens, *(fence if early and fence else [_XID])]
    after = [*_AS_OURSELVES, *([] if early else fence), *_records(part, stamp, connection)]
    return before, after


#: A server whose client fell silent, network and all, lets go of what the session holds within half a minute.
_NOTICES_SILENCE = ("SET tcp_keepalives_idle = 10", "SET tcp_keepalives_interval = 5", "SET tcp_keepalives_count = 3")


def fresh(limits: Limits) -> tuple[str, ...]:
    """What makes a session as it was at first, but for our limits.

    It must be done before a file's message arrives: PostgreSQL reads a whole message under the settings
    (client_encoding, standard_conforming_strings) that are in force then. So it ends a message, or is one of its own.
    """
    guards = [
        f"SET {_lock_timeout(limits)}",
        "SET statement_timeout = 0",
        "SET idle_in_transaction_session_timeout = 0",
    ]
    checks = ["SET client_connection_check_interval = 1000"] if limits.checks_client else []
    return ("RESET SESSION AUTHORIZATION", "RESET ROLE", "RESET ALL", *guards, *_NOTICES_SILENCE, *checks)


def settings_left(part: Part) -> tuple[str, ...]:
    """The settings that a file's earlier parts left, to be made again where an earlier run did those parts."""
    return tuple(s.text for segment in part.migration.segments[: part.number] for s in segment.statements if s.sets_session)


def impatient_again(part: Part, limits: Limits) -> tuple[str, ...]:
    """Our lock_timeout, after a stand-alone statement that was let wait; the author's own is left alone."""
    after_patience = part.number > 0 and part.migration.segments[part.number - 1].kind == "alone"
    return (f"SET {_lock_timeout(limits)}",) if after_patience and not part.author_set("lock_timeout") else ()


def _lock_timeout(limits: Limits) -> str:
    return f"lock_timeout = {int(limits.lock_timeout_s * 1000)}"


def _fence(part: Part, stamp: Stamp, connection: Connection) -> str:
    """The ledger row comes first: its primary key stops whoever applies the same version at the same time."""
    file = part.migration.file
    values = (
        file.version, file.name, file.file, file.sha256, file.normalized_sha256, len(part.migration.statements),
        max(1, len(part.migration.segments)), stamp.run_id, stamp.triggered_by, stamp.commit_sha, stamp.tool_version,
        part.migration.change, part.migration.changes,
    )  # fmt: skip
    return _filled("fence", values, connection)


def _records(part: Part, stamp: Stamp, connection: Connection) -> list[str]:
    """Progress, where the file has several segments, and with the last Supabase's row and the end of the ledger row.

    The last of them answers with the transaction's id.
    """
    version, records = part.migration.version, []
    if not part.migration.transactional:
        own = part.migration.segments[part.number]
        records.append(_filled("segment_done", (version, part.number, own.sha256, stamp.run_id), connection))
    if part.last:
        texts = [statement.text for statement in part.migration.statements]
        records.append(_filled("supabase_row", (version, part.migration.file.name, texts), connection))
        records.append(_filled("ledger_finished", (version,), connection))
    return records


def _filled(query: str, values: Sequence[str | int | list[str] | None], connection: Connection) -> str:
    escaping = pq.Escaping(connection.pgconn)
    return _QUERIES[query].format(*(_literal(value, escaping) for value in values))


def _literal(value: str | int | list[str] | None, escaping: pq.abc.Escaping) -> str:
    if value is None or isinstance(value, int):
        return "NULL" if value is None else str(value)
    text = value if isinstance(value, str) else _array(value)
    return bytes(escaping.escape_literal(text.encode("utf-8"))).decode("utf-8")


def _array(elements: list[str]) -> str:
    """As PostgreSQL writes a text[]."""
    quoted = (element.replace("\\", "\\\\").replace('"', '\\"') for element in elements)
    return "{" + ",".join(f'"{element}"' for element in quoted) + "}"
