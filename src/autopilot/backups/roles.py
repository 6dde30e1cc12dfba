"""The roles that a backup names: a dump holds none, and no restore works without them."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from psycopg.sql import SQL

    from autopilot.postgres.session import Connection

#: Settings of a role that decide what SQL means; no other is written down.
TOLD = ("search_path", "role", "row_security", "TimeZone", "DateStyle", "IntervalStyle", "bytea_output")


@dataclass(frozen=True, slots=True, kw_only=True)
class Membership:
    group: str
    may_grant: bool = False
    #: None before PostgreSQL 16, where both follow from the role itself.
    inherits: bool | None = None
    may_set: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Role:
    """A role of the source, as far as ownership, grants and policies need it. Never its password."""

    name: str
    is_superuser: bool
    inherits: bool
    may_create_role: bool
    may_create_db: bool
    bypasses_rls: bool
    may_replicate: bool = False
    member_of: tuple[str, ...]
    #: The same in full; empty in backups of versions that did not write it down.
    memberships: tuple[Membership, ...] = ()
    #: Its own settings and the database's, "name=value", the strongest first; of `TOLD` only.
    settings: tuple[str, ...]
    #: Parameters that it may set although they are a superuser's.
    parameters: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Rights:
    """What belongs to the database itself; a restore into another one does not bring it."""

    #: Empty in backups of versions that did not write it down.
    owner: str = ""
    #: "role=PRIVILEGE"; nothing before the = means everybody.
    granted: tuple[str, ...] = ()


def roles(connection: Connection) -> tuple[Role, ...]:
    """The source's roles."""
    from autopilot.postgres.queries import named  # a manifest is read without a database driver

    queries = named(__file__, "roles.sql")
    groups: dict[str, list[Membership]] = defaultdict(list)
    for member, group, may_grant, inherits, may_set in connection.execute(queries["memberships"]):
        groups[member].append(Membership(group=group, may_grant=may_grant, inherits=inherits, may_set=may_set))
    parameters = _parameters(connection, queries)
    return tuple(
        Role(
            name=row[0], is_superuser=row[1], inherits=row[2], may_create_role=row[3], may_create_db=row[4],
            bypasses_rls=row[5], may_replicate=row[6], member_of=tuple(m.group for m in groups[row[0]]),
            memberships=tuple(groups[row[0]]), settings=_strongest(row[7]), parameters=tuple(sorted(parameters[row[0]])),
        )
        for row in connection.execute(queries["roles"], (list(TOLD),)).fetchall()
    )  # fmt: skip


def rights(connection: Connection) -> Rights:
    """Who owns the connection's database, and who may do what with it."""
    from autopilot.postgres.queries import named  # as above

    row = connection.execute(named(__file__, "roles.sql")["database"]).fetchone()
    return Rights() if row is None else Rights(owner=row[0], granted=tuple(row[1]))


def _strongest(settings: list[str]) -> tuple[str, ...]:
    """The first of each name."""
    return tuple({setting.partition("=")[0]: setting for setting in reversed(settings)}.values())[::-1]


def _parameters(connection: Connection, queries: dict[str, bytes]) -> dict[str, set[str]]:
    found: dict[str, set[str]] = defaultdict(set)
    row = connection.execute(queries["knows_parameter_rights"]).fetchone()
    wanted = ("parameters", "parameters_of_supautils") if row is not None and row[0] else ("parameters_of_supautils",)
    for name in wanted:
        for role, parameter in connection.execute(queries[name]):
            found[role].add(parameter)
    return found


def attributes(role: Role) -> SQL:
    """What CREATE ROLE takes of it."""
    from psycopg import sql  # as above

    words = [
        "SUPERUSER" if role.is_superuser else "NOSUPERUSER",
        "INHERIT" if role.inherits else "NOINHERIT",
        "CREATEROLE" if role.may_create_role else "NOCREATEROLE",
        "CREATEDB" if role.may_create_db else "NOCREATEDB",
        "BYPASSRLS" if role.bypasses_rls else "NOBYPASSRLS",
        "REPLICATION" if role.may_replicate else "NOREPLICATION",
    ]
    return sql.SQL(" ".join(words))
