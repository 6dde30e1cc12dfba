"""The functions that keep things while a migration runs: made after its BEGIN, gone before its COMMIT."""

from __future__ import annotations

from collections.abc import Iterable

from autopilot.postgres.queries import named

_TRASH = {name: text.decode() for name, text in named(__file__, "trash.sql").items()}
_TABLES = {name: text.decode() for name, text in named(__file__, "kept_tables.sql").items()}
_ROWS = {name: text.decode() for name, text in named(__file__, "preimages.sql").items()}
_FUNCTIONS = (
    "fit(text)", "stored(oid)", "key_of(oid, text[])", "whole(oid)",
    "keep_copy(text, text, integer, integer, oid, text[])", "keep_after(text, text, integer)",
    "keep_moved(text, text, integer, integer, oid[])", "let_go(text[])", "began()", "moment_of(oid, text, integer)",
    "place_of(bigint, oid)", "ended()", "emptied()", "watch(text, text, integer, integer, oid, boolean)", "awake()",
    "settle(text)",
)  # fmt: skip


def opening() -> tuple[str, ...]:
    """Makes the trash and its register where they are not there yet, and the functions that this transaction needs."""
    made = [_TRASH[n] for n in ("schema", "moments", "register", "images", "fit", "stored", "key_of")]
    made += [_TABLES[n] for n in ("whole", "keep_copy", "keep_after", "keep_moved", "let_go")]
    made += [_ROWS[n] for n in ("began", "moment_of", "place_of", "ended", "emptied", "awake", "watch", "settle")]
    names = ", ".join(f"autopilot_trash.{f}" for f in _FUNCTIONS)
    return (*made, f"REVOKE ALL ON FUNCTION {names} FROM PUBLIC")


def closing(run_id: str) -> tuple[str, ...]:
    """Takes our triggers off every table, counts what was kept, and drops our functions."""
    names = ", ".join(f"autopilot_trash.{f}" for f in _FUNCTIONS)
    return (f"SELECT autopilot_trash.settle({literal(run_id)})", f"DROP FUNCTION {names}")


def literal(text: str) -> str:
    """The same under either meaning of backslashes."""
    escaped = text.replace("'", "''")
    return f" E'{escaped.replace(chr(92), chr(92) * 2)}'" if "\\" in text else f"'{escaped}'"


def array(texts: Iterable[str]) -> str:
    return f"ARRAY[{', '.join(literal(t) for t in texts)}]::pg_catalog.text[]"
