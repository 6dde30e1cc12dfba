"""The stand-in host as its neighbours meet it: a process, a hook, an API and a site."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest

from autopilot import programs
from autopilot.postgres.clients import for_embedded, installations
from autopilot.postgres.embedded import running

ROOT = Path(__file__).parents[1]
LMS = ROOT / "examples" / "lms"
BROKEN = "raise SystemExit('the port is painted shut')\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """A team's clone, from which they push."""

    directory: Path
    bare: Path

    def push(self, *, server: str | None = None, branch: str = "main") -> str:
        """Pushes the site, or `server` in its place, and returns the commit's id."""
        text = (LMS / "site" / "server.py").read_text() if server is None else server
        (self.directory / "site" / "server.py").write_text(text)
        git(self.directory, "add", ".")
        git(self.directory, "commit", "--quiet", "--allow-empty", "--message", "Work")
        git(self.directory, "push", "--quiet", "origin", f"HEAD:{branch}")
        return git(self.directory, "rev-parse", "HEAD")


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    process: subprocess.Popen[bytes]
    announced: Mapping[str, Any]

    @property
    def hook(self) -> str:
        return urlsplit(str(self.announced["hook_url"])).path

    def ask(self, method: str, path: str, *, body: bytes | None = None, headers: Mapping[str, str] | None = None) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.announced["port"])
        with contextlib.closing(connection):
            connection.request(method, path, body=body, headers=dict(headers or {}))
            answer = connection.getresponse()
            return Answer(status=answer.status, headers=dict(answer.getheaders()), text=answer.read().decode())

    def call_hook(self, query: str = "") -> None:
        answer = self.ask("POST", f"{self.hook}{query}", body=b"{}")
        assert (answer.status, answer.text) == (200, "")

    def api(self, path: str) -> Any:
        answer = self.ask("GET", f"/api/v1{path}", headers={"Authorization": f"Bearer {self.announced['token']}"})
        assert answer.status == 200
        return json.loads(answer.text)

    def deploys(self) -> list[dict[str, Any]]:
        """Oldest first."""
        found: list[dict[str, Any]] = self.api(f"/sites/{self.announced['site_id']}/deploys")
        return found[::-1]

    def settled(self) -> list[dict[str, Any]]:
        """The deploys, once there is nothing left to build."""
        until(lambda: all(deploy["state"] in {"ready", "error"} for deploy in self.deploys()))
        return self.deploys()


