"""An archive as SQL and rows for a session of our own: no psql, and none of the settings that pg_restore would make.

What pg_restore writes is taken apart by its known frame alone (head, `\\restrict`, COPY … \\.); nothing else is understood.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal, Protocol

from autopilot import programs
from autopilot.backups import contents
from autopilot.errors import Refused
from autopilot.postgres.clients import Installation

#: Where pg_restore puts an item: before the rows, among them, or after them.
Section = Literal["pre", "data", "post"]

_BLOCK_BYTES = 256 * 1024
_RESTRICT = re.compile(rb"\\restrict (?P<key>[A-Za-z0-9]+)\n\Z")
_ENCODING = re.compile(rb"SET client_encoding = '(?P<name>[A-Za-z0-9_]+)';\n\Z")
#: What stands between the head and the first item; everything in it are settings.
_SETTING = re.compile(rb"(SET [a-z_]+ = [^;\n]*|SELECT pg_catalog\.set_config\('search_path', '', false\));\n\Z")
_BETWEEN = re.compile(rb"(--[^\n]*)?\n\Z")
_FROM_STDIN = b" FROM stdin;\n"
_END_OF_ROWS = b"\n\\.\n"
_NO_ROWS = b"\\.\n"


class Listed(Protocol):
    """What names an item to pg_restore."""

    @property
    def line(self) -> str: ...


class Rows(Listed, Protocol):
    """The item of a table's rows."""

    @property
    def schema(self) -> str: ...
    @property
    def name(self) -> str: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """An item of the table of contents."""

    line: str
    what: str
    schema: str
    name: str
    owner: str
    section: Section


@dataclass(frozen=True, slots=True, kw_only=True)
class Copy:
    """One table's rows: feed `pieces` to `statement` before the next one is asked for."""

    schema: str
    table: str
    #: COPY schema.table (columns) FROM stdin
    statement: str
    pieces: Iterator[bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """A plain archive, and the program that reads it."""

    path: Path
    client: Installation
    #: Of each call of pg_restore.
    timeout_s: float

    def entries(self) -> tuple[Entry, ...]:
        """All items, in the order in which they are restored. Raises Refused (`backup_unreadable`)."""
        before, rows = self._numbers("pre-data"), self._numbers("data")
        return tuple(
            Entry(
                line=i.line, what=i.what, schema=i.schema, name=i.name, owner=i.line.rpartition(" ")[2],
                section="data" if i.number in rows else "pre" if i.number in before else "post",
            )
            for i in contents.items(self._asked("--list").decode("utf-8", "replace"))
        )  # fmt: skip

    def text(self, chosen: Sequence[Listed]) -> str:
        """The commands of items that are not rows, as one text. Raises Refused (`backup_unreadable`, `backup_encoding`)."""
        if not chosen:
            return ""
        with _listed(chosen) as only:
            return body(self._asked("--file=-", f"--use-list={only}"), self.path.name)

    @contextmanager
    def copies(self, chosen: Sequence[Rows]) -> Iterator[Iterator[Copy]]:
        """The rows of TABLE DATA items, in their order. Raises Refused (`backup_unreadable`, `backup_encoding`)."""
        if not chosen:
            yield iter(())
            return
        with _listed(chosen) as only, tempfile.TemporaryFile() as complaints:
            command = programs.Command(argv=self._argv("--file=-", f"--use-list={only}"), timeout_s=self.timeout_s)
            with programs.running(command, stderr=complaints.fileno()) as child:
                if child.stdout is None:  # pragma: no cover - it is a pipe
                    raise AssertionError
                yield _copies(_Text(raw=child.stdout, archive=self.path.name), chosen)
                if child.wait(self.timeout_s) != 0:
                    complaints.seek(0)
                    raise unreadable(self.path.name, complaints.read(4000).decode("utf-8", "replace"))

    def _numbers(self, section: str) -> frozenset[str]:
        listed = self._asked("--list", f"--section={section}").decode("utf-8", "replace")
        return frozenset(item.number for item in contents.items(listed))

    def _argv(self, *arguments: str) -> tuple[str, ...]:
        return (self.client.tool("pg_restore"), *arguments, "--no-tablespaces", str(self.path))

    def _asked(self, *arguments: str) -> bytes:
        finished = programs.run(programs.Command(argv=self._argv(*arguments), timeout_s=self.timeout_s))
        if not finished.ok:
            raise unreadable(self.path.name, finished.stderr)
        return finished.stdout


@contextmanager
def _listed(chosen: Iterable[Listed]) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="autopilot-replay-") as directory:
        path = Path(directory) / "items"
        path.write_text("".join(f"{entry.line}\n" for entry in chosen), encoding="utf-8")
        yield path


