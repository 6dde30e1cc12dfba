"""Which channel is told what and when: decided from values, and read from configuration."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from autopilot.alerts.answer import Answer
from autopilot.alerts.letter import document
from autopilot.alerts.wording import Notice, digest
from autopilot.audit.outbox import Delivery, Letter, Waiting
from autopilot.channels import Channel, Origin, Quiet, origin
from autopilot.config import Settings, load
from autopilot.errors import UsageError
from autopilot.secret import Secret
from autopilot.workflows.notify_routes import after, errands, routed

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
EVERY = {
    "SLACK_WEBHOOK_URL": "https://hooks.slack.com/services/T0/B0/x", "PAGERDUTY_ROUTING_KEY": "k" * 32, "GITHUB_TOKEN": "t0ken",
    "GITHUB_REPOSITORY": "acme/shop", "AUTOPILOT_NOTIFY_HOOK": "https://shop.example/notices",
}  # fmt: skip


def channel(kind: Any = "slack", **more: Any) -> Channel:
    least = "critical" if kind in {"pagerduty", "github"} else "info"
    return Channel(**({"name": kind, "kind": kind, "secret": Secret("s"), "least": least} | more))


ALL = tuple(channel(kind) for kind in ("pagerduty", "github", "slack", "webhook"))


def letter(action: Any = "tell", severity: Any = "info", *, key: str = "k", about: str = "release", at: datetime = NOW) -> Letter:
    notice = Notice(
        headline=f"headline of {key}", text="text", facts=(("Environment", "production"),), severity=severity, action=action
    )
    return Letter(
        key=key, run_id="r1", environment="production", action=action, severity=severity, about=about, page="p1",
        notice=document(notice), written_at=at,
    )  # fmt: skip


def names(letter: Letter, *, told_of_page: tuple[str, ...] = (), channels: tuple[Channel, ...] = ALL) -> list[str]:
    return [d.channel for d in routed(channels, letter, now=NOW, told_of_page=told_of_page)]


# --- routing ---


@pytest.mark.parametrize(
    ("action", "severity", "wanted"),
    [
        ("tell", "info", ["slack", "webhook"]),
        ("tell", "warning", ["slack", "webhook"]),
        ("change", "info", ["pagerduty", "slack", "webhook"]),
        ("open", "error", ["slack", "webhook"]),
        ("open", "critical", ["pagerduty", "github", "slack", "webhook"]),
        ("resolve", "info", []),
    ],
)
def test_each_kind_is_told_what_it_is_for(action: str, severity: str, wanted: list[str]) -> None:
    assert names(letter(action, severity)) == wanted


def test_a_channel_is_told_from_its_severity_on() -> None:
    graver = (channel("slack", least="error"), channel("pagerduty", least="error"))
    assert names(letter("tell", "warning"), channels=graver) == []
    assert names(letter("open", "error"), channels=graver) == ["slack", "pagerduty"]


@pytest.mark.parametrize(
    ("action", "wanted"), [("resolve", ["pagerduty", "slack"]), ("ack", ["pagerduty", "slack"]), ("remind", ["slack"])]
)
def test_what_follows_goes_where_the_page_was_told(action: str, wanted: list[str]) -> None:
    assert names(letter(action, "info"), told_of_page=("pagerduty", "slack")) == wanted


def test_a_broken_channel_is_told_to_every_other() -> None:
    assert names(letter("open", "error", about="channel:slack")) == ["pagerduty", "github", "webhook"]


# --- quiet hours ---


@pytest.mark.parametrize(
    ("hours", "zone", "now", "until"),
    [
        ((22, 7), "UTC", "2026-11-23 23:30", "2026-11-24 07:00"),
        ((22, 7), "UTC", "2026-11-23 06:59", "2026-11-23 07:00"),
        ((22, 7), "UTC", "2026-11-23 07:00", None),
        ((22, 7), "UTC", "2026-11-23 21:59", None),
        ((9, 17), "UTC", "2026-11-23 09:00", "2026-11-23 17:00"),
        ((9, 17), "UTC", "2026-11-23 17:00", None),
        ((22, 7), "Europe/Berlin", "2026-11-23 21:30", "2026-11-24 06:00"),
        ((22, 7), "Europe/Berlin", "2026-11-23 20:30", None),
        # the clocks go back in that night: it is an hour longer
        ((22, 7), "Europe/Berlin", "2026-10-24 21:00", "2026-10-25 06:00"),
    ],
)
def test_quiet_hours_end_when_they_say(hours: tuple[int, int], zone: str, now: str, until: str | None) -> None:
    quiet = Quiet(begins_min=hours[0] * 60, ends_min=hours[1] * 60, zone=zone)
    wanted = None if until is None else datetime.fromisoformat(until).replace(tzinfo=UTC)
    assert quiet.until(datetime.fromisoformat(now).replace(tzinfo=UTC)) == wanted


def test_quiet_hours_hold_back_no_page() -> None:
    always = Quiet(begins_min=0, ends_min=24 * 60 - 1, zone="UTC")
    channels = (channel("pagerduty", quiet=always, least="error"), channel("slack", quiet=always))
    held = {
        (action, severity): [
            d.held_by for d in routed(channels, letter(action, severity), now=NOW, told_of_page=("pagerduty", "slack"))
        ]
        for action, severity in (("tell", "warning"), ("open", "error"), ("open", "critical"), ("resolve", "info"))
    }
    assert held == {
        ("tell", "warning"): ["quiet"],
        ("open", "error"): [None, "quiet"],
        ("open", "critical"): [None, None],
        ("resolve", "info"): [None, "quiet"],
    }


# --- what is told now ---


def waits(key: str, *, severity: str = "info", minutes: float = 0, **delivery: Any) -> Waiting:
    at = NOW - timedelta(minutes=minutes)
    return Waiting(letter=letter("tell", severity, key=key, at=at), delivery=Delivery(**({"channel": "slack"} | delivery)))


def told(waiting: list[Waiting], kind: Any = "slack", **more: Any) -> list[tuple[str, ...]]:
    waiting = [replace(w, delivery=replace(w.delivery, channel=kind)) for w in waiting]
    return [e.keys for e in errands(waiting, channel(kind), now=NOW, **({"fresh": ()} | more))]


def test_one_that_was_missed_is_told_as_it_is() -> None:
    assert told([waits("a"), waits("b")], fresh={"b"}) == [("a",), ("b",)]


def test_a_backlog_is_one_message_to_people_and_all_of_them_to_programs() -> None:
    backlog = [waits("a"), waits("b"), waits("c"), waits("d")]
    assert told(backlog, fresh={"d"}) == [("a", "b", "c"), ("d",)]
    for kind in ("pagerduty", "github", "webhook"):
        assert told(backlog, kind, fresh={"d"}) == [("a",), ("b",), ("c",), ("d",)]


SOON = NOW + timedelta(seconds=30)


def test_a_channel_is_left_alone_while_it_asks_for_it() -> None:
    resting = [waits("a", tries=1, not_before=SOON, held_by="rest"), waits("b", severity="critical")]
    assert told(resting, fresh={"b"}) == []
    assert told(resting, fresh={"b"}, by_hand=True) == []


def test_our_own_patience_ends_for_a_page_and_for_a_person() -> None:
    tired = [waits("a", tries=4, not_before=SOON, held_by="backoff")]
    assert told([*tired, waits("b")], fresh={"b"}) == []
    assert told([*tired, waits("b", severity="critical")], fresh={"b"}) == [("a",), ("b",)]
    assert told([*tired, waits("b")], by_hand=True) == [("a", "b")]


def test_what_waits_for_the_morning_holds_nothing_else_up() -> None:
    assert told([waits("a", not_before=SOON, held_by="quiet"), waits("b")]) == [("b",)]
    assert told([waits("a", not_before=NOW, held_by="quiet")]) == [("a",)]


@pytest.mark.parametrize(("tries", "pause_s"), [(0, None), (1, None), (2, 5), (3, 15), (4, 35), (12, 900), (10_000, 900)])
def test_a_channel_that_fails_again_and_again_is_left_alone_longer(tries: int, pause_s: int | None) -> None:
    (errand,) = errands([waits("a", tries=tries)], channel(), now=NOW, fresh=())
    found = after(errand, channel(), Answer(verdict="later", words="no"), now=NOW)
    assert found.state == "waiting"
    assert found.not_before == (None if pause_s is None else NOW + timedelta(seconds=pause_s))


def test_a_digest_of_many_names_the_last_and_what_needed_somebody() -> None:
    notices = tuple((f"12:{n:02}", Notice(headline=f"headline {n}", text="t", facts=())) for n in range(50))
    page = ("13:00", Notice(headline="❌ Migration failed", text="It broke.", facts=(), severity="critical", action="open"))
    found = digest((*notices, page))
    assert found.headline.startswith("📬 51 messages")
    assert "… and 31 before these" in found.text
    assert "headline 49" in found.text
    assert found.text.endswith("❌ Migration failed\nIt broke.")
    assert found.severity == "critical"


# --- configuration ---


def configured(tmp_path: Path, text: str, environment: str = "production", **variables: str) -> Settings:
    file = tmp_path / "autopilot.toml"
    file.write_text(text)
    return load(variables=variables, file=file, environment_name=environment)


def test_variables_alone_are_enough() -> None:
    found = load(variables=EVERY).channels
    assert [(c.name, c.least) for c in found] == [
        ("pagerduty", "critical"), ("github", "critical"), ("slack", "info"), ("webhook", "info"),
    ]  # fmt: skip
    assert load(variables={}).channels == ()
    assert load(variables={"GITHUB_TOKEN": "t"}).channels == ()


def test_a_table_says_more_about_a_channel_and_adds_others(tmp_path: Path) -> None:
    text = """
