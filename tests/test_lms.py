"""The sample project on real servers: its release, its pushes, its site."""

from __future__ import annotations

import contextlib
import http.client
import json
import shutil
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import errors, sql

from autopilot.clock import SystemClock
from autopilot.demo.sites import Site, started
from autopilot.postgres.clients import Installation, installations
from autopilot.postgres.embedded import EmbeddedServer, running
from autopilot.secret import Secret

LMS = Path(__file__).parents[1] / "examples" / "lms"
RELEASE = sorted((LMS / "supabase" / "migrations").glob("*.sql"))
CERTIFICATES_BY_MAIL = sorted((LMS / "pushes" / "2-certificates-by-mail").glob("*.sql"))
(REFUSED,) = (LMS / "pushes" / "3-refused").glob("*.sql")
(LATE_ROW,) = (LMS / "pushes" / "4-late-row").glob("*.sql")
REFUSED_AT_LINE = 14
#: Somebody in the catalogue signs up again, with capitals this time.
LATE = {"name": "Amara Okafor", "email": "Amara.Okafor@mail.example", "course": "forecasting"}
WITH_SERVER = [i for i in installations() if i.has_server]
OWNER_PASSWORD = Secret("only-for-tests-4711")
pytestmark = pytest.mark.skipif(not WITH_SERVER, reason="there is no PostgreSQL server to run here")


@pytest.fixture(scope="module", params=WITH_SERVER, ids=lambda installation: f"PostgreSQL {installation.major}")
def server(request: pytest.FixtureRequest) -> Iterator[EmbeddedServer]:
    installation: Installation = request.param
    with running(installation, tcp=True) as server:
        with superuser(server) as connection:
            connection.execute(sql.SQL("create role lms_owner login nosuperuser password {}").format(OWNER_PASSWORD.reveal()))
            connection.execute("create database release_1 owner lms_owner")
        with superuser(server, "release_1") as connection:
            connection.execute((LMS / "platform.sql").read_text())
        with owner(server, "release_1") as connection:
            for file in RELEASE:
                apply(connection, file)
        yield server


@pytest.fixture
def database(server: EmbeddedServer) -> Iterator[str]:
    """A database of its own for the test, as the first release left it."""
    name = f"lms_{uuid.uuid4().hex[:12]}"
    with superuser(server) as connection:
        connection.execute(sql.SQL("create database {} template release_1 owner lms_owner").format(sql.Identifier(name)))
        yield name
        connection.execute(sql.SQL("drop database {} with (force)").format(sql.Identifier(name)))


@pytest.fixture
def connection(server: EmbeddedServer, database: str) -> Iterator[psycopg.Connection[Any]]:
    with owner(server, database) as connection:
        yield connection


@pytest.fixture
def site(server: EmbeddedServer, database: str, tmp_path: Path) -> Iterator[Site]:
    with site_on(owner_url(server, database), tmp_path) as site:
        yield site


def superuser(server: EmbeddedServer, dbname: str = "postgres") -> psycopg.Connection[Any]:
    return psycopg.connect(server.url(dbname).reveal(), autocommit=True)


def owner(server: EmbeddedServer, dbname: str) -> psycopg.Connection[Any]:
    return psycopg.connect(owner_url(server, dbname).reveal(), autocommit=True)


def owner_url(server: EmbeddedServer, dbname: str) -> Secret:
    return server.url(dbname, user="lms_owner", password=OWNER_PASSWORD)


def apply(connection: psycopg.Connection[Any], file: Path) -> None:
    if is_concurrent(file):
        connection.execute(file.read_text())
    else:
        with connection.transaction():
            connection.execute(file.read_text())


def is_concurrent(file: Path) -> bool:
    return "concurrently" in file.read_text()


def one(connection: psycopg.Connection[Any], query: str) -> Any:
    row = connection.execute(query).fetchone()
    assert row is not None
    return row[0]


@contextlib.contextmanager
def site_on(url: Secret, directory: Path) -> Iterator[Site]:
    checkout = directory / "checkout"
    shutil.copytree(LMS / "site", checkout / "site")
    site = started(
        deploy_id="test",
        checkout=checkout,
        commit="0123abc",
        database_url=url,
        clock=SystemClock(),
        given_up=lambda: False,
    )
    try:
        yield site
    finally:
        site.stop()


def asked(site: Site, method: str, path: str, body: bytes | None = None) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", site.port)
    with contextlib.closing(connection):
        connection.request(method, path, body=body)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()


def enrolled(site: Site, wish: dict[str, str]) -> tuple[int, str]:
    return asked(site, "POST", "/api/enrol", json.dumps(wish).encode())


def as_learner(connection: psycopg.Connection[Any], email: str) -> None:
    connection.execute("set local role authenticated")
    connection.execute(
        "select set_config('request.jwt.claims', json_build_object('sub', md5(%s)::uuid)::text, true)",
        [f"learner {email}"],
    )


