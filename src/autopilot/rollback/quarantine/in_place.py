"""Route 4 in one transaction: everything of the owned schemas steps aside, the backup takes its place, and that is proven.

    with connection.transaction():
        done = in_place.restore(connection, backup, asked)
        …                                   # rows of ours about it
    # COMMIT: only now does anybody see anything of it

Before that COMMIT everything is as it was, whoever is killed. What stepped aside stays in `<schema>__q_<token>`, without rights.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from autopilot.errors import Refused, RolledBack
from autopilot.rollback.live import quoted
from autopilot.rollback.quarantine import choice, default_rights, dependents, inventory, orphans, proof, replaying
from autopilot.rollback.quarantine import session as sessions
from autopilot.rollback.quarantine.archive import Archive
from autopilot.rollback.quarantine.choice import Stages
from autopilot.rollback.quarantine.dependents import Dependent
from autopilot.rollback.quarantine.inventory import Counter, Inventory
from autopilot.rollback.quarantine.orphans import Key, Settled
from autopilot.rollback.quarantine.replaying import Made, Site
from autopilot.rollback.quarantine.session import Connection

#: Of every database: what is never replaced, whoever owns it.
NEVER = frozenset({"automation", "supabase_migrations", "autopilot_trash"})
QUARANTINE = "Autopilot quarantine "


@dataclass(frozen=True, slots=True, kw_only=True)
class Backup:
    """A checked, plain archive, and what its manifest says of it."""

    file: str
    archive: Archive
    #: Digests of definitions by PostgreSQL's own names; empty in old backups, and then not compared.
    objects: Mapping[str, str]
    #: Exact rows by "schema.table".
    rows: Mapping[str, int]
    #: Sums of the hashes of the rows, by "schema.table".
    sums: Mapping[str, str] = field(default_factory=dict)
    #: Tables whose rows it does not hold: the live ones stay.
    without_data: tuple[str, ...] = ()
    database_bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """How to go about it."""

    #: Ends the quarantine's names; unique to this call, lower-case hexadecimal.
    token: str
    run_id: str
    #: Schemas of the platform, besides NEVER.
    never: Iterable[str]
    #: Digests of what is there but for the schemas named, as `Backup.objects` has them, read in the given transaction.
    digests: Callable[[Connection, tuple[str, ...]], Mapping[str, str]]
    #: Of each answer of the server and of pg_restore.
    timeout_s: float
    #: How long the tables may take to be had.
    lock_wait_s: float = 30.0
    #: On the server's disk, where somebody knows.
    free_bytes: int | None = None
    reached: Callable[[str], None] = lambda _point: None
    monotonic_s: Callable[[], float] = time.monotonic

    @property
    def untouchable(self) -> frozenset[str]:
        return NEVER | frozenset(self.never)


@dataclass(frozen=True, slots=True, kw_only=True)
class Replaced:
    """What was put in place, proven, not yet committed."""

    token: str
    #: Schema → where its live objects lie now.
    quarantines: Mapping[str, str]
    #: Rows put back from the backup, and rows that stayed the live ones, by "schema.table".
    rows: Mapping[str, int]
    kept: Mapping[str, int]
    settled: tuple[Settled, ...]
    put_back: tuple[str, ...]
    #: What stays bound to the quarantine, because the backup has nothing of that name.
    left: tuple[str, ...]
    #: What differs from the backup and was not touched.
    untouched: tuple[str, ...]
    #: When the locks were had, by `Asked.monotonic_s`: from then until COMMIT everybody else waits.
    locked_at_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What stands before anything is changed."""

    inventory: Inventory
    stages: Stages
    schemas: tuple[str, ...]
    #: Of those, what is not there any more.
    missing: tuple[str, ...]
    #: Of those, what came since the backup: nothing takes its place.
    new: tuple[str, ...]
    keys: tuple[Key, ...]
    #: (schema, name) of what stays where it is, as it is.
    stays: frozenset[tuple[str, str]]


