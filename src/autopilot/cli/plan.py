"""`autopilot plan`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from autopilot.cli.frame import Frame, emit, known_secrets, options, say
from autopilot.cli.world import quiet_world

if TYPE_CHECKING:
    from autopilot.errors import Refused
    from autopilot.migrations.segments import Migration
    from autopilot.workflows.failing import Failing
    from autopilot.workflows.preview import Predicted, Preview


@click.command("plan")
@click.option("--allow-out-of-order", is_flag=True, help="Plan a pending file that is older than one already applied.")
@click.option("--accept-edited", multiple=True, metavar="VERSION", help="Plan with this edited file taken as it is now.")
@click.option("--rehearse", is_flag=True, help="Fly the pending files on a copy made for this, and tell what they did there.")
@options()
def command(frame: Frame, *, allow_out_of_order: bool, accept_edited: tuple[str, ...], rehearse: bool) -> int:
    """Show what `migrate` would do: pending files, findings, drift, and what stands in the way.

    Writes nothing; a role that may only read is enough. Exits 1 when `migrate` would refuse, and with --rehearse when
    a file fails on the copy.
    """
    from autopilot.errors import Refused
    from autopilot.workflows.preview import preview

    try:
        found = preview(quiet_world(frame), allow_out_of_order=allow_out_of_order, accept_edited=frozenset(accept_edited))
        if rehearse and found.migrations and not found.plan.refusals:
            found = _rehearsed(frame, found)
    except Refused as cause:
        if cause.where.file is None or not frame.as_json:
            raise
        return _show_refused(cause)
    if frame.as_json:
        from autopilot.cli.documents import plan_document

        emit(plan_document(found))
    else:
        say(described(found, verbose=frame.verbose))
    return 1 if found.plan.refusals else 0


def _rehearsed(frame: Frame, found: Preview) -> Preview:
    """The same plan, with what a copy of the target showed in place of what its text lets guess."""
    from dataclasses import replace

    from autopilot.cli.telling import teller
    from autopilot.cli.world import telling_world
    from autopilot.workflows.failing import flown
    from autopilot.workflows.trial import predicted, trial

    with teller() as tell:
        world = telling_world(frame, tell)
        tried = trial(world, found.migrations, found.server)
        ways = found.failing if tried.way_back is None else flown(found.migrations, tried.way_back, apart=found.apart)
        return replace(found, predicted=found.predicted | predicted(world, tried), failing=ways)


def _show_refused(cause: Refused) -> int:
    """A plan that a file stands in the way of, in the form of any other."""
    from autopilot.cli.complaints import sentences
    from autopilot.cli.documents import refused_plan_document

    click.echo(sentences(cause, known=known_secrets()), err=True, nl=False)
    emit(refused_plan_document(cause, known=known_secrets()))
    return cause.exit_code


def described(found: Preview, *, verbose: bool) -> str:
    """The plan for a person."""
    from autopilot.workflows.net import sentences

    lines = [f"{found.server.database} on PostgreSQL {found.server.version}: {_applied(len(found.plan.applied))}."]
    lines += _pending(found, verbose=verbose)
    lines += [] if found.failing is None else _ways(found.failing)
    lines += sentences(found.net)
    lines += [f"Drift: {d.message}." for d in found.plan.drift]
    lines += [f"Ignored: {i.name!r}: {i.why}." for i in found.listing.ignored]
    if found.lint_unavailable:
        lines.append(f"Not linted: {found.lint_unavailable}.")
    for refusal in found.plan.refusals:
        lines += [f"Refused: {refusal.message}", f"  Next: {refusal.hint}"]
    return "\n".join(lines)


def _applied(number: int) -> str:
    from autopilot.measures import counted

    return f"{counted(number, 'migration')} applied" if number else "no migration is applied yet"


def _pending(found: Preview, *, verbose: bool) -> list[str]:
    if not found.migrations:
        return ["Nothing is pending." if found.listing.files else "Nothing is pending: the directory holds no migration."]
    before = [m for m in found.migrations if not m.after_deploy]
    how = "at once, in one transaction" if found.apart is None else f"one by one: {found.apart}"
    lines = [f"{len(found.migrations)} pending" + (f", to be committed {how}" if len(before) > 1 else "") + ":"]
    for migration in found.migrations:
        lines.append(f"  {migration.file.file}  ({', '.join(_about(migration))})")
        lines += _meaning(migration, verbose=verbose)
        lines += _foretold(found.predicted[migration.version])
        shown = [f for f in found.findings if f.file == migration.file.file and (verbose or f.severity != "info")]
        lines += [f"    line {f.line}: {f.severity}: {f.message} [{f.rule}]" for f in shown]
    return lines


_MEANS = {
    "expand": "expand: only adds", "data": "data: writes rows", "contract": "contract: code that runs now may break",
    "irreversible": "irreversible: destroys data",
}  # fmt: skip
_AS_TOLD = {
    False: "Going back loses nothing, as far as the text tells: what is destroyed is kept in autopilot_trash;"
    " --rehearse proves it on a copy.",
    True: "Going back: whether it loses something cannot be told by this role; plan as the one that releases.",
}


def _ways(failing: Failing) -> list[str]:
    """The way that a failure would take, and whether going back later loses something."""
    lines = [f"If it fails: {failing.words}."]
    lines += {
        True: ["Going back: flown forward, back and forward again on the copy; nothing is lost."],
        False: ["Going back, as the copy showed it:"],
        None: [] if failing.loses else [_AS_TOLD[failing.loses is None]],
    }[failing.proven]
    for lost in failing.loses or ():
        lines.append(f"Warning: no way back without loss: {lost.sentence}.")
        lines += [f"  Next: {lost.mend}."] if lost.mend else []
    return lines


def _about(migration: Migration) -> list[str]:
    """A pending file in a few words."""
    from autopilot.measures import counted

    count = len(migration.statements)
    if not count:
        return ["no statement: only recorded"]
    words = [counted(count, "statement"), _MEANS[str(migration.change)]]
    if not migration.transactional:
        words.append("not in one transaction")
    return [*words, "waits for a proven deploy"] if migration.after_deploy else words


def _foretold(predicted: Predicted) -> list[str]:
    """How long it would take and whom it would keep waiting; nothing of what is over at once."""
    from autopilot.measures import about_in_words

    forecast, rehearsed = predicted.forecast, predicted.rehearsed_at
    if rehearsed is None and forecast.duration_ms < 100:
        return []
    how = "guessed from the size of its tables" if rehearsed is None else f"rehearsed {rehearsed:%Y-%m-%d %H:%M}"
    lines = [f"    takes about {about_in_words(forecast.duration_ms)} ({how})"]
    lines += [
        f"    keeps {b.keeps_waiting} of {b.relation} waiting for about {about_in_words(b.duration_ms)}"
        for b in forecast.blocked[:3]
    ]
    return lines


def _meaning(migration: Migration, *, verbose: bool) -> list[str]:
    """What a person should know of its statements: what cannot simply be gone back on, and who has to wait."""
    from autopilot.migrations.locks import is_gentle

    lines = []
    for statement, effect in zip(migration.statements, migration.effects, strict=True):
        if verbose or effect.change.kind in {"contract", "irreversible"}:
            lines.append(f"    line {statement.line}: {effect.change.kind}: {effect.change.why}")
        lines += [
            f"    line {statement.line}: locks {lock.relation} ({lock.mode}): {lock.keeps_waiting} wait"
            for lock in effect.locks
            if verbose or not is_gentle(lock.mode)
        ]
    return lines if verbose or len(lines) <= 12 else [*lines[:12], f"    … and {len(lines) - 12} more (--verbose)"]