def body(raw: bytes, archive: str) -> str:
    """What pg_restore wrote, without its frame: the head with its settings, `\\restrict` and `\\unrestrict`."""
    lines = raw.splitlines(keepends=True)
    start, key = _head(lines, archive)
    text = b"".join(lines[start:])
    if key is not None:
        text, found, rest = text.rpartition(b"\\unrestrict " + key + b"\n")
        if not found or rest.strip(b"\n"):
            raise unreadable(archive, "pg_restore's text does not end as it began")
    return text.decode("utf-8")


def _head(lines: Iterable[bytes], archive: str) -> tuple[int, bytes | None]:
    """How many lines the head has, and the key of its `\\restrict`."""
    key, settings, count = None, False, 0
    for line in lines:
        restricts, encoding = _RESTRICT.match(line), _ENCODING.match(line)
        if restricts is not None and key is None and not settings:
            key = restricts["key"]
        elif encoding is not None and encoding["name"] != b"UTF8":
            raise Refused(
                f"The backup {archive} is encoded as {encoding['name'].decode()}; it is only put back in place as UTF8.",
                code="backup_encoding",
                hint="Restore it into a new database with pg_restore.",
            )
        elif _SETTING.match(line) is not None:
            settings = True
        elif settings and line == b"\n":
            return count, key
        elif _BETWEEN.match(line) is None:
            raise unreadable(archive, f"pg_restore's text begins with {line[:60]!r}")
        count += 1
    return count, key


@dataclass(slots=True, kw_only=True)
class _Text:
    """pg_restore's output, by lines where it is SQL and by blocks where it is rows."""

    raw: IO[bytes]
    archive: str
    left: bytes = b""

    def line(self) -> bytes:
        """The next line; nothing at the end."""
        while (end := self.left.find(b"\n")) < 0 and self._more():
            pass
        cut = len(self.left) if end < 0 else end + 1
        line, self.left = self.left[:cut], self.left[cut:]
        return line

    def rows(self) -> Iterator[bytes]:
        """Up to the line `\\.`, which no row looks like: in rows a backslash is written twice."""
        if self._begins(_NO_ROWS):
            return
        while True:
            end = self.left.find(_END_OF_ROWS)
            if end >= 0:
                piece, self.left = self.left[: end + 1], self.left[end + len(_END_OF_ROWS) :]
                yield piece
                return
            sure = len(self.left) - len(_END_OF_ROWS)
            if sure > 0:
                piece, self.left = self.left[:sure], self.left[sure:]
                yield piece
            if not self._more():
                raise unreadable(self.archive, "it ends in the midst of a table's rows")

    def _begins(self, word: bytes) -> bool:
        while len(self.left) < len(word) and self._more():
            pass
        if not self.left.startswith(word):
            return False
        self.left = self.left[len(word) :]
        return True

    def _more(self) -> bool:
        block = self.raw.read(_BLOCK_BYTES)
        self.left += block
        return bool(block)


def _copies(text: _Text, chosen: Sequence[Rows]) -> Iterator[Copy]:
    _head(iter(text.line, b""), text.archive)
    for entry in chosen:
        statement, pieces = _statement(text), text.rows()
        yield Copy(schema=entry.schema, table=entry.name, statement=statement, pieces=pieces)
        for _ in pieces:
            pass
    for line in iter(text.line, b""):
        if line.startswith(b"COPY "):
            raise unreadable(text.archive, "it holds more rows than its table of contents says")


def _statement(text: _Text) -> str:
    """COPY … FROM stdin; a column's name may hold a line's end."""
    found = b""
    for line in iter(text.line, b""):
        if found or line.startswith(b"COPY "):
            found += line
            if line.endswith(_FROM_STDIN):
                return found[: -len(b";\n")].decode("utf-8")
        elif _BETWEEN.match(line) is None and _SETTING.match(line) is None:
            raise unreadable(text.archive, f"among its rows stands {line[:60]!r}")
    raise unreadable(text.archive, "it ends before the rows that its table of contents names")


def unreadable(archive: str, said: str) -> Refused:
    return Refused(
        f"The backup {archive} cannot be read; pg_restore says: {' '.join(said.split())[:400]}",
        code="backup_unreadable",
        hint="Do not restore it; `autopilot backup list` shows the others.",
    )
