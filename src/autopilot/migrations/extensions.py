"""CREATE EXTENSION in migrations: which, where and how, by PostgreSQL's grammar."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from autopilot.migrations import grammar
from autopilot.migrations.segments import Migration


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """An extension that a statement of a file makes."""

    #: The file's, and the character of it at which the statement begins.
    version: str
    start: int
    file: str
    line: int
    #: The statement, for messages.
    shown: str
    name: str
    #: None: the first of the search_path, or what the extension itself says.
    schema: str | None = None
    #: Of the extension; None: the server's default.
    release: str | None = None
    only_if_absent: bool = False
    cascade: bool = False


def wanted(migrations: Iterable[Migration]) -> tuple[Wanted, ...]:
    """In the order in which they are made."""
    found: list[Wanted] = []
    for migration in migrations:
        for statement in migration.statements:
            if statement.kind == "create_extension_stmt":
                node = grammar.parse(statement.text)[0].stmt.create_extension_stmt
                options = {option.def_elem.defname: option.def_elem.arg for option in node.options}
                found.append(
                    Wanted(
                        version=migration.version, start=statement.start, file=migration.file.file, line=statement.line,
                        shown=statement.shown(), name=node.extname, only_if_absent=node.if_not_exists,
                        schema=options["schema"].string.sval if "schema" in options else None,
                        release=options["new_version"].string.sval if "new_version" in options else None,
                        cascade="cascade" in options and options["cascade"].boolean.boolval,
                    )
                )  # fmt: skip
    return tuple(found)
