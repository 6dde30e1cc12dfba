"""A backup's archive as this package sees it: items, their commands as text, their rows as COPY blocks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Protocol


class Entry(Protocol):
    """An item of the archive's table of contents."""

    @property
    def line(self) -> str:
        """As pg_restore knows it."""
        ...

    @property
    def what(self) -> str: ...
    @property
    def schema(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def owner(self) -> str: ...
    @property
    def section(self) -> str:
        """ "pre", "data" or "post"."""
        ...


class Copy(Protocol):
    """One table's rows."""

    @property
    def schema(self) -> str: ...
    @property
    def table(self) -> str: ...
    @property
    def statement(self) -> str:
        """COPY schema.table (columns) FROM stdin."""
        ...

    @property
    def pieces(self) -> Iterator[bytes]: ...


class Archive(Protocol):
    def entries(self) -> tuple[Entry, ...]: ...
    def text(self, chosen: Sequence[Entry]) -> str: ...
    def copies(self, chosen: Sequence[Entry]) -> AbstractContextManager[Iterator[Copy]]: ...
