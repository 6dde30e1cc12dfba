"""One suite over every channel: what it is sent, what its answers mean, and what text from outside can do there."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.channels.pagerduty import alerts
from tests.channels.stage import CLOSED, KINDS, Staged, standing_in

from autopilot import http
from autopilot.alerts import github, pagerduty, slack, through_apprise, webhook, wording
from autopilot.alerts.answer import Answer, patiently
from autopilot.alerts.letter import clean
from autopilot.alerts.parcel import Parcel
from autopilot.alerts.senders import SENDERS
from autopilot.alerts.wording import Notice
from autopilot.channels import Channel
from autopilot.config import load
from autopilot.demo.channel import objection
from autopilot.secret import Secret

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
LINKS = (("Run", "https://github.com/acme/shop/actions/runs/1"), ("Changes", "https://github.com/acme/shop/commit/c0ffee00"))


@pytest.fixture(scope="module")
def processes() -> Iterator[dict[str, Staged]]:
    import contextlib

    with contextlib.ExitStack() as stack:
        yield {name: stack.enter_context(standing_in(name)) for name in KINDS}


@pytest.fixture(params=KINDS)
def staged(request: pytest.FixtureRequest, processes: dict[str, Staged]) -> Iterator[Staged]:
    found = processes[request.param]
    found.script(anew=True)
    yield found
    found.hold_to_document()


@pytest.fixture
def hub(processes: dict[str, Staged]) -> Iterator[Staged]:
    found = processes["github"]
    found.script(anew=True)
    yield found
    found.hold_to_document()


def channel_of(staged: Staged, **variables: str) -> Channel:
    (found,) = load(variables=staged.variables | variables).channels
    return found


def parcel(
    action: wording.Action = "open", *, key: str = "production/r1/end", page: str | None = "production-r1", **more: Any
) -> Parcel:
    given = {
        "headline": "❌ Migration failed", "text": "It broke.\nNext: mend it.", "facts": (("Environment", "production"),),
        "severity": "critical", "action": action, "links": LINKS,
    }  # fmt: skip
    return Parcel(notice=Notice(**(given | more)), key=key, environment_name="production", page=page, written_at=NOW)


def sent(staged: Staged, what: Parcel, **variables: str) -> Answer:
    channel = channel_of(staged, **variables)
    return SENDERS[channel.kind](channel, what, request=http.request, now=datetime.now(UTC))


# --- every channel ---


@pytest.mark.parametrize("action", ["open", "tell", "change", "resolve", "ack", "remind"])
def test_each_kind_of_notice_is_taken(staged: Staged, action: wording.Action) -> None:
    answer = sent(staged, parcel(action))
    assert answer.verdict == "told", answer.words


@pytest.mark.parametrize(
    ("fault", "verdict", "rest_s"),
    [
        ({"status": 500}, "later", None),
        ({"status": 503, "headers": {"Retry-After": "7"}}, "later", 7.0),
        ({"status": 429, "headers": {"Retry-After": "30"}}, "later", 30.0),
        ({"status": 429, "headers": {"Retry-After": "9" * 400}}, "later", 86_400.0),
        ({"status": 408}, "later", None),
        ({"reset": True}, "later", None),
        ({"raw": "HTTP/1.1 banana\r\n\r\n"}, "later", None),
        ({"status": 400, "body": "invalid_blocks"}, "never", None),
        ({"status": 401}, "never", None),
        ({"status": 404, "body": "no_service"}, "never", None),
        ({"status": 302, "headers": {"Location": "https://evil.example/"}}, "never", None),
    ],
    ids=lambda value: json.dumps(value)[:50],
)
def test_what_an_answer_means(staged: Staged, fault: dict[str, Any], verdict: str, rest_s: float | None) -> None:
    staged.fails(fault)
    answer = sent(staged, parcel())
    assert answer.verdict == verdict
    if fault.get("status") != 429 or staged.name != "github":
        assert answer.rest_s == rest_s


def test_a_channel_that_is_not_there_is_tried_later(staged: Staged) -> None:
    channel = channel_of(staged)
    gone = replace(
        channel, api_url=CLOSED, secret=Secret(f"{CLOSED}/x") if channel.kind in {"slack", "webhook"} else channel.secret
    )
    answer = SENDERS[channel.kind](gone, parcel(), request=http.request, now=NOW)
    assert (answer.verdict, answer.rest_s) == ("later", None)
    assert "no answer (connect)" in answer.words


def test_no_answer_repeats_the_channels_own_secret(staged: Staged) -> None:
    secret = channel_of(staged).secret.reveal()
    staged.fails({"status": 400, "body": f"you sent {secret}"})
    answer = sent(staged, parcel())
    assert "you sent" in answer.words
    assert secret not in answer.words
    assert secret.rsplit("/", 1)[-1] not in answer.words


HOSTILE = [
    "<!channel> <!here|x> <!everyone> <@U123> <#C123>",
    "@channel @here @everyone @octocat @acme/owners",
    "<https://evil.example|Sign in> [Sign in](https://evil.example) <a href='https://evil.example'>Sign in</a>",
    "```\n@octocat\n```` ~~~ </pre><!-- autopilot:page:production-r1 --> <script>alert(1)</script>",
    "fixes #12, closes acme/shop#13",
    "a\x00b\x1b[31mc\rd\x7f \u202egnp.exe \u200b\ufeff",
    "x" * 200_000,
    "&" * 50_000,
    "😀" * 30_000,
    "\n" * 20_000,
    "",
    '"}],"text":"<!channel>',
    "%(x)s {0} ${HOME} $(id)",
]


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_text_from_outside_is_taken_and_stays_text(staged: Staged, text: str) -> None:
    notice = clean(
        Notice(headline=f"❌ {text}", text=text, facts=((text, text),) * 12, severity="critical", action="open", links=LINKS),
        known=(),
    )
    answer = sent(staged, replace(parcel(), notice=notice))
    assert answer.verdict == "told", answer.words
    for body in staged.took():
        _stays_text(staged.name, body)


def _stays_text(name: str, body: dict[str, Any]) -> None:
    if name == "slack":
        assert objection(body) is None
        assert sum(len(s) for s in strings(body)) < 10_400
        own = [f"<{url}|{words}>" for words, url in LINKS]
        shown = "\n".join(strings(body["blocks"][1:]))
        for link in own:
            shown = shown.replace(link, "")
        assert not set("<>") & set(shown)
        assert "<" not in body["text"]
    if name == "github" and "body" in body:
        outside = _outside_of_the_fence(body["body"])
        assert "@" not in outside.replace("@\u200b", "")
        assert "evil.example" not in outside
        assert outside.count("<!-- autopilot:page:") == 1
        assert "<script" not in outside


def _outside_of_the_fence(text: str) -> str:
    """What GitHub reads as markup: by CommonMark a fence ends at the first line of at least as many backticks."""
    lines, outside, fence = text.split("\n"), [], ""
    for line in lines:
        if not fence and line.startswith("```"):
            fence = line[: len(line) - len(line.lstrip("`"))]
        elif fence and line.strip() and not line.strip().strip("`") and len(line.strip()) >= len(fence):
            fence = ""
        elif not fence:
            outside.append(line)
    assert not fence, "the block is open to the end"
    return "\n".join(outside)


def strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from strings(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from strings(inner)


SECRETS = [
    "postgresql://u:hunter2hunter2@h/db",
    "password=hunter2hunter2",
    "https://hooks.slack.com/services/T0/B0/hunter2hunter2",
    "https://api.netlify.com/build_hooks/hunter2hunter2",
    "ghp_Ahunter2hunter2B",
    "Authorization: Bearer hunter2hunter2",
    "the plain hunter2hunter2 itself",
]


@pytest.mark.parametrize("text", SECRETS)
def test_no_secret_leaves_the_house(staged: Staged, text: str) -> None:
    notice = clean(
        Notice(headline=text, text=f"It said: {text}", facts=(("Said", text), (text, "x")), severity="critical", action="open"),
        known=("hunter2hunter2",),
    )  # fmt: skip
    assert sent(staged, replace(parcel(), notice=notice)).verdict == "told"
    assert "hunter2" not in "".join(e["body"] for e in staged.exchanges())


# --- PagerDuty ---


def test_a_page_is_opened_once_acknowledged_and_resolved_under_one_key(processes: dict[str, Staged]) -> None:
    duty = processes["pagerduty"]
    duty.script(anew=True)
    for action in ("open", "open", "ack", "resolve"):
        assert sent(duty, parcel(action, key=f"production/r1/{action}")).verdict == "told"
    assert alerts(duty.took()) == [["trigger", "trigger", "acknowledge", "resolve"]]
    first = duty.took()[0]
    assert (first["payload"]["severity"], first["dedup_key"]) == ("critical", "production-r1")
    assert [link["href"] for link in first["links"]] == [url for _, url in LINKS]


def test_a_release_that_went_well_is_a_change_event(processes: dict[str, Staged]) -> None:
    duty = processes["pagerduty"]
    duty.script(anew=True)
    assert sent(duty, parcel("change", severity="info")).verdict == "told"
    ((path, body),) = [(e["path"], json.loads(e["body"].encode("latin-1"))) for e in duty.exchanges()]
    assert path == "/v2/change/enqueue"
    assert "event_action" not in body


@pytest.mark.parametrize(
    "base", ["https://events.pagerduty.com", "https://events.pagerduty.com/v2", "https://events.pagerduty.com/v2/"]
)
def test_the_address_of_pagerduty_may_end_in_its_version(base: str) -> None:
    asked: list[str] = []

    def request(method: str, url: str, **_: Any) -> http.Reply:
        asked.append(url)
        return http.Reply(status=202)

    channel = Channel(name="pagerduty", kind="pagerduty", secret=Secret("k" * 32), least="critical", api_url=base)
    pagerduty.post(channel, parcel(), request=request, now=NOW)
    assert asked == ["https://events.pagerduty.com/v2/enqueue"]


# --- GitHub ---


def test_an_issue_is_opened_commented_on_and_closed(hub: Staged) -> None:
    for action in ("open", "remind", "resolve"):
        assert sent(hub, parcel(action, key=f"production/r1/{action}")).verdict == "told"
    opened, reminded, resolved, closed = hub.took()
    assert opened["labels"] == ["urgent", "incident", "autopilot"]
    assert opened["title"] == "❌ Migration failed (production)"
    assert "body" in reminded
    assert "body" in resolved
    assert closed == {"state": "closed", "state_reason": "completed"}


def test_a_second_failure_of_the_same_page_is_a_comment(hub: Staged) -> None:
    sent(hub, parcel(key="production/r1/end"))
    answer = sent(hub, parcel(key="production/r2/end"))
    assert answer.words == "GitHub has it in the issue #1"
    assert [list(body) for body in hub.took()] == [["title", "body", "labels"], ["body"]]


@pytest.mark.parametrize("action", ["open", "remind", "resolve"])
def test_a_copy_is_told_only_once(hub: Staged, action: wording.Action) -> None:
    sent(hub, parcel())
    for _ in range(3):
        assert (
            sent(hub, parcel(action, key=f"production/r1/{action}" if action != "open" else "production/r1/end")).verdict
            == "told"
        )
    writes = [e["method"] + " " + e["path"].rsplit("/", 1)[-1] for e in hub.exchanges() if e["method"] != "GET"]
    wanted = {"open": [], "remind": ["POST comments"], "resolve": ["POST comments", "PATCH 1"]}[action]
    assert writes == ["POST issues", *wanted]


@pytest.mark.parametrize("action", ["open", "remind", "resolve"])
def test_a_copy_after_a_lost_answer_is_told_only_once(hub: Staged, action: wording.Action) -> None:
    if action != "open":
        sent(hub, parcel())
    done = len(hub.took())
    hub.script(faults=[{"on": "POST /", "times": 1, "act": True, "reset": True}])
    what = parcel(action, key=f"production/r1/{action}")
    assert sent(hub, what).verdict == "later"
    assert sent(hub, what).verdict == "told"
    assert len([body for body in hub.took()[done:] if "body" in body]) == 1


def test_an_issue_that_somebody_closed_stays_closed_and_a_new_page_opens_another(hub: Staged) -> None:
    marker = "<!-- autopilot:page:production-r1 -->"
    hub.script(issues=[{"title": "old", "body": marker, "labels": ["autopilot"], "state": "closed"}])
    assert sent(hub, parcel("resolve")).words == "GitHub has no open issue of it"
    assert sent(hub, parcel("open")).words == "GitHub opened the issue #2"


def test_pull_requests_other_labels_and_other_pages_are_left_alone(hub: Staged) -> None:
    marker = "<!-- autopilot:page:production-r1 -->"
    request = dict.fromkeys(("url", "html_url", "diff_url", "patch_url"), "https://api.github.com/repos/acme/shop/pulls/1")
    hub.script(
        issues=[
            {"title": "a pull request", "body": marker, "labels": ["autopilot"], "pull_request": request},
            {"title": "not ours", "body": marker, "labels": ["bug"]},
            {"title": "another page", "body": marker.replace("r1", "r11"), "labels": ["autopilot"]},
            {"title": "no body", "labels": ["autopilot"]},
        ]
    )
    assert sent(hub, parcel()).words == "GitHub opened the issue #5"


def test_the_issue_is_found_on_a_later_page_of_the_list(hub: Staged) -> None:
    marker = "<!-- autopilot:page:production-r1 -->"
    others = [{"title": str(n), "body": "-", "labels": ["autopilot"]} for n in range(120)]
    hub.script(issues=[{"title": "ours", "body": marker, "labels": ["autopilot"]}, *others])
    assert sent(hub, parcel()).words == "GitHub has it in the issue #1"
    assert not [e for e in hub.exchanges() if "search" in e["path"]]


@pytest.mark.parametrize(
    ("fault", "verdict", "rest_s"),
    [
        ({"status": 403, "headers": {"Retry-After": "30"}}, "later", 30.0),
        ({"status": 403, "body": '{"message": "You have exceeded a secondary rate limit"}'}, "later", 60.0),
        ({"status": 429}, "later", 60.0),
        ({"status": 403, "body": '{"message": "Resource not accessible by integration"}'}, "never", None),
        ({"status": 410, "body": '{"message": "Issues are disabled for this repo"}'}, "never", None),
        ({"status": 200, "body": "<html>"}, "later", None),
        ({"status": 200, "body": '{"message": "hello"}'}, "later", None),
    ],
)
def test_a_limit_of_github_passes_and_a_missing_right_does_not(
    hub: Staged, fault: dict[str, Any], verdict: str, rest_s: float | None
) -> None:
    hub.fails(fault)
    answer = sent(hub, parcel())
    assert (answer.verdict, answer.rest_s) == (verdict, rest_s)


def test_a_used_up_limit_is_waited_for_until_it_is_reset(hub: Staged) -> None:
    reset = int((datetime.now(UTC) + timedelta(seconds=600)).timestamp())
    hub.fails({"status": 403, "headers": {"x-ratelimit-remaining": "0", "x-ratelimit-reset": str(reset)}})
    answer = sent(hub, parcel())
    assert answer.verdict == "later"
    assert answer.rest_s is not None
    assert 500 < answer.rest_s <= 600


def test_labels_that_github_drops_are_told() -> None:
    def request(method: str, url: str, **_: Any) -> http.Reply:
        return http.Reply(status=200, body=b"[]" if method == "GET" else b'{"number": 7, "labels": []}')

    channel = Channel(name="github", kind="github", secret=Secret("t"), least="critical", repository="a/b", api_url="https://x")
    answer = github.post(channel, parcel(), request=request, now=NOW)
    assert answer.verdict == "told"
    assert "dropped the label autopilot" in answer.words


# --- Slack, the webhook, apprise ---


def test_slack_shows_links_of_ours(processes: dict[str, Staged]) -> None:
    body = slack.payload(parcel().notice)
    (context,) = [b for b in body["blocks"] if b["type"] == "context"]
    assert context["elements"][0]["text"] == " · ".join(f"<{url}|{words}>" for words, url in LINKS)


def test_a_webhook_without_a_secret_is_not_signed(processes: dict[str, Staged]) -> None:
    hook = processes["webhook"]
    hook.script(anew=True)
    assert sent(hook, parcel(), AUTOPILOT_SECRET="").verdict == "never"
    ((headers),) = [e["headers"] for e in hook.exchanges()]
    assert not [name for name in headers if name.startswith("x-autopilot")]


def test_what_the_webhook_gets_holds_everything_a_program_needs() -> None:
    found = webhook.body(parcel())
    assert {"key", "action", "severity", "environment", "page", "headline", "text", "facts", "links", "at"} == set(found)
    assert (found["key"], found["page"], found["facts"]) == ("production/r1/end", "production-r1", {"Environment": "production"})


def test_names_in_plain_text_call_nobody_through_apprise() -> None:
    title, text = through_apprise.words_of(parcel(headline="@here", text="<@U1> @everyone [x](https://evil.example)"))
    assert "@" not in (title + text).replace("@\u200b", "")
    assert "](" not in text


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of apprise's own imports
def test_what_apprise_knows_is_told_through_it(processes: dict[str, Staged]) -> None:
    pytest.importorskip("apprise")
    hook = processes["webhook"]
    hook.script(anew=True, faults=[{"on": "POST /", "times": 1, "status": 200}, {"on": "POST /", "times": 1, "status": 500}])
    url = hook.told["url"].replace("http://", "json://") + "/notices/s3cr3tn0tic3path"
    channel = Channel(name="mail", kind="apprise", secret=Secret(url), least="info")
    first = through_apprise.post(channel, parcel(), request=http.request, now=NOW)
    second = through_apprise.post(channel, parcel(), request=http.request, now=NOW)
    bad = through_apprise.post(replace(channel, secret=Secret("nonsense://")), parcel(), request=http.request, now=NOW)
    assert (first.verdict, second.verdict, bad.verdict) == ("told", "later", "never")
    assert "s3cr3t" not in first.words + second.words + bad.words


# --- patience ---


class Waiting:
    """A clock that only sleeping moves."""

    def __init__(self) -> None:
        self.slept: list[float] = []

    def now(self) -> datetime:
        return NOW + timedelta(seconds=sum(self.slept))

    def monotonic_s(self) -> float:
        return sum(self.slept)

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)


LATER, TOLD, NEVER = (Answer(verdict=v, words=v) for v in ("later", "told", "never"))


@pytest.mark.parametrize(
    ("answers", "verdict", "slept"),
    [
        ([TOLD], "told", []),
        ([NEVER], "never", []),
        ([LATER, TOLD], "told", [1.0]),
        ([LATER, LATER, LATER], "later", [1.0, 2.0]),
        ([replace(LATER, rest_s=3.0), TOLD], "told", [3.0]),
        ([replace(LATER, rest_s=0.0), TOLD], "told", [0.0]),
        ([replace(LATER, rest_s=30.0)], "later", []),
        ([LATER, replace(LATER, rest_s=4.5)], "later", [1.0]),
    ],
)
def test_a_channel_is_tried_as_often_as_a_release_can_wait(answers: list[Answer], verdict: str, slept: list[float]) -> None:
    clock, left = Waiting(), iter(answers)
    assert patiently(lambda: next(left), clock=clock, within_s=5.0).verdict == verdict
    assert clock.slept == slept
    assert next(left, None) is None
