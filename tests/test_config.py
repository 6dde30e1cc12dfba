"""`autopilot.toml`, variables and flags, read once: what wins, and what is refused in which words."""

from __future__ import annotations

import dataclasses
import traceback
from pathlib import Path

import pytest

from autopilot.config import Settings, database_variable, load, without_deploy
from autopilot.errors import UsageError
from autopilot.secret import Secret

WORD = "hunter2-hunter2"
HOOK = f"https://api.netlify.com/build_hooks/{WORD}"


@pytest.fixture
def toml(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory's autopilot.toml, not yet there."""
    monkeypatch.chdir(tmp_path)
    return tmp_path / "autopilot.toml"


def wrong(**arguments: object) -> UsageError:
    with pytest.raises(UsageError) as caught:
        load(**arguments)  # type: ignore[arg-type]
    assert caught.value.hint
    assert WORD not in "".join(traceback.format_exception(caught.value))
    return caught.value


def test_without_a_file_the_variables_suffice(toml: Path) -> None:
    settings = load(variables={"SUPABASE_DB_URL": "postgresql://h/db"})
    assert settings.require_database() == Secret("postgresql://h/db")
    assert settings.migrations_dir == Path("supabase/migrations")
    assert settings.backups_dir == Path("supabase/backups")
    assert (settings.rehearsal, settings.lock_tries, settings.verify_s) == ("required", 10, 90.0)
    assert (settings.build_hook, settings.slack_webhook, settings.site_url, settings.health_url) == (None, None, None, None)


def test_the_file_of_the_working_directory_is_read(toml: Path) -> None:
    toml.write_text('migrations_dir = "db"\nrehearsal = "off"\nlock_tries = 3\nadmins = ["ann", "bob"]\nlock_wait_s = 5\n')
    settings = load(variables={})
    assert (settings.migrations_dir, settings.rehearsal, settings.lock_tries) == (Path("db"), "off", 3)
    assert (settings.admins, settings.lock_wait_s) == (("ann", "bob"), 5.0)


def test_a_named_file_is_read_instead(toml: Path) -> None:
    toml.write_text("nonsense = 1")
    other = toml.with_name("other.toml")
    other.write_text('migrations_dir = "elsewhere"')
    assert load(variables={}, file=other).migrations_dir == Path("elsewhere")


@pytest.mark.parametrize(
    ("text", "code", "clue"),
    [
        ('migration_dir = "x"', "config_unknown_key", "Did you mean 'migrations_dir'?"),
        ("lock_timeout = 3", "config_unknown_key", "Did you mean 'lock_timeout_s'?"),
        ("zzz = 3", "config_unknown_key", "'zzz'."),
        ("[production]\nlock_tries = 3", "config_unknown_key", "'production'"),
        (
            "[environment.production]\nlock_trys = 3",
            "config_unknown_key",
            "'environment.production.lock_trys'. Did you mean 'lock_tries'?",
        ),
        ('lock_tries = "ten"', "config_value", "lock_tries"),
        ("lock_tries = 2.5", "config_value", "lock_tries"),
        ("migrations_dir = 3", "config_value", "migrations_dir"),
        ('rehearsal = "sometimes"', "config_value", "rehearsal"),
        ('admins = "ann"', "config_value", "admins"),
        ("environment = 3", "config_value", "environment"),
        ('[environment.production]\nlock_wait_s = "long"', "config_value", "lock_wait_s"),
        ("lock_timeout_s = -1", "config_value", "lock_timeout_s"),
        ("lock_timeout_s = nan", "config_value", "lock_timeout_s"),
        ("apply_timeout_s = -5", "config_value", "apply_timeout_s"),
        ("lock_tries = -1", "config_value", "lock_tries"),
        ("a = ", "config_syntax", "not TOML"),
        ("a = 1\na = 2", "config_syntax", "not TOML"),
    ],
)
def test_a_file_that_says_nonsense_is_refused_in_words(toml: Path, text: str, code: str, clue: str) -> None:
    toml.write_text(text)
    error = wrong(variables={})
    assert error.code == code
    assert clue in error.message
    assert error.where.file is not None
    assert error.where.file.endswith("autopilot.toml")


def test_a_lock_timeout_that_rounds_to_none_is_refused(toml: Path) -> None:
    """0 is PostgreSQL's word for waiting for ever."""
    toml.write_text("lock_timeout_s = 0")
    assert wrong(variables={}).code == "config_value"


@pytest.mark.parametrize("raw", [b"a = '\xff'", "a = 1".encode("utf-16")])
def test_a_file_that_is_not_utf8_is_refused(toml: Path, raw: bytes) -> None:
    toml.write_bytes(raw)
    assert wrong(variables={}).code == "config_syntax"


def test_a_named_file_that_is_missing_is_refused(toml: Path) -> None:
    assert wrong(variables={}, file=toml.with_name("no.toml")).code == "config_missing"


def test_a_directory_for_a_file_is_refused(toml: Path) -> None:
    toml.mkdir()
    assert wrong(variables={}).code == "config_unreadable"


_TWO = """
lock_tries = 3
site_url = "https://example.com/"
[environment.production]
lock_wait_s = 7
[environment.staging]
lock_tries = 4
site_url = "https://staging.example.com/"
rehearsal = "off"
"""


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("production", (3, 7.0, "https://example.com/", "required")),
        ("staging", (4, 60.0, "https://staging.example.com/", "off")),
    ],
)
def test_an_environments_own_keys_win(toml: Path, name: str, expected: tuple[object, ...]) -> None:
    toml.write_text(_TWO)
    s = load(variables={}, environment_name=name)
    assert (s.lock_tries, s.lock_wait_s, s.site_url, s.rehearsal) == expected
    assert s.environment_name == name


