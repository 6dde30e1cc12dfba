"""A program of the user's own that deploys: it ends when the deploy is done, with 0 where it is good.

`deploy_command` is an argv list, run without a shell. What it needs to know is in its environment: AUTOPILOT_DEPLOY_TITLE,
AUTOPILOT_DEPLOY_COMMIT, AUTOPILOT_DEPLOY_BRANCH, and the variables that `deploy_command_variables` names. On stdout it may
print JSON {"id", "url", "commit"} as its last line, every key optional; all else there is for people.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec

from autopilot import programs
from autopilot.deploys import fields
from autopilot.deploys.answers import one_line
from autopilot.deploys.deploy import Deploy, Host, Wanted

PLATFORM = "command"
_LONGEST_LINE_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    argv: tuple[str, ...]
    #: Of ours, for it.
    variables: Mapping[str, str]
    timeout_s: float

    def trigger(self, wanted: Wanted) -> Deploy:
        """Raises Refused (`program_*`) where it cannot be run or does not end; a bad end is a failed deploy."""
        told = {"AUTOPILOT_DEPLOY_TITLE": wanted.title, "AUTOPILOT_DEPLOY_COMMIT": wanted.commit or "",
                "AUTOPILOT_DEPLOY_BRANCH": wanted.branch or ""}  # fmt: skip
        done = programs.run(programs.Command(argv=self.argv, env={**self.variables, **told}, timeout_s=self.timeout_s))
        found = _last_line(done.stdout)
        why = next((line for line in reversed(done.stderr.splitlines()) if line.strip()), "")
        name = Path(self.argv[0]).name
        return Deploy(
            id=fields.words(found, "id") or None, state="success" if done.ok else "failed", said=f"exit {done.returncode}",
            commit=fields.text(found, "commit"), branch=wanted.branch, title=wanted.title, url=fields.address(found, "url"),
            error="" if done.ok else one_line(f"{name} ended with {done.returncode}{f': {why}' if why else ''}", 300),
        )  # fmt: skip


def host(argv: tuple[str, ...], *, variables: Mapping[str, str], timeout_s: float) -> Host:
    return Host(platform=PLATFORM, trigger=Program(argv=argv, variables=variables, timeout_s=timeout_s).trigger)


def _last_line(stdout: bytes) -> Mapping[str, object]:
    """The JSON object on the last line; an empty one where there is something else."""
    line = stdout.strip().rpartition(b"\n")[2]
    if len(line) > _LONGEST_LINE_BYTES:
        return {}
    try:
        found = msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
