"""What a release keeps while it applies, so that going back loses nothing: rows before they change, tables before they go.

What to keep is decided from the files' text and from what the rehearsal saw them write, by triggers and functions too.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from autopilot.config import Settings
from autopilot.measures import about_in_words
from autopilot.migrations import catalog
from autopilot.migrations.forecast import Pace
from autopilot.migrations.locks import MODES
from autopilot.migrations.observed import Transaction
from autopilot.migrations.relations import key
from autopilot.migrations.segments import Migration
from autopilot.migrations.statements import Statement as Parsed
from autopilot.migrations.taken import Taken, switches_role
from autopilot.migrations.unit import Part
from autopilot.migrations.wire import Around, Keeping
from autopilot.postgres.session import Connection
from autopilot.rollback import preimages, trash
from autopilot.rollback.preimages import Name, Plan, Statement, Touched

#: Watching a table keeps its writers waiting, from the first statement that writes to it to the COMMIT.
_WATCHING = "SHARE ROW EXCLUSIVE"
_NONE: Mapping[Name, str] = {}
_WRITERS = {"insert_stmt", "update_stmt", "delete_stmt", "merge_stmt", "copy_stmt"}


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldBack:
    """How a release keeps what it would destroy."""

    kept_as: str
    plan: Plan
    #: What cannot be kept, in sentences.
    loses: tuple[str, ...]

    def keeping(self, part: Part) -> Keeping:
        """What is said within a part."""
        version = part.migration.version
        around: dict[int, Around] = {}
        first = sum(len(s.statements) for s in part.migration.segments[: part.number])
        for number, statement in enumerate(part.segment.statements, start=first):
            capture = self.plan.at(version, number)
            if capture != preimages.Capture():
                instead = None if capture.instead is None else (*capture.probe, *capture.instead)
                around[statement.start] = Around(before=capture.before, instead=instead, after=capture.after)
        if not around:
            return Keeping()
        return Keeping(opening=self.plan.opening(), around=around, closing=self.plan.closing())


def held_back(
    connection: Connection, migrations: tuple[Migration, ...], flown: Sequence[Transaction] | None, *,
    kept_as: str, keep_days: int, not_watched: Mapping[Name, str] = _NONE, keeps_rows: bool = True,
) -> HeldBack:  # fmt: skip
    """Asks the target's catalog what is there to be kept. `flown`: what a rehearsal saw; None: there was none.

    not_watched: tables whose rows shall not be kept, and why. keeps_rows: False keeps those of none.
    Where there can be no trash nothing is kept: what is said for that would end the migration's own transaction.
    """
    no_room = trash.room(connection).why_not
    if no_room is not None:
        return nothing_held_back(migrations, flown, kept_as=kept_as, why=no_room)
    watchable = tuple(m for m in migrations if _why_not(m) is None)
    names = frozenset(key(r) for m in watchable for s in m.statements for t in s.takes for r in t.relations)
    where = catalog.resolved(connection, names | _written_by_text(watchable))
    taken = [t for m in watchable for s in m.statements for t in s.takes]
    inside = catalog.tables_in(connection, frozenset(schema for t in taken for schema in t.schemas))
    seen = _by_text(watchable, where) if flown is None else _as_flown(watchable, flown)
    left = not_watched if keeps_rows else {t.table: 'keep_rows = "off" is set' for t in seen}
    facts = preimages.read(
        connection, run_id=kept_as, keep_days=keep_days, statements=tuple(_statements(watchable, where, inside)),
        touched=tuple(t for t in seen if t.table not in left),
    )  # fmt: skip
    plan = preimages.plan_for(facts)
    loses = [
        f"what {m.file.file} destroys is not kept: {why}" for m in migrations if (why := _why_not(m)) and _destroys(m, flown)
    ]
    loses += [f"rows of {_shown(i.table)} are not kept: {i.why}" for i in plan.impossible]
    loses += [f"rows of {_shown(t)} are not kept: {left[t]}" for t in dict.fromkeys(s.table for s in seen) if t in left]
    return HeldBack(kept_as=kept_as, plan=plan, loses=tuple(dict.fromkeys(loses)))


def nothing_held_back(
    migrations: tuple[Migration, ...], flown: Sequence[Transaction] | None, *, kept_as: str, why: str
) -> HeldBack:
    """Pure: nothing is kept, and of each file that would need it that is said."""
    loses = tuple(f"what {m.file.file} destroys is not kept: {why}" for m in migrations if _destroys(m, flown))
    return HeldBack(kept_as=kept_as, plan=Plan(run_id=kept_as, captures={}), loses=loses)


def _shown(table: Name) -> str:
    return table[1] if table[0] == "public" else ".".join(table)


def _why_not(migration: Migration) -> str | None:
    """Why nothing of a file can be kept."""
    if any(switches_role(s.kind, s.text) for s in migration.statements):
        return "it changes its role on the way"
    return None


def _destroys(migration: Migration, flown: Sequence[Transaction] | None) -> bool:
    if any(t.what != "alter table" for s in migration.statements for t in s.takes):
        return True
    if flown is None:
        return any(s.kind in _WRITERS for s in migration.statements)
    return any(s.wrote or s.refiled for t in flown for s in t.statements if s.version == migration.version)


def _statements(migrations: Iterable[Migration], where: Mapping[str, Name], inside: tuple[Name, ...]) -> Iterator[Statement]:
    for migration in migrations:
        for number, statement in enumerate(_in_parts(migration)):
            if statement.alone_because is not None:
                continue
            for taken in statement.takes:
                found = [where[key(r)] for r in taken.relations if key(r) in where]
                found += [table for table in inside if table[0] in taken.schemas]
                yield _statement(migration.version, number, statement.text, taken, tuple(found))


def _statement(version: str, number: int, text: str, taken: Taken, tables: tuple[Name, ...]) -> Statement:
    return Statement(
        version=version, number=number, what=taken.what, text=text, tables=tables,  # type: ignore[arg-type]
        columns=taken.columns, cascade=taken.cascade,
    )  # fmt: skip


def _as_flown(migrations: Iterable[Migration], flown: Iterable[Transaction]) -> tuple[Touched, ...]:
    """Of each part, each table that the rehearsal saw written, with the first statement that did."""
    known = {m.version: m for m in migrations}
    found: dict[tuple[str, int, Name], Touched] = {}
    for seen in (s for t in flown if not t.alone for s in t.statements):
        migration = known.get(seen.version)
        if migration is None:
            continue
        emptied = () if _in_parts(migration)[seen.number].kind in _REWRITERS else seen.refiled
        for table in dict.fromkeys((*seen.wrote, *emptied)):
            place = (seen.version, _part(migration, seen.number), table)
            first = found.get(place)
            number = seen.number if first is None else min(first.number, seen.number)
            truncated = table in emptied or (first is not None and first.truncated)
            found[place] = Touched(table=table, version=seen.version, number=number, truncated=truncated)
    return tuple(found.values())


#: These give a relation a new file and take no row of it.
_REWRITERS = {"alter_table_stmt", "cluster_stmt", "refresh_mat_view_stmt", "vacuum_stmt", "reindex_stmt"}


def _in_parts(migration: Migration) -> tuple[Parsed, ...]:
    """The statements that its parts hold, as they are numbered everywhere here: a BEGIN and COMMIT of its own are in none."""
    return tuple(statement for segment in migration.segments for statement in segment.statements)


def _part(migration: Migration, number: int) -> int:
    """In which of the file's parts the statement of that number is."""
    end = 0
    for place, segment in enumerate(migration.segments):
        end += len(segment.statements)
        if number < end:
            return place
    return 0


