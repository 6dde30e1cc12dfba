"""What only reads: plan, status, log, backup list, the way back, and the contract's own queries."""

from __future__ import annotations

import contextlib
import json
import secrets
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest
from psycopg import sql
from tests.conftest import Cli, Database, Ran

from autopilot.postgres.embedded import EmbeddedServer
from autopilot.secret import Secret

FIRST = "20250101090000_first.sql"
SECOND = "20250102090000_second.sql"
INDEX = "20250103090000_index.sql"
RENAMED = "20250101090000_renamed.sql"
FIRST_TEXT = "create table things (id bigint primary key, body text);\ninsert into things values (1, 'one');\n"
SECOND_TEXT = "alter table things add column size bigint;\n"
INDEX_TEXT = "create index concurrently things_body_idx on things (body);\n"
#: "Queries" of the contract, word for word.
QUERIES = {
    "activity": "SELECT * FROM automation.recent_activity LIMIT 20;",
    "migrations": "SELECT ran_at, commit_sha, status, duration_ms, notes FROM automation.migration_log"
    " ORDER BY ran_at DESC LIMIT 10;",
    "health": "SELECT checked_at, status, response_time_ms, checks->>'site_status' as site_status,"
    " checks->>'db_status' as db_status FROM automation.health_log ORDER BY checked_at DESC LIMIT 20;",
    "deployments": "SELECT deployed_at, platform, status, notes FROM automation.deployment_log"
    " ORDER BY deployed_at DESC LIMIT 10;",
    "uptime": "SELECT COUNT(*) FILTER (WHERE status = 'healthy') * 100.0 / COUNT(*) as uptime_percentage,"
    " COUNT(*) FILTER (WHERE status = 'healthy') as healthy_checks,"
    " COUNT(*) FILTER (WHERE status = 'unhealthy') as unhealthy_checks, AVG(response_time_ms) as avg_response_time"
    " FROM automation.health_log WHERE checked_at > NOW() - INTERVAL '24 hours';",
    "week": "SELECT COUNT(*) FILTER (WHERE status = 'failure') as failed_migrations,"
    " COUNT(*) FILTER (WHERE status = 'rollback') as rollbacks,"
    " COUNT(*) FILTER (WHERE status = 'success') as successful_migrations"
    " FROM automation.migration_log WHERE ran_at > NOW() - INTERVAL '7 days';",
    "dashboard": "SELECT * FROM automation.dashboard_stats;",
}
TABLES = (
    "applied_migrations", "deployment_log", "health_log", "migration_log", "migration_segments", "outbox", "outbox_deliveries",
    "pages", "rehearsed_files",
    "restore_points", "restore_tests", "runs", "ways_back",
    "schema_versions",
)  # fmt: skip
VIEWS = (
    "recent_activity",
    "dashboard_stats",
    "health_log_rollup",
    "health_log_daily",
    "recent_incidents",
    "system_health_summary",
)


@pytest.fixture
def released(cli: Cli) -> Cli:
    """One release with its backup."""
    cli.write(FIRST, FIRST_TEXT)
    assert cli("migrate", "--commit", "0123456789abcdef0123", "--triggered-by", "a test").code == 0
    return cli


@pytest.fixture
def recorded(cli: Cli, database: Database, released_once: Callable[[Database, Cli], None]) -> Cli:
    """One release without a backup."""
    cli.write(FIRST, FIRST_TEXT)
    released_once(database, cli)
    return cli


@pytest.fixture
def new_reader(server: EmbeddedServer, database: Database) -> Iterator[Callable[[], tuple[str, str]]]:
    """Makes roles that may log in and read the user's tables, nothing else; gives name and URL."""
    made: list[str] = []

    def make() -> tuple[str, str]:
        name, password = f"reader_{secrets.token_hex(4)}", Secret("reader-Pa55word")
        made.append(name)
        database.run(f"create role {name} login password '{password.reveal()}'", admin=True)
        database.run(f"grant select on all tables in schema public to {name}", admin=True)
        return name, server.url(database.name, user=name, password=password).reveal()

    yield make
    with psycopg.connect(database.admin_url, autocommit=True) as connection:
        for name in made:
            connection.execute(sql.SQL("drop owned by {}").format(sql.Identifier(name)))
            connection.execute(sql.SQL("drop role {}").format(sql.Identifier(name)))


