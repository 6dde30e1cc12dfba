"""What a place for backups must be able to do. One that can is a store, once it stands in the table."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from autopilot.secret import Secret


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """What the environment says of S3-compatible stores."""

    access_key_id: Secret | None = None
    secret_access_key: Secret | None = None
    session_token: Secret | None = None
    region: str = ""
    endpoint_url: str = ""


class Objects(Protocol):
    """Files by name. Every failure is a Refused with a `store_*` code, without an address's secrets in its words."""

    def put(self, name: str, source: Path, *, midway: Callable[[], None] = lambda: None) -> None:
        """All of the file under a new name, or nothing; what a dead run left half-done under that name is not in the way.

        midway: called once, while it goes there. Raises Refused (`store_exists`, …).
        """

    def chunks(self, name: str) -> Iterator[bytes]:
        """What is there, piece by piece, as it is read back. Raises Refused (`store_lacks`, …)."""

    def sizes(self) -> Mapping[str, int]:
        """The size in bytes of each file."""

    def require_room(self, size_bytes: int) -> None:
        """That about so much can be put there, as far as can be told without putting anything."""

    def delete(self, name: str) -> None:
        """Removes it; one that is gone already is no failure."""
