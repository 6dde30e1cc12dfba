"""A platform's own schemas: which a backup may do without where the role may not read them, and what stands in for each.

Only schemas of this list, and only where one of the platform's roles owns them: never a user's.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from autopilot.postgres.session import Connection

#: Who owns a platform's schemas on Supabase.
OWNERS = (
    "supabase_admin", "supabase_auth_admin", "supabase_storage_admin", "supabase_realtime_admin", "supabase_functions_admin",
    "supabase_etl_admin", "supabase_replication_admin", "pgbouncer",
)  # fmt: skip
_SCRIPTS = Path(__file__).parent / "stand_ins" / "platform"


@dataclass(frozen=True, slots=True, kw_only=True)
class Platform:
    what: str
    #: Whether stand_ins/platform/<schema>.sql makes what users' schemas name of it.
    has_stand_in: bool = False

    def script(self, schema: str) -> str:
        """Runs with the schema as its search_path; nothing where nobody names what is in it."""
        return (_SCRIPTS / f"{schema}.sql").read_text("utf-8") if self.has_stand_in else ""


PLATFORM = {
    "_analytics": Platform(what="Logflare's own tables"),
    "_realtime": Platform(what="Realtime's tenants"),
    "_supavisor": Platform(what="the pooler's tenants"),
    "auth": Platform(what="users, their identities and sessions", has_stand_in=True),
    "cron": Platform(what="pg_cron's jobs and their history"),
    "etl": Platform(what="replication to warehouses"),
    "graphql": Platform(what="pg_graphql's state"),
    "graphql_public": Platform(what="pg_graphql's entrance"),
    "net": Platform(what="pg_net's requests and answers"),
    "pgbouncer": Platform(what="the pooler's way to log in"),
    "pgsodium": Platform(what="encryption keys", has_stand_in=True),
    "pgsodium_masks": Platform(what="views of encrypted columns"),
    "realtime": Platform(what="messages and subscriptions", has_stand_in=True),
    "storage": Platform(what="buckets, and what files lie in them", has_stand_in=True),
    "supabase_functions": Platform(what="database webhooks", has_stand_in=True),
    "vault": Platform(what="secrets", has_stand_in=True),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Pointing:
    """A foreign key of a table that was dumped, to one that was not."""

    schema: str
    table: str
    columns: tuple[str, ...]
    to_schema: str
    to_table: str
    to_columns: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Absent:
    """What a backup does not hold because its role may not read it."""

    schemas: tuple[str, ...] = ()
    pointing: tuple[Pointing, ...] = ()
    #: Users' triggers and policies on it, and what the role may do with it, as SQL without a search_path.
    attached: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.schemas)

    @property
    def words(self) -> str:
        """For people; empty where nothing was left out."""
        return f"left out: {', '.join(self.schemas)}" if self.schemas else ""


def absent(connection: Connection) -> Absent:
    """What the connection's role may not read of the platform. A user's table that it may not read is not among it."""
    from autopilot.postgres.queries import named  # a manifest is read without a database driver

    queries = named(__file__, "platform.sql")
    found = connection.execute(queries["unreadable"], {"schemas": sorted(PLATFORM), "owners": list(OWNERS)}).fetchall()
    schemas = tuple(row[0] for row in found)
    if not schemas:
        return Absent()
    with connection.transaction():
        connection.execute("SET LOCAL search_path = ''")
        pointing = connection.execute(queries["pointing"], {"schemas": list(schemas)}).fetchall()
        attached = connection.execute(queries["attached"], {"schemas": list(schemas)}).fetchall()
    return Absent(
        schemas=schemas,
        pointing=tuple(
            Pointing(schema=r[0], table=r[1], columns=tuple(r[2]), to_schema=r[3], to_table=r[4], to_columns=tuple(r[5]))
            for r in pointing
        ),
        attached=tuple(row[0] for row in attached),
    )
