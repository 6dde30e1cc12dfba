"""Servers whose owner died without stopping them: found by the owner's free lock, ended, removed."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from autopilot.clock import SystemClock
from autopilot.postgres import homes
from autopilot.programs import Command, run

_PROGRAMS = frozenset({"postgres", "initdb"})
_GRACE_S = 5.0
_PS_LIMIT_S = 20.0


def sweep(root: Path) -> tuple[str, ...]:
    """Ends and removes every server below `root` whose owner is dead; returns their directories' names."""
    if not root.is_dir():
        return ()
    with homes.storage_errors(root):
        orphans = homes.abandoned(root)
    swept = []
    for home in orphans:
        if end(home.path / "data"):
            homes.remove(home)
            swept.append(home.path.name)
        else:
            home.lock.close()
    return tuple(swept)


def end(data_dir: Path) -> bool:
    """Ends whatever PostgreSQL program works in `data_dir`, without mercy for what it holds."""
    clock = SystemClock()
    for number in (signal.SIGQUIT, signal.SIGKILL):
        _send(number, running_in(data_dir))
        deadline_s = clock.monotonic_s() + _GRACE_S
        while running_in(data_dir) and clock.monotonic_s() < deadline_s:
            clock.sleep(0.02)
    return not running_in(data_dir)


def running_in(data_dir: Path) -> tuple[int, ...]:
    """The processes started with `-D data_dir`: a postmaster or initdb.

    Known by their command line, which names the random directory: a process id out of a file may long be
    somebody else's. (`/proc/<pid>/cwd` of another user is closed even to root in many containers.)
    """
    lines = _from_proc() if sys.platform == "linux" else _from_ps()
    return tuple(pid for pid, line in lines if _works_in(line, data_dir))


def _works_in(command_line: str, data_dir: Path) -> bool:
    program, _, arguments = command_line.partition(" -D ")
    return Path(program).name in _PROGRAMS and f"{arguments} ".startswith(f"{data_dir} ")


def _send(number: signal.Signals, pids: tuple[int, ...]) -> None:
    for pid in pids:
        with suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)


def _from_proc() -> Iterator[tuple[int, str]]:
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            with suppress(OSError):
                line = (entry / "cmdline").read_bytes()
                yield int(entry.name), os.fsdecode(line).replace("\0", " ")


def _from_ps() -> Iterator[tuple[int, str]]:
    listing = run(Command(argv=("ps", "-axww", "-o", "pid=,command="), timeout_s=_PS_LIMIT_S)).stdout
    for line in os.fsdecode(listing).splitlines():
        pid, _, command_line = line.strip().partition(" ")
        yield int(pid), command_line.strip()