[[notify]]
kind = "pagerduty"
severity = "error"
environments = ["production"]
[[notify]]
kind = "slack"
name = "night shift"
variable = "NIGHT_WEBHOOK_URL"
quiet = "22:00-07:00"
timezone = "Europe/Berlin"
[[notify]]
kind = "github"
severity = "off"
"""
    night = {"NIGHT_WEBHOOK_URL": "https://hooks.slack.com/services/T1/B1/y"}
    found = configured(tmp_path, text, **EVERY, **night).channels
    assert [(c.name, c.least) for c in found] == [
        ("pagerduty", "error"), ("night shift", "info"), ("slack", "info"), ("webhook", "info"),
    ]  # fmt: skip
    assert found[1].quiet == Quiet(begins_min=22 * 60, ends_min=7 * 60, zone="Europe/Berlin")
    assert [c.name for c in configured(tmp_path, text, "staging", **EVERY, **night).channels] == [
        "night shift",
        "slack",
        "webhook",
    ]
    assert configured(tmp_path, text, **EVERY).channels_unset == (("night shift", "NIGHT_WEBHOOK_URL"),)
    assert {s.reveal() for s in configured(tmp_path, text, **EVERY, **night).secrets()} >= {*night.values(), "k" * 32}


@pytest.mark.parametrize(
    ("table", "variables", "code"),
    [
        ('kind = "fax"', {}, "config_value"),
        ('kind = "slack"\nchannel = "x"', {}, "config_value"),
        ('kind = "slack"\nvariable = "MY_SLACK"', {}, "config_value"),
        ('kind = "slack"\nname = "<!here>"', {}, "config_value"),
        ('kind = "slack"\nquiet = "22-7"', {}, "config_value"),
        ('kind = "slack"\nquiet = "25:00-07:00"', {}, "config_value"),
        ('kind = "slack"\nquiet = "22:00-07:00"\ntimezone = "Mars/Olympus"', {}, "config_value"),
        ('kind = "slack"\n[[notify]]\nkind = "slack"', {}, "config_value"),
        ('kind = "github"', {"GITHUB_TOKEN": "t"}, "config_value"),
        ('kind = "github"', {"GITHUB_TOKEN": "t", "GITHUB_REPOSITORY": "a/b/../c"}, "config_value"),
        ('kind = "github"', EVERY | {"GITHUB_API_URL": "http://evil.example"}, "bad_url"),
        ('kind = "pagerduty"', EVERY | {"PAGERDUTY_API_URL": "ftp://x"}, "bad_url"),
        ('kind = "webhook"', {"AUTOPILOT_NOTIFY_HOOK": "example.com"}, "bad_url"),
    ],
)
def test_a_table_that_cannot_be_meant_is_refused_without_its_secret(
    tmp_path: Path, table: str, variables: dict[str, str], code: str
) -> None:
    with pytest.raises(UsageError) as caught:
        configured(tmp_path, f"[[notify]]\n{table}\n", **variables)
    assert caught.value.code == code
    assert "t0ken" not in str(caught.value)


def test_what_needs_apprise_says_so_where_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    with pytest.raises(UsageError, match="apprise") as caught:
        load(variables={"AUTOPILOT_NOTIFY_URL": "mailto://u:hunter22@example.com"})
    assert caught.value.code == "no_apprise"
    assert "hunter22" not in str(caught.value)


@pytest.mark.parametrize(
    ("variables", "wanted"),
    [
        ({}, Origin()),
        ({"GITHUB_REPOSITORY": "acme/shop"}, Origin(repository_url="https://github.com/acme/shop")),
        (
            {"GITHUB_REPOSITORY": "acme/shop", "GITHUB_RUN_ID": "12", "GITHUB_SERVER_URL": "https://git.acme.example"},
            Origin(
                repository_url="https://git.acme.example/acme/shop", run_url="https://git.acme.example/acme/shop/actions/runs/12"
            ),
        ),
        ({"GITHUB_REPOSITORY": "acme/shop", "GITHUB_SERVER_URL": "https://evil.example|x"}, Origin()),
        ({"GITHUB_REPOSITORY": "acme/shop>", "GITHUB_RUN_ID": "12"}, Origin()),
        ({"GITHUB_REPOSITORY": "acme/shop", "GITHUB_RUN_ID": "1|2"}, Origin(repository_url="https://github.com/acme/shop")),
    ],
)
def test_links_lead_where_the_run_is_and_nowhere_else(variables: dict[str, str], wanted: Origin) -> None:
    assert origin(variables) == wanted
