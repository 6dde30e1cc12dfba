"""Very large databases: some tables' rows left out of the dump, or a provider's restore point in its place. Never silently."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import psycopg
import pytest
from tests.conftest import LMS, OWNER, Cli, Database

from autopilot.access import provider_access
from autopilot.backups.left_out import Table, left_out
from autopilot.backups.restore_points import PROVIDERS, RestorePoint, Target
from autopilot.errors import AutopilotError, Refused, UsageError
from autopilot.http import request
from autopilot.measures import size_bytes, span_s
from autopilot.postgres.clients import for_embedded, installations
from autopilot.postgres.embedded import EmbeddedServer, running
from autopilot.secret import Secret
from autopilot.workflows import net

NOW = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
KEY = "sbp_0123456789abcdef-secret"
REF = "abcdefghijklmnopqrst"
EARLIEST, LATEST = "earliest_physical_backup_date_unix", "latest_physical_backup_date_unix"

Answer = tuple[int, dict[str, str], bytes]


def answered(document: object, status: int = 200, **headers: str) -> Answer:
    return status, {name.replace("_", "-"): value for name, value in headers.items()}, json.dumps(document).encode()


@dataclass(kw_only=True)
class Fake:
    """A provider on the loopback: each request is given to `answer`, and remembered."""

    url: str = ""
    answer: Callable[[str, str, Any], Answer] = lambda _method, _path, _body: answered({}, 404)
    seen: list[tuple[str, str]] = field(default_factory=list)
    keys: set[str] = field(default_factory=set)


@pytest.fixture
def fake() -> Iterator[Fake]:
    found = Fake()

    class Handler(BaseHTTPRequestHandler):
        def _any(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length) or b"null")
            found.seen.append((self.command, self.path))
            found.keys.add(self.headers.get("Authorization", ""))
            status, headers, content = found.answer(self.command, self.path, body)
            self.send_response(HTTPStatus(status))
            for name, value in {**headers, "Content-Length": str(len(content))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_DELETE = _any  # noqa: N815 - the base class's names

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    found.url = f"http://127.0.0.1:{server.server_port}"
    yield found
    server.shutdown()
    server.server_close()
    thread.join()


@dataclass(kw_only=True)
class Hurried:
    """A clock whose waits take no time."""

    at_s: float = 0.0
    waits_s: list[float] = field(default_factory=list)

    def now(self) -> datetime:
        return NOW + timedelta(seconds=self.at_s)

    def monotonic_s(self) -> float:
        return self.at_s

    def sleep(self, seconds: float) -> None:
        self.waits_s.append(seconds)
        self.at_s += seconds


def window(earliest: datetime, latest: datetime, *, pitr: object = True) -> dict[str, object]:
    return {
        "region": "eu-central-1", "walg_enabled": True, "pitr_enabled": pitr, "backups": [],
        "physical_backup_data": {
            EARLIEST: int(earliest.timestamp()),
            LATEST: int(latest.timestamp()),
        },
    }  # fmt: skip


def asked(fake: Fake, provider: str, clock: Hurried, **target: str) -> RestorePoint:
    """A restore point of `provider` for a target at `host`/`user`."""
    variables = {
        "SUPABASE_ACCESS_TOKEN": KEY, "SUPABASE_API_URL": fake.url, "NEON_API_KEY": KEY, "NEON_PROJECT_ID": "old-sun-1",
        "NEON_API_URL": f"{fake.url}/api/v2",
    }  # fmt: skip
    place = Target(parameters={"host": "db.example.com", "user": f"postgres.{REF}"} | target, now=NOW)
    return PROVIDERS[provider].make(provider_access(variables), place, run_id="0badcafe", request=request, clock=clock)


def refusal(fake: Fake, provider: str, clock: Hurried | None = None, **target: str) -> AutopilotError:
    with pytest.raises((Refused, UsageError)) as caught:
        asked(fake, provider, clock or Hurried(), **target)
    assert KEY not in f"{caught.value.message} {caught.value.hint}"
    return caught.value


def test_supabases_archive_is_waited_for_until_it_holds_the_moment(fake: Fake) -> None:
    clock = Hurried()
    fake.answer = lambda *_: answered(window(NOW - timedelta(days=7), NOW + timedelta(seconds=clock.at_s - 95)))
    point = asked(fake, "supabase", clock)
    assert point.name == f"supabase:{REF}@2026-03-04T05:06:07Z"
    assert clock.at_s == 100
    assert set(fake.seen) == {("GET", f"/v1/projects/{REF}/database/backups")}
    assert fake.keys == {f"Bearer {KEY}"}
    assert "2026-03-04T05:06:07Z" in point.how_back


def test_supabases_archive_that_stands_still_is_no_restore_point(fake: Fake) -> None:
    fake.answer = lambda *_: answered(window(NOW - timedelta(days=7), NOW - timedelta(hours=1)))
    error = refusal(fake, "supabase")
    assert error.code == "restore_point_failed"
    assert "after 10 minutes its archive reaches to 2026-03-04 04:06:07 UTC only, not to 05:06:07" in error.message


@pytest.mark.parametrize("pitr", [False, None, "yes", 1])
def test_supabase_without_point_in_time_recovery_is_refused(fake: Fake, pitr: object) -> None:
    fake.answer = lambda *_: answered(window(NOW - timedelta(days=7), NOW + timedelta(days=1), pitr=pitr))
    error = refusal(fake, "supabase")
    assert (error.code, "point-in-time recovery is off" in error.message) == ("restore_point_failed", True)


@pytest.mark.parametrize(
    "document",
    [
        {"pitr_enabled": True},
        {"pitr_enabled": True, "physical_backup_data": None},
        {"pitr_enabled": True, "physical_backup_data": {}},
        {"pitr_enabled": True, "physical_backup_data": {EARLIEST: 1}},
        {"pitr_enabled": True, "physical_backup_data": {EARLIEST: "1", LATEST: "9"}},
        {"pitr_enabled": True, "physical_backup_data": {EARLIEST: 1, LATEST: 10**30}},
        {"pitr_enabled": True, "physical_backup_data": [1, 2]},
        [],
        "pitr_enabled",
    ],
)  # fmt: skip
def test_an_answer_that_proves_nothing_is_no_restore_point(fake: Fake, document: object) -> None:
    fake.answer = lambda *_: answered(document)
    assert refusal(fake, "supabase").code == "restore_point_failed"


@pytest.mark.parametrize("body", [b"", b"<html>Bad gateway</html>", b"\xff\xfe", b"[" * 100_000, b'{"pitr_enabled": true'])
@pytest.mark.parametrize("provider", ["supabase", "neon"])
def test_garbage_is_no_restore_point(fake: Fake, provider: str, body: bytes) -> None:
    fake.answer = lambda *_: (200, {}, body)
    assert refusal(fake, provider).code == "restore_point_failed"


@pytest.mark.parametrize("provider", ["supabase", "neon"])
@pytest.mark.parametrize(
    ("status", "code", "times"),
    [
        (401, "restore_point_denied", 1), (403, "restore_point_denied", 1), (404, "restore_point_failed", 1),
        (302, "restore_point_failed", 1), (429, "restore_point_unreachable", 4), (500, "restore_point_unreachable", 4),
        (503, "restore_point_unreachable", 4),
    ],
)  # fmt: skip
def test_a_provider_that_refuses_is_told_as_what_it_is(fake: Fake, provider: str, status: int, code: str, times: int) -> None:
    fake.answer = lambda *_: answered({"message": KEY}, status)
    error = refusal(fake, provider)
    assert (error.code, len(fake.seen)) == (code, times)
    assert error.retryable is (code == "restore_point_unreachable")


@pytest.mark.parametrize(("wanted", "waited_s"), [("7", 7.0), ("100000", 60.0), ("soon", 1.0)])
def test_retry_after_is_obeyed_as_far_as_it_makes_sense(fake: Fake, wanted: str, waited_s: float) -> None:
    clock = Hurried()
    good = answered(window(NOW - timedelta(days=7), NOW + timedelta(days=1)))
    fake.answer = lambda *_: good if len(fake.seen) > 1 else answered({}, 429, Retry_After=wanted)
    asked(fake, "supabase", clock)
    assert clock.waits_s == [waited_s]


@pytest.mark.parametrize(
    ("target", "says"),
    [
        ({"user": "postgres"}, "does not tell which project"),
        ({"user": "postgres", "host": "db.zzzzzzzzzzzzzzzzzzzz.supabase.co"}, "leads to zzzzzzzzzzzzzzzzzzzz"),
    ],
)
def test_another_supabase_projects_restore_point_is_none(fake: Fake, target: dict[str, str], says: str) -> None:
    access = provider_access({"SUPABASE_ACCESS_TOKEN": KEY, "SUPABASE_API_URL": fake.url, "SUPABASE_PROJECT_REF": REF})
    place = Target(parameters={"host": "db.example.com"} | target, now=NOW)
    with pytest.raises(Refused, match=says):
        PROVIDERS["supabase"].make(access, place, run_id="0badcafe", request=request, clock=Hurried())
    assert fake.seen == []


def test_a_key_that_is_not_set_is_named() -> None:
    for provider, variable in (("supabase", "SUPABASE_ACCESS_TOKEN"), ("neon", "NEON_API_KEY")):
        with pytest.raises(UsageError, match=variable):
            PROVIDERS[provider].check(
                provider_access({}), Target(parameters={}, now=NOW), request=request, clock=Hurried()
            )  # fmt: skip
    with pytest.raises(UsageError, match="NEON_API_URL is not an https URL"):
        provider_access({"NEON_API_URL": "http://example.com"})


@dataclass(kw_only=True)
class Neon:
    """As much of Neon as a release meets: branches, endpoints, operations that take a while."""

    host: str
    #: What a branch with an endpoint is reached by.
    uri: str = ""
    branches: dict[str, dict[str, str]] = field(default_factory=dict)
    #: Statuses that each operation goes through.
    statuses: tuple[str, ...] = ("scheduling", "running", "finished")
    asked_of: dict[str, int] = field(default_factory=dict)
    #: The answer to the next POST is lost, although it is acted upon.
    loses_an_answer: bool = False
    made: int = 0

    def __call__(self, method: str, path: str, body: Any) -> Answer:
        parts = urlsplit(path)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        _, _, what = parts.path.partition("/api/v2/projects/old-sun-1/")
        match method, what.split("/"):
            case "GET", ["endpoints"]:
                return answered({"endpoints": [{"id": "ep-1", "host": self.host, "branch_id": "br-main", "type": "read_write"}]})
            case "POST", ["branches"]:
                return self._made(body)
            case "GET", ["branches"]:
                return answered({"branches": [b for b in self.branches.values() if query["search"] in b["name"]]})
            case "GET", ["branches", name] if name in self.branches:
                return answered({"branch": self.branches[name]})
            case "DELETE", ["branches", name] if name in self.branches:
                del self.branches[name]
                return answered({})
            case "GET", ["operations", name]:
                self.asked_of[name] = min(self.asked_of.get(name, 0) + 1, len(self.statuses) - 1)
                return answered({"operation": {"id": name, "status": self.statuses[self.asked_of[name]]}})
            case "GET", ["connection_uri"]:
                return answered({"uri": self.uri})
        return answered({"message": "not found", "code": ""}, 404)

    def _made(self, body: Any) -> Answer:
        number = f"br-{self.made}"
        self.made += 1
        self.branches[number] = {"id": number, "name": body["branch"]["name"], "parent_id": body["branch"]["parent_id"]}
        if self.loses_an_answer:
            self.loses_an_answer = False
            return answered({}, 502)
        operations = [{"id": f"op-{number}", "action": "create_branch", "status": self.statuses[0]}]
        return answered({"branch": self.branches[number], "endpoints": [], "operations": operations}, 201)


def test_a_neon_branch_of_the_targets_own_branch_is_the_restore_point(fake: Fake) -> None:
    fake.answer = neon = Neon(host="ep-1.eu.aws.neon.tech")
    point = asked(fake, "neon", Hurried(), host="ep-1-pooler.eu.aws.neon.tech")
    assert point.name == "neon:old-sun-1/br-0"
    assert neon.branches == {"br-0": {"id": "br-0", "name": "autopilot-restore-0badcafe", "parent_id": "br-main"}}
    assert neon.asked_of == {"op-br-0": 2}
    assert "br-main" in point.how_back


def test_a_neon_project_that_the_target_is_not_in_is_refused(fake: Fake) -> None:
    fake.answer = neon = Neon(host="ep-2.eu.aws.neon.tech")
    assert "none of the project's endpoints" in refusal(fake, "neon", host="ep-1.eu.aws.neon.tech").message
    assert neon.branches == {}


def test_a_branch_whose_making_was_not_heard_of_is_found_and_none_is_made_twice(fake: Fake) -> None:
    fake.answer = neon = Neon(host="h", loses_an_answer=True)
    assert asked(fake, "neon", Hurried(), host="h").name == "neon:old-sun-1/br-0"
    assert list(neon.branches) == ["br-0"]


@pytest.mark.parametrize("status", ["cancelled", "running", "failed"])
def test_a_neon_operation_that_does_not_end_is_no_restore_point(fake: Fake, status: str) -> None:
    fake.answer = Neon(host="h", statuses=("scheduling", status))
    assert "its operation create_branch is" in refusal(fake, "neon", host="h").message


# the sizes, the choice and what is said of it


@pytest.mark.parametrize(
    ("text", "size"),
    [("20 GiB", 20 << 30), ("1.5 GB", 1_500_000_000), ("100mb", 10**8), ("7", 7), (7, 7), ("off", None), ("", None), ("0", 0)],
)
def test_sizes_are_read_as_people_write_them(text: str | int, size: int | None) -> None:
    assert size_bytes("big_above", text) == size


@pytest.mark.parametrize("text", ["20 GiBB", "-1", "much", "1,5 GB", -1, "1e3 GB"])
def test_what_is_no_size_is_refused(text: str | int) -> None:
    with pytest.raises(UsageError, match="big_above"):
        size_bytes("big_above", text)


@pytest.mark.parametrize(
    ("text", "seconds"), [("7 days", 604_800), ("12 hours", 43_200), ("1 day", 86_400), ("2 weeks", 1_209_600), ("off", None)]
)
def test_spans_are_read_as_people_write_them(text: str, seconds: float | None) -> None:
    assert span_s("restore_test_every", text) == seconds


@pytest.mark.parametrize("text", ["7", "days", "0 days", "7 fortnights", "-1 day", "7 s"])
def test_what_is_no_span_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="restore_test_every"):
        span_s("restore_test_every", text)


def test_patterns_name_tables_and_partitions_and_never_the_ledger() -> None:
    there = (
        Table(schema="public", name="events_2026", size_bytes=5, parts_of=(("public", "events"),)),
        Table(schema="public", name="events_log", size_bytes=7),
        Table(schema="logs", name="a.b", size_bytes=9),
        Table(schema="automation", name="runs", size_bytes=11),
    )
    found = left_out(there, ("public.events", "logs.*", "*.runs", "public.gone"))
    assert found.names == ("public.events_2026", "logs.a.b")
    assert (found.size_bytes, found.unmatched) == (14, ("*.runs", "public.gone"))


@pytest.mark.parametrize(
    ("toml", "says"),
    [
        ('big_above = "1 GiB"', "goes with one of"),
        ('big_without_data = ["a.b"]', "goes with one of"),
        ('big_above = 0\nbig_without_data = ["a.b"]\nbig_restore_point = "neon"', "exclude each other"),
        ('big_above = 0\nbig_without_data = ["events"]', "which is no schema.table"),
        ('big_above = "a lot"\nbig_restore_point = "neon"', "'a lot' is not a size"),
        ('big_restore_point = "azure"', "big_restore_point"),
    ],
)
def test_a_configuration_that_means_nothing_is_refused(cli: Cli, toml: str, says: str) -> None:
    (cli.home / "autopilot.toml").write_text(toml)
    ran = cli("status")
    assert ran.code == 2
    assert says in ran.err


# releases


SCENE = """
create table kept (id int primary key); insert into kept select generate_series(1, 50);
create table events (at date, what text) partition by range (at);
create table events_1 partition of events for values from ('2026-01-01') to ('2027-01-01');
insert into events select '2026-02-03', 'x' from generate_series(1, 500);
create schema logs; create table logs."A ""day" (line text); insert into logs."A ""day" values ('l');
"""


@pytest.fixture
def big(cli: Cli, database: Database) -> Cli:
    database.run(SCENE)
    (cli.home / "autopilot.toml").write_text(
        'big_above = "1 KiB"\nbig_without_data = ["public.events", "logs.*", "public.gone"]\n'
    )
    cli.write("1_a.sql", "alter table kept add column note text;")
    return cli


def test_rows_that_are_left_out_are_told_everywhere(big: Cli, database: Database) -> None:
    planned = big("plan")
    assert planned.code == 0, planned.err
    assert 'Backup: a dump without the rows of logs.A "day, public.events_1' in planned.out
    assert "big_without_data names 'public.gone', and no table is called that." in planned.out
    document = json.loads(big("plan", "--json").out)["backup"]
    assert (document["kind"], document["without_data"]) == ("without_data", ['logs.A "day', "public.events_1"])
    ran = big("migrate", "--no-deploy", "--json")
    assert ran.code == 0, ran.err
    assert "without the rows of 2 more" in ran.err
    assert "blind spot: no rows of" in ran.err
    (path,) = big.backups.glob("*.manifest.json")
    manifest = json.loads(path.read_text())
    assert manifest["without_data"] == ['logs.A "day', "public.events_1"]
    assert manifest["rows"]["public.kept"] == 50
    assert "public.events_1" not in manifest["rows"]
    assert "are not in it" in database.value("select notes from automation.restore_tests")
    tested = big("backup", "restore-test", "--json")
    assert tested.code == 0, tested.err
    assert json.loads(tested.out)["without_data"] == manifest["without_data"]
    assert "the rows of" in tested.err
    back = big("rollback", "--plan")
    assert "does not hold the rows of" in back.out
    assert "events_1: new since" not in back.out


def test_a_database_below_the_size_is_dumped_whole_and_that_is_said(big: Cli) -> None:
    toml = big.home / "autopilot.toml"
    toml.write_text(toml.read_text().replace("1 KiB", "1 TiB"))
    assert "Backup: a whole dump; the database takes" in big("plan").out
    assert big("migrate", "--no-deploy").code == 0
    (path,) = big.backups.glob("*.manifest.json")
    assert json.loads(path.read_text())["rows"]["public.events_1"] == 500


def test_a_table_that_others_refer_to_cannot_lose_its_rows(big: Cli, database: Database) -> None:
    database.run("create table events_of (id int primary key); insert into events_of values (1);")
    database.run("create table about (id int references events_of); insert into about values (1);")
    toml = big.home / "autopilot.toml"
    toml.write_text(toml.read_text().replace("public.gone", "public.events_of"))
    ran = big("migrate", "--no-deploy", "--json")
    assert (ran.code, json.loads(ran.out)["error"]["code"]) == (1, "cannot_leave_out")
    assert "public.about refers to them (about_id_fkey)" in ran.err
    toml.write_text(toml.read_text().replace('"public.events_of"', '"public.events_of", "public.about"'))
    assert big("migrate", "--no-deploy").code == 0


def test_a_backup_by_hand_leaves_out_the_same(big: Cli) -> None:
    ran = big("backup", "create")
    assert ran.code == 0, ran.err
    assert "Backup: a dump without the rows of" in ran.err
    (path,) = big.backups.glob("*.manifest.json")
    assert "public.events_1" not in json.loads(path.read_text())["rows"]


@pytest.fixture
def at_supabase(cli: Cli, database: Database, fake: Fake) -> Iterator[Cli]:
    """A project whose database URL is one of Supabase's poolers by its user's name."""
    role = f"postgres.{REF}"
    database.run(f"""create role "{role}" login password 'p' in role {OWNER}""", admin=True)
    database.run(f"""alter database {database.name} owner to "{role}"; create table kept (id int)""", admin=True)
    database.run(f'alter table kept owner to "{role}"', admin=True)
    (cli.home / "autopilot.toml").write_text('big_above = 0\nbig_restore_point = "supabase"\n')
    cli.write("1_a.sql", "create table a (id int);")
    address = urlsplit(database.url)
    cli.env["SUPABASE_DB_URL"] = f"postgresql://{role}:p@127.0.0.1:{address.port}/{database.name}?sslmode=disable"
    cli.env |= {"SUPABASE_ACCESS_TOKEN": KEY, "SUPABASE_PROJECT_REF": REF, "SUPABASE_API_URL": fake.url}
    fake.answer = lambda *_: answered(window(datetime.now(UTC) - timedelta(days=7), datetime.now(UTC) + timedelta(minutes=1)))
    yield cli
    database.run(f'drop owned by "{role}" cascade', admin=True)
    database.run(f'alter database {database.name} owner to {OWNER}; drop role "{role}"', admin=True)


def test_with_supabases_restore_point_there_is_no_copy_to_fly_on_and_that_blocks(at_supabase: Cli) -> None:
    assert "no dump; a restore point at Supabase" in at_supabase("plan").out
    ran = at_supabase("migrate", "--no-deploy", "--json")
    assert (ran.code, json.loads(ran.out)["error"]["code"]) == (1, "no_copy_to_fly_on")
    assert 'rehearsal = "schema"' in ran.err


def test_a_release_with_supabases_restore_point_flies_on_the_schema(at_supabase: Cli, database: Database) -> None:
    toml = at_supabase.home / "autopilot.toml"
    toml.write_text(toml.read_text() + 'rehearsal = "schema"\n')
    ran = at_supabase("migrate", "--no-deploy", "--json")
    assert ran.code == 0, ran.err
    told = json.loads(ran.out)
    assert told["backup"] is None
    assert told["restore_point"]["name"].startswith(f"supabase:{REF}@")
    assert told["rehearsal"]["kind"] == "schema"
    assert "no dump was taken" in ran.err
    assert database.value("select backup_file from automation.migration_log") == told["restore_point"]["name"]
    assert database.value("select name from automation.restore_points") == told["restore_point"]["name"]
    assert [p.name for p in at_supabase.backups.iterdir()] == []
    assert KEY not in ran.err + ran.out
    assert "OVERDUE" in at_supabase("status").out
    assert "Point in time" in at_supabase("rollback", "--plan").out


def test_what_cannot_be_verified_stops_the_release_before_the_lock(at_supabase: Cli, database: Database, fake: Fake) -> None:
    fake.answer = lambda *_: answered({}, 401)
    ran = at_supabase("migrate", "--no-deploy", "--json")
    assert (ran.code, json.loads(ran.out)["error"]["code"]) == (1, "restore_point_denied")
    assert database.value("select to_regnamespace('automation') is null")


@pytest.fixture(scope="module")
def elsewhere() -> Iterator[EmbeddedServer]:
    """The server that a branch's own compute is."""
    with running(for_embedded(installations()), tcp=True, superuser="supabase_admin") as server:
        with psycopg.connect(server.url().reveal(), autocommit=True) as connection:
            connection.execute(f"create role {OWNER} login password 'p'".encode())
            connection.execute(f"create database branch owner {OWNER}".encode())
        with psycopg.connect(server.url("branch").reveal(), autocommit=True) as connection:
            connection.execute((LMS / "platform.sql").read_bytes())
        yield server


