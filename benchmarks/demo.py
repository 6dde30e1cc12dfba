"""The whole demo, from nothing to its summary: it must be told within 60 s."""

from __future__ import annotations

import subprocess
import sys
import time

LIMIT_S = 60.0


def main() -> int:
    begun = time.perf_counter()
    done = subprocess.run([sys.executable, "-m", "autopilot", "demo", "--exit"], capture_output=True, check=False)
    took_s = time.perf_counter() - begun
    print(f"autopilot demo --exit  {took_s:6.1f} s, exit {done.returncode} (limit {LIMIT_S:.0f} s)")
    return 0 if done.returncode == 0 and took_s < LIMIT_S else 1


if __name__ == "__main__":
    sys.exit(main())
