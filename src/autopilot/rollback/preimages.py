"""What a migration would destroy, kept before it does: which texts go where in its transaction.

    facts = read(connection, run_id=…, keep_days=30, statements=…, touched=…)    before the transaction, on the target
    plan  = plan_for(facts)                                                      pure
    plan.opening()                             after BEGIN: the schema autopilot_trash, its register, our functions
    plan.at(version, number) -> Capture        for each of the author's statements:
        .before                                ours, before it
        .probe, .instead                       where a DROP TABLE becomes a move: `probe` stands in the statement's place,
                                               under the author's role (PostgreSQL itself shows that it would drop), then
                                               `instead`, ours
        .after                                 ours, after it
    plan.closing()                             before COMMIT, after SET CONSTRAINTS ALL IMMEDIATE: triggers and functions go
    plan.impossible                            what no text can keep, each with why

All texts are single statements for a simple-query message, run as the session's own role (`probe` apart), and need nothing of
search_path. They are part of the author's transaction: what is kept commits with the migration, or not at all. A plan that has
nothing to keep says nothing.

Rows are caught by statement triggers on the tables named in `touched`, and on their partitions; they fire whatever
session_replication_role is. CREATE TRIGGER takes SHARE ROW EXCLUSIVE before the first statement that touches the table, DROP
TRIGGER ACCESS EXCLUSIVE at the end. A bulk statement costs two inserts more; each single-row statement in a loop about 0.2
ms more.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import psycopg

from autopilot.postgres.queries import named
from autopilot.rollback.kit import array, closing, literal, opening

_RELATIONS = named(__file__, "preimages.sql")["relations"]

#: Schema and name.
Name = tuple[str, str]
What = Literal["drop table", "drop column", "retype column", "truncate", "alter table", "drop other"]
_SAVEPOINT = "autopilot_would_drop"
#: What objects that a statement drops may be needed for by tables that lie in the trash.
_NEEDED = ("pg_type", "pg_proc", "pg_class", "pg_collation", "pg_operator", "pg_opclass", "pg_ts_config")


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """One of the author's statements that may destroy something. Names are resolved, of new tables too."""

    version: str
    #: Its place in the file, counted as the caller does.
    number: int
    #: "alter table": anything that may switch triggers off; "drop other": of types, functions, sequences, schemas, extensions.
    what: What
    #: Without its semicolon.
    text: str = ""
    tables: tuple[Name, ...] = ()
    columns: tuple[str, ...] = ()
    cascade: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Touched:
    """A table whose rows the rehearsal saw written, however that came about."""

    table: Name
    #: The first statement that did.
    version: str
    number: int
    truncated: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Relation:
    """What the catalog says of a table."""

    table: Name
    oid: int
    #: relkind: "r", "p", "f", …
    kind: str
    #: relpersistence.
    persistence: str
    #: Whether we may act as its owner.
    ours: bool
    #: Whether row level security hides rows from us.
    hidden: bool = False
    is_partition: bool = False
    #: Whether it has parents or children by plain inheritance.
    inherits: bool = False
    #: What outside it needs it: "foreign key", else the catalog that holds it ("pg_rewrite" is a view).
    dependents: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    run_id: str
    keep_days: int
    statements: tuple[Statement, ...]
    touched: tuple[Touched, ...]
    relations: Mapping[Name, Relation]


@dataclass(frozen=True, slots=True, kw_only=True)
class Capture:
    """What is said around one statement."""

    before: tuple[str, ...] = ()
    probe: tuple[str, ...] = ()
    #: None: the author's statement runs as it stands.
    instead: tuple[str, ...] | None = None
    after: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Impossible:
    """What will be gone if it is destroyed."""

    table: Name
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    run_id: str
    captures: Mapping[tuple[str, int], Capture]
    impossible: tuple[Impossible, ...] = ()

    def at(self, version: str, number: int) -> Capture:
        return self.captures.get((version, number), Capture())

    def opening(self) -> tuple[str, ...]:
        return opening() if self.captures else ()

    def closing(self) -> tuple[str, ...]:
        return closing(self.run_id) if self.captures else ()


