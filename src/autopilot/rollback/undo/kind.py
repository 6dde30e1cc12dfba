"""What a kind of object can do on the way back. All functions are pure: from snapshots to commands."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from autopilot.rollback.difference import Pair
from autopilot.rollback.snapshot import Snapshot, Thing
from autopilot.rollback.undo.words import address

Commands = list[str]


def dropped(thing: Thing, now: Snapshot) -> Commands:
    """DROP, never with CASCADE: what would go along was found before."""
    return [f"DROP {address(now, thing)}"]


def made_anew(_pair: Pair, _before: Snapshot, _now: Snapshot) -> Commands | None:
    """No command changes it: it is dropped and made again."""
    return None


def nothing_more(_then: Thing, _now: Thing | None, _before: Snapshot) -> Commands:
    return []


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """create: as it was, by the names of before; [] where it comes with something else.

    drop: by the names of now. alter: in place, from now to before, by the names of before; None where only dropping and
    making again leads there. finish: what is set once everything is there (now is None for what was just made).
    """

    #: Kinds of lower rank are made first where nothing else says so.
    rank: int
    create: Callable[[Thing, Snapshot], Commands]
    drop: Callable[[Thing, Snapshot], Commands] = dropped
    alter: Callable[[Pair, Snapshot, Snapshot], Commands | None] = made_anew
    finish: Callable[[Thing, Thing | None, Snapshot], Commands] = nothing_more
