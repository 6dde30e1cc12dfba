"""A session of our own that is not answered is given up, and one that is asked in passing is never waited for."""

from __future__ import annotations

import psycopg
import pytest
from tests.conftest import Database

from autopilot.postgres.bounded import patient
from autopilot.postgres.session import session
from autopilot.secret import Secret


def test_an_answer_that_does_not_come_is_a_lost_session(database: Database) -> None:
    with session(Secret(database.url), application_name="t") as connection:
        with patient(connection, 0.3), pytest.raises(psycopg.OperationalError, match=r"did not answer within 0\.3 s"):
            connection.execute("SELECT pg_sleep(60)")
        assert connection.closed


def test_patience_is_as_before_after_the_block(database: Database) -> None:
    with session(Secret(database.url), application_name="t") as connection:
        usual = connection.answer_s
        with patient(connection, 0.3), connection.transaction():
            assert connection.execute("SELECT 1").fetchone() == (1,)
        assert connection.answer_s == usual


def test_a_glance_waits_for_no_late_answer_and_the_next_question_is_answered_all_the_same(database: Database) -> None:
    with session(Secret(database.url), application_name="t") as connection:
        assert connection.glance("SELECT 1, NULL, 'x' UNION ALL SELECT 2, 'y', 'z'", within_s=10) == (
            ("1", "", "x"),
            ("2", "y", "z"),
        )
        assert connection.glance("SELECT 'late' FROM pg_sleep(1)", within_s=0.05) == ()
        assert connection.glance("SELECT 'another'", within_s=0.05) == ()
        assert connection.execute("SELECT 'asked'").fetchone() == ("asked",)
        assert connection.glance("SELECT 'once more'", within_s=10) == (("once more",),)


def test_a_late_answer_to_a_glance_that_never_comes_is_a_lost_session(database: Database) -> None:
    with session(Secret(database.url), application_name="t") as connection:
        assert connection.glance("SELECT FROM pg_sleep(60)", within_s=0.05) == ()
        with patient(connection, 0.3), pytest.raises(psycopg.OperationalError):
            connection.execute("SELECT 1")
        assert connection.closed
