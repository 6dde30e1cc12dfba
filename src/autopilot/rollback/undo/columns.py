"""Columns and their defaults. A column made again is empty, and stands at the end."""

from __future__ import annotations

import re

from autopilot.rollback.difference import Pair
from autopilot.rollback.snapshot import Snapshot, Thing
from autopilot.rollback.statement import Phase, Statement
from autopilot.rollback.undo.kind import Commands, Kind
from autopilot.rollback.undo.words import made_options, name, of, options, outside_options

_STORAGE = {"p": "PLAIN", "e": "EXTERNAL", "m": "MAIN", "x": "EXTENDED"}
_COMPRESSION = {"p": "pglz", "l": "lz4", "": "default"}
_IDENTITY = {"a": "ALWAYS", "d": "BY DEFAULT"}


def declared(column: Thing, *, later: bool = False) -> str:
    """As in CREATE TABLE, without its default, which may need what is made later. later: it may be empty until `bound`."""
    words = [name(column.name), column.text["type"]]
    if column.facts["of"] == "f":
        words.append(made_options(column.facts["foreign_options"]))
    if column.text["collation"]:
        words.append(f"COLLATE {column.text['collation']}")
    if column.facts["generated"]:
        words.append(
            f"GENERATED ALWAYS AS ({column.text['expression']}) {'STORED' if column.facts['generated'] == 's' else 'VIRTUAL'}"
        )
    if column.facts["identity"]:
        words.append(_identity(column))
    if column.facts["not_null"] and not later:
        words.append("NOT NULL")
    return " ".join(words)


def _identity(column: Thing) -> str:
    _, start, step, least, most, cache, cycle = column.facts["sequence"]
    called = f"SEQUENCE NAME {column.text['sequence_name']} " if column.text["sequence_name"] else ""
    numbers = f"START WITH {start} INCREMENT BY {step} MINVALUE {least} MAXVALUE {most} CACHE {cache}"
    return f"GENERATED {_IDENTITY[column.facts['identity']]} AS IDENTITY ({called}{numbers}{' CYCLE' if cycle else ''})"


def _table(column: Thing, before: Snapshot) -> str:
    return f"ALTER {'FOREIGN ' if column.facts['of'] == 'f' else ''}TABLE {of(before, column)}"


def _create(column: Thing, before: Snapshot) -> Commands:
    if column.facts["of"] not in {"r", "p", "f"} or column.facts["inherited"]:
        return []
    default = next((c for c in before.children.get(column.key, ()) if inlined(c)), None)
    filled = f" DEFAULT {default.text['expression']}" if default is not None else ""
    later = _empty_at_first(column, before)
    return [f"{_table(column, before)} ADD COLUMN {declared(column, later=later)}{filled}", *_continued(column, before)]


def _empty_at_first(column: Thing, before: Snapshot) -> bool:
    """Whether nothing gives it a value in rows that are there already, but those that are brought back."""
    fills_itself = column.facts["identity"] or column.facts["generated"]
    return not fills_itself and not any(inlined(c) for c in before.children.get(column.key, ()))


def bound(column: Thing, before: Snapshot) -> list[Statement]:
    """What a column that is made again must hold once its rows are back; rows written since may have nothing for it."""
    if column.kind != "column" or column.facts["of"] not in {"r", "p"} or column.facts["inherited"]:
        return []
    if not column.facts["not_null"] or not _empty_at_first(column, before):
        return []
    command = f"{_table(column, before)} ALTER COLUMN {name(column.name)} SET NOT NULL"
    return [
        Statement(
            phase=Phase.BIND, text=command, about=before.paths[column.key],
            unless=f"SELECT count(*) FROM {of(before, column)} WHERE {name(column.name)} IS NULL",
            sentence=f"{before.paths[column.key]} may be empty now: {{rows}} written since without a value in it;"
            f" fill it, then: {command}",
        )
    ]  # fmt: skip


def inlined(thing: Thing) -> bool:
    """A default that rows which are there already are given; one that counts needs its sequence, which needs the column."""
    return thing.kind == "default" and "nextval(" not in thing.text["expression"]


def _continued(column: Thing, before: Snapshot) -> Commands:
    """A counter made again goes on where it was known to be, or after what the column holds: numbers are never given twice."""
    if not column.facts["identity"] or not column.text["sequence_name"]:
        return []
    known = column.loose.get("last_value") or 0
    least = column.facts["sequence"][1]
    highest = f"greatest(max({name(column.name)}), {known})"
    value = f"greatest({highest}, {least})"
    return [f"SELECT setval({_regclass(column)}, {value}) FROM {of(before, column)} HAVING {highest} > 0"]


def _regclass(column: Thing) -> str:
    escaped = column.text["sequence_name"].replace("'", "''")
    return f"'{escaped}'::regclass"


def _drop(column: Thing, now: Snapshot) -> Commands:
    if column.facts["of"] not in {"r", "p", "f"} or column.facts["inherited"]:
        return []
    return [f"{_table(column, now)} DROP COLUMN {name(column.name)}"]


