"""What a release has destroyed and nothing here keeps: which of it a backup can bring back. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from autopilot.rollback.snapshot import Key, Snapshot, Thing
from autopilot.rollback.statement import Cannot

#: "rows of users are not kept: why", "rows of public.users: not in the trash any more".
_ROWS = re.compile(r"^rows of (?P<table>.+?)(?: are not kept: .*|: not in the trash any more)$", re.DOTALL)
#: Of a table or a column the catalog tells as much, by which it is known what to bring.
_GONE = re.compile(r": (?:not in the trash any more|it comes back empty.*)$", re.DOTALL)
_ANYTHING = re.compile(r"^what .+ destroys is not kept: ", re.DOTALL)

Name = tuple[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Missing:
    """Tables and columns, by their keys as recorded, that come back empty; tables whose changed rows nobody kept."""

    empty: frozenset[Key]
    rows: tuple[Name, ...]
    #: What no backup brings back, in sentences.
    leaves: tuple[str, ...]

    @property
    def is_nothing(self) -> bool:
        return not self.empty and not self.rows


def missing(
    before: Snapshot, cannot: Sequence[Cannot], *, covered: Collection[str], loses: Iterable[str], wrote: Collection[Name],
    imaged: Collection[Name],
) -> Missing:  # fmt: skip
    """covered: what the trash brings back. wrote: tables that the release is seen to have written to. imaged: those whose rows
    the trash keeps.
    """
    lost = [c for c in cannot if c.about not in covered]
    empty = {c.about: thing for c in lost if (thing := before.by_path.get(c.about)) is not None and _comes_back_empty(c, thing)}
    leaves = [c.sentence for c in lost if c.about not in empty]
    tables = {(t.schema or "", t.name): t for t in before.things if t.kind == "table" and not t.facts["partitioned"]}
    rows, told = set(wrote) - set(imaged), list(loses)
    for sentence in told:
        found = _ROWS.match(sentence)
        if found is not None:
            rows |= {table for table in tables if found["table"] in {table[1], ".".join(table)}}
        elif _GONE.search(sentence) is None and _ANYTHING.match(sentence) is None:
            leaves.append(sentence)
    whole = {(t.schema or "", t.name) for t in empty.values() if t.kind == "table"}
    return Missing(
        empty=frozenset(t.key for t in empty.values()), rows=tuple(sorted(rows & set(tables) - whole)),
        leaves=tuple(dict.fromkeys(leaves)),
    )  # fmt: skip


def _comes_back_empty(lost: Cannot, thing: Thing) -> bool:
    return thing.kind in {"table", "column"} and "comes back empty" in lost.sentence


def added_again(before: Snapshot, now: Snapshot) -> Mapping[Name, frozenset[str]]:
    """By table: columns of before that are not there now, or of another type: their values do not come with the rows."""
    found: dict[Name, set[str]] = {}
    for thing in before.things:
        table = before.parent(thing) if thing.kind == "column" else None
        if table is None or table.kind != "table":
            continue
        there = now.by_key.get(thing.key)
        if there is None or there.text["type"] != thing.text["type"]:
            found.setdefault((table.schema or "", table.name), set()).add(thing.name)
    return {table: frozenset(columns) for table, columns in found.items()}
