"""Notices as rows: written in the transaction of what they tell of, sent afterwards, marked when they were taken.

What a notice says is not read here: it is a JSON document.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Literal

import psycopg
from psycopg.types.json import Jsonb

from autopilot.clock import Clock
from autopilot.postgres.queries import named
from autopilot.postgres.session import Connection

_QUERIES = named(__file__, "outbox.sql")

HeldBy = Literal["quiet", "backoff", "rest"]
#: Another session tells this database's notices for a few seconds at most.
_TURN_S = 10.0
_POLL_S = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    #: The same for every copy.
    key: str
    run_id: str
    environment: str
    action: str
    severity: str
    #: What a page that it opens is about: "release", or "channel:" and a name.
    about: str
    page: str | None
    notice: Mapping[str, Any]
    written_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """How far a letter is on its way to one channel."""

    channel: str
    state: Literal["waiting", "told", "dead"] = "waiting"
    tries: int = 0
    not_before: datetime | None = None
    #: Quiet hours, our own patience, or the channel asked for it; None: nothing.
    held_by: HeldBy | None = None
    moved_at: datetime | None = None
    answer: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    letter: Letter
    delivery: Delivery


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """What a person was called for and what nobody has said is over."""

    page: str
    environment: str
    about: str
    severity: str
    headline: str
    opened_at: datetime
    acked_at: datetime | None
    acked_by: str | None
    reminded_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Dead:
    """What a channel refused for good."""

    key: str
    written_at: datetime
    channel: str
    answer: str
    headline: str


class Box:
    """The outbox of one database, on a session of ours."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection

    def is_there(self) -> bool:
        row = self.connection.execute(_QUERIES["known"]).fetchone()
        return row is not None and bool(row[0])

    def any_waiting(self) -> bool:
        row = self.connection.execute(_QUERIES["any_waiting"]).fetchone()
        return row is not None and bool(row[0])

    def write(self, letter: Letter, deliveries: Sequence[Delivery]) -> Letter:
        """Written once, however often it is asked for; returns it with the page that it opens or joins."""
        with self.connection.transaction():
            row = self.connection.execute(_QUERIES["page_of"], (letter.key,)).fetchone()
            if letter.action == "open" and row is None:
                letter = replace(letter, page=self._open(letter))
            elif row is not None:
                letter = replace(letter, page=row[0])
            values = {name: getattr(letter, name) for name in Letter.__dataclass_fields__}
            self.connection.execute(_QUERIES["write"], values | {"notice": Jsonb(dict(letter.notice))})
            rows = [
                {
                    "channel": d.channel, "state": d.state, "tries": d.tries, "held_by": d.held_by, "answer": d.answer,
                    "not_before": _text(d.not_before), "moved_at": _text(d.moved_at),
                }
                for d in deliveries
            ]  # fmt: skip
            self.connection.execute(_QUERIES["to_channels"], {"deliveries": Jsonb(rows), "key": letter.key})
        return letter

    def _open(self, letter: Letter) -> str:
        row = self.connection.execute(
            _QUERIES["open_page"],
            {
                "page": letter.page or letter.key, "environment": letter.environment, "about": letter.about,
                "severity": letter.severity, "headline": str(letter.notice.get("headline", "")), "run_id": letter.run_id,
            },
        ).fetchone()  # fmt: skip
        return str(row[0]) if row is not None else letter.key

    def has(self, key: str) -> bool:
        return self.connection.execute(_QUERIES["page_of"], (key,)).fetchone() is not None

    def withdraw(self, key: str) -> None:
        """Takes back what no channel was told yet."""
        self.connection.execute(_QUERIES["withdraw"], {"key": key})

    def waiting(self) -> tuple[Waiting, ...]:
        """Oldest first."""
        rows = self.connection.execute(_QUERIES["waiting"]).fetchall()
        return tuple(
            Waiting(
                letter=Letter(
                    key=r[0], run_id=r[1], environment=r[2], action=r[3], severity=r[4], about=r[5], page=r[6], notice=r[7],
                    written_at=r[8],
                ),
                delivery=Delivery(channel=r[9], tries=r[10], not_before=r[11], held_by=r[12]),
            )
            for r in rows
        )  # fmt: skip

    def moved(self, keys: Sequence[str], delivery: Delivery) -> None:
        """What came of one try at telling these letters to a channel."""
        self.connection.execute(
            _QUERIES["moved"],
            {
                "keys": list(keys), "channel": delivery.channel, "state": delivery.state, "not_before": delivery.not_before,
                "held_by": delivery.held_by, "answer": delivery.answer,
            },
        )  # fmt: skip

    def resolve(self, *, environment: str, about: str, by: str) -> tuple[str, str] | None:
        """Ends the open page; returns it and its headline, None where none is open."""
        row = self.connection.execute(_QUERIES["resolve_page"], {"environment": environment, "about": about, "by": by}).fetchone()
        return None if row is None else (str(row[0]), str(row[1]))

    def opened_at(self, page: str) -> tuple[str, ...]:
        """Names of the channels that were told of it, or are to be."""
        return tuple(str(r[0]) for r in self.connection.execute(_QUERIES["opened_at"], (page,)).fetchall())

    def open_pages(self, environment: str | None = None) -> tuple[Page, ...]:
        return _pages(self.connection.execute(_QUERIES["open_pages"], {"environment": environment}).fetchall())

    def due_for_reminder(self, *, environment: str, every_s: float) -> tuple[Page, ...]:
        """Critical pages that nobody has acknowledged; each is given to one caller."""
        return _pages(self.connection.execute(_QUERIES["remind"], {"environment": environment, "every_s": every_s}).fetchall())

    def ack(self, page: str, *, by: str) -> bool:
        """False where somebody did before, or it is over."""
        return self.connection.execute(_QUERIES["ack"], {"page": page, "by": by}).fetchone() is not None

    def dead(self) -> tuple[Dead, ...]:
        rows = self.connection.execute(_QUERIES["dead"]).fetchall()
        return tuple(Dead(key=r[0], written_at=r[1], channel=r[2], answer=r[3], headline=r[4] or "") for r in rows)

    def revive(self) -> int:
        """What was refused is to be tried again; returns how many."""
        return self.connection.execute(_QUERIES["revive"]).rowcount

    def prune(self) -> None:
        self.connection.execute(_QUERIES["prune"])

    @contextmanager
    def turn(self, clock: Clock) -> Iterator[bool]:
        """Whether it is ours to tell; the turn of a session that died is free again."""
        deadline_s = clock.monotonic_s() + _TURN_S
        while not (mine := self._asks("take_turn")) and clock.monotonic_s() < deadline_s:
            clock.sleep(_POLL_S)
        try:
            yield mine
        finally:
            if mine and not self.connection.closed:
                self._asks("give_turn")

    def _asks(self, query: str) -> bool:
        row = self.connection.execute(_QUERIES[query]).fetchone()
        return row is not None and bool(row[0])


def _pages(rows: Sequence[tuple[Any, ...]]) -> tuple[Page, ...]:
    return tuple(
        Page(
            page=r[0], environment=r[1], about=r[2], severity=r[3], headline=r[4], opened_at=r[5], acked_at=r[6], acked_by=r[7],
            reminded_at=r[8],
        )
        for r in rows
    )  # fmt: skip


def _text(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat()


#: What a database does when it cannot be written to.
Trouble = psycopg.Error
