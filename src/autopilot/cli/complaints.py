"""An error as a tired person needs it, and as a script needs it."""

from __future__ import annotations

import sys
import traceback
from typing import Any

from autopilot.cli.frame import clean, emit, known_secrets
from autopilot.errors import AutopilotError, UsageError
from autopilot.secret import scrub


def complain(error: AutopilotError, *, as_json: bool, traceback_of: BaseException | None = None) -> int:
    """Shows an error that ended a command before it had anything else to show; returns the exit code."""
    known = known_secrets()
    if traceback_of is not None:
        sys.stderr.write(clean("".join(traceback.format_exception(traceback_of)), known=known))
    sys.stderr.write(sentences(error, known=known))
    if as_json:
        emit({"outcome": error.outcome, "error": error_document(error, known=known)})
    return error.exit_code


def complain_of_usage(message: str, *, command: str, as_json: bool) -> int:
    """A wrong command line, which click has shown already; returns the exit code."""
    error = UsageError(message, code="usage", hint=f"See what there is with: {command} --help")
    sys.stderr.write(f"Nothing was touched.\nNext: {error.hint}\n")
    if as_json:
        emit({"outcome": error.outcome, "error": error_document(error, known=known_secrets())})
    return error.exit_code


def file_trouble(cause: OSError) -> UsageError:
    """A file of the user's that cannot be read or written."""
    return UsageError(
        f"{cause.filename or 'A file'} cannot be used: {cause.strerror or cause}.",
        code="file_trouble",
        hint="Check the path, its permissions and the room on the disk.",
    )


def sentences(error: AutopilotError, *, known: tuple[str, ...]) -> str:
    """The error as a tired person needs it: what, the statement, where the database stands, what next."""
    lines = [error.message]
    if error.where.statement:
        lines += [f"    {line}" for line in error.where.statement.splitlines()]
    lines += [error.state, f"Next: {error.hint}"]
    return clean("\n".join(line for line in lines if line), known=known) + "\n"


def error_document(error: AutopilotError, *, known: tuple[str, ...]) -> dict[str, Any]:
    """The contract's `error` object, and beside it the state and whether a machine may try again."""

    def safe(text: str | None) -> str | None:
        return None if text is None else scrub(text, known=known)

    return {
        "code": error.code,
        "message": safe(error.message),
        "file": error.where.file,
        "line": error.where.line,
        "statement": safe(error.where.statement),
        "hint": safe(error.hint),
        "state": safe(error.state),
        "retryable": error.retryable,
    }
