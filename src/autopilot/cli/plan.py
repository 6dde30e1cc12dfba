"""`autopilot plan`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from autopilot.cli.frame import Frame, emit, known_secrets, options, say
from autopilot.cli.world import quiet_world

if TYPE_CHECKING:
    from autopilot.errors import Refused
    from autopilot.migrations.segments import Migration
    from autopilot.workflows.preview import Preview


@click.command("plan")
@click.option("--allow-out-of-order", is_flag=True, help="Plan a pending file that is older than one already applied.")
@click.option("--accept-edited", multiple=True, metavar="VERSION", help="Plan with this edited file taken as it is now.")
@options()
def command(frame: Frame, *, allow_out_of_order: bool, accept_edited: tuple[str, ...]) -> int:
    """Show what `migrate` would do: pending files, findings, drift, and what stands in the way.

    Writes nothing; a role that may only read is enough. Exits 1 when `migrate` would refuse.
    """
    from autopilot.errors import Refused
    from autopilot.workflows.preview import preview

    try:
        found = preview(quiet_world(frame), allow_out_of_order=allow_out_of_order, accept_edited=frozenset(accept_edited))
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


def _show_refused(cause: Refused) -> int:
    """A plan that a file stands in the way of, in the form of any other."""
    from autopilot.cli.complaints import sentences
    from autopilot.cli.documents import refused_plan_document

    click.echo(sentences(cause, known=known_secrets()), err=True, nl=False)
    emit(refused_plan_document(cause, known=known_secrets()))
    return cause.exit_code


def described(found: Preview, *, verbose: bool) -> str:
    """The plan for a person."""
    lines = [f"{found.server.database} on PostgreSQL {found.server.version}: {len(found.plan.applied)} applied."]
    lines += _pending(found, verbose=verbose)
    lines += [f"Drift: {d.message}." for d in found.plan.drift]
    lines += [f"Ignored: {i.name!r}: {i.why}." for i in found.listing.ignored]
    if found.lint_unavailable:
        lines.append(f"Not linted: {found.lint_unavailable}.")
    for refusal in found.plan.refusals:
        lines += [f"Refused: {refusal.message}", f"  Next: {refusal.hint}"]
    return "\n".join(lines)


def _pending(found: Preview, *, verbose: bool) -> list[str]:
    if not found.migrations:
        return ["Nothing is pending."]
    before = [m for m in found.migrations if not m.after_deploy]
    how = "at once, in one transaction" if found.apart is None else f"one by one: {found.apart}"
    lines = [f"{len(found.migrations)} pending" + (f", to be committed {how}" if len(before) > 1 else "") + ":"]
    for migration in found.migrations:
        lines.append(f"  {migration.file.file}  ({', '.join(_about(migration))})")
        lines += _meaning(migration, verbose=verbose)
        shown = [f for f in found.findings if f.file == migration.file.file and (verbose or f.severity != "info")]
        lines += [f"    line {f.line}: {f.severity}: {f.message} [{f.rule}]" for f in shown]
    return lines


def _about(migration: Migration) -> list[str]:
    """A pending file in a few words."""
    count = len(migration.statements)
    if not count:
        return ["no statement: only recorded"]
    words = [f"{count} statement{'' if count == 1 else 's'}", str(migration.change)]
    if not migration.transactional:
        words.append("not in one transaction")
    return [*words, "waits for a proven deploy"] if migration.after_deploy else words


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
