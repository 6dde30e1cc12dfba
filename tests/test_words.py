"""What people read: numbers with their nouns, and lines that a tired operator takes at their word."""

from __future__ import annotations

import pytest
from tests.conftest import Cli, Database

from autopilot.config import load
from autopilot.errors import UsageError
from autopilot.measures import counted
from autopilot.workflows.failing import Failing


@pytest.mark.parametrize(
    ("number", "noun", "plural", "words"),
    [
        (0, "row", "", "0 rows"), (1, "row", "", "1 row"), (2, "row", "", "2 rows"), (1234567, "row", "", "1,234,567 rows"),
        (1, "entry", "entries", "1 entry"), (3, "entry", "entries", "3 entries"),
    ],
)  # fmt: skip
def test_a_number_of_things_is_said_with_its_noun(number: int, noun: str, plural: str, words: str) -> None:
    assert counted(number, noun, plural) == words


@pytest.mark.parametrize("way", ["transaction", "undo", "person"])
def test_what_a_failure_leads_to_is_one_sentence_after_its_colon(way: str) -> None:
    words = Failing(way=way, loses=()).words
    assert words.startswith(("it ", "what was committed before "))
    assert not words.endswith(".")


@pytest.mark.parametrize("text", ["", "  "])
def test_an_empty_database_option_never_means_the_database_of_the_environment(text: str) -> None:
    with pytest.raises(UsageError) as met:
        load(variables={"SUPABASE_DB_URL": "postgresql://u@h/production"}, database_url=text)
    assert met.value.code == "no_database_url"
    assert "--db" in met.value.message


def test_an_empty_directory_is_not_called_applied(cli: Cli, database: Database) -> None:
    words = "Nothing is pending: the directory holds no migration."
    assert words in cli("plan").out
    assert words in cli("migrate", "--no-deploy").out, "on the first run, which makes the schema automation"
    assert words in cli("migrate", "--no-deploy").out, "at rest"


def test_a_release_with_nothing_to_do_says_which_applied_files_are_gone(cli: Cli, database: Database) -> None:
    for number in range(1, 6):
        cli.write(f"{number}_a.sql", f"create table t{number} ();")
    assert cli("migrate", "--no-deploy", "--no-backup").code == 0
    for number in range(1, 6):
        (cli.migrations / f"{number}_a.sql").unlink()
    ran = cli("migrate", "--no-deploy")
    assert ran.code == 0, ran.err
    assert "1_a.sql was applied and is no longer here." in ran.err
    assert "2 more differ; `autopilot plan` lists them all." in ran.err
    assert "4_a.sql" not in ran.err


def test_a_step_that_failed_and_a_run_that_went_back_are_said_in_words(cli: Cli, database: Database) -> None:
    cli.write("1_a.sql", "create table t (id int); insert into t values (1);")
    assert cli("migrate", "--no-deploy", "--no-backup").code == 0
    cli.write("2_b.sql", "select 'x'::text::int;")
    failed = cli("migrate", "--no-deploy")
    assert "rehearse  failed" in failed.err
    assert "Mend the values that do not fit" in failed.err
    assert "was refused at" in cli("status").out
    (cli.migrations / "2_b.sql").unlink()
    back = cli("rollback")
    assert back.code == 0, back.err
    assert "table public.t: 1 row kept in autopilot_trash." in back.out
    assert "went back on a release at" in cli("status").out


def test_what_is_to_be_warned_of_with_every_backup_is_said_once(cli: Cli, database: Database) -> None:
    assert cli("backup", "create").code == 0
    assert cli("backup", "create").code == 0
    ran = cli("backup", "verify")
    assert ran.out.count("good, read to its end, not signed") == 2
    assert ran.err.count("is not signed, and pg_restore") <= 1
