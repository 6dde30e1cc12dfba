"""Secrets do not show themselves, and the last filter catches what other people's texts repeat."""

from __future__ import annotations

import copy
import dataclasses
import traceback

import pytest

from autopilot.secret import REDACTED, Secret, literals, scrub


@dataclasses.dataclass(frozen=True)
class Holder:
    secret: Secret


@pytest.mark.parametrize(
    "shown",
    [
        repr,
        str,
        lambda s: f"{s}",
        lambda s: f"{s!r:>40}",
        lambda s: "%s %r" % (s, s),  # noqa: UP031 - that is what is tried
        lambda s: repr(Holder(s)),
        lambda s: repr([s, {s: s}]),
        lambda s: repr(copy.deepcopy(s)),
        lambda s: "".join(traceback.format_exception(ValueError(s))),
        lambda s: str(dataclasses.asdict(Holder(s))),
    ],
)
def test_a_secret_is_never_shown(shown: object) -> None:
    assert callable(shown)
    text = shown(Secret("hunter2-hunter2"))
    assert "hunter2" not in text
    assert REDACTED in text


def test_a_secret_reveals_itself_when_asked() -> None:
    assert Secret("hunter2").reveal() == "hunter2"


def test_secrets_compare_by_their_text() -> None:
    assert Secret("a") == Secret("a")
    assert Secret("a") != Secret("b")
    assert Secret("a") != "a"
    assert len({Secret("a"), Secret("a")}) == 1
    assert (bool(Secret("")), bool(Secret("a"))) == (False, True)


def test_a_secret_has_no_attributes_to_dump() -> None:
    assert not hasattr(Secret("a"), "__dict__")


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("postgresql://u:hunter2@h/db", f"postgresql://u:{REDACTED}@h/db"),
        ("postgres://u.ref:hunter2@h:6543/db?a=b x", f"postgres://u.ref:{REDACTED}@h:6543/db?a=b x"),
        ("to postgresql://u:hun:ter@2@h/db failed", f"to postgresql://u:{REDACTED}@h/db failed"),
        ("POSTGRESQL://U:hunter2@H", f"POSTGRESQL://U:{REDACTED}@H"),
        ("postgresql://:hunter2@h/db", f"postgresql://:{REDACTED}@h/db"),
        ("https://name:hunter2@example.com/", f"https://name:{REDACTED}@example.com/"),
        ("host=h password=hunter2 user=u", f"host=h password={REDACTED} user=u"),
        ("host=h password = 'hun ter2' user=u", f"host=h password = {REDACTED} user=u"),
        ("PGPASSWORD=hunter2 psql", f"PGPASSWORD={REDACTED} psql"),
        ("?user=u&password=hunter2&x=1", f"?user=u&password={REDACTED}&x=1"),
        ("https://hooks.slack.com/services/T0/B0/hunter2", f"https://hooks.slack.com/{REDACTED}"),
        ("https://api.netlify.com/build_hooks/hunter2?x=1", f"https://api.netlify.com/build_hooks/{REDACTED}?x=1"),
        ("token ghp_0123456789abcdef", f"token ghp_{REDACTED}"),
        ("Authorization: Bearer abcdefghijkl", f"Authorization: Bearer {REDACTED}"),
        ("key eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.abcdefghijklmnop", f"key {REDACTED}"),
    ],
)
def test_what_looks_like_a_secret_is_blanked_out(text: str, clean: str) -> None:
    assert scrub(text) == clean


@pytest.mark.parametrize(
    "text",
    [
        "",
        "postgresql://u@h/db",
        "https://example.com/a:b?c=d@e",
        "the password is too short",
        "relation app.t does not exist at 12:30",
        "wrong password for user u",
        "mail somebody@example.com",
    ],
)
def test_what_is_no_secret_stays(text: str) -> None:
    assert scrub(text) == text


def test_known_secrets_are_blanked_out_wherever_they_stand() -> None:
    known = literals(Secret("postgresql://u:p%40ss%2Fword@h/db"))
    assert "p@ss/word" not in scrub('failed for "p@ss/word" and p%40ss%2Fword', known=known)
    assert "p%40ss" not in scrub('failed for "p@ss/word" and p%40ss%2Fword', known=known)


@pytest.mark.parametrize(
    ("text", "spellings"),
    [
        ("postgresql://u:p%40ssword@h/db", {"postgresql://u:p%40ssword@h/db", "p%40ssword", "p@ssword"}),
        ("hunter2-hunter2", {"hunter2-hunter2"}),
        ("short", set()),
        ("postgresql://u:abc@host.example/db", {"postgresql://u:abc@host.example/db"}),
        ("postgresql://u:p]ass[word@h/db", {"postgresql://u:p]ass[word@h/db"}),
    ],
)
def test_every_spelling_long_enough_to_tell_from_a_word_is_known(text: str, spellings: set[str]) -> None:
    found = literals(Secret(text))
    assert spellings <= set(found)
    assert all(len(f) >= 6 for f in found)
    assert list(found) == sorted(found, key=len, reverse=True)


@pytest.mark.parametrize(
    "dsn", ["host=h user=u password=hunter22", "host=h password='hunter22' user=u", "postgresql://h/db?user=u&password=hunter22"]
)
def test_the_password_of_any_form_of_address_is_known(dsn: str) -> None:
    assert "hunter22" not in scrub('server said: "hunter22"?', known=literals(Secret(dsn)))


def test_a_long_text_is_scrubbed_in_reasonable_steps() -> None:
    text = "postgresql://" * 2000 + "a:" * 2000 + "password" * 2000
    assert len(scrub(text)) <= len(text) + 100
