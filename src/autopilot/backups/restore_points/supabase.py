"""Supabase: point-in-time recovery keeps the write-ahead log; a moment counts once the archive has come past it.

GET /v1/projects/{ref}/database/backups → {region, walg_enabled, pitr_enabled, backups: [{is_physical_backup, status,
inserted_at}], physical_backup_data: {earliest_physical_backup_date_unix, latest_physical_backup_date_unix}}
(Management API). The archive is at most two minutes behind where something is written.
"""

from __future__ import annotations

from datetime import UTC, datetime

from autopilot.access import ProviderAccess
from autopilot.backups.restore_points.api import Api
from autopilot.backups.restore_points.point import RestorePoint, Target, no_key
from autopilot.clock import Clock
from autopilot.http import Client
from autopilot.postgres.address import project

_POLL_S = 10.0
#: The archive is shipped every two minutes; five times that is a fault.
_LIMIT_S = 600.0


def make(access: ProviderAccess, target: Target, *, run_id: str, request: Client, clock: Clock) -> RestorePoint:
    """The target's present moment, once the archive holds it. Raises Refused (`restore_point_*`) and UsageError."""
    api, ref = _api(access, target, request, clock)
    deadline_s = clock.monotonic_s() + _LIMIT_S
    while True:
        earliest, latest = _window(api, ref)
        if earliest <= target.now <= latest:
            at = target.now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
            return RestorePoint(
                provider="supabase", name=f"supabase:{ref}@{at}", made_at=target.now,
                words=f"Supabase can restore {ref} to {at}: its archive has {earliest:%Y-%m-%d %H:%M} to {latest:%H:%M:%S}",
                how_back=f"Supabase dashboard → Database → Backups → Point in time: {at} (UTC). The project is down meanwhile,"
                " and everything written since is lost.",
                details={"ref": ref, "earliest": earliest.isoformat(), "latest": latest.isoformat(), "run_id": run_id},
            )  # fmt: skip
        if clock.monotonic_s() >= deadline_s:
            raise api.unbelievable(
                f"after {_LIMIT_S / 60:.0f} minutes its archive reaches to {latest:%Y-%m-%d %H:%M:%S} UTC only,"
                f" not to {target.now.astimezone(UTC):%H:%M:%S}",
                "Look at Database → Backups in its dashboard; run again when the archive goes on.",
            )
        clock.sleep(_POLL_S)


def check(access: ProviderAccess, target: Target, *, request: Client, clock: Clock) -> str:
    """What is there before anything is asked for, in words. Raises as `make` does."""
    api, ref = _api(access, target, request, clock)
    earliest, latest = _window(api, ref)
    return f"point-in-time recovery of {ref} is on, from {earliest:%Y-%m-%d %H:%M} to {latest:%Y-%m-%d %H:%M:%S} UTC"


def _api(access: ProviderAccess, target: Target, request: Client, clock: Clock) -> tuple[Api, str]:
    if access.supabase_token is None:
        raise no_key("SUPABASE_ACCESS_TOKEN", "Supabase")
    api = Api(
        name="Supabase", key_variable="SUPABASE_ACCESS_TOKEN", url=access.supabase_url, key=access.supabase_token,
        request=request, clock=clock,
    )  # fmt: skip
    own = project(target.parameters)
    if own is None:
        raise api.unbelievable(
            "the database URL does not tell which project it leads to",
            "Use the project's own address (db.<ref>.supabase.co), or its session pooler's (user postgres.<ref>).",
        )
    if access.supabase_project not in {"", own}:
        raise api.unbelievable(
            f"SUPABASE_PROJECT_REF is {access.supabase_project}, and the database URL leads to {own}",
            "Set both to the same project.",
        )
    return api, own


def _window(api: Api, ref: str) -> tuple[datetime, datetime]:
    found = api.get(f"/v1/projects/{ref}/database/backups")
    if found.get("pitr_enabled") is not True:
        raise api.unbelievable(
            f"point-in-time recovery is off for {ref}",
            "Turn the PITR add-on on in its dashboard; or choose big_without_data instead of big_restore_point.",
        )
    data = found.get("physical_backup_data")
    bounds = [data.get(f"{end}_physical_backup_date_unix") if isinstance(data, dict) else None for end in ("earliest", "latest")]
    try:
        earliest, latest = (datetime.fromtimestamp(b, UTC) for b in bounds if isinstance(b, int) and b > 0)
    except (ValueError, OverflowError, OSError):
        raise api.unbelievable("its answer does not say from when to when it can restore") from None
    return earliest, latest
