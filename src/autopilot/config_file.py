"""`autopilot.toml`: its keys, what they are without it, and how it is read and refused."""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from autopilot.channels import Notify
from autopilot.errors import UsageError, Where
from autopilot.measures import size_bytes

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
ReplaySlot = Literal["auto", "off"]
DeployHost = Literal["auto", "off", "netlify", "vercel", "cloudflare_pages", "webhook", "command"]
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
    #: While a release runs that cannot be undone without loss, a replication slot keeps what others write, where the server and
    #: the role allow: its backup then comes back with all of that. "off": never.
    replay_slot: ReplaySlot = "auto"
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
    #: Which host deploys; "auto": the one whose variables are set, "off": none.
    deploy_host: DeployHost = "auto"
    #: A program that deploys, as an argv list; it ends when the deploy is done.
    deploy_command: tuple[str, ...] = ()
    #: Variables of ours that it gets.
    deploy_command_variables: tuple[str, ...] = ()
    #: How long a build may take before it is looked at no more.
    deploy_timeout_s: Positive = 900.0
    site_url: str = ""
    health_url: str = ""
    #: Whom notices go to, beside the channels whose usual variables are set.
    notify: tuple[Notify, ...] = ()
    #: A page that nobody has acknowledged is told again this often; "off": never.
    notify_remind_every: str = "1 hour"
    #: Database roles, beside the owner and service_role, that may read the automation schema.
    admins: tuple[str, ...] = ()
    environment: dict[str, dict[str, Any]] = {}


def file_settings(file: Path | None, *, environment_name: str) -> FileSettings:
    """What the file says for one environment; without `file`, `autopilot.toml` of the working directory if there is one.

    Raises UsageError (`config_*`).
    """
    return _for_environment(_read(file), environment_name, file or Path(DEFAULT_FILE))


def big_above_bytes(chosen: FileSettings) -> int | None:
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
