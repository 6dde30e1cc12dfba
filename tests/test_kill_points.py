"""A run killed at any of its named points: the next one settles it, and each migration is in exactly once."""

from __future__ import annotations

import random
import re
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import MappingProxyType

import psycopg
import pytest
from tests.conftest import Cli, Database
from tests.oracle import (
    QUICKLY,
    File,
    Project,
    atomic,
    document,
    ended,
    everything_holds,
    killed_at,
    settled,
    started,
    until,
    writing,
)

from autopilot.killpoints import POINTS

PLAIN = (
    File(
        name="1_one.sql",
        statements=(
            "create table one (id int primary key, counter int not null)",
            "insert into one values (1, 0)",
            "insert into effects values ('one')",
        ),
    ),
    File(
        name="2_two.sql",
        statements=(
            "alter table one add column note text not null default 'n'",
            "update one set counter = counter + 1",
            "insert into effects values ('two')",
        ),
    ),
    File(
        name="3_three.sql",
        statements=(
            "create index one_note on one (note)",
            "update one set counter = counter + 1",
            "insert into effects select 'three, counter ' || counter from one",
        ),
    ),
)
AFTER = File(name="2_after.sql", statements=("create table after_it (id int)", "insert into effects values ('after')"))

TOGETHER = Project(name="together", files=PLAIN)
FILE_BY_FILE = Project(name="file by file", files=PLAIN, settings='transaction = "file"\n')
OWN_BEGIN = Project(
    name="own begin",
    atomic=False,
    files=(
        File(
            name="1_own.sql",
            statements=(
                "begin",
                "create table first (id int)",
                "insert into effects values ('first')",
                "commit",
                "insert into effects values ('between')",
                "begin isolation level repeatable read",
                "create table second (id int)",
                "insert into effects values ('second')",
                "commit",
            ),
        ),
        AFTER,
    ),
)
INDEX = Project(
    name="index",
    atomic=False,
    files=(
        File(
            name="1_index.sql",
            statements=(
                "create table before_it (id int)",
                "insert into effects values ('before the index')",
                "create index concurrently writes_downwards on writes (n desc)",
                "insert into effects values ('after the index')",
            ),
        ),
        AFTER,
    ),
)
LABEL = Project(
    name="label",
    atomic=False,
    before="create type mood as enum ('sad'); create table diary (mood mood);",
    files=(
        File(
            name="1_happy.sql",
            statements=(
                "insert into effects values ('before the label')",
                "alter type mood add value 'happy'",
                "insert into diary values ('happy')",
                "insert into effects select mood::text from diary",
            ),
        ),
    ),
)
CALL = Project(
    name="call",
    atomic=False,
    before="""
create procedure finish() language plpgsql as $$ begin
  for n in 1..3 loop
    insert into effects select 'batch ' || n where not exists (select from effects where label = 'batch ' || n); commit;
  end loop;
end $$;""",
    files=(
        File(
            name="1_call.sql",
            statements=("insert into effects values ('before')", "call finish()", "insert into effects values ('after')"),
        ),
    ),
)
#: The same, but where no work is left the procedure does not commit: called again, it is at home in any transaction.
CALL_FOR_WORK = Project(
    name="call for work",
    atomic=False,
    files=CALL.files,
    before="""
create table work (n int); insert into work values (1), (2), (3);
create procedure finish() language plpgsql as $$ declare taken int; begin
  loop
    delete from work where n = (select min(n) from work) returning n into taken; exit when taken is null;
    insert into effects values ('batch ' || taken); commit;
  end loop;
end $$;""",
)
PROJECTS = (TOGETHER, FILE_BY_FILE, OWN_BEGIN, INDEX, LABEL, CALL, CALL_FOR_WORK)

_ONCE = {"L1": 1, "L2": 1, "L3": 1, "L4": 1}
_STATEMENT_ALONE = {"A9": 1, "A10": 1, "A11": 1}


def _transactions(visits: int) -> dict[str, int]:
    return {"A1": visits, "A2": visits, "A6": visits, "A7": visits, "A8": visits}


#: Those of the lock and of applying; the backup's and the rehearsal's are in test_backup_kill_points.
OWN = {point for point in POINTS if point[0] in "LA"}

#: How often an undisturbed run comes to each point.
VISITS = MappingProxyType({
    TOGETHER: {**_ONCE, **_transactions(1), "A2": 3, "A3": 1},
    FILE_BY_FILE: {**_ONCE, **_transactions(3), "A3": 3},
    OWN_BEGIN: {**_ONCE, **_transactions(4), "A3": 2},
    INDEX: {**_ONCE, **_transactions(4), **_STATEMENT_ALONE, "A3": 2},
    LABEL: {**_ONCE, **_transactions(2), "A3": 1},
    # the first transaction is the whole file, which the procedure's COMMIT ends
    CALL: {**_ONCE, **_transactions(3), "A1": 4, "A2": 4, **_STATEMENT_ALONE, "A3": 1},
    CALL_FOR_WORK: {**_ONCE, **_transactions(3), "A1": 4, "A2": 4, **_STATEMENT_ALONE, "A3": 1},
})  # fmt: skip