def retyped(pair: Pair) -> bool:
    """Whether its type or collation is another one now."""
    then, now = pair.before.text, pair.after.text
    return pair.redefined and (then["type"], then["collation"]) != (now["type"], now["collation"])


def derived_anew(pair: Pair) -> bool:
    """Whether it is computed, then or now, and not in the same way: only dropping and adding leads back."""
    was, has = pair.before, pair.after
    if was.facts["generated"] != has.facts["generated"]:
        return bool(was.facts["generated"])
    return bool(was.facts["generated"]) and pair.redefined


def retype(column: Thing, before: Snapshot) -> str:
    """To the type of before. Text is the way between types that know nothing of each other, as two enums."""
    collation = f" COLLATE {column.text['collation']}" if column.text["collation"] else ""
    kind = column.text["type"]
    if column.facts["generated"]:
        return f"{_table(column, before)} ALTER COLUMN {name(column.name)} TYPE {kind}{collation}"
    return f"{_table(column, before)} ALTER COLUMN {name(column.name)} TYPE {kind}{collation} USING {cast(column.name, kind)}"


def cast(column: str, kind: str) -> str:
    """Types outside pg_catalog are reached by way of text."""
    through = "::text" if "." in re.sub(r"\(.*?\)", "", kind) else ""
    return f"{name(column)}{through}::{kind}"


def _alter(pair: Pair, before: Snapshot, _now: Snapshot) -> Commands | None:
    then, has = pair.before, pair.after
    if then.facts["of"] not in {"r", "p", "f"}:
        return []
    head = f"{_table(then, before)} ALTER COLUMN {name(then.name)}"
    if derived_anew(pair):
        return None
    commands: Commands = []
    if has.facts["generated"] and not then.facts["generated"]:
        commands.append(f"{head} DROP EXPRESSION")
    if has.facts["identity"] and not then.facts["identity"]:
        commands.append(f"{head} DROP IDENTITY")
    if retyped(pair) and not then.facts["inherited"]:
        commands.append(retype(then, before))
    if then.facts["not_null"] != has.facts["not_null"]:
        commands.append(f"{head} {'SET' if then.facts['not_null'] else 'DROP'} NOT NULL")
    return commands + _identity_back(pair, head, before)


def _identity_back(pair: Pair, head: str, before: Snapshot) -> Commands:
    then, has = pair.before, pair.after
    if not then.facts["identity"]:
        return []
    if not has.facts["identity"]:
        return [f"{head} ADD {_identity(then)}", *_continued(then, before)]
    tails = []
    if then.facts["identity"] != has.facts["identity"]:
        tails.append(f"SET GENERATED {_IDENTITY[then.facts['identity']]}")
    if then.facts["sequence"] != has.facts["sequence"]:
        _, start, step, least, most, cache, cycle = then.facts["sequence"]
        tails.append(
            f"SET START WITH {start} SET INCREMENT BY {step} SET MINVALUE {least} SET MAXVALUE {most} SET CACHE {cache}"
            f" SET {'CYCLE' if cycle else 'NO CYCLE'}"
        )
    return [f"{head} {tail}" for tail in tails]


def _finish(then: Thing, now: Thing | None, before: Snapshot) -> Commands:
    if then.facts["of"] not in {"r", "p", "f", "m"}:
        return []
    kind = {"m": "MATERIALIZED VIEW", "f": "FOREIGN TABLE"}.get(then.facts["of"], "TABLE")
    head = f"ALTER {kind} {of(before, then)} ALTER COLUMN {name(then.name)}"
    fresh = {
        "storage": then.facts["usual_storage"],
        "compression": "",
        "statistics": -1,
        "foreign_options": then.facts["foreign_options"],
    }
    has = fresh if now is None else now.facts
    tails = options(then.facts["options"], has.get("options"))
    if then.facts["storage"] != has["storage"]:
        tails.append(f"SET STORAGE {_STORAGE[then.facts['storage']]}")
    if then.facts["compression"] != has["compression"]:
        tails.append(f"SET COMPRESSION {_COMPRESSION[then.facts['compression']]}")
    if then.facts["statistics"] != has["statistics"]:
        tails.append(f"SET STATISTICS {then.facts['statistics']}")
    outside = outside_options(then.facts["foreign_options"], has["foreign_options"])
    return [f"{head} {tail}" for tail in (*tails, *([outside] if outside else []))]


def _of_default(default: Thing, before: Snapshot) -> str:
    column = before.parent(default)
    if column is None:
        raise KeyError(default.key)
    noun = {"v": "VIEW", "f": "FOREIGN TABLE"}.get(column.facts["of"], "TABLE")
    return f"ALTER {noun} {of(before, column)} ALTER COLUMN {name(column.name)}"


def _create_default(default: Thing, before: Snapshot) -> Commands:
    return [f"{_of_default(default, before)} SET DEFAULT {default.text['expression']}"]


def _drop_default(default: Thing, now: Snapshot) -> Commands:
    return [f"{_of_default(default, now)} DROP DEFAULT"]


COLUMN = Kind(rank=22, create=_create, drop=_drop, alter=_alter, finish=_finish)
DEFAULT = Kind(rank=24, create=_create_default, drop=_drop_default)
