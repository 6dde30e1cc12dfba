"""Tells people how a release goes: the letter is written with what it tells of, sent right after, and marked.

Whatever could not be told lies in the outbox (or, where no database can be written, in the spool) for the next run. A channel
that is down never holds a release up for longer than a few seconds, and what was not told is said.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace

from autopilot.alerts import letter as letters
from autopilot.alerts import wording
from autopilot.alerts.senders import READ_BY_PEOPLE
from autopilot.alerts.wording import Notice
from autopilot.audit.journal import OpenRun, Run
from autopilot.audit.outbox import Box, Letter, Trouble
from autopilot.audit.spool import Spool, spool
from autopilot.clock import elapsed_ms
from autopilot.errors import AutopilotError
from autopilot.events import Noted
from autopilot.postgres.session import Connection, connect
from autopilot.secret import literals
from autopilot.workflows.logbook import Logbook, Wish
from autopilot.workflows.notify_round import Heard, shown, tell
from autopilot.workflows.notify_routes import routed
from autopilot.workflows.world import World

#: A session that only tells is no run's: nobody settles it.
SESSION_NAME = "autopilot-notices"
_CONNECT_S = 5.0
_RELEASE = "release"


def announce(world: World, wish: Wish, book: Logbook, connection: Connection) -> None:
    """Something begins."""
    book.announced = True
    notice = wording.started(replace(as_told(world, wish, book), duration_ms=0))
    deliver(world, connection, fresh=written(world, connection, notice, run_id=wish.run.run_id, what="started"))


def written(
    world: World, connection: Connection | None, notice: Notice, *, run_id: str, what: str, about: str = _RELEASE,
    page: str | None = None,
) -> tuple[Letter, ...]:  # fmt: skip
    """Writes the notice, in the transaction that is open where there is one; where that cannot be, into the spool.

    A change that went well ends the open page of its environment: that is a letter of its own. Never raises.
    """
    if not world.settings.channels:
        return ()
    letter = composed(world, notice, run_id=run_id, what=what, about=about, page=page)
    if connection is not None and not connection.closed:
        with contextlib.suppress(Trouble, AutopilotError), connection.transaction():
            box = Box(connection)
            fresh = [_put(world, box, letter)]
            if notice.action == "change":
                fresh += _resolved(world, box, by=letter)
            return tuple(fresh)
    with contextlib.suppress(OSError, AutopilotError):
        _spool(world).write(letter, routed(world.settings.channels, letter, now=world.clock.now()))
    return (letter,)


def composed(world: World, notice: Notice, *, run_id: str, what: str, about: str = _RELEASE, page: str | None = None) -> Letter:
    """The letter, without a secret in it."""
    known = tuple(dict.fromkeys(text for secret in world.settings.secrets() for text in literals(secret)))
    environment = world.settings.environment_name
    opens = re.sub(
        r"[^A-Za-z0-9_.:-]", "_", f"{environment}-{run_id}" if about == _RELEASE else f"{environment}-{about}-{run_id}"
    )
    return Letter(
        key=f"{environment}/{run_id}/{what}", run_id=run_id, environment=environment, action=notice.action,
        severity=notice.severity, about=about, page=opens if notice.action == "open" else page,
        notice=letters.document(letters.clean(notice, known=known)), written_at=world.clock.now(),
    )  # fmt: skip


def _put(world: World, box: Box, letter: Letter, *, but: Sequence[str] = ()) -> Letter:
    about_page = letter.page is not None and letter.action != "open"
    told_of_page = box.opened_at(letter.page or "") if about_page else ()
    where = routed(world.settings.channels, letter, now=world.clock.now(), told_of_page=told_of_page, but=but)
    return box.write(letter, where)


def _resolved(world: World, box: Box, *, by: Letter) -> list[Letter]:
    """The open page of this environment is over. Who reads `by` itself need not be told again."""
    found = box.resolve(environment=by.environment, about=_RELEASE, by=by.run_id)
    if found is None:
        return []
    page, headline = found
    notice = wording.resolved(environment_name=by.environment, headline=headline, by=str(by.notice["headline"]))
    readers = [
        d.channel for d in routed(world.settings.channels, by, now=world.clock.now())
        if any(c.name == d.channel and c.kind in READ_BY_PEOPLE for c in world.settings.channels)
    ]  # fmt: skip
    letter = composed(world, notice, run_id=by.run_id, what=f"resolved/{page}", page=page)
    return [_put(world, box, letter, but=readers)]


def failure(world: World, wish: Wish, book: Logbook, error: AutopilotError) -> Notice:
    return wording.failed(
        as_told(world, wish, book), message=error.message, state=error.state, hint=error.hint, outcome=error.outcome
    )


def died(world: World, connection: Connection, run: OpenRun, *, words: str, is_whole: bool) -> None:
    """A run that ended without a word had begun something: that is told, in the transaction that gives it its end."""
    if not world.settings.channels:
        return
    with contextlib.suppress(Trouble), connection.transaction():
        announced = Box(connection).has(f"{world.settings.environment_name}/{run.run.run_id}/started")
        if run.migration_log_id is None and not announced:
            return
    release = _release(world, run.run, files=run.versions, backup_file=run.backup_file)
    notice = wording.ended_without_a_word(release, words=words, is_whole=is_whole)
    written(world, connection, notice, run_id=run.run.run_id, what="end")


def tell_channels(world: World, notice: Notice, *, run_id: str, what: str, connection: Connection | None = None) -> None:
    """Writes a notice that belongs to no change of state, and tells it. Never raises."""
    deliver(world, connection, fresh=written(world, connection, notice, run_id=run_id, what=what))


def deliver(
    world: World, connection: Connection | None = None, *, fresh: Sequence[Letter] = (), anew: bool = False, by_hand: bool = False
) -> tuple[Heard, ...]:
    """Tells whatever waits, `fresh` and what earlier runs left. Never raises.

    connection: a session outside of any transaction; without one that answers, one is opened for this.
    anew: where `fresh` was written before and no channel was told of it, it is replaced.
    """
    if not world.settings.channels:
        return ()
    try:
        with _box(world, connection) as box:
            if box is not None:
                return _from_outbox(world, box, fresh, anew=anew, by_hand=by_hand)
    except (Trouble, AutopilotError, OSError):
        pass
    try:
        return _from_spool(world, fresh, by_hand=by_hand)
    except (AutopilotError, OSError) as cause:
        _not_kept(world, fresh, cause)
        return ()


def _from_outbox(world: World, box: Box, fresh: Sequence[Letter], *, anew: bool, by_hand: bool) -> tuple[Heard, ...]:
    _take_over(world, box)
    for letter in fresh:
        with box.connection.transaction():
            if anew:
                box.withdraw(letter.key)
            if not box.has(letter.key):
                _put(world, box, letter)
    fresh = (*fresh, *_reminders(world, box))
    if not box.any_waiting():
        return ()
    with box.turn(world.clock) as mine:
        if not mine:
            world.tell(Noted(text="Another command is telling the channels; what is left is told by the next.", level="note"))
            return ()
        heard = tell(world, box, fresh={f.key for f in fresh}, by_hand=by_hand)
        more = _about_channels(world, box, heard)
        if more:
            heard += tell(world, box, fresh={f.key for f in more}, by_hand=by_hand)
        box.prune()
    return heard


def _take_over(world: World, box: Box) -> None:
    """What the spool holds becomes rows, as far told as it is."""
    own = _spool(world)
    if own.is_empty():
        return
    for line in own.lines():
        box.write(line.letter, line.deliveries)
        own.taken_over([line.letter.key])


def _from_spool(world: World, fresh: Sequence[Letter], *, by_hand: bool) -> tuple[Heard, ...]:
    own = _spool(world)
    for letter in fresh:
        own.write(letter, routed(world.settings.channels, letter, now=world.clock.now()))
    if own.is_empty():
        return ()
    heard = tell(world, own, fresh={f.key for f in fresh}, by_hand=by_hand)
    for h in heard:
        if h.answer.verdict == "never":
            own.write(letter := _broken(world, h), routed(world.settings.channels, letter, now=world.clock.now()))
    if any(h.answer.verdict == "never" for h in heard):
        heard += tell(world, own, fresh=(), by_hand=by_hand)
    own.sweep()
    return heard


def _about_channels(world: World, box: Box, heard: Sequence[Heard]) -> list[Letter]:
    """A channel that refuses is told through the others, once; that it works again too."""
    more: list[Letter] = []
    environment = world.settings.environment_name
    is_open = {page.about for page in box.open_pages(environment)}
    for h in {h.channel.name: h for h in heard}.values():
        about = f"channel:{h.channel.name}"
        if h.answer.verdict == "never" and about not in is_open:
            more.append(_put(world, box, _broken(world, h)))
        elif h.answer.verdict == "told" and about in is_open:
            found = box.resolve(environment=environment, about=about, by=h.keys[-1])
            notice = wording.channel_mended(environment_name=environment, channel=shown(h.channel))
            if found is not None:
                letter = composed(world, notice, run_id=h.keys[-1], what=f"resolved/{found[0]}", about=about, page=found[0])
                more.append(_put(world, box, letter))
    return more


def _broken(world: World, heard: Heard) -> Letter:
    notice = wording.channel_broken(
        environment_name=world.settings.environment_name, channel=shown(heard.channel), why=heard.answer.words
    )
    return composed(world, notice, run_id=heard.keys[-1].replace("/", "-"), what="broken", about=f"channel:{heard.channel.name}")


def _reminders(world: World, box: Box) -> list[Letter]:
    """Critical pages that nobody has acknowledged, told again by whichever command comes by."""
    every_s = world.settings.notify_remind_every_s
    if every_s is None:
        return []
    more = []
    for page in box.due_for_reminder(environment=world.settings.environment_name, every_s=every_s):
        notice = wording.reminder(
            environment_name=page.environment, headline=page.headline, since=f"{page.opened_at:%Y-%m-%d %H:%M} UTC"
        )
        at = f"{page.reminded_at:%Y%m%d%H%M%S}" if page.reminded_at else "0"
        more.append(_put(world, box, composed(world, notice, run_id=page.page, what=f"reminder/{at}", page=page.page)))
    return more


@contextlib.contextmanager
def _box(world: World, connection: Connection | None) -> Iterator[Box | None]:
    """The outbox on a session that answers; None where there is none. Raises what connecting raises."""
    if connection is not None and _has_box(connection):
        yield Box(connection)
        return
    with contextlib.closing(connect(world.database_url, application_name=SESSION_NAME, timeout_s=_CONNECT_S)) as own:
        box = Box(own)
        yield box if box.is_there() else None


def _has_box(connection: Connection) -> bool:
    try:
        return not connection.closed and Box(connection).is_there()
    except Trouble:
        return False


def _spool(world: World) -> Spool:
    return spool(world.settings.state_dir, environment=world.settings.environment_name, target=world.database_url)


def _not_kept(world: World, fresh: Sequence[Letter], cause: Exception) -> None:
    why = cause.strerror if isinstance(cause, OSError) else str(cause)
    for letter in fresh:
        text = f"Nobody could be told, and it could not be kept for later ({why}): {letter.notice['headline']}"
        world.tell(Noted(text=text, level="warning"))


def as_told(world: World, wish: Wish, book: Logbook) -> wording.Release:
    release = _release(world, wish.run, files=book.files, backup_file=book.backup_name)
    return replace(release, duration_ms=elapsed_ms(world.clock, book.begun_s))


def _release(world: World, run: Run, *, files: tuple[str, ...], backup_file: str | None) -> wording.Release:
    return wording.Release(
        environment_name=world.settings.environment_name, commit_sha=run.commit_sha, triggered_by=run.triggered_by,
        run_id=run.run_id, files=files, backup_file=backup_file, duration_ms=0, links=links(world, run.commit_sha),
    )  # fmt: skip


def links(world: World, commit_sha: str | None) -> tuple[tuple[str, str], ...]:
    """Where to look: the run of the workflow, and what the commit changes."""
    origin = world.settings.origin
    found = [("Run", origin.run_url)] if origin.run_url else []
    if origin.repository_url and commit_sha is not None and re.fullmatch(r"[0-9a-f]{7,64}", commit_sha):
        found.append(("Changes", f"{origin.repository_url}/commit/{commit_sha}"))
    return tuple(found)