def plan_for(facts: Facts) -> Plan:
    """Which statement is preceded, followed or replaced by what."""
    parts: dict[tuple[str, int], list[Capture]] = {}
    for touched in facts.touched:
        capture = _watched(facts, touched)
        if capture is not None:
            parts.setdefault((touched.version, touched.number), []).append(capture)
    for statement in facts.statements:
        capture = _captured(facts, statement)
        if capture is not None:
            parts.setdefault((statement.version, statement.number), []).append(capture)
    joined = {place: _joined(captures) for place, captures in parts.items()}
    return Plan(run_id=facts.run_id, captures=joined, impossible=tuple(dict.fromkeys(_impossible(facts))))


def way(relations: Sequence[Relation | None], *, cascade: bool) -> Literal["move", "copy"]:
    """How tables that one statement drops are kept: moved only where all of them can be, and nothing else would go with them.

    None stands for a table that was not there before the migration: only the author's own DROP can take it away. What stands
    in the way of a DROP without CASCADE need not be asked for: PostgreSQL says it itself when the statement is tried.
    """
    for relation in relations:
        if relation is None or relation.kind not in {"r", "p"} or relation.persistence == "t" or relation.inherits:
            return "copy"
        if not relation.ours or (cascade and set(relation.dependents) - {"foreign key"}):
            return "copy"
    return "move"


def _watched(facts: Facts, touched: Touched) -> Capture | None:
    relation = facts.relations.get(touched.table)
    if relation is None or _unwatchable(relation) is not None:
        return None
    told = not (relation.hidden and touched.truncated) or any(s.what == "truncate" for s in facts.statements)
    place = f"{literal(facts.run_id)}, {literal(touched.version)}, {touched.number}, {facts.keep_days}, {relation.oid}"
    return Capture(before=(f"SELECT autopilot_trash.watch({place}, {str(told).lower()})",))


def _unwatchable(relation: Relation) -> str | None:
    if relation.persistence == "t":
        return "it is temporary"
    if relation.kind not in {"r", "p"}:
        return "its rows do not lie in this database"
    if not relation.ours:
        return "it belongs to another role: a trigger could be put on it, and not be taken off again"
    return "it has parents or children by inheritance" if relation.inherits else None


def _captured(facts: Facts, statement: Statement) -> Capture | None:
    known = [facts.relations.get(name) for name in statement.tables]
    there = [r for r in known if r is not None and r.kind in {"r", "p"} and r.persistence != "t" and r.ours]
    if statement.what == "drop table":
        return _dropped(facts, statement, known, there)
    if statement.what in {"drop column", "retype column"}:
        return _columns(facts, statement, [r for r in there if not r.inherits])
    if statement.what == "truncate":
        hidden = [facts.relations[t.table] for t in facts.touched if t.truncated and t.table in facts.relations]
        names = [_quoted(r.table) for r in hidden if r.hidden and r.ours]
        return Capture(
            before=tuple(f"ALTER TABLE IF EXISTS {n} NO FORCE ROW LEVEL SECURITY" for n in names),
            after=tuple(f"ALTER TABLE IF EXISTS {n} FORCE ROW LEVEL SECURITY" for n in names),
        )
    if statement.what == "alter table":
        return Capture(after=("SELECT autopilot_trash.awake()",)) if facts.touched else None
    kept = [facts.relations[name] for name in statement.tables if name in facts.relations]
    copies = _copies(facts, statement, [r for r in kept if r.ours])
    return Capture(before=(*copies, f"SELECT autopilot_trash.let_go({array(_NEEDED)})"))


