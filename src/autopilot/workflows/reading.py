"""A session for commands that only read, and what it means when they may not."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import psycopg

from autopilot.config import Settings
from autopilot.errors import Refused
from autopilot.events import Noted
from autopilot.postgres.session import READER_NAME, Connection, Resolved, resolved, session
from autopilot.workflows.world import World


def reached(settings: Settings) -> Resolved:
    """The target's address with how it is encrypted and verified decided. Raises what connecting raises."""
    return resolved(settings.require_database(), tls_verify=settings.tls_verify, ca_file=settings.tls_ca_file)


@contextmanager
def reader(settings: Settings) -> Iterator[Connection]:
    """A read-only session on the target. Raises Refused (`no_audit_rights`, `database_lost`) beside what connecting raises."""
    with session(reached(settings).url, application_name=READER_NAME) as connection:
        connection.read_only = True
        try:
            yield connection
        except psycopg.errors.InsufficientPrivilege as cause:
            raise Refused(
                f"The role {connection.info.user!r} may not read what Autopilot keeps there: {cause.diag.message_primary}.",
                code="no_audit_rights",
                hint="List the role under `admins` in autopilot.toml and run `autopilot migrate` once as the owner;"
                " or use the owner's URL.",
            ) from cause
        except psycopg.OperationalError as cause:
            raise Refused(
                f"The database went away: {' '.join(str(cause).split())}",
                code="database_lost",
                hint="Check that the server answers, then run again.",
                retryable=True,
            ) from cause


def reach(world: World) -> World:
    """The world with the target's address as every session and pg_dump shall use it."""
    found = reached(world.settings)
    for warning in found.warnings:
        world.tell(Noted(text=warning, level="warning"))
    return replace(world, settings=replace(world.settings, database_url=found.url))
