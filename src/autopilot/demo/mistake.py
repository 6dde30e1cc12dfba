"""A column dropped by mistake: what the table held, what users wrote without it, and whether both are there in the end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import psycopg

from autopilot.demo.facts import require
from autopilot.http import Client
from autopilot.postgres.queries import named
from autopilot.secret import Secret

COLUMN = "enrolled_at"
#: Who enrols on the site while the column is gone.
NEWCOMERS = (
    {"name": "Noor Haddad", "email": "noor.haddad@mail.example", "course": "sql-from-scratch"},
    {"name": "Ben Adair", "email": "ben.adair@mail.example", "course": "web-basics"},
)
_SQL = named(__file__, "mistake.sql")


@dataclass(frozen=True, slots=True, kw_only=True)
class Enrolments:
    """The table at one moment."""

    #: Type, NOT NULL and default of the column, in words; None where it is gone.
    column: str | None
    #: Whole rows by id, values as JSON.
    rows: Mapping[int, Mapping[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """What users did while the column was gone; ids of enrolments."""

    withdrawn: int
    removed: int


def seen(database_url: Secret) -> Enrolments:
    with psycopg.connect(database_url.reveal()) as connection:
        column = connection.execute(_SQL["column"]).fetchone()
        return Enrolments(
            column=None if column is None else str(column[0]), rows=dict(connection.execute(_SQL["rows"]).fetchall())
        )


def go_on_writing(database_url: Secret, *, site_url: str, request: Client) -> Written:
    """Two users enrol on the site, one withdraws, one enrolment is removed. Raises Refused where the site does not take it."""
    for newcomer in NEWCOMERS:
        reply = request("POST", f"{site_url}/api/enrol", json=newcomer, timeout_s=10)
        require(reply.status == 201, f"{newcomer['name']} could not enrol ({reply.words()}).")
    with psycopg.connect(database_url.reveal()) as connection:
        changed = [number for name in ("withdraw", "remove") for (number,) in connection.execute(_SQL[name]).fetchall()]
    require(len(changed) == 2, "Nobody is enrolled who could withdraw.")
    return Written(withdrawn=changed[0], removed=changed[1])


def require_gone(before: Enrolments, left: Enrolments) -> None:
    """The mistake was made, and there was something to lose. Raises Refused."""
    require(before.column is not None and bool(before.rows), f"Before the push there was no {COLUMN} to lose.")
    require(left.column is None, f"The push was released, but {COLUMN} is still there.")


def require_back(*, before: Enrolments, left: Enrolments, written: Written, after: Enrolments) -> int:
    """The column is as it was, and so is its value in each row that was there before; all else is as users left it.

    Returns how many rows have their value back. Raises Refused with the first thing that is not so.
    """
    require(after.column == before.column, f"{COLUMN} came back as {after.column}, it was {before.column}.")
    require(after.rows.keys() == left.rows.keys(), "There are other enrolments than users had left there.")
    for number, row in after.rows.items():
        rest = {name: value for name, value in row.items() if name != COLUMN}
        require(rest == left.rows[number], f"Enrolment {number} is not as users had left it.")
        require(row[COLUMN] is not None, f"Enrolment {number} has no {COLUMN}.")
    kept = before.rows.keys() & after.rows.keys()
    for number in kept:
        require(
            after.rows[number][COLUMN] == before.rows[number][COLUMN], f"Enrolment {number} has another {COLUMN} than before."
        )
    require(after.rows[written.withdrawn]["status"] == "withdrawn", "The learner who withdrew is enrolled again.")
    require(written.removed not in after.rows, "The enrolment that was removed is there again.")
    require(len(after.rows.keys() - before.rows.keys()) == len(NEWCOMERS), "Those who enrolled meanwhile are not all there.")
    return len(kept)


def require_recorded(database_url: Secret, *, version: str) -> None:
    """The newcomers are enrolled under their addresses, and the ledger no longer holds the file. Raises Refused."""
    with psycopg.connect(database_url.reveal()) as connection:
        enrolled = connection.execute(_SQL["enrolled"], {"emails": [n["email"] for n in NEWCOMERS]}).fetchone()
        pending = connection.execute(_SQL["pending_again"], {"version": version}).fetchone()
    require(enrolled == (len(NEWCOMERS),), "Those who enrolled meanwhile are not found by their addresses.")
    require(pending == (True,), f"The ledger still says that {version} is in.")
