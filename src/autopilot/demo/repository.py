"""The team's git repository: a bare origin that pushes go to, and the runner's checkout that a release runs in."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from autopilot import programs
from autopilot.errors import Refused

_IDENTITY = ("-c", "user.name=Ada", "-c", "user.email=ada@example.invalid", "-c", "commit.gpgsign=false")
_HERMETIC = {"GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_NOSYSTEM": "1", "GIT_TERMINAL_PROMPT": "0"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Repository:
    #: Where the developer works.
    work: Path
    #: The bare repository that is pushed to.
    origin: Path
    #: The checkout of the machine that runs the release, as a GitHub runner's.
    runner: Path


def sample() -> Path:
    """The learning platform: in the repository under examples/, in an installed package beside this file."""
    packaged = Path(__file__).parent / "lms"
    return packaged if packaged.is_dir() else Path(__file__).parents[3] / "examples" / "lms"


def create(directory: Path) -> Repository:
    """An empty origin, the developer's clone holding the sample (not yet pushed), and no runner checkout yet."""
    found = Repository(work=directory / "work", origin=directory / "origin.git", runner=directory / "runner")
    git("init", "--quiet", "--bare", "--initial-branch=main", str(found.origin))
    git("init", "--quiet", "--initial-branch=main", str(found.work))
    git("-C", str(found.work), "remote", "add", "origin", str(found.origin))
    shutil.copytree(sample() / "site", found.work / "site", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(sample() / "supabase" / "migrations", found.work / "supabase" / "migrations")
    return found


def add_push(repository: Repository, name: str) -> tuple[str, ...]:
    """Copies a prepared push's migrations into the developer's clone; returns their names."""
    files = sorted((sample() / "pushes" / name).glob("*.sql"))
    for file in files:
        shutil.copy(file, repository.work / "supabase" / "migrations" / file.name)
    return tuple(file.name for file in files)


def take_back(repository: Repository, files: tuple[str, ...]) -> None:
    """The developer removes files that were refused; the next push no longer holds them."""
    for file in files:
        (repository.work / "supabase" / "migrations" / file).unlink()


def push(repository: Repository, message: str) -> str:
    """Commits and pushes all there is; returns the commit's SHA."""
    work = str(repository.work)
    git("-C", work, "add", "--all")
    git("-C", work, *_IDENTITY, "commit", "--quiet", "--message", message)
    git("-C", work, "push", "--quiet", "origin", "main")
    return git("-C", work, "rev-parse", "HEAD")


def check_out(repository: Repository, commit: str) -> Path:
    """Brings the runner's checkout to `commit`; its backups stay."""
    runner = str(repository.runner)
    if not repository.runner.exists():
        git("clone", "--quiet", str(repository.origin), runner)
    git("-C", runner, "fetch", "--quiet", "origin")
    git("-C", runner, "checkout", "--quiet", "--force", "--detach", commit)
    return repository.runner


def git(*arguments: str) -> str:
    """Runs git and returns its first words. Raises Refused (`git_failed`, `program_missing`)."""
    done = programs.run(programs.Command(argv=("git", *arguments), env=_HERMETIC, timeout_s=60))
    if not done.ok:
        raise Refused(
            f"git {arguments[0] if not arguments[0].startswith('-') else arguments[2]} failed: {done.stderr.strip()[:300]}",
            code="git_failed",
            hint="Check that git 2.28 or newer is installed.",
        )
    return done.stdout.decode().strip()
