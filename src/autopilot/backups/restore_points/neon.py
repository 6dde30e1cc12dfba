"""Neon: a branch is a copy of the moment at which it is made, at no cost in time; it is the restore point.

POST /projects/{id}/branches {branch: {name, parent_id}, endpoints: [{type}]} → 201 {branch: {id, parent_id, …}, endpoints,
operations: [{id, status}]}; GET …/operations/{id} → {operation: {status}}: scheduling, running, finished, failed (may be
retried by Neon), cancelling, cancelled, skipped. 423 while another operation of the project is under way.
GET …/endpoints → {endpoints: [{id, host, branch_id}]}. GET …/connection_uri?branch_id=&database_name=&role_name= → {uri}.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, urlencode

from autopilot.access import ProviderAccess
from autopilot.backups.restore_points.api import Api, text_at
from autopilot.backups.restore_points.point import RestorePoint, Target, no_key
from autopilot.clock import Clock
from autopilot.errors import AutopilotError, Refused, UsageError
from autopilot.http import Client
from autopilot.postgres.address import endpoints
from autopilot.secret import Secret

_POINT, _FLOWN_ON = "autopilot-restore-", "autopilot-rehearsal-"
_POLL_S = 2.0
_LIMIT_S = 300.0
_OVER = frozenset({"finished", "skipped"})


def make(access: ProviderAccess, target: Target, *, run_id: str, request: Client, clock: Clock) -> RestorePoint:
    """A branch of the target's branch. Raises Refused (`restore_point_*`) and UsageError (`no_provider_key`)."""
    api = _api(access, request, clock)
    parent = _branch_of(api, target)
    name = _POINT + run_id
    branch_id = _branch(api, name, parent, endpoint=False)
    found = api.get(f"/branches/{quote(branch_id, safe='')}").get("branch")
    if text_at(found, "id") != branch_id or text_at(found, "parent_id") != parent:
        raise api.unbelievable(f"the branch {name} was asked for and is not there as a child of the target's branch {parent}")
    return RestorePoint(
        provider="neon", name=f"neon:{access.neon_project}/{branch_id}", made_at=target.now,
        words=f"Neon holds the branch {name} ({branch_id}), made of {parent}",
        how_back=f"`neon branches restore {parent} {branch_id}` keeps the connection strings; everything written since is lost.",
        details={"project": access.neon_project, "branch_id": branch_id, "parent_id": parent, "name": name, "run_id": run_id},
    )  # fmt: skip


def check(access: ProviderAccess, target: Target, *, request: Client, clock: Clock) -> str:
    """What is there before anything is asked for, in words. Raises as `make` does."""
    return f"the target is the branch {_branch_of(_api(access, request, clock), target)} of {access.neon_project}"


@contextlib.contextmanager
def flown_on(access: ProviderAccess, point: RestorePoint, target: Target, *, request: Client, clock: Clock) -> Iterator[Secret]:
    """The URL of a branch of the restore point, made for a rehearsal and removed after it: the point stays as it is.

    Branches of dead rehearsals below earlier points of the same parent are removed first.
    """
    api, point_id, run_id = _api(access, request, clock), point.details["branch_id"], point.details["run_id"]
    _sweep(api, parent=point.details["parent_id"])
    branch_id = _branch(api, _FLOWN_ON + run_id, point_id, endpoint=True)
    try:
        query = {
            "branch_id": branch_id, "database_name": target.parameters.get("dbname", ""),
            "role_name": target.parameters.get("user", ""),
        }  # fmt: skip
        uri = text_at(api.get(f"/connection_uri?{urlencode(query)}"), "uri")
        if not uri.startswith(("postgresql://", "postgres://")):
            raise api.unbelievable("it gave no address of the branch to rehearse on")
        yield Secret(uri)
    finally:
        with contextlib.suppress(AutopilotError):  # swept by a later run
            api.delete(f"/branches/{quote(branch_id, safe='')}")


