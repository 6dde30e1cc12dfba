"""Writes the migration file for what somebody added by hand; never over another."""

from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path

from autopilot.errors import Refused

_NAME = "adopt_drift"


def write(text: str, directory: Path, *, now: datetime) -> Path:
    """The new file; or the one that says the same already. Raises Refused (`migration_exists`) and OSError."""
    same = next((p for p in sorted(directory.glob(f"*_{_NAME}.sql")) if p.read_text(encoding="utf-8") == text), None)
    if same is not None:
        return same
    path = directory / f"{now:%Y%m%d%H%M%S}_{_NAME}.sql"
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
    except FileExistsError as cause:
        raise Refused(
            f"{path} is there already, and nothing is written over it.",
            code="migration_exists", hint="Run again in a second: the name begins with the time.", retryable=True,
        ) from cause  # fmt: skip
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        stream.write(text)
    return path
