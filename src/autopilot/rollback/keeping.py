"""What would be lost by a command goes to the trash schema first: new tables as they are, new columns as copies."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from autopilot.rollback.case import Case
from autopilot.rollback.going import TYPES, Going
from autopilot.rollback.snapshot import TRASH, Key, Thing
from autopilot.rollback.statement import Phase, Statement, Trashed
from autopilot.rollback.undo.words import NOUNS, literal, name, ref

_LONGEST_NAME_BYTES = 63


def kept(found: Going) -> tuple[list[Statement], list[Trashed]]:
    """Commands of KEEP, LOOSEN and MOVE, and what they put where."""
    case = found.case
    copies: list[Trashed] = []
    moved: list[Trashed] = []
    statements: list[Statement] = []
    for table, columns in _columns_with_rows(found).items():
        entry, commands = _copied(found, case.now.by_key[table], columns, len(copies))
        copies.append(entry)
        statements += commands
    for key in found.trash:
        thing = case.now.by_key[key]
        if thing.kind == "table":
            entry, commands = _moved(found, thing, len(moved))
            moved.append(entry)
            statements += commands
        else:
            statements += _moved_type(case, thing)
    statements += [_as_text(case, case.now.by_key[key]) for key in found.as_text]
    if statements:
        statements = [*_schema(case), *statements]
    return statements, [*copies, *moved]


def _schema(case: Case) -> Iterable[Statement]:
    """Nobody but its owner sees it, whatever the default privileges say."""
    who = {g[0] for t in case.now.things if t.kind == "default_privileges" and t.facts["objects"] == "n" for g in t.acl or ()}
    everybody = ", ".join(["PUBLIC", *(name(role) for role in sorted(who - {"", case.now.role}))])
    for text in (f"CREATE SCHEMA IF NOT EXISTS {name(TRASH)}", f"REVOKE ALL ON SCHEMA {name(TRASH)} FROM {everybody}"):
        yield Statement(phase=Phase.KEEP, text=text, about=f"schema {TRASH}")


def _columns_with_rows(found: Going) -> dict[Key, list[Thing]]:
    """Columns that are dropped and hold more than what can be computed anew, by table."""
    case, by_table = found.case, dict[Key, list[Thing]]()
    for key in found.go:
        thing = case.now.by_key[key]
        if thing.kind != "column" or thing.facts["of"] not in {"r", "p"} or thing.facts["generated"] or thing.facts["inherited"]:
            continue
        if thing.parent is not None:
            by_table.setdefault(thing.parent, []).append(thing)
    return by_table


def _copied(found: Going, table: Thing, columns: list[Thing], number: int) -> tuple[Trashed, list[Statement]]:
    case = found.case
    key = _primary_key(case, table)
    shown = [c for c in case.now.children.get(table.key, ()) if c.kind == "column"]
    listed = [c for c in shown if c.name in key or c in columns] if key else shown
    listed.sort(key=lambda c: c.sub)
    values = ", ".join(_value(found, column) for column in listed)
    where = " OR ".join(f"{name(column.name)} IS NOT NULL" for column in columns)
    called = _unique(case, f"c{number}", table.name)
    entry = Trashed(
        name=called, what="columns", origin=case.now.paths[table.key], columns=tuple(c.name for c in columns), key=key,
        schema=table.schema or "", table=table.name, oid=table.oid, numbers=tuple((c.name, c.sub) for c in listed),
    )  # fmt: skip
    about = case.now.paths[table.key]
    texts = (
        f"CREATE TABLE {name(TRASH, called)} AS SELECT {values} FROM {ref(case.now, table)} WHERE {where}",
        f"COMMENT ON TABLE {name(TRASH, called)} IS {_record(entry)}",
    )
    return entry, [Statement(phase=Phase.KEEP, text=text, about=about) for text in texts]


def _primary_key(case: Case, table: Thing) -> tuple[str, ...]:
    parts = case.now.children.get(table.key, ())
    found = next((c for c in parts if c.kind == "constraint" and c.facts["type"] == "p"), None)
    return () if found is None else case.now.columns(table, found.loose["key"])


def _value(found: Going, column: Thing) -> str:
    """A type that goes would hold the copy, so the copy holds text."""
    now = found.case.now
    types = {b for a, b in now.edges if a == column.key and b in found.go and now.by_key[b].kind in {*TYPES, "extension"}}
    return f"{name(column.name)}::text AS {name(column.name)}" if types else name(column.name)


def _moved(found: Going, table: Thing, number: int) -> tuple[Trashed, list[Statement]]:
    case = found.case
    called = _unique(case, f"t{number}", table.name)
    parts = tuple(_parts_renamed(found, table))
    entry = Trashed(
        name=called, what="table", origin=case.now.paths[table.key], schema=table.schema or "", table=table.name, oid=table.oid,
        renamed=(("TABLE", name(table.schema, table.name), called), *parts), comment=table.comment,
    )  # fmt: skip
    texts = [
        *(f"ALTER {noun} {was} RENAME TO {name(part)}" for noun, was, part in parts),
        f"ALTER TABLE {ref(case.now, table)} RENAME TO {name(called)}",
        f"ALTER TABLE {name(table.schema, called)} SET SCHEMA {name(TRASH)}",
        f"COMMENT ON TABLE {name(TRASH, called)} IS {_record(entry)}",
    ]
    about = case.now.paths[table.key]
    loosened = [Statement(phase=Phase.LOOSEN, text=text, about=about) for text in _loosened(case, table)]
    return entry, [*loosened, *(Statement(phase=Phase.MOVE, text=text, about=about) for text in texts)]


def _loosened(case: Case, table: Thing) -> Iterable[str]:
    """Leaves a parent that stays, and publications of all kinds with it."""
    for key in table.loose.get("parents") or ():
        parent = case.now.by_key.get(key)
        if parent is None or key in case.new:
            continue
        if table.facts["partition"]:
            yield f"ALTER TABLE {ref(case.now, parent)} DETACH PARTITION {ref(case.now, table)}"
        else:
            yield f"ALTER TABLE {ref(case.now, table)} NO INHERIT {ref(case.now, parent)}"


def _parts_renamed(found: Going, table: Thing) -> Iterable[tuple[str, str, str]]:
    """Indexes and sequences come along: their names must be free there, however often this is done."""
    case, number = found.case, 0
    for attached in table.loose.get("attached") or ():
        number += 1
        yield "INDEX", name(table.schema, attached), _unique(case, f"p{number}", attached, table)
    columns = {c.key for c in case.now.children.get(table.key, ()) if c.kind == "column"}
    for thing in case.now.things:
        if thing.key in found.go:
            continue
        own = thing.parent == table.key and (
            thing.kind == "index" or (thing.kind == "constraint" and thing.facts["type"] in {"p", "u", "x"})
        )
        if own or (thing.kind == "sequence" and thing.owned_by in columns):
            number += 1
            noun = "SEQUENCE" if thing.kind == "sequence" else "INDEX"
            schema = thing.schema or table.schema
            yield noun, name(schema, thing.name), _unique(case, f"p{number}", thing.name, table)
        elif thing.key in columns and thing.text["sequence_name"]:
            number += 1
            yield "SEQUENCE", str(thing.text["sequence_name"]), _unique(case, f"p{number}", thing.name, table)


def _moved_type(case: Case, thing: Thing) -> list[Statement]:
    called = _unique(case, "y", thing.name)
    noun = NOUNS[thing.kind]
    texts = (
        f"ALTER {noun} {ref(case.now, thing)} RENAME TO {name(called)}",
        f"ALTER {noun} {name(thing.schema, called)} SET SCHEMA {name(TRASH)}",
    )
    return [Statement(phase=Phase.MOVE, text=text, about=case.now.paths[thing.key]) for text in texts]


def _as_text(case: Case, column: Thing) -> Statement:
    table = case.now.by_key[column.parent or ""]
    called = name(column.name)
    text = f"ALTER TABLE {ref(case.now, table)} ALTER COLUMN {called} TYPE text USING {called}::text"
    return Statement(phase=Phase.LOOSEN, text=text, about=case.now.paths[column.key])


def _unique(case: Case, mark: str, wanted: str, of: Thing | None = None) -> str:
    whose = f"{of.oid}_" if of is not None else ""
    raw = f"{case.token}_{mark}_{whose}{wanted}".encode()[:_LONGEST_NAME_BYTES]
    return raw.decode(errors="ignore")


def _record(entry: Trashed) -> str:
    """The table tells by itself where it came from, and `tables_back` what its own comment was."""
    told = {"what": entry.what, "from": entry.origin, "columns": entry.columns, "key": entry.key, "comment": entry.comment}
    return literal(msgspec.json.encode(told).decode())
