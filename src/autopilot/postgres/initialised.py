"""An initialised cluster to copy: initdb takes most of a second, copying what it made a tenth of that.

All copies have one system identifier, so only servers take one that nobody compares with others.
"""

from __future__ import annotations

import hashlib
import secrets
import shutil
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from autopilot.clock import SystemClock
from autopilot.postgres import homes
from autopilot.postgres.cluster import Cluster, initialise, owned_directory
from autopilot.programs import Command, run
from autopilot.secret import Secret

_PREFIX = "initialised-"
#: What cleans a temporary directory may take single files out of it after some days.
_LONGEST_S = 86_400.0
_COPY_LIMIT_S = 120.0


def provide(cluster: Cluster) -> Cluster:
    """Copies a cluster into `cluster`, or makes it and keeps a copy; with the password that its superuser has then.

    Raises what `initialise` raises.
    """
    root = cluster.home.parent
    with homes.root_lock(root):
        kept = _kept(cluster)
        if kept is not None:
            if _copied(kept / "data", cluster.data_dir):
                cluster.password_file.unlink()
                return replace(cluster, password=Secret((kept / "password").read_text("ascii")))
            shutil.rmtree(cluster.data_dir, ignore_errors=True)
            owned_directory(cluster, cluster.data_dir)
    initialise(cluster)
    with homes.root_lock(root):
        _keep(cluster)
    return cluster


def forget(root: Path) -> None:
    """Removes every kept cluster below `root`: none will be copied again."""
    for path in root.glob(f"{_PREFIX}*"):
        shutil.rmtree(path, ignore_errors=True)


def _kept(cluster: Cluster) -> Path | None:
    """None where there is none, or none young enough; those that are too old go."""
    for path in cluster.home.parent.glob(f"{_PREFIX}*"):
        with suppress(FileNotFoundError):
            if not 0 <= SystemClock().now().timestamp() - path.stat().st_mtime < _LONGEST_S:
                shutil.rmtree(path, ignore_errors=True)
    place = _place(cluster)
    return place if place.is_dir() else None


def _keep(cluster: Cluster) -> None:
    """Where there is no room for it, the next one is made anew too."""
    place = _place(cluster)
    fresh = place.with_name(f"{_PREFIX}new-{secrets.token_hex(4)}")
    with suppress(OSError):
        fresh.mkdir(mode=0o700)
        (fresh / "password").touch(mode=0o600)
        (fresh / "password").write_text(cluster.password.reveal(), encoding="ascii")
        if _copied(cluster.data_dir, fresh / "data") and not place.exists():
            fresh.rename(place)
    shutil.rmtree(fresh, ignore_errors=True)


def _place(cluster: Cluster) -> Path:
    words = (cluster.installation.bin_dir, cluster.installation.version, cluster.superuser, cluster.user, cluster.durable)
    return cluster.home.parent / f"{_PREFIX}{hashlib.sha256(repr(words).encode()).hexdigest()[:16]}"


def _copied(source: Path, target: Path) -> bool:
    """With owners and modes; what is at `target` must be an empty directory or nothing."""
    with suppress(FileNotFoundError):
        target.rmdir()
    return run(Command(argv=("cp", "-a", str(source), str(target)), timeout_s=_COPY_LIMIT_S)).ok
