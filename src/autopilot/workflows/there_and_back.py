"""Proves a release's way back on a copy of its own: forward → back → is all as it was? → forward again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import psycopg

from autopilot.audit import ways_back
from autopilot.clock import elapsed_ms
from autopilot.errors import AutopilotError
from autopilot.migrations import catalog
from autopilot.migrations.observed import Transaction, Watch
from autopilot.migrations.segments import Migration
from autopilot.postgres.session import READER_NAME, Connection, session
from autopilot.rollback import contents
from autopilot.rollback.difference import portrait
from autopilot.rollback.preimages import Name
from autopilot.rollback.snapshot import read
from autopilot.secret import Secret
from autopilot.workflows.copy_flight import Flight, fly
from autopilot.workflows.held_back import HeldBack, held_back
from autopilot.workflows.undoing import go_back

_KEPT_AS = "rehearsal"


@dataclass(frozen=True, slots=True, kw_only=True)
class WayBackProof:
    """What came of going forward, back and forward again."""

    #: Whether all was as before after going back, and as after the first flight after the second.
    proven: bool
    #: What going back would lose, or why it cannot be gone, in sentences.
    loses: tuple[str, ...]
    #: How long going back took there.
    back_ms: int
    #: What each statement did there, with all that is kept on the way.
    transactions: tuple[Transaction, ...]


def there_and_back(
    flight: Flight, url: Secret, batches: tuple[tuple[Migration, ...], ...], seen: Watch, not_watched: Mapping[Name, str]
) -> WayBackProof:
    """`seen`: what the same files did on another copy. Raises Refused (`refused_in_rehearsal`)."""
    flown, keeps_rows = seen.transactions, flight.world.settings.keep_rows != "off"
    migrations = tuple(m for batch in batches for m in batch)
    versions = tuple(m.version for m in migrations)
    with session(url, application_name=READER_NAME) as connection:
        was, catalog_was = contents.read(connection), read(connection)
        begun = ways_back.progress(connection, versions)
        kept = _kept(connection, migrations, flown, _KEPT_AS, not_watched, keeps_rows=keeps_rows)
        watch = Watch(there=catalog.relations(connection))
        _fly(flight, url, batches, kept, watch)
        catalog_is = read(connection)
        begun_s = flight.world.clock.monotonic_s()
        try:
            with connection.transaction():
                go_back(connection, before=catalog_was, after=catalog_is, kept_as=_KEPT_AS, token=_KEPT_AS)
                ways_back.forget(connection, versions, progress=begun)
        except (AutopilotError, psycopg.Error) as cause:
            back_ms = elapsed_ms(flight.world.clock, begun_s)
            loses = (*kept.loses, _why(cause))
            return WayBackProof(proven=False, loses=loses, back_ms=back_ms, transactions=tuple(watch.transactions))
        back_ms = elapsed_ms(flight.world.clock, begun_s)
        different = contents.differences(was, contents.read(connection))
        if not different:
            again = _kept(connection, migrations, flown, f"{_KEPT_AS}_again", not_watched, keeps_rows=keeps_rows)
            _fly(flight, url, batches, again)
            different = _other_catalog(portrait(catalog_is), portrait(read(connection)))
    loses = kept.loses + tuple(f"going back left a difference: {d}" for d in different[:5])
    return WayBackProof(proven=not loses, loses=loses, back_ms=back_ms, transactions=tuple(watch.transactions))


def _kept(
    connection: Connection, migrations: tuple[Migration, ...], flown: Sequence[Transaction], kept_as: str,
    not_watched: Mapping[Name, str], *, keeps_rows: bool,
) -> HeldBack:  # fmt: skip
    return held_back(connection, migrations, flown, kept_as=kept_as, keep_days=1, not_watched=not_watched, keeps_rows=keeps_rows)


def _fly(
    flight: Flight, url: Secret, batches: tuple[tuple[Migration, ...], ...], kept: HeldBack, watch: Watch | None = None
) -> None:
    for batch in batches:
        fly(flight, url, batch, watch=watch, keeping=kept.keeping)


def _other_catalog(wanted: Mapping[str, object], found: Mapping[str, object]) -> list[str]:
    return [
        f"{path} is not the same the second time"
        for path in sorted(wanted.keys() | found.keys())
        if wanted.get(path) != found.get(path)
    ]


def _why(cause: AutopilotError | psycopg.Error) -> str:
    return (
        cause.message.removesuffix(".")
        if isinstance(cause, AutopilotError)
        else f"going back failed: {' '.join(str(cause).split())}"
    )
