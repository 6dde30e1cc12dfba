"""The demo's chapters: what is pushed, and how each must end for the story to be true."""

from __future__ import annotations

from dataclasses import dataclass

#: What a user sends to the site while the last push is being rehearsed: an address that differs only in case.
LATE_LEARNER = {"name": "Amara Okafor", "email": "Amara.Okafor@mail.example", "course": "forecasting"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Chapter:
    title: str
    #: Told before the run.
    prologue: str
    #: Directory under pushes/, or None for the first release.
    push: str | None
    message: str
    #: The outcome and exit code that `autopilot migrate` must end with.
    outcome: str
    exit_code: int
    #: Whether a user enrols while the release is under way.
    user_writes_meanwhile: bool = False
    #: Whether it is undone with `autopilot rollback` after users went on writing.
    goes_back: bool = False
    #: How the database and the site stand in the end, in a few words.
    afterwards: str
    #: Told after the run.
    epilogue: str = ""


CHAPTERS = (
    Chapter(
        title="First release",
        prologue="A team pushes its learning platform: 23 migrations and a site. Production is an empty database.",
        push=None,
        message="First release",
        outcome="released",
        exit_code=0,
        afterwards="new schema, new deploy proven",
        epilogue="The database was backed up, the files were flown on the restored backup and then applied,"
        " and the site answers from the commit.",
    ),
    Chapter(
        title="Three new migrations",
        prologue="The next push: learners may have their certificates by mail. A column, a table with its policies, a trigger.",
        push="2-certificates-by-mail",
        message="Certificates by mail",
        outcome="released",
        exit_code=0,
        afterwards="new schema, new deploy proven",
        epilogue="Only what was new ran, in one transaction, each file with its ledger row.",
    ),
    Chapter(
        title="Refused in rehearsal",
        prologue="A push that is right in itself: scores are percentages. But production holds scores of 105.",
        push="3-refused",
        message="Scores are percentages",
        outcome="refused",
        exit_code=1,
        afterwards="never touched",
        epilogue="It failed on the copy. Production never saw it, and the old deploy goes on serving.",
    ),
    Chapter(
        title="Passes rehearsal, fails on production",
        prologue="Addresses become lower case. While Autopilot rehearses,"
        " a user enrols with an address that differs only in case.",
        push="4-late-row",
        message="Addresses in lower case",
        outcome="rolled_back",
        exit_code=3,
        afterwards="as before, the late row kept",
        user_writes_meanwhile=True,
        epilogue="PostgreSQL undid the migration and its ledger row together. What the user wrote is still there.",
    ),
    Chapter(
        title="A column dropped by mistake",
        prologue="The site no longer reads enrolments.enrolled_at, so a push drops it."
        " Nothing fails: that the office needs the dates shows only later.",
        push="5-dropped-by-mistake",
        message="Enrolments tidied up",
        outcome="released",
        exit_code=0,
        goes_back=True,
        afterwards="the column and its data back, users' rows kept",
        epilogue="No restore, no down script: what the release dropped had been kept, and came back in one transaction.",
    ),
)
