"""A deployed site as the stand-in host sees it: a program on a port of its own that can be stopped."""

from __future__ import annotations

import contextlib
import http.client
import socket
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from autopilot import programs
from autopilot.clock import Clock
from autopilot.errors import Refused
from autopilot.secret import Secret, literals, scrub

_START_LIMIT_S = 30.0
_ANSWER_LIMIT_S = 5.0
_PAUSE_S = 0.05
_LOG_TAIL_CHARS = 400


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    deploy_id: str
    port: int
    #: Ends the program when closed.
    ending: contextlib.ExitStack

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def stop(self) -> None:
        self.ending.close()


def started(
    *,
    deploy_id: str,
    checkout: Path,
    commit: str,
    database_url: Secret,
    clock: Clock,
    given_up: Callable[[], bool],
) -> Site:
    """Runs the checkout's site and returns when it answers.

    Raises Refused (`site_did_not_start`).
    """
    port = _free_port()
    log = checkout.with_suffix(".log")
    with contextlib.ExitStack() as stack:
        with log.open("wb") as out:
            command = _command(checkout=checkout, port=port, commit=commit, database_url=database_url)
            child = programs.start(command, stdout=out.fileno(), stderr=out.fileno())
        stack.enter_context(programs.ended(child))
        complaint = _complaint(child, port=port, clock=clock, given_up=given_up)
        if complaint is not None:
            words = scrub(log.read_text(errors="replace"), known=literals(database_url)).strip()
            raise Refused(
                f"{complaint} {words[-_LOG_TAIL_CHARS:]}".strip(),
                code="site_did_not_start",
                hint="Read the log beside the deploy's checkout.",
            )
        return Site(deploy_id=deploy_id, port=port, ending=stack.pop_all())


def _command(*, checkout: Path, port: int, commit: str, database_url: Secret) -> programs.Command:
    return programs.Command(
        argv=(sys.executable, "site/server.py"),
        cwd=checkout,
        env={
            "PORT": str(port),
            "COMMIT_REF": commit,
            "DATABASE_URL": database_url.reveal(),
            "STOP_ON_EOF": "1",
        },
        # The pipe stays open as long as we live; its end tells the site that we are gone, even by SIGKILL.
        stdin=b"",
    )


def _complaint(child: subprocess.Popen[bytes], *, port: int, clock: Clock, given_up: Callable[[], bool]) -> str | None:
    """Waits until the site answers; says why when it does not."""
    deadline_s = clock.monotonic_s() + _START_LIMIT_S
    while not _answers(port):
        if child.poll() is not None:
            return f"The site ended with status {child.returncode} before it answered."
        if given_up():
            return "The host was closed before the site answered."
        if clock.monotonic_s() > deadline_s:
            return f"The site did not answer within {_START_LIMIT_S:.0f} s."
        clock.sleep(_PAUSE_S)
    return None


def _answers(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_ANSWER_LIMIT_S)
    try:
        connection.request("GET", "/")
        connection.getresponse().read()
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
    return True


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port
