"""What stays and hangs on what is replaced: told before, put back after, on the new objects of the old names."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import errors

from autopilot.errors import Refused, RolledBack
from autopilot.postgres.queries import named
from autopilot.rollback.live import Session, quoted
from autopilot.rollback.quarantine.inventory import Object

_QUERIES = named(__file__, "dependents.sql")
_OR_REPLACE = 140000
_LIMITS = 150000
#: The backup has no such thing to hang it on.
_NOT_THERE = (errors.UndefinedTable, errors.UndefinedFunction, errors.UndefinedColumn, errors.UndefinedObject,
              errors.InvalidSchemaName, errors.InvalidTableDefinition, errors.InvalidColumnReference)  # fmt: skip
_STATE = {"O": "ENABLE", "R": "ENABLE REPLICA", "A": "ENABLE ALWAYS", "D": "DISABLE"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Dependent:
    #: In words: "trigger on_auth_user_created on auth.users".
    what: str
    #: Together put it back; run once the new objects are there.
    commands: tuple[str, ...] = ()
    #: What to run where the backup holds nothing to hang it on; without one it stays as it is, and that is told.
    otherwise: tuple[str, ...] = ()
    #: Why it cannot be put back.
    cannot: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PutBack:
    done: tuple[str, ...]
    #: Still bound to what lies in the quarantine, because the backup has nothing of that name.
    left: tuple[str, ...]


def read(connection: Session, objects: Sequence[Object], schemas: Sequence[str]) -> tuple[Dependent, ...]:
    """Everything that stays and depends on `objects`; `plain_names` must be in force.

    Raises Refused (`quarantine_dependents`) where something cannot be put back.
    """
    which = {
        "classes": [f"pg_catalog.{o.catalog.removeprefix('pg_catalog.')}" for o in objects],
        "objects": [o.oid for o in objects],
    }
    members = connection.execute(_QUERIES["members"], which).fetchall()
    parts: dict[str, Any] = {"classes": [m[0] for m in members], "objects": [m[1] for m in members]}
    crossing: dict[str, dict[int, str]] = defaultdict(dict)
    for catalog, oid, words in connection.execute(_QUERIES["crossing"], parts).fetchall():
        crossing[catalog.removeprefix("pg_catalog.")][oid] = words
    found = [*_known(connection, crossing, parts), *_published(connection, schemas)]
    refuse([d for d in found if d.cannot is not None])
    return tuple(found)


def refuse(those: Sequence[Dependent]) -> None:
    if those:
        told = "; ".join(f"{d.what} ({d.cannot})" for d in those[:10]) + (
            f"; and {len(those) - 10} more" if len(those) > 10 else ""
        )
        raise Refused(
            f"These stay, hang on what would be replaced, and cannot be put back by this role: {told}.",
            code="quarantine_dependents",
            hint="Drop them, or let the role own them, then run again; or restore into a new database.",
        )


def _known(connection: Session, crossing: Mapping[str, Mapping[int, str]], parts: Mapping[str, Any]) -> Iterator[Dependent]:
    version = connection.info.server_version
    makers = {
        "pg_proc": ("functions", _function), "pg_attrdef": ("defaults", _default), "pg_rewrite": ("views", _view),
        "pg_policy": ("policies", _policy), "pg_trigger": ("triggers", _trigger), "pg_constraint": ("keys", _key),
    }  # fmt: skip
    for catalog, (query, make) in makers.items():
        those = dict(crossing.get(catalog, {}))
        if those:
            for row in connection.execute(_QUERIES[query], {**parts, "oids": list(those)}).fetchall():
                yield make(row, those.pop(row[0]), version)
        if those and catalog == "pg_constraint":
            for (oid,) in connection.execute(_QUERIES["inherited_keys"], {"oids": list(those)}).fetchall():
                del those[oid]
        yield from (Dependent(what=words, cannot="it cannot be made again in place") for words in those.values())
    for catalog, others in crossing.items():
        if catalog not in makers:
            yield from (Dependent(what=words, cannot="it cannot be made again in place") for words in others.values())


def _function(row: Sequence[Any], words: str, _version: int) -> Dependent:
    return Dependent(what=words, commands=(row[1],), cannot=None if row[2] else "it is another role's")


def _default(row: Sequence[Any], words: str, _version: int) -> Dependent:
    command = f"ALTER TABLE {_name(row[1], row[2])} ALTER COLUMN {quoted(row[3])} SET DEFAULT {row[4]}"
    return Dependent(what=words, commands=(command,), cannot=None if row[5] else "the table is another role's")


def _view(row: Sequence[Any], words: str, _version: int) -> Dependent:
    options = f" WITH ({row[5]})" if row[5] else ""
    reason = None if row[4] else "it is another role's"
    if not row[6]:
        reason = "a column of it is of a type that would be replaced"
    command = f"CREATE OR REPLACE VIEW {_name(row[1], row[2])}{options} AS {row[3]}"
    return Dependent(what=words, commands=(command,), cannot=reason)


def _policy(row: Sequence[Any], words: str, _version: int) -> Dependent:
    using = f" USING ({row[4]})" if row[4] is not None else ""
    check = f" WITH CHECK ({row[5]})" if row[5] is not None else ""
    return Dependent(what=words, commands=(f"ALTER POLICY {quoted(row[3])} ON {_name(row[1], row[2])}{using}{check}",))


def _trigger(row: Sequence[Any], words: str, version: int) -> Dependent:
    _, schema, table, name, definition, enabled, constraint, owned, may_make = row
    where = _name(schema, table)
    drop = f"DROP TRIGGER {quoted(name)} ON {where}"
    state = () if enabled == "O" else (f"ALTER TABLE {where} {_STATE[enabled]} TRIGGER {quoted(name)}",)
    gone = (drop,) if owned else ()
    if version >= _OR_REPLACE and not constraint and may_make and (owned or not state):
        replaced = "CREATE OR REPLACE TRIGGER" + definition.removeprefix("CREATE TRIGGER")
        return Dependent(what=words, commands=(replaced, *state), otherwise=gone)
    reason = None if owned else "the table is another role's, and only its owner may make it again as it is"
    return Dependent(what=words, commands=(drop, definition, *state), otherwise=gone, cannot=reason)


def _key(row: Sequence[Any], words: str, _version: int) -> Dependent:
    where = _name(row[1], row[2])
    drop = f"ALTER TABLE {where} DROP CONSTRAINT {quoted(row[3])}"
    add = f"ALTER TABLE {where} ADD CONSTRAINT {quoted(row[3])} {row[4]}"
    return Dependent(what=words, commands=(drop, add), cannot=None if row[5] else "the table is another role's")


def _published(connection: Session, schemas: Sequence[str]) -> Iterator[Dependent]:
    query = "publications_with_limits" if connection.info.server_version >= _LIMITS else "publications"
    for publication, owned, schema, table, columns, rows in connection.execute(
        _QUERIES[query], {"schemas": list(schemas)}
    ).fetchall():
        what = f"{_name(schema, table)} in publication {publication}"
        limits = (f" ({columns})" if columns else "") + (f" WHERE ({rows})" if rows else "")
        add = f"ALTER PUBLICATION {quoted(publication)} ADD TABLE ONLY {_name(schema, table)}{limits}"
        yield Dependent(
            what=what, commands=(add,), otherwise=("",), cannot=None if owned else "the publication is another role's"
        )


def published(connection: Session, schemas: Sequence[str]) -> tuple[tuple[str, str, str], ...]:
    """(publication, schema, table) of every table that is published by name."""
    rows = connection.execute(_QUERIES["publications"], {"schemas": list(schemas)}).fetchall()
    return tuple((row[0], row[2], row[3]) for row in rows)


def withdraw(connection: Session, schemas: Sequence[str]) -> None:
    """Takes the tables of these schemas out of every publication that names them."""
    for publication, schema, table in published(connection, schemas):
        connection.execute(f"ALTER PUBLICATION {quoted(publication)} DROP TABLE ONLY {_name(schema, table)}".encode())


def put_back(connection: Session, those: Sequence[Dependent], already: frozenset[str]) -> PutBack:
    """Hangs each on the new object of the old name. already: what the archive itself put back, in the same words.

    Raises RolledBack (`quarantine_dependents`, `quarantine_orphans`).
    """
    done, left = [], []
    for one in those:
        if one.what in already:
            continue
        try:
            with connection.transaction():
                for command in one.commands:
                    connection.execute(command.encode())
            done.append(one.what)
        except _NOT_THERE:
            for command in filter(None, one.otherwise):
                connection.execute(command.encode())
            left += [] if one.otherwise else [one.what]
        except errors.ForeignKeyViolation as cause:
            raise RolledBack(
                f"{one.what}: rows outside of what is put back refer to rows that the backup does not hold"
                f" ({cause.diag.message_detail or cause.diag.message_primary})",
                code="quarantine_orphans",
                hint="Change or move those rows, then run again; nothing outside of the restored schemas is deleted for it.",
            ) from cause
        except psycopg.errors.InsufficientPrivilege as cause:
            raise RolledBack(
                f"{one.what} could not be put back: {cause.diag.message_primary}",
                code="quarantine_dependents",
                hint="Let the role own it, or drop it, then run again; or restore into a new database.",
            ) from cause
    return PutBack(done=tuple(done), left=tuple(left))


def _name(schema: str, name: str) -> str:
    return f"{quoted(schema)}.{quoted(name)}"
