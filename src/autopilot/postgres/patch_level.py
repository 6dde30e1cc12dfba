"""Which PostgreSQL client programs read a stranger's archive safely.

CVE-2026-116314 (cvelistV5, 2026-11-12): a crafted archive that is not plain SQL runs code as whoever runs pg_restore; fixed in
18.7, 17.12, 16.16, 15.20 and 14.25, and never in 13 and older. (CVE-2026-18408, fixed in 18.6, 17.11, 16.15, 15.19 and 14.24,
is about plain SQL dumps, which Autopilot neither writes nor reads.)
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from autopilot.postgres.clients import Installation, client_package

#: The first minor of each major in which pg_restore is safe; majors above the highest were born safe.
SAFE_MINORS: Mapping[int, int] = {14: 25, 15: 20, 16: 16, 17: 12, 18: 7}


def is_safe(version: str) -> bool:
    """Of "17.10" and the like; a beta or a development version counts as its major's first."""
    major, _, minor = version.partition(".")
    number = int(digits[0]) if (digits := re.match(r"\d+", major)) else 0
    if number > max(SAFE_MINORS):
        return True
    patch = int(found[0]) if (found := re.match(r"\d+", minor)) else 0
    return patch >= SAFE_MINORS.get(number, 1 << 30)


def warning(client: Installation, file: str) -> str | None:
    """What to say before `client` reads an archive of which nobody knows who made it; None where it is safe."""
    if is_safe(client.version):
        return None
    safe = SAFE_MINORS.get(client.major)
    wanted = f"{client.major}.{safe}" if safe is not None else f"a PostgreSQL newer than {client.major}, which gets no fixes"
    how = (
        "a newer Autopilot brings newer embedded programs, or name others in postgres_bin_dir"
        if client.origin == "embedded"
        else client_package(client.major)
    )
    return (
        f"{file} is not signed, and pg_restore {client.version} ({client.bin_dir}) can be made to run code by a crafted archive"
        f" (CVE-2026-116314). Install {wanted}: {how}. With AUTOPILOT_SECRET set, backups are signed and strangers' are noticed."
    )
