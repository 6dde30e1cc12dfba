"""The wire breaks at any message: what was said of the run is true, and the next run brings everything in, once."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass

import pytest
from tests.conftest import Cli, Database, Ran
from tests.oracle import (
    NET_S,
    QUICKLY,
    File,
    Project,
    State,
    atomic,
    document,
    ended,
    settled,
    started,
    state,
    told_the_truth,
    until,
    writing,
)
from tests.slices import slice_of
from tests.test_kill_points import FILE_BY_FILE, INDEX, LABEL, OWN_BEGIN, TOGETHER, states
from tests.wireproxy import LOCKS, READS, WRITES, Fault, Message, Proxy, What, When, answer_to, of, proxied, requests_of

#: What the run's own patience is in these tests, and what a run may take that has lost it.
IMPATIENT = "apply_timeout_s = 3\n"
GIVES_UP_S = 40.0

COMMIT = of(WRITES, 2, text=b"COMMIT")
STATEMENTS = of(WRITES, 2, text=b"insert into effects")
ONE = Project(
    name="one", files=(File(name="1_one.sql", statements=("create table one (id int)", "insert into effects values ('one')")),)
)


@dataclass(frozen=True, kw_only=True)
class Broken:
    """A run whose wire broke."""

    ran: Ran
    before: State
    #: After its sessions have ended on the server.
    after: State
    proxy: Proxy

    @property
    def code(self) -> str | None:
        error = told_the_truth(self.ran, self.before, self.after)["error"]
        return None if error is None else str(error["code"])


def broken(cli: Cli, database: Database, project: Project, fault: Fault, *, net_s: float = NET_S) -> Broken:
    """Runs `project` by way of a proxy with a fault; a safety net ends what hangs."""
    before = state(database)
    with proxied(database.url, fault) as proxy, started(cli, *QUICKLY, "--db", proxy.url(database.url)) as process:
        ran = ended(process, net_s=net_s)
    until(lambda: database.value(_AT_WORK) == 0)
    return Broken(ran=ran, before=before, after=state(database), proxy=proxy)


_AT_WORK = "select count(*) from pg_stat_activity where datname = current_database() and application_name like 'autopilot%'"


@pytest.mark.parametrize("what", ["cut", "tear"])
def test_a_commit_that_never_reached_the_server_is_rolled_back_and_said_so(
    cli: Cli, database: Database, new_database: Callable[[], Database], what: What
) -> None:
    wanted = states(TOGETHER, new_database)
    TOGETHER.write(cli, database)
    run = broken(cli, database, TOGETHER, Fault(matches=COMMIT, what=what))
    assert (run.ran.code, run.code) == (3, "connection_lost"), run.ran.err
    assert "Rolled back: none of the 3 files is in" in run.ran.err
    assert run.after.applied == ()
    settled(cli, database, TOGETHER.versions, like=wanted[-1])


@pytest.mark.parametrize("project", [ONE, TOGETHER], ids=["one file", "three files"])
def test_a_commit_whose_answer_was_lost_is_found_out(
    cli: Cli, database: Database, new_database: Callable[[], Database], project: Project
) -> None:
    wanted = states(project, new_database)
    project.write(cli, database)
    run = broken(cli, database, project, Fault(matches=COMMIT, what="cut", when="after"))
    assert (run.ran.code, run.code) == (0, None), run.ran.err
    assert run.after.applied == project.versions
    settled(cli, database, project.versions, like=wanted[-1])


@pytest.mark.parametrize(
    ("when", "code", "applied"), [("before", 3, ()), ("after", 0, ("1",))], ids=["COMMIT swallowed", "its answer swallowed"]
)
def test_a_commit_in_a_black_hole_ends_by_our_own_deadline_and_is_found_out(
    cli: Cli, database: Database, new_database: Callable[[], Database], when: When, code: int, applied: tuple[str, ...]
) -> None:
    wanted = states(ONE, new_database)
    ONE.write(cli, database)
    (cli.home / "autopilot.toml").write_text(IMPATIENT)
    run = broken(cli, database, ONE, Fault(matches=COMMIT, what="hole", when=when), net_s=GIVES_UP_S)
    assert run.ran.code == code, run.ran.err
    assert (run.code is None) is (code == 0)
    assert run.after.applied == applied
    settled(cli, database, ONE.versions, like=wanted[-1])


def test_the_server_is_told_to_notice_a_client_that_fell_silent_with_its_network(cli: Cli, database: Database) -> None:
    settings = ("tcp_keepalives_idle", "tcp_keepalives_interval", "tcp_keepalives_count")
    asked = tuple(f"insert into effects select current_setting('{name}')" for name in settings)
    Project(name="asks", files=(File(name="1_asks.sql", statements=asked),)).write(cli, database)
    assert cli(*QUICKLY).code == 0
    assert [label for (label,) in database.rows("select label from effects")] == ["10", "5", "3"]


@pytest.mark.parametrize("when", ["before", pytest.param("after", marks=pytest.mark.faults)])
def test_statements_in_a_black_hole_end_by_our_own_deadline_rolled_back(
    cli: Cli, database: Database, new_database: Callable[[], Database], when: When
) -> None:
    wanted = states(TOGETHER, new_database)
    TOGETHER.write(cli, database)
    (cli.home / "autopilot.toml").write_text(IMPATIENT)
    run = broken(cli, database, TOGETHER, Fault(matches=STATEMENTS, what="hole", when=when), net_s=GIVES_UP_S)
    assert (run.ran.code, run.code) == (3, "apply_timed_out"), run.ran.err
    assert run.after.applied == ()
    assert database.rows("select state from automation.runs") == [("rolled_back",)]
    assert database.rows("select status from automation.migration_log") == [("failure",)]
    settled(cli, database, TOGETHER.versions, like=wanted[-1])


INDEX_FIRST = Project(
    name="index first",
    atomic=False,
    files=(File(name="1_index.sql", statements=("create index concurrently writes_downwards on writes (n desc)",)),),
)
PROGRESS, INTENT, END = b"SELECT segment, state, before", b"excluded.before", b"UPDATE automation.migration_log"


@pytest.mark.parametrize(("project", "text", "then_closed", "code", "words"), [
    pytest.param(INDEX_FIRST, PROGRESS, False, 3, "the database is as it was", id="nothing is in"),
    pytest.param(INDEX, INTENT, False, 4, "Begun, and gone on with by the next run: 1 (1 of its parts done). Not applied: 2.",
                 id="a part is in"),
    pytest.param(ONE, END, False, 4, "The migrations are applied and recorded", id="all is in"),
    pytest.param(INDEX_FIRST, PROGRESS, True, 4, "it could not be asked what is in", id="nobody knows", marks=pytest.mark.faults),
])  # fmt: skip
def test_a_run_that_loses_its_journal_while_it_applies_looks_up_what_is_in(
    cli: Cli, database: Database, new_database: Callable[[], Database], project: Project, text: bytes, then_closed: bool,
    code: int, words: str,
) -> None:  # fmt: skip
    wanted = states(project, new_database)
    project.write(cli, database)
    fault = Fault(matches=answer_to(WRITES, 1, text=text), what="cut", then_closed=then_closed)
    run = broken(cli, database, project, fault, net_s=NET_S * 2)
    assert (run.ran.code, run.code) == (code, "database_lost"), run.ran.err
    assert words in document(run.ran)["error"]["state"]
    if not then_closed:
        assert database.rows("select id from automation.migration_log where status = 'pending'") == []
        assert database.rows("select run_id from automation.runs where state = 'running'") == []
    settled(cli, database, project.versions, like=wanted[-1])


@pytest.mark.faults
@pytest.mark.parametrize(("when", "applied"), [("before", ()), ("after", ("1",))])
def test_a_commit_in_doubt_that_nobody_can_be_asked_about_is_said_to_be_so_and_settled_later(
    cli: Cli, database: Database, new_database: Callable[[], Database], when: When, applied: tuple[str, ...]
) -> None:
    wanted = states(ONE, new_database)
    ONE.write(cli, database)
    fault = Fault(matches=COMMIT, what="cut", when=when, then_closed=True)
    run = broken(cli, database, ONE, fault, net_s=NET_S * 2)
    assert (run.ran.code, run.code) == (4, "commit_in_doubt"), run.ran.err
    assert run.after.applied == applied
    settled(cli, database, ONE.versions, like=wanted[-1])


@pytest.mark.faults
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize(
    ("session", "number"), [(READS, 1), (LOCKS, 1), (WRITES, 1), (WRITES, 2)], ids=["first look", "lock", "journal", "files"]
)
def test_a_session_that_falls_into_a_black_hole_while_the_server_works_does_not_hold_the_run_forever(
    cli: Cli, database: Database, new_database: Callable[[], Database], session: str, number: int, when: When
) -> None:
    """The 3 s of patience are with the statement: the run ends soon after, whichever of its sessions is dumb."""
    project = Project(
        name="slow",
        files=(File(name="1_slow.sql", statements=("insert into effects values ('slow')", "select pg_sleep(5)")),),
        settings=IMPATIENT,
    )
    wanted = states(project, new_database)
    project.write(cli, database)
    # the journal falls silent with the intent to apply; the lock with whatever is asked of it while the files run
    intent = b"INSERT INTO automation.migration_log"
    text = {(WRITES, 1): intent, (LOCKS, 1): b"pg_blocking_pids", (WRITES, 2): b"pg_sleep"}.get((session, number), b"")
    fault = Fault(matches=answer_to(session, number, text=text), what="hole", when=when)
    run = broken(cli, database, project, fault, net_s=GIVES_UP_S)
    assert run.ran.code != 0, run.ran.out
    assert run.proxy.happened is not None, "the fault was never reached"
    assert run.after.applied == ()
    (cli.home / "autopilot.toml").write_text("apply_timeout_s = 30\n")
    settled(cli, database, project.versions, like=wanted[-1])


def at_every_request(
    cli: Cli, new_database: Callable[[], Database], project: Project, what: What, when: When, matches: Callable[[Message], bool]
) -> int:
    """Breaks the wire at the first request, then at the second, … until a run comes through; returns how many there were."""
    wanted, failures = states(project, new_database), []
    for nth in itertools.count(1):
        database = new_database()
        cli.env["SUPABASE_DB_URL"] = database.url
        project.write(cli, database)
        with writing(database):
            run = broken(cli, database, project, Fault(matches=matches, what=what, when=when, nth=nth))
            message = run.proxy.happened
            try:
                came_to_a_good_end(cli, database, project, run, wanted)
            except AssertionError as cause:
                failures.append(f"{what} {when} request {nth}, {message}: {cause}\nIt had said: {run.ran.err}\n")
        if message is None:
            break
    assert run.ran.code == 0, run.ran.err
    assert not failures, "\n".join(failures)
    return nth - 1


def came_to_a_good_end(cli: Cli, database: Database, project: Project, run: Broken, wanted: tuple[tuple[str, ...], ...]) -> None:
    """What the run said is true, and the next one settles the rest."""
    outcome = told_the_truth(run.ran, run.before, run.after)["outcome"]
    atomic(database, project, wanted)
    assert run.ran.code in {0, 1, 3, 4}, f"exit {run.ran.code}"
    assert (outcome == "released") is (run.ran.code == 0), outcome
    assert run.ran.code != 0 or run.after.applied == project.versions, run.after
    settled(cli, database, project.versions, like=wanted[-1])


@pytest.mark.parametrize("when", slice_of(["before", "after"], "after"))
def test_cut_at_every_request_of_the_session_that_applies(cli: Cli, new_database: Callable[[], Database], when: When) -> None:
    assert at_every_request(cli, new_database, ONE, "cut", when, requests_of(WRITES, 2)) >= 4


@pytest.mark.faults
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("what", ["cut before", "cut after", "tear before"])
@pytest.mark.parametrize(
    "project", [TOGETHER, FILE_BY_FILE, OWN_BEGIN, INDEX, LABEL], ids=["together", "file by file", "own begin", "index", "label"]
)
def test_cut_at_every_request_of_the_session_that_applies_whatever_the_project(
    cli: Cli, new_database: Callable[[], Database], project: Project, what: str
) -> None:
    how, when = what.split()
    assert at_every_request(cli, new_database, project, how, when, requests_of(WRITES, 2)) >= 4  # type: ignore[arg-type]  # by the table


@pytest.mark.faults
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("project", [TOGETHER, INDEX], ids=["together", "index"])
@pytest.mark.parametrize(("session", "number"), [(READS, 1), (LOCKS, 1), (WRITES, 1)], ids=["first look", "lock", "journal"])
def test_cut_at_every_request_of_the_other_sessions(
    cli: Cli, new_database: Callable[[], Database], project: Project, session: str, number: int, when: When
) -> None:
    assert at_every_request(cli, new_database, project, "cut", when, requests_of(session, number)) >= 3
