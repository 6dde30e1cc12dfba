"""Stand-ins for extensions: what migrations name of them is there, and does nothing outside.

For those that a scratch server lacks, and in any case for those that would reach out of it, read its machine's files, or
start only with a server that was made for them. One file an extension and one line here; two of them begin with what stands in
for the platform's own schema. The SQL runs with the extension's schema as its search_path.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class StandIn:
    #: The schema that belongs to the extension alone; None where it lives among others' things.
    schema: str | None = None
    #: The extension itself is never made in a scratch server of ours, even where it could be.
    always: bool = False
    #: A script of platform/ that goes before its own: what a backup that left the schema out gets too.
    upon: str = ""

    def script(self, extension: str) -> str:
        here = Path(__file__).parent
        first = (here / "platform" / f"{self.upon}.sql").read_text("utf-8") if self.upon else ""
        return first + (here / f"{extension}.sql").read_text("utf-8")


STAND_INS = {
    "dblink": StandIn(always=True),
    "file_fdw": StandIn(always=True),
    "http": StandIn(always=True),
    "hypopg": StandIn(),
    "index_advisor": StandIn(),
    "pg_cron": StandIn(schema="cron", always=True),
    "pg_graphql": StandIn(schema="graphql"),
    "pg_net": StandIn(schema="net", always=True),
    "pg_repack": StandIn(),
    "pg_stat_monitor": StandIn(),
    "pg_tle": StandIn(schema="pgtle"),
    "pgaudit": StandIn(always=True),
    "pgjwt": StandIn(),
    "pgsodium": StandIn(schema="pgsodium", always=True, upon="pgsodium"),
    "plpgsql_check": StandIn(),
    "postgres_fdw": StandIn(always=True),
    "supabase_vault": StandIn(schema="vault", upon="vault"),
    "uuid-ossp": StandIn(),
}
#: Those that are stood in for in any case.
ALWAYS = frozenset(name for name, stand_in in STAND_INS.items() if stand_in.always)
