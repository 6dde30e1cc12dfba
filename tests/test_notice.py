"""What leaves the house and what comes back: Slack, build hooks, verdicts, and the way back."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from autopilot.alerts import slack, wording
from autopilot.alerts.wording import Notice
from autopilot.deploys import build_hook
from autopilot.health.looks import DatabaseLook, Look, uncached
from autopilot.health.verdict import same_commit, verdict
from autopilot.http import Reply
from autopilot.rollback.route import way_back
from autopilot.rollback.routes.facts import Facts, losses
from autopilot.secret import Secret

WEBHOOK = Secret("https://hooks.slack.com/services/T0/B0/hunter2")
HOOK = Secret("https://api.netlify.com/build_hooks/hunter2?trigger_branch=main")


@dataclass
class Wire:
    """Answers each request with the next reply and remembers what was asked; its last reply repeats."""

    replies: list[Reply]
    asked: list[tuple[str, str, object]] = field(default_factory=list)
    slept: list[float] = field(default_factory=list)

    def request(
        self, method: str, url: str, *, json: object | None = None, content: bytes | None = None,
        headers: Mapping[str, str] | None = None, timeout_s: float,
    ) -> Reply:  # fmt: skip
        self.asked.append((method, url, json))
        return self.replies[min(len(self.asked), len(self.replies)) - 1]

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)


def reply(status: int, body: str = "", *, failure: str = "", **headers: str) -> Reply:
    return Reply(status=status, body=body.encode(), failure=failure, headers={k.replace("_", "-"): v for k, v in headers.items()})


# --- Slack ---


def notice(text: str = "text", headline: str = "✅ Migration success", *facts: tuple[str, str]) -> Notice:
    return Notice(headline=headline, text=text, facts=facts)


def strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from strings(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from strings(inner)


@pytest.mark.parametrize("character", ["x", "&", "<", "😀", "\n", "ü"])
@pytest.mark.parametrize("length", [1, 150, 2000, 3000, 100_000])
def test_a_message_stays_within_slacks_limits(character: str, length: int) -> None:
    long = character * length
    body = slack.payload(notice(long, f"✅ {long}", *[(long, long)] * 30))
    header, section, fields = body["blocks"]
    assert len(header["text"]["text"]) <= 150
    assert 0 < len(section["text"]["text"]) <= 3000
    assert len(fields["fields"]) == 10
    assert all(len(f["text"]) <= 2000 for f in fields["fields"])
    assert len(body["text"]) <= 4000
    json.dumps(body).encode()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("<!channel> hello", "&lt;!channel&gt; hello"),
        ("<!here|x> <@U123>", "&lt;!here|x&gt; &lt;@U123&gt;"),
        ("<https://evil.example|click>", "&lt;https://evil.example|click&gt;"),
        ("a & b &lt;", "a &amp; b &amp;lt;"),
        ("a\x00b\x1b[31mc\rd\x7f", "ab[31mcd"),
        ("right\u202eleft\u200b", "rightleft"),
        ("two\nlines ü 😀", "two\nlines ü 😀"),
        ("postgresql://u:hunter2@h/db", "postgresql://u:•••@h/db"),
    ],
)
def test_nothing_in_a_message_pings_links_or_hides(text: str, shown: str) -> None:
    body = slack.payload(notice(text, "✅ Done", (text, text)))
    assert body["blocks"][1]["text"]["text"] == shown
    assert body["blocks"][2]["fields"][0]["text"] == f"*{shown}*\n{shown}"
    assert body["text"] == f"✅ Done — {shown}"
    assert (body["unfurl_links"], body["unfurl_media"]) == (False, False)


def test_a_headline_cannot_ping_either() -> None:
    body = slack.payload(notice("text", "<!channel> postgresql://u:hunter2@h/db"))
    assert "<!channel>" not in body["text"]
    assert body["blocks"][0]["text"]["type"] == "plain_text"
    assert not [s for s in strings(body) if "hunter2" in s]


def test_a_message_without_facts_has_no_empty_block() -> None:
    assert [b["type"] for b in slack.payload(notice())["blocks"]] == ["header", "section"]


def test_a_text_that_is_cut_is_not_cut_inside_an_escape() -> None:
    text = slack.payload(notice("&" * 3000))["blocks"][1]["text"]["text"]
    assert text.endswith("&amp;…")


RELEASE = wording.Release(
    environment_name="production", commit_sha="abc1234def567890", triggered_by="ann", run_id="r1",
    files=("1_a.sql",), backup_file="backup_x.dump", duration_ms=1500,
)  # fmt: skip


@pytest.mark.parametrize(
    ("told", "words"),
    [
        (wording.started(RELEASE), "🚀 Backup created"),
        (
            wording.started(replace(RELEASE, backup_file=None)),
            "🚀 Migration started",
        ),
        (wording.succeeded(RELEASE, deploy="Deploy triggered."), "✅ Migration success"),
        (wording.failed(RELEASE, message="m", state="s", hint="h"), "❌ Migration failed"),
    ],
)
def test_each_message_begins_with_the_words_of_the_contract(told: Notice, words: str) -> None:
    assert told.headline.startswith(words)
    facts = dict(told.facts)
    assert (facts["Environment"], facts["Commit"], facts["Run"]) == ("production", "abc1234def56", "r1")


# --- build hooks ---


@pytest.mark.parametrize(
    ("replies", "taken", "tries", "slept", "clue"),
    [
        ([reply(200)], True, 1, [], "HTTP 200"),
        ([reply(201)], True, 1, [], "HTTP 201"),
        ([reply(404)], False, 1, [], "revoked or mistyped"),
        ([reply(410)], False, 1, [], "revoked"),
        ([reply(403)], False, 1, [], "quota"),
        ([reply(302)], False, 1, [], "dashboard"),
        ([reply(503)], False, 3, [1.0, 3.0], "HTTP 503"),
        ([reply(503), reply(200)], True, 2, [1.0], "HTTP 200"),
        ([reply(0, failure="timeout")], False, 3, [1.0, 3.0], "no answer (timeout)"),
        ([reply(408), reply(425), reply(200)], True, 3, [1.0, 3.0], "HTTP 200"),
        ([reply(429, retry_after="7"), reply(200)], True, 2, [7.0], "HTTP 200"),
        ([reply(429, retry_after="0"), reply(200)], True, 2, [0.0], "HTTP 200"),
        ([reply(429, retry_after="86400"), reply(200)], True, 2, [60.0], "HTTP 200"),
        ([reply(429, retry_after="soon"), reply(200)], True, 2, [1.0], "HTTP 200"),
        ([reply(429, retry_after="٣"), reply(200)], True, 2, [1.0], "HTTP 200"),
        ([reply(429)], False, 3, [1.0, 3.0], "limits builds"),
    ],
)
def test_a_hook_is_asked_as_often_as_it_is_worth(
    replies: list[Reply], taken: bool, tries: int, slept: list[float], clue: str
) -> None:
    wire = Wire(replies)
    asked = build_hook.ask(HOOK, title="run r1 & more", request=wire.request, sleep=wire.sleep)
    assert (asked.taken, len(wire.asked), wire.slept) == (taken, tries, slept)
    assert clue in asked.words + asked.hint
    assert "hunter2" not in asked.words + asked.hint
    assert bool(asked.hint) is not taken
    expected = "https://api.netlify.com/build_hooks/hunter2?trigger_branch=main&trigger_title=run+r1+%26+more"
    assert {(method, url) for method, url, _ in wire.asked} == {("POST", expected)}


@pytest.mark.parametrize(
    ("hook", "name"),
    [
        ("https://api.netlify.com/build_hooks/x", "netlify"),
        ("https://api.vercel.com/v1/integrations/deploy/x/y", "vercel"),
        ("https://api.cloudflare.com/client/v4/pages/webhooks/deploy_hooks/x", "cloudflare_pages"),
        ("http://127.0.0.1:8000/build_hooks/x", "netlify"),
        ("https://example.com/deploy", "hook"),
        ("https://netlify.com.evil.example/x", "hook"),
        ("https://notnetlify.com/x", "hook"),
    ],
)
def test_a_host_is_known_by_its_name(hook: str, name: str) -> None:
    assert build_hook.platform(Secret(hook)) == name


def test_a_title_replaces_the_one_that_was_there() -> None:
    assert build_hook.titled(Secret("https://h/x?trigger_title=old&a="), "new") == "https://h/x?a=&trigger_title=new"


# --- verdicts ---

UP = DatabaseLook(ok=True, response_time_ms=5, words="answers")
DOWN = DatabaseLook(ok=False, response_time_ms=9, words="connection refused")


@pytest.mark.parametrize(
    ("site", "health", "database", "status", "clue"),
    [
        (200, 200, UP, "healthy", "all that was asked answers well"),
        (301, 200, UP, "healthy", ""),
        (None, None, None, "healthy", ""),
        (200, None, None, "healthy", ""),
        (None, 200, None, "healthy", ""),
        (None, None, UP, "healthy", ""),
        (200, 503, UP, "degraded", "health API gives HTTP 503"),
        (200, 302, UP, "degraded", "health API gives HTTP 302"),
        (200, 200, DOWN, "degraded", "database does not answer: connection refused"),
        (200, 0, DOWN, "degraded", "health API gives no answer (timeout); the database"),
        (500, 200, UP, "unhealthy", "site gives HTTP 500"),
        (404, 200, UP, "unhealthy", "site gives HTTP 404"),
        (0, 0, DOWN, "unhealthy", "site gives no answer (timeout)"),
        (None, 500, UP, "unhealthy", "health API"),
        (None, None, DOWN, "unhealthy", "database"),
    ],
)
def test_a_look_adds_up_to_a_verdict(
    site: int | None, health: int | None, database: DatabaseLook | None, status: str, clue: str
) -> None:
    def answered(code: int | None, ms: int) -> Reply | None:
        return None if code is None else Reply(status=code, duration_ms=ms, failure="" if code else "timeout")

    found = verdict(Look(site=answered(site, 20), health=answered(health, 30), database=database))
    assert found.status == status
    assert clue in found.words
    assert found.checks["site_status"] == (None if site is None else str(site))
    assert found.checks["health_status"] == (None if health is None else str(health))
    assert found.checks["db_status"] == (None if database is None else "200" if database.ok else "503")
    assert {"site_response_time", "db_response_time"} <= set(found.checks)
    slowest = 30 if health is not None else 20 if site is not None else 0 if database is None else database.response_time_ms
    assert found.response_time_ms == slowest


SHA = "0123456789abcdef0123456789abcdef01234567"
OTHER = "fedcba9876543210fedcba9876543210fedcba98"


@pytest.mark.parametrize(
    ("site", "health", "commit"),
    [
        (reply(200), reply(200, json.dumps({"commit": SHA})), SHA),
        (reply(200), reply(200, json.dumps({"commit_sha": SHA.upper()})), SHA),
        (reply(200), reply(200, json.dumps({"version": SHA[:7]})), SHA[:7]),
        (reply(200), reply(200, json.dumps({"version": "1.2.3"})), None),
        (reply(200), reply(200, json.dumps({"commit": "main", "commit_sha": SHA})), SHA),
        (reply(200), reply(200, json.dumps({"commit": 7, "commit_ref": SHA})), SHA),
        (reply(200), reply(200, json.dumps([SHA])), None),
        (reply(200), reply(200, "not json", x_commit=SHA), SHA),
        (reply(200, f'<meta name="commit" content="{SHA}">'), None, SHA),
        (reply(200, f"<meta charset=utf-8><meta name='commit' content='{SHA.upper()}'/>"), reply(200, "ok"), SHA),
        (reply(200, f'<meta content="{SHA}" name="commit">'), None, SHA),
        (reply(200, '<meta name="commit" content="unknown">'), None, None),
        (reply(200, x_commit=OTHER), reply(200, json.dumps({"commit": SHA})), SHA),
        (reply(200, x_commit=OTHER), reply(503, json.dumps({"commit": SHA})), OTHER),
        (reply(500, x_commit=SHA), None, None),
        (reply(200, x_commit="abc12"), None, None),
        (reply(200, "\xff"), reply(200, ""), None),
        (None, None, None),
    ],
)
def test_the_commit_that_answered_is_read_from_json_header_or_page(
    site: Reply | None, health: Reply | None, commit: str | None
) -> None:
    found = verdict(Look(site=site, health=health, database=None))
    assert found.commit == commit
    assert found.checks["commit"] == commit


@pytest.mark.parametrize(
    ("echoed", "expected", "same"),
    [
        (SHA, SHA, True),
        (SHA[:7], SHA, True),
        (SHA, SHA[:12], True),
        (SHA, SHA.upper(), True),
        (SHA, OTHER, False),
        (SHA[:6], SHA, False),
        (SHA[:7], OTHER, False),
        (None, SHA, None),
        (SHA, None, None),
        (None, None, None),
    ],
)
def test_commits_are_the_same_by_seven_digits_or_more(echoed: str | None, expected: str | None, same: bool | None) -> None:
    assert same_commit(echoed, expected) is same


@pytest.mark.parametrize(
    ("url", "beginning"),
    [
        ("https://h/", "https://h/?autopilot="),
        ("https://h/a?b=&c=d", "https://h/a?b=&c=d&autopilot="),
        ("https://h", "https://h?autopilot="),
    ],
)
def test_a_look_passes_every_cache(url: str, beginning: str) -> None:
    assert uncached(url).startswith(beginning)
    assert len(uncached(url)) > len(beginning)


# --- the way back ---


def facts(status: str | None, *, run_id: str | None = "r1", backup: str | None = "b.dump", good: bool = True) -> Facts:
    return Facts(
        run_id=run_id, status=status, versions=("1", "2"), backup_file=backup, backup_good=good,
        rows_then={"public.a": 3, "public.b": 1, "automation.runs": 1},
        rows_now={"public.a": 5, "public.c": 2, "automation.runs": 9},
    )  # fmt: skip


BY_HAND, LAST = ("last good deploy", "a migration that undoes it"), "the provider's point in time"


@pytest.mark.parametrize(
    ("known", "routes", "clue"),
    [
        (facts(None), [], "Nothing was ever applied"),
        (facts("success", run_id=None), [], "Nothing was ever applied"),
        (facts("failure"), ["transaction abort"], "rolled back or refused"),
        (facts("rollback"), ["transaction abort"], "rolled back or refused"),
        (facts("pending"), ["transaction abort"], "has not ended"),
        (facts("success"), [*BY_HAND, "restore from backup", LAST], "applied 1, 2"),
        (facts("success", good=False), [*BY_HAND, "restore from backup", LAST], "b.dump is missing or damaged"),
        (facts("success", backup=None, good=False), [*BY_HAND, LAST], "applied 1, 2"),
    ],
)
def test_the_routes_back_come_least_destructive_first(known: Facts, routes: list[str], clue: str) -> None:
    found = way_back(known)
    assert [r.name for r in found.routes] == routes
    assert clue in found.summary
    assert [bool(r.loses) for r in found.routes] == [r == "restore from backup" for r in routes]


def test_what_a_restore_would_lose_is_told_table_by_table() -> None:
    known = facts("success")
    assert [loss.words() for loss in losses(known.rows_then, known.rows_now)] == [
        "public.a: 3 rows then, 5 now (+2)",
        "public.b: gone since the backup, had 1 row",
        "public.c: new since the backup, 2 rows",
    ]


@pytest.mark.parametrize(("then", "now"), [(None, {"a": 1}), ({"a": 1}, None), ({"a": 1}, {"a": 1}), ({}, {})])
def test_what_was_not_counted_or_did_not_change_is_no_loss(then: dict[str, int] | None, now: dict[str, int] | None) -> None:
    assert losses(then, now) == ()
