"""Views and materialized views. A matview made again holds what its query finds now."""

from __future__ import annotations

from autopilot.rollback.difference import Pair
from autopilot.rollback.snapshot import Snapshot, Thing
from autopilot.rollback.undo.kind import Commands, Kind
from autopilot.rollback.undo.words import name, options, ref


def _query(view: Thing) -> str:
    return str(view.text["definition"]).strip().removesuffix(";")


def _create(view: Thing, before: Snapshot) -> Commands:
    return [f"CREATE VIEW {ref(before, view)} AS {_query(view)}"]


def _alter(pair: Pair, before: Snapshot, now: Snapshot) -> Commands | None:
    """CREATE OR REPLACE keeps grants, triggers and what stands upon it; it can add columns at the end and take none away."""
    if not pair.redefined:
        return []
    was, has = _columns(pair.before, before), _columns(pair.after, now)
    if was[: len(has)] != has:
        return None
    return [f"CREATE OR REPLACE VIEW {ref(before, pair.before)} AS {_query(pair.before)}"]


def _columns(view: Thing, snapshot: Snapshot) -> list[tuple[str, str, str | None]]:
    columns = sorted((c for c in snapshot.children.get(view.key, ()) if c.kind == "column"), key=lambda c: c.sub)
    return [(c.name, c.text["type"], c.text["collation"]) for c in columns]


def _finish(then: Thing, now: Thing | None, before: Snapshot) -> Commands:
    tails = options(then.facts["options"], None if now is None else now.facts["options"])
    return [f"ALTER VIEW {ref(before, then)} {tail}" for tail in tails]


def _create_matview(view: Thing, before: Snapshot) -> Commands:
    method = f" USING {name(view.facts['method'])}" if view.facts["method"] not in {None, "heap"} else ""
    data = "" if view.facts["populated"] else " WITH NO DATA"
    return [f"CREATE MATERIALIZED VIEW {ref(before, view)}{method} AS {_query(view)}{data}"]


def _alter_matview(pair: Pair, before: Snapshot, _now: Snapshot) -> Commands | None:
    if pair.redefined and pair.before.text["definition"] != pair.after.text["definition"]:
        return None
    if "populated" in pair.facts():
        return [
            f"REFRESH MATERIALIZED VIEW {ref(before, pair.before)}{'' if pair.before.facts['populated'] else ' WITH NO DATA'}"
        ]
    return []


def _finish_matview(then: Thing, now: Thing | None, before: Snapshot) -> Commands:
    tails = options(then.facts["options"], None if now is None else now.facts["options"])
    clustered, now_clustered = then.text["clustered_on"], None if now is None else now.text["clustered_on"]
    if clustered != now_clustered:
        tails.append(f"CLUSTER ON {name(clustered)}" if clustered else "SET WITHOUT CLUSTER")
    return [f"ALTER MATERIALIZED VIEW {ref(before, then)} {tail}" for tail in tails]


VIEW = Kind(rank=31, create=_create, alter=_alter, finish=_finish)
MATVIEW = Kind(rank=32, create=_create_matview, alter=_alter_matview, finish=_finish_matview)