def _dropped(facts: Facts, statement: Statement, known: Sequence[Relation | None], there: Sequence[Relation]) -> Capture | None:
    if not there:
        return None
    if way(known, cascade=statement.cascade) == "copy":
        return Capture(before=_copies(facts, statement, there))
    oids = ", ".join(str(r.oid) for r in there)
    return Capture(
        probe=(
            f"SAVEPOINT {_SAVEPOINT}", statement.text, f"ROLLBACK TO SAVEPOINT {_SAVEPOINT}", f"RELEASE SAVEPOINT {_SAVEPOINT}",
        ),
        instead=(f"SELECT autopilot_trash.keep_moved({_place(facts, statement)}, ARRAY[{oids}]::oid[])",),
    )  # fmt: skip


def _copies(facts: Facts, statement: Statement, there: Iterable[Relation]) -> tuple[str, ...]:
    kept = [r for r in there if r.kind in {"r", "p"} and r.persistence != "t"]
    return tuple(f"SELECT autopilot_trash.keep_copy({_place(facts, statement)}, {r.oid})" for r in kept)


def _columns(facts: Facts, statement: Statement, there: Iterable[Relation]) -> Capture:
    place, wanted = _place(facts, statement), array(statement.columns)
    after = (f"{literal(facts.run_id)}, {literal(statement.version)}, {statement.number}",) if there else ()
    return Capture(
        before=tuple(f"SELECT autopilot_trash.keep_copy({place}, {r.oid}, {wanted})" for r in there),
        after=tuple(f"SELECT autopilot_trash.keep_after({a})" for a in after if statement.what == "retype column"),
    )


def _impossible(facts: Facts) -> Iterable[Impossible]:
    explicit = any(s.what == "truncate" for s in facts.statements)
    for touched in facts.touched:
        relation = facts.relations.get(touched.table)
        why = None if relation is None else _unwatchable(relation)
        if relation is not None and why is None and relation.hidden and touched.truncated and not explicit:
            why = "it is emptied out of sight, and row level security hides rows of it from its owner"
        if why is not None:
            yield Impossible(table=touched.table, why=why)
    for statement in facts.statements:
        for relation in (facts.relations.get(name) for name in statement.tables):
            why = None if relation is None else _not_copied(relation, statement)
            if relation is not None and why is not None:
                yield Impossible(table=relation.table, why=why)


def _not_copied(relation: Relation, statement: Statement) -> str | None:
    if statement.what in {"truncate", "alter table"}:
        return None
    if relation.kind == "f":
        return "its rows do not lie in this database"
    if not relation.ours and relation.kind in {"r", "p"}:
        return "it belongs to another role"
    by_column = statement.what in {"drop column", "retype column"}
    return "it has parents or children by inheritance" if by_column and relation.inherits else None


def _joined(captures: Sequence[Capture]) -> Capture:
    return Capture(
        before=tuple(text for c in captures for text in c.before),
        probe=tuple(text for c in captures for text in c.probe),
        instead=next((c.instead for c in captures if c.instead is not None), None),
        after=tuple(text for c in captures for text in c.after),
    )


def _place(facts: Facts, statement: Statement) -> str:
    return f"{literal(facts.run_id)}, {literal(statement.version)}, {statement.number}, {facts.keep_days}"


def _quoted(table: Name) -> str:
    return ".".join('"' + part.replace('"', '""') + '"' for part in table)


def read(
    connection: psycopg.Connection[Any],
    *,
    run_id: str,
    keep_days: int,
    statements: Sequence[Statement],
    touched: Sequence[Touched],
) -> Facts:
    """Asks the target's catalog about every table that is named, in one round trip. Raises psycopg.Error."""
    names = sorted({t.table for t in touched} | {name for s in statements for name in s.tables})
    found = connection.execute(_RELATIONS, {"schemas": [n[0] for n in names], "names": [n[1] for n in names]}).fetchall()
    relations = [
        Relation(
            table=(row[0], row[1]), oid=row[2], kind=row[3], persistence=row[4], ours=row[5], hidden=row[6], is_partition=row[7],
            inherits=row[8], dependents=tuple(row[9]),
        )
        for row in found
    ]  # fmt: skip
    return Facts(
        run_id=run_id, keep_days=keep_days, statements=tuple(statements), touched=tuple(touched),
        relations={r.table: r for r in relations},
    )  # fmt: skip
