"""Puts a backup in place, merges from it or salvages, as the command line's stories do: `python -m tests.putting_back …`.

A test runs it as a process of its own where it is to be killed.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from autopilot.cli.frame import Frame
from autopilot.cli.world import quiet_world
from autopilot.errors import AutopilotError
from autopilot.killpoints import from_environment
from autopilot.workflows.restore_in_place import restore_in_place
from autopilot.workflows.world import World


def world_of(url: str, backups: Path, *, reached: Any = None) -> World:
    frame = Frame(config=None, environment_name="production", as_json=False, verbose=False, database_url=url)
    world = quiet_world(frame)
    return replace(
        world,
        settings=replace(world.settings, backups_dir=backups),
        reached=from_environment(os.environ) if reached is None else reached,
    )


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("backups", type=Path)
    parser.add_argument("file")
    parser.add_argument("--stage", action="store_true")
    asked = parser.parse_args()
    world = world_of(os.environ["SUPABASE_DB_URL"], asked.backups)
    try:
        done = restore_in_place(world, file=asked.file, run_id="t1", stage=asked.stage)
    except AutopilotError as error:
        print(json.dumps({"code": error.code, "message": error.message}))
        return error.exit_code
    found = asdict(done.replaced)
    found["stalled_ms"] = done.stalled_ms
    print(json.dumps(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
