"""The pending files as PostgreSQL can run them: cut into segments, weighed, and put in the order of the release."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from autopilot.errors import Refused, Where
from autopilot.migrations import catalog
from autopilot.migrations.effect import conditional, effects
from autopilot.migrations.plan import Plan
from autopilot.migrations.segments import Migration, migration
from autopilot.migrations.unit import lock_room, why_apart, why_never_together
from autopilot.postgres.session import Connection, Server
from autopilot.workflows.logbook import Wish
from autopilot.workflows.world import World


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """When the pending files run."""

    #: Before the deploy.
    now: tuple[Migration, ...]
    #: Once the new deploy is proven: `-- autopilot:after-deploy`.
    waiting: tuple[Migration, ...]

    @property
    def all(self) -> tuple[Migration, ...]:
        return self.now + self.waiting


def migrations(decided: Plan, connection: Connection, *, known: Iterable[Migration] = ()) -> tuple[Migration, ...]:
    """The pending files cut into segments, with what each statement means. `known` ones are not cut again.

    Raises Refused for what cannot be run.
    """
    cut = {m.file.file: m for m in known}
    pending = [m if (m := cut.get(f.file)) is not None and m.file is f else migration(f) for f in decided.pending]
    order = in_order(tuple(pending))
    everything = [s for m in order.all for s in m.statements]
    found = iter(effects(everything, there=catalog.there(connection, conditional(everything))))
    weighed = {m.file.file: replace(m, effects=tuple(next(found) for _ in m.statements)) for m in order.all}
    return tuple(weighed[m.file.file] for m in pending)


def in_order(pending: tuple[Migration, ...], wish: Wish | None = None) -> Order:
    """What runs before the deploy and what waits for it, each in file order."""
    if wish is not None and wish.include_waiting:
        return Order(now=pending, waiting=())
    return Order(
        now=tuple(m for m in pending if not m.after_deploy),
        waiting=tuple(m for m in pending if m.after_deploy),
    )


def never_proven(world: World, wish: Wish) -> str | None:
    """Why this run cannot prove a deploy, or None where it may."""
    if not wish.deploy:
        return "--no-deploy was given"
    if world.settings.site_url is None and world.settings.health_url is None:
        return "neither SITE_URL nor HEALTH_URL is set to look at"
    return None


def refuse_apart(world: World, pending: tuple[Migration, ...]) -> None:
    """Raises Refused (`cannot_share_transaction`) where `transaction = "push"` asks for what cannot be."""
    why = why_never_together(pending) if world.settings.transaction == "push" and len(pending) > 1 else None
    if why is not None:
        raise Refused(
            f'transaction = "push" wants all pending files in one transaction, but {why}.',
            code="cannot_share_transaction",
            hint='Push that file by itself, or set transaction = "auto".',
        )


def apart(world: World, pending: tuple[Migration, ...], server: Server) -> str | None:
    """Why the pending files commit one by one, under the settings; None when they commit at once."""
    if world.settings.transaction == "file":
        return 'transaction = "file" is set'
    if world.settings.transaction == "push":
        return why_never_together(pending)
    return why_apart(pending, lock_room=lock_room(server.lock_table))


def refuse_loss(pending: tuple[Migration, ...]) -> None:
    """Raises Refused (`would_destroy_data`) for a statement that destroys rows, when no backup is to be taken."""
    for found in pending:
        for statement in found.statements:
            if statement.destroys is not None:
                raise Refused(
                    f"{found.file.file}:{statement.line}: {statement.destroys} destroys rows,"
                    " and --no-backup leaves no copy of them.",
                    code="would_destroy_data",
                    hint="Leave --no-backup out; or say that the rows may go, with --yes-destroy-data.",
                    where=Where(file=found.file.file, line=statement.line, statement=statement.shown()),
                )
