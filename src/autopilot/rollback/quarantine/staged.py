"""Route 4 in two steps: the backup is built beside the live data, without a lock on it, and compared; then both change places.

    with connection.transaction():
        ready = staged.build(connection, backup, asked, sums=…)
    with connection.transaction():
        done = staged.swap(connection, backup, asked, ready)
        …                                   # rows of ours about it

Until the second COMMIT everything is as it was, but for schemas `<schema>__r_<token>` that nobody knows; `sweep` removes those.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from autopilot.errors import Refused, RolledBack
from autopilot.postgres.queries import named
from autopilot.rollback import live
from autopilot.rollback.live import quoted
from autopilot.rollback.quarantine import choice, default_rights, in_place, inventory, orphans, replaying
from autopilot.rollback.quarantine import session as sessions
from autopilot.rollback.quarantine.in_place import Asked, Backup, Plan, Replaced
from autopilot.rollback.quarantine.inventory import Inventory
from autopilot.rollback.quarantine.orphans import Key
from autopilot.rollback.quarantine.renaming import Renaming
from autopilot.rollback.quarantine.replaying import Made, Site
from autopilot.rollback.quarantine.session import Connection

STAGING = "Autopilot staging "
_QUERIES = named(__file__, "staged.sql")
_OURS = re.compile(r"__r_[0-9a-f]+\Z")

#: Exact rows, and sums of the rows' hashes, by "schema.table", of these schemas.
Sums = Callable[[Connection, tuple[str, ...]], tuple[Mapping[str, int], Mapping[str, str]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Staged:
    """What is ready beside the live data."""

    plan: Plan
    made: Made
    #: Schema → where its objects are ready.
    names: Mapping[str, str]
    #: Foreign keys to what stays: made in the swap, so that until then nothing of it is in anybody's way.
    later: tuple[Key, ...]
    #: The transaction that loaded the rows.
    rows_xid: str


def build(connection: Connection, backup: Backup, asked: Asked, *, sums: Sums, keys_later: bool = False) -> Staged:
    """Makes and compares it in the open transaction, which the caller commits.

    keys_later: no foreign key is made before the swap, so that rows can be written in between in any order.
    Raises as `in_place.restore` does, and Refused (`cannot_stage`).
    """
    with sessions.explained(), sessions.settled(connection, asked.timeout_s):
        planned = in_place.plan(connection, backup, asked)
        if planned.stages.extensions:
            raise _cannot(f"the extension {', '.join(e.name for e in planned.stages.extensions)} is not there any more")
        names = {schema: choice.aside(schema, asked.token, letter="r") for schema in planned.schemas}
        for schema, ready in names.items():
            connection.execute(f"CREATE SCHEMA {quoted(ready)}".encode())
            in_place.comment(connection, ready, STAGING, {"token": asked.token, "schema": schema, "run": asked.run_id})
        site = Site(
            connection=connection, archive=backup.archive, timeout_s=asked.timeout_s, reached=asked.reached,
            stages=replace(planned.stages, schemas=(), extensions=planned.stages.extensions),
            placed=lambda schema: names.get(schema, schema),
            renamed=Renaming(names=names, stays=planned.stays),
        )  # fmt: skip
        asked.reached("X1")
        made, inside = Made(), frozenset(planned.schemas)
        later = tuple(k for k in planned.keys if keys_later or k.parent_schema not in inside or _without(k, backup))
        with default_rights.lifted(connection, planned.schemas):
            replaying.define(site)
            replaying.load(site, made)
            replaying.tie(
                site, made, planned.keys, doubtful=lambda key: key in later and not keys_later,
                left_for_later=lambda key: key in later,
            )  # fmt: skip
        _movable(connection, tuple(names.values()))
        in_place.prove(backup, made)
        _compare(backup, made, sums(connection, tuple(names.values())), names)
        for table in made.rows:
            schema, _, name = table.partition(".")
            connection.execute(f"ANALYZE {quoted(names[schema])}.{quoted(name)}".encode())
        row = connection.execute("SELECT pg_catalog.pg_current_xact_id()::text").fetchone() or ("",)
        asked.reached("X2")
    return Staged(plan=planned, made=made, names=names, later=later, rows_xid=row[0])


def _movable(connection: Connection, places: Sequence[str]) -> None:
    """A range's constructors belong to the server's first superuser: nobody else moves them. Raises Refused (`cannot_stage`)."""
    found = [row[0] for row in connection.execute(_QUERIES["ranges"], {"schemas": list(places)}).fetchall()]
    if found:
        raise _cannot(f"range types that were dropped since cannot be moved: {', '.join(found)}")


def _cannot(why: str) -> Refused:
    return Refused(
        f"The backup cannot be made ready beside the live data: {why}.",
        code="cannot_stage", hint="Restore in place, in one transaction, instead.",
    )  # fmt: skip


def _without(key: Key, backup: Backup) -> bool:
    """Rows of a table that the backup lacks are taken over in the swap, and so are its references."""
    return f"{key.schema}.{key.table}" in backup.without_data


def _compare(backup: Backup, made: Made, found: tuple[Mapping[str, int], Mapping[str, str]], names: Mapping[str, str]) -> None:
    """Every row is the one that was dumped, but for those whose parent is gone. Raises RolledBack (`quarantine_not_proven`)."""
    rows, sums = found
    touched = {one.table for one in made.settled}
    wrong = []
    for table in made.rows:
        schema, _, name = table.partition(".")
        place = f"{names[schema]}.{name}"
        expected = backup.rows.get(table, 0) - orphans.moved(made.settled).get(table, 0)
        if rows.get(place) != expected:
            wrong.append(f"{table}: {expected} rows expected, {rows.get(place)} are ready")
        elif table in backup.sums and table not in touched and sums.get(place) != backup.sums[table]:
            wrong.append(f"{table}: as many rows as in the backup, but not the same ones")
    in_place.not_proven(tuple(wrong))


#: Told what has stepped aside.
CatchUp = Callable[[in_place.Taken], None]


def swap(connection: Connection, backup: Backup, asked: Asked, ready: Staged, *, catch_up: CatchUp | None = None) -> Replaced:
    """What is live steps aside, what is ready takes its place. The transaction is open, and stays open.

    catch_up: writes into what has taken its place what others wrote until it stepped aside; every reference then holds as it is.
    Raises as `in_place.restore` does.
    """
    with sessions.explained(), sessions.settled(connection, asked.timeout_s):
        planned = ready.plan
        before = asked.digests(connection, tuple(ready.names.values()))
        moves = inventory.objects(connection, tuple(ready.names.values()))
        asked.reached("X4")
        taken = in_place.take(connection, asked, lambda: _again(connection, asked, planned), planned, rows_xid=ready.rows_xid)
        asked.reached("X5")
        site = Site(connection=connection, archive=backup.archive, stages=planned.stages, timeout_s=asked.timeout_s)
        made = replace(ready.made)
        text = backup.archive.text(planned.stages.schemas) if planned.missing else ""
        sessions.run(connection, text, timeout_s=asked.timeout_s, doing="making the schemas that were dropped")
        home = {place: schema for schema, place in ready.names.items()}
        _move_in(connection, [o.to(home[o.schema]) for o in moves], tuple(home), asked.timeout_s)
        replaying.take_over(site, made, backup.without_data, taken.where)
        if catch_up is not None:
            catch_up(taken)
        _point_home(connection, planned.schemas, taken)
        _bind(site, made, ready, strict=catch_up is not None)
        replaying.count_on(site, taken.counters)
        _refresh(connection, planned.schemas, asked.timeout_s, query="calling_views" if catch_up is None else "filled_views")
        back = in_place.put_in_order(site, taken, planned.schemas)
        untouched = in_place.prove_objects(connection, backup, asked, before, planned, taken)
    return Replaced(
        token=asked.token, quarantines=taken.quarantines, rows=made.rows, kept=made.kept, settled=made.settled,
        put_back=back.done, left=back.left, untouched=untouched, locked_at_s=taken.at_s,
    )  # fmt: skip


def _again(connection: Connection, asked: Asked, planned: Plan) -> Inventory:
    """As it is under the locks. Raises RolledBack (`quarantine_moved`) where somebody made or dropped a schema meanwhile."""
    found = inventory.read(connection, never=asked.untouchable, needed_bytes=0)
    if set(found.names) != set(planned.inventory.names):
        raise RolledBack(
            "while the backup was being built, somebody made or dropped a schema",
            code="quarantine_moved", hint="Run the same command again.", retryable=True,
        )  # fmt: skip
    return found


def _move_in(connection: Connection, commands: Sequence[str], emptied: Sequence[str], timeout_s: float) -> None:
    drops = [f"DROP SCHEMA {quoted(place)}" for place in emptied]
    sessions.run(connection, ";\n".join((*commands, *drops)), timeout_s=timeout_s, doing="moving the backup into place")


def _point_home(connection: Connection, schemas: Sequence[str], taken: in_place.Taken) -> None:
    """Values that name objects (regclass and the like) were read while the live ones still had the names: now the new ones do."""
    for schema, name, column, kind in connection.execute(_QUERIES["naming_columns"], {"schemas": list(schemas)}).fetchall():
        table = live.read(connection, oid=0, schema=schema, name=name)
        with live.undisturbed(connection, [] if table is None else [table]):
            for home, aside in taken.quarantines.items():
                was, now = f"{in_place.quoted_if_needed(aside)}.", f"{in_place.quoted_if_needed(home)}."
                value = f"{quoted(column)}::text"
                connection.execute(
                    f"UPDATE ONLY {quoted(schema)}.{quoted(name)} SET {quoted(column)} = (%s || right({value}, %s))::{kind}"
                    f" WHERE starts_with({value}, %s)".encode(), (now, -len(was), was),
                )  # fmt: skip


def _bind(site: Site, made: Made, ready: Staged, *, strict: bool) -> None:
    """Rows whose parent went while all was being made ready; then the foreign keys that wait.

    strict: such a row is refused, with all the rest.
    """
    connection = site.connection
    if not strict:
        tables = []
        for schema, name in sorted({key.child for key in ready.later}):
            table = live.read(connection, oid=0, schema=schema, name=name)
            tables += [table] if table is not None else []
        with live.undisturbed(connection, tables):
            made.settled += orphans.settle(connection, ready.later, lambda _key: True)
    text = ";\n".join(key.text for key in ready.later)
    sessions.run(connection, text, timeout_s=site.timeout_s, doing="making the backup's foreign keys")


def _refresh(connection: Connection, schemas: Sequence[str], timeout_s: float, *, query: str) -> None:
    """Materialized views that call functions: while they were made ready, those read the live tables by name. Or all of them."""
    names = [row[0] for row in connection.execute(_QUERIES[query], {"schemas": list(schemas)}).fetchall()]
    text = ";\n".join(f"REFRESH MATERIALIZED VIEW {name}" for name in names)
    sessions.run(connection, text, timeout_s=timeout_s, doing="filling the backup's materialized views")


def sweep(connection: Connection) -> tuple[str, ...]:
    """Drops what an earlier call left ready: only schemas with our name and our remark, of this role. Returns their names.

    The caller holds the run's lock: nobody else is at it. In transactions of its own.
    """
    swept = []
    for schema, remark in connection.execute(_QUERIES["left"]).fetchall():
        if _OURS.search(schema) is None or not _is_remark(remark):
            continue
        connection.execute(f"DROP SCHEMA {quoted(schema)} CASCADE".encode())
        swept.append(schema)
    return tuple(swept)


def _is_remark(text: str) -> bool:
    try:
        return "token" in json.loads(text.removeprefix(STAGING))
    except ValueError:
        return False
