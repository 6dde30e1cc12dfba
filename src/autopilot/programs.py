"""Subprocesses: the only place that starts one. A program to run is a value."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from autopilot import interrupts
from autopilot.errors import Refused

#: What a child inherits; everything else (PG*, LD_*, PYTHON*) could change what it does behind our back.
_INHERITED = ("PATH", "HOME", "USER", "LOGNAME", "TMPDIR", "TZ", "SSL_CERT_FILE", "SSL_CERT_DIR")


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """A program, its arguments and its surroundings. Secrets go into `env` or a file, never into `argv`."""

    argv: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    cwd: Path | None = None
    #: Run as this system user (needs root).
    user: str | None = None
    stdin: bytes | None = None
    #: Wall limit; the program is killed when it is over.
    timeout_s: float = 600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    returncode: int
    stdout: bytes
    stderr: str
    duration_s: float

    @property
    def ok(self) -> bool:
        return self.returncode == 0


def environment(extra: Mapping[str, str]) -> dict[str, str]:
    """A child's whole environment: a short list of ours, C.UTF-8 messages, then `extra`."""
    kept = {name: os.environ[name] for name in _INHERITED if name in os.environ}
    return kept | {"LC_ALL": "C.UTF-8", "LANG": "C.UTF-8"} | dict(extra)


def start(
    command: Command, *, stdout: int | None = subprocess.PIPE, stderr: int | None = subprocess.PIPE
) -> subprocess.Popen[bytes]:
    """Starts `command` in a session of its own, so that a Ctrl-C in the terminal reaches us alone.

    Raises Refused (`program_missing`, `program_not_executable`).
    """
    try:
        return subprocess.Popen(
            command.argv,
            env=environment(command.env),
            cwd=command.cwd,
            stdin=subprocess.DEVNULL if command.stdin is None else subprocess.PIPE,
            stdout=stdout,
            stderr=stderr,
            start_new_session=True,
            user=command.user,
            group=None if command.user is None else _group_of(command.user),
            extra_groups=None if command.user is None else (),
        )
    except FileNotFoundError as cause:
        raise Refused(
            f"The program {command.argv[0]} is not there.",
            code="program_missing",
            hint="Install it, or name its directory in the configuration.",
        ) from cause
    except PermissionError as cause:
        raise Refused(
            f"The program {command.argv[0]} may not be run: {cause.strerror}.",
            code="program_not_executable",
            hint="Check its permissions and those of the directories above it.",
        ) from cause


def run(command: Command) -> Finished:
    """Runs to the end and returns what came of it, whatever the exit status.

    The child's whole process group is killed at `timeout_s` and when we are interrupted.
    Raises Refused (`program_missing`, `program_not_executable`, `program_timed_out`).
    """
    begun = time.monotonic()
    with running(command) as child:
        try:
            stdout, stderr = child.communicate(command.stdin, timeout=command.timeout_s)
        except subprocess.TimeoutExpired as cause:
            raise Refused(
                f"{Path(command.argv[0]).name} did not finish within {command.timeout_s:.0f} s and was ended.",
                code="program_timed_out",
                hint="Look for what holds it up, or raise the limit.",
                retryable=True,
            ) from cause
    return Finished(
        returncode=child.returncode,
        stdout=stdout,
        stderr=stderr.decode("utf-8", "replace"),
        duration_s=time.monotonic() - begun,
    )


@contextlib.contextmanager
def running(
    command: Command, *, stdout: int | None = subprocess.PIPE, stderr: int | None = subprocess.PIPE
) -> Iterator[subprocess.Popen[bytes]]:
    """A started program that does not outlive the block, whatever signal arrives at whatever moment."""
    with contextlib.ExitStack() as stack:
        with interrupts.held_back():
            child = stack.enter_context(ended(start(command, stdout=stdout, stderr=stderr)))
        yield child


@contextlib.contextmanager
def ended(child: subprocess.Popen[bytes]) -> Iterator[subprocess.Popen[bytes]]:
    """The child does not outlive the block."""
    try:
        yield child
    finally:
        if child.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
            child.wait()
        for stream in (child.stdin, child.stdout, child.stderr):
            if stream is not None:
                stream.close()


def _group_of(user: str) -> int:
    import pwd

    return pwd.getpwnam(user).pw_gid
