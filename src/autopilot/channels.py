"""Whom notices go to: `[[notify]]` tables and what the environment holds, as one list of channels for one environment."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Literal, get_args
from zoneinfo import ZoneInfo

import msgspec

from autopilot.access import api_url
from autopilot.errors import UsageError
from autopilot.secret import Secret

Kind = Literal["slack", "pagerduty", "github", "webhook", "apprise"]
Severity = Literal["info", "warning", "error", "critical"]
SEVERITIES: tuple[Severity, ...] = get_args(Severity)

#: Where each kind's secret is kept unless a table says otherwise, and from which severity on it is told.
_VARIABLES: Mapping[Kind, str] = {
    "pagerduty": "PAGERDUTY_ROUTING_KEY", "github": "GITHUB_TOKEN", "slack": "SLACK_WEBHOOK_URL",
    "webhook": "AUTOPILOT_NOTIFY_HOOK", "apprise": "AUTOPILOT_NOTIFY_URL",
}  # fmt: skip
_LEAST: Mapping[Kind, Severity] = {
    "pagerduty": "critical", "github": "critical", "slack": "info", "webhook": "info", "apprise": "info",
}  # fmt: skip
#: Variables of such names hold secrets wherever Autopilot writes: their text is kept out of every output.
_SECRET_NAME = re.compile(r"[A-Z][A-Z0-9_]*(_WEBHOOK_URL|_NOTIFY_URL|_HOOK|_KEY|_TOKEN)")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._-]{0,39}")
_REPOSITORY = re.compile(r"[A-Za-z0-9._-]{1,100}/[A-Za-z0-9._-]{1,100}")
_QUIET = re.compile(r"([01]\d|2[0-3]):([0-5]\d)\s*-\s*([01]\d|2[0-3]):([0-5]\d)")


class Notify(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A channel: a `[[notify]]` table."""

    kind: Kind
    #: What it is called in messages and in the outbox; empty = its kind.
    name: str = ""
    #: The environment variable that holds its URL, key or token; empty = the kind's usual one.
    variable: str = ""
    #: Only for these environments; empty = all.
    environments: tuple[str, ...] = ()
    #: From this severity on; "off": never. Empty = "critical" for PagerDuty and GitHub, "info" for the others.
    severity: Literal["", "off", "info", "warning", "error", "critical"] = ""
    #: "22:00-07:00": what is not critical waits until that is over.
    quiet: str = ""
    #: Of `quiet`.
    timezone: str = "UTC"


