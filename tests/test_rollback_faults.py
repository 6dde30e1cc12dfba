"""Going back under fire: killed, cut, crowded, in the way of others. Afterwards all of it is undone and recorded, or nothing."""

from __future__ import annotations

import json
import re
import signal
import threading
from dataclasses import dataclass
from typing import Any

import psycopg
import pytest
from tests.conftest import OWNER, Cli, Database, Ran
from tests.oracle import NET_S, ended, started, until
from tests.slices import slice_of
from tests.test_deploy import CLOSED, LAST, MORE, Stage, stage, table
from tests.test_deploy import document as told_by
from tests.test_rollback import SCENE, schema
from tests.wireproxy import WRITES, Fault, What, When, answer_to, of, proxied, requests_of

__all__ = ["stage"]

QUICK = ("migrate", "--json", "--no-deploy", "--no-backup", "--yes-destroy-data")
CHANGES = {
    "rows": "update users set name = upper(name); delete from orders where id > 50; insert into old values (3, 'three');",
    "tables": "drop table old; create table new (id int); insert into new values (1);",
    "columns": "alter table users drop column age; alter table orders add column more text default 'm';",
}
ALL = "".join(CHANGES.values()).replace("insert into old values (3, 'three');", "")
#: Fails in the target only: no rehearsal meets it.
ONLY_HERE = (
    "do $$ begin if current_setting('application_name') like 'autopilot:%' then raise exception 'only here'; end if; end $$;"
)
#: Sessions of ours that are still on the server.
SESSIONS = "select count(*) from pg_stat_activity where datname = current_database() and application_name like 'autopilot%'"


@dataclass(frozen=True, kw_only=True)
class Seen:
    """All that a release may change and that going back must bring back."""

    schema: list[tuple[Any, ...]]
    rows: dict[str, list[tuple[Any, ...]]]


def seen(database: Database) -> Seen:
    tables = [t for (t,) in database.rows("select tablename from pg_tables where schemaname = 'public' order by 1")]
    return Seen(
        schema=schema(database), rows={t: database.rows(f"select to_jsonb(t)::text from public.{t} t order by 1") for t in tables}
    )


def document(ran: Ran) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(ran.out)
    return found


def released(cli: Cli, name: str, text: str, *arguments: str) -> dict[str, Any]:
    cli.write(name, text)
    ran = cli(*(arguments or QUICK))
    assert ran.code == 0, ran.err
    return document(ran)


def recorded(database: Database) -> list[str]:
    """How the releases and ways back ended, and whether the ledger agrees."""
    return [s for (s,) in database.rows("select status from automation.migration_log order by id")]


def in_ledger(database: Database) -> list[str]:
    ours = [v for (v,) in database.rows("select version from automation.applied_migrations order by 1")]
    theirs = [v for (v,) in database.rows("select version from supabase_migrations.schema_migrations order by 1")]
    assert ours == theirs
    return ours


def wholly_undone_or_not_at_all(database: Database, before: Seen, after: Seen, versions: list[str]) -> bool:
    """Whether it is undone; schema, rows, ledgers and log say the same."""
    until(lambda: database.value(SESSIONS) == 0)
    undone = in_ledger(database) == []
    assert undone or in_ledger(database) == versions
    assert seen(database) == (before if undone else after)
    assert ("rollback" in recorded(database)) is undone
    marks = database.rows("select undone_at is not null from automation.ways_back")
    assert {mark for (mark,) in marks} == {undone}
    return undone


# --- killed ---


def killed_at(cli: Cli, point: str, *arguments: str) -> None:
    ran = cli(*arguments, AUTOPILOT_TEST="1", AUTOPILOT_TEST_KILLPOINT=point)
    assert ran.code == -signal.SIGKILL, f"not killed at {point}: exit {ran.code}\n{ran.err}"


POINTS = {"X1": False, "X3": False, "X3:2": False, "X4": False, "X7": True}


