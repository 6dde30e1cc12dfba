"""Names and values as SQL writes them, and what each kind of object is called in a command."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from psycopg import sql

from autopilot.rollback.snapshot import Snapshot, Thing

#: The word before the name in COMMENT ON, ALTER and DROP.
NOUNS = {
    "schema": "SCHEMA", "extension": "EXTENSION", "table": "TABLE", "view": "VIEW", "matview": "MATERIALIZED VIEW",
    "foreign_table": "FOREIGN TABLE", "column": "COLUMN", "constraint": "CONSTRAINT", "index": "INDEX", "sequence": "SEQUENCE",
    "function": "FUNCTION", "procedure": "PROCEDURE", "aggregate": "AGGREGATE", "enum": "TYPE", "domain": "DOMAIN",
    "composite": "TYPE", "range": "TYPE", "base_type": "TYPE", "trigger": "TRIGGER", "rule": "RULE", "policy": "POLICY",
    "statistics": "STATISTICS", "collation": "COLLATION", "operator": "OPERATOR", "operator_class": "OPERATOR CLASS",
    "cast": "CAST", "text_search_configuration": "TEXT SEARCH CONFIGURATION",
    "text_search_dictionary": "TEXT SEARCH DICTIONARY", "event_trigger": "EVENT TRIGGER", "publication": "PUBLICATION",
    "foreign_data_wrapper": "FOREIGN DATA WRAPPER", "server": "SERVER",
}  # fmt: skip
_OF_A_TABLE = {"constraint", "trigger", "rule", "policy"}


def name(*parts: str | None) -> str:
    """Quoted, joined by dots; what is None is left out."""
    return sql.Identifier(*(part for part in parts if part is not None)).as_string(None)


def literal(value: str) -> str:
    return sql.Literal(value).as_string(None).strip()


def names(parts: Iterable[str]) -> str:
    return ", ".join(name(part) for part in parts)


def ref(snapshot: Snapshot, thing: Thing) -> str:
    """The name by which a command finds the thing: `"public"."orders"`, `"public"."total"(integer)`; a part's is its own."""
    if thing.kind == "column":
        return f"{of(snapshot, thing)}.{name(thing.name)}"
    if thing.kind in {"function", "procedure", "aggregate"}:
        arguments = thing.text["arguments"]
        return f"{name(thing.schema, thing.name)}({arguments or ('*' if thing.kind == 'aggregate' else '')})"
    if thing.kind == "operator":
        return f"{name(thing.schema)}.{thing.name} {thing.tag}"
    if thing.kind == "operator_class":
        return f"{name(thing.schema, thing.name)} USING {name(thing.facts['method'])}"
    if thing.kind == "cast":
        return thing.name
    return name(thing.schema, thing.name)


def of(snapshot: Snapshot, thing: Thing) -> str:
    """The name of what a thing is part of."""
    parent = snapshot.parent(thing)
    if parent is None:
        raise KeyError(thing.key)
    return ref(snapshot, parent)


def address(snapshot: Snapshot, thing: Thing) -> str:
    """What COMMENT ON takes: `TRIGGER "t" ON "public"."orders"`."""
    noun = NOUNS[thing.kind]
    if thing.kind not in _OF_A_TABLE:
        return f"{noun} {ref(snapshot, thing)}"
    parent = snapshot.parent(thing)
    domain = "DOMAIN " if parent is not None and parent.kind == "domain" else ""
    return f"{noun} {name(thing.name)} ON {domain}{of(snapshot, thing)}"


def option(pair: str) -> str:
    """`fillfactor=70`, as the catalog keeps it, as a command takes it."""
    key, _, value = pair.partition("=")
    return f"{name(*key.split('.'))} = {literal(value)}"


def options(then: Sequence[str] | None, now: Sequence[str] | None, prefix: str = "") -> list[str]:
    """The tails of ALTER … that lead from the options now to those then: SET (…), RESET (…)."""
    was, has = list(then or ()), list(now or ())
    wanted = [f"{prefix}{o}" for o in was if o not in has]
    gone = [f"{prefix}{o.partition('=')[0]}" for o in has if o.partition("=")[0] not in {w.partition("=")[0] for w in was}]
    tails = [f"SET ({', '.join(option(o) for o in wanted)})"] if wanted else []
    return [*tails, *([f"RESET ({', '.join(name(*g.split('.')) for g in gone)})"] if gone else [])]


def outside_options(then: Sequence[str] | None, now: Sequence[str] | None) -> str | None:
    """The same for foreign objects: OPTIONS (ADD …, SET …, DROP …), or None."""
    was = dict(o.split("=", 1) for o in then or ())
    has = dict(o.split("=", 1) for o in now or ())
    changes = [f"ADD {name(k)} {literal(v)}" for k, v in was.items() if k not in has]
    changes += [f"SET {name(k)} {literal(v)}" for k, v in was.items() if k in has and has[k] != v]
    changes += [f"DROP {name(k)}" for k in has if k not in was]
    return f"OPTIONS ({', '.join(changes)})" if changes else None


def made_options(then: Sequence[str] | None) -> str:
    """OPTIONS (…) of something that is being made."""
    pairs = [o.split("=", 1) for o in then or ()]
    return f" OPTIONS ({', '.join(f'{name(k)} {literal(v)}' for k, v in pairs)})" if pairs else ""
