"""What the environment holds for backups (keys of stores and of providers, keys that open, the secret that signs) and hosts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from autopilot.errors import UsageError
from autopilot.secret import Secret


@dataclass(frozen=True, slots=True, kw_only=True)
class BackupAccess:
    """What the environment holds for backups: keys of stores, keys that open encrypted ones, the secret that signs."""

    access_key_id: Secret | None
    secret_access_key: Secret | None
    session_token: Secret | None
    region: str
    endpoint_url: str
    age_identity: Secret | None
    age_identity_file: Path | None
    gnupg_home: Path | None
    #: AUTOPILOT_SECRET, and the next one while they are rotated; the first signs.
    signing: tuple[Secret, ...]


def backup_access(variables: Mapping[str, str]) -> BackupAccess:
    def text(name: str) -> str:
        return variables.get(name, "").strip()

    def secret(name: str) -> Secret | None:
        return Secret(text(name)) if text(name) else None

    def path(name: str) -> Path | None:
        return Path(text(name)) if text(name) else None

    return BackupAccess(
        access_key_id=secret("AWS_ACCESS_KEY_ID"),
        secret_access_key=secret("AWS_SECRET_ACCESS_KEY"),
        session_token=secret("AWS_SESSION_TOKEN"),
        region=text("AWS_REGION") or text("AWS_DEFAULT_REGION"),
        endpoint_url=text("AWS_ENDPOINT_URL_S3") or text("AWS_ENDPOINT_URL"),
        age_identity=secret("AUTOPILOT_AGE_IDENTITY"),
        age_identity_file=path("AUTOPILOT_AGE_IDENTITY_FILE"),
        gnupg_home=path("GNUPGHOME"),
        signing=tuple(s for s in (secret("AUTOPILOT_SECRET"), secret("AUTOPILOT_SECRET_NEXT")) if s is not None),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderAccess:
    """What the environment holds for the providers whose restore points may stand in for a dump."""

    supabase_token: Secret | None
    supabase_project: str
    supabase_url: str
    neon_key: Secret | None
    neon_project: str
    neon_url: str

    def secrets(self) -> tuple[Secret, ...]:
        return tuple(s for s in (self.supabase_token, self.neon_key) if s is not None)


def provider_access(variables: Mapping[str, str]) -> ProviderAccess:
    """Raises UsageError (`bad_url`): a key goes over HTTPS, or to this machine."""

    def text(name: str, default: str = "") -> str:
        return variables.get(name, "").strip() or default

    def secret(name: str) -> Secret | None:
        return Secret(text(name)) if text(name) else None

    return ProviderAccess(
        supabase_token=secret("SUPABASE_ACCESS_TOKEN"),
        supabase_project=text("SUPABASE_PROJECT_REF"),
        supabase_url=api_url("SUPABASE_API_URL", text("SUPABASE_API_URL", "https://api.supabase.com")),
        neon_key=secret("NEON_API_KEY"),
        neon_project=text("NEON_PROJECT_ID"),
        neon_url=api_url("NEON_API_URL", text("NEON_API_URL", "https://console.neon.tech/api/v2")),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class DeployAccess:
    """What the environment holds for the hosts of deploys; a text is "" and a secret None where nothing is set."""

    netlify_token: Secret | None
    netlify_site: str
    netlify_url: str
    vercel_hook: Secret | None
    vercel_token: Secret | None
    vercel_project: str
    vercel_team: str
    vercel_url: str
    cloudflare_hook: Secret | None
    cloudflare_token: Secret | None
    cloudflare_account: str
    cloudflare_project: str
    cloudflare_url: str
    webhook: Secret | None
    #: AUTOPILOT_SECRET, which signs what the webhook gets.
    signing: Secret | None

    def secrets(self) -> tuple[Secret, ...]:
        """Those that the settings do not hold by other names too."""
        found = (self.vercel_hook, self.vercel_token, self.cloudflare_hook, self.cloudflare_token, self.webhook)
        return tuple(s for s in found if s is not None)


def deploy_access(variables: Mapping[str, str]) -> DeployAccess:
    """Raises UsageError (`bad_url`): a token goes over HTTPS, or to this machine."""

    def text(name: str, default: str = "") -> str:
        return variables.get(name, "").strip() or default

    def secret(name: str) -> Secret | None:
        return Secret(text(name)) if text(name) else None

    def hook(name: str) -> Secret | None:
        return Secret(api_url(name, text(name), trim=False)) if text(name) else None

    return DeployAccess(
        netlify_token=secret("NETLIFY_AUTH_TOKEN"),
        netlify_site=text("NETLIFY_SITE_ID"),
        netlify_url=api_url("NETLIFY_API_URL", text("NETLIFY_API_URL", "https://api.netlify.com/api/v1")),
        vercel_hook=hook("VERCEL_DEPLOY_HOOK"),
        vercel_token=secret("VERCEL_TOKEN"),
        vercel_project=text("VERCEL_PROJECT_ID"),
        vercel_team=text("VERCEL_ORG_ID"),
        vercel_url=api_url("VERCEL_API_URL", text("VERCEL_API_URL", "https://api.vercel.com")),
        cloudflare_hook=hook("CLOUDFLARE_DEPLOY_HOOK"),
        cloudflare_token=secret("CLOUDFLARE_API_TOKEN"),
        cloudflare_account=text("CLOUDFLARE_ACCOUNT_ID"),
        cloudflare_project=text("CLOUDFLARE_PAGES_PROJECT"),
        cloudflare_url=api_url("CLOUDFLARE_API_URL", text("CLOUDFLARE_API_URL", "https://api.cloudflare.com/client/v4")),
        webhook=hook("AUTOPILOT_DEPLOY_HOOK"),
        signing=secret("AUTOPILOT_SECRET"),
    )


def api_url(name: str, text: str, *, trim: bool = True) -> str:
    try:
        parts = urlsplit(text)
        fine = bool(parts.hostname) and (
            parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in {"127.0.0.1", "localhost", "::1"})
        )
    except ValueError:
        fine = False
    if not fine:
        raise UsageError(
            f"{name} is not an https URL.", code="bad_url", hint=f"Leave {name} unset, or set it to an https:// address."
        )
    return text.rstrip("/") if trim else text
