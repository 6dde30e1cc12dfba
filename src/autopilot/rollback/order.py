"""Orders things so that what is needed comes before what needs it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from autopilot.rollback.snapshot import Key, Snapshot, Thing
from autopilot.rollback.undo.table import KINDS


def needed_first(things: Iterable[Thing], snapshot: Snapshot, *, part_of: Mapping[Key, Key] | None = None) -> tuple[Thing, ...]:
    """part_of: things that come with others, whose needs are theirs. A circle is cut where the kinds' ranks say so."""
    owner = part_of or {}
    wanted = {t.key: t for t in sorted(things, key=lambda t: (KINDS[t.kind].rank, snapshot.paths.get(t.key, t.name), t.sub))}
    needs: dict[Key, list[Key]] = {}
    for a, b in snapshot.needs:
        first, second = owner.get(a, a), owner.get(b, b)
        if first in wanted and second in wanted and first != second:
            needs.setdefault(first, []).append(second)
    done: dict[Key, None] = {}
    for start in wanted:
        _visit(start, needs, done)
    return tuple(wanted[key] for key in done)


def _visit(start: Key, needs: Mapping[Key, list[Key]], done: dict[Key, None]) -> None:
    """Depth first, without recursion: chains of views may be long."""
    under_way = {start}
    stack = [(start, iter(needs.get(start, ())))]
    while stack:
        key, rest = stack[-1]
        step = next((k for k in rest if k not in done and k not in under_way), None)
        if step is None:
            done[key] = None
            stack.pop()
        else:
            under_way.add(step)
            stack.append((step, iter(needs.get(step, ()))))