#: Of these a slice belongs to every test run.
QUICK = frozenset({
    (TOGETHER, "L4:1"), (TOGETHER, "A2:2"), (TOGETHER, "A7:1"), (TOGETHER, "A8:1"), (FILE_BY_FILE, "A8:2"),
    (OWN_BEGIN, "A8:1"), (INDEX, "A10:1"), (INDEX, "A11:1"), (LABEL, "A8:1"), (CALL, "A10:1"), (CALL_FOR_WORK, "A8:2"),
})  # fmt: skip

#: Points of a file with a procedure that commits at which nobody can know whether it did all of its work.
UNDECIDED = frozenset({"A9:1", "A10:1", "A11:1", "A1:3", "A2:3", "A6:2"})


@dataclass(frozen=True, kw_only=True)
class Case:
    project: Project
    point: str

    @property
    def id(self) -> str:
        return f"{self.project.name}-{self.point}"


CASES = tuple(
    Case(project=project, point=f"{point}:{visit}")
    for project, visits in VISITS.items()
    for point, count in visits.items()
    for visit in range(1, count + 1)
)


def _params(cases: tuple[Case, ...]) -> list[pytest.param]:  # type: ignore[valid-type]  # pytest's own class is private
    return [
        pytest.param(c, id=c.id, marks=() if (c.project, c.point) in QUICK else pytest.mark.faults)
        for c in sorted(cases, key=lambda c: (c.project, c.point) not in QUICK)
    ]


_states: dict[str, tuple[tuple[str, ...], ...]] = {}


def states(project: Project, new_database: Callable[[], Database]) -> tuple[tuple[str, ...], ...]:
    """What the database must hold with 0, 1, 2 … files in, found out once a process."""
    if project.name not in _states:
        _states[project.name] = project.states(new_database())
    return _states[project.name]


def test_the_table_names_every_point_there_is() -> None:
    assert {point for visits in VISITS.values() for point in visits} == OWN
    assert {(c.project, c.point) for c in CASES} >= QUICK


@pytest.mark.parametrize("case", _params(CASES))
def test_a_run_killed_at_a_point_is_settled_by_the_next(
    cli: Cli, database: Database, new_database: Callable[[], Database], case: Case
) -> None:
    project, wanted = case.project, states(case.project, new_database)
    project.write(cli, database)
    with writing(database):
        killed_at(cli, case.point)
        atomic(database, project, wanted)
        if project in (CALL, CALL_FOR_WORK):
            decide(cli, database, must=case.point in UNDECIDED, may=case.point == "A7:2")
        settled(cli, database, project.versions, like=wanted[-1])
        atomic(database, project, wanted)


def decide(cli: Cli, database: Database, *, must: bool, may: bool) -> None:
    """What a person does whom Autopilot asks whether a procedure did all of its work: looks, and runs the hint's SQL."""
    ran = cli(*QUICKLY)
    asked = ran.code == 4 and document(ran)["error"]["code"] == "half_done_statement"
    assert asked == must or may, ran.err
    if not asked:
        assert ran.code == 0, ran.err
        return
    hint = document(ran)["error"]["hint"]
    is_done = database.value("select count(*) from effects where label like 'batch%'") == 3
    answer = re.search(r"UPDATE automation[^;]*;" if is_done else r"DELETE FROM automation[^;]*;", hint)
    assert answer is not None, hint
    database.run(answer[0])


@pytest.mark.faults
@pytest.mark.parametrize("project", PROJECTS, ids=[p.name for p in PROJECTS])
def test_no_point_is_visited_more_often_than_the_table_says(
    cli: Cli, new_database: Callable[[], Database], project: Project
) -> None:
    wanted = states(project, new_database)
    for point in sorted(OWN):
        database = new_database()
        cli.env["SUPABASE_DB_URL"] = database.url
        project.write(cli, database)
        once_more = f"{point}:{VISITS[project].get(point, 0) + 1}"
        ran = cli(*QUICKLY, AUTOPILOT_TEST="1", AUTOPILOT_TEST_KILLPOINT=once_more)
        assert ran.code == 0, f"{once_more}: {ran.err}"
        everything_holds(database, project.versions, like=wanted[-1])