def _sweep(api: Api, *, parent: str) -> None:
    """Removes rehearsals' branches that hang below a restore point of ours, made of the branch `parent`."""
    found = api.get("/branches?" + urlencode({"search": "autopilot-", "limit": "1000"})).get("branches")
    branches = [b for b in found if isinstance(b, dict)] if isinstance(found, list) else []
    points = {text_at(b, "id") for b in branches if text_at(b, "name").startswith(_POINT) and text_at(b, "parent_id") == parent}
    for branch in branches:
        if re.fullmatch(_FLOWN_ON + r"[0-9a-z]+", text_at(branch, "name")) and text_at(branch, "parent_id") in points:
            with contextlib.suppress(Refused):
                api.delete(f"/branches/{quote(text_at(branch, 'id'), safe='')}")


def _api(access: ProviderAccess, request: Client, clock: Clock) -> Api:
    if access.neon_key is None:
        raise no_key("NEON_API_KEY", "Neon")
    if not re.fullmatch(r"[A-Za-z0-9-]{1,64}", access.neon_project):
        raise UsageError(
            "big_restore_point names Neon, and NEON_PROJECT_ID is not a project's id.",
            code="no_provider_key", hint="Set NEON_PROJECT_ID to the id in the project's settings.",
        )  # fmt: skip
    url = f"{access.neon_url}/projects/{access.neon_project}"
    return Api(name="Neon", key_variable="NEON_API_KEY", url=url, key=access.neon_key, request=request, clock=clock)


def _branch_of(api: Api, target: Target) -> str:
    """The id of the branch that the target's address leads to: a copy of another one would prove nothing."""
    hosts = {_unpooled(host) for host, _ in endpoints(target.parameters)}
    found = api.get("/endpoints").get("endpoints")
    for endpoint in found if isinstance(found, list) else []:
        if _unpooled(text_at(endpoint, "host")) in hosts and text_at(endpoint, "branch_id"):
            return text_at(endpoint, "branch_id")
    raise api.unbelievable(
        "none of the project's endpoints has the host of the database URL",
        "Set NEON_PROJECT_ID to the project that the database URL leads to.",
    )


def _unpooled(host: str) -> str:
    first, dot, rest = host.lower().partition(".")
    return first.removesuffix("-pooler") + dot + rest


def _branch(api: Api, name: str, parent: str, *, endpoint: bool) -> str:
    """Makes it and waits until it is there; one of that name which an unheard answer left is taken."""
    body: dict[str, Any] = {"branch": {"name": name, "parent_id": parent}}
    if endpoint:
        body["endpoints"] = [{"type": "read_write"}]
    try:
        made = api.post("/branches", body)
    except Refused as cause:
        if cause.code != "restore_point_unreachable":
            raise
        made = {"branch": _called(api, name, parent)}
        if made["branch"] is None:
            raise
    branch_id = text_at(made, "branch", "id")
    if not branch_id:
        raise api.unbelievable("its answer names no branch")
    _wait(api, made)
    return branch_id


def _called(api: Api, name: str, parent: str) -> dict[str, Any] | None:
    found = api.get("/branches?" + urlencode({"search": name})).get("branches")
    for branch in found if isinstance(found, list) else []:
        if text_at(branch, "name") == name and text_at(branch, "parent_id") == parent:
            return dict(branch)
    return None


def _wait(api: Api, made: dict[str, Any]) -> None:
    """Until every operation that the making began is over."""
    operations = made.get("operations")
    deadline_s = api.clock.monotonic_s() + _LIMIT_S
    for operation in operations if isinstance(operations, list) else []:
        number, status = text_at(operation, "id"), text_at(operation, "status")
        while number and status not in _OVER:
            if status == "cancelled" or api.clock.monotonic_s() >= deadline_s:
                raise api.unbelievable(f"its operation {text_at(operation, 'action') or number} is {status or 'unknown'}")
            api.clock.sleep(_POLL_S)
            status = text_at(api.get(f"/operations/{quote(number, safe='')}"), "operation", "status")
