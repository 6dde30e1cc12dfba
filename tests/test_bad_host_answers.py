"""A table of bad HTTP answers, given by every host in place of a good one: each ends as a clear error, none as a crash."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from tests.hosts.stage import Staged, Waiting, standing_in, wanted

from autopilot.deploys.asking import ask
from autopilot.deploys.deploy import Deploy, Host
from autopilot.errors import AutopilotError

PAGE = "<!DOCTYPE html><html><body>Please sign in</body></html>"
JSON = {"Content-Type": "application/json"}
ID = {"x-nf-request-id": "01HXREQ", "x-vercel-id": "01HXREQ", "cf-ray": "01HXREQ"}


def answer(status: int, body: str = "", **headers: str) -> dict[str, Any]:
    return {
        "status": status,
        "body": body,
        "headers": {"x-request-id": "01HXREQ"} | {k.replace("_", "-"): v for k, v in headers.items()},
    }


def raw(text: str) -> dict[str, Any]:
    return {"raw": text}


#: name → (what the wire brings, codes that may come of it). "*" is a mark that stands in the body of a good status.
NONSENSE = {"host_answer"}
UNCLEAR = {"host_unsure", "host_unreachable"}
BAD: dict[str, tuple[dict[str, Any], set[str]]] = {
    # a good status and a body that makes no sense
    "a page": (answer(200, PAGE, Content_Type="text/html"), NONSENSE),
    "a page that says it is JSON": (answer(200, PAGE, Content_Type="application/json"), NONSENSE),
    "nothing": (answer(200), NONSENSE),
    "blanks": (answer(200, " \r\n\t "), NONSENSE),
    "204": (answer(204), NONSENSE),
    "a number": (answer(200, "42"), NONSENSE),
    "null": (answer(200, "null"), NONSENSE),
    "a text": (answer(200, '"ok"'), NONSENSE),
    "an empty list": (answer(200, "[]"), NONSENSE),
    "a list of numbers": (answer(200, "[1, 2]"), NONSENSE),
    "a list of lists": (answer(200, "[[[]]]"), NONSENSE),
    "an empty object": (answer(200, "{}"), NONSENSE),
    "another object": (answer(200, '{"hello": {"id": 1}}'), NONSENSE),
    "no state": (answer(200, '{"id": "a", "uid": "a", "deploy_id": null}'), NONSENSE),
    "an id that is a number": (answer(200, '{"id": 5, "state": "ready", "readyState": "READY", "deploy_id": 5}'), NONSENSE),
    "an id that is null": (answer(200, '{"id": null, "state": "ready", "readyState": "READY", "deploy_id": null}'), NONSENSE),
    "an empty id": (answer(200, '{"id": "", "state": "ready", "readyState": "READY", "deploy_id": ""}'), NONSENSE),
    "a state that is a list": (answer(200, '{"id": "a", "state": ["ready"], "readyState": {}}'), NONSENSE),
    "a result that is null": (answer(200, '{"success": true, "errors": [], "messages": [], "result": null}'), NONSENSE),
    "a result without an id": (answer(200, '{"success": true, "result": {"latest_stage": {}}}'), NONSENSE),
    "success that is no flag": (answer(200, '{"success": "yes", "result": {}}'), NONSENSE),
    "cut off": (answer(200, '{"id": "a", "state": "rea'), NONSENSE),
    "two documents": (answer(200, '{"id": "a"}{"id": "b"}'), NONSENSE),
    "something after it": (answer(200, '{"id": "a"}, oops'), NONSENSE),
    "not a number": (answer(200, '{"id": NaN}'), NONSENSE),
    "a byte order mark": (answer(200, '\ufeff{"id": "a"}'), NONSENSE),
    "nested without end": (answer(200, "[" * 50_000), NONSENSE),
    "nested and closed": (answer(200, "[" * 500 + "]" * 500), NONSENSE),
    "objects within objects": (answer(200, '{"a":' * 5_000 + "1" + "}" * 5_000), NONSENSE),
    "XML": (answer(200, "<?xml version='1.0'?><error/>"), NONSENSE),
    "longer than is read": (answer(200, '"' + "a" * 1_200_000 + '"'), NONSENSE),
    "a key twice": (answer(200, '{"id": "a", "id": 5}'), NONSENSE),
    "control characters": (answer(200, '{"id": "a\x1b[2J\x00"}'), NONSENSE),
    # an error under a good status
    "an error under 200": (answer(200, '{"error": {"code": "x", "message": "not today"}}'), NONSENSE | {"host_refused"}),
    "errors under 200": (
        answer(200, '{"success": false, "errors": [{"code": 8000, "message": "not today"}], "result": null}'),
        NONSENSE | {"host_refused"},
    ),
    "a code under 200": (answer(200, '{"code": 500, "message": "not today"}'), NONSENSE),
    # elsewhere
    "301": (answer(301, Location="https://evil.example/"), NONSENSE),
    "302": (answer(302, Location="https://evil.example/"), NONSENSE),
    "307 to itself": (answer(307, Location="/"), NONSENSE),
    "308 without an address": (answer(308), NONSENSE),
    "304": (answer(304), NONSENSE),
    "300": (answer(300, PAGE), NONSENSE),
    # no
    "400": (answer(400, '{"message": "bad"}'), {"host_refused"}),
    "400 in a page": (answer(400, PAGE), {"host_refused"}),
    "401": (answer(401, '{"code": 401, "message": "Access Denied"}'), {"host_denied"}),
    "402": (answer(402), {"host_cannot_deploy"}),
    "403": (answer(403, "Forbidden"), {"host_denied"}),
    "404": (answer(404, "Not Found"), {"host_unknown"}),
    "405": (answer(405), {"host_refused"}),
    "406": (answer(406), {"host_refused"}),
    "409": (answer(409, '{"error": "conflict"}'), {"host_refused"}),
    "410": (answer(410), {"host_unknown"}),
    "411": (answer(411), {"host_refused"}),
    "413": (answer(413, PAGE), {"host_refused"}),
    "415": (answer(415), {"host_refused"}),
    "418": (answer(418, "teapot"), {"host_refused"}),
    "422": (answer(422, '{"errors": ["a", {"message": "b"}]}'), {"host_refused"}),
    "426": (answer(426), {"host_refused"}),
    "431": (answer(431), {"host_refused"}),
    "451": (answer(451), {"host_refused"}),
    "499": (answer(499), {"host_refused"}),
    "400 nested": (answer(400, "[" * 100_000), {"host_refused"}),
    "400 with errors of numbers": (answer(400, '{"errors": [1, null, [], {"message": 5}], "message": 7}'), {"host_refused"}),
    "400 with a long message": (answer(400, '{"message": "' + "x" * 100_000 + '"}'), {"host_refused"}),
    "400 with control characters": (answer(400, '{"message": "a\\u001b[2J\\r\\n::error::b"}'), {"host_refused"}),
    # not now
    "408": (answer(408), UNCLEAR),
    "425": (answer(425), UNCLEAR),
    "429": (answer(429), {"host_limited"}),
    "429 for a while": (answer(429, Retry_After="2"), {"host_limited"}),
    "429 for ever": (answer(429, Retry_After="999999999"), {"host_limited"}),
    "429 until some day": (answer(429, Retry_After="Wed, 21 Oct 2099 07:28:00 GMT"), {"host_limited"}),
    "429 until nonsense": (answer(429, Retry_After="soon"), {"host_limited"}),
    "429 until a bad date": (answer(429, Retry_After="Wed, 99 Xxx 9999 99:99:99 GMT"), {"host_limited"}),
    "429 until before": (answer(429, Retry_After="-5"), {"host_limited"}),
    "429 until a bad reset": (answer(429, X_RateLimit_Reset="9" * 40), {"host_limited"}),
    "500": (answer(500), UNCLEAR),
    "500 in JSON": (answer(500, '{"message": "boom"}'), UNCLEAR),
    "501": (answer(501), UNCLEAR),
    "502": (answer(502, PAGE), UNCLEAR),
    "503": (answer(503, Retry_After="3"), UNCLEAR),
    "504": (answer(504), UNCLEAR),
    "522": (answer(522, PAGE), UNCLEAR),
    "599": (answer(599), UNCLEAR),
    # no HTTP
    "reset": ({"reset": True}, UNCLEAR),
    "closed": (raw(""), UNCLEAR),
    "garbage": (raw("\x00\x01\x02 nonsense\r\n\r\n"), UNCLEAR),
    "another protocol": (raw("SSH-2.0-OpenSSH_9.6\r\n"), UNCLEAR),
    "a status line alone": (raw("HTTP/1.1 200 OK\r\n"), UNCLEAR),
    "a status that is a word": (raw("HTTP/1.1 fine OK\r\n\r\n{}"), UNCLEAR),
    "a status beyond all": (raw("HTTP/1.1 999 What\r\nContent-Length: 2\r\n\r\n{}"), UNCLEAR),
    "less than it says": (raw('HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{"id": "a"'), UNCLEAR),
    "two lengths": (raw("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}}"), UNCLEAR),
    "a length below nothing": (raw("HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n{}"), UNCLEAR),
    "bad chunks": (raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}"), UNCLEAR),
    "a chunk cut off": (raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{"), UNCLEAR),
    "no gzip under that name": (raw("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}"), UNCLEAR),
    "gzip that is a bomb": (
        raw("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n" + gzip.compress(b" " * 20_000_000, 9).decode("latin-1")),
        NONSENSE,
    ),
    "headers without end": (raw("HTTP/1.1 200 OK\r\n" + "X-A: " + "a" * 200_000), UNCLEAR),
    "many headers": (raw("HTTP/1.1 200 OK\r\n" + "X-A: b\r\n" * 20_000), UNCLEAR),
    "continue, and then nothing": (raw("HTTP/1.1 100 Continue\r\n\r\n"), UNCLEAR),
    "not UTF-8": (raw("HTTP/1.1 200 OK\r\n\r\n\xff\xfe{\x00"), NONSENSE),
}  # fmt: skip


def look(host: Host) -> Deploy:
    assert host.look is not None
    return host.look("a")


def restore(host: Host) -> Deploy:
    assert host.restore is not None
    return host.restore("a")


def find(host: Host) -> Deploy | None:
    assert host.find is not None
    return host.find(wanted())


#: Host → what is asked of it, by which request it is answered badly.
OPERATIONS: dict[str, tuple[tuple[str, Callable[[Host], object]], ...]] = {
    "netlify": (("GET /", look), ("POST /", restore), ("POST /", lambda host: host.trigger(wanted()))),
    "vercel": (("GET /", look), ("GET /", find)),
    "cloudflare": (("GET /", look), ("POST /", restore), ("GET /", find)),
    "webhook": (("POST /", lambda host: host.trigger(wanted())),),
}
#: To a webhook any words are an answer, and an object whose keys are not ours; an error of its is told as one.
TAKEN_BY_A_WEBHOOK = {
    "nothing", "blanks", "204", "a number", "null", "a text", "XML", "not UTF-8", "an empty object", "another object",
    "no state", "an id that is a number", "an id that is null", "an empty id", "a state that is a list",
    "a result that is null", "a result without an id", "success that is no flag", "errors under 200", "a code under 200",
    "a byte order mark", "gzip that is a bomb", "longer than is read", "a key twice",
}  # fmt: skip


def cases() -> Iterator[Any]:
    """Every answer at every host, in place of its operations in turn."""
    for name, operations in OPERATIONS.items():
        for number, bad in enumerate(BAD):
            if name == "webhook" and bad in TAKEN_BY_A_WEBHOOK:
                continue
            on, operation = operations[number % len(operations)]
            yield pytest.param(name, on, operation, bad, id=f"{name}-{bad}")


@pytest.fixture(scope="module")
def standing() -> Iterator[dict[str, Any]]:
    with ExitStack() as stack:
        yield {name: stack.enter_context(standing_in(name)) for name in OPERATIONS}


@pytest.mark.parametrize(("name", "on", "operation", "bad"), [*cases()])
def test_a_bad_answer_ends_as_a_clear_error(
    standing: dict[str, Any], name: str, on: str, operation: Callable[[Host], object], bad: str
) -> None:
    fault, codes = BAD[bad]
    staged = Staged(name=name, told=standing[name], clock=Waiting())
    staged.script(anew=True, faults=[fault | {"on": on, "times": 0}])
    with pytest.raises(AutopilotError) as caught:
        operation(staged.host())
    error = caught.value
    assert error.code in codes, error
    assert error.message.endswith(".")
    assert error.hint
    assert error.message.isprintable()
    assert len(error.message) < 500
    if "status" in fault:
        assert "(request 01HXREQ)" in error.message
    for secret in (staged.told["token"], staged.told.get("hook", "/?").rsplit("/", 1)[-1]):
        assert secret not in f"{error.message} {error.hint} {error.state}"
    assert sum(staged.clock.slept) <= 600
    assert "evil" not in str([e["path"] for e in staged.exchanges()])


@pytest.mark.parametrize("bad", [b for b in BAD if b not in {"429", "500"}][:42])
def test_a_hook_alone_takes_a_status_and_nothing_else(standing: dict[str, Any], bad: str) -> None:
    """A hook answers with a status; only a web page in its place is no answer."""
    fault, _ = BAD[bad]
    staged = Staged(name="netlify", told=standing["netlify"], clock=Waiting())
    staged.script(anew=True, faults=[fault | {"on": "POST /", "times": 0}])
    host = staged.host(hook=True)
    if fault["status"] < 300 and not fault["body"].startswith("<!DOCTYPE"):
        assert ask(host, wanted(), clock=staged.clock).state == "triggered"
    else:
        with pytest.raises(AutopilotError) as caught:
            ask(host, wanted(), clock=staged.clock)
        assert caught.value.code in {"host_hook", "host_unsure"}