def document(ran: Ran) -> Any:
    assert ran.out.count("\n") == 1, ran.out + ran.err
    return json.loads(ran.out)


def asking(cli: Cli, url: str) -> Cli:
    return replace(cli, env=cli.env | {"SUPABASE_DB_URL": url})


def by_column(database: Database, query: str) -> list[dict[str, Any]]:
    with psycopg.connect(database.admin_url, row_factory=psycopg.rows.dict_row) as connection:
        return connection.execute(query.encode()).fetchall()


# plan


def test_a_plan_tells_what_the_contract_promises(recorded: Cli) -> None:
    recorded.write(SECOND, SECOND_TEXT)
    recorded.write(INDEX, INDEX_TEXT)
    ran = recorded("plan", "--json")
    told = document(ran)
    assert ran.code == 0
    assert {"pending", "applied", "drift", "refusals"} <= set(told)
    second, index = told["pending"]
    assert {"version", "name", "file", "sha256", "statements", "transactional", "findings"} <= set(second)
    assert second["change"] in {"expand", "data", "contract", "irreversible"}
    assert len(second["changes"]) == second["statements"]
    assert not second["after_deploy"]
    assert (second["version"], second["name"], second["file"]) == ("20250102090000", "second", SECOND)
    assert (second["statements"], second["transactional"], index["transactional"]) == (1, True, False)
    assert (told["applied"], told["drift"], told["refusals"]) == (["20250101090000"], [], [])


def test_a_findings_place_and_remedy_are_told(cli: Cli) -> None:
    cli.write(FIRST, FIRST_TEXT)
    cli.write(SECOND, "alter table things alter column body set not null;\n\nalter table things drop column body;\n")
    findings = document(cli("plan", "--json"))["pending"][1]["findings"]
    assert set(findings[0]) == {"rule", "severity", "line", "message", "hint"}
    assert ("ban-drop-column", 3) in [(f["rule"], f["line"]) for f in findings]
    assert "ban-drop-column" in cli("plan").out


def test_a_plan_writes_nothing(cli: Cli, database: Database) -> None:
    cli.write(FIRST, FIRST_TEXT)
    assert cli("plan").code == 0
    assert cli("status").code == 0
    assert cli("log").code == 0
    assert cli("rollback", "--plan").code == 0
    assert database.value("select to_regnamespace('automation') is null and to_regnamespace('supabase_migrations') is null")
    assert not cli.backups.exists()


def test_a_plan_says_when_nothing_is_pending(recorded: Cli) -> None:
    ran = recorded("plan")
    assert (ran.code, "Nothing is pending." in ran.out) == (0, True)


def test_on_a_fresh_target_a_role_that_only_reads_may_plan(cli: Cli, new_reader: Callable[[], tuple[str, str]]) -> None:
    cli.write(FIRST, FIRST_TEXT)
    _, url = new_reader()
    told = document(asking(cli, url)("plan", "--json"))
    assert [p["version"] for p in told["pending"]] == ["20250101090000"]


def test_a_listed_admin_may_plan_and_ask_and_look_back(
    cli: Cli, database: Database, new_reader: Callable[[], tuple[str, str]]
) -> None:
    name, url = new_reader()
    (cli.home / "autopilot.toml").write_text(f'admins = ["{name}"]\n')
    cli.write(FIRST, FIRST_TEXT)
    assert cli("migrate", "--no-backup").code == 0
    cli.write(SECOND, SECOND_TEXT)
    admin = asking(cli, url)
    assert admin("plan", "--json").code == 0, admin("plan").err
    assert [p["version"] for p in document(admin("plan", "--json"))["pending"]] == ["20250102090000"]
    assert document(admin("status", "--json"))["applied"] == ["20250101090000"]
    assert len(document(admin("log", "--json"))) == 1
    assert database.value("select count(*) from automation.runs") == 1


