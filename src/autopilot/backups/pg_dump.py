"""Runs pg_dump: hears what it says while it works, and puts its complaint into words of ours."""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import IO

from autopilot import programs
from autopilot.errors import Refused
from autopilot.killpoints import Reached
from autopilot.secret import scrub

#: Bytes written, tables begun, tables in all.
Progress = Callable[[int, int, int], None]

_TICK_S = 0.1
_PIECE_BYTES = 1 << 16
#: Of a complaint, so many lines of so many bytes are kept: names in it are whatever people chose.
_LINES, _LINE_BYTES = 20, 2000

_PREFIX = b"pg_dump: "
_COMPLAINTS = tuple(_PREFIX + word for word in (b"error:", b"detail:", b"hint:", b"warning:", b"fatal:"))
_TABLE = _PREFIX + b"dumping contents of table "


@dataclass(slots=True)
class Heard:
    """What pg_dump --verbose said: how many tables it began, and the lines that complain. Small, however much it says."""

    tables: int = 0
    _complaints: deque[bytes] = field(default_factory=lambda: deque(maxlen=_LINES))
    _rest: bytearray = field(default_factory=bytearray)

    def feed(self, piece: bytes) -> None:
        *lines, rest = (bytes(self._rest) + piece).split(b"\n")
        for line in lines:
            self._line(line[:_LINE_BYTES])
        self._rest = bytearray(rest[:_LINE_BYTES])

    def _line(self, line: bytes) -> None:
        if line.startswith(_TABLE):
            self.tables += 1
        elif line.startswith(_COMPLAINTS) or not line.startswith(_PREFIX):
            self._complaints.append(line)

    def words(self) -> str:
        return b"\n".join([*self._complaints, bytes(self._rest)]).decode("utf-8", "replace")


def run(
    command: programs.Command, *, known: tuple[str, ...], size_bytes: Callable[[], int], tables: int, progress: Progress,
    watch: Callable[[], None], reached: Reached,
) -> None:  # fmt: skip
    """To its end, or to `command.timeout_s`; nothing of it outlives the call.

    known: literal texts that must not be repeated. size_bytes: what is written so far. watch: called ten times a second, and
    may raise. Raises Refused (`backup_failed`, `backup_cut_off`, `backup_blocked`, `no_space`, `client_*`, `program_*`).
    """
    heard, deadline_s = Heard(), time.monotonic() + command.timeout_s
    with programs.running(command, stdout=subprocess.DEVNULL) as child:
        reached("B2")
        stream = child.stderr
        while child.poll() is None or stream is not None:
            stream = _listen(stream, heard)
            progress(size_bytes(), heard.tables, max(tables, heard.tables))
            watch()
            if time.monotonic() > deadline_s:
                raise Refused(
                    f"pg_dump did not finish within {command.timeout_s:.0f} s.",
                    code="backup_failed",
                    hint="Look for what holds it up (the network?), or raise backup_timeout_s in autopilot.toml.",
                    retryable=True,
                )
            if stream is None:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    child.wait(_TICK_S)
    if child.returncode != 0:
        raise refusal(heard.words(), child.returncode, written_bytes=size_bytes(), known=known)


def _listen(stream: IO[bytes] | None, heard: Heard) -> IO[bytes] | None:
    """What comes within a tick; None once nothing more will."""
    if stream is None:
        return None
    with selectors.DefaultSelector() as selector:
        selector.register(stream, selectors.EVENT_READ)
        if not selector.select(_TICK_S):
            return stream
    piece = os.read(stream.fileno(), _PIECE_BYTES)
    heard.feed(piece)
    return stream if piece else None


#: Clues in what pg_dump says, the first that fits: our code, whether the same command may be run again, what to do.
_MEANINGS: Mapping[tuple[str, ...], tuple[str, bool, str]] = {
    ("No space left", "Disk quota exceeded", "File too large"): (
        "no_space", False, "Make room there, or point backups_dir in autopilot.toml at a larger disk.",
    ),
    ("server version mismatch",): ("client_too_old", False, "Install the client programs of the server's version."),
    ("lock timeout", "could not obtain lock"): ("backup_blocked", True, "Let whoever holds the table end, then run again."),
    ("row-level security",): (
        "backup_failed", False, "Use a role that owns the tables or has BYPASSRLS: a backup must hold every row.",
    ),
    ("permission denied",): ("backup_failed", False, "Grant the role SELECT on what is named, or use the role that owns it."),
    ("SSL support is not compiled in", "no encryption"): (
        "client_without_tls", False, "Install PostgreSQL's client programs from its packages: they are built with TLS.",
    ),
    ("authentication failed", "no pg_hba.conf entry", "is not permitted to log in"): (
        "backup_failed", False, "Let the role connect twice from here: Autopilot itself, and pg_dump.",
    ),
    (
        "server closed the connection", "terminating connection", "could not receive data", "could not send data",
        "connection to server", "SSL SYSCALL", "SSL connection has been closed", "connection not open", "Connection reset",
        "no connection to the server", "invalid snapshot identifier", "could not import the requested snapshot",
        "the database system is", "lost synchronization", "Connection timed out", "Broken pipe",
    ): ("backup_cut_off", True, "Check the network and the server's log, then run again."),
}  # fmt: skip


def refusal(words: str, status: int, *, written_bytes: int, known: tuple[str, ...]) -> Refused:
    """pg_dump's complaint; status: as `subprocess` tells it, negative for a signal."""
    said = " ".join(scrub(words, known=known).split())[:600]
    if status < 0 and not said:
        return Refused(
            f"The backup failed: pg_dump was killed ({_signal(-status)}).",
            code="backup_failed",
            hint="Look for who did it (out of memory? dmesg tells), then run again.",
            retryable=True,
        )
    code, retryable, hint = next(
        (meaning for clues, meaning in _MEANINGS.items() if any(clue in said for clue in clues)),
        ("backup_failed", False, "Mend what pg_dump complains of, then run again."),
    )
    what = (
        f"There is no room for more than {written_bytes >> 20} MiB of the backup" if code == "no_space" else "The backup failed"
    )
    return Refused(f"{what}; pg_dump says: {said or 'nothing'}", code=code, hint=hint, retryable=retryable)


def _signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