@pytest.fixture
def at_neon(cli: Cli, fake: Fake, elsewhere: EmbeddedServer) -> tuple[Cli, Neon]:
    (cli.home / "autopilot.toml").write_text('big_above = 0\nbig_restore_point = "neon"\n')
    cli.write("1_a.sql", "create table a (id int);")
    cli.env |= {"NEON_API_KEY": KEY, "NEON_PROJECT_ID": "old-sun-1", "NEON_API_URL": f"{fake.url}/api/v2"}
    fake.answer = neon = Neon(host="127.0.0.1", uri=elsewhere.url("branch", user=OWNER, password=Secret("p")).reveal())
    dead = {"id": "br-dead", "name": "autopilot-rehearsal-0badcafe", "parent_id": "br-point"}
    neon.branches = {
        "br-point": {"id": "br-point", "name": "autopilot-restore-0badcafe", "parent_id": "br-main"}, "br-dead": dead,
        "br-theirs": {"id": "br-theirs", "name": "autopilot-rehearsal-of-mine", "parent_id": "br-main"},
    }  # fmt: skip
    return cli, neon


def test_a_release_at_neon_flies_on_a_branch_of_its_restore_point(at_neon: tuple[Cli, Neon], database: Database) -> None:
    cli, neon = at_neon
    ran = cli("migrate", "--no-deploy", "--json")
    assert ran.code == 0, ran.err
    told = json.loads(ran.out)
    assert (told["rehearsal"]["kind"], told["rehearsal"]["origin"]) == ("copy", "a branch at Neon")
    point = told["restore_point"]["name"].rpartition("/")[2]
    assert neon.branches[point]["name"] == f"autopilot-restore-{told['run_id']}"
    # the branch that was flown on is gone, a dead run's too; the restore points and what is theirs stay
    assert set(neon.branches) == {point, "br-point", "br-theirs"}
    assert database.value("select backup_file from automation.migration_log") == told["restore_point"]["name"]


def test_a_branch_that_turns_out_to_be_the_target_is_not_flown_on(at_neon: tuple[Cli, Neon], database: Database) -> None:
    cli, neon = at_neon
    neon.uri = database.url
    ran = cli("migrate", "--no-deploy", "--json")
    assert (ran.code, json.loads(ran.out)["error"]["code"]) == (1, "scratch_is_target")
    assert database.value("select to_regclass('a') is null")


def test_sentences_name_the_size_and_the_limit() -> None:
    found = net.Net(kind="restore_point", size_bytes=30 << 30, big_above_bytes=20 << 30, provider="neon")
    assert net.sentences(found) == (
        "Backup: no dump; a restore point at Neon, because the database takes 30.0 GiB (big_above is 20.0 GiB).",
    )
    assert net.sentences(net.Net(kind="whole", size_bytes=5, big_above_bytes=None)) == ()


def test_no_module_of_ours_repeats_a_key(tmp_path: Path) -> None:
    access = provider_access({"SUPABASE_ACCESS_TOKEN": KEY, "NEON_API_KEY": KEY})
    assert KEY not in repr(access)