@pytest.mark.parametrize("point", slice_of(POINTS, "X3:2", "X7"))
@pytest.mark.parametrize("what", [
    "all", *(pytest.param(name, marks=pytest.mark.faults) for name in CHANGES),
])  # fmt: skip
def test_killed_it_is_wholly_undone_or_not_at_all_and_the_next_goes_on(
    cli: Cli, database: Database, point: str, what: str
) -> None:
    undone = POINTS[point]
    database.run(SCENE)
    before = seen(database)
    first = released(cli, "1_a.sql", CHANGES.get(what, ALL))
    released(cli, "2_b.sql", "create table later (id int); update orders set note = 'n' where id < 5;")
    after = seen(database)
    killed_at(cli, point, "rollback", "--to", first["run_id"])
    assert wholly_undone_or_not_at_all(database, before, after, ["1", "2"]) is undone
    again = cli("rollback", "--to", first["run_id"], "--json")
    assert (again.code, document(again)["undone" if not undone else "error"]) == (
        (0, ["2", "1"]) if not undone else (1, document(again)["error"])
    ), again.err
    assert wholly_undone_or_not_at_all(database, before, after, ["1", "2"])
    assert database.rows("select run_id from automation.runs where state = 'running'") == []
    forward = cli(*QUICK)
    assert (forward.code, document(forward)["applied"]) == (0, ["1", "2"]), forward.err
    assert seen(database) == after


def test_killed_the_next_migrate_goes_on_as_well(cli: Cli, database: Database) -> None:
    database.run(SCENE)
    released(cli, "1_a.sql", ALL)
    killed_at(cli, "X4", "rollback")
    assert released(cli, "2_b.sql", "create table later (id int);")["applied"] == ["2"]
    assert database.rows("select run_id from automation.runs where state = 'running'") == []
    assert cli("rollback").code == 0
    assert in_ledger(database) == ["1"]


def test_ctrl_c_rolls_going_back_back(cli: Cli, database: Database) -> None:
    database.run(SCENE)
    before = seen(database)
    released(cli, "1_a.sql", ALL)
    after = seen(database)
    with psycopg.connect(database.admin_url) as other:
        other.execute("select count(*) from users")
        with started(cli, "rollback", "--json") as process:
            until(lambda: waits_for_lock(database), process)
            process.send_signal(signal.SIGINT)
            ran = ended(process)
    assert (ran.code, document(ran)["error"]["code"]) == (130, "stopped"), ran.err
    assert "Going back was rolled back" in ran.err
    assert not wholly_undone_or_not_at_all(database, before, after, ["1"])
    assert database.value("select state from automation.runs order by started_at desc limit 1") == "stopped"


def waits_for_lock(database: Database) -> int:
    return int(database.value(f"{SESSIONS} and wait_event_type = 'Lock'"))


# --- cut ---

COMMIT = of(WRITES, 1, text=b"COMMIT")
UNDONE = answer_to(WRITES, 1, text=b"UPDATE automation.ways_back")


@pytest.mark.parametrize(("matches", "what", "when", "then_closed", "code", "undone"), [
    pytest.param(COMMIT, "cut", "before", False, 3, False, id="COMMIT never came"),
    pytest.param(COMMIT, "tear", "before", False, 3, False, id="half of COMMIT came", marks=pytest.mark.faults),
    pytest.param(COMMIT, "cut", "after", False, 0, True, id="its answer was lost"),
    pytest.param(COMMIT, "cut", "after", True, 4, True, id="nobody can be asked", marks=pytest.mark.faults),
    pytest.param(UNDONE, "cut", "after", False, 3, False, id="before COMMIT"),
])  # fmt: skip
def test_a_cut_link_is_found_out_and_told(
    cli: Cli, database: Database, matches: Any, what: What, when: When, then_closed: bool, code: int, undone: bool
) -> None:
    database.run(SCENE)
    before = seen(database)
    released(cli, "1_a.sql", ALL)
    after = seen(database)
    # settling and opening the run commit too: the COMMIT that counts is the one after a release was undone
    fault = Fault(matches=after_undoing(matches), what=what, when=when, then_closed=then_closed)
    with proxied(database.url, fault) as proxy, started(cli, "rollback", "--json", "--db", proxy.url(database.url)) as process:
        ran = ended(process, net_s=NET_S * 2)
    assert proxy.happened is not None
    assert ran.code == code, ran.err
    assert "Traceback" not in ran.err
    assert "did not expect" not in ran.err
    assert wholly_undone_or_not_at_all(database, before, after, ["1"]) is undone
    if code == 4:
        assert document(ran)["error"]["code"] == "commit_in_doubt"
    assert cli("rollback").code == (1 if undone else 0)
    assert wholly_undone_or_not_at_all(database, before, after, ["1"])


def after_undoing(matches: Any) -> Any:
    begun = False

    def found(message: Any) -> bool:
        nonlocal begun
        begun = begun or b"UPDATE automation.ways_back" in message.body
        return begun and bool(matches(message))

    return found


