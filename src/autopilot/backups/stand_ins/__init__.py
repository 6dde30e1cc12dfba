"""Stand-ins for extensions that a scratch server lacks: what migrations name of them is there, and does nothing outside.

One file an extension and one line here. The SQL runs with the extension's schema as its search_path.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class StandIn:
    #: The schema that belongs to the extension alone; None where it lives among others' things.
    schema: str | None = None

    def script(self, extension: str) -> str:
        return (Path(__file__).parent / f"{extension}.sql").read_text("utf-8")


STAND_INS = {
    "http": StandIn(),
    "hypopg": StandIn(),
    "index_advisor": StandIn(),
    "pg_cron": StandIn(schema="cron"),
    "pg_graphql": StandIn(schema="graphql"),
    "pg_net": StandIn(schema="net"),
    "pg_repack": StandIn(),
    "pg_stat_monitor": StandIn(),
    "pg_tle": StandIn(schema="pgtle"),
    "pgaudit": StandIn(),
    "pgjwt": StandIn(),
    "pgsodium": StandIn(schema="pgsodium"),
    "plpgsql_check": StandIn(),
    "supabase_vault": StandIn(schema="vault"),
    "uuid-ossp": StandIn(),
}
