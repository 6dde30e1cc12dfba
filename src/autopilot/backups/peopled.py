"""Peoples a scratch server: the source's roles with the rights they have there, and one that only loads rows."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from psycopg import sql

from autopilot.backups.roles import TOLD, Membership, Rights, Role, attributes
from autopilot.postgres.session import Connection
from autopilot.secret import Secret

#: Makes tables and loads them: what a CHECK, a generated column or an index calls is called by it, who is no superuser.
LOADER = "autopilot_loader"
#: There is nothing on a scratch server's machine that anybody should reach through it.
_NEVER_THERE = frozenset({"pg_execute_server_program", "pg_read_server_files", "pg_write_server_files"})
_FIRST_WITH_PARAMETER_RIGHTS, _FIRST_WITH_MEMBERSHIP_OPTIONS, _FIRST_TO_SILENCE_EVENT_TRIGGERS = 150000, 160000, 170000


def people(scratch: Connection, wanted: tuple[Role, ...], *, login: str, password: Secret) -> None:
    """Makes the roles (without passwords, memberships as they were); `login` and the loader may log in with `password`."""
    present = {row[0] for row in scratch.execute("SELECT rolname FROM pg_catalog.pg_roles")}
    for role in wanted:
        if role.name not in present:
            scratch.execute(sql.SQL("CREATE ROLE {} {}").format(sql.Identifier(role.name), attributes(role)))
    for role in wanted:
        for membership in role.memberships or tuple(Membership(group=group) for group in role.member_of):
            if membership.group not in {role.name, *_NEVER_THERE}:
                scratch.execute(_grant(scratch, role.name, membership))
        if role.name == login:
            _copy_settings(scratch, role)
    _grant_parameters(scratch, wanted)
    word = sql.Literal(password.reveal())
    scratch.execute(sql.SQL("ALTER ROLE {} LOGIN PASSWORD {}").format(sql.Identifier(login), word))
    scratch.execute(sql.SQL("CREATE ROLE {} LOGIN BYPASSRLS PASSWORD {}").format(sql.Identifier(LOADER), word))
    scratch.execute(sql.SQL("GRANT pg_read_all_data, pg_write_all_data TO {}").format(sql.Identifier(LOADER)))
    if scratch.info.server_version >= _FIRST_TO_SILENCE_EVENT_TRIGGERS:
        scratch.execute("ALTER ROLE CURRENT_USER SET event_triggers = off")  # one on login would greet our own sessions


def house(scratch: Connection, database: str, *, role: str, rights: Rights, like: str | None = None) -> None:
    """An empty database with the source's owner and rights; owned by `role` where a backup does not tell them.

    like: another database there, with which nobody is connected, to make a copy of; the loader is not let in.
    """
    name = sql.Identifier(database)
    scratch.execute(
        sql.SQL("CREATE DATABASE {} OWNER {} TEMPLATE {}").format(
            name, sql.Identifier(rights.owner or role), sql.Identifier(like or "template0")
        )
    )
    if rights.owner:
        scratch.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(name))
        for right in rights.granted:
            grantee, _, what = right.rpartition("=")
            to = sql.Identifier(grantee) if grantee else sql.SQL("PUBLIC")
            scratch.execute(sql.SQL("GRANT {} ON DATABASE {} TO {}").format(sql.SQL(what), name, to))
    welcome = [sql.Identifier(role), *([] if like else [sql.Identifier(LOADER)])]
    scratch.execute(sql.SQL("GRANT CONNECT ON DATABASE {} TO {}").format(name, sql.SQL(", ").join(welcome)))


@contextmanager
def lowered(scratch: Connection, wanted: tuple[Role, ...]) -> Iterator[None]:
    """Nobody restored is a superuser for the length of the block, and the loader may do what any of them may, everywhere.

    Those who were superusers see as much as before. In the end the loader may only read.
    """
    demote(scratch, wanted)
    loader = sql.Identifier(LOADER)
    for role in wanted:
        scratch.execute(sql.SQL("GRANT {} TO {}").format(sql.Identifier(role.name), loader))
    rights = scratch.execute("SELECT oid, nspacl::text, nspname FROM pg_catalog.pg_namespace WHERE nspname !~ '^pg_'").fetchall()
    for _, _, schema in rights:
        scratch.execute(sql.SQL("GRANT USAGE, CREATE ON SCHEMA {} TO PUBLIC").format(sql.Identifier(schema)))
    yield
    for oid, before, _ in rights:
        scratch.execute("UPDATE pg_catalog.pg_namespace SET nspacl = %s::pg_catalog.aclitem[] WHERE oid = %s", (before, oid))
    for role in wanted:
        scratch.execute(sql.SQL("REVOKE {} FROM {}").format(sql.Identifier(role.name), loader))
    scratch.execute(sql.SQL("DROP OWNED BY {}").format(loader))
    scratch.execute(sql.SQL("GRANT CONNECT ON DATABASE {} TO {}").format(sql.Identifier(scratch.info.dbname), loader))


def demote(scratch: Connection, wanted: tuple[Role, ...]) -> None:
    for role in wanted:
        if role.is_superuser:
            name = sql.Identifier(role.name)
            scratch.execute(sql.SQL("ALTER ROLE {} NOSUPERUSER BYPASSRLS").format(name))
            scratch.execute(sql.SQL("GRANT pg_read_all_data TO {}").format(name))


def dismiss_loader(scratch: Connection) -> None:
    """No migration shall find it."""
    scratch.execute(
        sql.SQL("REVOKE CONNECT ON DATABASE {} FROM {}").format(sql.Identifier(scratch.info.dbname), sql.Identifier(LOADER))
    )
    scratch.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(LOADER)))


def promote(scratch: Connection, wanted: tuple[Role, ...]) -> None:
    """Superusers all, while they are given what only superusers can own. Nothing restored runs meanwhile."""
    for role in wanted:
        scratch.execute(sql.SQL("ALTER ROLE {} SUPERUSER").format(sql.Identifier(role.name)))


def settle(scratch: Connection, wanted: tuple[Role, ...]) -> None:
    """Everybody is what they are at the source."""
    for role in wanted:
        name = sql.Identifier(role.name)
        scratch.execute(sql.SQL("ALTER ROLE {} {}").format(name, attributes(role)))
        if role.is_superuser and "pg_read_all_data" not in role.member_of:
            scratch.execute(sql.SQL("REVOKE pg_read_all_data FROM {}").format(name))


def _grant(scratch: Connection, member: str, membership: Membership) -> sql.Composed:
    words = tuple(_options(membership, by_name=scratch.info.server_version >= _FIRST_WITH_MEMBERSHIP_OPTIONS))
    return sql.SQL("GRANT {} TO {}{}").format(
        sql.Identifier(membership.group), sql.Identifier(member), sql.SQL(f" WITH {', '.join(words)}" if words else "")
    )


def _options(membership: Membership, *, by_name: bool) -> Iterator[str]:
    if membership.may_grant:
        yield "ADMIN TRUE" if by_name else "ADMIN OPTION"
    for word, value in (("INHERIT", membership.inherits), ("SET", membership.may_set)):
        if by_name and value is not None:
            yield f"{word} {value}".upper()


def _grant_parameters(scratch: Connection, wanted: tuple[Role, ...]) -> None:
    if scratch.info.server_version < _FIRST_WITH_PARAMETER_RIGHTS:
        return
    known = {row[0] for row in scratch.execute("SELECT pg_catalog.lower(name) FROM pg_catalog.pg_settings")}
    for role in wanted:
        for parameter in role.parameters:
            if parameter.lower() in known:
                statement = sql.SQL("GRANT SET ON PARAMETER {} TO {}")
                scratch.execute(statement.format(sql.Identifier(parameter), sql.Identifier(role.name)))


def _copy_settings(scratch: Connection, role: Role) -> None:
    for setting in role.settings:
        name, _, value = setting.partition("=")
        if name in TOLD:
            values = [v.strip().strip('"') for v in value.split(",")] if name == "search_path" else [value]
            scratch.execute(
                sql.SQL("ALTER ROLE {} SET {} = {}").format(
                    sql.Identifier(role.name), sql.Identifier(name), sql.SQL(", ").join(sql.Literal(v) for v in values)
                )
            )
