"""The command line's manners: help that is complete, a start that is quick, and no colour where nobody sees it."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys

import pytest
from tests.conftest import Cli

from autopilot import __version__
from autopilot.cli.main import COMMANDS

EVERYWHERE = ("--help",)
TARGET = ("--db", "--env", "--json")
FILES = ("--dir",)
OPTIONS: dict[tuple[str, ...], tuple[str, ...]] = {
    (): ("--config", "--env", "--json", "--verbose", "--version"),
    ("plan",): (*TARGET, *FILES, "--allow-out-of-order", "--accept-edited"),
    ("migrate",): (
        *(*TARGET, *FILES, "--no-deploy", "--no-rehearsal", "--no-backup", "--commit", "--triggered-by"),
        *("--allow-out-of-order", "--accept-edited", "--lock-wait", "--yes-destroy-data"),
    ),
    ("status",): (*TARGET, *FILES),
    ("log",): (*TARGET, "--since", "--limit", "--follow"),
    ("backup",): (),
    ("backup", "create"): (*TARGET, "--commit"),
    ("backup", "list"): ("--verify", "--json"),
    ("backup", "verify"): ("--json",),
    ("backup", "restore-test"): TARGET,
    ("backup", "prune"): (*TARGET, "--dry-run"),
    ("backup", "fetch"): ("--from", "--to", "--allow-unsigned", "--json"),
    ("rollback",): (*TARGET, "--plan", "--to", "--route", "--staged", "--accept-data-loss", "--overwrite"),
    ("trash",): (),
    ("trash", "list"): (*TARGET, "--run"),
    ("trash", "restore"): TARGET,
    ("trash", "empty"): (*TARGET, "--older-than", "--run", "--yes"),
    ("salvage",): (),
    ("salvage", "list"): TARGET,
    ("salvage", "apply"): (*TARGET, "--table", "--overwrite"),
    ("salvage", "drop"): (*TARGET, "--yes"),
    ("deploy",): (),
    ("deploy", "trigger"): ("--db", "--commit"),
    ("deploy", "status"): ("--db", "--json"),
    ("deploy", "restore"): ("--db", "--json"),
    ("deploy", "promote"): ("--db", "--json"),
    ("deploy", "lock"): ("--db", "--json"),
    ("deploy", "unlock"): ("--db", "--json"),
    ("repair",): (*TARGET, *FILES, "--plan", "--apply", "--check", "--restore-tables", "--write-migration"),
    ("notify",): (),
    ("notify", "test"): ("--env", "--json"),
    ("notify", "flush"): (*TARGET, "--again"),
    ("notify", "list"): TARGET,
    ("notify", "ack"): (*TARGET, "--by"),
    ("bundle",): (*FILES, "--out", "--json"),
    ("demo",): ("--exit",),
}
HEAVY = ("psycopg", "rich", "click", "msgspec", "httpx2", "postgast")
ESCAPE = "\x1b["


@pytest.fixture
def bare(cli: Cli) -> Cli:
    """A command line that knows of no database: help needs none."""
    del cli.env["SUPABASE_DB_URL"]
    return cli


def test_the_table_of_options_knows_every_command() -> None:
    assert {words[0] for words in OPTIONS if words} == set(COMMANDS)


@pytest.mark.parametrize("words", OPTIONS, ids=lambda words: " ".join(words) or "autopilot")
@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_help_names_every_option(bare: Cli, words: tuple[str, ...], flag: str) -> None:
    ran = bare(*words, flag)
    assert (ran.code, ran.err) == (0, "")
    for option in (*OPTIONS[words], *EVERYWHERE):
        assert re.search(rf"(?<![\w-]){option}(?![\w-])", ran.out), option
    assert ESCAPE not in ran.out
    assert max(map(len, ran.out.splitlines())) <= 100


def test_the_groups_help_lists_commands_variables_and_exit_codes(bare: Cli) -> None:
    out = bare("--help").out
    for word in (*COMMANDS, "SUPABASE_DB_URL", "NETLIFY_BUILD_HOOK", "SLACK_WEBHOOK_URL", "Exit codes"):
        assert word in out
    for code in ("0", "1", "2", "3", "4", "75", "130", "143"):
        assert re.search(rf"(?<!\d){code}(?!\d)", out[out.index("Exit codes") :])


@pytest.mark.parametrize("words", [words for words in OPTIONS if words], ids=" ".join)
def test_a_commands_help_begins_with_what_it_does(bare: Cli, words: tuple[str, ...]) -> None:
    lines = bare(*words, "--help").out.splitlines()
    assert lines[0].startswith(f"Usage: autopilot {' '.join(words)}")
    assert re.match(r"^  [A-Z]", lines[2])


def test_without_a_command_the_help_is_shown(bare: Cli) -> None:
    ran = bare()
    assert ran.code in {0, 2}
    assert "Usage: autopilot" in ran.out + ran.err


@pytest.mark.parametrize("command", ["demonstrate", "init", "plann"])
def test_a_command_that_is_not_there_is_a_usage_error(bare: Cli, command: str) -> None:
    ran = bare(command)
    assert (ran.code, ran.out) == (2, "")
    assert command in ran.err


def test_the_version_is_told_without_loading_anything(bare: Cli) -> None:
    ran = subprocess.run(
        (sys.executable, "-X", "importtime", "-m", "autopilot", "--version"), cwd=bare.home, env=bare.environment(),
        capture_output=True, check=True, text=True,
    )  # fmt: skip
    assert ran.stdout == f"autopilot {__version__}\n"
    loaded = {line.rsplit("|", 1)[-1].strip().split(".")[0] for line in ran.stderr.splitlines()}
    assert "autopilot" in loaded
    assert loaded.isdisjoint(HEAVY)


def test_the_help_is_told_without_loading_what_talks_to_databases(bare: Cli) -> None:
    ran = subprocess.run(
        (sys.executable, "-X", "importtime", "-m", "autopilot", "--help"), cwd=bare.home, env=bare.environment(),
        capture_output=True, check=True, text=True,
    )  # fmt: skip
    loaded = {line.rsplit("|", 1)[-1].strip().split(".")[0] for line in ran.stderr.splitlines()}
    assert loaded.isdisjoint({"psycopg", "rich", "httpx2", "postgast"})


@pytest.mark.parametrize("words", [("plan",), ("status",), ("log",), ("migrate",), ("backup", "list")], ids=" ".join)
def test_into_a_pipe_everything_is_plain(cli: Cli, words: tuple[str, ...]) -> None:
    cli.write("20250101090000_things.sql", "create table things (id bigint primary key);\n")
    ran = cli(*words, TERM="xterm-256color", FORCE_COLOR="", COLORTERM="truecolor")
    assert ran.code == 0
    assert ESCAPE not in ran.out + ran.err
    assert "\r" not in ran.out + ran.err


def on_a_terminal(cli: Cli, *words: str, **env: str) -> tuple[int, str]:
    """Runs with a terminal as its three streams; returns exit code and what the terminal got."""
    ours, theirs = pty.openpty()
    try:
        process = subprocess.Popen(
            cli.argv(*words), cwd=cli.home, env=cli.environment(**env), stdin=theirs, stdout=theirs, stderr=theirs
        )
    finally:
        os.close(theirs)
    shown = b""
    with process:
        while True:
            try:
                piece = os.read(ours, 65536)
            except OSError:  # the last one to hold the other end has gone
                break
            if not piece:
                break
            shown += piece
    os.close(ours)
    return process.returncode, shown.decode()


@pytest.mark.parametrize(
    ("env", "is_lively"),
    [
        pytest.param({"TERM": "xterm-256color"}, True, id="a terminal"),
        pytest.param({"TERM": "xterm-256color", "CI": "true"}, False, id="a CI runner's terminal"),
        pytest.param({"TERM": "xterm-256color", "CI": ""}, True, id="CI set to nothing"),
        pytest.param({"TERM": "dumb"}, False, id="a dumb terminal"),
    ],
)
def test_a_terminal_gets_a_live_display_and_a_log_does_not(cli: Cli, env: dict[str, str], is_lively: bool) -> None:
    cli.write("20250101090000_things.sql", "create table things (id bigint primary key);\n")
    code, shown = on_a_terminal(cli, "migrate", **env)
    assert code == 0
    assert (ESCAPE in shown) is is_lively
    for word in ("connect", "backup", "rehearse", "apply", "20250101090000_things.sql"):
        assert word in shown


def test_a_terminal_is_left_as_it_was_after_a_refusal(cli: Cli) -> None:
    cli.write("20250101090000_things.sql", "select 1/0;\n")
    code, shown = on_a_terminal(cli, "migrate", TERM="xterm-256color")
    assert code == 1
    assert "division by zero" in shown
    assert shown.count(f"{ESCAPE}?25l") == shown.count(f"{ESCAPE}?25h")  # the cursor is shown as often as it was hidden


def test_what_a_file_says_cannot_write_to_the_terminal(cli: Cli) -> None:
    cli.write("20250101090000_things.sql", "do $$ begin raise exception E'red \\x1b[31m and ::error::workflow'; end $$;\n")
    ran = cli("migrate")
    assert ran.code == 1
    assert ESCAPE not in ran.out + ran.err
    assert not any(line.startswith("::") for line in (ran.out + ran.err).splitlines())
