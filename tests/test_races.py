"""Runs at the same time, runs that stand still, runs that lose their lock: each migration is in exactly once."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable

import pytest
from tests.conftest import Cli, Database
from tests.oracle import QUICKLY, File, Project, atomic, document, ended, settled, started, until, writing
from tests.test_kill_points import INDEX, states

SMALL = Project(
    name="small",
    files=(
        File(name="1_one.sql", statements=("create table one (id int)", "insert into effects values ('one')")),
        File(name="2_two.sql", statements=("create table two (id int)", "insert into effects values ('two')")),
    ),
)
APART = Project(name="apart", files=SMALL.files, settings='transaction = "file"\n')
SLOW = Project(
    name="slow",
    files=(File(name="1_slow.sql", statements=("insert into effects values ('slow')", "select pg_sleep(2)")),),
)
SLOW_OUTSIDE = Project(
    name="slow outside a transaction",
    atomic=False,
    files=(
        File(
            name="1_slow.sql",
            statements=(
                "insert into effects values ('before')",
                "create index concurrently writes_downwards on writes (n desc)",
                "insert into effects select 'after' from pg_sleep(2)",
            ),
        ),
    ),
)

#: Another run that has taken the lock ends what it takes for an orphan after 10 s.
SLOWER_THAN_GRACE = Project(
    name="slower than the grace",
    files=(File(name="1_slow.sql", statements=("insert into effects values ('slow')", "select pg_sleep(13)")),),
)
ONE_OR_PARTS = (pytest.param(SLOW, id="one transaction"), pytest.param(SLOW_OUTSIDE, id="parts", marks=pytest.mark.faults))

SLEEPS = (
    "select pid from pg_stat_activity where datname = current_database() and application_name like 'autopilot:%'"
    " and wait_event = 'PgSleep'"
)
OURS = "select pid from pg_stat_activity where datname = current_database() and application_name like '{}%'"


@pytest.mark.parametrize("project", [SMALL, APART, INDEX], ids=["together", "file by file", "index"])
@pytest.mark.parametrize(("runs", "patience"), [
    pytest.param(2, "60"), pytest.param(5, "0"), pytest.param(5, "60", marks=pytest.mark.faults),
    pytest.param(20, "60", marks=pytest.mark.faults), pytest.param(20, "1", marks=pytest.mark.faults),
])  # fmt: skip
def test_of_runs_at_once_one_works_and_the_others_wait_or_step_aside(
    cli: Cli, database: Database, new_database: Callable[[], Database], project: Project, runs: int, patience: str
) -> None:
    wanted = states(project, new_database)
    project.write(cli, database)
    with writing(database), contextlib.ExitStack() as stack:
        processes = [stack.enter_context(started(cli, *QUICKLY, "--lock-wait", patience)) for _ in range(runs)]
        ran = [ended(process, net_s=200) for process in processes]
    assert {r.code for r in ran} <= {0, 75}, [r.err for r in ran if r.code not in {0, 75}]
    outcomes = [document(r) for r in ran]
    assert sorted(o["outcome"] for o in outcomes if o["applied"]) == ["released"], outcomes
    assert [o["applied"] for o in outcomes if o["applied"]] == [list(project.versions)]
    if patience == "60":
        assert {r.code for r in ran} == {0}
    atomic(database, project, wanted)
    settled(cli, database, project.versions, like=wanted[-1])


def ended_by_the_server(database: Database, name: str) -> None:
    """Ends all sessions of that name, and waits until they are gone."""
    pids = [pid for (pid,) in database.rows(OURS.format(name))]
    assert pids, f"nobody is called {name}"
    for pid in pids:
        database.run(f"select pg_terminate_backend({pid})", admin=True)
    until(lambda: not {pid for (pid,) in database.rows(OURS.format(name))} & set(pids))


@pytest.mark.parametrize(
    "project", [SLOW, pytest.param(SLOW_OUTSIDE, marks=pytest.mark.faults)], ids=["one transaction", "parts"]
)
def test_a_stopped_run_keeps_the_others_out_and_goes_on_when_it_wakes(
    cli: Cli, database: Database, new_database: Callable[[], Database], project: Project
) -> None:
    wanted = states(project, new_database)
    project.write(cli, database)
    with started(cli, *QUICKLY) as stopped:
        until(lambda: database.rows(SLEEPS), stopped)
        os.kill(stopped.pid, signal.SIGSTOP)
        aside = cli(*QUICKLY, "--lock-wait", "0")
        assert (aside.code, document(aside)["outcome"]) == (75, "locked"), aside.err
        until(lambda: not database.rows(SLEEPS))
        os.kill(stopped.pid, signal.SIGCONT)
        ran = ended(stopped)
    assert ran.code == 0, ran.err
    settled(cli, database, project.versions, like=wanted[-1])


@pytest.mark.parametrize(
    "project", [SLOW, pytest.param(SLOW_OUTSIDE, marks=pytest.mark.faults)], ids=["one transaction", "parts"]
)
@pytest.mark.parametrize("lost", ["all its sessions", pytest.param("its lock", marks=pytest.mark.faults)])
def test_a_stopped_run_that_wakes_after_another_has_done_its_work_does_not_do_it_again(
    cli: Cli, database: Database, new_database: Callable[[], Database], project: Project, lost: str
) -> None:
    wanted = states(project, new_database)
    project.write(cli, database)
    with started(cli, *QUICKLY) as stopped:
        until(lambda: database.rows(SLEEPS), stopped)
        os.kill(stopped.pid, signal.SIGSTOP)
        ended_by_the_server(database, "autopilot-lock:")
        if lost == "all its sessions":
            ended_by_the_server(database, "autopilot:")
        other = cli(*QUICKLY)
        assert (other.code, document(other)["outcome"]) == (0, "released"), other.err
        after = atomic(database, project, wanted)
        os.kill(stopped.pid, signal.SIGCONT)
        woken = ended(stopped)
    assert woken.code in {3, 4}, woken.err
    assert "Traceback" not in woken.err
    assert atomic(database, project, wanted) == after
    settled(cli, database, project.versions, like=wanted[-1])


@pytest.mark.parametrize("project", [*ONE_OR_PARTS, pytest.param(SLOWER_THAN_GRACE, id="long", marks=pytest.mark.faults)])
@pytest.mark.parametrize("another", [False, True], ids=["alone", "with another run waiting"])
def test_a_run_whose_lock_session_is_ended_while_it_applies_does_its_work_once_or_not_at_all(
    cli: Cli, database: Database, new_database: Callable[[], Database], project: Project, another: bool
) -> None:
    wanted = states(project, new_database)
    project.write(cli, database)
    with contextlib.ExitStack() as stack:
        robbed = stack.enter_context(started(cli, *QUICKLY))
        until(lambda: database.rows(SLEEPS), robbed)
        others = [stack.enter_context(started(cli, *QUICKLY, "--lock-wait", "60")) for _ in range(another)]
        holder = database.value(
            "select pid from pg_locks where locktype = 'advisory' and granted"
            " and database = (select oid from pg_database where datname = current_database())"
        )
        database.run(f"select pg_terminate_backend({holder})", admin=True)
        ran = [ended(process) for process in (robbed, *others)]
    assert ran[0].code in {0, 3, 4}, ran[0].err
    assert {r.code for r in ran[1:]} <= {0}, [r.err for r in ran]
    assert not any("Traceback" in r.err for r in ran)
    assert sum(document(r)["outcome"] == "released" for r in ran) == 1, [r.out for r in ran]
    atomic(database, project, wanted)
    settled(cli, database, project.versions, like=wanted[-1])
