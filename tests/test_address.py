"""A database's address: read without repeating its password, handed on by the right variables."""

from __future__ import annotations

import traceback

import psycopg
import pytest

from autopilot.errors import AutopilotError, UsageError
from autopilot.postgres.address import libpq_environment, parameters, shown
from autopilot.postgres.session import connect, connection_error, refuse_too_old
from autopilot.secret import Secret

#: Never a part of any message.
WORD = "hunter2"


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        (
            "postgresql://u:p@h:6543/db?sslmode=require",
            {"user": "u", "password": "p", "host": "h", "port": "6543", "dbname": "db", "sslmode": "require"},
        ),
        ("postgres://u:p%40%2F%25@h/db", {"user": "u", "password": "p@/%", "host": "h", "dbname": "db"}),
        ("postgresql://u.ref:p@[::1]:5432/db", {"user": "u.ref", "password": "p", "host": "::1", "port": "5432", "dbname": "db"}),
        ("postgresql:///db?host=/tmp/s&user=u", {"dbname": "db", "host": "/tmp/s", "user": "u"}),
        ("host=h user=u password='a b' dbname=db", {"host": "h", "user": "u", "password": "a b", "dbname": "db"}),
        ("  postgresql://u@h/db\n", {"user": "u", "host": "h", "dbname": "db"}),
        (
            "postgresql://u:p@h/db?options=-c%20a%3Db@c",
            {"user": "u", "password": "p", "host": "h", "dbname": "db", "options": "-c a=b@c"},
        ),
        ("postgresql://h1:1,h2:2/db", {"host": "h1,h2", "port": "1,2", "dbname": "db"}),
        (f"host=h password={WORD}://x user=u", {"host": "h", "password": f"{WORD}://x", "user": "u"}),
    ],
)
def test_an_address_is_read_as_libpq_reads_it(url: str, expected: dict[str, str]) -> None:
    assert parameters(Secret(url)) == expected


@pytest.mark.parametrize(
    ("url", "clue"),
    [
        (f"postgresql://u:{WORD}%@h/db", "%25"),
        (f"postgresql://u:{WORD}%zz@h/db", "%25"),
        (f"postgresql://u:{WORD}%00@h/db", "%00"),
        (f"postgresql://u:{WORD}@{WORD}@h/db", "%40"),
        (f"postgresql://u:p@{WORD}@h/db", "%40"),
        (f"postgresql://u:{WORD}\x00@h/db", "NUL"),
        (f"postgresql://u:{WORD}@h/db?unknown=1", "does not know"),
        (f"postgresql://u:p@h/db?{WORD}=1", "does not know"),
        ("postgresql://u:p@h/db?sslmode", "no ="),
        (f"postgresql://u:p@h/db?password={WORD}=x", "more than one ="),
        (f"postgresql://u:{WORD}@[::1/db", "]"),
        (f"postgresql://u:{WORD}@[::1]x/db", "unexpected character"),
        (f"mysql://u:{WORD}@h/db", "'mysql'"),
        (f"POSTGRESQL://u:{WORD}@h/db", "not with postgresql"),
        (f"https://{WORD}.supabase.co", "'https'"),
        (WORD, "neither"),
        (f"{WORD}@h", "neither"),
        (f"u:{WORD}@h/db", "neither"),
        ("", "neither"),
        (f"host=h password={WORD} nonsense=1", "does not know"),
        (f"host=h {WORD}", "form"),
        (f"host=h password='{WORD}", "form"),
        (f"postgresql://u:{WORD}\udcff@h/db", ""),
        (f"host=h password={WORD}://x nonsense=1", "does not know"),
    ],
)
def test_an_address_that_cannot_be_read_is_refused_without_its_password(url: str, clue: str) -> None:
    with pytest.raises(UsageError) as wrong:
        parameters(Secret(url))
    assert wrong.value.code == "bad_database_url"
    assert clue in wrong.value.message
    everything = "".join(traceback.format_exception(wrong.value)) + wrong.value.hint + wrong.value.state
    assert not [line for line in everything.splitlines() if WORD in line and "WORD" not in line]


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql://u:{WORD}-{WORD}@127.0.0.1:1/db",
        f"postgresql://u:{WORD}-{WORD}@127.0.0.1:99999/db",
        f"postgresql://u:{WORD}-{WORD}@127.0.0.1:port/db",
        f"postgresql://u:{WORD}-{WORD}@127.0.0.1:1/db?sslmode={WORD}-{WORD}",
        f"postgresql://u:{WORD}-{WORD}@127.0.0.1:1/db?connect_timeout=soon",
        f"postgresql://u:{WORD}-{WORD}@host.invalid/db",
        f"postgresql://u:p@{WORD}-{WORD}@127.0.0.1/db",
        f"postgresql://u:{WORD}-{WORD}@127.0.0.1:1/db?sslrootcert=/nowhere&sslmode=verify-full",
    ],
)
def test_a_connection_that_cannot_be_made_is_told_without_the_password(url: str) -> None:
    with pytest.raises(AutopilotError) as failed:
        connect(Secret(url), application_name="autopilot-test", timeout_s=2)
    assert failed.value.hint
    everything = "".join(traceback.format_exception(failed.value)) + failed.value.hint + failed.value.state
    assert f"{WORD}-{WORD}" not in everything