def git(directory: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=Team", "-c", "user.email=team@harbour.example")
    finished = programs.run(programs.Command(argv=("git", *identity, *arguments), cwd=directory))
    assert finished.ok, finished.stderr
    return finished.stdout.decode().strip()


def until(reached: Callable[[], bool]) -> None:
    while not reached():
        time.sleep(0.02)


def is_listening(url: str) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", urlsplit(url).port or 0)) == 0


@contextlib.contextmanager
def hosting(work: Work, state: Path, database_url: str) -> Iterator[Running]:
    command = programs.Command(
        argv=(
            *(sys.executable, "-m", "autopilot.demo.host"),
            *("--repository", str(work.bare), "--branch", "main", "--port", "0", "--state", str(state)),
        ),
        env={"DATABASE_URL": database_url, "PYTHONPATH": str(ROOT / "src"), "STOP_ON_EOF": "1"},
        stdin=b"",
    )
    with programs.ended(programs.start(command, stderr=None)) as process:
        assert process.stdout is not None
        yield Running(process=process, announced=json.loads(process.stdout.readline()))
        process.terminate()
        process.wait()


@pytest.fixture(scope="module")
def database_url() -> Iterator[str]:
    with running(for_embedded(installations()), tcp=True) as server:
        url = server.url().reveal()
        with psycopg.connect(url) as connection:
            connection.execute((LMS / "platform.sql").read_text())
        with psycopg.connect(url, autocommit=True) as connection:
            for file in sorted((LMS / "supabase" / "migrations").glob("*.sql")):
                connection.execute(file.read_text())
        yield url


@pytest.fixture
def work(tmp_path: Path) -> Work:
    work = Work(directory=tmp_path / "clone", bare=tmp_path / "site.git")
    git(tmp_path, "init", "--quiet", "--bare", "--initial-branch=main", str(work.bare))
    git(tmp_path, "init", "--quiet", "--initial-branch=main", str(work.directory))
    git(work.directory, "remote", "add", "origin", str(work.bare))
    shutil.copytree(LMS, work.directory, dirs_exist_ok=True)
    return work


@pytest.fixture
def host(work: Work, tmp_path: Path, database_url: str) -> Iterator[Running]:
    with hosting(work, tmp_path / "state", database_url) as host:
        yield host


def test_before_the_first_deploy_there_is_no_page(host: Running) -> None:
    answer = host.ask("GET", "/")
    assert answer.status == 404
    assert "No deploy yet" in answer.text


def test_the_hook_deploys_the_branchs_newest_commit(host: Running, work: Work) -> None:
    work.push()
    commit = work.push()
    host.call_hook("?trigger_branch=main&trigger_title=release%2042&clear_cache=true")
    (deploy,) = host.settled()
    assert f'<meta name="commit" content="{commit}">' in host.ask("GET", "/").text
    assert json.loads(host.ask("GET", "/api/health").text)["commit"] == commit
    told = {"state": "ready", "title": "release 42", "branch": "main", "context": "production"}
    assert told.items() <= deploy.items()
    assert deploy["commit_ref"] == commit
    assert deploy["created_at"] < deploy["published_at"]
    assert host.api(f"/deploys/{deploy['id']}") == deploy
    assert host.api(f"/sites/{host.announced['site_id']}")["published_deploy"] == deploy


def test_a_reader_writes_through_the_host(host: Running, work: Work, database_url: str) -> None:
    work.push()
    host.call_hook()
    host.settled()
    wish = {"name": "Ada", "email": "ada@analytical.example", "course": "sql-from-scratch"}
    answer = host.ask("POST", "/api/enrol", body=json.dumps(wish).encode())
    assert (answer.status, answer.headers["Content-Type"]) == (201, "application/json")
    with psycopg.connect(database_url) as connection:
        found = connection.execute("select full_name from profiles where email = %s", [wish["email"]]).fetchall()
    assert found == [("Ada",)]


def test_a_second_deploy_takes_the_firsts_place(host: Running, work: Work) -> None:
    work.push()
    host.call_hook()
    host.settled()
    commit = work.push()
    host.call_hook()
    first, second = host.settled()
    assert commit in host.ask("GET", "/").text
    until(lambda: not is_listening(first["deploy_ssl_url"]))
    assert is_listening(second["deploy_ssl_url"])


def test_a_site_that_does_not_start_leaves_the_old_deploy_serving(host: Running, work: Work) -> None:
    commit = work.push()
    host.call_hook()
    host.settled()
    work.push(server=BROKEN)
    host.call_hook()
    good, bad = host.settled()
    assert (bad["state"], bad["published_at"]) == ("error", None)
    assert "painted shut" in bad["error_message"]
    assert not bad["skipped"]
    assert commit in host.ask("GET", "/").text
    assert host.api(f"/sites/{host.announced['site_id']}")["published_deploy"]["id"] == good["id"]


def test_a_broken_site_does_not_tell_the_databases_url(host: Running, work: Work, database_url: str) -> None:
    work.push(server="import os\nraise SystemExit(os.environ['DATABASE_URL'] + ' is ' + 'wrong ' * 55)\n")
    host.call_hook()
    (deploy,) = host.settled()
    assert "wrong" in deploy["error_message"]
    password = urlsplit(database_url).password
    assert password
    assert password[-8:] not in deploy["error_message"]


def test_of_the_hooks_that_wait_only_the_last_is_built(host: Running, work: Work, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    site = (LMS / "site" / "server.py").read_text()
    closed = f"    import pathlib\n    while not pathlib.Path({str(gate)!r}).exists():\n        time.sleep(0.02)\n"
    work.push(server=site.replace("def main() -> None:\n", f"def main() -> None:\n{closed}"))
    host.call_hook("?trigger_title=first")
    until(lambda: host.deploys()[0]["commit_ref"] is not None)
    commit = work.push()
    for title in ("second", "third", "fourth"):
        host.call_hook(f"?trigger_title={title}")
    gate.touch()
    deploys = {deploy["title"]: deploy for deploy in host.settled()}
    assert {title: deploy["skipped"] for title, deploy in deploys.items()} == {
        "first": False,
        "second": True,
        "third": True,
        "fourth": False,
    }
    assert (deploys["first"]["state"], deploys["second"]["state"]) == ("ready", "error")
    assert deploys["fourth"]["commit_ref"] == commit
    assert commit in host.ask("GET", "/").text


def test_another_branch_is_built_beside_production(host: Running, work: Work) -> None:
    production = work.push()
    host.call_hook()
    preview = work.push(branch="preview")
    host.call_hook("?trigger_branch=preview")
    deploy = host.settled()[-1]
    assert (deploy["context"], deploy["commit_ref"]) == ("branch-deploy", preview)
    assert is_listening(deploy["deploy_ssl_url"])
    assert production in host.ask("GET", "/").text


def test_a_branch_that_nobody_pushed_is_an_error(host: Running) -> None:
    host.call_hook("?trigger_branch=--upload-pack=x")
    (deploy,) = host.settled()
    assert deploy["state"] == "error"
    assert "cannot be checked out" in deploy["error_message"]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "/build_hooks/0123456789abcdef01234567", 404),
        ("GET", "/build_hooks/0123456789abcdef01234567", 404),
        ("POST", "/build_hooks/", 404),
        ("GET", "/api/v1/deploys/0123", 401),
        ("GET", "/api/v1/sites/0123/deploys", 401),
    ],
)
def test_strangers_are_turned_away(host: Running, method: str, path: str, status: int) -> None:
    assert host.ask(method, path).status == status
    assert host.deploys() == []


