"""`autopilot.toml`, the environment and the command line, read once into one frozen value."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

from autopilot.access import BackupAccess, DeployAccess, ProviderAccess, backup_access, deploy_access, provider_access
from autopilot.channels import Channel, Origin, origin
from autopilot.channels import chosen as told_to
from autopilot.config_file import (
    BackupStore,
    Deleted,
    DeployHost,
    Duplicates,
    KeepRows,
    Provider,
    Rehearsal,
    ReplaySlot,
    TlsVerify,
    Transaction,
    big_above_bytes,
    file_settings,
)
from autopilot.errors import UsageError
from autopilot.measures import span_s
from autopilot.secret import Secret


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything a story needs to know, whole and checked."""

    environment_name: str
    database_url: Secret | None
    migrations_dir: Path
    backups_dir: Path
    postgres_bin_dir: Path | None
    rehearsal: Rehearsal
    scratch_url: Secret | None
    scratch_dir: Path | None
    scratch_is_copy: bool
    big_above_bytes: int | None
    big_without_data: tuple[str, ...]
    big_restore_point: Provider
    restore_test_every_s: float | None
    providers: ProviderAccess
    transaction: Transaction
    tls_verify: TlsVerify
    tls_ca_file: Path | None
    duplicate_versions: Duplicates
    deleted: Deleted
    lock_wait_s: float
    lock_timeout_s: float
    gentle_lock_timeout_s: float
    lock_tries: int
    keep_rows: KeepRows
    replay_slot: ReplaySlot
    apply_timeout_s: float
    backup_timeout_s: float
    backup_recipients: tuple[str, ...]
    backup_stores: tuple[BackupStore, ...]
    backup_keep_days: int
    backup_keep_last: int
    trash_keep_days: int
    backup_access: BackupAccess
    verify_s: float
    deploy_host: DeployHost
    deploy_command: tuple[str, ...]
    deploy_command_variables: tuple[str, ...]
    deploy_timeout_s: float
    deploys: DeployAccess
    build_hook: Secret | None
    slack_webhook: Secret | None
    channels: tuple[Channel, ...]
    #: `[[notify]]` tables whose variable is not set here: name and variable.
    channels_unset: tuple[tuple[str, str], ...]
    notify_remind_every_s: float | None
    origin: Origin
    #: Where what outlives a command and has no database lies.
    state_dir: Path
    site_url: str | None
    health_url: str | None
    admins: tuple[str, ...]
    #: Every other credential in the environment, so that the last filter knows its text.
    other_secrets: tuple[Secret, ...] = ()

    def secrets(self) -> tuple[Secret, ...]:
        own = (
            self.database_url, self.scratch_url, self.build_hook, self.slack_webhook, *self.providers.secrets(),
            *self.deploys.secrets(), *(c.secret for c in self.channels),
        )  # fmt: skip
        return (*dict.fromkeys(s for s in own if s is not None), *self.other_secrets)

    def require_database(self) -> Secret:
        if self.database_url is None:
            raise UsageError(
                f"No database was named for the environment {self.environment_name!r}.",
                code="no_database_url",
                hint=f"Set {database_variable(self.environment_name)}, or give --db URL.",
            )
        return self.database_url


def database_variable(environment_name: str) -> str:
    """The environment variable that names this environment's database."""
    if environment_name == "production":
        return "SUPABASE_DB_URL"
    return "SUPABASE_DB_URL_" + re.sub(r"\W", "_", environment_name.upper())


def scratch_variable(environment_name: str) -> str:
    """The environment variable that names this environment's own scratch server."""
    return database_variable(environment_name).replace("SUPABASE_DB_URL", "AUTOPILOT_SCRATCH_URL", 1)


