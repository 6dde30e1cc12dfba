"""A database of our own on a server that the user lends: made, flown on, dropped. Nothing else there is touched.

A session named like the database stays open while it is used; one without that session was left by a dead run.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import secrets
from collections.abc import Iterator
from dataclasses import dataclass

import psycopg
from psycopg import sql

from autopilot.backups.roles import Role, attributes
from autopilot.errors import Refused
from autopilot.postgres.address import parameters, spelled
from autopilot.postgres.queries import named
from autopilot.postgres.session import READER_NAME, Connection, session
from autopilot.secret import Secret

_QUERIES = named(__file__, "lent.sql")
_PREFIX = "autopilot_rehearsal_"
_OURS = re.compile(r"autopilot_rehearsal_([0-9a-z]{1,12}_[0-9a-f]{8})_([0-9a-f]{8})")
_MARK = "autopilot rehearsal"


@dataclass(frozen=True, slots=True, kw_only=True)
class Lent:
    """An empty database there."""

    name: str
    #: For the role that restores, which is the URL's own.
    url: Secret
    #: For the role that owns the target: the files are flown as that.
    owner_url: Secret
    #: What is not as at the target, in words.
    notes: tuple[str, ...]


def database_name(run_id: str, nonce: str) -> str:
    """Bears the run's id, and a check sum by which no other name is taken for ours."""
    inner = f"{re.sub('[^0-9a-z]', '', run_id.lower())[:12] or '0'}_{nonce}"
    return f"{_PREFIX}{inner}_{_check(inner)}"


def is_ours(name: str) -> bool:
    match = _OURS.fullmatch(name)
    return match is not None and match[2] == _check(match[1])


def _check(inner: str) -> str:
    return hashlib.sha256(f"{_MARK} {inner}".encode()).hexdigest()[:8]


@contextlib.contextmanager
def database(server: Secret, *, run_id: str, wanted: tuple[Role, ...], owner: str) -> Iterator[Lent]:
    """An empty database owned by `owner`, with the roles that are missing there; both gone at the end of the block.

    Raises Refused (`scratch_unfit`).
    """
    name = database_name(run_id, secrets.token_hex(4))
    with session(server, application_name=name) as keeper:
        sweep(keeper)
        present = {row[0] for row in keeper.execute(_QUERIES["roles"])}
        missing = tuple(role for role in wanted if role.name not in present)
        _require_rights(keeper, missing, owner)
        try:
            yield _made(keeper, server, name, run_id=run_id, missing=missing, owner=owner)
        finally:
            _remove(server, name, tuple(role.name for role in missing))


def _made(keeper: Connection, server: Secret, name: str, *, run_id: str, missing: tuple[Role, ...], owner: str) -> Lent:
    """Database, then a comment that tells of the roles, then those: whatever is there when we are killed, is known."""
    password = Secret(secrets.token_urlsafe(24))
    note = json.dumps({"mark": _MARK, "run": run_id, "roles": [role.name for role in missing]})
    try:
        keeper.execute(sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(sql.Identifier(name)))
        keeper.execute(sql.SQL("COMMENT ON DATABASE {} IS {}").format(sql.Identifier(name), sql.Literal(note)))
        notes = _make_roles(keeper, missing, owner=owner, password=password)
        keeper.execute(sql.SQL("ALTER DATABASE {} OWNER TO {}").format(sql.Identifier(name), sql.Identifier(owner)))
    except psycopg.Error as cause:
        said = cause.diag.message_primary or " ".join(str(cause).split())
        raise unfit(f"the server there says: {said}", "Give its role what that takes, or name another server.") from cause
    known, made_owner = parameters(server) | {"dbname": name}, any(role.name == owner for role in missing)
    return Lent(
        name=name, url=spelled(known), notes=notes,
        owner_url=spelled(_as_owner(known, owner, str(keeper.info.user), password if made_owner else None)),
    )  # fmt: skip


