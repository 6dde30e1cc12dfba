"""The hosts there are, what each needs, and the one that the settings name."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from autopilot.clock import Clock
from autopilot.config import Settings
from autopilot.deploys import cloudflare_pages, command, hooks, netlify, vercel, webhook
from autopilot.deploys.api import Api, Pacing
from autopilot.deploys.deploy import Host
from autopilot.errors import UsageError
from autopilot.http import Client
from autopilot.secret import Secret


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A way to deploy: whether it is set up, which variables that takes, and how it is made."""

    is_set_up: Callable[[Settings], bool]
    #: All of them, or what stands after "or" instead.
    needs: str
    made: Callable[[Settings, Client, Clock], Host]


def _netlify(settings: Settings, request: Client, clock: Clock) -> Host:
    """By its API where there is a token: a hook tells no deploy's id."""
    access = settings.deploys
    if access.netlify_token is not None and access.netlify_site:
        api = _api(netlify.NAME, "NETLIFY_AUTH_TOKEN", access.netlify_url, access.netlify_token, request, clock)
        return netlify.host(api, site_id=access.netlify_site)
    return hooks.host(_given(settings.build_hook), request=request, clock=clock)


def _vercel(settings: Settings, request: Client, clock: Clock) -> Host:
    access = settings.deploys
    url = _given(access.vercel_hook)
    if access.vercel_token is None or not access.vercel_project:
        return hooks.host(url, platform=vercel.PLATFORM, request=request, clock=clock)
    hook = hooks.Hook(url=url, request=request, clock=clock, is_looked_for=True)
    api = _api(vercel.NAME, "VERCEL_TOKEN", access.vercel_url, access.vercel_token, request, clock)
    return vercel.host(api, project_id=access.vercel_project, team_id=access.vercel_team, trigger=hook.trigger)


def _cloudflare(settings: Settings, request: Client, clock: Clock) -> Host:
    access = settings.deploys
    if access.cloudflare_token is not None and access.cloudflare_account and access.cloudflare_project:
        token = access.cloudflare_token
        api = _api(cloudflare_pages.NAME, "CLOUDFLARE_API_TOKEN", access.cloudflare_url, token, request, clock)
        return cloudflare_pages.host(api, account_id=access.cloudflare_account, project_name=access.cloudflare_project)
    return hooks.host(_given(access.cloudflare_hook), platform=cloudflare_pages.PLATFORM, request=request, clock=clock)


def _webhook(settings: Settings, request: Client, clock: Clock) -> Host:
    access = settings.deploys
    return webhook.host(_given(access.webhook), signing=_given(access.signing), request=request, clock=clock)


def _command(settings: Settings, request: Client, clock: Clock) -> Host:
    del request, clock
    variables = {name: os.environ[name] for name in settings.deploy_command_variables if name in os.environ}
    return command.host(settings.deploy_command, variables=variables, timeout_s=settings.deploy_timeout_s)


def _api(name: str, variable: str, url: str, token: Secret, request: Client, clock: Clock) -> Api:
    return Api(name=name, token_variable=variable, url=url, token=token, request=request, pacing=Pacing(clock=clock))


def _given(secret: Secret | None) -> Secret:
    if secret is None:  # pragma: no cover - `is_set_up` came first
        raise AssertionError
    return secret


HOSTS: Mapping[str, Kind] = {
    "netlify": Kind(
        is_set_up=lambda s: s.build_hook is not None or (s.deploys.netlify_token is not None and s.deploys.netlify_site != ""),
        needs="NETLIFY_AUTH_TOKEN and NETLIFY_SITE_ID, or NETLIFY_BUILD_HOOK",
        made=_netlify,
    ),
    "vercel": Kind(
        is_set_up=lambda s: s.deploys.vercel_hook is not None,
        needs="VERCEL_DEPLOY_HOOK, and for more than asking VERCEL_TOKEN and VERCEL_PROJECT_ID",
        made=_vercel,
    ),
    "cloudflare_pages": Kind(
        is_set_up=lambda s: (
            s.deploys.cloudflare_hook is not None
            or (s.deploys.cloudflare_token is not None and "" not in {s.deploys.cloudflare_account, s.deploys.cloudflare_project})
        ),
        needs="CLOUDFLARE_API_TOKEN, CLOUDFLARE_ACCOUNT_ID and CLOUDFLARE_PAGES_PROJECT, or CLOUDFLARE_DEPLOY_HOOK",
        made=_cloudflare,
    ),
    "webhook": Kind(
        is_set_up=lambda s: s.deploys.webhook is not None and s.deploys.signing is not None,
        needs="AUTOPILOT_DEPLOY_HOOK and AUTOPILOT_SECRET",
        made=_webhook,
    ),
    "command": Kind(is_set_up=lambda s: bool(s.deploy_command), needs="the key deploy_command", made=_command),
}


def chosen(settings: Settings) -> str | None:
    """The key of `HOSTS` that the settings name, or the only one that is set up; None where there is none.

    Raises UsageError (`host_not_set_up`, `several_hosts`).
    """
    if settings.deploy_host == "off":
        return None
    if settings.deploy_host != "auto":
        kind = HOSTS[settings.deploy_host]
        if not kind.is_set_up(settings):
            raise UsageError(
                f"deploy_host is {settings.deploy_host!r}, and what that takes is not set.", code="host_not_set_up",
                hint=f"Set {kind.needs}.",
            )  # fmt: skip
        return settings.deploy_host
    found = [name for name, kind in HOSTS.items() if kind.is_set_up(settings)]
    if len(found) > 1:
        raise UsageError(
            f"Several hosts are set up: {', '.join(found)}.", code="several_hosts",
            hint=f'Say which one deploys: deploy_host = "{found[0]}".',
        )  # fmt: skip
    return found[0] if found else None


def host(settings: Settings, *, request: Client, clock: Clock) -> Host | None:
    """The host that deploys; None where none is set up. Raises as `chosen` does."""
    name = chosen(settings)
    return None if name is None else HOSTS[name].made(settings, request, clock)
