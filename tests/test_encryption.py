"""Encrypted backups: opened by the right key alone, and never used before they are proven whole."""

from __future__ import annotations

import errno
import hashlib
import os
import random
import resource
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyrage
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from autopilot.backups import encryption
from autopilot.backups import manifest as manifests
from autopilot.backups.encrypted import Keys, Progress
from autopilot.backups.manifest import Manifest
from autopilot.errors import AutopilotError, Refused, UsageError
from autopilot.secret import Secret

FILE = "backup_20250101_120000_c0ffee.dump.age"
IDENTITY = pyrage.x25519.Identity.generate()
KEYS = Keys(age_identity=Secret(str(IDENTITY)))
RECIPIENTS = (str(IDENTITY.to_public()),)


def nothing(_: int) -> None:
    pass


def sealed(directory: Path, body: bytes, *, recipients: tuple[str, ...] = RECIPIENTS) -> tuple[Path, Manifest]:
    plain, cipher = directory / "plain", directory / FILE
    plain.write_bytes(body)
    written = encryption.encrypt(plain, cipher, recipients=recipients, gnupg_home=None, timeout_s=60, progress=nothing)
    plain.unlink()
    manifest = Manifest(
        format_version=1, file=FILE, size_bytes=written.size_bytes, sha256=written.sha256, taken_at=datetime.now(UTC),
        duration_ms=1, run_id="c0ffee", commit_sha=None, database="app", database_oid=1, system_identifier=None,
        server_version="17.2", tool="pg_dump", tool_version="17.2", compression="zstd", lsn=None, rows={}, encryption="age",
        recipients=recipients, plain_size_bytes=len(body), plain_sha256=hashlib.sha256(body).hexdigest(),
    )  # fmt: skip
    return cipher, manifest


def opened(cipher: Path, manifest: Manifest, keys: Keys = KEYS) -> Path:
    target = cipher.parent / "opened"
    encryption.decrypt(cipher, target, manifest=manifest, keys=keys, timeout_s=60)
    return target


def complaint(cipher: Path, manifest: Manifest, keys: Keys = KEYS) -> AutopilotError:
    with pytest.raises(AutopilotError) as caught:
        opened(cipher, manifest, keys)
    assert caught.value.hint
    assert sorted(path.name for path in cipher.parent.iterdir() if "opened" in path.name) == []
    return caught.value


@pytest.mark.parametrize("size", [0, 1, 65_535, 65_536, 65_537, 3_000_001])
def test_what_is_encrypted_comes_back(tmp_path: Path, size: int) -> None:
    body = random.Random(size).randbytes(size)
    cipher, manifest = sealed(tmp_path, body)
    assert (cipher.stat().st_size, manifests.sha256(cipher)) == (manifest.size_bytes, manifest.sha256)
    found = opened(cipher, manifest)
    assert found.read_bytes() == body
    assert found.stat().st_mode & 0o777 == 0o600


def test_each_of_several_recipients_can_open_it(tmp_path: Path) -> None:
    other = pyrage.x25519.Identity.generate()
    cipher, manifest = sealed(tmp_path, b"rows", recipients=(*RECIPIENTS, str(other.to_public())))
    assert opened(cipher, manifest, Keys(age_identity=Secret(f"# mine\n\n{other}\n"))).read_bytes() == b"rows"


def test_a_file_of_several_keys_is_tried_whole(tmp_path: Path) -> None:
    cipher, manifest = sealed(tmp_path, b"rows")
    (tmp_path / "keys").write_text(f"# old\n{pyrage.x25519.Identity.generate()}\n# new\n{IDENTITY}\n")
    assert opened(cipher, manifest, Keys(age_identity_file=tmp_path / "keys")).read_bytes() == b"rows"


def test_the_wrong_key_and_no_key_are_told_apart(tmp_path: Path) -> None:
    cipher, manifest = sealed(tmp_path, b"rows")
    other = Keys(age_identity=Secret(str(pyrage.x25519.Identity.generate())))
    assert complaint(cipher, manifest, other).code == "wrong_identity"
    assert complaint(cipher, manifest, Keys()).code == "no_identity"


@pytest.mark.parametrize(
    "text",
    ["", "# nothing", "AGE-SECRET-KEY-1NONSENSE", str(IDENTITY.to_public()), "\x00"],
    ids=["empty", "a comment", "nonsense", "a public key", "NUL"],
)
def test_a_key_that_is_none_is_said_without_repeating_it(tmp_path: Path, text: str) -> None:
    cipher, manifest = sealed(tmp_path, b"rows")
    (tmp_path / "key").write_text(text)
    error = complaint(cipher, manifest, Keys(age_identity_file=tmp_path / "key"))
    assert error.code == "bad_identity"
    assert "NONSENSE" not in f"{error} {error.hint}"


