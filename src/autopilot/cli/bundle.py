"""`autopilot bundle`."""

from __future__ import annotations

from pathlib import Path

import click

from autopilot.cli.frame import Frame, emit, options, say


@click.command("bundle")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Where to write; default: ALL_IN_ONE__paste.sql here. - for stdout.",
)
@options(database=False)
def command(frame: Frame, *, out: Path | None) -> int:
    """Write all migrations as one SQL text, in order, ledger rows included.

    It can be pasted into an SQL editor, on an empty or a half-migrated database, and pasted twice: each migration
    runs only where the ledger does not list it. CONCURRENTLY is left out of it, as an SQL editor runs in a transaction.
    """
    from autopilot.audit.schema import creation_script
    from autopilot.measures import counted
    from autopilot.migrations.bundle import FILE_NAME, bundle, left_out
    from autopilot.migrations.files import listing
    from autopilot.migrations.segments import migration

    settings = frame.settings()
    found = listing(settings.migrations_dir, by_name=settings.duplicate_versions == "by-name")
    migrations = tuple(migration(file) for file in found.files)
    text = bundle(migrations, schema_script=creation_script(settings.admins))
    target = Path(FILE_NAME) if out is None else out
    if str(target) == "-":
        click.echo(text, nl=False)
        return 0
    target.write_text(text, encoding="utf-8", newline="\n")
    if frame.as_json:
        emit({"file": str(target), "migrations": len(migrations), "left_out": list(left_out(migrations))})
    else:
        say(f"{target}: {counted(len(migrations), 'migration')}, {len(text.encode()):,} bytes.")
        for words in left_out(migrations):
            say(f"Not in it, run by hand if you need it: {words}")
    return 0
