"""Tells the whole story on a real PostgreSQL: push → release, five times, the last three going wrong on purpose.

prepare → for each chapter: push → check out → `autopilot migrate` → check how it ended (→ users go on writing →
`autopilot rollback` → check what came back) → summary
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psycopg

from autopilot import programs
from autopilot.clock import Clock
from autopilot.demo import mistake, neighbours, repository
from autopilot.demo.chapters import CHAPTERS, LATE_LEARNER, Chapter
from autopilot.demo.facts import require
from autopilot.demo.mistake import Enrolments
from autopilot.demo.neighbours import Neighbours
from autopilot.demo.repository import Repository
from autopilot.errors import Refused, Stopped
from autopilot.http import Client
from autopilot.postgres.clients import for_embedded, installations


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """A chapter, and how it went."""

    chapter: Chapter
    files: int
    exit_code: int
    document: dict[str, Any]
    duration_s: float
    #: What became of the row that a user wrote meanwhile.
    late_row: str = ""

    @property
    def as_planned(self) -> bool:
        return self.exit_code == self.chapter.exit_code and self.document.get("outcome") == self.chapter.outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """Where the story plays."""

    repository: Repository
    around: Neighbours
    say: Callable[[str], None]
    request: Client
    clock: Clock


def tell(
    *, say: Callable[[str], None], request: Client, clock: Clock, finale: Callable[[tuple[Told, ...], Stage], None],
    chapters: tuple[Chapter, ...] = CHAPTERS,
) -> tuple[Told, ...]:  # fmt: skip
    """The chapters in a temporary directory; `finale` is called while everything still runs.

    Raises Refused when the stage cannot be set or a chapter ends otherwise than told.
    """
    with tempfile.TemporaryDirectory(prefix="autopilot-demo-") as name, _open_to_all(Path(name)) as directory:
        say("Setting the stage: an embedded PostgreSQL as production, a host with a build hook, a channel with a webhook.")
        sources = repository.create(directory)
        installation = for_embedded(installations())
        with neighbours.started(installation, origin=sources.origin, directory=directory) as around:
            stage = Stage(repository=sources, around=around, say=say, request=request, clock=clock)
            told = tuple(_chapter(stage, number, chapter) for number, chapter in enumerate(chapters, start=1))
            finale(told, stage)
            return told


@contextlib.contextmanager
def _open_to_all(directory: Path) -> Iterator[Path]:
    yield directory.resolve()


def _chapter(stage: Stage, number: int, chapter: Chapter) -> Told:
    stage.say(f"\n{number}. {chapter.title}\n{chapter.prologue}")
    files = () if chapter.push is None else repository.add_push(stage.repository, chapter.push)
    commit = repository.push(stage.repository, chapter.message)
    stage.say(f"$ git push   → {commit[:12]} “{chapter.message}”")
    runner = repository.check_out(stage.repository, commit)
    begun_s = stage.clock.monotonic_s()
    before = mistake.seen(stage.around.database_url) if chapter.goes_back else None
    with _user(stage, runner, writes=chapter.user_writes_meanwhile) as wrote:
        code, document = _autopilot(stage, runner, "migrate", "--commit", commit)
    told = Told(
        chapter=chapter, files=len(files) or len(document.get("applied", ())), exit_code=code, document=document,
        duration_s=stage.clock.monotonic_s() - begun_s, late_row=_late_row(stage, wrote) if chapter.user_writes_meanwhile else "",
    )  # fmt: skip
    require(
        told.as_planned,
        f"The chapter “{chapter.title}” should have ended as {chapter.outcome} (exit {chapter.exit_code}),"
        f" but ended as {document.get('outcome')} (exit {code}).",
    )
    if before is not None:
        _go_back(stage, runner, document, before)
        told = replace(told, duration_s=stage.clock.monotonic_s() - begun_s)
    stage.say(f"{told.late_row}{chapter.epilogue}")
    if chapter.goes_back or document.get("outcome") != "released":
        repository.take_back(stage.repository, files)
    return told


def _go_back(stage: Stage, runner: Path, released: dict[str, Any], before: Enrolments) -> None:
    """Users go on writing without the column, it is missed, and `autopilot rollback` brings it back. Raises Refused."""
    database_url, column = stage.around.database_url, mistake.COLUMN
    way_back = (released["rehearsal"] or {}).get("way_back")
    require(way_back == {"proven": True, "loses": []}, f"The rehearsal did not prove the way back ({way_back}).")
    stage.say("Released: the column is gone. The rehearsal had flown back and forth on the copy: the way back loses nothing.")
    written = mistake.go_on_writing(database_url, site_url=stage.around.site_url, request=stage.request)
    left = mistake.seen(database_url)
    mistake.require_gone(before, left)
    names = " and ".join(newcomer["name"] for newcomer in mistake.NEWCOMERS)
    stage.say(
        f"Users go on: {names} enrol on the site, one learner withdraws, one enrolment is removed."
        f" Then the office asks who enrolled when, and {len(before.rows)} dates are gone."
    )
    code, document = _autopilot(stage, runner, "rollback")
    require(code == 0 and document.get("undone") == released["applied"], f"`autopilot rollback` ended with {code}: {document}.")
    stage.say("\n".join(f"  {note}" for note in document["notes"]))
    back = mistake.require_back(before=before, left=left, written=written, after=mistake.seen(database_url))
    for version in document["undone"]:
        mistake.require_recorded(database_url, version=version)
    stage.say(
        f"{column} is back: each of the {back} enrolments that are still there has the date it had, compared one by one."
        f" What users wrote since is there too: {names} are enrolled (with the column's default, now), the learner who withdrew"
        " is withdrawn, and the enrolment that was removed stays removed."
    )


def _autopilot(stage: Stage, runner: Path, *arguments: str) -> tuple[int, dict[str, Any]]:
    """The command as a runner would call it; its progress goes straight to our stderr."""
    around = stage.around
    passed = {name: os.environ[name] for name in ("TERM", "CI", "NO_COLOR", "COLORTERM", "COLUMNS") if name in os.environ}
    command = programs.Command(
        argv=(sys.executable, "-m", "autopilot", "--json", *arguments, "--triggered-by", "demo"),
        env={
            **passed,
            "SUPABASE_DB_URL": around.database_url.reveal(),
            "NETLIFY_BUILD_HOOK": around.hook_url.reveal(),
            "SLACK_WEBHOOK_URL": around.webhook_url.reveal(),
            "SITE_URL": around.site_url,
            "HEALTH_URL": f"{around.site_url}/api/health",
        },
        cwd=runner,
    )
    stage.say(f"$ autopilot {arguments[0]}")
    with programs.running(command, stderr=None) as process:
        try:
            out, _ = process.communicate()
        except KeyboardInterrupt as cause:
            process.send_signal(signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.communicate(timeout=15)
            number = int(getattr(cause, "signal_number", signal.SIGINT))
            raise Stopped(
                number, message="The demo was stopped.", state="Its servers are gone, and nothing else was touched."
            ) from cause
    return process.returncode, json.loads(out or b"{}")


@contextlib.contextmanager
def _user(stage: Stage, runner: Path, *, writes: bool) -> Iterator[list[int]]:
    """A user who enrols on the site as soon as the release's backup is complete. Yields the site's answers."""
    answers: list[int] = []
    if not writes:
        yield answers
        return
    over = threading.Event()
    before = _backups(runner)

    def enrol() -> None:
        while not over.wait(0.02):
            if _backups(runner) > before:
                reply = stage.request("POST", f"{stage.around.site_url}/api/enrol", json=LATE_LEARNER, timeout_s=10)
                answers.append(reply.status)
                return

    thread = threading.Thread(target=enrol)
    thread.start()
    try:
        yield answers
    finally:
        over.set()
        thread.join()


def _backups(runner: Path) -> int:
    return len(list((runner / "supabase" / "backups").glob("*.manifest.json")))


def _late_row(stage: Stage, wrote: list[int]) -> str:
    with psycopg.connect(stage.around.database_url.reveal()) as connection:
        row = connection.execute("SELECT email FROM public.profiles WHERE email = %s", (LATE_LEARNER["email"],)).fetchone()
    if row is None or wrote != [201]:
        raise Refused(
            f"The user's row is not there (the site answered {wrote}).", code="demo_failed", hint="Report this: a row was lost."
        )
    return f"Meanwhile {LATE_LEARNER['name']} enrolled as {row[0]}: the row is there. "
