"""What the environment holds for backups: keys of stores, keys that open, the secret that signs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

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
