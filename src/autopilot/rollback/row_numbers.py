"""Which tables a release wrote to, and what was written since: told from the transaction number that each row bears.

Exact for rows that are there: rows inserted or changed, by whom. What was deleted bears no number. Rows written under a savepoint
bear another number than their transaction: they count as later ones. Reads every table once.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from autopilot.postgres.queries import named
from autopilot.rollback.live import Session, quoted
from autopilot.rollback.snapshot import LEFT_OUT

_QUERIES = named(__file__, "row_numbers.sql")


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    oid: int
    schema: str
    table: str
    #: Rows that transactions after the release wrote.
    since: int
    #: Rows that the release's own wrote last.
    by_release: int

    @property
    def name(self) -> str:
        return f"{self.schema}.{self.table}"


def counted(connection: Session, *, after: str, by: Iterable[str], never: Iterable[str] = ()) -> tuple[Counted, ...]:
    """Tables that have any.

    after: the number (xid) of a transaction right after the release. by: the release's own. never: schemas.
    """
    found, numbers = [], {"after": after, "by": list(by)}
    tables = connection.execute(_QUERIES["tables"], {"never": [*LEFT_OUT, *never]}).fetchall()
    for oid, schema, table in tables:
        query = _QUERIES["rows"].replace(b"{table}", f"{quoted(schema)}.{quoted(table)}".replace("%", "%%").encode())
        since, ours = connection.execute(query, numbers).fetchone() or (0, 0)
        if since or ours:
            found.append(Counted(oid=oid, schema=schema, table=table, since=since, by_release=ours))
    return tuple(found)
