"""Every host, held to one contract against its stand-in, and each exchange to the host's own document."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.hosts import referee
from tests.hosts.stage import COMMIT, DOCUMENTS, KINDS, NEXT, Staged, Waiting, standing_in, wanted

from autopilot.config import load
from autopilot.deploys import cloudflare_pages, hosts, netlify
from autopilot.deploys.asking import ask, follow, is_there
from autopilot.deploys.command import Program
from autopilot.deploys.deploy import Deploy, Host, is_wanted
from autopilot.errors import AutopilotError, Refused, UsageError

APIS = ("netlify", "vercel", "cloudflare")
EVERYTHING = {"trigger", "find", "look", "published", "restore", "promote", "lock", "unlock", "cancel", "retry"}
CAN = {
    "netlify": EVERYTHING - {"retry"},
    "vercel": EVERYTHING - {"lock", "unlock", "retry"},
    "cloudflare": {"trigger", "find", "look", "published", "restore", "retry"},
}
#: What begins a deploy, as the faults name it.
TRIGGERS = {"netlify": "POST /builds", "vercel": "POST /v1/integrations", "cloudflare": "POST /deployments"}


@pytest.fixture(scope="module")
def standing() -> Iterator[dict[str, Any]]:
    with ExitStack() as stack:
        yield {name: stack.enter_context(standing_in(name)) for name in DOCUMENTS}


@pytest.fixture
def staged(standing: dict[str, Any], request: pytest.FixtureRequest) -> Iterator[Staged]:
    name = request.param
    found = Staged(name=name, told=standing[name], clock=Waiting())
    found.script(anew=True, faults=[])
    yield found
    found.hold_to_document()


on = pytest.mark.parametrize
every_api = on("staged", APIS, indirect=True)
on_netlify = on("staged", ["netlify"], indirect=True)
on_vercel = on("staged", ["vercel"], indirect=True)
on_cloudflare = on("staged", ["cloudflare"], indirect=True)
on_webhook = on("staged", ["webhook"], indirect=True)


def deployed(staged: Staged, title: str = "autopilot r1 c0ffee000000", *, seen: list[str] | None = None, **words: Any) -> Deploy:
    """One deploy, followed to where it rests."""
    host, want = staged.host(), wanted(title, **words)
    states = seen if seen is not None else []
    begun = ask(host, want, clock=staged.clock)
    return follow(host, begun, want, clock=staged.clock, limit_s=900, seen=lambda d: states.append(d.state))


def next_deployed(staged: Staged) -> Deploy:
    """Another deploy, of the next commit."""
    staged.script(head=NEXT)
    return deployed(staged, "autopilot r2 decade111111", commit=NEXT)


def shown(host: Host) -> str | None:
    assert host.published is not None
    return host.published()


# --- what each can do ---


@every_api
def test_what_a_host_can_do_stands_in_one_table(staged: Staged) -> None:
    assert staged.host().can == CAN[staged.name]
    assert staged.host(hook=True).can == {"trigger"}
    assert staged.host().platform == staged.host(hook=True).platform == KINDS[staged.name]


@every_api
def test_a_deploy_is_followed_to_its_end_and_is_what_visitors_see(staged: Staged) -> None:
    seen: list[str] = []
    found = deployed(staged, seen=seen)
    assert (found.state, found.error, found.commit) == ("success", "", COMMIT)
    assert list(dict.fromkeys(seen)) == ["triggered", "building", "success"]
    assert shown(staged.host()) == found.id
    assert found.url is not None
    assert found.url.startswith("https://")
    assert found.is_production
    assert found.created_at is not None


@every_api
def test_a_deploy_that_is_there_is_not_asked_for_again(staged: Staged) -> None:
    first = deployed(staged)
    later = wanted("autopilot r2 c0ffee000000", since=datetime.now(UTC) - timedelta(seconds=30))
    assert ask(staged.host(), later, clock=staged.clock).id == first.id
    assert staged.begun() == 1


@every_api
def test_an_earlier_deploy_of_the_commit_is_another_one(staged: Staged) -> None:
    first = deployed(staged)
    later = wanted("autopilot r2 c0ffee000000", since=datetime.now(UTC) + timedelta(seconds=30))
    assert ask(staged.host(), later, clock=staged.clock).id != first.id
    assert staged.begun() == 2


@every_api
@on("fault", [{"reset": True}, {"status": 502, "body": "<html>"}, {"raw": ""}, {"status": 200, "body": "<html>hello"}],
    ids=["reset", "502", "closed", "page"])  # fmt: skip
@on("acted", [True, False])
def test_what_a_host_may_have_begun_is_looked_for_and_not_doubled(staged: Staged, fault: dict[str, Any], acted: bool) -> None:
    staged.script(faults=[fault | {"on": TRIGGERS[staged.name], "act": acted}])
    assert deployed(staged).state == "success"
    assert staged.begun() == 1


@every_api
def test_a_host_that_never_gives_a_clear_answer_is_asked_twice_and_no_more(staged: Staged) -> None:
    staged.script(faults=[{"on": TRIGGERS[staged.name], "status": 502, "times": 0}])
    with pytest.raises(Refused) as caught:
        deployed(staged)
    assert (caught.value.code, caught.value.state) == ("host_unsure", "Whether the host acted is not known.")
    posts = [e for e in staged.exchanges() if e["method"] == "POST"]
    assert (len(posts), staged.begun()) == (2, 0)


@every_api
def test_the_deploy_of_before_comes_back(staged: Staged) -> None:
    first, second, host = deployed(staged), next_deployed(staged), staged.host()
    assert host.restore is not None
    assert first.id is not None
    assert shown(host) == second.id
    assert host.restore(first.id).id == first.id
    assert shown(host) == first.id


@every_api
def test_whether_the_way_back_is_still_there_is_known(staged: Staged) -> None:
    first = deployed(staged)
    assert first.id is not None
    assert is_there(staged.host(), first.id)
    staged.script(remove=[first.id])
    assert is_there(staged.host(), first.id) is False
    assert is_there(staged.host(hook=True), first.id) is None


@every_api
def test_a_deploy_that_is_not_there_cannot_be_restored(staged: Staged) -> None:
    host = staged.host()
    assert host.restore is not None
    with pytest.raises(Refused) as caught:
        host.restore("0123")
    assert caught.value.code == "host_unknown"


@on("staged", ["netlify", "vercel"], indirect=True)
def test_a_deploy_can_be_cancelled(staged: Staged) -> None:
    host, want = staged.host(), wanted()
    begun = ask(host, want, clock=staged.clock)
    if begun.id is None:
        assert host.find is not None
        found = host.find(want)
        assert found is not None
        begun = found
    assert begun.id is not None
    assert host.cancel is not None
    assert host.look is not None
    assert host.cancel(begun.id).state == "cancelled"
    assert host.look(begun.id).state == "cancelled"


@every_api
def test_after_a_cancelled_deploy_a_new_one_is_asked_for(staged: Staged) -> None:
    word = {"netlify": "error", "vercel": "CANCELED", "cloudflare": "build canceled"}[staged.name]
    staged.script(walk=[word], ending={"error_message": "Canceled build"} if staged.name == "netlify" else {})
    assert deployed(staged).state == "cancelled"
    assert staged.begun() == 1
    deployed(staged)
    assert staged.begun() == 2


# --- states ---


@on_netlify
@on(
    ("word", "ending", "state"),
    [
        ("ready", {}, "success"),
        ("error", {"error_message": "Build script returned non-zero exit code: 2"}, "failed"),
        ("error", {}, "failed"),
        ("error", {"error_message": "Canceled build due to no content change", "skipped": True}, "skipped"),
        ("error", {"error_message": "Canceled build due to no content change"}, "skipped"),
        ("error", {"error_message": "Skipped"}, "skipped"),
        ("error", {"error_message": "Canceled build"}, "cancelled"),
        ("pending_review", {}, "waiting_for_review"),
        ("rejected", {}, "cancelled"),
    ],
)
def test_netlifys_ends(staged: Staged, word: str, ending: dict[str, Any], state: str) -> None:
    staged.script(walk=["new", "building", word], ending=ending)
    found = deployed(staged)
    assert (found.state, found.said) == (state, word)
    assert found.error == ending.get("error_message", "somebody rejected it" if word == "rejected" else "")
    assert (shown(staged.host()) == found.id) == (state == "success")


NETLIFYS_WORDS = {
    "new": "triggered", "enqueued": "triggered", "accepted": "triggered", "building": "building", "uploading": "building",
    "uploaded": "building", "preparing": "building", "prepared": "building", "processing": "building", "processed": "building",
    "retrying": "building", "ready": "success", "error": "failed", "pending_review": "waiting_for_review",
    "rejected": "cancelled", "Ready": "unknown", "exploded": "unknown", "": "unknown",
}  # fmt: skip


@on(("word", "state"), NETLIFYS_WORDS.items())
def test_netlifys_words(word: str, state: str) -> None:
    assert netlify.state_of(word, error="", skipped=False) == state


@on_vercel
@on(
    ("word", "state"),
    [
        ("READY", "success"),
        ("ERROR", "failed"),
        ("CANCELED", "cancelled"),
        ("DELETED", "cancelled"),
        ("BLOCKED", "waiting_for_review"),
    ],
)
def test_vercels_ends(staged: Staged, word: str, state: str) -> None:
    staged.script(walk=["QUEUED", "INITIALIZING", word], ending={"errorMessage": "it says why"} if word == "ERROR" else {})
    found = deployed(staged)
    assert (found.state, found.said, found.error) == (state, word, "it says why" if word == "ERROR" else "")


@on_cloudflare
@on(
    ("stage", "ending", "state"),
    [
        ("deploy success", {}, "success"),
        ("build failure", {}, "failed"),
        ("deploy canceled", {}, "cancelled"),
        ("queued skipped", {}, "skipped"),
        ("queued idle", {"is_skipped": True, "skip_reason": "branch_config"}, "skipped"),
    ],
)
def test_cloudflares_ends(staged: Staged, stage: str, ending: dict[str, Any], state: str) -> None:
    staged.script(walk=["initialize active", stage], ending=ending)
    found = deployed(staged)
    assert (found.state, found.said) == (state, stage)
    assert found.error == {"failed": "in the stage build", "skipped": ending.get("skip_reason", "")}.get(state, "")


@on(
    ("stage", "status", "state"),
    [("queued", "idle", "triggered"), ("build", "idle", "building"), ("build", "success", "building"),
     ("clone_repo", "active", "building"), ("deploy", "success", "success"), ("deploy", "thawed", "unknown")],
)  # fmt: skip
def test_a_stage_that_succeeds_is_the_end_only_where_it_is_the_last(stage: str, status: str, state: str) -> None:
    assert cloudflare_pages.state_of(stage, status) == state


@every_api
def test_a_state_that_nobody_knows_is_told_and_not_guessed(staged: Staged) -> None:
    word = "build thawed" if staged.name == "cloudflare" else "exploded"
    staged.script(walk=[word])
    host, want = staged.host(), wanted()
    found = follow(host, ask(host, want, clock=staged.clock), want, clock=staged.clock, limit_s=60, seen=lambda _: None)
    assert (found.state, found.is_over) == ("unknown", False)
    assert repr(word) in found.words()
    if staged.name != "netlify":  # the documents of the others list every word
        staged.script(anew=True)


@every_api
def test_a_build_that_does_not_end_is_left_at_the_limit(staged: Staged) -> None:
    staged.script(walk=[{"netlify": "building", "vercel": "BUILDING", "cloudflare": "build active"}[staged.name]])
    assert deployed(staged).state == "building"
    assert sum(staged.clock.slept) == pytest.approx(900)


@every_api
def test_a_host_that_fails_now_and_then_while_it_builds_is_looked_at_again(staged: Staged) -> None:
    staged.script(faults=[{"on": "GET /deploy", "status": 500, "times": 2}, {"on": "GET /deploy", "reset": True}])
    assert deployed(staged).state == "success"


@every_api
def test_a_host_that_cannot_be_asked_any_more_ends_the_waiting(staged: Staged) -> None:
    host, want = staged.host(), wanted()
    begun = ask(host, want, clock=staged.clock)
    staged.script(faults=[{"on": "GET /", "status": 500, "times": 0}])
    with pytest.raises(Refused) as caught:
        follow(host, begun, want, clock=staged.clock, limit_s=9000, seen=lambda _: None)
    assert (caught.value.code, caught.value.retryable) == ("host_unreachable", True)


# --- pace, credentials, refusals ---


@every_api
def test_a_host_is_left_alone_as_long_as_it_asks_for(staged: Staged) -> None:
    staged.script(faults=[{"on": "GET /deploy", "status": 429, "headers": {"Retry-After": "7"}}])
    host = staged.host()
    assert host.find is not None
    assert host.find(wanted()) is None
    assert staged.clock.slept == [7.0]


@on_netlify
def test_a_rate_limit_without_retry_after_is_waited_for_until_it_begins_anew(staged: Staged) -> None:
    reset = str(int(datetime.now(UTC).timestamp()) + 40)
    staged.script(faults=[{"on": "GET /deploy", "status": 429, "headers": {"X-RateLimit-Reset": reset}}])
    host = staged.host()
    assert host.find is not None
    host.find(wanted())
    assert 30 < staged.clock.slept[0] <= 41


@on_netlify
def test_retry_after_may_be_a_date(staged: Staged) -> None:
    at = (datetime.now(UTC) + timedelta(seconds=50)).strftime("%a, %d %b %Y %H:%M:%S GMT")
    staged.script(faults=[{"on": "GET /deploy", "status": 503, "headers": {"Retry-After": at}}])
    host = staged.host()
    assert host.find is not None
    host.find(wanted())
    assert 40 < staged.clock.slept[0] <= 51


@on_netlify
def test_a_host_with_nothing_left_is_left_alone_before_it_has_to_say_so(staged: Staged) -> None:
    staged.script(left=1)
    host = staged.host()
    assert host.find is not None
    host.find(wanted())
    assert staged.clock.slept == []
    staged.script(left=500)
    host.find(wanted())
    assert len(staged.clock.slept) == 1
    assert 0 < staged.clock.slept[0] <= 2


@every_api
@on("after", ["3600", "99999999999999999999"])
def test_nobody_waits_for_an_hour(staged: Staged, after: str) -> None:
    staged.script(faults=[{"on": "GET /deploy", "status": 429, "headers": {"Retry-After": after}}])
    host = staged.host()
    assert host.find is not None
    with pytest.raises(Refused) as caught:
        host.find(wanted())
    assert (caught.value.code, staged.clock.slept) == ("host_limited", [])


@every_api
def test_all_tries_of_one_request_end_within_ten_minutes(staged: Staged) -> None:
    staged.script(faults=[{"on": "GET /", "status": 429, "headers": {"Retry-After": "250"}, "times": 0}])
    host = staged.host()
    assert host.find is not None
    with pytest.raises(Refused):
        host.find(wanted())
    assert staged.clock.slept == [250.0, 250.0]


@every_api
def test_a_wrong_token_is_told_and_not_shown(staged: Staged) -> None:
    variable = {"netlify": "NETLIFY_AUTH_TOKEN", "vercel": "VERCEL_TOKEN", "cloudflare": "CLOUDFLARE_API_TOKEN"}[staged.name]
    host = staged.host(variables={variable: "not-the-right-token"})
    assert host.find is not None
    with pytest.raises(UsageError) as caught:
        host.find(wanted())
    assert caught.value.code == "host_denied"
    assert variable in caught.value.hint
    assert "not-the-right-token" not in f"{caught.value} {caught.value.hint} {host!r}"


@every_api
def test_a_host_that_repeats_our_token_does_not_make_us_show_it(staged: Staged) -> None:
    token = staged.told["token"]
    staged.script(faults=[{"on": "GET /", "status": 400, "body": f'{{"message": "bad token {token} given"}}'}])
    host = staged.host()
    assert host.find is not None
    with pytest.raises(Refused) as caught:
        host.find(wanted())
    assert "bad token" in caught.value.message
    assert token not in caught.value.message


@on_netlify
def test_stopped_builds_are_a_fault_of_their_own(staged: Staged) -> None:
    staged.script(stop_builds=True)
    with pytest.raises(Refused) as caught:
        deployed(staged)
    assert (caught.value.code, caught.value.retryable) == ("host_cannot_deploy", False)
    assert "activate builds" in caught.value.hint


@on_netlify
def test_so_is_credit_that_is_used_up(staged: Staged) -> None:
    staged.script(no_credit=True)
    with pytest.raises(Refused) as caught:
        deployed(staged)
    assert caught.value.code == "host_cannot_deploy"
    assert "credit usage exceeded" in caught.value.message
    assert "req-" in caught.value.message


@on_netlify
def test_a_locked_deploy_stays_what_visitors_see(staged: Staged) -> None:
    first, host = deployed(staged), staged.host()
    assert host.lock is not None
    assert host.unlock is not None
    assert host.promote is not None
    assert first.id is not None
    assert host.lock(first.id).is_locked
    second = next_deployed(staged)
    assert second.state == "success"
    assert shown(host) == first.id
    assert host.unlock(first.id).is_locked is False
    assert second.id is not None
    host.promote(second.id)
    assert shown(host) == second.id


@on_vercel
def test_a_rollback_on_vercel_holds_until_a_promotion(staged: Staged) -> None:
    first, host = deployed(staged), staged.host()
    second = next_deployed(staged)
    assert host.restore is not None
    assert host.promote is not None
    assert first.id is not None
    assert second.id is not None
    host.restore(first.id)
    assert shown(host) == first.id
    host.promote(second.id)
    assert shown(host) == second.id


@on_vercel
def test_a_deployment_that_is_shown_late_is_waited_for(staged: Staged) -> None:
    staged.script(shown_after=4)
    assert deployed(staged).state == "success"


@on_cloudflare
def test_a_deployment_can_be_built_again(staged: Staged) -> None:
    staged.script(walk=["build failure"])
    failed, host = deployed(staged), staged.host()
    assert failed.id is not None
    assert host.retry is not None
    staged.script(walk=["deploy success"])
    again = host.retry(failed.id)
    assert (again.id != failed.id, again.state, again.commit) == (True, "success", COMMIT)


@on_netlify
def test_a_deploy_is_found_beyond_the_first_page(staged: Staged) -> None:
    want = wanted("autopilot r0 c0ffee000000", commit=None)
    host = staged.host()
    assert host.find is not None
    first = ask(host, want, clock=staged.clock)
    for number in range(netlify.PER_PAGE + 3):
        host.trigger(wanted(f"noise {number}", commit=None))
    found = host.find(want)
    assert found is not None
    assert found.id == first.id


# --- what is asked, and what it is known by ---


def deploy(**words: Any) -> Deploy:
    base = Deploy(id="1", state="building", created_at=datetime.now(UTC), is_production=True)
    return replace(base, **words)


@on(
    ("words", "is_it"),
    [
        ({"title": "autopilot r1 c0ffee000000"}, True),
        ({"title": "autopilot r1 c0ffee000000", "commit": "beef" * 10}, True),
        ({"commit": COMMIT}, True),
        ({"commit": COMMIT[:7]}, True),
        ({"commit": COMMIT[:6]}, False),
        ({"commit": COMMIT, "is_production": False}, False),
        ({"commit": COMMIT, "is_production": None}, True),
        ({"commit": COMMIT, "created_at": None}, False),
        ({"commit": COMMIT, "created_at": datetime.now(UTC) - timedelta(hours=1)}, False),
        ({"title": "autopilot r7 c0ffee000000"}, True),
        ({"title": "autopilot r7 c0ffee000000", "commit": "beef" * 10}, False),
        ({"title": "autopilot r7"}, False),
        ({"title": "somebody else c0ffee000000"}, False),
        ({}, False),
    ],
)
def test_a_deploy_is_known_by_its_title_or_its_commit(words: dict[str, Any], is_it: bool) -> None:
    assert is_wanted(deploy(**words), wanted()) is is_it


@on(
    ("variables", "name"),
    [
        ({}, None),
        ({"NETLIFY_BUILD_HOOK": "https://api.netlify.com/build_hooks/x"}, "netlify"),
        ({"NETLIFY_AUTH_TOKEN": "t"}, None),
        ({"NETLIFY_AUTH_TOKEN": "t", "NETLIFY_SITE_ID": "s"}, "netlify"),
        ({"VERCEL_DEPLOY_HOOK": "https://h/x"}, "vercel"),
        ({"VERCEL_TOKEN": "t", "VERCEL_PROJECT_ID": "p"}, None),
        ({"CLOUDFLARE_API_TOKEN": "t", "CLOUDFLARE_ACCOUNT_ID": "a"}, None),
        ({"CLOUDFLARE_API_TOKEN": "t", "CLOUDFLARE_ACCOUNT_ID": "a", "CLOUDFLARE_PAGES_PROJECT": "p"}, "cloudflare_pages"),
        ({"CLOUDFLARE_DEPLOY_HOOK": "https://h/x"}, "cloudflare_pages"),
        ({"AUTOPILOT_DEPLOY_HOOK": "https://h/x"}, None),
        ({"AUTOPILOT_DEPLOY_HOOK": "https://h/x", "AUTOPILOT_SECRET": "s"}, "webhook"),
    ],
)
def test_the_host_is_the_one_whose_variables_are_set(variables: dict[str, str], name: str | None) -> None:
    assert hosts.chosen(load(variables=variables)) == name


def test_of_several_hosts_one_has_to_be_named() -> None:
    both = {"NETLIFY_BUILD_HOOK": "https://api.netlify.com/build_hooks/x", "VERCEL_DEPLOY_HOOK": "https://h/x"}
    with pytest.raises(UsageError) as caught:
        hosts.chosen(load(variables=both))
    assert caught.value.code == "several_hosts"
    assert hosts.chosen(replace(load(variables=both), deploy_host="vercel")) == "vercel"
    assert hosts.chosen(replace(load(variables=both), deploy_host="off")) is None
    with pytest.raises(UsageError) as caught:
        hosts.chosen(replace(load(variables=both), deploy_host="webhook"))
    assert caught.value.code == "host_not_set_up"
    assert "AUTOPILOT_SECRET" in caught.value.hint


@on("name", ["NETLIFY_API_URL", "VERCEL_API_URL", "CLOUDFLARE_API_URL", "VERCEL_DEPLOY_HOOK", "AUTOPILOT_DEPLOY_HOOK"])
def test_a_credential_goes_encrypted_or_stays_here(name: str) -> None:
    with pytest.raises(UsageError) as caught:
        load(variables={name: "http://host.example/secretpath"})
    assert caught.value.code == "bad_url"
    assert "secretpath" not in f"{caught.value} {caught.value.hint}"


# --- hooks alone ---


@every_api
def test_a_hook_alone_asks_and_tells_no_id(staged: Staged) -> None:
    host, want = staged.host(hook=True), wanted()
    found = follow(host, ask(host, want, clock=staged.clock), want, clock=staged.clock, limit_s=60, seen=lambda _: None)
    assert (found.id, found.state, staged.begun()) == (None, "triggered", 1)
    assert staged.clock.slept == []


@every_api
def test_a_hook_that_is_gone_is_told_without_its_address(staged: Staged) -> None:
    staged.script(faults=[{"on": "POST /", "status": 404, "body": "Not Found", "times": 0}])
    with pytest.raises(Refused) as caught:
        ask(staged.host(hook=True), wanted(), clock=staged.clock)
    assert caught.value.code == "host_hook"
    assert "revoked" in caught.value.hint
    assert staged.told["hook"].rsplit("/", 1)[-1] not in f"{caught.value} {caught.value.hint}"


# --- the webhook and the command ---


@on_webhook
def test_the_webhook_gets_what_is_signed(staged: Staged) -> None:
    found = ask(staged.host(), wanted(), clock=staged.clock)
    assert (found.id, found.state, found.url) == ("d1", "success", "https://d1.harbour.example")
    (exchange,) = staged.exchanges()
    assert f'"commit":"{COMMIT}"' in exchange["body"]
    assert '"event":"deploy"' in exchange["body"]


@on_webhook
def test_a_webhook_with_another_secret_refuses(staged: Staged) -> None:
    with pytest.raises(UsageError) as caught:
        ask(staged.host(variables={"AUTOPILOT_SECRET": "b" * 64}), wanted(), clock=staged.clock)
    assert caught.value.code == "host_denied"
    assert "AUTOPILOT_SECRET" in caught.value.hint


@on_webhook
def test_each_try_is_signed_anew(staged: Staged) -> None:
    staged.script(faults=[{"on": "POST /", "status": 429, "act": True, "headers": {"Retry-After": "2"}}])
    assert ask(staged.host(), wanted(), clock=staged.clock).id == "d1"
    first, second = staged.exchanges()
    assert first["headers"]["x-autopilot-nonce"] != second["headers"]["x-autopilot-nonce"]


@on_webhook
@on(
    ("reply", "state", "deploy_id"),
    [({}, "triggered", None), ({"state": "building"}, "building", None), ({"state": "thawed"}, "unknown", None),
     ({"id": "7", "state": "failed", "error": "no room"}, "failed", "7"), ({"id": 7}, "triggered", None),
     ({"id": ["7"], "url": "ftp://x", "state": None}, "triggered", None)],
)  # fmt: skip
def test_a_webhook_says_what_it_likes_to(staged: Staged, reply: dict[str, Any], state: str, deploy_id: str | None) -> None:
    staged.script(reply=reply)
    found = ask(staged.host(), wanted(), clock=staged.clock)
    assert (found.state, found.id, found.url) == (state, deploy_id, None)


@on_webhook
@on("plain", ["", "ok", "deploying"])
def test_a_webhook_may_answer_in_words(staged: Staged, plain: str) -> None:
    staged.script(plain=plain)
    assert ask(staged.host(), wanted(), clock=staged.clock).state == "triggered"


@on_webhook
def test_a_webhook_that_complains_under_200_is_heard(staged: Staged) -> None:
    staged.script(reply={"error": "the cluster is full"})
    with pytest.raises(Refused) as caught:
        ask(staged.host(), wanted(), clock=staged.clock)
    assert (caught.value.code, "the cluster is full" in caught.value.message) == ("host_refused", True)


def program(tmp_path: Path, text: str, *, timeout_s: float = 20, **variables: str) -> Program:
    file = tmp_path / "deploy.py"
    file.write_text(f"import json, os, sys, time\n{text}\n")
    return Program(argv=(sys.executable, str(file)), variables=variables, timeout_s=timeout_s)


def test_a_command_tells_id_and_address_on_its_last_line(tmp_path: Path) -> None:
    text = (
        "print('building')\n"
        "print(json.dumps({'id': os.environ['AUTOPILOT_DEPLOY_TITLE'], 'url': 'https://' + os.environ['MINE'] + '.example',"
        " 'commit': os.environ['AUTOPILOT_DEPLOY_COMMIT']}))"
    )
    found = program(tmp_path, text, MINE="harbour").trigger(wanted("a title; rm -rf /"))
    assert (found.state, found.id, found.url, found.commit) == ("success", "a title; rm -rf /", "https://harbour.example", COMMIT)


@on(
    "text",
    ["", "print('done')", "print('[1]')", "print('{\"id\": 5}')", "print('{' * 100_000)", "sys.stdout.buffer.write(b'\\xff')"],
)
def test_a_command_need_not_tell_anything(tmp_path: Path, text: str) -> None:
    found = program(tmp_path, text).trigger(wanted())
    assert (found.state, found.id, found.url) == ("success", None, None)


def test_a_command_that_ends_badly_is_a_failed_deploy(tmp_path: Path) -> None:
    text = "print('{\"id\": \"d9\"}')\nprint('no such bucket\\x1b[31m', file=sys.stderr)\nsys.exit(3)"
    found = program(tmp_path, text).trigger(wanted())
    assert (found.state, found.id) == ("failed", "d9")
    assert "ended with 3: no such bucket" in found.error
    assert "\x1b" not in found.error


def test_a_command_that_does_not_end_is_ended(tmp_path: Path) -> None:
    with pytest.raises(Refused) as caught:
        program(tmp_path, "time.sleep(60)", timeout_s=0.5).trigger(wanted())
    assert caught.value.code == "program_timed_out"


def test_a_command_gets_no_variable_that_is_not_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUPABASE_DB_URL", "postgresql://u:hunter22@h/d")
    monkeypatch.setenv("DEPLOY_KEY", "mine")
    settings = replace(load(variables={}), deploy_command=("x",), deploy_command_variables=("DEPLOY_KEY",))
    assert hosts.chosen(settings) == "command"
    text = "print(json.dumps({'id': str(os.environ.get('SUPABASE_DB_URL'))}))"
    assert program(tmp_path, text).trigger(wanted()).id == "None"


def test_a_command_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(AutopilotError) as caught:
        Program(argv=(str(tmp_path / "none"),), variables={}, timeout_s=5).trigger(wanted())
    assert caught.value.code == "program_missing"


# --- the referee ---


@on(
    ("change", "complaint"),
    [
        ({}, None),
        ({"path": "/api/v1/nowhere"}, "is in no document"),
        ({"method": "POST"}, "is in no document"),
        ({"query": {"bogus": "1"}}, "no query bogus"),
        ({"query": {"page": "first"}}, "the query page is no number"),
        ({"status": 200, "document": {}}, "answer is no array"),
        ({"document": [{"id": 5}]}, "answer[0].id is no string"),
        ({"document": [{"invented": "x"}]}, "answer[0] has invented, which no document names"),
        ({"status": 302, "document": None}, "no answer 302"),
        ({"status": 500, "document": {"code": 500}}, "answer lacks message"),
    ],
)
def test_the_referee_sees_what_is_wrong(change: dict[str, Any], complaint: str | None) -> None:
    exchange = {"method": "GET", "path": "/api/v1/sites/x/deploys", "query": {"page": "1"}, "headers": {}, "body": "",
                "status": 200, "document": [{"id": "1"}]}  # fmt: skip
    found = referee.complaints(referee.read("netlify-subset.json"), exchange | change)
    assert (found == []) if complaint is None else (complaint in found[0])


def test_the_referee_holds_enums_and_form_fields() -> None:
    document = referee.read("cloudflare-shapes.json")
    path = document["basePath"] + "/accounts/a/pages/projects/p/deployments"
    exchange = {"method": "GET", "path": path, "query": {"env": "staging"}, "headers": {}, "body": "", "status": None}
    assert referee.complaints(document, exchange)[0].endswith("the query env may not be staging")
    posted = exchange | {"method": "POST", "query": {}, "headers": {"content-type": "multipart/form-data; boundary=b"},
                         "body": 'name="branch" name="bogus"'}  # fmt: skip
    assert [c.rpartition(": ")[2] for c in referee.complaints(document, posted)] == ["no field bogus"]
