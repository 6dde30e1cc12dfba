"""Extensions for a scratch server: what servers have of them, and how one gets there that its roles could not make themselves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from psycopg import sql

from autopilot.backups.stand_ins import STAND_INS
from autopilot.postgres.queries import named, templates
from autopilot.postgres.session import Connection

_QUERIES = named(__file__, "supplied.sql")
_TEMPLATES = templates(__file__, "supplied.sql")
#: Chief roles of hosts that let roles make extensions of which PostgreSQL asks a superuser.
_CHIEFS = frozenset({
    "alloydbsuperuser", "avnadmin", "azure_pg_admin", "cloudsqlsuperuser", "doadmin", "neon_superuser", "rds_superuser",
})  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Shelf:
    """What a server has of extensions, and what our role there may make of them."""

    #: By name: whether only a superuser may make it.
    has: Mapping[str, bool]
    installed: frozenset[str]
    is_superuser: bool
    #: Those that the platform makes for roles that may not; None where it makes all.
    granted: frozenset[str] | None = frozenset()

    def lets(self, name: str) -> bool:
        """Whether our role may make it. What a server does not have is not its question."""
        return self.is_superuser or not self.has.get(name) or self.granted is None or name in self.granted


def shelf(connection: Connection) -> Shelf:
    """Raises psycopg.Error."""
    found = connection.execute(_QUERIES["available"]).fetchall()
    rights = connection.execute(_QUERIES["rights"]).fetchone()
    is_superuser, listed, roles = rights or (False, "", [])
    return Shelf(
        has={row[0]: bool(row[1]) for row in found}, installed=frozenset(row[0] for row in found if row[2]),
        is_superuser=bool(is_superuser),
        granted=None if _CHIEFS & set(roles) else frozenset(n.strip() for n in listed.split(",") if n.strip()),
    )  # fmt: skip


def is_superuser(connection: Connection) -> bool:
    row = connection.execute("SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user").fetchone()
    return row is not None and bool(row[0])


def open_up(scratch: Connection, *, private: bool) -> None:
    """Makes the functions that stand-ins are made by; private: they outlive the session, and only superusers may call them."""
    place = sql.SQL("pg_catalog" if private else "pg_temp")
    for name in ("in_schema", "stand_in", *(["private"] if private else [])):
        scratch.execute(_TEMPLATES[name].format(place=place))


def stand_in(scratch: Connection, extension: str, *, schema: str) -> None:
    """Makes the stand-in in `schema`, for the superuser that asks. Needs `open_up`."""
    own = STAND_INS[extension].schema
    scratch.execute(
        "SELECT pg_temp.autopilot_stand_in(%s, %s, %s, NULL, true, current_user::text, %s)",
        (extension, own, None if own else schema, STAND_INS[extension].script(extension)),
    )


def lend(
    scratch: Connection, called: str, extension: str, *, schema: str | None, release: str | None, only_if_absent: bool,
    cascade: bool, as_stand_in: bool,
) -> str:  # fmt: skip
    """Makes a function in a scratch server of ours by which anybody makes that extension, or its stand-in, as its superuser.

    Returns what calls it. Needs `open_up` with `private` for a stand-in.
    """
    if as_stand_in:
        own, script = STAND_INS[extension].schema, STAND_INS[extension].script(extension)
        values = sql.SQL(", ").join(map(sql.Literal, (extension, own, schema, release, only_if_absent)))
        made: sql.Composable = sql.SQL("PERFORM pg_catalog.autopilot_stand_in({}, caller, {})").format(
            values, sql.Literal(script)
        )
    else:
        made = sql.SQL("CREATE EXTENSION {}{}{}{}{}").format(
            sql.SQL("IF NOT EXISTS " if only_if_absent else ""), sql.Identifier(extension),
            sql.SQL("") if schema is None else sql.SQL(" SCHEMA {}").format(sql.Identifier(schema)),
            sql.SQL("") if release is None else sql.SQL(" VERSION {}").format(sql.Literal(release)),
            sql.SQL(" CASCADE" if cascade else ""),
        )  # fmt: skip
    function = sql.Identifier("pg_catalog", called)
    scratch.execute(_TEMPLATES["by_superuser"].format(called=function, name=sql.Literal(extension), made=made))
    return f"SELECT {function.as_string(scratch)}()"
