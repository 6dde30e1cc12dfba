"""What the net under a release is made of: a whole dump, one without some tables' rows, or a provider's restore point.

Chosen by configuration and the database's size, and always said.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from autopilot.config import Settings
from autopilot.config_file import Provider
from autopilot.measures import size_in_words

if TYPE_CHECKING:
    from autopilot.backups.left_out import LeftOut
    from autopilot.postgres.session import Connection

NetKind = Literal["whole", "without_data", "restore_point"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Net:
    kind: NetKind
    #: The target's size now, and that from which on it is a big one.
    size_bytes: int
    big_above_bytes: int | None
    #: Tables, "schema.table", whose rows a dump leaves out, and their size.
    without_data: tuple[str, ...] = ()
    without_bytes: int = 0
    #: Patterns of `big_without_data` that fit no table.
    unmatched: tuple[str, ...] = ()
    provider: Provider = ""

    @property
    def dumped_bytes(self) -> int:
        """What a dump reads; nothing where there is none."""
        return 0 if self.kind == "restore_point" else max(0, self.size_bytes - self.without_bytes)


def kind(settings: Settings, size_bytes: int) -> NetKind:
    if settings.big_above_bytes is None or size_bytes < settings.big_above_bytes:
        return "whole"
    return "restore_point" if settings.big_restore_point else "without_data"


def net(settings: Settings, size_bytes: int, left_out: LeftOut | None = None) -> Net:
    chosen = kind(settings, size_bytes)
    there = left_out if chosen == "without_data" else None
    return Net(
        kind=chosen, size_bytes=size_bytes, big_above_bytes=settings.big_above_bytes,
        without_data=() if there is None else there.names, without_bytes=0 if there is None else there.size_bytes,
        unmatched=() if there is None else there.unmatched,
        provider=settings.big_restore_point if chosen == "restore_point" else "",
    )  # fmt: skip


def of(settings: Settings, connection: Connection) -> Net:
    """The net for the connection's database as it is now. Raises Refused (`cannot_leave_out`)."""
    from autopilot.backups import left_out
    from autopilot.postgres.session import size_bytes

    size = size_bytes(connection)
    found = left_out.chosen(connection, settings.big_without_data) if kind(settings, size) == "without_data" else None
    return net(settings, size, found)


def sentences(found: Net) -> tuple[str, ...]:
    """What to say of it before anything is done; nothing of a database to which nothing special applies."""
    if found.big_above_bytes is None:
        return ()
    size, above = size_in_words(found.size_bytes), size_in_words(found.big_above_bytes)
    if found.kind == "whole":
        return (f"Backup: a whole dump; the database takes {size}, less than big_above ({above}).",)
    if found.kind == "restore_point":
        name = found.provider.capitalize()
        return (f"Backup: no dump; a restore point at {name}, because the database takes {size} (big_above is {above}).",)
    named = ", ".join(found.without_data[:5]) + (
        f" and {len(found.without_data) - 5} more" if len(found.without_data) > 5 else ""
    )
    left = f"without the rows of {named or 'no table'} ({size_in_words(found.without_bytes)})"
    said = [f"Backup: a dump {left}, because the database takes {size} (big_above is {above})."]
    said += [f"big_without_data names {pattern!r}, and no table is called that." for pattern in found.unmatched]
    return tuple(said)


def sentences_by_hand(found: Net) -> tuple[str, ...]:
    """The same of a backup that is asked for by hand: that is always a dump."""
    if found.kind != "restore_point":
        return sentences(found)
    size, name = size_in_words(found.size_bytes), found.provider.capitalize()
    return (f"Backup: a whole dump of {size}, as asked for by hand; a release takes a restore point at {name} instead.",)


def document(found: Net) -> dict[str, object]:
    """`backup` of `plan --json`."""
    return {
        "kind": found.kind, "size_bytes": found.size_bytes, "big_above_bytes": found.big_above_bytes,
        "without_data": list(found.without_data), "provider": found.provider or None, "words": list(sentences(found)),
    }  # fmt: skip
