"""Secrets as a type, and the last filter before any sink."""

from __future__ import annotations

import re
from urllib.parse import unquote, urlsplit

REDACTED = "•••"


class Secret:
    """A string that does not show itself. `reveal()` is the one way to the text."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        return self._text

    def __repr__(self) -> str:
        return f"Secret({REDACTED})"

    __str__ = __repr__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._text == self._text

    def __hash__(self) -> int:
        return hash(("Secret", self._text))

    def __bool__(self) -> bool:
        return bool(self._text)


_PATTERNS = (
    # scheme://user:password@host — the password may hold anything up to the last @ of the word
    (re.compile(r"(?i)\b([a-z][a-z0-9+.-]{1,20}://[^\s:/@'\"]{0,256}):[^\s'\"]{1,512}@"), rf"\1:{REDACTED}@"),
    (
        re.compile(r"(?i)\b(password|passwd|pgpassword)(\s{0,3}[=:]\s{0,3})('[^']{0,512}'|[^\s'\"&]{1,512})"),
        rf"\1\2{REDACTED}",
    ),
    (re.compile(r"(https://hooks\.slack\.com/)[A-Za-z0-9_/.-]{1,256}"), rf"\1{REDACTED}"),
    (re.compile(r"(/build_hooks/)[A-Za-z0-9_-]{1,256}"), rf"\1{REDACTED}"),
    (
        re.compile(r"\b(gh[pousr]_|github_pat_|xox[abprs]-|sbp_|nfp_|AGE-SECRET-KEY-)[A-Za-z0-9_-]{8,256}"),
        rf"\1{REDACTED}",
    ),
    (re.compile(r"\beyJ[A-Za-z0-9_-]{10,2048}\.[A-Za-z0-9_-]{10,2048}\.[A-Za-z0-9_-]{10,2048}"), REDACTED),
    (re.compile(r"(?i)\b(bearer\s{1,3})[A-Za-z0-9._~+/=-]{8,2048}"), rf"\1{REDACTED}"),
)

#: A shorter password would blank out ordinary words of a message.
_SHORTEST_LITERAL = 6


#: `password=…` in a keyword list (quoted or not) and in a URL's query.
_PASSWORD = re.compile(r"(?i)password\s{0,9}=\s{0,9}(?:'((?:[^'\\]|\\.)*)'|([^\s&']+))")


def literals(secret: Secret) -> tuple[str, ...]:
    """The spellings of a secret that may turn up in somebody's error text: whole, its password raw and decoded."""
    text = secret.reveal()
    found = {text}
    try:
        passwords = [urlsplit(text).password or ""]
    except ValueError:
        passwords = []
    passwords += [quoted or plain for quoted, plain in _PASSWORD.findall(text)]
    for password in passwords:
        found |= {password, unquote(password), re.sub(r"\\(.)", r"\1", password)}
    return tuple(sorted((f for f in found if len(f) >= _SHORTEST_LITERAL), key=len, reverse=True))


def scrub(text: str, *, known: tuple[str, ...] = ()) -> str:
    """`text` without the known secrets and without anything that looks like a DSN, a token or a hook URL."""
    for literal in known:
        text = text.replace(literal, REDACTED)
    for pattern, replacement in _PATTERNS:
        text = pattern.sub(replacement, text)
    return text
