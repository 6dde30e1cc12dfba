"""Pure: the archive's SQL with other schemas in it, by tokens: literals, bodies of functions and comments stay as they are."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from autopilot.errors import Refused
from autopilot.rollback.live import quoted

#: Literals of these types are names, looked up when the command runs.
_NAME_TYPES = frozenset({
    b"regclass", b"regtype", b"regproc", b"regprocedure", b"regoper", b"regoperator",
    b"regconfig", b"regdictionary", b"regcollation",
})  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Renaming:
    #: Schema → the schema that is meant instead.
    names: Mapping[str, str]
    #: (schema, name) of what stays where it is: what extensions brought, what others own.
    stays: Collection[tuple[str, str]] = ()

    def __call__(self, text: str) -> str:
        """`text` with every qualified name moved. Raises Refused (`cannot_stage`) where a name may mean two things."""
        if not text.strip():
            return text
        raw, done, position = text.encode(), [], 0
        for start, end, word in _changes(raw, text, self):
            done += [raw[position:start], word]
            position = end
        return b"".join([*done, raw[position:]]).decode()


def _changes(raw: bytes, text: str, renaming: Renaming) -> Iterator[tuple[int, int, bytes]]:
    import postgast

    kinds = postgast.pg_query_pb2
    silent = {kinds.SQL_COMMENT, kinds.C_COMMENT}
    literals = {kinds.SCONST, kinds.USCONST, kinds.XCONST, kinds.BCONST}
    tokens = [(t.start, t.end, t.token in literals) for t in postgast.scan(text).tokens if t.token not in silent]
    words = [raw[start:end] for start, end, _ in tokens]
    known = {_spelled(schema): schema for schema in renaming.names} | {quoted(s).encode(): s for s in renaming.names}
    doubtful = any(word in known and _may_be_alias(words, place) for place, word in enumerate(words))
    columns = _Columns(text, None if doubtful else frozenset())
    for place, (start, end, literal) in enumerate(tokens):
        after = words[place + 1 : place + 3]
        if literal:
            if after[:1] == [b"::"] and len(after) == 2 and after[1].rpartition(b".")[2] in _NAME_TYPES:
                yield from _literal(words[place], start, renaming)
        elif (schema := known.get(words[place])) is not None and after[:1] == [b"."] and len(after) == 2:
            if place and words[place - 1] == b".":
                continue
            if (schema, _plain(after[1])) in renaming.stays or columns.begin_at(start):
                continue
            yield start, end, quoted(renaming.names[schema]).encode()


def _may_be_alias(words: Sequence[bytes], place: int) -> bool:
    """Something else than a schema, or a role after TO, goes by that name."""
    before, after = words[place - 1 : place], words[place + 1 : place + 2]
    return before == [b"."] or (after != [b"."] and before != [b"TO"])


@dataclass(slots=True)
class _Columns:
    """Where `a.b` is a column of something that is called like a schema; the text is only parsed where that may be."""

    text: str
    starts: frozenset[int] | None = None

    def begin_at(self, start: int) -> bool:
        if self.starts is None:
            self.starts = self._found()
        return start in self.starts

    def _found(self) -> frozenset[int]:
        import postgast
        from google.protobuf.message import DecodeError

        try:
            tree = postgast.parse(self.text)
        except (DecodeError, postgast.PgQueryError) as cause:
            raise Refused(
                f"The backup's definitions cannot be made beside the live ones: {' '.join(str(cause).split())[:200]}",
                code="cannot_stage", hint="Restore in place, in one transaction, instead.",
            ) from cause  # fmt: skip
        return frozenset(
            node.location for _, node in postgast.walk(tree) if type(node).__name__ == "ColumnRef" and _is_column(node)
        )


def _is_column(node: Any) -> bool:
    return len(node.fields) == 2


def _literal(word: bytes, start: int, renaming: Renaming) -> Iterator[tuple[int, int, bytes]]:
    """'schema.name' as the name it is."""
    inside = word[1:-1]
    for schema, target in renaming.names.items():
        for spelled in (_spelled(schema), quoted(schema).encode()):
            if inside.startswith(spelled + b".") and (schema, _plain(inside[len(spelled) + 1 :])) not in renaming.stays:
                yield start + 1, start + 1 + len(spelled), quoted(target).encode().replace(b"'", b"''")
                return


def _spelled(schema: str) -> bytes:
    """As pg_dump writes it where it needs no quotes."""
    return schema.encode()


def _plain(word: bytes) -> str:
    text = word.decode("utf-8", "replace")
    return text[1:-1].replace('""', '"') if text.startswith('"') else text.partition("(")[0]
