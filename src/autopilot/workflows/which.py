"""Which releases are gone back on: all of the last run, or all since a run or a backup. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC

from autopilot.audit.ways_back import Release
from autopilot.errors import Refused


def pick(releases: tuple[Release, ...], *, to: str | None, backups: Sequence[str] = ()) -> tuple[Release, ...]:
    """The releases to go back on, the newest first: all of the last run, or all since before `to`.

    backups: names of those that there are, besides the releases' own.
    Raises Refused (`nothing_to_undo`, `unknown_run`).
    """
    if to is not None and to in backups and to not in {r.backup_file for r in releases}:
        return _whole(releases, len(since_backup(releases, to)))
    if not releases:
        raise Refused(
            "No release of Autopilot is in here that could be undone.",
            code="nothing_to_undo", hint="`autopilot log` shows what was done.",
        )  # fmt: skip
    wanted = releases[0].run_id if to is None else to
    places = [n for n, r in enumerate(releases) if wanted in {r.run_id, r.backup_file}]
    if not places:
        raise Refused(
            f"No release that is in, and no backup of one, is called {wanted!r}.",
            code="unknown_run", hint="`autopilot log` names the runs, `autopilot backup list` the backups.",
        )  # fmt: skip
    return _whole(releases, max(places) + 1)


def since_backup(releases: tuple[Release, ...], file: str) -> tuple[Release, ...]:
    """Those that began after that backup was taken, the newest first: backups' names begin with the time."""
    later = [n for n, r in enumerate(releases) if (r.backup_file or _as_name(r)) >= file]
    return releases[: max(later) + 1] if later else ()


def _as_name(release: Release) -> str:
    """What a backup that was taken as it began would be called, as far as time goes."""
    return f"backup_{release.ran_at.astimezone(UTC):%Y%m%d_%H%M%S}"


def _whole(releases: tuple[Release, ...], count: int) -> tuple[Release, ...]:
    """The first `count`, and those before them of which a later one went on with a file: a version goes back in one piece."""
    while count < len(releases) and set(releases[count].versions) & {v for r in releases[:count] for v in r.versions}:
        count += 1
    return releases[:count]


def versions(chosen: Sequence[Release]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(v for r in chosen for v in r.versions))


def runs(chosen: Sequence[Release]) -> str:
    """Whose they are, in words."""
    found = list(dict.fromkeys(r.run_id for r in chosen))
    if not found:
        return "no release"
    return f"run {found[0]}" if len(found) == 1 else f"{len(found)} runs ({', '.join(found)})"
