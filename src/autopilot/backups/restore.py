"""Restores a backup into an empty scratch database, in passes: what is restored runs with few rights, or not at all."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path

from autopilot import programs
from autopilot.backups import contents, peopled, stubs
from autopilot.backups.contents import Item
from autopilot.backups.platform import Absent
from autopilot.backups.roles import Rights, Role
from autopilot.backups.stand_ins import ALWAYS, STAND_INS
from autopilot.backups.stubs import StoodIn
from autopilot.errors import Refused
from autopilot.postgres.address import libpq_environment, parameters
from autopilot.postgres.clients import Installation
from autopilot.postgres.session import READER_NAME, Connection, session
from autopilot.secret import Secret


def prepare(
    scratch: Connection, wanted: tuple[Role, ...], *, owner: str, password: Secret, database: str, rights: Rights
) -> None:
    """The source's roles (without passwords) and an empty database; `owner` and the loader may log in with `password`.

    rights: of the source database; where a backup does not tell them, `owner` owns it.
    """
    peopled.people(scratch, wanted, login=owner, password=password)
    peopled.house(scratch, database, role=owner, rights=rights)


@dataclass(frozen=True, slots=True, kw_only=True)
class Archive:
    """A backup and how it is restored."""

    path: Path
    #: The empty database, for the role that defines what is in it.
    url: Secret
    client: Installation
    jobs: int
    #: Of each call of pg_restore.
    timeout_s: float
    #: The same for `peopled.LOADER`, in a scratch server of ours; without it the first does everything.
    loader: Secret | None = None
    #: The roles that `prepare` made there.
    wanted: tuple[Role, ...] = ()
    #: What the backup does not hold.
    absent: Absent = field(default_factory=Absent)


def restore(archive: Archive, *, rows: bool = True) -> StoodIn:
    """The whole archive, with stand-ins for extensions that its server lacks or shall not have, and for schemas it lacks.

    rows: False leaves out all rows but those of the ledger.

    Raises Refused (`restore_failed`, `extension_missing`, `program_timed_out`).
    """
    listed = contents.items(_asked(archive, "--list"))
    found = listed if rows else contents.without_rows(listed)
    with session(archive.url, application_name=READER_NAME) as scratch:
        missing = _missing(contents.extensions(found), scratch, archive)
        homes = _homes(archive, found, missing) if missing else {}
        own = frozenset(s for e in missing if (s := STAND_INS[e].schema) is not None)
        left = contents.without(found, extensions=missing, schemas=own, shared=frozenset(homes.values()))
        passes = contents.passes(left, before_data=_section(archive, "pre-data"), data=_section(archive, "data"))
        _run(archive, passes.first)
        made = stubs.for_extensions(scratch, homes)
        stubs.for_schemas(
            scratch, archive.absent, there=own, loader=scratch.info.user if archive.loader is None else peopled.LOADER
        )
        with _lowered(archive, scratch):
            _define(archive, scratch, passes.definitions)
            _load(archive, scratch, passes.data)
            filled = _filled(archive, scratch)
            _define(archive, scratch, passes.rest)
        _run(archive, passes.said)
        failed = stubs.attach(scratch, archive.absent)
        with _raised(archive, scratch):
            _run(archive, passes.last)
    words = stubs.told(archive.absent, filled, failed)
    return StoodIn(extensions=tuple(sorted(missing)), schemas=own, objects=made, absent=words)


def _lowered(archive: Archive, scratch: Connection) -> AbstractContextManager[None]:
    return nullcontext() if archive.loader is None else peopled.lowered(scratch, archive.wanted)


@contextmanager
def _raised(archive: Archive, scratch: Connection) -> Iterator[None]:
    """What only superusers can own may be given to its owners. Nothing that was restored runs in the block."""
    if archive.loader is not None:
        peopled.promote(scratch, archive.wanted)
    yield
    if archive.loader is not None:
        peopled.settle(scratch, archive.wanted)


def _define(archive: Archive, scratch: Connection, items: Sequence[Item]) -> None:
    """Definitions: what may call users' functions by the loader, what only writes them down by a superuser."""
    for calling, those in contents.stretches(items):
        if archive.loader is None or not any(item.what == "FOREIGN DATA WRAPPER" for item in those):
            _run(archive, those, as_loader=calling)
            continue
        peopled.promote(scratch, tuple(role for role in archive.wanted if role.is_superuser))
        _run(archive, those)
        peopled.demote(scratch, archive.wanted)


def _load(archive: Archive, scratch: Connection, items: Sequence[Item]) -> None:
    """Rows by the loader; large objects, and what extensions keep, by a superuser."""
    brought = _brought(scratch)
    theirs = tuple(i for i in items if i.what not in {"TABLE DATA", "SEQUENCE SET"} or (i.schema, i.name) in brought)
    _run(archive, theirs)
    _run(archive, tuple(i for i in items if i not in frozenset(theirs)), as_loader=True)


