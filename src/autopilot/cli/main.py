"""The `autopilot` command: global options, lazily loaded subcommands, and the last line of defence for errors."""

from __future__ import annotations

import importlib
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import click

from autopilot import __version__
from autopilot.cli.frame import Frame
from autopilot.errors import AutopilotError, unexpected

#: Each command's module and its one-line help; the module is imported only when the command is used.
COMMANDS = {
    "plan": ("autopilot.cli.plan", "Show what `migrate` would do. Writes nothing."),
    "migrate": ("autopilot.cli.migrate", "Back up, rehearse, apply, deploy, prove: the release."),
    "status": ("autopilot.cli.status", "Show where the target stands."),
    "log": ("autopilot.cli.log", "Show the timeline of migrations, deploys and health."),
    "backup": ("autopilot.cli.backup", "Take, list, verify, test, copy, prune and fetch backups."),
    "rollback": ("autopilot.cli.rollback", "Go back on a release; --plan shows the ways and what each would lose."),
    "trash": ("autopilot.cli.trash", "List, restore and empty what migrations would have destroyed."),
    "salvage": ("autopilot.cli.salvage", "Show and bring over what was written since a backup that was put back."),
    "deploy": ("autopilot.cli.deploy", "Ask for a deploy, show, restore, publish and lock one."),
    "repair": ("autopilot.cli.repair", "Put the schema back as the last release left it."),
    "notify": ("autopilot.cli.notify", "Test the channels that notices go to; tell what waits; acknowledge a page."),
    "bundle": ("autopilot.cli.bundle", "Write all migrations as one SQL text for an SQL editor."),
    "demo": ("autopilot.cli.demo", "Tell the whole story on an embedded PostgreSQL."),
}


class LazyGroup(click.Group):
    """Subcommands by name; `--help` lists them without importing any."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in COMMANDS:
            return None
        command = importlib.import_module(COMMANDS[cmd_name][0]).command
        return command if isinstance(command, click.Command) else None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="autopilot", message="%(prog)s %(version)s")
@click.option(
    "--config", type=click.Path(path_type=Path), metavar="FILE", help="Configuration; default: autopilot.toml, if there is one."
)
@click.option(
    "--env", "environment_name", default="production", show_default=True, metavar="NAME", help="Which environment to work on."
)
@click.option("--json", "as_json", is_flag=True, help="Exactly one JSON document on stdout; words for people go to stderr.")
@click.option("--verbose", is_flag=True, help="Show more: every finding, and the cause behind an error.")
@click.pass_context
def cli(ctx: click.Context, *, config: Path | None, environment_name: str, as_json: bool, verbose: bool) -> None:
    """From a pushed SQL file to a healthy production, with no hands on the wheel.

    Autopilot plans what is pending, backs the database up, rehearses the change on that very backup, applies it
    together with its ledger row, triggers the deploy, proves that the site is healthy and tells the channel.

    \b
    The database:   SUPABASE_DB_URL (or DATABASE_URL, or --db URL)
    The files:      supabase/migrations (or --dir DIR)
    The deploy:     NETLIFY_BUILD_HOOK, SITE_URL, HEALTH_URL, AUTOPILOT_VERIFY_S
    The channels:   SLACK_WEBHOOK_URL, PAGERDUTY_ROUTING_KEY, GITHUB_TOKEN with GITHUB_REPOSITORY

    \b
    Exit codes:  0 done, or nothing to do       1 refused, nothing was touched
                 2 wrong usage or configuration 3 failed and rolled back
                 4 a person is needed           75 another run holds the lock
                 130, 143 stopped by a signal
    """
    ctx.obj = Frame(config=config, environment_name=environment_name, as_json=as_json, verbose=verbose)


def run(arguments: Sequence[str]) -> int:  # noqa: PLR0911 - one way out for each kind of end
    """Runs the command line and returns the exit code; every error leaves as a sentence, never as a traceback."""
    from autopilot.cli import signals
    from autopilot.cli.complaints import complain, complain_of_usage, file_trouble

    as_json = "--json" in arguments
    with signals.raised_once():
        try:
            result = cli.main(args=list(arguments), prog_name="autopilot", standalone_mode=False)
        except click.exceptions.Exit as done:
            return int(done.exit_code)
        except click.ClickException as error:
            error.show(sys.stderr)
            context = getattr(error, "ctx", None)
            return complain_of_usage(
                error.format_message(), command=context.command_path if context else "autopilot", as_json=as_json
            )
        except (click.exceptions.Abort, KeyboardInterrupt):
            sys.stderr.write("Stopped. Nothing was touched.\n")
            return 128 + (signals.last() or int(signal.SIGINT))
        except AutopilotError as error:
            return complain(error, as_json=as_json)
        except BrokenPipeError:
            sys.stderr.close()
            return 141
        except OSError as error:
            return complain(file_trouble(error), as_json=as_json)
        except Exception as error:  # noqa: BLE001 - the last line of defence: no traceback, no secret
            return complain(unexpected(error), as_json=as_json, traceback_of=error if "--verbose" in arguments else None)
    return int(result) if isinstance(result, int) else 0
