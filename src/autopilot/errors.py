"""One tree of errors; each answers what failed, where the database stands, and what to do next.

AutopilotError
├── UsageError    exit 2   the command line, the configuration or a credential is wrong
├── Refused       exit 1   nothing was touched
├── Locked        exit 75  another run holds the lock
├── RolledBack    exit 3   it failed and the database is as it was
├── Stranded      exit 4   a person is needed; the message says for what
└── Stopped       exit 130 or 143, by signal; rolled back
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True, slots=True, kw_only=True)
class Where:
    """The place in a migration directory that an error speaks of."""

    file: str | None = None
    #: 1-based line in that file.
    line: int | None = None
    #: The statement's text, cut to a readable length.
    statement: str | None = None

    def __str__(self) -> str:
        if self.file is None:
            return ""
        return self.file if self.line is None else f"{self.file}:{self.line}"


NOWHERE = Where()


class AutopilotError(Exception):
    """A failure with its consequences.

    code: stable snake_case name, for scripts.
    hint: an imperative sentence, what a person does next.
    state: where the database stands.
    retryable: whether a machine may run the same command again as it is.
    """

    exit_code: ClassVar[int] = 1
    outcome: ClassVar[str] = "refused"
    usual_state: ClassVar[str] = "Nothing was touched."

    def __init__(
        self,
        message: str,
        *,
        code: str,
        hint: str,
        state: str | None = None,
        retryable: bool = False,
        where: Where = NOWHERE,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.hint = hint
        self.state = self.usual_state if state is None else state
        self.retryable = retryable
        self.where = where

    def __str__(self) -> str:
        return self.message


class UsageError(AutopilotError):
    """The command line, the configuration or a credential is wrong."""

    exit_code = 2


class Refused(AutopilotError):
    """Autopilot will not begin; the target was not touched."""


class Locked(AutopilotError):
    """Another run holds the target's lock."""

    exit_code = 75
    outcome = "locked"


class RolledBack(AutopilotError):
    """It began, failed, and was rolled back."""

    exit_code = 3
    outcome = "rolled_back"
    usual_state = "Rolled back: the database is as it was."


class Stranded(AutopilotError):
    """A person is needed; the hint says for what."""

    exit_code = 4
    outcome = "stranded"
    usual_state = "The database is between two states."


class Stopped(AutopilotError):
    """A signal ended the run. `exit_code` is 128 + the signal's number."""

    usual_state = "Rolled back: the database is as it was."

    def __init__(self, signal_number: int, *, message: str, state: str | None = None, outcome: str = "rolled_back") -> None:
        super().__init__(
            message, code="stopped", hint="Run the same command again when you are ready.", state=state, retryable=True
        )
        self.signal_number = signal_number
        self.exit_code = 128 + signal_number  # type: ignore[misc]  # the one error whose code depends on its cause
        self.outcome = outcome  # type: ignore[misc]  # and whose outcome depends on its moment


def unexpected(cause: BaseException) -> Stranded:
    """What nobody foresaw, still as an answer."""
    return Stranded(
        f"Autopilot met something it did not expect: {type(cause).__name__}: {' '.join(str(cause).split())[:300]}",
        code="unexpected",
        state="What was not committed is rolled back by the server; `autopilot status` tells what is in.",
        hint="Run again: whatever was left open is settled first. If it stays so, report it with --verbose's output.",
        retryable=True,
    )