def _written_by_text(migrations: Iterable[Migration]) -> frozenset[str]:
    return frozenset(
        key(lock.relation) for m in migrations for s in m.statements if s.kind in _WRITERS for lock in s.locks
    ) | frozenset(key(r) for m in migrations for s in m.statements for t in s.takes if t.what == "truncate" for r in t.relations)


def _by_text(migrations: Iterable[Migration], where: Mapping[str, Name]) -> tuple[Touched, ...]:
    """The same as far as the text shows it: what triggers and functions write, it does not."""
    found: dict[tuple[str, int, Name], Touched] = {}
    for migration in migrations:
        for number, statement in enumerate(_in_parts(migration)):
            emptied = [r for t in statement.takes if t.what == "truncate" for r in t.relations]
            written = [lock.relation for lock in statement.locks if statement.kind in _WRITERS]
            for relation in (*emptied, *written):
                table = where.get(key(relation))
                if table is not None:
                    place = (migration.version, _part(migration, number), table)
                    first = found.get(place)
                    found[place] = Touched(
                        table=table, version=migration.version, number=number if first is None else first.number,
                        truncated=relation in emptied or (first is not None and first.truncated),
                    )  # fmt: skip
    return tuple(found.values())


def spared(flown: Sequence[Transaction], settings: Settings, pace: Pace) -> dict[Name, str]:
    """Tables whose rows are not kept, as that would keep their writers waiting for too long, and why in words."""
    waits = waits_ms(flown)
    if settings.keep_rows != "auto":
        return {}
    return {
        table: f'its writers would have to wait for about {about_in_words(ms * pace.ratio)} (keep_rows = "always" keeps them)'
        for table, ms in waits.items()
        if ms * pace.ratio > settings.lock_timeout_s * 1000
    }


def waits_ms(flown: Iterable[Transaction]) -> dict[Name, float]:
    """How long watching each table would keep its writers waiting on the copy, where nothing else does so already."""
    longest: dict[Name, float] = {}
    for transaction in flown:
        left_ms = 0.0
        since: dict[Name, float] = {}
        strong: set[str] = set()
        for statement in reversed(transaction.statements):
            left_ms += statement.duration_ms
            since |= dict.fromkeys((*statement.wrote, *statement.refiled), left_ms)
            strong |= {k.relation for k in statement.locks if MODES.index(k.mode) >= MODES.index(_WATCHING)}
        if not transaction.alone:
            for table, ms in since.items():
                if _shown(table) not in strong:
                    longest[table] = max(ms, longest.get(table, 0.0))
    return longest
