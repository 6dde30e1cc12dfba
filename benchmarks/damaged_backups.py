"""1,000 damaged backups, seeded: cuts, flips, swaps, edits of manifests signed by nobody. None may pass `backup verify`.

Each goes through the function behind the command, the first ones through the command itself too; the whole ones must pass, and
each refusal must name the older good one.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
from benchmarks.backup import fill
from benchmarks.peers import Row, autopilot, check, finish, new_database

from autopilot.backups import manifest as manifests
from autopilot.clock import SystemClock
from autopilot.config import load
from autopilot.http import request
from autopilot.postgres.clients import for_embedded, installations
from autopilot.postgres.embedded import running
from autopilot.secret import Secret
from autopilot.workflows.opening import Verified, verify
from autopilot.workflows.world import World

COUNT = int(os.environ.get("AUTOPILOT_BENCH_COUNT", "1000"))
BY_COMMAND = 20
SEED = 20260114
SECRET, ANOTHERS = "s3cr3t" * 8, "f0r93d" * 8


class Scene:
    """Three good backups of ours, and one of another database; the newest of ours is what gets damaged."""

    def __init__(self, home: Path, url: str, foreign: str) -> None:
        self.home, self.chance = home, random.Random(SEED)
        self.env = {"SUPABASE_DB_URL": url, "AUTOPILOT_SECRET": SECRET}
        self.directory = home / "supabase" / "backups"
        taken = [self._taken(self.env, home) for _ in range(3)]
        self.older, self.file = taken[1], taken[2]
        elsewhere = home / "elsewhere"
        elsewhere.mkdir()
        theirs = self._taken(self.env | {"SUPABASE_DB_URL": foreign}, elsewhere)
        self.backup = self.directory / self.file
        self.manifest = manifests.path_of(self.backup)
        self.good = (self.backup.read_bytes(), self.manifest.read_bytes())
        foreign_backup = elsewhere / "supabase" / "backups" / theirs
        self.foreign = (foreign_backup.read_bytes(), manifests.path_of(foreign_backup).read_bytes())
        old = self.directory / self.older
        self.old = (old.read_bytes(), manifests.path_of(old).read_bytes())

    @staticmethod
    def _taken(env: dict[str, str], home: Path) -> str:
        return str(json.loads(check(autopilot("backup", "create", "--json"), cwd=home, env=env))["file"])

    def damage(self, kind: Callable[[Scene], tuple[bytes, bytes]]) -> None:
        raw, described = kind(self)
        self.backup.write_bytes(raw)
        self.manifest.write_bytes(described)

    def described(self, raw: bytes, **changes: Any) -> dict[str, Any]:
        """Our manifest as it would be of other bytes."""
        found: dict[str, Any] = msgspec.json.decode(self.good[1])
        return found | {"size_bytes": len(raw), "sha256": hashlib.sha256(raw).hexdigest()} | changes


def flipped(raw: bytes, chance: random.Random) -> bytes:
    found, bit = bytearray(raw), chance.randrange(len(raw) * 8)
    found[bit // 8] ^= 1 << bit % 8
    return bytes(found)


def a_cut(s: Scene) -> tuple[bytes, bytes]:
    return s.good[0][: s.chance.choice((0, s.chance.randrange(len(s.good[0])), len(s.good[0]) - 1))], s.good[1]


def a_flip(s: Scene) -> tuple[bytes, bytes]:
    return flipped(s.good[0], s.chance), s.good[1]


def a_hole(s: Scene) -> tuple[bytes, bytes]:
    at = s.chance.randrange(len(s.good[0]) - 512)
    return s.good[0][:at] + bytes(512) + s.good[0][at + 512 :], s.good[1]


def something_added(s: Scene) -> tuple[bytes, bytes]:
    return s.good[0] + s.chance.randbytes(s.chance.randrange(1, 2000)), s.good[1]


def two_blocks_swapped(s: Scene) -> tuple[bytes, bytes]:
    raw, half = s.good[0], len(s.good[0]) // 2
    one, other = s.chance.randrange(half - 4096), half + s.chance.randrange(half - 4096)
    middle = raw[other : other + 4096] + raw[one + 4096 : other] + raw[one : one + 4096]
    return raw[:one] + middle + raw[other + 4096 :], s.good[1]


def anothers_archive(s: Scene) -> tuple[bytes, bytes]:
    return s.foreign[0], s.good[1]


def anothers_archive_and_manifest(s: Scene) -> tuple[bytes, bytes]:
    return s.foreign


def an_older_one_as_the_newest(s: Scene) -> tuple[bytes, bytes]:
    return s.old


def a_manifest_with_a_flip(s: Scene) -> tuple[bytes, bytes]:
    return s.good[0], flipped(s.good[1], s.chance)


def a_manifest_cut(s: Scene) -> tuple[bytes, bytes]:
    return s.good[0], s.good[1][: s.chance.randrange(len(s.good[1]) - 2)]


def a_manifest_edited(s: Scene) -> tuple[bytes, bytes]:
    """What it says of the database is changed, its proof is kept."""
    change: dict[str, Any] = s.chance.choice(
        ({"database": "other"}, {"rows": {}}, {"run_id": "deadbeef"}, {"roles": []}, {"lsn": "0/0"})
    )
    return s.good[0], msgspec.json.encode(s.described(s.good[0]) | change)


def planted_with_the_old_proof(s: Scene) -> tuple[bytes, bytes]:
    raw = s.chance.choice((s.foreign[0], s.old[0], flipped(s.good[0], s.chance)))
    return raw, msgspec.json.encode(s.described(raw))


def planted_without_a_proof(s: Scene) -> tuple[bytes, bytes]:
    raw = s.chance.choice((s.foreign[0], s.old[0], s.good[0]))
    return raw, msgspec.json.encode(s.described(raw, hmac=None))


def planted_and_signed_by_another(s: Scene) -> tuple[bytes, bytes]:
    raw = s.chance.choice((s.foreign[0], s.old[0]))
    found = msgspec.convert(s.described(raw, hmac=None), manifests.Manifest)
    return raw, msgspec.json.encode(manifests.sign(found, Secret(ANOTHERS)))


KINDS = (
    a_cut, a_flip, a_hole, something_added, two_blocks_swapped, anothers_archive, anothers_archive_and_manifest,
    an_older_one_as_the_newest, a_manifest_with_a_flip, a_manifest_cut, a_manifest_edited, planted_with_the_old_proof,
    planted_without_a_proof, planted_and_signed_by_another,
)  # fmt: skip


def accepted(found: Verified) -> bool:
    """As the command decides its exit code."""
    return found.entry.state == "good" and found.read_whole is not False


def by_command(scene: Scene) -> int:
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ}
    argv = autopilot("backup", "verify", scene.file)
    return subprocess.run(argv, cwd=scene.home, env=kept | scene.env, capture_output=True, check=False).returncode


def measured(scene: Scene) -> list[Row]:
    world = World(
        settings=load(variables=scene.env), clock=SystemClock(), request=request, chance=random.Random(1), tell=lambda _: None
    )
    whole = sum(accepted(found) for found in verify(world, ()))
    passed, passed_command, unnamed, kinds = 0, 0, 0, Counter[str]()
    for number in range(COUNT):
        kind = KINDS[number % len(KINDS)]
        scene.damage(kind)
        (found,) = verify(world, (scene.file,))
        if accepted(found):
            passed += 1
            print(f"accepted: number {number}, {kind.__name__}")
        unnamed += found.instead != scene.older
        passed_command += number < BY_COMMAND and by_command(scene) != 1
        kinds[kind.__name__.replace("_", " ")] += 1
    print(f"{COUNT} damaged backups of {len(scene.good[0]):,} bytes: " + ", ".join(f"{n} {k}" for k, n in kinds.items()))
    return [
        Row(what="whole backups refused", value=3 - whole, unit="of 3", limit=0),
        Row(what=f"damaged backups accepted, of {COUNT}", value=passed, unit="", limit=0, note=f"seed {SEED}"),
        Row(what=f"… by the command, of the first {BY_COMMAND}", value=passed_command, unit="", limit=0),
        Row(what="… refused without naming the next older good one", value=unnamed, unit="", limit=0),
    ]


def main() -> int:
    with (
        tempfile.TemporaryDirectory(prefix="autopilot-bench-") as made,
        running(for_embedded(installations()), tcp=True) as server,
    ):
        url, foreign = new_database(server, "bench"), new_database(server, "another")
        fill(url, big_tables=1, big_rows=3000, small_tables=5)
        fill(foreign, big_tables=1, big_rows=2000, small_tables=2)
        os.chdir(made)
        return finish(measured(Scene(Path(made), url, foreign)))


if __name__ == "__main__":
    sys.exit(main())