def load(
    *,
    variables: Mapping[str, str],
    file: Path | None = None,
    environment_name: str = "production",
    database_url: str | None = None,
    migrations_dir: str | None = None,
) -> Settings:
    """Settings for one environment: the command line wins over variables, and these over the file.

    Without `file`, `autopilot.toml` of the working directory is read if there is one.
    Raises UsageError (`config_*`, `bad_url`, `bad_number`).
    """
    chosen = file_settings(file, environment_name=environment_name)
    url = _database_url(variables, environment_name) if database_url is None else _named_url(database_url)
    told = told_to(chosen.notify, variables=variables, environment_name=environment_name)
    return Settings(
        environment_name=environment_name,
        database_url=Secret(url) if url else None,
        migrations_dir=Path(migrations_dir or chosen.migrations_dir),
        backups_dir=Path(chosen.backups_dir),
        postgres_bin_dir=Path(chosen.postgres_bin_dir) if chosen.postgres_bin_dir else None,
        rehearsal=chosen.rehearsal,
        scratch_url=Secret(scratch_url)
        if (scratch_url := variables.get(scratch_variable(environment_name), "").strip())
        else None,
        scratch_dir=Path(chosen.scratch_dir) if chosen.scratch_dir else None,
        scratch_is_copy=chosen.scratch_is_copy,
        big_above_bytes=big_above_bytes(chosen),
        big_without_data=chosen.big_without_data,
        big_restore_point=chosen.big_restore_point,
        restore_test_every_s=span_s("restore_test_every", chosen.restore_test_every),
        providers=provider_access(variables),
        transaction=chosen.transaction,
        tls_verify=chosen.tls_verify,
        tls_ca_file=Path(chosen.tls_ca_file) if chosen.tls_ca_file else None,
        duplicate_versions=chosen.duplicate_versions,
        deleted=chosen.deleted,
        lock_wait_s=chosen.lock_wait_s,
        lock_timeout_s=chosen.lock_timeout_s,
        gentle_lock_timeout_s=chosen.gentle_lock_timeout_s,
        lock_tries=chosen.lock_tries,
        keep_rows=chosen.keep_rows,
        replay_slot=chosen.replay_slot,
        apply_timeout_s=chosen.apply_timeout_s,
        backup_timeout_s=chosen.backup_timeout_s,
        backup_recipients=chosen.backup_recipients,
        backup_stores=chosen.backup_store,
        backup_keep_days=chosen.backup_keep_days,
        backup_keep_last=chosen.backup_keep_last,
        trash_keep_days=chosen.trash_keep_days,
        backup_access=backup_access(variables),
        verify_s=_seconds(variables, "AUTOPILOT_VERIFY_S", 90.0),
        deploy_host=chosen.deploy_host,
        deploy_command=chosen.deploy_command,
        deploy_command_variables=chosen.deploy_command_variables,
        deploy_timeout_s=chosen.deploy_timeout_s,
        deploys=deploy_access(variables),
        build_hook=_secret_url(variables, "NETLIFY_BUILD_HOOK"),
        slack_webhook=_secret_url(variables, "SLACK_WEBHOOK_URL"),
        channels=told.channels,
        channels_unset=told.unset,
        notify_remind_every_s=span_s("notify_remind_every", chosen.notify_remind_every),
        origin=origin(variables),
        state_dir=_state_dir(variables),
        site_url=_public_url("SITE_URL", variables.get("SITE_URL", "").strip() or chosen.site_url),
        health_url=_public_url("HEALTH_URL", variables.get("HEALTH_URL", "").strip() or chosen.health_url),
        admins=chosen.admins,
        other_secrets=_other_secrets(variables),
    )


def _state_dir(variables: Mapping[str, str]) -> Path:
    """AUTOPILOT_STATE_DIR, else the user's own place for such things."""
    named, usual = variables.get("AUTOPILOT_STATE_DIR", "").strip(), variables.get("XDG_STATE_HOME", "").strip()
    if named:
        return Path(named)
    return (Path(usual) if usual else Path(variables.get("HOME", "") or "~").expanduser() / ".local" / "state") / "autopilot"


def _named_url(text: str) -> str:
    """What --db says: an empty one is a variable of the caller's that was not set, and must not mean another database."""
    if not text.strip():
        raise UsageError(
            "--db was given, and it is empty.", code="no_database_url", hint="Give a whole URL to --db, or leave --db out."
        )
    return text


def _database_url(variables: Mapping[str, str], environment_name: str) -> str | None:
    named = variables.get(database_variable(environment_name))
    return named or (variables.get("DATABASE_URL") if environment_name == "production" else None) or None


def _secret_url(variables: Mapping[str, str], name: str) -> Secret | None:
    text = variables.get(name, "").strip()
    if not text:
        return None
    _public_url(name, text)
    return Secret(text)


def _public_url(name: str, text: str) -> str | None:
    """`text` if it is an http(s) URL with a host. Raises UsageError (`bad_url`) without repeating it."""
    if not text:
        return None
    try:
        parts = urlsplit(text)
        fine = parts.scheme in {"http", "https"} and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        fine = False
    if not fine:
        raise UsageError(
            f"{name} is not an http(s) URL.",
            code="bad_url",
            hint=f"Set {name} to a whole URL, like https://example.com/.",
        )
    return text


def _seconds(variables: Mapping[str, str], name: str, default: float) -> float:
    text = variables.get(name, "").strip()
    if not text:
        return default
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise UsageError(f"{name} is not a number of seconds.", code="bad_number", hint=f"Set {name} to a number, like 90.")
    return value


_OTHER_SECRETS = (
    "SUPABASE_DB_URL", "DATABASE_URL", "SUPABASE_DB_URL_STAGING", "SUPABASE_SERVICE_ROLE_KEY", "AUTOPILOT_SECRET",
    "AUTOPILOT_SECRET_NEXT", "NETLIFY_PREVIEW_HOOK", "NETLIFY_AUTH_TOKEN", "GITHUB_TOKEN", "PAGERDUTY_ROUTING_KEY",
    "AUTOPILOT_STATE_URL", "PGPASSWORD", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN",
    "AUTOPILOT_AGE_IDENTITY", "SUPABASE_ACCESS_TOKEN", "NEON_API_KEY", "AUTOPILOT_SCRATCH_URL",
)  # fmt: skip


def _other_secrets(variables: Mapping[str, str]) -> tuple[Secret, ...]:
    return tuple(Secret(variables[name]) for name in _OTHER_SECRETS if variables.get(name))


def without_deploy(settings: Settings) -> Settings:
    """The same settings for a run that neither deploys nor looks at the site."""
    return replace(settings, deploy_host="off", build_hook=None, site_url=None, health_url=None)
