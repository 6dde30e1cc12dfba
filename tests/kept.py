"""A migration with what is to be kept around it, as the release will send it, and what a test looks at afterwards."""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import psycopg
from tests.conftest import Database

from autopilot.rollback import preimages, returning, trash
from autopilot.rollback.difference import portrait
from autopilot.rollback.preimages import Statement, Touched, What
from autopilot.rollback.returning import Returned
from autopilot.rollback.snapshot import read

VERSION = "20260101000000"


@dataclass(frozen=True, kw_only=True)
class Step:
    """A statement of a migration, and what is known of it."""

    text: str
    what: What | None = None
    tables: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    cascade: bool = False
    #: Rows that a COPY … FROM STDIN gets.
    rows: str | None = None


def step(text: str, what: What | None = None, *tables: str, columns: Iterable[str] = (), cascade: bool = False) -> Step:
    return Step(text=text, what=what, tables=tables, columns=tuple(columns), cascade=cascade)


def migrated(
    database: Database, *steps: Step | str, touched: Iterable[str] = (), truncated: Iterable[str] = (), admin: bool = False,
    schema: str = "public", role: str | None = None,
) -> str:  # fmt: skip
    """Runs a migration with what is to be kept around it, in one transaction; returns the run's id."""
    run_id = secrets.token_hex(4)
    whole = [s if isinstance(s, Step) else Step(text=s) for s in steps]
    with psycopg.connect(database.admin_url if admin else database.url, autocommit=True) as connection:
        plan = preimages.plan_for(
            preimages.read(
                connection, run_id=run_id, keep_days=30,
                statements=[
                    Statement(
                        version=VERSION, number=n, what=s.what, text=s.text, tables=tuple((schema, t) for t in s.tables),
                        columns=s.columns, cascade=s.cascade,
                    )
                    for n, s in enumerate(whole) if s.what is not None
                ],
                touched=[
                    Touched(table=(schema, t), version=VERSION, number=0, truncated=t in truncated)
                    for t in [*touched, *truncated]
                ],
            )
        )  # fmt: skip
        say(connection, "BEGIN", *plan.opening())
        for number, one in enumerate(whole):
            capture = plan.at(VERSION, number)
            say(connection, *capture.before)
            if role is not None:
                say(connection, f"SET LOCAL ROLE {role}")
            if one.rows is not None:
                with connection.cursor().copy(one.text.encode()) as copy:
                    copy.write(one.rows)
            else:
                say(connection, *(capture.probe if capture.instead is not None else (one.text,)))
            if role is not None:
                say(connection, "SET LOCAL ROLE NONE")
            say(connection, *(capture.instead or ()), *capture.after)
        say(connection, "SET CONSTRAINTS ALL IMMEDIATE", *plan.closing(), "COMMIT")
    return run_id


def say(connection: psycopg.Connection[Any], *texts: str) -> None:
    """As one message, as the release sends them."""
    if texts:
        connection.execute(";\n".join(texts).encode())


def undone(database: Database, run_id: str, *commands: str, theirs: bool = True, admin: bool = False) -> Returned:
    """Goes back: tables, then `commands` in place of the reverse DDL, then the rest."""
    with psycopg.connect(database.admin_url if admin else database.url) as connection:
        returning.bring_back_tables(connection, run_id)
        for command in commands:
            connection.execute(command.encode())
        found = returning.undo(connection, run_id, theirs=theirs)
        connection.execute("SET CONSTRAINTS ALL IMMEDIATE")
    return found


def rows(database: Database) -> dict[str, list[str]]:
    """Every row of every table of the application."""
    tables = database.rows(
        "select format('%I.%I', n.nspname, c.relname) from pg_class c join pg_namespace n on n.oid = c.relnamespace"
        " where c.relkind = 'r' and n.nspname not in ('pg_catalog', 'information_schema', 'autopilot_trash', 'auth', 'storage')"
        " and n.nspname !~ '^pg_toast' order by 1"
    )
    found = {}
    for (table,) in tables:
        columns = [
            row[0]
            for row in database.rows(
                "select quote_ident(attname) from pg_attribute where attrelid = %s::regclass and attnum > 0"
                " and not attisdropped order by attname", table,
            )
        ]  # fmt: skip
        found[table] = [r[0] for r in database.rows(f"select row({', '.join(columns)})::text from {table} order by 1")]
    return found


def catalog(database: Database) -> dict[str, Any]:
    with psycopg.connect(database.admin_url) as connection:
        return portrait(read(connection))


def ours_left(database: Database) -> list[tuple[Any, ...]]:
    return database.rows(
        "select tgname from pg_trigger where tgname like '%autopilot%'"
        " union all select proname from pg_proc where pronamespace = to_regnamespace('autopilot_trash')"
        " union all select relname from pg_class where relnamespace = to_regnamespace('autopilot_trash') and relname like 'w\\_%'"
    )


def kept(database: Database) -> tuple[trash.Kept, ...]:
    with psycopg.connect(database.admin_url) as connection:
        return trash.listed(connection)


ORDERS = """
create table customers (id bigint generated by default as identity primary key, name text not null, seen int not null default 0);
create table orders (id bigserial primary key, customer bigint not null references customers on delete cascade,
                     note text, total numeric(10,2) not null default 0, doubled numeric generated always as (total * 2) stored);
create table lines (order_id bigint references orders on delete cascade, n int, text text, primary key (order_id, n));
insert into customers (name) select 'c' || g from generate_series(1, 20) g;
insert into orders (customer, note, total) select 1 + g % 20, 'o' || g, g from generate_series(1, 100) g;
insert into lines select g, n, 'l' || g || n from generate_series(1, 100) g, generate_series(1, 2) n;
"""
ALL = ("customers", "orders", "lines")