@pytest.mark.parametrize("words", [("plan",), ("status",), ("log",), ("rollback", "--plan")], ids=lambda words: words[0])
def test_who_may_not_read_the_audit_trail_is_told_so(
    recorded: Cli, new_reader: Callable[[], tuple[str, str]], words: tuple[str, ...]
) -> None:
    _, url = new_reader()
    ran = asking(recorded, url)(*words)
    assert ran.code == 1, ran.err
    assert "Next: " in ran.err
    assert "Traceback" not in ran.err
    assert "did not expect" not in ran.err
    assert "reader-Pa55word" not in ran.out + ran.err


@pytest.mark.parametrize(
    ("name", "text", "code", "option"),
    [
        pytest.param(FIRST, FIRST_TEXT + "-- more\n", "edited_after_applied", ("--accept-edited", "20250101090000"), id="edited"),
        pytest.param("20240101090000_old.sql", "select 1;\n", "out_of_order", ("--allow-out-of-order",), id="out of order"),
    ],
)
def test_a_plan_that_would_be_refused_exits_with_1_until_it_is_allowed(
    recorded: Cli, name: str, text: str, code: str, option: tuple[str, ...]
) -> None:
    recorded.write(name, text)
    ran = recorded("plan", "--json")
    assert (ran.code, [r["code"] for r in document(ran)["refusals"]]) == (1, [code])
    shown = recorded("plan")
    assert (shown.code, "Next: " in shown.out + shown.err) == (1, True)
    assert recorded("plan", *option).code == 0


def test_a_plan_of_what_cannot_be_parsed_names_the_line(recorded: Cli) -> None:
    recorded.write(SECOND, "select 1;\ncreate tabel x ();\n")
    ran = recorded("plan", "--json")
    assert ran.code == 1
    assert f"{SECOND}:2" in ran.err + ran.out


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        pytest.param(lambda cli: (cli.migrations / FIRST).unlink(), "deleted", id="deleted"),
        pytest.param(
            lambda cli: (cli.migrations / FIRST).rename(cli.migrations / "20250101090000_x.sql"), "renamed", id="renamed"
        ),
        pytest.param(lambda cli: cli.write(FIRST, FIRST_TEXT + "-- more\n"), "edited", id="edited"),
    ],
)
def test_drift_is_shown(recorded: Cli, change: Callable[[Cli], object], kind: str) -> None:
    change(recorded)
    for command in ("plan", "status"):
        assert [d["kind"] for d in document(recorded(command, "--json"))["drift"]] == [kind]
    assert "Drift" in recorded("status").out


def test_what_another_tool_applied_counts_as_applied_and_is_shown(recorded: Cli, database: Database) -> None:
    database.run("insert into supabase_migrations.schema_migrations (version, name) values ('20250101120000', 'elsewhere')")
    told = document(recorded("plan", "--json"))
    assert told["applied"] == ["20250101090000", "20250101120000"]
    assert [d["kind"] for d in told["drift"]] == ["applied_elsewhere"]


# status and log


def test_status_tells_where_the_target_stands(released: Cli, database: Database) -> None:
    released.write(SECOND, SECOND_TEXT)
    told = document(released("status", "--json"))
    assert (told["database"], told["applied"], told["pending"]) == (database.name, ["20250101090000"], ["20250102090000"])
    assert (told["last_run"]["state"], told["last_run"]["triggered_by"]) == ("released", "a test")
    assert told["last_backup"]["state"] == "good"
    assert told["open_incidents"] == 0
    shown = released("status").out
    for words in (SECOND, "released", "0123456789ab", told["last_backup"]["file"]):
        assert words in shown


def test_status_of_a_target_that_was_never_seen_says_so(cli: Cli) -> None:
    cli.write(FIRST, FIRST_TEXT)
    assert "never here" in cli("status").out
    assert (document(cli("status", "--json"))["last_run"], cli("log").code) == (None, 0)