def _filled(archive: Archive, scratch: Connection) -> dict[str, int]:
    if not archive.absent.pointing:
        return {}
    with session(archive.loader or archive.url, application_name=READER_NAME) as loader:
        return stubs.fill(scratch, loader, archive.absent)


def _brought(scratch: Connection) -> frozenset[tuple[str, str]]:
    """Tables and sequences of extensions: what runs when they are filled is the extension's."""
    return frozenset(
        scratch.execute(
            "SELECT n.nspname::text, c.relname::text FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_class c ON c.oid = d.objid"
            " JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
            " WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.deptype = 'e'"
        ).fetchall()
    )


def restore_command(archive: Archive, only: Path, *, as_loader: bool = False) -> programs.Command:
    """pg_restore as a value; `only` lists the items to restore."""
    target = parameters(archive.loader if as_loader and archive.loader is not None else archive.url)
    return programs.Command(
        argv=(
            archive.client.tool("pg_restore"), "--exit-on-error", "--no-password", "--no-tablespaces", f"--jobs={archive.jobs}",
            f"--use-list={only}", f"--dbname={target['dbname']}", str(archive.path),
        ),
        env=libpq_environment({k: v for k, v in target.items() if k != "dbname"}),
        timeout_s=archive.timeout_s,
    )  # fmt: skip


def _run(archive: Archive, only: Sequence[Item], *, as_loader: bool = False) -> None:
    if only:
        with tempfile.TemporaryDirectory(prefix="autopilot-restore-") as directory:
            listed = _written(Path(directory) / "items", only)
            _answer(archive, restore_command(archive, listed, as_loader=as_loader))


def _asked(archive: Archive, *arguments: str) -> str:
    argv = (archive.client.tool("pg_restore"), *arguments, str(archive.path))
    return _answer(archive, programs.Command(argv=argv, timeout_s=archive.timeout_s))


def _answer(archive: Archive, command: programs.Command) -> str:
    finished = programs.run(command)
    if not finished.ok:
        said = " ".join(finished.stderr.split())[:600]
        raise Refused(
            f"The backup {archive.path.name} could not be restored into a scratch database; pg_restore says: {said}",
            code="restore_failed",
            hint="Mend what pg_restore complains of, or run this once with --no-rehearsal, knowing what that gives up.",
        )
    return finished.stdout.decode("utf-8", "replace")


def _section(archive: Archive, name: str) -> frozenset[str]:
    return frozenset(item.number for item in contents.items(_asked(archive, "--list", f"--section={name}")))


def _written(path: Path, items: Iterable[Item]) -> Path:
    path.write_text("".join(f"{item.line}\n" for item in items), encoding="utf-8")
    return path


def _missing(wanted: Iterable[str], scratch: Connection, archive: Archive) -> frozenset[str]:
    """The extensions to stand in for. Raises Refused (`extension_missing`)."""
    there = frozenset(row[0] for row in scratch.execute("SELECT name FROM pg_catalog.pg_available_extensions"))
    kept_out = ALWAYS if archive.loader is not None else frozenset()
    missing = frozenset(wanted) - (there - kept_out)
    unknown = sorted(missing - STAND_INS.keys())
    if unknown:
        raise Refused(
            f"The scratch server (PostgreSQL {archive.client.version}, {archive.client.origin}) lacks the extension"
            f" {', '.join(unknown)}, and Autopilot has no stand-in for it.",
            code="extension_missing",
            hint="Install PostgreSQL of the target's version with that extension (postgres_bin_dir in autopilot.toml);"
            " or run this once with --no-rehearsal, knowing what that gives up.",
        )
    return missing


_CREATE = re.compile(
    r'^CREATE EXTENSION (?:IF NOT EXISTS )?"?(?P<name>[^"\s;]+)"? WITH SCHEMA "?(?P<schema>[^";]+?)"?;', re.MULTILINE
)


def _homes(archive: Archive, found: tuple[Item, ...], missing: frozenset[str]) -> dict[str, str]:
    """The schema in which each missing extension lives, as the archive says."""
    with tempfile.TemporaryDirectory(prefix="autopilot-restore-") as directory:
        listed = _written(Path(directory) / "items", [i for i in found if i.what == "EXTENSION" and i.name in missing])
        said = _asked(archive, "--file=-", f"--use-list={listed}")
    known = {m["name"]: m["schema"] for m in _CREATE.finditer(said)}
    return {e: STAND_INS[e].schema or known.get(e, "public") for e in missing}
