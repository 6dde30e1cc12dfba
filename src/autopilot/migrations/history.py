"""What the target says was applied: our ledger and the Supabase CLI's table."""

from __future__ import annotations

from dataclasses import dataclass, field

from autopilot.migrations.files import MigrationFile
from autopilot.postgres.queries import named
from autopilot.postgres.session import Connection

_QUERIES = named(__file__, "history.sql")


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerRow:
    version: str
    name: str
    file: str
    sha256: str
    normalized_sha256: str
    statements: int


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    ledger: dict[str, LedgerRow] = field(default_factory=dict)
    #: Versions in supabase_migrations.schema_migrations.
    supabase: frozenset[str] = frozenset()
    #: Versions with segments done or begun and no ledger row yet.
    begun: frozenset[str] = frozenset()

    @property
    def applied(self) -> frozenset[str]:
        return frozenset(self.ledger) | self.supabase


def read(connection: Connection) -> History:
    """The target's history; empty where nothing was ever applied. Writes nothing."""
    row = connection.execute(_QUERIES["existing"]).fetchone()
    has_ledger, has_supabase = (False, False) if row is None else row
    ledger: dict[str, LedgerRow] = {}
    supabase: frozenset[str] = frozenset()
    begun: frozenset[str] = frozenset()
    if has_ledger:
        ledger = _ledger(connection)
        begun = frozenset(r[0] for r in connection.execute(_QUERIES["begun"])) - set(ledger)
    if has_supabase:
        supabase = frozenset(r[0] for r in connection.execute(_QUERIES["supabase"]))
    return History(ledger=ledger, supabase=supabase, begun=begun)


def _ledger(connection: Connection) -> dict[str, LedgerRow]:
    rows = connection.execute(_QUERIES["ledger"])
    return {
        row[0]: LedgerRow(
            version=row[0], name=row[1], file=row[2], sha256=row[3], normalized_sha256=row[4],
            statements=row[5],
        )
        for row in rows
    }  # fmt: skip


def accept_edited(connection: Connection, *, version: str, file: str, sha256: str, normalized_sha256: str) -> None:
    """The file as it is now is what counts as applied; the caller writes who said so."""
    connection.execute(
        _QUERIES["accept_edited"],
        (file, sha256, normalized_sha256, version),
    )


def recorded(connection: Connection, versions: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    """The statements that were applied, as the Supabase CLI's table keeps them, for those versions that have them."""
    if not versions:
        return {}
    return {row[0]: tuple(row[1]) for row in connection.execute(_QUERIES["recorded"], (list(versions),))}


def follow(connection: Connection, *, was: str, file: MigrationFile) -> None:
    """The ledger and the Supabase CLI's table go with a file that was renamed."""
    values = {"was": was, "version": file.version, "name": file.name, "file": file.file, "sha256": file.sha256}
    connection.execute(_QUERIES["follow"], values)
