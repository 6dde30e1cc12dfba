"""What a failure of the pending files would lead to, and what going back on them would lose: told before anything runs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from autopilot.audit import ways_back
from autopilot.config import Settings
from autopilot.migrations.segments import Migration
from autopilot.postgres.session import Connection
from autopilot.workflows.held_back import held_back

if TYPE_CHECKING:
    from autopilot.workflows.there_and_back import WayBackProof

#: By words of a loss: the change that would make going back lossless.
_MENDS = (
    ("changes its role", "take SET ROLE out of the file: give what it makes away with ALTER … OWNER TO, or connect as that role"),
    ('keep_rows = "off"', 'set keep_rows = "auto" in autopilot.toml'),
    ('keep_rows = "always"', 'set keep_rows = "always", or write fewer rows in one file'),
    ("belongs to another role", "let its owner's migrations write to it, or connect as a member of that role"),
    ("row level security hides rows", "name the table in the file's own TRUNCATE, or connect as a role with BYPASSRLS"),
    ("parents or children by inheritance", "copy the rows into a table of your own first"),
    ("rows do not lie in this database", "copy the rows into a table of your own first"),
)  # fmt: skip
_COMMITS = "let the file write these rows itself: what a CALL or DO commits on its own way is not kept"


@dataclass(frozen=True, slots=True, kw_only=True)
class Lost:
    """Something that going back would not bring back."""

    sentence: str
    #: The change to the migration or the settings that would keep it; None where there is no obvious one.
    mend: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Failing:
    """The way that a failure of the push would take."""

    #: "transaction": it undoes itself. "undo": what is in goes back by itself. "person": it stays until a person decides.
    way: str
    #: What cannot be kept, as far as the files' text or the rehearsal shows. None: this role is not the one that releases, and
    #: what that one may keep it cannot tell.
    loses: tuple[Lost, ...] | None
    #: Whether it was flown forward, back and forward again just now; None: not tried.
    proven: bool | None = None

    @property
    def words(self) -> str:
        if self.way == "transaction":
            return "it undoes itself, as all of it is one transaction"
        if self.way == "undo":
            return "what was committed before goes back by itself (undo), where the rehearsal has proven that nothing is lost"
        return "what was committed before stays, because going back would lose data: exit 4, and a person decides"


def failing(connection: Connection, settings: Settings, pending: tuple[Migration, ...], *, apart: str | None) -> Failing | None:
    """As far as text and catalog tell. None with nothing pending. Only asks. Raises psycopg.Error."""
    if not pending:
        return None
    if not ways_back.may_undo(connection):
        return replace(of(pending, (), proven=None, apart=apart), loses=None)
    kept = held_back(
        connection, pending, None, kept_as="plan", keep_days=settings.trash_keep_days, keeps_rows=settings.keep_rows != "off"
    )
    return of(pending, kept.loses, proven=None, apart=apart)


def flown(pending: tuple[Migration, ...], proof: WayBackProof, *, apart: str | None) -> Failing:
    """The same as a rehearsal of this moment showed it."""
    commits = any(transaction.alone for transaction in proof.transactions)
    return of(pending, proof.loses, proven=proof.proven, apart=apart, commits=commits)


def of(
    pending: tuple[Migration, ...], loses: tuple[str, ...], *, proven: bool | None, apart: str | None, commits: bool = False
) -> Failing:
    """Pure. commits: a statement was seen to stand alone, as a CALL that commits on its way."""
    calls = any(s.kind in {"call_stmt", "do_stmt"} for m in pending for s in m.statements)
    lost = tuple(Lost(sentence=sentence, mend=_mend(sentence, calls=calls)) for sentence in loses)
    before = [m for m in pending if not m.after_deploy]
    one = not commits and all(m.transactional for m in pending) and (len(before) < 2 or apart is None)
    return Failing(way="transaction" if one else "person" if lost else "undo", loses=lost, proven=proven)


def _mend(sentence: str, *, calls: bool) -> str | None:
    found = next((mend for words, mend in _MENDS if words in sentence), None)
    return _COMMITS if found is None and calls and "left a difference" in sentence else found