@dataclass(frozen=True, slots=True, kw_only=True)
class Quiet:
    """Hours of the day, in minutes since midnight there; they may go over midnight."""

    begins_min: int
    ends_min: int
    zone: str

    def until(self, now: datetime) -> datetime | None:
        """When they are over, if `now` is in them."""
        local = now.astimezone(_zone(self.zone))
        minute = local.hour * 60 + local.minute
        over_midnight = self.begins_min > self.ends_min
        inside = (
            minute >= self.begins_min or minute < self.ends_min if over_midnight else self.begins_min <= minute < self.ends_min
        )
        if not inside:
            return None
        end = local.replace(hour=self.ends_min // 60, minute=self.ends_min % 60, second=0, microsecond=0)
        return (end if end > local else end + timedelta(days=1)).astimezone(UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Channel:
    """One place that notices go to, with what it takes to reach it."""

    name: str
    kind: Kind
    #: The webhook's or apprise's URL, PagerDuty's routing key, GitHub's token.
    secret: Secret
    least: Severity
    quiet: Quiet | None = None
    #: The address of PagerDuty's or GitHub's API.
    api_url: str = ""
    #: GitHub: owner/name.
    repository: str = ""
    #: AUTOPILOT_SECRET, which signs what a webhook gets.
    signing: Secret | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where this command runs, as far as links can lead there; "" where it is not known."""

    repository_url: str = ""
    run_url: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    channels: tuple[Channel, ...]
    #: Tables whose variable is not set here: name and variable.
    unset: tuple[tuple[str, str], ...]


def chosen(tables: Sequence[Notify], *, variables: Mapping[str, str], environment_name: str) -> Chosen:
    """The channels of one environment, those that page first. A kind whose usual variable is set needs no table.

    Raises UsageError (`config_value`, `bad_url`, `no_apprise`).
    """
    named: dict[str, Notify] = {}
    for table in tables:
        name = table.name or table.kind
        if name in named:
            raise _wrong(f"two [[notify]] tables are called {name!r}", "Give each a `name` of its own.")
        named[name] = table
    own = {table.variable or _VARIABLES[table.kind] for table in tables}
    for kind, variable in _VARIABLES.items():
        if variable not in own and kind not in named and (kind != "github" or variables.get("GITHUB_REPOSITORY")):
            named[kind] = Notify(kind=kind)
    found, unset = [], []
    for name, table in named.items():
        if table.severity == "off" or (table.environments and environment_name not in table.environments):
            continue
        channel = _channel(name, table, variables)
        if channel is not None:
            found.append(channel)
        elif table in tables:
            unset.append((name, table.variable or _VARIABLES[table.kind]))
    order = list(_VARIABLES)
    return Chosen(channels=tuple(sorted(found, key=lambda c: order.index(c.kind))), unset=tuple(unset))


def origin(variables: Mapping[str, str]) -> Origin:
    """From what GitHub Actions sets."""
    server = variables.get("GITHUB_SERVER_URL", "").strip() or "https://github.com"
    repository, run = variables.get("GITHUB_REPOSITORY", "").strip(), variables.get("GITHUB_RUN_ID", "").strip()
    if not _REPOSITORY.fullmatch(repository) or not re.fullmatch(r"https://[A-Za-z0-9.-]+(:\d+)?/?", server):
        return Origin()
    url = f"{server.rstrip('/')}/{repository}"
    return Origin(repository_url=url, run_url=f"{url}/actions/runs/{run}" if run.isascii() and run.isdecimal() else "")


def _channel(name: str, table: Notify, variables: Mapping[str, str]) -> Channel | None:
    """None where its variable is not set."""
    if not _NAME.fullmatch(name):
        raise _wrong(f"the name {name[:40]!r} of a [[notify]] table", "Use letters, digits, spaces and . _ - only.")
    variable = table.variable or _VARIABLES[table.kind]
    if not _SECRET_NAME.fullmatch(variable):
        hint = "End it in _WEBHOOK_URL, _NOTIFY_URL, _HOOK, _KEY or _TOKEN, so that its text is kept out of every output."
        raise _wrong(f"the variable {variable[:40]!r} of [[notify]] {name!r}", hint)
    quiet, text = _quiet(name, table), variables.get(variable, "").strip()
    if not text:
        return None
    repository = _repository(name, variables) if table.kind == "github" else ""
    if table.kind in {"slack", "webhook"}:
        _require_url(variable, text)
    if table.kind == "apprise":
        _require_apprise(name)
    return Channel(
        name=name, kind=table.kind, secret=Secret(text), quiet=quiet, repository=repository,
        least=_LEAST[table.kind] if table.severity in {"", "off"} else SEVERITIES[SEVERITIES.index(table.severity)],
        api_url=_api(table.kind, variables), signing=_secret(variables, "AUTOPILOT_SECRET"),
    )  # fmt: skip


def _api(kind: Kind, variables: Mapping[str, str]) -> str:
    name, usual = {
        "pagerduty": ("PAGERDUTY_API_URL", "https://events.pagerduty.com"), "github": ("GITHUB_API_URL", "https://api.github.com"),
    }.get(kind, ("", ""))  # fmt: skip
    return api_url(name, variables.get(name, "").strip() or usual) if name else ""


def _repository(name: str, variables: Mapping[str, str]) -> str:
    text = variables.get("GITHUB_REPOSITORY", "").strip()
    if not _REPOSITORY.fullmatch(text):
        raise _wrong(f"GITHUB_REPOSITORY, which the channel {name!r} needs, is no owner/name", "Set it, like acme/shop.")
    return text


def _quiet(name: str, table: Notify) -> Quiet | None:
    if not table.quiet:
        return None
    match = _QUIET.fullmatch(table.quiet.strip())
    if match is None:
        raise _wrong(f"quiet = {table.quiet[:40]!r} of [[notify]] {name!r}", 'Write it like "22:00-07:00".')
    try:
        _zone(table.timezone)
    except (ValueError, OSError) as cause:
        hint = 'Use a name like "Europe/Berlin", or "UTC".'
        raise _wrong(f"the timezone {table.timezone[:40]!r} of [[notify]] {name!r}", hint) from cause
    begins, ends = int(match[1]) * 60 + int(match[2]), int(match[3]) * 60 + int(match[4])
    return Quiet(begins_min=begins, ends_min=ends, zone=table.timezone)


def _zone(name: str) -> tzinfo:
    """Raises ValueError (ZoneInfoNotFoundError is a KeyError) for what is no time zone."""
    try:
        return UTC if name == "UTC" else ZoneInfo(name)
    except KeyError as cause:
        raise ValueError(name) from cause


def _require_url(variable: str, text: str) -> None:
    if not re.match(r"https?://[^\s/]", text):
        raise UsageError(
            f"{variable} is not an http(s) URL.",
            code="bad_url",
            hint=f"Set {variable} to a whole URL, like https://example.com/.",
        )


def _require_apprise(name: str) -> None:
    import importlib.util

    if importlib.util.find_spec("apprise") is None:
        raise UsageError(
            f"The channel {name!r} needs the library apprise, which is not installed.", code="no_apprise",
            hint="Install it: pip install 'pg-autopilot[notify]'. Or unset its variable.",
        )  # fmt: skip


def _secret(variables: Mapping[str, str], name: str) -> Secret | None:
    text = variables.get(name, "").strip()
    return Secret(text) if text else None


def _wrong(what: str, hint: str) -> UsageError:
    return UsageError(f"The configuration has a wrong value: {what}.", code="config_value", hint=hint)