def test_the_log_is_a_timeline_with_the_newest_last(released: Cli) -> None:
    released.write(SECOND, "select 1/0;\n")
    assert released("migrate").code == 1
    told = document(released("log", "--json"))
    assert [(a["kind"], a["status"]) for a in told] == [("migration", "success"), ("migration", "failure")]
    assert {"activity_at", "summary", "commit_sha", "run_id"} <= set(told[0])
    lines = released("log").out.splitlines()
    assert "success" in lines[0]
    assert "division by zero" in lines[1]
    assert [len(released("log", "--limit", "1").out.splitlines())] == [1]
    assert "failure" in released("log", "--limit", "1").out


@pytest.mark.parametrize(
    ("since", "count"),
    [
        *(("90s", 1), ("5m", 1), ("2h", 1), ("7d", 1), ("4w", 1), ("0s", 0), ("9999-01-01", 0)),
        *((f"2020-01-01{rest}", 1) for rest in ("", "T10:00", "T10:00:00+02:00", "T10:00:00Z")),
    ],
)
def test_the_log_begins_where_it_is_asked_to(recorded: Cli, since: str, count: int) -> None:
    assert len(document(recorded("log", "--json", "--since", since))) == count


def test_the_log_since_this_moment_is_empty_and_says_so(recorded: Cli) -> None:
    now = datetime.now(UTC).isoformat()
    assert "Nothing has happened since" in recorded("log", "--since", now).out


@pytest.mark.parametrize(
    "since", ["yesterday", "", "7", "-2h", "2 h", "1y", "2026-13-01", "2h; drop table x", "999999d", "999999w", "10:00", "٣h"]
)
def test_a_since_that_is_no_time_is_a_usage_error(cli: Cli, since: str) -> None:
    ran = cli("log", "--since", since)
    assert ran.code == 2, ran.err
    assert "--since" in ran.err
    assert "Traceback" not in ran.err


def test_following_goes_on_until_it_is_stopped(recorded: Cli) -> None:
    with recorded.start("log", "--follow") as process:
        assert process.stdout is not None
        assert b"success" in process.stdout.readline()
        recorded.write(SECOND, SECOND_TEXT)
        assert recorded("migrate", "--no-backup").code == 0
        assert SECOND.encode() in process.stdout.readline()
        process.terminate()
        process.communicate(timeout=30)
    assert process.returncode == 143


# backups


def test_backups_are_listed_newest_first(released: Cli) -> None:
    released.write(SECOND, SECOND_TEXT)
    assert released("migrate").code == 0
    ran = released("backup", "list", "--json")
    told = document(ran)
    assert (ran.code, [b["state"] for b in told]) == (0, ["good", "good"])
    assert [b["file"] for b in told] == sorted((b["file"] for b in told), reverse=True) or told[0]["taken_at"] > told[1][
        "taken_at"
    ]
    assert {"file", "state", "taken_at", "size_bytes", "sha256", "database", "run_id", "commit_sha"} <= set(told[0])
    assert all(b["file"] in released("backup", "list").out for b in told)


