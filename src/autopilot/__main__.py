"""`autopilot` and `python -m autopilot`."""

from __future__ import annotations

import gc
import sys

from autopilot import __version__


def main() -> None:
    if sys.argv[1:] == ["--version"]:  # answered before anything is imported: scripts ask this often
        sys.stdout.write(f"autopilot {__version__}\n")
        return
    gc.set_threshold(50_000, 20, 20)  # a process this short is a tenth faster when it rarely looks for garbage
    from autopilot.cli.main import run

    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