def test_the_hook_is_for_posting(host: Running) -> None:
    answer = host.ask("GET", host.hook)
    assert (answer.status, answer.headers["Allow"]) == (405, "POST")
    assert host.deploys() == []


def test_what_the_api_does_not_know_is_not_found(host: Running) -> None:
    bearer = {"Authorization": f"Bearer {host.announced['token']}"}
    for path in ("/deploys/0123", "/sites/0123/deploys", "/accounts"):
        assert host.ask("GET", f"/api/v1{path}", headers=bearer).status == 404


def test_a_body_beyond_one_mebibyte_is_refused(host: Running, work: Work) -> None:
    work.push()
    host.call_hook()
    host.settled()
    assert host.ask("POST", "/api/enrol", body=b" " * (1024 * 1024)).status == 400
    assert host.ask("POST", "/api/enrol", body=b" " * (1024 * 1024 + 1)).status == 413


def test_the_hook_stays_the_same_when_the_host_starts_again(work: Work, tmp_path: Path, database_url: str) -> None:
    work.push()
    with hosting(work, tmp_path / "state", database_url) as host:
        hook, token = host.hook, host.announced["token"]
    with hosting(work, tmp_path / "state", database_url) as host:
        assert (host.hook, host.announced["token"]) == (hook, token)
    assert (tmp_path / "state" / "host.json").stat().st_mode & 0o077 == 0


def test_told_to_leave_the_host_takes_its_sites_along(host: Running, work: Work) -> None:
    work.push()
    host.call_hook()
    host.call_hook("?trigger_branch=main")
    deploy = host.settled()[-1]
    host.process.send_signal(signal.SIGTERM)
    assert host.process.wait() == 0
    assert not is_listening(deploy["deploy_ssl_url"])
    assert not is_listening(host.announced["site_url"])


def test_told_to_leave_in_the_middle_of_a_build_the_host_takes_that_along(host: Running, work: Work, tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    work.push(server=f"import os, time\nopen({str(pid_file)!r}, 'w').write(str(os.getpid()))\ntime.sleep(600)\n")
    host.call_hook()
    until(lambda: pid_file.exists() and pid_file.read_text() != "")
    host.process.send_signal(signal.SIGTERM)
    assert host.process.wait() == 0
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid_file.read_text()), 0)


def test_a_killed_host_leaves_no_orphan(host: Running, work: Work) -> None:
    work.push()
    host.call_hook()
    (deploy,) = host.settled()
    assert is_listening(deploy["deploy_ssl_url"])
    host.process.kill()
    until(lambda: not is_listening(deploy["deploy_ssl_url"]))


def test_at_the_end_of_its_input_the_host_leaves(host: Running, work: Work) -> None:
    work.push()
    host.call_hook()
    (deploy,) = host.settled()
    assert host.process.stdin is not None
    host.process.stdin.close()
    assert host.process.wait() == 0
    assert not is_listening(deploy["deploy_ssl_url"])
