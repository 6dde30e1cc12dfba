"""Rights that new objects get by themselves: lifted while the archive's are made, which brings its own, and put back exactly."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from autopilot.errors import RolledBack
from autopilot.postgres.queries import named
from autopilot.rollback.live import Session, quoted

_QUERIES = named(__file__, "inventory.sql")
_WORDS = {"r": "TABLES", "S": "SEQUENCES", "f": "FUNCTIONS", "T": "TYPES", "n": "SCHEMAS", "L": "LARGE OBJECTS"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Right:
    #: Empty for everybody.
    grantee: str
    privilege: str
    may_grant: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Default:
    """ALTER DEFAULT PRIVILEGES as it is in force."""

    #: Empty where it holds in every schema, and then instead of what is usual.
    schema: str
    kind: str
    rights: tuple[Right, ...]


def commands(found: Default, usual: Sequence[Right], *, back: bool) -> Iterator[str]:
    """What lifts it, or puts it back."""
    head = "ALTER DEFAULT PRIVILEGES " + (f"IN SCHEMA {quoted(found.schema)} " if found.schema else "")
    on = f"ON {_WORDS[found.kind]}"
    standing = () if found.schema else usual
    first, then = (standing, found.rights) if back else (found.rights, standing)
    for grantee in sorted({right.grantee for right in first}):
        yield f"{head}REVOKE ALL {on} FROM {_who(grantee)}"
    for right in then:
        yield f"{head}GRANT {right.privilege} {on} TO {_who(right.grantee)}" + (" WITH GRANT OPTION" if right.may_grant else "")


def _who(grantee: str) -> str:
    return quoted(grantee) if grantee else "PUBLIC"


def read(connection: Session, schemas: Iterable[str]) -> tuple[Default, ...]:
    rows = connection.execute(_QUERIES["default_rights"], {"schemas": sorted(schemas)}).fetchall()
    return tuple(Default(schema=r[1], kind=r[2], rights=_rights(r[3])) for r in rows if r[2] in _WORDS)


def _rights(found: Sequence[Sequence[str]]) -> tuple[Right, ...]:
    return tuple(sorted((Right(grantee=g, privilege=p, may_grant=m == "true") for g, p, m in found), key=repr))


@contextmanager
def lifted(connection: Session, schemas: Sequence[str]) -> Iterator[None]:
    """Inside the block new objects of this role's have the rights of a fresh database. Raises RolledBack (`default_rights`)."""
    before = read(connection, schemas)
    usual = {
        d.kind: _rights((connection.execute(_QUERIES["usual_rights"], {"kind": d.kind}).fetchone() or ([],))[0]) for d in before
    }
    for found in before:
        for command in commands(found, usual[found.kind], back=False):
            connection.execute(command.encode())
    yield
    for found in before:
        for command in commands(found, usual[found.kind], back=True):
            connection.execute(command.encode())
    if read(connection, schemas) != before:
        raise RolledBack(
            "the default privileges could not be put back as they were",
            code="default_rights", hint="Report this with --verbose's output.",
        )  # fmt: skip