def plan(connection: Connection, backup: Backup, asked: Asked) -> Plan:
    """Looks and decides; changes nothing.

    Raises Refused (`too_many_objects`, `no_create_right`, `no_room_on_server`, `nothing_owned`, `backup_unreadable`).
    """
    with inventory.plain_names(connection):
        there = inventory.read(
            connection, never=asked.untouchable, needed_bytes=backup.database_bytes, free_bytes=asked.free_bytes
        )
        everything = {row[0] for row in connection.execute("SELECT nspname::text FROM pg_catalog.pg_namespace")}
        extensions = inventory.extensions(connection)
        owners = {row[0] for row in connection.execute(
            "SELECT rolname::text FROM pg_catalog.pg_roles WHERE pg_catalog.pg_has_role(oid, 'USAGE')")}  # fmt: skip
    choice.require_room(there.room)
    entries = backup.archive.entries()
    held = {e.name: e.owner for e in entries if e.what == "SCHEMA"}
    known = everything | asked.untouchable
    missing = tuple(sorted(s for s, o in held.items() if s not in known and o in owners and not choice.is_aside(s)))
    in_backup = frozenset(choice.schemas_in(entries))
    schemas = tuple(sorted({*there.names, *missing}))
    if not schemas:
        raise Refused(
            "The role owns no schema here that a backup could be put back into.",
            code="nothing_owned", hint="Run as the role that owns the application's schemas.",
        )  # fmt: skip
    stages = choice.stages(entries, schemas, missing=missing, extensions=extensions, staying=there.staying, owners=owners)
    staying = there.staying
    return Plan(
        inventory=there, stages=stages, schemas=schemas, missing=missing,
        stays=staying.foreign | staying.brought | choice.of_others(entries, schemas, owners),
        new=tuple(s for s in there.names if s not in in_backup and s != "public"),
        keys=orphans.keys(backup.archive.text(stages.foreign_keys)),
    )  # fmt: skip


def restore(connection: Connection, backup: Backup, asked: Asked) -> Replaced:
    """Puts the backup in the place of everything in the role's schemas. The transaction is open, and stays open.

    Raises Refused (as `plan`, and `quarantine_dependents`) before anything is changed; RolledBack (`quarantine_*`,
    `rows_do_not_fit`, `default_rights`, `no_room_on_server`) and psycopg.OperationalError after: the caller rolls back.
    """
    with sessions.explained(), sessions.settled(connection, asked.timeout_s):
        planned = plan(connection, backup, asked)
        before = asked.digests(connection, ())
        asked.reached("X1")
        taken = _taken(connection, asked, planned)
        asked.reached("X2")
        site = Site(
            connection=connection, archive=backup.archive, stages=planned.stages, timeout_s=asked.timeout_s, reached=asked.reached
        )
        made = Made()
        with default_rights.lifted(connection, planned.schemas):
            replaying.define(site)
            replaying.load(site, made)
            replaying.take_over(site, made, backup.without_data, taken.where)
            inside = frozenset(planned.schemas)
            replaying.tie(
                site, made, planned.keys, left_for_later=lambda _key: False,
                doubtful=lambda key: key.parent_schema not in inside or f"{key.schema}.{key.table}" in made.kept,
            )  # fmt: skip
        replaying.count_on(site, taken.counters)
        back = put_in_order(site, taken, planned.schemas)
        asked.reached("X4")
        prove(backup, made)
        untouched = prove_objects(connection, backup, asked, before, planned, taken)
    return Replaced(
        token=asked.token, quarantines=taken.quarantines, rows=made.rows, kept=made.kept, settled=made.settled,
        put_back=back.done, left=back.left, untouched=untouched, locked_at_s=taken.at_s,
    )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """What stepped aside."""

    inventory: Inventory
    dependents: tuple[Dependent, ...]
    quarantines: Mapping[str, str]
    #: When the locks were had: from then on everybody else waits.
    at_s: float
    counters: Mapping[tuple[str, str], Counter]

    def where(self, schema: str) -> str:
        return self.quarantines.get(schema, schema)


def _taken(connection: Connection, asked: Asked, planned: Plan) -> Taken:
    def read() -> Inventory:
        return inventory.read(connection, never=asked.untouchable, needed_bytes=0)

    return take(connection, asked, read, planned)


def take(
    connection: Connection, asked: Asked, read: Callable[[], Inventory], planned: Plan, *, rows_xid: str | None = None
) -> Taken:
    """Locks everything, tells what hangs on it, and moves it into the quarantine.

    rows_xid: the transaction whose rows are the backup's; None: this one.
    """
    # what hangs on the objects is read while views still have their names, and again it would be the same: it is locked by then
    dependent: tuple[Dependent, ...] = dependents.read(connection, planned.inventory.objects, planned.inventory.names)
    names = {s.name: choice.aside(s.name, asked.token, letter="q") for s in planned.inventory.schemas}
    _make(connection, asked, planned, names, rows_xid)

    def step_aside(found: Inventory) -> None:
        for view in found.views:
            connection.execute(view.to(names[view.schema]).encode())

    found = sessions.take(connection, read, step_aside, wait_s=asked.lock_wait_s)
    at_s, counters = asked.monotonic_s(), inventory.counters(connection, found.names)
    views = {view.oid for view in found.views}
    rest = [
        o.to(names[o.schema]) for o in found.objects if o.oid not in views or o.catalog not in {"pg_class", "pg_catalog.pg_class"}
    ]
    sessions.run(connection, ";\n".join(rest), timeout_s=asked.timeout_s, doing="moving what is there aside")
    return Taken(inventory=found, dependents=dependent, quarantines=names, counters=counters, at_s=at_s)