def sweep(connection: Connection) -> tuple[str, ...]:
    """Drops the databases of dead runs, and the roles made for them; returns their names."""
    swept = []
    for name, note in connection.execute(_QUERIES["left"], (_PREFIX,)).fetchall():
        if is_ours(name):
            with contextlib.suppress(psycopg.Error):
                connection.execute(sql.SQL("DROP DATABASE {}").format(sql.Identifier(name)))
                _drop_roles(connection, _noted(note))
                swept.append(name)
    return tuple(swept)


def _noted(note: str | None) -> tuple[str, ...]:
    """The roles that were made for a database, by its comment."""
    try:
        found = json.loads(note or "")
        return tuple(str(r) for r in found["roles"]) if found["mark"] == _MARK else ()
    except (ValueError, TypeError, KeyError):
        return ()


def _require_rights(keeper: Connection, missing: tuple[Role, ...], owner: str) -> None:
    row = keeper.execute(_QUERIES["rights"]).fetchone()
    me, superuser, createdb, createrole = ("?", False, False, False) if row is None else row
    if not (superuser or createdb):
        raise unfit(f"its role {me!r} may not create a database", f'ALTER ROLE "{me}" CREATEDB; or another role in the URL.')
    if missing and not (superuser or createrole):
        names = ", ".join(role.name for role in missing)
        raise unfit(
            f"the roles {names} are missing there and {me!r} may not make them",
            "Make them there (without passwords), or give a role with CREATEROLE.",
        )
    if owner in {role.name for role in missing} or owner == me:
        return
    allowed = keeper.execute(_QUERIES["may_act_as"], (owner,)).fetchone()
    if allowed is None or not allowed[0]:
        raise unfit(
            f"the target's owner {owner!r} exists there and {me!r} may not act as it", f'GRANT "{owner}" TO "{me}"; there.'
        )


def unfit(why: str, hint: str) -> Refused:
    return Refused(f"The scratch server at AUTOPILOT_SCRATCH_URL cannot be used: {why}.", code="scratch_unfit", hint=hint)


def _make_roles(keeper: Connection, missing: tuple[Role, ...], *, owner: str, password: Secret) -> tuple[str, ...]:
    """Makes them and lets us act as them; returns what could not be had as it is at the target."""
    notes = []
    for role in missing:
        name = sql.Identifier(role.name)
        try:
            keeper.execute(sql.SQL("CREATE ROLE {} {}").format(name, attributes(role)))
        except psycopg.errors.InsufficientPrivilege:
            keeper.execute(sql.SQL("CREATE ROLE {}").format(name))
            notes.append(f"the role {role.name} lacks its attributes there")
        if role.name == owner:
            keeper.execute(sql.SQL("ALTER ROLE {} LOGIN PASSWORD {}").format(name, sql.Literal(password.reveal())))
        with contextlib.suppress(psycopg.Error):
            keeper.execute(sql.SQL("GRANT {} TO CURRENT_USER").format(name))
    for role in missing:
        for group in role.member_of:
            if group != role.name:
                try:
                    keeper.execute(sql.SQL("GRANT {} TO {}").format(sql.Identifier(group), sql.Identifier(role.name)))
                except psycopg.Error:
                    notes.append(f"{role.name} is no member of {group} there")
    return tuple(notes)


def _as_owner(known: dict[str, str], owner: str, me: str, password: Secret | None) -> dict[str, str]:
    """Connection parameters with which a session is the target's owner."""
    if password is not None:
        return known | {"user": owner, "password": password.reveal()}
    if owner == me:
        return known
    escaped = re.sub(r"([\\\s])", r"\\\1", owner)
    return known | {"options": f"{known.get('options', '')} -c role={escaped}".strip()}


def _remove(server: Secret, name: str, made: tuple[str, ...]) -> None:
    """Drops what was made; what cannot be dropped now is swept by a later run."""
    with contextlib.suppress(psycopg.Error, Refused), session(server, application_name=READER_NAME) as connection:
        connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))
        _drop_roles(connection, made)


def _drop_roles(connection: Connection, names: tuple[str, ...]) -> None:
    for name in reversed(names):
        with contextlib.suppress(psycopg.Error):  # somebody else uses it by now
            connection.execute(sql.SQL("DROP ROLE IF EXISTS {}").format(sql.Identifier(name)))
