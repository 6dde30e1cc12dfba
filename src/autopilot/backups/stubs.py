"""What a scratch server gets in place of what it cannot have: stand-ins for extensions, and for schemas left out of a backup."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import psycopg
from psycopg import sql

from autopilot.backups import fingerprint, supplied
from autopilot.backups.platform import PLATFORM, Absent, Pointing
from autopilot.backups.stand_ins import STAND_INS
from autopilot.measures import counted
from autopilot.postgres.session import Connection


@dataclass(frozen=True, slots=True, kw_only=True)
class StoodIn:
    """What a scratch server has in place of extensions that it lacks, and of schemas that the backup lacks."""

    extensions: tuple[str, ...] = ()
    #: Schemas that belong to those alone.
    schemas: frozenset[str] = frozenset()
    #: What was made in their place, in the fingerprint's words.
    objects: frozenset[str] = frozenset()
    #: What stands in for the schemas that the backup lacks, for people.
    absent: tuple[str, ...] = ()

    @property
    def words(self) -> tuple[str, ...]:
        return (*self.extensions, *self.absent)

    def hides(self, name: str) -> bool:
        """Whether what the fingerprint calls `name` cannot be compared because of them."""
        kind, _, identity = name.partition(" ")
        if kind == "extension" or name in self.objects:
            return identity.strip('"') in self.extensions or name in self.objects
        return any(f" {schema}." in name or name == f"schema {schema}" for schema in self.schemas)


def for_extensions(scratch: Connection, homes: Mapping[str, str]) -> frozenset[str]:
    """Runs their stand-ins, each in the schema that is its home; returns what the fingerprint calls what they made.

    Where a superuser does it, each belongs to an extension of its name, as the real one does.
    """
    before = fingerprint.objects(scratch).keys()
    whole = supplied.is_superuser(scratch)
    if whole and homes:
        supplied.open_up(scratch, private=False)
    for extension, schema in sorted(homes.items()):
        if whole:
            if STAND_INS[extension].schema is None:
                scratch.execute(sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(sql.Identifier(schema)))
            supplied.stand_in(scratch, extension, schema=schema)
            continue
        scratch.execute(sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(sql.Identifier(schema)))
        if STAND_INS[extension].schema is not None:
            scratch.execute(sql.SQL("GRANT USAGE ON SCHEMA {} TO PUBLIC").format(sql.Identifier(schema)))
        _run(scratch, schema, STAND_INS[extension].script(extension))
    return frozenset(fingerprint.objects(scratch).keys() - before)


def for_schemas(scratch: Connection, absent: Absent, *, there: frozenset[str], loader: str) -> None:
    """Makes the schemas left out, with what users' schemas name of them; not those that are `there` for an extension.

    loader: who will make foreign keys to it.
    """
    for schema in absent.schemas:
        if schema not in there:
            scratch.execute(sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(sql.Identifier(schema)))
            scratch.execute(sql.SQL("GRANT USAGE ON SCHEMA {} TO PUBLIC").format(sql.Identifier(schema)))
            _run(scratch, schema, PLATFORM[schema].script(schema))
            rights = sql.SQL("GRANT ALL ON ALL TABLES IN SCHEMA {} TO {}")
            scratch.execute(rights.format(sql.Identifier(schema), sql.Identifier(loader)))


def fill(scratch: Connection, loader: Connection, absent: Absent) -> dict[str, int]:
    """Makes up the rows that restored foreign keys point to; returns how many, by schema.

    `loader` reads users' tables, which may call their functions.
    """
    made: dict[str, int] = {}
    for pointing in absent.pointing:
        made[pointing.to_schema] = made.get(pointing.to_schema, 0) + _point(scratch, loader, pointing)
    return made


def _point(scratch: Connection, loader: Connection, pointing: Pointing) -> int:
    """The table pointed to has the columns (in it alone, where no stand-in knows it), a key over them, and the rows."""
    to = sql.Identifier(pointing.to_schema, pointing.to_table)
    scratch.execute(sql.SQL("CREATE TABLE IF NOT EXISTS {} ()").format(to))
    for column, own in zip(pointing.to_columns, pointing.columns, strict=True):
        kind = scratch.execute(
            "SELECT pg_catalog.format_type(atttypid, atttypmod) FROM pg_catalog.pg_attribute"
            " WHERE attrelid = %s::regclass AND attname = %s",
            (sql.Identifier(pointing.schema, pointing.table).as_string(scratch), own),
        ).fetchone()
        if kind is not None:
            addition = sql.SQL("ALTER TABLE {} ADD COLUMN IF NOT EXISTS {} {}")
            scratch.execute(addition.format(to, sql.Identifier(column), sql.SQL(kind[0])))
    names = {"to": to, "columns": _list(pointing.to_columns), "own": _list(pointing.columns),
             "table": sql.Identifier(pointing.schema, pointing.table), "whole": sql.SQL(" AND ").join(
                 sql.SQL("{} IS NOT NULL").format(sql.Identifier(c)) for c in pointing.columns)}  # fmt: skip
    scratch.execute(sql.SQL("CREATE UNIQUE INDEX ON {to} ({columns})").format(**names))
    return loader.execute(
        sql.SQL(
            "INSERT INTO {to} ({columns}) SELECT DISTINCT {own} FROM {table} WHERE {whole} ON CONFLICT ({columns}) DO NOTHING"
        ).format(**names)
    ).rowcount


def attach(scratch: Connection, absent: Absent) -> int:
    """Users' triggers, policies and rights on what was left out; returns how many the stand-ins have no place for."""
    failed = 0
    scratch.execute("SET search_path = ''")
    for statement in absent.attached:
        try:
            scratch.execute(statement.encode())
        except psycopg.Error:
            failed += not statement.startswith("GRANT ")
    scratch.execute("RESET search_path")
    return failed


def told(absent: Absent, filled: Mapping[str, int], failed: int) -> tuple[str, ...]:
    """What stands in for the schemas left out, for people."""
    made = {schema: f" ({counted(count, 'row')} made up for foreign keys)" for schema, count in filled.items() if count}
    lost = (f"{failed} of the triggers and policies on them could not be made",) if failed else ()
    return (*(f"the schema {schema}{made.get(schema, '')}" for schema in absent.schemas), *lost)


def _run(scratch: Connection, schema: str, script: str) -> None:
    scratch.execute(sql.SQL("SET search_path = {}").format(sql.Identifier(schema)))
    scratch.execute(script.encode())
    scratch.execute("RESET search_path")


def _list(names: tuple[str, ...]) -> sql.Composed:
    return sql.SQL(", ").join(map(sql.Identifier, names))
