"""Server programs where the server's user can read them: the installation itself, or a copy made once."""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
from pathlib import Path

from autopilot.clock import SystemClock
from autopilot.postgres import homes
from autopilot.postgres.clients import Installation

_PREFIX = "programs-"
_UNUSED_S = 14 * 86_400.0


def programs(installation: Installation, root: Path) -> Path:
    """A bin directory that others may walk to; no directory of somebody else is opened for it."""
    if _open_to_all(installation.bin_dir):
        return installation.bin_dir
    tree = installation.bin_dir.parent
    copy = root / f"{_PREFIX}{installation.version}-{_fingerprint(tree)}"
    place = copy / tree.parent.name / tree.name / installation.bin_dir.name
    with homes.storage_errors(root), homes.root_lock(root):
        if not copy.exists():
            _copy(tree, copy)
        os.utime(copy)
        _drop_unused(root)
    return place


def _drop_unused(root: Path) -> None:
    """Copies that no server was started from for long: of installations that are gone, mostly."""
    for copy in root.glob(f"{_PREFIX}*"):
        if SystemClock().now().timestamp() - copy.stat().st_mtime > _UNUSED_S:
            shutil.rmtree(copy, ignore_errors=True)


def _open_to_all(bin_dir: Path) -> bool:
    everyone = stat.S_IROTH | stat.S_IXOTH
    return homes.closed_parent(bin_dir) is None and (bin_dir / "postgres").stat().st_mode & everyone == everyone


def _fingerprint(tree: Path) -> str:
    digest = hashlib.sha256(str(tree).encode())
    for path in sorted(tree.rglob("*")):
        digest.update(f"{path.relative_to(tree)} {path.lstat().st_size}\n".encode())
    return digest.hexdigest()[:12]


def _copy(tree: Path, copy: Path) -> None:
    """Under the root lock, so that an unfinished copy lying there is a dead process's."""
    unfinished = copy.with_name(f"{_PREFIX}unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    package = tree.parent
    shutil.copytree(tree, unfinished / package.name / tree.name, symlinks=True)
    # Shared libraries that a wheel keeps beside its package (auditwheel) or in it (delocate).
    for beside in (Path(f"{package}.libs"), package / ".dylibs"):
        if beside.is_dir():
            shutil.copytree(beside, unfinished / beside.relative_to(package.parent))
    for path in (unfinished, *unfinished.rglob("*")):
        if not path.is_symlink():
            mode = path.stat().st_mode
            path.chmod(0o755 if path.is_dir() or mode & stat.S_IXUSR else 0o644)
    unfinished.rename(copy)
