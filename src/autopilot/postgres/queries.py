"""SQL kept in named files: `-- name: word` begins a query, comments under it say what it is for."""

from __future__ import annotations

import re
from pathlib import Path

from psycopg import sql

_NAME = re.compile(r"^-- name: (\w+)\s*$", re.MULTILINE)


def named(module_file: str, file: str) -> dict[str, bytes]:
    """The queries of `sql/<file>` beside a module, by name, ready for `execute`."""
    return {name: text.encode() for name, text in _read(module_file, file)}


def templates(module_file: str, file: str) -> dict[str, sql.SQL]:
    """The same as templates whose {} are filled with literals or identifiers."""
    return {name: sql.SQL(text) for name, text in _read(module_file, file)}


def _read(module_file: str, file: str) -> list[tuple[str, str]]:
    text = (Path(module_file).parent / "sql" / file).read_text("utf-8")
    parts = _NAME.split(text)[1:]
    return [(name, _body(body)) for name, body in zip(parts[::2], parts[1::2], strict=True)]


def _body(text: str) -> str:
    return "\n".join(line for line in text.strip().splitlines() if not line.startswith("--"))
