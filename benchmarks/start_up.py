"""`autopilot --version` against `python -c pass` in the same run: the ratio must stay under 2.5."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from pathlib import Path

LIMIT = 2.5
ROUNDS = 40


def milliseconds(argv: list[str]) -> float:
    begun = time.perf_counter()
    subprocess.run(argv, check=True, stdout=subprocess.DEVNULL)
    return (time.perf_counter() - begun) * 1000


def main() -> int:
    python = sys.executable
    autopilot = str(Path(python).parent / "autopilot")
    ours, bare = [], []
    for _ in range(ROUNDS):  # by turns, so that a noisy moment hits both
        bare.append(milliseconds([python, "-c", "pass"]))
        ours.append(milliseconds([autopilot, "--version"]))
    ratio = statistics.median(ours) / statistics.median(bare)
    print(f"python -c pass       {statistics.median(bare):6.1f} ms")
    print(f"autopilot --version  {statistics.median(ours):6.1f} ms   {ratio:.2f} x (limit {LIMIT} x)")
    return 0 if ratio < LIMIT else 1


if __name__ == "__main__":
    sys.exit(main())
