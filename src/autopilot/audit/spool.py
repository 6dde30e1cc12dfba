"""Notices that no database could be told of: a file of JSON lines, for its owner's eyes only.

They lie there until a run can write them to the outbox, or until every channel has taken them.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from autopilot.audit.outbox import Delivery, Letter, Waiting
from autopilot.postgres.address import completed, parameters
from autopilot.secret import Secret

#: A file beyond this is not ours any more.
_LARGEST_BYTES = 16 * 1024 * 1024


class Line(msgspec.Struct, frozen=True, kw_only=True):
    letter: Letter
    deliveries: tuple[Delivery, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Spool:
    """The spool of one target; processes take turns by a lock on a file beside it."""

    file: Path

    def lines(self) -> tuple[Line, ...]:
        with self._locked():
            return self._read()

    def write(self, letter: Letter, deliveries: Sequence[Delivery]) -> Letter:
        """Written once, however often it is asked for. A page that is open here about the same is joined."""
        with self._locked():
            found = self._read()
            if all(line.letter.key != letter.key for line in found):
                if letter.action == "open":
                    same = (o.letter for o in found if o.letter.action == "open" and o.letter.about == letter.about)
                    letter = replace(letter, page=next((o.page for o in same if o.page), letter.page or letter.key))
                self._put((*found, Line(letter=letter, deliveries=tuple(deliveries))))
            else:
                letter = next(line.letter for line in found if line.letter.key == letter.key)
        return letter

    def waiting(self) -> tuple[Waiting, ...]:
        return tuple(
            Waiting(letter=line.letter, delivery=d) for line in self.lines() for d in line.deliveries if d.state == "waiting"
        )

    def moved(self, keys: Sequence[str], delivery: Delivery) -> None:
        """What came of one try; `delivery.tries` is counted here."""
        with self._locked():
            self._put(tuple(_after(line, delivery) if line.letter.key in keys else line for line in self._read()))

    def taken_over(self, keys: Sequence[str]) -> None:
        """These stand in the outbox now."""
        with self._locked():
            self._put(tuple(line for line in self._read() if line.letter.key not in keys))

    def sweep(self) -> None:
        """Leaves what waits, and pages that opened: these are taken over by the outbox, so that they can be resolved."""
        if self.is_empty():
            return
        with self._locked():
            self._put(
                tuple(
                    line for line in self._read()
                    if line.letter.action == "open" or any(d.state == "waiting" for d in line.deliveries)
                )
            )  # fmt: skip

    def is_empty(self) -> bool:
        return not self.file.exists()

    def _read(self) -> tuple[Line, ...]:
        """A line that cannot be read is left out: half of it was written when the power went."""
        found: list[Line] = []
        try:
            if self.file.stat().st_size > _LARGEST_BYTES:
                return ()
            text = self.file.read_bytes()
        except FileNotFoundError:
            return ()
        for line in text.splitlines():
            with contextlib.suppress(msgspec.DecodeError):
                found.append(msgspec.json.decode(line, type=Line))
        return tuple(found)

    def _put(self, lines: Sequence[Line]) -> None:
        """Whole, or as it was; no file where nothing is left."""
        if not lines:
            self.file.unlink(missing_ok=True)
            return
        beside = self.file.with_suffix(".new")
        beside.unlink(missing_ok=True)
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "wb") as out:
            out.write(b"".join(msgspec.json.encode(line) + b"\n" for line in lines))
            out.flush()
            os.fsync(out.fileno())
        beside.replace(self.file)
        directory = os.open(self.file.parent, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        self.file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(self.file.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)


def spool(state_dir: Path, *, environment: str, target: Secret) -> Spool:
    """The spool of this target: each environment and database has its own. Raises UsageError (`bad_database_url`)."""
    params = completed(parameters(target))
    where = "/".join(params.get(name, "") for name in ("host", "hostaddr", "port", "dbname"))
    which = hashlib.sha256(where.encode()).hexdigest()[:12]
    return Spool(file=state_dir / f"notices-{re.sub(r'[^A-Za-z0-9_-]', '_', environment)[:40]}-{which}.jsonl")


def _after(line: Line, told: Delivery) -> Line:
    moved = tuple(
        replace(told, tries=d.tries + 1) if d.channel == told.channel and d.state == "waiting" else d for d in line.deliveries
    )
    return Line(letter=line.letter, deliveries=moved)