def test_an_environment_that_is_not_listed_is_refused(toml: Path) -> None:
    toml.write_text(_TWO)
    error = wrong(variables={}, environment_name="stagging")
    assert error.code == "config_unknown_environment"
    assert "production, staging" in error.message


def test_variables_win_over_the_file_and_flags_over_both(toml: Path) -> None:
    toml.write_text(_TWO + 'migrations_dir = "file"\n'.replace("migrations_dir", "backups_dir"))
    variables = {
        "SITE_URL": "https://variable.example/",
        "SUPABASE_DB_URL": "postgresql://variable/db",
        "HEALTH_URL": "http://h/",
    }
    s = load(variables=variables, database_url="postgresql://flag/db", migrations_dir="flag")
    assert (s.site_url, s.health_url) == ("https://variable.example/", "http://h/")
    assert s.database_url == Secret("postgresql://flag/db")
    assert s.migrations_dir == Path("flag")


@pytest.mark.parametrize(
    ("name", "variables", "url"),
    [
        ("production", {"SUPABASE_DB_URL": "a", "DATABASE_URL": "b"}, "a"),
        ("production", {"DATABASE_URL": "b"}, "b"),
        ("production", {"SUPABASE_DB_URL": "", "DATABASE_URL": "b"}, "b"),
        ("production", {"SUPABASE_DB_URL_STAGING": "c"}, None),
        ("staging", {"SUPABASE_DB_URL": "a", "DATABASE_URL": "b"}, None),
        ("staging", {"SUPABASE_DB_URL": "a", "SUPABASE_DB_URL_STAGING": "c"}, "c"),
    ],
)
def test_an_environment_never_takes_anothers_database(toml: Path, name: str, variables: dict[str, str], url: str | None) -> None:
    settings = load(variables=variables, environment_name=name)
    assert settings.database_url == (None if url is None else Secret(url))
    if url is None:
        with pytest.raises(UsageError) as missing:
            settings.require_database()
        assert missing.value.code == "no_database_url"
        assert database_variable(name) in missing.value.hint


@pytest.mark.parametrize(
    ("name", "variable"),
    [("production", "SUPABASE_DB_URL"), ("staging", "SUPABASE_DB_URL_STAGING"), ("pr-7", "SUPABASE_DB_URL_PR_7")],
)
def test_an_environment_has_a_variable_of_its_own(name: str, variable: str) -> None:
    assert database_variable(name) == variable


@pytest.mark.parametrize("name", ["NETLIFY_BUILD_HOOK", "SLACK_WEBHOOK_URL", "SITE_URL", "HEALTH_URL"])
@pytest.mark.parametrize("text", [WORD, f"ftp://{WORD}/", f"https:///{WORD}", f"https://{WORD}:port/", f"https://[{WORD}/"])
def test_a_url_that_is_none_is_refused_and_not_repeated(toml: Path, name: str, text: str) -> None:
    error = wrong(variables={name: text})
    assert error.code == "bad_url"
    assert name in error.message


@pytest.mark.parametrize("name", ["NETLIFY_BUILD_HOOK", "SLACK_WEBHOOK_URL", "SITE_URL", "HEALTH_URL"])
@pytest.mark.parametrize("text", ["", "  "])
def test_an_empty_url_is_none(toml: Path, name: str, text: str) -> None:
    """A workflow passes an unset secret on as an empty variable."""
    s = load(variables={name: text})
    assert (s.build_hook, s.slack_webhook, s.site_url, s.health_url) == (None, None, None, None)


@pytest.mark.parametrize(("text", "seconds"), [("", 90.0), ("5", 5.0), (" 1.5 ", 1.5), ("0", 0.0)])
def test_the_limit_of_the_proof_is_a_number_of_seconds(toml: Path, text: str, seconds: float) -> None:
    assert load(variables={"AUTOPILOT_VERIFY_S": text}).verify_s == seconds


@pytest.mark.parametrize("text", ["soon", "-1", "inf", "nan", "1m"])
def test_anything_else_is_refused(toml: Path, text: str) -> None:
    assert wrong(variables={"AUTOPILOT_VERIFY_S": text}).code == "bad_number"


def loaded(**more: str) -> Settings:
    variables = {
        "SUPABASE_DB_URL": f"postgresql://u:{WORD}@h/db",
        "NETLIFY_BUILD_HOOK": HOOK,
        "SLACK_WEBHOOK_URL": f"https://hooks.slack.com/services/{WORD}",
        "AUTOPILOT_SECRET": WORD,
        "GITHUB_TOKEN": WORD,
    }
    return load(variables=variables | more)


def test_settings_show_no_secret(toml: Path) -> None:
    settings = loaded()
    assert WORD not in repr(settings)
    assert WORD not in str(dataclasses.asdict(settings))
    assert all(isinstance(s, Secret) for s in settings.secrets())
    assert len(settings.secrets()) == 6


def test_a_run_without_a_deploy_asks_neither_host_nor_site(toml: Path) -> None:
    settings = without_deploy(loaded(SITE_URL="https://example.com/"))
    assert (settings.build_hook, settings.site_url, settings.health_url) == (None, None, None)
    assert settings.slack_webhook is not None
