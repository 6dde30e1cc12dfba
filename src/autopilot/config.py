"""`autopilot.toml`, the environment and the command line, read once into one frozen value."""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

import msgspec

from autopilot.access import BackupAccess, ProviderAccess, backup_access, provider_access
from autopilot.errors import UsageError, Where
from autopilot.measures import size_bytes, span_s
from autopilot.secret import Secret

DEFAULT_FILE = "autopilot.toml"
Rehearsal = Literal["required", "auto", "schema", "off"]
Provider = Literal["", "supabase", "neon"]
Transaction = Literal["auto", "push", "file"]
#: Seconds; beyond ten days nobody waits, and PostgreSQL counts in milliseconds of 31 bits.
Positive = Annotated[float, msgspec.Meta(gt=0, le=864_000)]
NotNegative = Annotated[float, msgspec.Meta(ge=0, le=864_000)]
Count = Annotated[int, msgspec.Meta(ge=1, le=1000)]
TlsVerify = Literal["auto", "required"]
Duplicates = Literal["refuse", "by-name"]
Deleted = Literal["warn", "refuse"]
KeepRows = Literal["auto", "always", "off"]
Days = Annotated[int, msgspec.Meta(ge=1, le=36_500)]


class BackupStore(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A place for copies of backups: a `[[backup_store]]` table."""

    #: s3://bucket/prefix or file:///path; keys come from the environment.
    url: str
    #: Without a copy there, a backup is refused, and so is the release that needs it.
    required: bool = True
    #: Unencrypted backups may leave this machine for it.
    allow_plain: bool = False


class FileSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The keys of `autopilot.toml`; the same keys may stand in `[environment.NAME]` and win there."""

    migrations_dir: str = "supabase/migrations"
    backups_dir: str = "supabase/backups"
    #: Directory of pg_dump, pg_restore and the rest; empty = look for them.
    postgres_bin_dir: str = ""
    rehearsal: Rehearsal = "required"
    #: Where our own scratch server keeps its data; empty = TMPDIR.
    scratch_dir: str = ""
    #: The database at AUTOPILOT_SCRATCH_URL is itself a copy of the target, made for this, and may be changed.
    scratch_is_copy: bool = False
    #: From this size on (text like "20 GiB", or bytes) one of the next two keys applies; "off": never.
    big_above: int | str = "off"
    #: Tables whose rows a backup then leaves out: "schema.table", "schema.*".
    big_without_data: tuple[str, ...] = ()
    #: The provider whose restore point then stands in for a dump.
    big_restore_point: Provider = ""
    #: A backup is restored this often to prove it; "off": never by itself.
    restore_test_every: str = "7 days"
    #: Encryption to a remote host is required; "auto" lets its certificate go unverified, with a warning, where the CA is
    #: not known; "required" refuses that.
    tls_verify: TlsVerify = "auto"
    #: The CA's certificate, for a URL without sslrootcert; empty = the system's store.
    tls_ca_file: str = ""
    #: "auto": all pending files commit at once where that changes nothing else; "push": always; "file": never.
    transaction: Transaction = "auto"
    #: Several files of one version: "refuse" them, or track each "by-name" and run them in that order.
    duplicate_versions: Duplicates = "refuse"
    #: An applied file that is no longer here: "warn", or "refuse" to run.
    deleted: Deleted = "warn"
    #: How long to wait for another run's lock.
    lock_wait_s: NotNegative = 60.0
    #: How long a migration waits for a lock on a table before it lets everyone else through and tries again.
    lock_timeout_s: Positive = 3.0
    #: The same for a file that only writes rows or validates: nobody's reads or writes queue behind it.
    gentle_lock_timeout_s: Positive = 30.0
    #: How often it tries.
    lock_tries: Count = 10
    #: Rows that a release changes are kept so that it can be undone. "auto": where nobody has to wait longer than
    #: lock_timeout_s for that; "always"; "off".
    keep_rows: KeepRows = "auto"
    #: Wall limit for one file's statements.
    apply_timeout_s: Positive = 3600.0
    backup_timeout_s: Positive = 3600.0
    #: Public keys that backups are encrypted to: "age1…", or "gpg:FINGERPRINT". Empty = not encrypted.
    backup_recipients: tuple[str, ...] = ()
    backup_store: tuple[BackupStore, ...] = ()
    #: A backup is pruned when it is older than this, and beyond the last so many, and nothing needs it.
    backup_keep_days: Days = 30
    backup_keep_last: Count = 10
    #: What a migration destroyed stays in the trash of the database for so long.
    trash_keep_days: Days = 30
    site_url: str = ""
    health_url: str = ""
    #: Database roles, beside the owner and service_role, that may read the automation schema.
    admins: tuple[str, ...] = ()
    environment: dict[str, dict[str, Any]] = {}


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
    apply_timeout_s: float
    backup_timeout_s: float
    backup_recipients: tuple[str, ...]
    backup_stores: tuple[BackupStore, ...]
    backup_keep_days: int
    backup_keep_last: int
    trash_keep_days: int
    backup_access: BackupAccess
    verify_s: float
    build_hook: Secret | None
    slack_webhook: Secret | None
    site_url: str | None
    health_url: str | None
    admins: tuple[str, ...]
    #: Every other credential in the environment, so that the last filter knows its text.
    other_secrets: tuple[Secret, ...] = ()

    def secrets(self) -> tuple[Secret, ...]:
        own = (self.database_url, self.scratch_url, self.build_hook, self.slack_webhook, *self.providers.secrets())
        return tuple(s for s in own if s is not None) + self.other_secrets

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
    chosen = _for_environment(_read(file), environment_name, file or Path(DEFAULT_FILE))
    url = database_url or _database_url(variables, environment_name)
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
        big_above_bytes=_big_above(chosen),
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
        apply_timeout_s=chosen.apply_timeout_s,
        backup_timeout_s=chosen.backup_timeout_s,
        backup_recipients=chosen.backup_recipients,
        backup_stores=chosen.backup_store,
        backup_keep_days=chosen.backup_keep_days,
        backup_keep_last=chosen.backup_keep_last,
        trash_keep_days=chosen.trash_keep_days,
        backup_access=backup_access(variables),
        verify_s=_seconds(variables, "AUTOPILOT_VERIFY_S", 90.0),
        build_hook=_secret_url(variables, "NETLIFY_BUILD_HOOK"),
        slack_webhook=_secret_url(variables, "SLACK_WEBHOOK_URL"),
        site_url=_public_url("SITE_URL", variables.get("SITE_URL", "").strip() or chosen.site_url),
        health_url=_public_url("HEALTH_URL", variables.get("HEALTH_URL", "").strip() or chosen.health_url),
        admins=chosen.admins,
        other_secrets=_other_secrets(variables),
    )


