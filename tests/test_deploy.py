"""Releases that end on a site: the hook, the proof, the channel, and what happens when one of them fails."""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import pytest
from tests.conftest import LMS, PASSWORD, ROOT, Cli, Database, Ran

from autopilot import programs

CLOSED = "http://127.0.0.1:1"
MORE = "20250602090000_more.sql"
LAST = "20250603090000_still_more.sql"
HEALTH_KEYS = {"site_status", "health_status", "db_status", "site_response_time", "db_response_time"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """A team's clone, the host that builds from its remote, the channel, and the command line in that clone."""

    cli: Cli
    database: Database
    clone: Path
    host: Mapping[str, Any]
    webhook: str
    messages_file: Path

    def push(self, name: str | None = None, text: str = "") -> str:
        """Commits and pushes, with a new migration where one is named; returns the commit."""
        commit = self.commit(name, text)
        git(self.clone, "push", "--quiet", "origin", "HEAD:main")
        return commit

    def commit(self, name: str | None = None, text: str = "") -> str:
        if name is not None:
            self.cli.write(name, text)
        git(self.clone, "add", ".")
        git(self.clone, "commit", "--quiet", "--allow-empty", "--message", "Work")
        return git(self.clone, "rev-parse", "HEAD")

    def release(self, *options: str, **env: str) -> Ran:
        return replace(self.cli, env=self.cli.env | env)("migrate", *options)

    def rush(self, *options: str, **env: str) -> Ran:
        """A release without backup and rehearsal."""
        return self.release("--no-backup", *options, **env)

    def messages(self) -> list[str]:
        if not self.messages_file.exists():
            return []
        return [json.loads(line)["text"] for line in self.messages_file.read_text().splitlines()]

    def site(self, path: str = "/") -> str:
        with urllib.request.urlopen(f"{self.host['site_url'].rstrip('/')}{path}", timeout=10) as answer:
            return str(answer.read().decode())

    def deploys(self) -> list[dict[str, Any]]:
        """What the host says it built, oldest first."""
        url = f"http://127.0.0.1:{self.host['port']}/api/v1/sites/{self.host['site_id']}/deploys"
        request = urllib.request.Request(url, headers={"Authorization": f"Bearer {self.host['token']}"})
        with urllib.request.urlopen(request, timeout=10) as answer:
            found: list[dict[str, Any]] = json.loads(answer.read())
        return found[::-1]

    def deployments(self) -> list[tuple[Any, ...]]:
        return self.database.rows("select status, commit_sha from automation.deployment_log order by id")


def git(directory: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=Team", "-c", "user.email=team@harbour.example")
    finished = programs.run(programs.Command(argv=("git", *identity, *arguments), cwd=directory))
    assert finished.ok, finished.stderr
    return finished.stdout.decode().strip()


@contextlib.contextmanager
def standing_in(*argv: str, **env: str) -> Iterator[dict[str, Any]]:
    """A stand-in as its own process; yields what it announces."""
    command = programs.Command(
        argv=(sys.executable, "-m", *argv), env={"PYTHONPATH": str(ROOT / "src"), "STOP_ON_EOF": "1", **env}, stdin=b""
    )
    with programs.ended(programs.start(command, stderr=None)) as process:
        assert process.stdout is not None
        yield json.loads(process.stdout.readline())
        process.terminate()
        process.wait()


@pytest.fixture
def stage(tmp_path: Path, database: Database, released_once: Callable[[Database, Cli], None]) -> Iterator[Stage]:
    """The sample project, released once without a deploy; the host has built nothing yet."""
    clone, bare, state = tmp_path / "clone", tmp_path / "site.git", tmp_path / "state"
    git(tmp_path, "init", "--quiet", "--bare", "--initial-branch=main", str(bare))
    git(tmp_path, "init", "--quiet", "--initial-branch=main", str(clone))
    git(clone, "remote", "add", "origin", str(bare))
    shutil.copytree(LMS, clone, dirs_exist_ok=True)
    (clone / ".gitignore").write_text("supabase/backups/\n")
    cli = Cli(home=clone, env={"SUPABASE_DB_URL": database.url, "AUTOPILOT_VERIFY_S": "90"})
    released_once(database, cli)
    host_argv = (
        "autopilot.demo.host",
        "--repository",
        str(bare),
        "--branch",
        "main",
        "--port",
        "0",
        "--state",
        str(state / "host"),
    )
    channel_argv = ("autopilot.demo.channel", "--port", "0", "--state", str(state / "channel"))
    with standing_in(*host_argv, DATABASE_URL=database.url) as host, standing_in(*channel_argv) as channel:
        cli.env |= {
            "NETLIFY_BUILD_HOOK": host["hook_url"],
            "SITE_URL": host["site_url"],
            "HEALTH_URL": host["site_url"].rstrip("/") + "/api/health",
            "SLACK_WEBHOOK_URL": channel["webhook_url"],
        }
        yield Stage(
            cli=cli, database=database, clone=clone, host=host, webhook=channel["webhook_url"],
            messages_file=state / "channel" / "messages.jsonl",
        )  # fmt: skip


def document(ran: Ran) -> dict[str, Any]:
    assert ran.out.count("\n") == 1, ran.out
    found: dict[str, Any] = json.loads(ran.out)
    return found


def table(name: str) -> str:
    return f"create table public.{name} (id bigint primary key);\n"


def everything_told(stage: Stage, *runs: Ran) -> str:
    """All that a stranger might read: what was printed, the automation tables, the messages."""
    said = [part for ran in runs for part in (ran.out, ran.err)]
    names = stage.database.rows("select relname from pg_class where relnamespace = 'automation'::regnamespace and relkind = 'r'")
    said += [str(stage.database.rows(f"select t::text from automation.{name} t")) for (name,) in names]
    return "\n".join([*said, *stage.messages()])


def assert_no_secret_in(text: str, stage: Stage) -> None:
    for url in (stage.host["hook_url"], stage.webhook):
        assert urlsplit(url).path.rsplit("/", 1)[-1] not in text
    for word in (PASSWORD.reveal(), quote(PASSWORD.reveal(), safe=""), stage.host["token"]):
        assert word not in text
    assert "Traceback" not in text


def test_a_release_is_proven_by_the_commit_that_answers(stage: Stage) -> None:
    commit = stage.push(MORE, table("more"))
    ran = stage.release("--json", "--commit", commit)
    told = document(ran)
    assert (ran.code, told["outcome"], told["applied"]) == (0, "released", ["20250602090000"]), ran.err
    assert (told["deploy"]["platform"], told["deploy"]["status"], told["deploy"]["proven"]) == ("netlify", "success", True)
    assert commit[:12] in told["deploy"]["notes"]
    assert f'<meta name="commit" content="{commit}">' in stage.site()
    assert json.loads(stage.site("/api/health"))["commit"] == commit
    assert [deploy["commit_ref"] for deploy in stage.deploys()] == [commit]


def test_the_next_release_takes_the_firsts_place(stage: Stage) -> None:
    assert stage.rush("--commit", stage.push(MORE, table("more"))).code == 0
    commit = stage.push(LAST, table("still_more"))
    assert stage.rush("--commit", commit).code == 0
    assert commit in stage.site()
    assert [status for status, _ in stage.deployments()] == ["success", "success"]


def test_without_the_option_the_commit_is_the_repositorys_head(stage: Stage) -> None:
    commit = stage.push(MORE, table("more"))
    assert document(stage.rush("--json"))["deploy"]["proven"] is True
    assert stage.database.value("select commit_sha from automation.migration_log order by id desc limit 1") == commit


def test_a_deployment_walks_from_triggered_over_building_to_success(stage: Stage) -> None:
    stage.database.run(
        "create table public.walk (step bigserial, status text);"
        "create function public.walked() returns trigger language plpgsql as"
        " $$ begin insert into public.walk (status) values (new.status); return new; end $$;"
        "create trigger walk after insert or update on automation.deployment_log for each row execute function public.walked()"
    )
    commit = stage.push(MORE, table("more"))
    told = document(stage.rush("--json", "--commit", commit))
    assert stage.database.rows("select status from public.walk order by step") == [("triggered",), ("building",), ("success",)]
    row = stage.database.rows(
        "select d.platform, d.url, d.commit_sha, d.finished_at is not null, m.status, m.run_id"
        " from automation.deployment_log d join automation.migration_log m on m.id = d.migration_log_id"
    )
    assert row == [("netlify", stage.host["site_url"], commit, True, "success", told["run_id"])]


def test_the_proof_is_written_to_the_health_log(stage: Stage) -> None:
    stage.rush("--commit", stage.push(MORE, table("more")))
    ((status, milliseconds, checks),) = stage.database.rows("select status, response_time_ms, checks from automation.health_log")
    assert status == "healthy"
    assert milliseconds >= 0
    assert set(checks) >= HEALTH_KEYS
    assert (checks["site_status"], checks["health_status"], checks["db_status"]) == ("200", "200", "200")


def test_the_channel_hears_of_the_backup_and_of_the_success(stage: Stage) -> None:
    commit = stage.push(MORE, table("more"))
    told = document(stage.release("--json", "--commit", commit))
    begun, done = stage.messages()
    assert begun.startswith("🚀 Backup created")
    assert done.startswith("✅ Migration success")
    assert "Deploy triggered" in done
    assert "backup is retained" in done
    blocks = [json.loads(line) for line in stage.messages_file.read_text().splitlines()]
    assert all(told["backup"]["file"] in json.dumps(message) for message in blocks)


@pytest.mark.parametrize(
    ("options", "words"), [((), "🚀 Backup created"), (("--no-backup",), "🚀 Migration started")], ids=["backup", "no backup"]
)
def test_the_channel_hears_of_a_failure(stage: Stage, options: tuple[str, ...], words: str) -> None:
    stage.commit(MORE, "alter table public.attempts add constraint fair check (score <= 100);\n")
    ran = stage.release(*options)
    assert ran.code == (3 if options else 1)
    begun, failed = stage.messages()
    assert begun.startswith(words)
    assert failed.startswith("❌ Migration failed")
    assert "fair" in failed
    assert_no_secret_in(everything_told(stage, ran), stage)


def test_with_nothing_pending_nobody_is_bothered(stage: Stage) -> None:
    assert stage.release().code == 0
    assert (stage.messages(), stage.deploys(), stage.deployments()) == ([], [], [])


def test_a_hook_that_is_gone_leaves_the_migration_applied_and_says_so(stage: Stage) -> None:
    commit = stage.push(MORE, table("more"))
    gone = stage.host["hook_url"].rsplit("/", 1)[0] + "/0123456789abcdef01234567"
    ran = stage.rush("--json", "--commit", commit, NETLIFY_BUILD_HOOK=gone)
    told = document(ran)
    assert (ran.code, told["outcome"], told["error"]["code"]) == (4, "stranded", "deploy_not_triggered")
    assert (told["applied"], told["pending"]) == (["20250602090000"], [])
    assert "404" in told["error"]["message"]
    assert "applied and recorded" in ran.err
    assert stage.deployments() == [("failed", commit)]
    assert stage.database.value("select status from automation.migration_log order by id desc limit 1") == "success"
    assert stage.messages()[-1].startswith("❌")
    assert_no_secret_in(everything_told(stage, ran), stage)
    assert "0123456789abcdef01234567" not in ran.out + ran.err


def test_after_a_hook_that_was_gone_only_the_deploy_is_made_up_for(stage: Stage) -> None:
    commit = stage.push(MORE, table("more"))
    gone = stage.host["hook_url"].rsplit("/", 1)[0] + "/0123456789abcdef01234567"
    stage.release("--commit", commit, NETLIFY_BUILD_HOOK=gone)
    backups = sorted(stage.cli.backups.iterdir())
    ran = stage.release("--json", "--commit", commit)
    told = document(ran)
    assert (ran.code, told["outcome"], told["applied"], told["backup"]) == (0, "released", [], None), ran.err
    assert told["deploy"]["proven"] is True
    assert sorted(stage.cli.backups.iterdir()) == backups
    assert stage.deployments() == [("failed", commit), ("success", commit)]
    assert commit in stage.site()
    assert document(stage.release("--json", "--commit", commit))["outcome"] == "nothing_to_do"
    assert len(stage.deploys()) == 1


def test_a_site_that_stays_on_the_old_commit_is_not_taken_for_the_new_one(stage: Stage) -> None:
    old = stage.push(MORE, table("more"))
    assert stage.rush("--commit", old).code == 0
    unpushed = stage.commit(LAST, table("still_more"))
    ran = stage.rush("--json", "--commit", unpushed, AUTOPILOT_VERIFY_S="2")
    told = document(ran)
    assert (ran.code, told["outcome"], told["error"]["code"]) == (4, "stranded", "deploy_did_not_come")
    assert told["applied"] == ["20250603090000"]
    assert old[:12] in told["error"]["message"]
    assert unpushed[:12] in told["error"]["message"]
    assert stage.deployments() == [("success", old), ("failed", unpushed)]
    assert stage.messages()[-1].startswith("❌")


def test_a_site_that_breaks_is_not_called_healthy(stage: Stage) -> None:
    assert stage.rush("--commit", stage.push(MORE, table("more"))).code == 0
    breaking = stage.push(LAST, "alter table public.courses rename to lessons_learned;\n")
    ran = stage.rush("--json", "--commit", breaking, AUTOPILOT_VERIFY_S="3")
    told = document(ran)
    assert (ran.code, told["error"]["code"]) == (4, "deploy_not_proven")
    assert "503" in told["error"]["message"]
    status, checks = stage.database.rows("select status, checks from automation.health_log order by id desc limit 1")[0]
    assert (status, checks["health_status"]) == ("unhealthy", "503")


def test_a_channel_that_is_down_does_not_hold_up_the_release(stage: Stage) -> None:
    commit = stage.push(MORE, table("more"))
    ran = stage.rush("--json", "--commit", commit, SLACK_WEBHOOK_URL=f"{CLOSED}/services/T0/B0/s3cr3tpath")
    assert (ran.code, document(ran)["outcome"]) == (0, "released")
    assert "Slack gave no answer" in ran.err
    assert "s3cr3tpath" not in ran.err
    assert stage.deployments() == [("success", commit)]


def test_no_secret_is_told_by_a_release(stage: Stage) -> None:
    commit = stage.push(MORE, table("more"))
    quiet = stage.release("--commit", commit)
    loud = stage.release("--json", "--commit", stage.push(LAST, table("still_more")))
    assert (quiet.code, loud.code) == (0, 0)
    others = [stage.cli(*words) for words in (("status",), ("log", "--json"), ("plan", "--json"), ("rollback", "--plan"))]
    assert [ran.code for ran in others] == [0] * 4
    assert_no_secret_in(everything_told(stage, quiet, loud, *others), stage)


def test_no_secret_is_seen_in_the_process_list_while_it_runs(stage: Stage) -> None:
    commit = stage.push(MORE, "select pg_sleep(1);\n" + table("more"))
    seen: set[str] = set()
    with stage.cli.start("migrate", "--commit", commit) as process:
        while process.poll() is None:
            seen |= family(process.pid)
        process.communicate()
    assert process.returncode == 0
    assert seen
    assert_no_secret_in("\n".join(seen), stage)


def family(root: int) -> set[str]:
    """The command lines of a process and of all that it started."""
    listing = subprocess.run(("ps", "-eww", "-o", "pid=,ppid=,args="), capture_output=True, check=True, text=True).stdout
    processes = [line.split(None, 2) for line in listing.splitlines()]
    members = {root}
    for pid, parent, *_ in sorted(processes, key=lambda process: int(process[0])):
        if int(parent) in members:
            members.add(int(pid))
    return {" ".join(arguments) for pid, _, *arguments in processes if int(pid) in members}


def test_without_a_health_address_a_deploy_is_asked_for_and_not_called_proven(stage: Stage) -> None:
    commit = stage.push(MORE, table("more"))
    told = document(stage.rush("--json", "--commit", commit, SITE_URL="", HEALTH_URL=""))
    assert (told["outcome"], told["deploy"]["proven"]) == ("released", None)
    assert "not looked at" in told["deploy"]["notes"]