@pytest.mark.faults
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("when", ["before", "after"])
def test_cut_at_every_tenth_request(cli: Cli, database: Database, when: When) -> None:
    database.run(SCENE)
    before = seen(database)
    released(cli, "1_a.sql", ALL)
    after = seen(database)
    for nth in range(5, 2000, 10):
        fault = Fault(matches=requests_of(WRITES, 1), what="cut", when=when, nth=nth)
        with (
            proxied(database.url, fault) as proxy,
            started(cli, "rollback", "--json", "--db", proxy.url(database.url)) as process,
        ):
            ran = ended(process, net_s=NET_S * 2)
        assert "did not expect" not in ran.err, f"request {nth}: {ran.err}"
        undone = wholly_undone_or_not_at_all(database, before, after, ["1"])
        assert (ran.code == 0) is undone, f"request {nth}: exit {ran.code}, {ran.err}"
        if undone:
            break
    assert undone


# --- crowded ---


def test_another_run_holds_the_lock(cli: Cli, database: Database) -> None:
    database.run(SCENE)
    released(cli, "1_a.sql", "create table new (id int);")
    (cli.home / "autopilot.toml").write_text("lock_wait_s = 0.3\n")
    cli.write("2_slow.sql", "select pg_sleep(30);")
    with started(cli, *QUICK) as process:
        until(lambda: database.value(f"{SESSIONS} and query like '%pg_sleep(30)%'"), process)
        ran = cli("rollback", "--json")
        assert (ran.code, document(ran)["error"]["code"]) == (75, "locked"), ran.err
    assert database.value("select to_regclass('new')") == "new"


def test_tables_in_use_are_waited_for_let_go_and_told(cli: Cli, database: Database) -> None:
    database.run(SCENE)
    before = seen(database)
    released(cli, "1_a.sql", ALL)
    after = seen(database)
    (cli.home / "autopilot.toml").write_text("lock_timeout_s = 0.3\nlock_tries = 2\n")
    with psycopg.connect(database.admin_url) as other:
        other.execute("select count(*) from users")
        ran = cli("rollback", "--json")
    told = document(ran)["error"]
    assert (ran.code, told["code"], told["retryable"]) == (3, "undo_locked", True), ran.err
    assert "everything was let go, and is tried again (1 of 2)" in ran.err
    assert not wholly_undone_or_not_at_all(database, before, after, ["1"])
    assert cli("rollback").code == 0
    assert wholly_undone_or_not_at_all(database, before, after, ["1"])


def test_tables_that_come_free_in_time_hold_nothing_up(cli: Cli, database: Database) -> None:
    database.run(SCENE)
    released(cli, "1_a.sql", ALL)
    (cli.home / "autopilot.toml").write_text("lock_timeout_s = 0.3\n")
    with psycopg.connect(database.admin_url) as other:
        other.execute("select count(*) from users")
        with started(cli, "rollback", "--json") as process:
            until(lambda: waits_for_lock(database), process)
            other.rollback()
            ran = ended(process)
    assert (ran.code, document(ran)["undone"]) == (0, ["1"]), ran.err


def test_rows_written_while_it_goes_back_stay(cli: Cli, database: Database) -> None:
    database.run(SCENE + "create table writes (n int primary key);")
    released(cli, "1_a.sql", f"{ALL} alter table writes add column more text;")
    acknowledged: list[int] = []
    over = threading.Event()

    def write() -> None:
        with psycopg.connect(database.url, autocommit=True, application_name="the application") as connection:
            while not over.wait(0.005):
                connection.execute("insert into writes (n) values (%s)", (len(acknowledged),))
                acknowledged.append(len(acknowledged))

    thread = threading.Thread(target=write)
    thread.start()
    try:
        ran = cli("rollback")
    finally:
        over.set()
        thread.join(timeout=NET_S)
    assert ran.code == 0, ran.err
    assert acknowledged
    assert [n for (n,) in database.rows("select n from writes order by n")] == acknowledged


# --- in the way of others ---


def test_a_view_made_by_hand_since_is_named_and_left(cli: Cli, database: Database) -> None:
    database.run(SCENE)
    released(cli, "1_a.sql", "alter table users add column email text;")
    database.run("create view by_hand as select id, email from users;")
    ran = cli("rollback", "--json")
    assert (ran.code, document(ran)["error"]["code"]) == (1, "undo_conflict"), ran.err
    assert "by_hand" in document(ran)["error"]["message"]
    assert in_ledger(database) == ["1"]
    assert database.value("select count(email) from by_hand") == 0
    plan = cli("rollback", "--plan")
    assert "by_hand" in plan.out
    database.run("drop view by_hand;")
    assert cli("rollback").code == 0


