"""What CREATE EXTENSION in a migration comes to on a copy: the real one, made by whom it takes; a stand-in; or a refusal.

Production runs the statement as it stands. A platform may make extensions there for roles that PostgreSQL would refuse, and may
have some that the scratch server has not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from autopilot.backups import supplied
from autopilot.backups.stand_ins import ALWAYS, STAND_INS
from autopilot.backups.supplied import Shelf
from autopilot.errors import Refused, Where
from autopilot.migrations.extensions import Wanted, wanted
from autopilot.migrations.segments import Migration
from autopilot.migrations.unit import Part
from autopilot.migrations.wire import Around, Keeping
from autopilot.postgres.session import READER_NAME, Connection, session
from autopilot.secret import Secret
from autopilot.workflows.scratch import Copy

#: "as it is": the statement itself. "by superuser": the same, by the scratch server's own. "not there": the target has no such
#: extension. "not allowed": nobody lets the target's role make it. "not here": the scratch server has it not, nor do we.
Way = Literal["as it is", "by superuser", "stand-in", "not there", "not allowed", "not here"]

_NOT_THERE = (
    "the target's server does not have that extension",
    "Check its name against pg_available_extensions there, or have it installed first.",
)
_NOT_ALLOWED = (
    "only a superuser may make it there, which this role is not",
    (
        "Let a superuser of the target make it, and write CREATE EXTENSION IF NOT EXISTS. If the platform does allow it,"
        " run this once with --no-rehearsal."
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Supply:
    """What is said in place of statements that make extensions, on a copy."""

    #: By the file's version and the character at which the statement begins.
    instead: Mapping[tuple[str, int], str] = field(default_factory=dict)
    #: What is stood in for.
    stood_in: tuple[str, ...] = ()

    def around(self, keeping: Callable[[Part], Keeping]) -> Callable[[Part], Keeping]:
        """The same with what is said within a part besides."""

        def both(part: Part) -> Keeping:
            kept = keeping(part)
            own = {
                s.start: replace(kept.around.get(s.start, Around()), instead=(self.instead[part.migration.version, s.start],))
                for s in part.segment.statements
                if (part.migration.version, s.start) in self.instead
            }
            return replace(kept, around={**kept.around, **own}) if own else kept

        return both


def decide(one: Wanted, *, target: Shelf, scratch: Shelf, ours: bool) -> Way:
    """Pure. ours: the scratch server is one of ours, whose superuser can be asked."""
    if one.name not in target.has:
        return "not there"
    if not target.lets(one.name) and not (one.only_if_absent and one.name in target.installed):
        return "not allowed"
    if ours and one.name in ALWAYS:
        return "stand-in"
    if one.name in scratch.has:
        return "by superuser" if ours and scratch.has[one.name] and not scratch.is_superuser else "as it is"
    return "stand-in" if ours and one.name in STAND_INS else "not here"


def supply(copy: Copy, batches: tuple[tuple[Migration, ...], ...], *, target: Connection) -> Callable[[Secret], Supply]:
    """What makes a copy ready for the extensions that the files make; to be called for each before it is flown on.

    Raises Refused (`refused_in_rehearsal`, `extension_missing`).
    """
    asked = wanted(m for batch in batches for m in batch)
    if not asked or copy.kind == "copy":
        return lambda _url: Supply()
    at_target = supplied.shelf(target)
    with session(copy.url, application_name=READER_NAME) as connection:
        here = supplied.shelf(connection)
    ways = {one: decide(one, target=at_target, scratch=here, ours=copy.by_superuser is not None) for one in asked}
    for one, way in ways.items():
        _refuse(one, way, copy)
    return lambda url: _supplied(url, copy, ways)


def _supplied(url: Secret, copy: Copy, ways: Mapping[Wanted, Way]) -> Supply:
    lent = [(one, way) for one, way in ways.items() if way in {"by superuser", "stand-in"}]
    if not lent or copy.by_superuser is None:
        return Supply()
    instead = {}
    with session(copy.by_superuser(url), application_name=READER_NAME) as scratch:
        supplied.open_up(scratch, private=True)
        for number, (one, way) in enumerate(lent, start=1):
            instead[one.version, one.start] = supplied.lend(
                scratch, f"autopilot_extension_{number}", one.name, schema=one.schema, release=one.release,
                only_if_absent=one.only_if_absent, cascade=one.cascade, as_stand_in=way == "stand-in",
            )  # fmt: skip
    return Supply(instead=instead, stood_in=tuple(sorted({one.name for one, way in lent if way == "stand-in"})))


def _refuse(one: Wanted, way: Way, copy: Copy) -> None:
    where = Where(file=one.file, line=one.line, statement=one.shown)
    if way == "not here":
        raise Refused(
            f"The scratch server (PostgreSQL {copy.server_version}, {copy.origin}) lacks the extension {one.name}, which"
            f" {one.file}:{one.line} makes, and Autopilot has no stand-in for it.",
            code="extension_missing", where=where,
            hint="Install PostgreSQL of the target's version with that extension (postgres_bin_dir in autopilot.toml), or set"
            " AUTOPILOT_SCRATCH_URL to a server that has it; or run this once with --no-rehearsal, knowing what that gives up.",
        )  # fmt: skip
    if way in {"not there", "not allowed"}:
        because, hint = _NOT_THERE if way == "not there" else _NOT_ALLOWED
        raise Refused(
            f"Refused in rehearsal: {one.file}:{one.line} makes the extension {one.name}, and {because}.",
            code="refused_in_rehearsal", state="Nothing was touched: the target never saw the migration.", hint=hint, where=where,
        )  # fmt: skip