def test_versions_ascend_from_the_release_through_every_push() -> None:
    files = [*RELEASE, *CERTIFICATES_BY_MAIL, REFUSED, LATE_ROW]
    versions = [file.name.partition("_")[0] for file in files]
    assert versions == sorted(set(versions))
    assert all(len(version) == 14 and version.isdecimal() for version in versions)


def test_one_file_alone_cannot_run_in_a_transaction() -> None:
    assert [file.name for file in RELEASE if is_concurrent(file)] == ["20250324210000_attempts_by_learner.sql"]


def test_the_release_runs_in_order_as_a_role_that_merely_owns_the_database(
    connection: psycopg.Connection[Any],
) -> None:
    assert not one(connection, "select rolsuper or rolbypassrls from pg_roles where rolname = current_user")
    assert one(connection, "select count(*) from public.courses") == 12
    assert one(connection, "select count(*) from public.attempts") == 6000
    assert one(connection, "select count(*) from public.certificates") > 100
    assert one(connection, "select indisvalid from pg_index where indexrelid = 'attempts_learner_id_finished_at_idx'::regclass")


def test_every_copy_of_the_release_holds_the_same_scores(connection: psycopg.Connection[Any]) -> None:
    digest = "select md5(string_agg(score::text, ',' order by id)) from public.attempts"
    assert one(connection, digest) == "f49caed19900471ef487fd3db75ff00e"


def test_the_platform_may_be_prepared_twice(server: EmbeddedServer, database: str) -> None:
    with superuser(server, database) as connection:
        connection.execute((LMS / "platform.sql").read_text())
        assert one(connection, "select auth.uid() is null")


def test_every_table_is_guarded_by_policies(connection: psycopg.Connection[Any]) -> None:
    for file in CERTIFICATES_BY_MAIL:
        apply(connection, file)
    unguarded = connection.execute("""
        select c.relname from pg_class c
        where c.relnamespace = 'public'::regnamespace and c.relkind = 'r'
          and not (c.relrowsecurity and exists (select from pg_policy p where p.polrelid = c.oid))
    """).fetchall()
    assert unguarded == []


def test_learners_see_what_is_theirs_and_nothing_else(server: EmbeddedServer, database: str) -> None:
    with superuser(server, database) as connection, connection.transaction():
        enrolments = one(
            connection,
            "select count(*) from public.enrolments where learner_id = md5('learner bao.nguyen@mail.example')::uuid",
        )
        as_learner(connection, "bao.nguyen@mail.example")
        assert connection.execute("select full_name from public.profiles").fetchall() == [("Bao Nguyen",)]
        assert one(connection, "select count(*) from public.enrolments") == enrolments
        assert one(connection, "select count(*) from public.lessons") == 6 * enrolments
        assert one(connection, "select count(*) from public.questions") == 0


def test_learners_do_not_make_themselves_instructors(server: EmbeddedServer, database: str) -> None:
    with superuser(server, database) as connection, connection.transaction(force_rollback=True):
        as_learner(connection, "bao.nguyen@mail.example")
        with pytest.raises(errors.InsufficientPrivilege):
            connection.execute("update public.profiles set is_instructor = true")


def test_visitors_see_published_courses_only(server: EmbeddedServer, database: str) -> None:
    with superuser(server, database) as connection, connection.transaction():
        connection.execute("set local role anon")
        assert one(connection, "select count(*) from public.courses") == 11


def test_after_the_second_push_a_passed_quiz_queues_a_letter(connection: psycopg.Connection[Any]) -> None:
    for file in CERTIFICATES_BY_MAIL:
        apply(connection, file)
    assert one(connection, "select count(*) from public.certificates where mailed_at is null") == 0
    connection.execute("""
        insert into public.attempts (quiz_id, learner_id, score)
        select q.id, e.learner_id, 90
        from public.enrolments e join public.quizzes q using (course_id)
        where e.status = 'active' limit 1
    """)
    assert one(connection, "select count(*) from public.outbox where sent_at is null") == 1


def test_the_third_push_fails_on_productions_data_at_the_line_the_readme_tells(
    connection: psycopg.Connection[Any],
) -> None:
    for file in CERTIFICATES_BY_MAIL:
        apply(connection, file)
    lines = REFUSED.read_text().splitlines(keepends=True)
    before, rest = lines[: REFUSED_AT_LINE - 1], lines[REFUSED_AT_LINE - 1 :]
    with connection.transaction(force_rollback=True):
        connection.execute("".join(before))
        with pytest.raises(errors.CheckViolation, match="attempts_score_is_a_percentage"):
            connection.execute("".join(rest))
    assert f"line {REFUSED_AT_LINE}" in (LMS / "README.md").read_text()
    assert rest[1:]