def test_extension_objects_come_and_go_with_their_extension(cli: Cli, database: Database) -> None:
    database.run("create extension if not exists citext;" if _has_citext(database) else "", admin=True)
    if not _has_citext(database):
        pytest.skip("this server has no citext")
    database.run(SCENE)
    before = seen(database)
    released(cli, "1_a.sql", "alter table users add column email citext; update users set name = 'x' where id = 1;")
    assert cli("rollback").code == 0
    assert seen(database) == before
    assert database.value("select count(*) from pg_extension where extname = 'citext'") == 1


def _has_citext(database: Database) -> bool:
    return bool(database.value("select count(*) from pg_available_extensions where name = 'citext'"))


PARTITIONED = """
create table events (id int, at date not null, what text, primary key (id, at)) partition by range (at);
create table events_a partition of events for values from ('2026-01-01') to ('2026-02-01');
create table events_b partition of events for values from ('2026-02-01') to ('2026-03-01');
insert into events select i, '2026-01-05'::date + (i % 50), 'event ' || i from generate_series(1, 100) i;
"""


@pytest.mark.parametrize("text", slice_of([
    "update events set what = upper(what);", "drop table events_b;", "alter table events drop column what;", "truncate events_a;",
    "drop table events;",
], "drop table events_b;"))  # fmt: skip
def test_partitioned_tables_come_back(cli: Cli, database: Database, text: str) -> None:
    database.run(PARTITIONED)
    before = seen(database)
    released(cli, "1_a.sql", text)
    ran = cli("rollback")
    assert ran.code == 0, ran.err
    assert seen(database) == before
    assert database.value("select count(*) from events_b") == database.value(
        "select count(*) from events where at >= '2026-02-01'"
    )


CIRCULAR = """
create table a (id int primary key, b_id int); create table b (id int primary key, a_id int references a);
insert into a values (1, 1), (2, 2); insert into b values (1, 1), (2, 2);
alter table a add foreign key (b_id) references b;
"""


@pytest.mark.parametrize("text", slice_of([
    "drop table a, b cascade;", "update a set b_id = 3 - b_id; update b set a_id = 3 - a_id;", "alter table a drop column b_id;",
], "drop table a, b cascade;"))  # fmt: skip
def test_tables_that_refer_to_each_other_come_back(cli: Cli, database: Database, text: str) -> None:
    database.run(CIRCULAR)
    before = seen(database)
    released(cli, "1_a.sql", text)
    ran = cli("rollback")
    assert ran.code == 0, ran.err
    assert seen(database) == before


def test_without_create_on_the_database_it_is_refused_in_words_or_works(cli: Cli, database: Database) -> None:
    database.run(SCENE)
    before = seen(database)
    released(cli, "1_a.sql", "create table new (id int);")
    after = seen(database)
    database.run(
        f"revoke create on database {database.name} from {OWNER}; revoke create on database {database.name} from public;",
        admin=True,
    )
    ran = cli("rollback", "--json")
    assert "did not expect" not in ran.err
    if ran.code:
        assert document(ran)["error"]["code"] in {"undo_failed", "trash_not_allowed"}, ran.err
        assert not wholly_undone_or_not_at_all(database, before, after, ["1"])
        assert f"{database.name}" in document(ran)["error"]["message"]
    else:
        assert wholly_undone_or_not_at_all(database, before, after, ["1"])


# --- by itself ---

RAISES_ONLY_HERE = """
create function only_here(n int) returns int language plpgsql immutable as
$f$ begin if current_setting('application_name') like 'autopilot:%' then raise exception 'only here'; end if; return n; end $f$;
"""
FILE_BY_FILE = 'transaction = "file"\n'
PROVEN = ("migrate", "--json", "--no-deploy")


def test_a_later_file_that_fails_takes_the_earlier_ones_back(cli: Cli, database: Database) -> None:
    database.run(SCENE)
    before = seen(database)
    (cli.home / "autopilot.toml").write_text(FILE_BY_FILE)
    cli.write("1_a.sql", ALL)
    # what another user writes between the two files stays
    by_others = f"create function others() returns void language sql as $$ select $$; {ONLY_HERE}"
    cli.write("2_b.sql", by_others)
    ran = cli(*PROVEN)
    told = document(ran)
    assert (ran.code, told["outcome"], told["applied"], told["pending"]) == (3, "rolled_back", [], ["1", "2"]), ran.err
    assert "Undone at once" in told["error"]["state"]
    assert "stays in" not in told["error"]["hint"]
    assert seen(database) == before
    assert in_ledger(database) == []
    assert recorded(database) == ["failure", "rollback"]
    assert database.rows("select state from automation.runs") == [("rolled_back",)]
    cli.write("2_b.sql", "select 1;")
    assert document(cli(*PROVEN))["applied"] == ["1", "2"]