@pytest.mark.parametrize(
    ("words", "code", "retryable"),
    [
        ('FATAL:  password authentication failed for user "u"', "wrong_password", False),
        ("fe_sendauth: no password supplied", "wrong_password", False),
        ("FATAL:  Tenant or user not found", "wrong_password", False),
        ('FATAL:  no pg_hba.conf entry for host "1.2.3.4", user "u", database "db", SSL off', "not_admitted", False),
        ('FATAL:  database "db" does not exist', "no_such_database", False),
        ('FATAL:  role "u" does not exist', "no_such_role", False),
        ("server does not support SSL, but SSL was required", "tls_failed", True),
        ("SSL error: certificate verify failed", "tls_failed", True),
        ("FATAL:  sorry, too many clients already", "too_many_connections", True),
        ("failed to resolve host 'h': Name or service not known", "unknown_host", True),
        ("connection to server failed: Connection refused", "unreachable", True),
        ("connection timeout expired", "unreachable", True),
    ],
)
def test_libpqs_words_become_a_code(words: str, code: str, retryable: bool) -> None:
    error = connection_error(words, {"user": "u", "host": "h", "dbname": "db", "password": WORD})
    assert (error.code, error.retryable) == (code, retryable)
    assert " ".join(words.split()) in error.message
    assert WORD not in error.message + error.hint


@pytest.mark.parametrize(
    ("params", "text"),
    [
        ({"user": "u", "password": WORD, "host": "h", "port": "6543", "dbname": "db"}, "u@h:6543/db"),
        ({"user": "u", "password": WORD}, "u@local socket:5432/u"),
        ({}, "local socket:5432/"),
    ],
)
def test_an_address_is_shown_without_its_password(params: dict[str, str], text: str) -> None:
    assert shown(params) == text


def test_each_parameter_goes_into_its_own_variable() -> None:
    params = parameters(Secret(f"postgresql://u:{WORD}@h:6543/db?sslmode=require&connect_timeout=7&options=-c%20a%3Db"))
    assert libpq_environment(params) == {
        "PGUSER": "u",
        "PGPASSWORD": WORD,
        "PGHOST": "h",
        "PGPORT": "6543",
        "PGDATABASE": "db",
        "PGSSLMODE": "require",
        "PGCONNECT_TIMEOUT": "7",
        "PGOPTIONS": "-c a=b",
    }


def test_the_password_stands_under_its_own_variable_alone() -> None:
    every = {option.keyword.decode(): f"value of {option.keyword.decode()}" for option in psycopg.pq.Conninfo.get_defaults()}
    found = libpq_environment(every | {"password": WORD, "sslpassword": f"{WORD}-ssl"})
    assert [key for key, value in found.items() if value == WORD] == ["PGPASSWORD"]
    assert not [key for key, value in found.items() if "ssl" in value and WORD in value]
    assert all(key.startswith("PG") for key in found)


def test_a_server_older_than_13_is_refused_by_its_version() -> None:
    refuse_too_old(130000, "13.0")
    with pytest.raises(AutopilotError) as failed:
        refuse_too_old(120022, "12.22 (Debian 12.22-1)")
    assert (failed.value.code, failed.value.exit_code) == ("server_too_old", 1)
    assert "12.22" in failed.value.message
    assert "13 or newer" in failed.value.hint
