"""Rows as they were and as they became, held in tables of ours, and the SQL that compares them with the rows of now. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from autopilot.rollback.live import ForeignKey, Held, quoted

#: A row that is not as before: its number, key, why, and as JSON what it was and what it is.
Left = tuple[int, str, str, str | None, str | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """A table of ours with rows as they were ('o') and became ('n'), and which live columns they are."""

    name: str
    columns: tuple[Held, ...]

    @property
    def sql(self) -> str:
        return f"autopilot_trash.{quoted(self.name)}"

    def of(self, name: str) -> Held:
        return next(h for h in self.columns if h.live.name == name)

    def has(self, names: Sequence[str]) -> bool:
        return set(names) <= {h.live.name for h in self.columns}


@dataclass(frozen=True, slots=True, kw_only=True)
class Unreturned:
    """A row that is not what it was before the migration."""

    table: str
    #: As text, column by column; the whole row where there is no key.
    key: str
    why: str


@dataclass(slots=True, kw_only=True)
class Tally:
    restored: int = 0
    deleted: int = 0


def row(columns: Sequence[Held], alias: str) -> str:
    return f"ROW({', '.join(h.value(alias) for h in columns)})::record"


def live_row(columns: Sequence[Held]) -> str:
    return f"ROW({', '.join(f'l.{quoted(h.live.name)}' for h in columns)})::record"


def has_parent(key: ForeignKey, image: Image, *, unless: Image | None = None) -> str:
    """Whether the row that an image `f` refers to is there; not asked where `n` of `unless` refers to the same."""
    if not image.has(key.child_columns):
        return "true"
    ours = [image.of(name).value("f") for name in key.child_columns]
    equal = " AND ".join(f"p.{quoted(c)} {e} {v}" for c, e, v in zip(key.parent_columns, key.equal, ours, strict=True))
    fine = [f"{v} IS NULL" for v in ours]
    if unless is not None and unless.has(key.child_columns):
        theirs = [unless.of(name).value("n") for name in key.child_columns]
        fine.append(f"ROW({', '.join(ours)})::record OPERATOR(pg_catalog.*=) ROW({', '.join(theirs)})::record")
    return f"({' OR '.join(fine)} OR EXISTS (SELECT FROM {key.parent} p WHERE {equal}))"


def referring(key: ForeignKey) -> str:
    """Rows that refer to a live row `l`; one that refers to itself does not count."""
    equal = " AND ".join(
        f"l.{quoted(p)} {e} c.{quoted(c)}" for p, e, c in zip(key.parent_columns, key.equal, key.child_columns, strict=True)
    )
    itself = " AND NOT (c.tableoid = l.tableoid AND c.ctid = l.ctid)" if key.child_oid == key.parent_oid else ""
    return f"SELECT FROM {key.child} c WHERE {equal}{itself}"