def test_rows_that_others_write_between_the_files_stay(cli: Cli, database: Database) -> None:
    database.run(SCENE)
    (cli.home / "autopilot.toml").write_text(FILE_BY_FILE)
    cli.write("1_a.sql", "update users set name = upper(name);")
    cli.write("2_b.sql", ONLY_HERE.replace("raise exception", "perform pg_sleep(3); raise exception"))
    with started(cli, *PROVEN) as process:
        until(lambda: database.value("select count(*) from users where name = 'USER 7'"), process)
        database.run("update users set name = 'Hers' where id = 7; insert into users values (1000, 'new', '1');")
        ran = ended(process, net_s=NET_S * 2)
    assert (ran.code, document(ran)["outcome"]) == (3, "rolled_back"), ran.err
    assert database.rows("select name from users where id in (7, 8, 1000) order by id") == [("Hers",), ("user 8",), ("new",)]
    assert "1 row left as found: changed since" in document(ran)["error"]["state"]


def test_an_index_that_cannot_be_built_takes_the_part_before_it_back(cli: Cli, database: Database) -> None:
    database.run(SCENE + RAISES_ONLY_HERE)
    before = seen(database)
    cli.write(
        "1_a.sql",
        "alter table orders add column k int; update orders set k = 1;\n"
        "create index concurrently orders_note on orders (only_here(id));\n",
    )
    ran = cli(*PROVEN)
    assert (ran.code, document(ran)["outcome"]) == (3, "rolled_back"), ran.err
    assert seen(database) == before
    assert in_ledger(database) == []
    assert database.value("select count(*) from automation.migration_segments") == 0
    assert database.value("select count(*) from pg_index where not indisvalid") == 0


def test_what_would_lose_something_stays_and_the_command_is_told(cli: Cli, database: Database) -> None:
    database.run(SCENE)
    before = seen(database)
    (cli.home / "autopilot.toml").write_text(f'{FILE_BY_FILE}keep_rows = "off"\n')
    cli.write("1_a.sql", "update users set name = upper(name);")
    cli.write("2_b.sql", ONLY_HERE)
    ran = cli(*PROVEN)
    told = document(ran)
    assert (ran.code, told["outcome"], told["applied"]) == (4, "stranded", ["1"]), ran.err
    command = f"autopilot rollback --to {told['run_id']} --accept-data-loss"
    assert command in told["error"]["hint"]
    assert "rows of users are not kept" in told["error"]["state"]
    refused = cli("rollback", "--json")
    assert (refused.code, document(refused)["error"]["code"]) == (1, "would_lose_data")
    plan = cli("rollback", "--plan", "--json")
    assert document(plan)["routes"][0]["would_lose"], plan.out
    assert cli(*command.split()[1:]).code == 0
    assert schema(database) == before.schema
    assert in_ledger(database) == []


def test_what_no_rehearsal_proved_is_left_to_a_person(cli: Cli, database: Database) -> None:
    database.run(SCENE)
    (cli.home / "autopilot.toml").write_text(FILE_BY_FILE)
    cli.write("1_a.sql", "update users set name = upper(name);")
    cli.write("2_b.sql", ONLY_HERE)
    ran = cli(*QUICK)
    told = document(ran)
    assert (ran.code, told["applied"]) == (4, ["1"]), ran.err
    command = re.search(r"`autopilot (rollback --to \w+)`", told["error"]["hint"])
    assert command is not None
    assert cli(*command[1].split()).code == 0
    assert database.value("select name from users where id = 7") == "user 7"


def test_a_file_that_was_gone_on_with_goes_back_in_one_piece(cli: Cli, database: Database) -> None:
    database.run(SCENE)
    before = seen(database)
    first = "begin; create table first (id int); update orders set note = 'n'; commit; begin; create table second (id int); "
    cli.write("1_a.sql", f"{first}{ONLY_HERE} commit;")
    assert cli(*QUICK).code == 4
    cli.write("1_a.sql", f"{first}commit;")
    ran = cli(*QUICK)
    assert ran.code == 0, ran.err
    ran = cli("rollback", "--json")
    assert (ran.code, document(ran)["undone"], len(document(ran)["runs"])) == (0, ["1"], 2), ran.err
    assert seen(database) == before
    assert database.value("select count(*) from automation.migration_segments") == 0