@pytest.mark.faults
@pytest.mark.parametrize("seed", range(40))
def test_runs_killed_at_any_moment_and_again_are_settled_by_the_last(
    cli: Cli, database: Database, new_database: Callable[[], Database], seed: int
) -> None:
    chance = random.Random(seed)
    project = chance.choice([p for p in PROJECTS if p not in (CALL, CALL_FOR_WORK)])
    wanted = states(project, new_database)
    project.write(cli, database)
    with writing(database):
        for _ in range(chance.randint(1, 4)):
            if chance.random() < 0.5:
                with started(cli, *QUICKLY) as process:
                    time.sleep(chance.uniform(0.1, 1.5))
                    process.kill()
            else:
                point = chance.choice(sorted(POINTS))
                cli(*QUICKLY, AUTOPILOT_TEST="1", AUTOPILOT_TEST_KILLPOINT=f"{point}:{chance.randint(1, 3)}")
            atomic(database, project, wanted)
        settled(cli, database, project.versions, like=wanted[-1])


@pytest.mark.parametrize("server_ends", ["before the next run", "during the next run"])
def test_a_run_killed_while_the_server_works_on_its_statement_is_settled(
    cli: Cli, database: Database, new_database: Callable[[], Database], server_ends: str
) -> None:
    project = Project(
        name=f"sleep, {server_ends}",
        files=(
            File(name="1_quick.sql", statements=("insert into effects values ('quick')",)),
            File(name="2_slow.sql", statements=("insert into effects values ('slow')", "select pg_sleep(2)")),
        ),
    )
    wanted = states(project, new_database)
    project.write(cli, database)
    sleeping = (
        "select count(*) from pg_stat_activity where datname = current_database() and application_name like 'autopilot:%'"
        " and wait_event = 'PgSleep'"
    )
    with writing(database):
        with started(cli, *QUICKLY) as process:
            until(lambda: database.value(sleeping), process)
            process.kill()
            assert process.wait() == -signal.SIGKILL
        assert atomic(database, project, wanted).applied == ()
        if server_ends == "before the next run":
            until(lambda: database.value(sleeping) == 0)
        settled(cli, database, project.versions, like=wanted[-1])


@pytest.mark.parametrize("blocker_ends", ["before the next run", "during the next run"])
def test_an_index_build_whose_run_was_killed_while_it_waited_is_there_once_and_valid(
    cli: Cli, database: Database, new_database: Callable[[], Database], blocker_ends: str
) -> None:
    wanted = states(INDEX, new_database)
    INDEX.write(cli, database)
    waiting = (
        "select count(*) from pg_stat_activity where datname = current_database() and application_name like 'autopilot:%'"
        " and query ilike 'create index concurrently%' and wait_event_type = 'Lock'"
    )
    with psycopg.connect(database.url) as blocker:
        blocker.execute("insert into writes values (-1)")
        with started(cli, *QUICKLY) as process:
            until(lambda: database.value(waiting), process)
            process.kill()
            assert process.wait() == -signal.SIGKILL
        if blocker_ends == "before the next run":
            blocker.rollback()
        with started(cli, *QUICKLY) as following:
            until(lambda: database.value("select count(*) from automation.runs") == 2, following)
            blocker.rollback()
            ran = ended(following)
    assert ran.code == 0, ran.err
    settled(cli, database, INDEX.versions, like=wanted[-1])
    assert database.rows(
        "select indexrelid::regclass::text, indisvalid from pg_index where indrelid = 'writes'::regclass order by 1"
    ) == [("writes_downwards", True), ("writes_pkey", True)]


def test_a_file_that_was_begun_and_then_changed_into_one_transaction_is_not_begun_anew(cli: Cli, database: Database) -> None:
    INDEX.write(cli, database)
    killed_at(cli, "A9")
    cli.write("1_index.sql", "create table if not exists before_it (id int);\ninsert into effects values ('before the index');\n")
    ran = cli(*QUICKLY)
    assert (ran.code, document(ran)["error"]["code"]) == (4, "changed_half_way"), ran.err
    assert database.rows("select label, count(*) from effects group by 1") == [("before the index", 1)]
    cli.write(INDEX.files[0].name, INDEX.files[0].text)
    settled(cli, database, INDEX.versions)


@pytest.mark.parametrize(
    "last", ["", "create index concurrently writes_downwards on writes (n desc)"], ids=["plain", "with an index"]
)
@pytest.mark.parametrize("point", ["A8:1", "A8:2"])
def test_of_several_blocks_only_the_one_that_commits_is_cut_out_by_the_next_run_too(
    cli: Cli, database: Database, new_database: Callable[[], Database], last: str, point: str
) -> None:
    blocks = (
        "insert into effects values ('before')",
        "do $$ begin insert into effects values ('a block'); end $$",
        "do $$ begin insert into effects values ('a block that commits'); commit; end $$",
        "do $$ begin insert into effects values ('another block'); end $$",
    )
    project = Project(
        name=f"blocks {last}",
        atomic=False,
        files=(File(name="1_blocks.sql", statements=(*blocks, last) if last else blocks),),
    )
    wanted = states(project, new_database)
    project.write(cli, database)
    killed_at(cli, point)
    settled(cli, database, project.versions, like=wanted[-1])