def _big_above(chosen: FileSettings) -> int | None:
    """The size of a big database. Raises UsageError (`config_value`) where it would mean nothing, or two things."""
    above = size_bytes("big_above", chosen.big_above)
    ways = (bool(chosen.big_without_data), bool(chosen.big_restore_point))
    if all(ways):
        what = "big_without_data and big_restore_point exclude each other"
    elif (above is not None) != any(ways):
        what = "big_above goes with one of big_without_data and big_restore_point, and they with it"
    else:
        for pattern in chosen.big_without_data:
            if not re.fullmatch(r"[^.\s]+\..*\S", pattern):
                raise UsageError(
                    f"The configuration has a wrong value: big_without_data names {pattern!r}, which is no schema.table.",
                    code="config_value", hint='Write "schema.table" or "schema.*".',
                )  # fmt: skip
        return above
    raise UsageError(f"The configuration has a wrong value: {what}.", code="config_value", hint="Keep one of the two ways.")


def _read(file: Path | None) -> FileSettings:
    path = file or Path(DEFAULT_FILE)
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        if file is None:
            return FileSettings()
        raise _config_error(path, "is not there", "Check the path given to --config.", "config_missing") from None
    except OSError as cause:
        raise _config_error(path, f"cannot be read: {cause.strerror}", "Check its permissions.", "config_unreadable") from cause
    try:
        return _checked(tomllib.loads(raw.decode("utf-8")), path)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as cause:
        raise _config_error(path, f"is not TOML: {cause}", "Mend that line.", "config_syntax") from cause


def _checked(document: dict[str, Any], path: Path) -> FileSettings:
    _refuse_unknown(document, path, "")
    try:
        return msgspec.convert(document, FileSettings)
    except msgspec.ValidationError as cause:
        raise _config_error(
            path, f"has a wrong value: {cause}", "Give that key a value of the right kind.", "config_value"
        ) from cause


def _refuse_unknown(table: Mapping[str, Any], path: Path, inside: str) -> None:
    known = FileSettings.__struct_fields__
    for key in table:
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1)
            guess = f" Did you mean {near[0]!r}?" if near else ""
            raise _config_error(
                path,
                f"has an unknown key {inside + key!r}.{guess}",
                "Correct or remove the key.",
                "config_unknown_key",
            )


def _for_environment(settings: FileSettings, name: str, path: Path) -> FileSettings:
    own = settings.environment.get(name)
    if own is None:
        if settings.environment and name != "production":
            listed = ", ".join(sorted(settings.environment))
            raise UsageError(
                f"{path} has no environment {name!r}; it has: {listed}.",
                code="config_unknown_environment",
                hint=f"Add [environment.{name}], or give one of those to --env.",
            )
        return settings
    _refuse_unknown(own, path, f"environment.{name}.")
    whole = {f: getattr(settings, f) for f in settings.__struct_fields__} | own
    try:
        return msgspec.convert(whole, FileSettings)
    except msgspec.ValidationError as cause:
        raise _config_error(
            path, f"has a wrong value: {cause}", "Give that key a value of the right kind.", "config_value"
        ) from cause


def _config_error(path: Path, what: str, hint: str, code: str) -> UsageError:
    return UsageError(
        f"The configuration {path} {what.rstrip('.') if not what.endswith('?') else what}" + ("" if what.endswith("?") else "."),
        code=code,
        hint=hint,
        where=Where(file=str(path)),
    )


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
    return replace(settings, build_hook=None, site_url=None, health_url=None)