def test_a_key_file_that_is_missing_is_said(tmp_path: Path) -> None:
    cipher, manifest = sealed(tmp_path, b"rows")
    assert complaint(cipher, manifest, Keys(age_identity_file=tmp_path / "no")).code == "bad_identity"


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_cipher_that_was_tampered_with_leaves_nothing_behind(tmp_path: Path, data: st.DataObject) -> None:
    """Even where the manifest was made to fit it."""
    directory = tmp_path / os.urandom(6).hex()
    directory.mkdir()
    cipher, manifest = sealed(directory, random.Random(1).randbytes(150_000))
    raw = cipher.read_bytes()
    at = int(data.draw(st.floats(0, 1, exclude_max=True)) * len(raw))  # its length varies: age pads its header at random
    changed = {
        "cut": raw[:at], "flipped": raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :], "longer": raw + b"x",
        "headless": raw[at:], "doubled": raw[:at] + raw[:at],
    }[data.draw(st.sampled_from(["cut", "flipped", "longer", "headless", "doubled"]))]  # fmt: skip
    if changed == raw:
        return
    cipher.write_bytes(changed)
    assert complaint(cipher, manifest).code == "backup_damaged"
    fitting = {"size_bytes": len(changed), "sha256": hashlib.sha256(changed).hexdigest()}
    assert complaint(cipher, replace(manifest, **fitting)).code in {"backup_damaged", "wrong_identity"}


@pytest.mark.parametrize("changes", [{"plain_size_bytes": 3}, {"plain_size_bytes": 5}, {"plain_sha256": "0" * 64}])
def test_another_archive_under_the_right_key_is_not_used(tmp_path: Path, changes: dict[str, Any]) -> None:
    cipher, manifest = sealed(tmp_path, b"rows")
    assert complaint(cipher, replace(manifest, **changes)).code == "backup_damaged"


def test_nothing_is_written_over(tmp_path: Path) -> None:
    cipher, manifest = sealed(tmp_path, b"rows")
    opened(cipher, manifest)
    with pytest.raises(Refused) as caught:
        opened(cipher, manifest)
    assert caught.value.code == "backup_exists"
    (tmp_path / "plain").write_bytes(b"other rows")
    with pytest.raises(Refused) as caught:
        encryption.encrypt(tmp_path / "plain", cipher, recipients=RECIPIENTS, gnupg_home=None, timeout_s=60, progress=nothing)
    assert caught.value.code == "backup_exists"
    assert (cipher.stat().st_size, manifests.sha256(cipher)) == (manifest.size_bytes, manifest.sha256)


@pytest.mark.parametrize("action", ["decrypt", "encrypt"])
def test_a_full_disk_is_said_and_leaves_nothing(tmp_path: Path, action: str) -> None:
    cipher, manifest = sealed(tmp_path, bytes(3_000_000))
    (tmp_path / "plain").write_bytes(bytes(3_000_000))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, before[1]))
    try:
        with pytest.raises(Refused) as caught:
            opened(cipher, manifest) if action == "decrypt" else sealed_again(tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert caught.value.code == "no_space"
    assert sorted(path.name for path in tmp_path.iterdir()) == [FILE, "plain"]


def sealed_again(directory: Path, progress: Progress = nothing) -> None:
    encryption.encrypt(
        directory / "plain", directory / "again", recipients=RECIPIENTS, gnupg_home=None, timeout_s=60, progress=progress
    )


def test_a_disk_without_links_does_as_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    cipher, manifest = sealed(tmp_path, b"rows")
    assert opened(cipher, manifest).read_bytes() == b"rows"
    with pytest.raises(Refused) as caught:
        opened(cipher, manifest)
    assert caught.value.code == "backup_exists"


def test_an_interruption_is_passed_on_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "plain").write_bytes(bytes(3 << 20))

    def stop(count: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sealed_again(tmp_path, stop)
    assert [path.name for path in tmp_path.iterdir()] == ["plain"]


@pytest.mark.parametrize(
    ("recipients", "expected"),
    [((), "none"), (RECIPIENTS, "age"), (("gpg:" + "0" * 40,), "gpg"), (("gpg:" + "0000 " * 10,), "gpg")],
)
def test_recipients_tell_how_it_is_encrypted(recipients: tuple[str, ...], expected: str) -> None:
    assert encryption.kind(recipients) == expected


@pytest.mark.parametrize("recipients", [(*RECIPIENTS, "gpg:" + "0" * 40), ("age1",), ("gpg:ops@example.com",), ("",)])
def test_recipients_that_cannot_work_are_refused(recipients: tuple[str, ...]) -> None:
    with pytest.raises(UsageError) as caught:
        encryption.kind(recipients)
    assert caught.value.code == "bad_recipient"


def test_memory_stays_small_however_large_the_backup(tmp_path: Path) -> None:
    script = f"""
import resource
from pathlib import Path
from autopilot.backups import encryption
import pyrage
with open("plain", "wb") as stream:
    stream.truncate(200 << 20)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
how = dict(recipients={RECIPIENTS!r}, gnupg_home=None, timeout_s=60, progress=lambda n: None)
encryption.encrypt(Path("plain"), Path("cipher"), **how)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    done = subprocess.run((sys.executable, "-c", script), cwd=tmp_path, check=True, capture_output=True, text=True)
    assert int(done.stdout) < 40 << 10
