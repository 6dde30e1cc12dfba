"""What every command shares: its options, its settings, its world, and how an error is shown."""

from __future__ import annotations

import functools
import itertools
import os
import random
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click

from autopilot.config import Settings, load
from autopilot.secret import literals, scrub


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """The options that stand before or after the command's name."""

    config: Path | None
    environment_name: str
    as_json: bool
    verbose: bool
    database_url: str | None = None
    migrations_dir: str | None = None

    def settings(self) -> Settings:
        return load(
            variables=os.environ,
            file=self.config,
            environment_name=self.environment_name,
            database_url=self.database_url,
            migrations_dir=self.migrations_dir,
        )


def options(*, database: bool = True, directory: bool = True) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Adds --db, --dir, --env, --json and --verbose to a command; its function receives the whole Frame first."""

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        @click.pass_context
        @functools.wraps(function)
        def wrapped(ctx: click.Context, /, **kwargs: Any) -> Any:
            frame: Frame = ctx.find_object(Frame) or Frame(
                config=None, environment_name="production", as_json=False, verbose=False
            )
            frame = replace(
                frame,
                environment_name=kwargs.pop("environment_name_here") or frame.environment_name,
                as_json=kwargs.pop("as_json_here") or frame.as_json,
                verbose=kwargs.pop("verbose_here") or frame.verbose,
                database_url=kwargs.pop("database_url", None),
                migrations_dir=kwargs.pop("migrations_dir", None),
            )
            return function(frame, **kwargs)

        result: Callable[..., Any] = wrapped
        result = click.option("--verbose", "verbose_here", is_flag=True, hidden=True)(result)
        result = click.option("--json", "as_json_here", is_flag=True, help="One JSON document on stdout.")(result)
        result = click.option("--env", "environment_name_here", metavar="NAME", help="Which environment to work on.")(result)
        if directory:
            result = click.option(
                "--dir", "migrations_dir", metavar="DIR", help="Migrations directory; default: supabase/migrations."
            )(result)
        if database:
            result = click.option("--db", "database_url", metavar="URL", help="The target database; default: SUPABASE_DB_URL.")(
                result
            )
        return result

    return decorate


def known_secrets() -> tuple[str, ...]:
    """Literal texts to blank out, from the environment and from --db on our own command line."""
    from autopilot.secret import Secret

    found = [Secret(value) for name, value in os.environ.items() if value and _names_a_secret(name)]
    arguments = sys.argv
    found += [Secret(after) for before, after in itertools.pairwise(arguments) if before == "--db"]
    found += [Secret(a.removeprefix("--db=")) for a in arguments if a.startswith("--db=")]
    return tuple(dict.fromkeys(text for secret in found for text in literals(secret)))


def _names_a_secret(name: str) -> bool:
    return name.startswith(("SUPABASE_DB_URL", "DATABASE_URL", "AUTOPILOT_SCRATCH_URL")) or name.endswith(
        (
            "_TOKEN", "_SECRET", "_KEY", "_KEY_ID", "_IDENTITY", "_HOOK", "_WEBHOOK_URL", "_NOTIFY_URL", "_SECRET_NEXT",
            "_STATE_URL", "PGPASSWORD",
        )
    )  # fmt: skip


def clean(text: str, *, known: tuple[str, ...]) -> str:
    """Text for a terminal or a log: no secret, no control character, no line that a CI runner would obey."""
    safe = "".join(c if c == "\n" or c.isprintable() else f"\\x{ord(c):02x}" for c in scrub(text, known=known))
    return "\n".join(f" {line}" if line.lstrip().startswith(("::", "##[")) else line for line in safe.split("\n"))


def emit(document: Any) -> None:
    """The one JSON document on stdout."""
    import msgspec

    _write(scrub(msgspec.json.encode(document).decode(), known=known_secrets()) + "\n")


def say(text: str) -> None:
    """A result for a person, on stdout."""
    _write(clean(text, known=known_secrets()) + "\n")


def _write(text: str) -> None:
    """A reader that went away changes nothing about what was done."""
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def new_random() -> random.Random:
    return random.Random()  # noqa: S311 - spreads retries, guards nothing