def _make(connection: Connection, asked: Asked, planned: Plan, names: Mapping[str, str], rows_xid: str | None) -> None:
    for schema, quarantine in names.items():
        connection.execute(f"CREATE SCHEMA {quoted(quarantine)}".encode())
        connection.execute(f"REVOKE ALL ON SCHEMA {quoted(quarantine)} FROM PUBLIC".encode())
        remark = {"token": asked.token, "schema": schema, "run": asked.run_id, "new": schema in planned.new, "rows": rows_xid}
        comment(connection, quarantine, QUARANTINE, remark)


def comment(connection: Connection, schema: str, kind: str, remark: Mapping[str, object]) -> None:
    """Says on a schema of ours what it is; from then on it is one. The transaction's id tells restored rows from later ones."""
    row = connection.execute("SELECT pg_catalog.pg_current_xact_id()::text, pg_catalog.now()::text").fetchone() or ("", "")
    text = kind + json.dumps({**remark, "xid": row[0], "at": row[1]})
    literal = connection.execute("SELECT pg_catalog.quote_literal(%s)", (text,)).fetchone() or ("",)
    connection.execute(f"COMMENT ON SCHEMA {quoted(schema)} IS {literal[0]}".encode())


def put_in_order(site: Site, taken: Taken, schemas: Iterable[str]) -> dependents.PutBack:
    """Lets the quarantine go of what stays, and hangs what hung there on what was put back."""
    connection, quarantines = site.connection, tuple(taken.quarantines.values())
    dependents.withdraw(connection, quarantines)
    drops = inventory.boundary_drops(connection, quarantines)
    sessions.run(connection, ";\n".join(drops), timeout_s=site.timeout_s, doing="letting go of what stays")
    already = frozenset(replaying.publish(site, frozenset(dependents.published(connection, sorted(schemas)))))
    back = dependents.put_back(connection, taken.dependents, already)
    connection.execute("NOTIFY pgrst, 'reload schema'")
    return dependents.PutBack(done=(*sorted(already), *back.done), left=back.left)


def prove(backup: Backup, made: Made) -> None:
    """As many rows as the manifest counted. Raises RolledBack (`quarantine_not_proven`)."""
    not_proven(proof.rows({t: n for t, n in backup.rows.items() if t not in backup.without_data}, made.rows))


def prove_objects(
    connection: Connection, backup: Backup, asked: Asked, before: Mapping[str, str], planned: Plan, taken: Taken
) -> tuple[str, ...]:
    """Definitions as in the backup, sequences not before where they stood; returns what differs and was not touched."""
    after = inventory.counters(connection, planned.schemas)
    behind = [f"the sequence {s}.{n} stands before where it stood" for (s, n), was in taken.counters.items()
              if (s, n) in after and was.further_than(after[s, n])]  # fmt: skip
    not_proven(tuple(behind))
    if not backup.objects:
        return ()
    now = asked.digests(connection, tuple(taken.quarantines.values()))
    schemas = _as_identified(connection, planned.schemas)
    found = proof.objects(backup.objects, before, now, schemas, stays=_stays(planned))
    not_proven(found.wrong)
    return found.untouched


def _stays(planned: Plan) -> Callable[[str], bool]:
    """Whether an object, by its name in words, is of what stays in a schema that is replaced."""
    places = {f"{quoted_if_needed(s)}.{quoted_if_needed(n)}" for s, n in planned.stays}
    return lambda name: any(place in name for place in places)


def quoted_if_needed(name: str) -> str:
    plain = name.replace("_", "a").isalnum() and name == name.lower() and not name[0].isdigit() and name.isascii()
    return name if plain else quoted(name)


def _as_identified(connection: Connection, names: Iterable[str]) -> frozenset[str]:
    rows = connection.execute("SELECT pg_catalog.quote_ident(n) FROM pg_catalog.unnest(%s::text[]) n", (list(names),))
    return frozenset(row[0] for row in rows)


def not_proven(wrong: tuple[str, ...]) -> None:
    if wrong:
        told = "; ".join(wrong[:10]) + (f"; and {len(wrong) - 10} more" if len(wrong) > 10 else "")
        raise RolledBack(
            f"what was put back is not what the backup describes: {told}",
            code="quarantine_not_proven", hint="Take another route, or restore into a new database; report it.",
        )  # fmt: skip
