"""Named points of a run at which a test may kill it, to see that the next run settles what is left.

A run is killed only when AUTOPILOT_TEST=1 and AUTOPILOT_TEST_KILLPOINT=POINT[:N] are both set; N counts visits from 1.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Mapping

#: Told that the run has come to a point.
Reached = Callable[[str], None]

POINTS = {
    "L1": "before the first connection",
    "L2": "connected",
    "L3": "locked, nothing verified",
    "L4": "the run's row is written",
    "B1": "before the dump",
    "B2": "pg_dump is at work",
    "B3": "dumped and read back, not yet durable",
    "B4": "durable, without its name",
    "B5": "named, without a manifest",
    "B6": "described, in no store",
    "B7": "on its way to a store",
    "B8": "copied, not told",
    "R1": "the scratch server runs, with the roles",
    "R2": "restored, not compared",
    "R3": "the files are sent to the scratch server",
    "R4": "rehearsed, the verdict not written",
    "R5": "the scratch server is gone",
    "A1": "before the message that begins a transaction",
    "A2": "that message is sent, the server is at work",
    "A3": "between two files",
    "A6": "every statement and the ledger row are done, nothing is committed",
    "A7": "COMMIT is sent",
    "A8": "COMMIT is acknowledged, the audit trail not yet written",
    "A9": "the intent of a stand-alone statement is written",
    "A10": "a stand-alone statement is sent, the server is at work",
    "X1": "which releases to go back on is decided and written down",
    "X2": "what a backup replaces has stepped aside; or the backup is ready beside it; nothing is committed",
    "X3": "a release is undone, nothing is committed",
    "X4": "all is undone and proven, nothing is committed",
    "X5": "what is live has stepped aside for what is ready, nothing is committed",
    "X6": "a backup is in place and proven, with the rows about it; nothing is committed",
    "X7": "going back is committed, the run has no end yet",
    "A11": "a stand-alone statement is done, and not yet marked so",
    "D1": "the deploy's row is written, the host is not asked",
    "D2": "the host took the request, and that is not written",
    "D3": "the deploy is asked for, and not over",
    "D4": "the deploy is built, and not proven",
    "N1": "a notice is written, and not sent",
    "N2": "a channel took a notice, and that is not written",
    "N3": "one channel is told, the next is not",
    "H1": "the schema is repaired, nothing is committed",
    "H2": "the repair is committed, what stands apart is to come",
    "H3": "before an index is built or a constraint validated",
}


def nowhere(point: str) -> None:
    """What a run outside of a test does at each point."""


def from_environment(variables: Mapping[str, str]) -> Reached:
    """Kills this process, as `kill -9` would, on the N-th visit to the named point."""
    wanted = variables.get("AUTOPILOT_TEST_KILLPOINT", "")
    if variables.get("AUTOPILOT_TEST") != "1" or not wanted:
        return nowhere
    name, _, count = wanted.partition(":")
    left = int(count or 1)

    def reached(point: str) -> None:
        nonlocal left
        left -= point == name
        if point == name and left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    return reached
