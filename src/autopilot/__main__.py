"""`autopilot` and `python -m autopilot`."""

from __future__ import annotations

import sys

from autopilot import __version__


def main() -> None:
    if sys.argv[1:] == ["--version"]:  # answered before anything is imported: scripts ask this often
        sys.stdout.write(f"autopilot {__version__}\n")
        return
    from autopilot.cli.main import run

    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