def test_rows_that_a_file_with_its_own_begin_changes_are_kept(cli: Cli, database: Database) -> None:
    database.run(SCENE)
    before = seen(database)
    released(cli, "1_a.sql", "begin; update orders set note = 'n'; drop table old; commit; delete from orders where id > 50;")
    assert cli("rollback").code == 0
    assert seen(database) == before


def test_ctrl_c_while_it_goes_back_by_itself_leaves_the_release_as_it_failed(cli: Cli, database: Database) -> None:
    database.run(SCENE)
    (cli.home / "autopilot.toml").write_text(f"{FILE_BY_FILE}lock_timeout_s = 30\n")
    cli.write("1_a.sql", "update users set name = upper(name);")
    cli.write("2_b.sql", ONLY_HERE.replace("raise exception", "perform pg_sleep(3); raise exception"))
    with psycopg.connect(database.admin_url) as other, started(cli, *PROVEN) as process:
        until(lambda: database.value("select count(*) from users where name = 'USER 7'"), process)
        other.execute("lock table users in share mode")
        until(lambda: waits_for_lock(database), process)
        process.send_signal(signal.SIGINT)
        ran = ended(process)
    told = document(ran)
    assert (ran.code, told["error"]["code"], told["applied"]) == (130, "stopped", ["1"]), ran.err
    assert "Going back was rolled back" in told["error"]["state"]
    assert in_ledger(database) == ["1"]
    assert cli("rollback").code == 0
    assert database.value("select name from users where id = 7") == "user 7"


# --- deploys that do not come ---


def test_a_deploy_that_did_not_come_takes_back_what_the_old_code_cannot_live_with(stage: Stage) -> None:
    old = stage.push(MORE, table("more"))
    assert stage.release("--commit", old).code == 0
    unpushed = stage.commit(LAST, "alter table public.courses rename to lessons_learned;\n")
    ran = stage.release("--json", "--commit", unpushed, AUTOPILOT_VERIFY_S="2")
    told = told_by(ran)
    assert (ran.code, told["outcome"], told["error"]["code"]) == (3, "rolled_back", "deploy_did_not_come"), ran.err
    assert (told["applied"], told["pending"]) == ([], ["20250603090000"])
    assert stage.database.value("select to_regclass('public.courses') is not null")
    assert "stop a build" in told["error"]["hint"]
    assert old in stage.site()


def test_a_hook_that_is_gone_takes_back_what_the_old_code_cannot_live_with(stage: Stage) -> None:
    commit = stage.push(MORE, "alter table public.courses rename to lessons_learned;\n")
    ran = stage.release("--json", "--commit", commit, NETLIFY_BUILD_HOOK=CLOSED)
    told = told_by(ran)
    assert (ran.code, told["outcome"], told["error"]["code"]) == (3, "rolled_back", "deploy_not_triggered"), ran.err
    assert stage.database.value("select to_regclass('public.courses') is not null")


def test_of_a_proven_release_only_what_waited_for_the_deploy_is_undone(stage: Stage) -> None:
    (stage.cli.home / "autopilot.toml").write_text(FILE_BY_FILE)
    wait = "-- autopilot:after-deploy\n"
    text = "alter table public.more add column note text; update public.lessons set minutes = 11;"
    stage.cli.write("20250604090000_first.sql", wait + text)
    stage.cli.write("20250605090000_second.sql", wait + ONLY_HERE)
    before = stage.database.rows("select to_jsonb(l)::text from public.lessons l order by 1")
    ran = stage.release("--json", "--commit", stage.push(MORE, table("more")))
    told = told_by(ran)
    assert (ran.code, told["outcome"], told["applied"]) == (4, "stranded", ["20250602090000"]), ran.err
    assert told["pending"] == ["20250604090000", "20250605090000"]
    assert "What waited for the deploy is undone at once" in told["error"]["state"]
    assert "the new deploy is proven healthy" in told["error"]["state"]
    assert stage.database.rows("select to_jsonb(l)::text from public.lessons l order by 1") == before
    assert stage.database.rows("select column_name::text from information_schema.columns where table_name = 'more'") == [("id",)]