def test_the_third_push_is_right_in_itself(connection: psycopg.Connection[Any]) -> None:
    connection.execute("update public.attempts set score = 100 where score > 100")
    apply(connection, REFUSED)
    assert one(connection, "select public.average_score(1)") > 0


def test_the_fourth_push_applies_to_the_data_as_it_is(connection: psycopg.Connection[Any]) -> None:
    for file in (*CERTIFICATES_BY_MAIL, LATE_ROW):
        apply(connection, file)
    assert one(connection, "select count(*) from public.profiles where email_as_written is not null") == 3


def test_the_fourth_push_fails_once_somebody_enrolled_with_capitals(connection: psycopg.Connection[Any], site: Site) -> None:
    for file in CERTIFICATES_BY_MAIL:
        apply(connection, file)
    status, _ = enrolled(site, LATE)
    assert status == 201
    with pytest.raises(errors.UniqueViolation, match="profiles_email_key"):
        apply(connection, LATE_ROW)
    with pytest.raises(errors.UndefinedColumn):
        connection.execute("select email_as_written from public.profiles")


def test_the_site_works_before_and_after_the_pushes(connection: psycopg.Connection[Any], site: Site) -> None:
    for push in ([], CERTIFICATES_BY_MAIL, [LATE_ROW]):
        for file in push:
            apply(connection, file)
        status, page = asked(site, "GET", "/")
        assert (status, page.count("<li>")) == (200, 11)
        assert '<meta name="commit" content="0123abc">' in page
        status, report = asked(site, "GET", "/api/health")
        assert status == 200
        assert {"status": "ok", "commit": "0123abc", "database": "ok", "courses": 12}.items() <= json.loads(report).items()
        email = f"{uuid.uuid4().hex}@Mail.example"
        assert enrolled(site, {"name": "New Learner", "email": email, "course": "web-basics"})[0] == 201


def test_enrolling_twice_is_enrolling_once(connection: psycopg.Connection[Any], site: Site) -> None:
    before = one(connection, "select count(*) from public.enrolments")
    assert enrolled(site, LATE)[0] == 201
    assert enrolled(site, LATE | {"name": "Somebody Else"})[0] == 201
    assert one(connection, "select count(*) from public.enrolments") == before + 1
    assert one(connection, "select full_name from public.profiles where email = 'Amara.Okafor@mail.example'") == LATE["name"]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        pytest.param(b"", 400, id="nothing"),
        pytest.param(b"name=Ada", 400, id="a form"),
        pytest.param(b"[1]", 400, id="a list"),
        pytest.param(b"[" * 60_000, 400, id="a deep list"),
        pytest.param(b'{"name": "Ada"}', 400, id="half of it"),
        pytest.param(json.dumps(LATE | {"email": "not an address"}).encode(), 400, id="no address"),
        pytest.param(json.dumps(LATE | {"name": "\x00"}).encode(), 400, id="a zero byte"),
        pytest.param(json.dumps(LATE | {"name": "\ud800"}).encode(), 400, id="half a character"),
        pytest.param(json.dumps(LATE | {"course": "incident-reviews"}).encode(), 404, id="a draft"),
    ],
)
def test_the_site_refuses_what_cannot_be_an_enrolment(
    connection: psycopg.Connection[Any], site: Site, body: bytes, status: int
) -> None:
    before = one(connection, "select count(*) from public.profiles")
    assert asked(site, "POST", "/api/enrol", body)[0] == status
    assert one(connection, "select count(*) from public.profiles") == before


def test_without_its_database_the_site_says_so_and_tells_no_secret(tmp_path: Path) -> None:
    nowhere = Secret("postgresql://lms_owner:a-secret-word@127.0.0.1:1/lms")
    with site_on(nowhere, tmp_path) as site:
        status, report = asked(site, "GET", "/api/health")
        assert (status, json.loads(report)["status"]) == (503, "unhealthy")
        page_status, page = asked(site, "GET", "/")
        enrol_status, refusal = enrolled(site, LATE)
    assert (page_status, enrol_status) == (503, 503)
    log = (tmp_path / "checkout.log").read_text()
    assert not any("a-secret-word" in text or "lms_owner" in text for text in (report, page, refusal, log))


def test_the_site_ends_when_its_standard_input_does(tmp_path: Path) -> None:
    environment = {"PORT": "0", "DATABASE_URL": "postgresql://127.0.0.1:1/lms", "STOP_ON_EOF": "1"}
    command = [sys.executable, str(LMS / "site" / "server.py")]
    with subprocess.Popen(command, env=environment, cwd=tmp_path, stdin=subprocess.PIPE) as site:
        assert site.stdin is not None
        site.stdin.close()
        assert site.wait() == 0