def damaged(cli: Cli) -> None:
    (file,) = cli.backups.glob("*.dump")
    raw = bytearray(file.read_bytes())
    raw[len(raw) // 2] ^= 0xFF
    file.write_bytes(raw)


def cut_short(cli: Cli) -> None:
    (file,) = cli.backups.glob("*.dump")
    file.write_bytes(file.read_bytes()[:-1])


def missing(cli: Cli) -> None:
    (file,) = cli.backups.glob("*.dump")
    file.unlink()


def without_its_manifest(cli: Cli) -> None:
    (file,) = cli.backups.glob("*.manifest.json")
    file.unlink()


def with_a_broken_manifest(cli: Cli) -> None:
    (file,) = cli.backups.glob("*.manifest.json")
    file.write_text("{")


@pytest.mark.parametrize(
    ("harm", "options", "state", "code"),
    [
        pytest.param(damaged, (), "good", 0, id="a byte changed, sizes compared"),
        pytest.param(damaged, ("--verify",), "damaged", 1, id="a byte changed, hashes compared"),
        pytest.param(cut_short, (), "damaged", 1, id="a byte short"),
        pytest.param(missing, (), "missing", 1, id="gone"),
        pytest.param(missing, ("--verify",), "missing", 1, id="gone, hashes compared"),
        pytest.param(without_its_manifest, (), "no manifest", 0, id="no manifest"),
        pytest.param(with_a_broken_manifest, (), "damaged", 1, id="a broken manifest"),
    ],
)
def test_a_backup_that_is_not_what_it_was_is_seen(
    released: Cli, harm: Callable[[Cli], None], options: tuple[str, ...], state: str, code: int
) -> None:
    harm(released)
    ran = released("backup", "list", "--json", *options)
    assert ([b["state"] for b in document(ran)], ran.code) == ([state], code)
    assert state in released("backup", "list", *options).out


def test_without_backups_the_list_says_so(cli: Cli) -> None:
    ran = cli("backup", "list")
    assert (ran.code, "No backups in" in ran.out) == (0, True)
    assert document(cli("backup", "list", "--json")) == []


# the way back


def test_the_way_back_names_what_would_be_lost(released: Cli, database: Database) -> None:
    released.write(SECOND, SECOND_TEXT)
    assert released("migrate").code == 0
    database.run("insert into things values (2, 'two'), (3, 'three')")
    told = document(released("rollback", "--plan", "--json"))
    names = [route["name"] for route in told["routes"]]
    assert names == [
        "undo in one transaction", "last good deploy", "a migration that undoes it", "merge rows from the backup",
        "restore from backup", "the provider's point in time",
    ]  # fmt: skip
    assert told["routes"][0]["loses"] == told["routes"][1]["loses"] == []
    assert told["routes"][4]["loses"] == [{"table": "public.things", "rows_then": 1, "rows_now": 3}]
    assert told["routes"][4]["may_lose_more"]
    assert "public.things: 1 row then, 3 now (+2)" in released("rollback", "--plan").out
    assert "20250102090000" in told["summary"]


def test_a_way_back_from_an_earlier_run_can_be_asked_for(released: Cli) -> None:
    run_id = document(released("status", "--json"))["last_run"]["run_id"]
    released.write(SECOND, SECOND_TEXT)
    assert released("migrate").code == 0
    assert run_id in document(released("rollback", "--plan", "--json", "--to", run_id))["summary"]
    ran = released("rollback", "--plan", "--json", "--to", "nosuchrun")
    assert (ran.code, document(ran)["error"]["code"]) == (1, "unknown_run")


def test_a_damaged_backup_is_no_way_back(released: Cli) -> None:
    damaged(released)
    told = document(released("rollback", "--plan", "--json"))
    possible = {route["name"]: route["possible"] for route in told["routes"]}
    assert (possible["restore from backup"], possible["undo in one transaction"]) == (False, True)
    assert "missing or damaged" in told["summary"]


def test_after_a_refusal_only_the_release_before_it_can_be_undone(released: Cli) -> None:
    before = document(released("rollback", "--plan", "--json"))
    released.write(SECOND, "select 1/0;\n")
    assert released("migrate").code == 1
    told = document(released("rollback", "--plan", "--json"))
    assert SECOND.split("_", maxsplit=1)[0] not in told["summary"]
    assert [r["name"] for r in told["routes"]] == [r["name"] for r in before["routes"]]


def test_a_way_back_is_shown_and_not_taken(recorded: Cli, database: Database) -> None:
    assert recorded("rollback", "--plan").code == 0
    assert database.value("select count(*) from things") == 1


# the audit trail


def test_the_contracts_queries_run_before_anything_was_looked_at(recorded: Cli, database: Database) -> None:
    for name, query in QUERIES.items():
        if name != "uptime":  # it divides by the count of looks, and there are none
            by_column(database, query)


def test_the_contracts_queries_tell_what_happened(released: Cli, database: Database) -> None:
    nobody = "http://127.0.0.1:1/"
    released.write(SECOND, SECOND_TEXT)
    stranded = released("migrate", "--no-backup", SITE_URL=nobody, AUTOPILOT_VERIFY_S="0", NETLIFY_BUILD_HOOK="")
    assert stranded.code == 4
    released.write(INDEX, "select 1/0;\n")
    assert released("migrate", "--no-deploy").code == 1
    found = {name: by_column(database, query) for name, query in QUERIES.items()}
    assert [(row["kind"], row["status"]) for row in found["activity"]] == [
        *(("migration", "failure"), ("health", "unhealthy"), ("migration", "success"), ("migration", "success")),
    ]
    assert [row["status"] for row in found["migrations"]] == ["failure", "success", "success"]
    assert found["migrations"][2]["commit_sha"] == "0123456789abcdef0123"
    assert all(row["duration_ms"] >= 0 and row["notes"] for row in found["migrations"])
    assert [(row["status"], row["site_status"], row["db_status"]) for row in found["health"]] == [("unhealthy", "0", "200")]
    assert found["deployments"] == []
    assert (found["uptime"][0]["uptime_percentage"], found["uptime"][0]["unhealthy_checks"]) == (0, 1)
    assert found["week"] == [{"failed_migrations": 1, "rollbacks": 0, "successful_migrations": 2}]
    (stats,) = found["dashboard"]
    assert (stats["uptime_24h"], stats["migrations_7d"], stats["failed_migrations_7d"], stats["rollbacks_7d"]) == (0, 3, 1, 0)
    assert stats["last_health_check"] is not None
    assert stats["last_migration"] is not None


def test_the_contracts_views_are_there(recorded: Cli, database: Database) -> None:
    for view in VIEWS:
        by_column(database, f"select * from automation.{view}")


def may_read(database: Database, role: str) -> set[str]:
    """What of the audit trail a role can in fact read."""
    found = set()
    for name in (*TABLES, *VIEWS):
        with psycopg.connect(database.admin_url) as connection:
            connection.execute(sql.SQL("set role {}").format(sql.Identifier(role)))
            with contextlib.suppress(psycopg.errors.InsufficientPrivilege):
                connection.execute(f"select * from automation.{name}".encode())
                found.add(name)
    return found


@pytest.mark.parametrize("role", ["anon", "authenticated"])
def test_the_apis_roles_cannot_read_the_audit_trail(recorded: Cli, database: Database, role: str) -> None:
    assert may_read(database, role) == set()


def test_the_service_role_reads_the_audit_trail_and_cannot_write_it(recorded: Cli, database: Database) -> None:
    assert may_read(database, "service_role") == {*TABLES, *VIEWS}
    with psycopg.connect(database.admin_url) as connection:
        connection.execute("set role service_role")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("delete from automation.migration_log")


def test_row_level_security_is_on_for_every_table(recorded: Cli, database: Database) -> None:
    found = database.rows(
        "select relname, relrowsecurity from pg_class where relnamespace = 'automation'::regnamespace and relkind in ('r', 'p')"
    )
    assert sorted(name for name, _ in found) == sorted(TABLES)
    assert all(is_on for _, is_on in found)


def test_the_tables_have_at_least_the_contracts_columns(recorded: Cli, database: Database) -> None:
    promised = {
        "migration_log": "id ran_at commit_sha status notes backup_file duration_ms error_message triggered_by",
        "health_log": "id checked_at status response_time_ms checks notes",
        "deployment_log": "id deployed_at platform deploy_id status url notes migration_log_id",
    }
    for name, columns in promised.items():
        query = "select column_name from information_schema.columns where table_schema = 'automation' and table_name = %s"
        assert set(columns.split()) <= {row[0] for row in database.rows(query, name)}


def test_a_plan_that_a_file_stands_in_the_way_of_has_the_form_of_any_other(recorded: Cli) -> None:
    recorded.write(SECOND, SECOND_TEXT)
    recorded.write(SECOND.replace(".sql", "_again.sql"), SECOND_TEXT)
    ran = recorded("plan", "--json")
    told = document(ran)
    assert ran.code == 1
    assert (told["pending"], told["applied"], told["drift"]) == ([], [], [])
    assert [r["code"] for r in told["refusals"]] == ["duplicate_version"]
    assert told["error"]["message"] in ran.err
