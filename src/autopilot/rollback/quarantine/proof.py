"""Pure: whether what stands now is what the backup describes, and everything else what it was."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from autopilot.measures import counted

#: Their identity begins with a name of their own and ends with the table's.
_ON_A_TABLE = ("trigger ", "policy ", "rule ", "table constraint ", "domain constraint ")


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    wrong: tuple[str, ...]
    #: What differs from the backup and was not touched: schemas' own rights, default privileges, publications.
    untouched: tuple[str, ...]


def objects(
    expected: Mapping[str, str], before: Mapping[str, str], after: Mapping[str, str], schemas: Collection[str], *,
    stays: Callable[[str], bool] = lambda _name: False,
) -> Compared:  # fmt: skip
    """Digests of definitions by PostgreSQL's own name for each object, in the backup, before and after.

    schemas: quoted names of those put back. stays: tells of an object there whether it was not touched.
    """
    wrong, untouched = [], []
    for name in sorted({*expected, *before, *after}):
        wanted, was, now = expected.get(name), before.get(name), after.get(name)
        if now == wanted:
            continue
        if _place(name) in schemas and not (stays(name) and now == was):
            wrong.append(f"{name} {_how(wanted, now)}")
        elif now == was:
            untouched.append(f"{name} {_how(wanted, now)}")
        elif wanted is None or was is None or not name.startswith("publication "):
            wrong.append(f"{name}, outside of what is put back, was changed")
    return Compared(wrong=tuple(wrong), untouched=tuple(untouched))


def _how(wanted: str | None, now: str | None) -> str:
    if now is None:
        return "is not there"
    return "is not in the backup" if wanted is None else "is not as in the backup"


def _place(name: str) -> str:
    """The quoted schema that an object lies in; empty for what lies in none."""
    rest = name.rpartition(" on ")[2] if name.startswith(_ON_A_TABLE) else name.partition("(")[0]
    before, dot, _ = rest.partition(".")
    if not dot:
        return ""
    quote = before.find('"')
    return before[quote:] if quote >= 0 and before.endswith('"') else before.rpartition(" ")[2]


def rows(expected: Mapping[str, int], loaded: Mapping[str, int]) -> tuple[str, ...]:
    """Rows by "schema.table", as the backup's manifest counted them and as they were loaded."""
    return tuple(
        f"{table}: {counted(count, 'row')} in the backup, {loaded[table]:,} put back"
        for table, count in sorted(expected.items())
        if table in loaded and loaded[table] != count
    )
