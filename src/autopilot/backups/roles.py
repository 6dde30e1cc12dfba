"""The roles that a backup names: a dump holds none, and no restore works without them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from autopilot.postgres.session import Connection


@dataclass(frozen=True, slots=True, kw_only=True)
class Role:
    """A role of the source, as far as ownership, grants and policies need it. Never its password."""

    name: str
    is_superuser: bool
    inherits: bool
    may_create_role: bool
    may_create_db: bool
    bypasses_rls: bool
    member_of: tuple[str, ...]
    #: Its own settings, "name=value".
    settings: tuple[str, ...]


def roles(connection: Connection) -> tuple[Role, ...]:
    """The source's roles."""
    from autopilot.postgres.queries import named  # a manifest is read without a database driver

    found = connection.execute(named(__file__, "snapshot.sql")["roles"])
    return tuple(
        Role(
            name=row[0], is_superuser=row[1], inherits=row[2], may_create_role=row[3], may_create_db=row[4],
            bypasses_rls=row[5], member_of=tuple(row[6]), settings=tuple(row[7]),
        )
        for row in found
    )  # fmt: skip
