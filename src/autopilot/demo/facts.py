"""What must be so for the story to be true."""

from __future__ import annotations

from autopilot.errors import Refused


def require(true: bool, otherwise: str) -> None:
    """Raises Refused (`demo_failed`) with `otherwise` where it is not so."""
    if not true:
        raise Refused(
            otherwise, code="demo_failed", hint="Read what it said above; if it is not this machine's fault, report it.",
            state="Only the demo's own temporary servers were touched.",
        )  # fmt: skip
