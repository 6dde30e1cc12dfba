"""The rows of single tables, taken out of an archive as COPY text."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from autopilot import programs
from autopilot.backups import contents
from autopilot.errors import Refused
from autopilot.postgres.clients import Installation

_COPY = re.compile(rb"^COPY .+? \((?P<columns>.*)\) FROM stdin;\n\Z")
_NAME = re.compile(r'"((?:[^"]|"")*)"|([^\s,]+)')
_PIECE_BYTES = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """path: the script that pg_restore wrote; the rows begin at `offset`. columns: in the order of their values."""

    path: Path
    offset: int
    columns: tuple[str, ...]

    def pieces(self) -> Iterator[bytes]:
        """The rows in the text form of COPY, whole lines, without the line that ends them."""
        with self.path.open("rb") as stream:
            stream.seek(self.offset)
            while lines := stream.readlines(_PIECE_BYTES):
                if b"\\.\n" in lines:
                    yield b"".join(lines[: lines.index(b"\\.\n")])
                    return
                yield b"".join(lines)


def taken_out(archive: Path, client: Installation, *, schema: str, table: str, to: Path, timeout_s: float) -> Rows | None:
    """Writes the table's rows to the new file `to`; None where the archive holds none of that table.

    Raises Refused (`backup_unreadable`, `program_missing`, `program_timed_out`).
    """
    listed = contents.items(_asked(archive, client, "--list", timeout_s=timeout_s))
    chosen = [i for i in listed if i.what == "TABLE DATA" and (i.schema, i.name) == (schema, table)]
    if not chosen:
        return None
    only = to.with_name(to.name + ".items")
    only.write_text("".join(f"{item.line}\n" for item in chosen), encoding="utf-8")
    _asked(archive, client, f"--use-list={only}", f"--file={to}", timeout_s=timeout_s)
    return _opened(to)


def _opened(path: Path) -> Rows | None:
    with path.open("rb") as stream:
        for line in iter(stream.readline, b""):
            found = _COPY.match(line)
            if found is not None:
                names = _NAME.findall(found["columns"].decode())
                columns = tuple(quoted.replace('""', '"') if quoted else plain for quoted, plain in names)
                return Rows(path=path, offset=stream.tell(), columns=columns)
    return None


def _asked(archive: Path, client: Installation, *arguments: str, timeout_s: float) -> str:
    argv = (client.tool("pg_restore"), *arguments, str(archive))
    finished = programs.run(programs.Command(argv=argv, timeout_s=timeout_s))
    if not finished.ok:
        raise Refused(
            f"The backup {archive.name} cannot be read; pg_restore says: {' '.join(finished.stderr.split())[:400]}",
            code="backup_unreadable",
            hint="Do not restore it; `autopilot backup list` shows the others.",
        )
    return finished.stdout.decode("utf-8", "replace")
