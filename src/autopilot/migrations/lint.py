"""What squawk has to say about the pending files, in our severities and with 1-based lines."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import msgspec

from autopilot import programs
from autopilot.meanwhile import Meanwhile, meanwhile
from autopilot.migrations.segments import Migration


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    file: str
    rule: str
    #: "danger": blocks reads or writes, or loses data; "warning": worth a look; "info": taste.
    severity: str
    line: int
    message: str
    hint: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    findings: tuple[Finding, ...]
    #: Why there are none, when the linter could not be asked.
    unavailable: str | None = None


class _Row(msgspec.Struct):
    """squawk's own JSON; every finding is level "Warning", lines count from 0."""

    file: str
    line: int
    message: str
    rule_name: str
    help: str | None = None


#: Autopilot sets the timeouts itself, and its ledger makes a re-run impossible.
_SETTLED_BY_US = ("require-lock-timeout", "require-statement-timeout", "require-timeout-settings", "prefer-robust-stmts")

_SHARED_MEMORY = "/dev/shm"  # noqa: S108 - a private directory is made in it

_DANGER = {
    "adding-field-with-default", "adding-foreign-key-constraint", "adding-not-nullable-field", "adding-required-field",
    "adding-serial-primary-key-field", "ban-drop-column", "ban-drop-database", "ban-drop-table", "ban-drop-not-null",
    "ban-truncate-cascade", "changing-column-type", "constraint-missing-not-valid", "disallowed-unique-constraint",
    "renaming-column", "renaming-table", "require-concurrent-index-creation", "require-concurrent-index-deletion",
    "syntax-error", "transaction-nesting",
}  # fmt: skip
_TASTE = {"prefer-bigint-over-int", "prefer-bigint-over-smallint", "prefer-identity", "prefer-text-field", "prefer-timestamp-tz",
          "ban-char-field", "prefer-big-int", "require-table-schema"}  # fmt: skip


def severity(rule: str) -> str:
    """Ours for squawk's rule: squawk itself calls every finding a warning."""
    if rule in _DANGER:
        return "danger"
    return "info" if rule in _TASTE else "warning"


def lint(migrations: tuple[Migration, ...], *, server_major: int) -> Report:
    """Findings for `migrations`, in file and line order. Never raises: a linter that fails is reported."""
    executable = _squawk()
    if executable is None:
        return Report(findings=(), unavailable="squawk is not installed")
    found: list[Finding] = []
    for in_transaction in (True, False):
        group = tuple(m for m in migrations if m.transactional is in_transaction and m.statements)
        if group:
            output = _ask(executable, group, server_major=server_major, in_transaction=in_transaction)
            try:
                found += findings(output)
            except msgspec.DecodeError:
                return Report(findings=(), unavailable=f"squawk's answer could not be read: {output[:200]!r}")
    order = {m.file.file: i for i, m in enumerate(migrations)}
    return Report(findings=tuple(sorted(found, key=lambda f: (order.get(f.file, 0), f.line, f.rule))))


def begun(migrations: tuple[Migration, ...], *, server_major: int) -> Meanwhile[Report]:
    """`lint` on its way while the caller does something else."""
    return meanwhile(lambda: lint(migrations, server_major=server_major), name="lint")


def findings(output: bytes) -> tuple[Finding, ...]:
    """squawk's JSON as findings."""
    rows = msgspec.json.decode(output or b"[]", type=list[_Row])
    return tuple(
        Finding(
            file=Path(row.file).name,
            rule=row.rule_name,
            severity=severity(row.rule_name),
            line=row.line + 1,
            message=row.message,
            hint=row.help,
        )
        for row in rows
    )


def _ask(executable: str, group: tuple[Migration, ...], *, server_major: int, in_transaction: bool) -> bytes:
    raw = [(migration.file.file, migration.sql.encode("utf-8")) for migration in group]
    with tempfile.TemporaryDirectory(prefix="autopilot-lint-", dir=_in_memory(sum(len(text) for _, text in raw))) as directory:
        paths = []
        for file, text in raw:
            path = f"{directory}/{file}"
            with open(path, "wb") as stream:  # noqa: PTH123 - thousands of them, and Path takes as long as the disk
                stream.write(text)
            paths.append(path)
        command = (
            executable, "--reporter", "json", "--pg-version", f"{server_major}.0", f"--exclude={','.join(_SETTLED_BY_US)}",
            "--assume-in-transaction" if in_transaction else "--no-assume-in-transaction", "--", *paths,
        )  # fmt: skip
        return programs.run(programs.Command(argv=command, timeout_s=120)).stdout


def _in_memory(size_bytes: int) -> str | None:
    """Where thousands of small files are made in no time, if there is such a place and room there."""
    try:
        free_bytes = shutil.disk_usage(_SHARED_MEMORY).free
    except OSError:
        return None
    needed_bytes = 4 * size_bytes + (64 << 20)
    return _SHARED_MEMORY if os.access(_SHARED_MEMORY, os.W_OK | os.X_OK) and free_bytes > needed_bytes else None


def _squawk() -> str | None:
    beside = Path(sys.executable).parent / "squawk"
    return str(beside) if beside.is_file() else shutil.which("squawk")
