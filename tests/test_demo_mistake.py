"""The demo's chapter of a column dropped by mistake, told from the first release on, and its own checks."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import psycopg
import pytest

from autopilot.clock import SystemClock
from autopilot.demo.chapters import CHAPTERS
from autopilot.demo.mistake import NEWCOMERS, Enrolments, Written, require_back, require_gone, seen
from autopilot.demo.story import Stage, Told, tell
from autopilot.demo.summary import table
from autopilot.errors import Refused
from autopilot.http import request

#: The story is told once, for all of them.
pytestmark = pytest.mark.xdist_group("mistake")

EMAILS = [newcomer["email"] for newcomer in NEWCOMERS]
#: The sample's own seed, calculated anew: the date that each enrolment of the first release had.
SEEDED = """
select e.enrolled_at, timestamptz '2025-02-12 09:00+00' + (p.place %% 40) * interval '3 hours'
from public.enrolments e
join (
  select id, row_number() over (order by email collate "C") as place
  from public.profiles where not is_instructor and email <> all (%(emails)s)
) p on p.id = e.learner_id
"""
QUERIES = {
    "dates": SEEDED,
    "column": "select data_type, is_nullable, column_default from information_schema.columns"
    " where table_schema = 'public' and table_name = 'enrolments' and column_name = 'enrolled_at'",
    "newcomers": "select p.email, e.status::text, e.enrolled_at is not null from public.enrolments e"
    " join public.profiles p on p.id = e.learner_id where p.email = any (%(emails)s) order by p.email",
    "withdrawn": "select count(*) from public.enrolments where status = 'withdrawn'",
    "log": "select status, versions from automation.migration_log order by id",
    "ledger": "select count(*) from automation.applied_migrations where version >= '20250601'",
}


@dataclass(slots=True, kw_only=True)
class Story:
    """What the chapter left, looked at while everything still ran."""

    told: tuple[Told, ...] = ()
    said: list[str] = field(default_factory=list)
    found: dict[str, list[tuple[Any, ...]]] = field(default_factory=dict)
    seen: Enrolments | None = None
    messages: list[str] = field(default_factory=list)
    health: dict[str, Any] = field(default_factory=dict)


@pytest.fixture(scope="module")
def story() -> Story:
    story = Story()

    def finale(told: tuple[Told, ...], stage: Stage) -> None:
        story.told, story.seen = told, seen(stage.around.database_url)
        story.health = json.loads(request("GET", f"{stage.around.site_url}/api/health", timeout_s=10).body)
        story.messages = stage.around.messages.read_text("utf-8").splitlines()
        with psycopg.connect(stage.around.database_url.reveal()) as connection:
            for name, query in QUERIES.items():
                story.found[name] = connection.execute(query, {"emails": EMAILS}).fetchall()

    tell(say=story.said.append, request=request, clock=SystemClock(), finale=finale, chapters=(CHAPTERS[0], CHAPTERS[-1]))
    return story


def test_the_demo_ends_with_a_release_that_is_undone() -> None:
    assert [chapter.goes_back for chapter in CHAPTERS] == [False] * (len(CHAPTERS) - 1) + [True]


def test_the_mistake_was_released_and_its_way_back_proven_before(story: Story) -> None:
    mistaken = story.told[-1]
    assert (mistaken.exit_code, mistaken.document["outcome"]) == (0, "released")
    assert mistaken.document["rehearsal"]["way_back"] == {"proven": True, "loses": []}
    assert mistaken.document["applied"] == ["20250623090000"]


def test_each_date_is_back_as_the_first_release_had_written_it(story: Story) -> None:
    dates = story.found["dates"]
    assert len(dates) > 250
    assert [now for now, _ in dates] == [then for _, then in dates]
    assert story.found["column"] == [("timestamp with time zone", "NO", "now()")]


def test_what_users_wrote_without_the_column_is_still_there(story: Story) -> None:
    assert story.found["newcomers"] == [(email, "active", True) for email in sorted(EMAILS)]
    assert story.found["withdrawn"] == [(1,)]
    assert story.seen is not None
    assert len(story.seen.rows) == len(story.found["dates"]) + len(EMAILS)
    assert story.health["status"] == "ok"


def test_the_ledger_the_log_and_the_channel_tell_of_the_way_back(story: Story) -> None:
    assert story.found["ledger"] == [(0,)]
    assert story.found["log"][-2:] == [("success", ["20250623090000"]), ("rollback", ["20250623090000"])]
    assert "Rollback executed" in story.messages[-1]


def test_the_story_says_it_in_words(story: Story) -> None:
    kept = len(story.found["dates"])
    text = "\n".join(story.said)
    assert text.index("$ autopilot migrate") < text.index(f"and {kept + 1} dates are gone") < text.index("$ autopilot rollback")
    assert f"public.enrolments: {kept} rows put back" in text
    assert f"each of the {kept} enrolments that are still there has the date it had" in text
    assert table(story.told)[-1][2:] == (
        "released, undone", "0", f"{story.told[-1].duration_s:.1f} s", "the column and its data back, users' rows kept"
    )  # fmt: skip


LEFT = Enrolments(
    column=None,
    rows={1: {"id": 1, "status": "withdrawn"}, 3: {"id": 3, "status": "active"}}
    | {number: {"id": number, "status": "active"} for number in (4, 5)},
)
BEFORE = Enrolments(
    column="date not null", rows={n: {"id": n, "status": "active", "enrolled_at": f"2025-02-0{n}"} for n in (1, 2, 3)}
)
AFTER = Enrolments(
    column=BEFORE.column, rows={n: {**row, "enrolled_at": f"2025-02-0{n}"} for n, row in LEFT.rows.items()}
)  # fmt: skip
WRITTEN = Written(withdrawn=1, removed=2)


def with_row(number: int, **values: object) -> Enrolments:
    return replace(AFTER, rows={**AFTER.rows, number: {**AFTER.rows[number], **values}})


def test_all_in_order_is_counted() -> None:
    require_gone(BEFORE, LEFT)
    assert require_back(before=BEFORE, left=LEFT, written=WRITTEN, after=AFTER) == 2


@pytest.mark.parametrize(
    ("after", "words"),
    [
        (replace(AFTER, column=None), "came back as None"),
        (replace(AFTER, column="text"), "came back as text"),
        (with_row(3, enrolled_at="2025-03-01"), "Enrolment 3 has another enrolled_at"),
        (with_row(3, enrolled_at=None), "Enrolment 3 has no enrolled_at"),
        (with_row(1, status="active"), "Enrolment 1 is not as users had left it"),
        (replace(AFTER, rows={n: row for n, row in AFTER.rows.items() if n != 5}), "other enrolments than users had left"),
        (replace(AFTER, rows={**AFTER.rows, 2: BEFORE.rows[2]}), "other enrolments than users had left"),
    ],
)
def test_whatever_is_not_so_ends_the_story(after: Enrolments, words: str) -> None:
    with pytest.raises(Refused, match=words) as refused:
        require_back(before=BEFORE, left=LEFT, written=WRITTEN, after=after)
    assert refused.value.code == "demo_failed"


@pytest.mark.parametrize(
    ("check", "words"),
    [
        (lambda: require_gone(LEFT, LEFT), "no enrolled_at to lose"),
        (lambda: require_gone(BEFORE, AFTER), "is still there"),
    ],
)
def test_a_mistake_that_was_not_made_is_no_story(check: Callable[[], object], words: str) -> None:
    with pytest.raises(Refused, match=words):
        check()
