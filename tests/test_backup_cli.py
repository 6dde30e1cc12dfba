"""`autopilot backup …` from a terminal's point of view: taken, encrypted, copied, proven, fetched back, pruned."""

from __future__ import annotations

import hashlib
import json
import os
import random
import stat
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pyrage
import pytest
from tests.conftest import Cli, Database, Ran
from tests.s3server import BUCKET, KEY, S3, SECRET, free_port, s3_server

from autopilot.backups import manifest as manifests
from autopilot.backups.dump import Source
from autopilot.clock import SystemClock
from autopilot.config import load
from autopilot.events import Step
from autopilot.http import request
from autopilot.postgres import clients
from autopilot.postgres.session import session
from autopilot.secret import Secret
from autopilot.workflows.backing_up import backed_up
from autopilot.workflows.opening import opened
from autopilot.workflows.world import World

SIGNING = "5ec4e7" * 10 + "5ec4"


@pytest.fixture(scope="module")
def server_of_objects() -> Iterator[S3]:
    with s3_server() as started:
        yield started


@pytest.fixture
def s3(server_of_objects: S3) -> S3:
    server_of_objects.empty()
    return server_of_objects


@pytest.fixture
def identity() -> Any:
    return pyrage.x25519.Identity.generate()


@pytest.fixture
def project(cli: Cli, database: Database) -> Cli:
    database.run("create table notes (id bigint primary key, body text); insert into notes values (1, 'engines'), (2, 'bugs')")
    return cli


def configure(cli: Cli, text: str) -> None:
    (cli.home / "autopilot.toml").write_text(text)


def recipients(identity: Any) -> str:
    return f'backup_recipients = ["{identity.to_public()}"]\n'


def store(url: str, **more: str) -> str:
    return f'[[backup_store]]\nurl = "{url}"\n' + "".join(f"{key} = {value}\n" for key, value in more.items())


def document(ran: Ran) -> Any:
    assert ran.out.count("\n") == 1, ran.out + ran.err
    return json.loads(ran.out)


def made(cli: Cli, **env: Any) -> dict[str, Any]:
    ran = cli("backup", "create", "--json", **env)
    assert ran.code == 0, ran.err
    found: dict[str, Any] = document(ran)
    return found


def files(cli: Cli) -> list[str]:
    return sorted(path.name for path in cli.backups.iterdir())


def no_secret_in(cli: Cli, *texts: str) -> None:
    for text in (*texts, *(path.read_text("utf-8", "replace") for path in cli.backups.glob("*.json"))):
        assert SECRET not in text
        assert KEY not in text
        assert SIGNING not in text
        assert "AGE-SECRET-KEY-1" not in text.upper()


# --- create ---------------------------------------------------------------------------------------------------------------


def test_without_any_configuration_a_plain_backup_is_taken(project: Cli) -> None:
    taken = made(project)
    assert taken["encryption"] == "none"
    assert (taken["rows"], taken["copies"], taken["signed"]) == (2, [], False)
    assert files(project) == [taken["file"], taken["file"] + ".manifest.json"]
    backup = project.backups / taken["file"]
    assert stat.S_IMODE(backup.stat().st_mode) == 0o600
    assert hashlib.sha256(backup.read_bytes()).hexdigest() == taken["sha256"]
    assert document(project("backup", "list", "--verify", "--json"))[0]["state"] == "good"


def test_with_recipients_only_the_encrypted_file_is_kept(project: Cli, identity: Any) -> None:
    configure(project, recipients(identity))
    taken = made(project)
    assert taken["file"].endswith(".dump.age")
    assert files(project) == [taken["file"], taken["file"] + ".manifest.json"]
    manifest = manifests.read(project.backups / f"{taken['file']}.manifest.json")
    plain = pyrage.decrypt((project.backups / taken["file"]).read_bytes(), [identity])
    assert plain.startswith(b"PGDMP")
    assert (len(plain), hashlib.sha256(plain).hexdigest()) == (manifest.plain_size_bytes, manifest.plain_sha256)
    assert manifest.recipients == (str(identity.to_public()),)


def test_a_backup_goes_to_a_bucket_and_comes_back_opened(project: Cli, identity: Any, s3: S3, tmp_path: Path) -> None:
    configure(project, recipients(identity) + store(f"s3://{BUCKET}/prod"))
    env = s3.environment(AUTOPILOT_SECRET=SIGNING)
    taken = made(project, **env)
    assert taken["signed"]
    assert taken["copies"] == [{"store": f"s3://{BUCKET}/prod", "stored": True, "why": None}]
    assert s3.names() == [f"prod/{taken['file']}", f"prod/{taken['file']}.manifest.json"]
    for path in project.backups.iterdir():
        path.unlink()
    key = tmp_path / "key.txt"
    key.write_text(f"# created: today\n{identity}\n")
    ran = project(
        *("backup", "fetch", taken["file"], "--to", str(tmp_path / "back"), "--json"), **env, AUTOPILOT_AGE_IDENTITY_FILE=str(key)
    )
    assert ran.code == 0, ran.err
    fetched = document(ran)
    assert Path(fetched["plain"]).read_bytes().startswith(b"PGDMP")
    assert sorted(path.name for path in (tmp_path / "back").iterdir()) == sorted(
        name + end for name in (taken["file"], Path(fetched["plain"]).name) for end in ("", ".manifest.json")
    )
    verified = document(project("backup", "verify", fetched["plain"], "--json", **env))
    assert (verified[0]["state"], verified[0]["read_whole"], verified[0]["signature"]) == ("good", True, "valid")
    no_secret_in(project, ran.out, ran.err, *(p.read_text() for p in (tmp_path / "back").glob("*.json")))


def test_a_directory_is_a_store_too(project: Cli, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    configure(project, store(disk.as_uri()))
    taken = made(project)
    assert sorted(path.name for path in disk.iterdir()) == [taken["file"], taken["file"] + ".manifest.json"]
    assert (disk / taken["file"]).read_bytes() == (project.backups / taken["file"]).read_bytes()


@pytest.mark.parametrize("url", ["s3://copies/prod", "s3://copies"])
def test_an_unencrypted_backup_does_not_leave_the_machine(project: Cli, s3: S3, url: str) -> None:
    configure(project, store(url))
    ran = project("backup", "create", "--json", **s3.environment())
    assert (ran.code, document(ran)["error"]["code"]) == (2, "store_needs_encryption")
    assert not project.backups.exists()
    configure(project, store(url, allow_plain="true"))
    assert made(project, **s3.environment())["copies"][0]["stored"] is True


def test_a_required_store_that_does_not_answer_refuses_the_backup_before_it_is_begun(project: Cli, identity: Any) -> None:
    configure(project, recipients(identity) + store("s3://copies/prod"))
    env: dict[str, Any] = {
        "AWS_ACCESS_KEY_ID": KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{free_port()}",
    }
    ran = project("backup", "create", "--json", **env)
    error = document(ran)["error"]
    assert (ran.code, error["code"], error["retryable"]) == (1, "store_unreachable", True)
    assert "s3://copies/prod does not answer" in error["message"]
    assert error["state"] == "Nothing was touched."
    assert not project.backups.exists()
    no_secret_in(project, ran.out, ran.err)


def test_a_store_that_is_not_required_is_a_warning(project: Cli, identity: Any, tmp_path: Path) -> None:
    configure(project, recipients(identity) + store((tmp_path / "unplugged").as_uri(), required="false"))
    ran = project("backup", "create", "--json")
    copies = document(ran)["copies"]
    assert (ran.code, copies[0]["stored"]) == (0, False)
    assert "unplugged is not there" in copies[0]["why"]
    assert "has one copy less" in ran.err
    assert not (tmp_path / "unplugged").exists()


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ('backup_recipients = ["age1nonsense"]', "bad_recipient"),
        ('backup_recipients = ["AGE-SECRET-KEY-1QQPQQQQQ"]', "bad_recipient"),
        ('backup_recipients = ["gpg:C0FFEE"]', "bad_recipient"),
        (store("s3://user:pass-phrase@bucket/x"), "bad_store"),
        (store("s3://bucket/x?key=pass-phrase"), "bad_store"),
        (store("ftp://host/x"), "bad_store"),
        (store("s3://"), "bad_store"),
        (store("file://host/x"), "bad_store"),
        (store("file:relative"), "bad_store"),
        (store("nonsense"), "bad_store"),
        (store("s3://bucket/x", allow_plain="true"), "no_store_keys"),
        ("[[backup_store]]\nrequired = true", "config_value"),
        (store("file:///x", requred="true"), "config_value"),
        ("backup_keep_days = 0", "config_value"),
    ],
)  # fmt: skip
def test_a_configuration_that_cannot_work_is_refused_before_anything_is_done(project: Cli, text: str, code: str) -> None:
    configure(project, text)
    ran = project("backup", "create", "--json")
    assert (ran.code, document(ran)["error"]["code"]) == (2, code)
    assert "pass-phrase" not in ran.out + ran.err
    assert "AGE-SECRET-KEY-1QQ" not in ran.out + ran.err
    assert not project.backups.exists()


def test_a_store_over_the_open_network_must_be_encrypted(project: Cli) -> None:
    configure(project, store("s3://bucket/x", allow_plain="true"))
    env: dict[str, Any] = {"AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET, "AWS_ENDPOINT_URL": "http://s3.example.com"}
    ran = project("backup", "create", "--json", **env)
    assert (ran.code, document(ran)["error"]["code"]) == (2, "bad_store")


@pytest.mark.parametrize("end", ["", "/", "/../backups"])
def test_the_backups_directory_is_no_store_of_its_own(project: Cli, end: str) -> None:
    configure(project, store(project.backups.as_uri() + end))
    assert document(project("backup", "create", "--json"))["error"]["code"] == "bad_store"


def test_what_a_killed_run_left_unencrypted_is_swept_by_the_next(project: Cli, identity: Any) -> None:
    left = project.backups / ".backup-work-dead"
    left.mkdir(parents=True)
    (left / "backup_20250101_000000_dead.dump").write_text("everything, in the clear")
    configure(project, recipients(identity))
    made(project)
    assert not left.exists()


def test_the_plain_archive_is_at_hand_for_the_length_of_the_block(project: Cli, database: Database, identity: Any) -> None:
    configure(project, f'backups_dir = "{project.backups}"\n' + recipients(identity))
    variables = {"SUPABASE_DB_URL": database.url, "AUTOPILOT_AGE_IDENTITY": str(identity)}
    world = World(
        settings=load(variables=variables, file=project.home / "autopilot.toml"), clock=SystemClock(), request=request,
        chance=random.Random(1), tell=lambda _: None,
    )  # fmt: skip
    step = Step(name="backup", tell=world.tell)
    client = clients.for_dump(clients.installations(), server_major=17)
    url = Secret(database.url)
    source = Source(url=url, client=client, application_name="test", compression="1", size_bytes=1)
    with session(url, application_name="test") as connection:
        with backed_up(world, step, source=source, connection=connection, run_id="c0ffee", commit_sha="abc") as taken:
            plain, manifest = taken.backup.path, taken.backup.manifest
            assert (manifests.sha256(plain), plain.stat().st_size) == (manifest.plain_sha256, manifest.plain_size_bytes)
            assert plain.parent != project.backups
            assert plain.parent.stat().st_mode & 0o777 == 0o700
        assert not plain.parent.exists()
    kept = project.backups / manifest.file
    manifests.check(manifests.read(manifests.path_of(kept)), kept)
    with opened(world, step, kept, manifest) as again:
        assert manifests.sha256(again.path) == manifest.plain_sha256
    assert files(project) == [manifest.file, manifest.file + ".manifest.json"]


# --- list and verify ------------------------------------------------------------------------------------------------------


def test_the_list_says_where_each_copy_lies(project: Cli, identity: Any, s3: S3) -> None:
    configure(project, recipients(identity) + store("s3://copies/prod"))
    first, second = made(project, **s3.environment()), made(project, **s3.environment())
    (project.backups / first["file"]).unlink()
    (project.backups / f"{first['file']}.manifest.json").unlink()
    ran = project("backup", "list", "--verify", "--json", **s3.environment())
    newer, older = document(ran)
    assert ran.code == 0
    assert (newer["file"], newer["state"], newer["encryption"]) == (second["file"], "good", "age")
    assert (older["file"], older["state"]) == (first["file"], "stored")
    assert older["copies"] == [{"store": "s3://copies/prod", "state": "good", "why": None}]
    shown = project("backup", "list", **s3.environment())
    assert f"{first['file']}  not here" in shown.out
    assert "s3://copies/prod  good" in shown.out


def test_a_truncated_copy_is_seen_by_its_size_and_an_altered_one_by_its_hash(project: Cli, s3: S3) -> None:
    configure(project, store("s3://copies", allow_plain="true"))
    file = made(project, **s3.environment())["file"]
    whole = s3.read(file)
    s3.write(file, whole[: len(whole) // 2])
    ran = project("backup", "list", "--json", **s3.environment())
    assert (ran.code, document(ran)[0]["copies"][0]["state"]) == (1, "damaged")
    s3.write(file, whole[:-1] + bytes([whole[-1] ^ 1]))
    assert project("backup", "list", **s3.environment()).code == 0
    assert project("backup", "list", "--verify", **s3.environment()).code == 1


def test_a_store_that_cannot_be_asked_is_said_and_the_rest_is_listed(project: Cli, tmp_path: Path) -> None:
    made(project)
    configure(project, store((tmp_path / "unplugged").as_uri()))
    ran = project("backup", "list", "--json")
    assert ran.code == 1
    assert document(ran)[0]["state"] == "good"
    assert "unplugged is not there" in ran.err


def test_verify_opens_what_is_encrypted_where_a_key_is(project: Cli, identity: Any) -> None:
    configure(project, recipients(identity))
    file = made(project)["file"]
    without = project("backup", "verify", "--json")
    assert (without.code, document(without)[0]["read_whole"]) == (0, None)
    with_key = project("backup", "verify", file, "--json", AUTOPILOT_AGE_IDENTITY=str(identity))
    assert (with_key.code, document(with_key)[0]["read_whole"]) == (0, True)
    other = project("backup", "verify", "--json", AUTOPILOT_AGE_IDENTITY=str(pyrage.x25519.Identity.generate()))
    assert other.code == 1
    assert (document(other)[0]["state"], document(other)[0]["read_whole"]) == ("good", False)
    assert "not encrypted to any key that is here" in document(other)[0]["why_not"]
    nonsense = project("backup", "verify", "--json", AUTOPILOT_AGE_IDENTITY="AGE-SECRET-KEY-1NONSENSE")
    assert (nonsense.code, document(nonsense)["error"]["code"]) == (2, "bad_identity")
    assert files(project) == [file, file + ".manifest.json"]


def test_a_damaged_backup_is_refused_and_the_next_older_good_one_is_named(project: Cli) -> None:
    oldest, older, newest = (made(project)["file"] for _ in range(3))
    names = sorted((oldest, older, newest))
    for name in names[1:]:
        backup = project.backups / name
        raw = bytearray(backup.read_bytes())
        raw[len(raw) // 2] ^= 1
        backup.write_bytes(raw)
    ran = project("backup", "verify", names[2], "--json")
    verified = document(ran)[0]
    assert (ran.code, verified["state"], verified["instead"]) == (1, "damaged", names[0])
    assert f"The next older good one is {names[0]}." in project("backup", "verify", names[2]).out


def edit(path: Path, **changes: Any) -> None:
    found = msgspec.json.decode(path.read_bytes())
    path.write_bytes(msgspec.json.encode(found | changes))


def test_backups_that_are_not_what_they_seem_are_refused_in_words(project: Cli, tmp_path: Path) -> None:
    file = made(project)["file"]
    good = (project.backups / file, project.backups / f"{file}.manifest.json")
    body, described = good[0].read_bytes(), good[1].read_bytes()

    def planted(name: str, **changes: Any) -> tuple[Path, Path]:
        backup, manifest = project.backups / name, project.backups / f"{name}.manifest.json"
        backup.write_bytes(body)
        manifest.write_bytes(described)
        edit(manifest, **({"file": name} | changes))
        return backup, manifest

    planted("backup_20260101_000001_swapped.dump")[0].write_bytes(b"another database's" + body)
    planted("backup_20260101_000002_elsewhere.dump", file="../../etc/passwd")
    planted("backup_20260101_000003_foreign.dump", file=file)
    backup, _ = planted("backup_20260101_000004_link.dump")
    backup.unlink()
    backup.symlink_to(good[0])
    _, manifest = planted("backup_20260101_000005_manifestlink.dump")
    manifest.unlink()
    manifest.symlink_to(good[1])
    backup, _ = planted("backup_20260101_000006_fifo.dump")
    backup.unlink()
    os.mkfifo(backup)
    _, manifest = planted("backup_20260101_000007_manifestfifo.dump")
    manifest.unlink()
    os.mkfifo(manifest)
    _, manifest = planted("backup_20260101_000008_huge.dump")
    with manifest.open("r+b") as stream:
        stream.truncate(300 << 20)
    planted("backup_20260101_000009_nohash.dump", sha256="x")
    _, manifest = planted("backup_20260101_000010_deep.dump")
    manifest.write_bytes(b"[" * 100_000)
    (project.backups / "backup_20260101_000011_bare.dump").write_bytes(body)
    (project.backups / "backup_20260101_000012_dir.dump").mkdir()
    ran = project("backup", "list", "--verify", "--json", timeout_s=60)
    found = {entry["file"]: entry for entry in document(ran)}
    assert ran.code == 1
    assert found.pop(file)["state"] == "good"
    assert found.pop("backup_20260101_000011_bare.dump")["state"] == "no manifest"
    assert found.pop("backup_20260101_000012_dir.dump")["state"] == "no manifest"
    assert len(found) == 10
    for name, entry in found.items():
        assert entry["state"] == "damaged", name
        assert entry["why"], name
    assert project("backup", "list").code == 1


def test_a_signed_manifest_cannot_be_changed_and_an_unsigned_one_says_so(project: Cli) -> None:
    file = made(project, AUTOPILOT_SECRET=SIGNING)["file"]
    manifest = project.backups / f"{file}.manifest.json"

    def signature(**env: Any) -> tuple[str, str]:
        entry = document(project("backup", "list", "--json", **env))[0]
        return entry["state"], entry["signature"]

    assert signature(AUTOPILOT_SECRET=SIGNING) == ("good", "valid")
    assert signature(AUTOPILOT_SECRET="another" * 9, AUTOPILOT_SECRET_NEXT=SIGNING) == ("good", "valid")
    assert signature() == ("good", "unknown")
    assert signature(AUTOPILOT_SECRET="another" * 9) == ("damaged", "forged")
    edit(manifest, a_field_of_tomorrow=1)
    assert signature(AUTOPILOT_SECRET=SIGNING) == ("damaged", "forged")
    edit(manifest, hmac=None)
    assert signature(AUTOPILOT_SECRET=SIGNING) == ("good", "unsigned")
    assert "not signed" in project("backup", "verify", AUTOPILOT_SECRET=SIGNING).out


# --- fetch ----------------------------------------------------------------------------------------------------------------


def test_fetch_refuses_what_is_damaged_and_names_an_older_one(project: Cli, s3: S3, tmp_path: Path) -> None:
    configure(project, store("s3://copies", allow_plain="true"))
    older, newer = sorted(made(project, **s3.environment())["file"] for _ in range(2))
    whole = s3.read(newer)
    to = tmp_path / "back"
    s3.write(newer, whole[:-10])
    ran = project("backup", "fetch", newer, "--to", str(to), "--json", **s3.environment())
    error = document(ran)["error"]
    assert (ran.code, error["code"]) == (1, "backup_damaged")
    assert older in error["hint"]
    s3.write(newer, whole[:-1] + bytes([whole[-1] ^ 1]))
    ran = project("backup", "fetch", newer, "--to", str(to), "--json", **s3.environment())
    assert (ran.code, document(ran)["error"]["code"]) == (1, "backup_damaged")
    assert list(to.iterdir()) == []


def test_fetch_writes_over_nothing(project: Cli, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    configure(project, store(disk.as_uri()))
    file = made(project)["file"]
    before = (project.backups / file).stat().st_mtime_ns
    ran = project("backup", "fetch", file, "--json")
    assert (ran.code, document(ran)["error"]["code"]) == (1, "backup_exists")
    assert (project.backups / file).stat().st_mtime_ns == before


def test_fetch_takes_the_next_store_where_one_is_damaged(project: Cli, tmp_path: Path) -> None:
    disks = [tmp_path / "one", tmp_path / "two"]
    for disk in disks:
        disk.mkdir()
    configure(project, "".join(store(disk.as_uri()) for disk in disks))
    file = made(project)["file"]
    (disks[0] / file).write_bytes(b"")
    fetched = document(project("backup", "fetch", file, "--to", str(tmp_path / "back"), "--json"))
    assert fetched["store"] == disks[1].as_uri()
    ran = project("backup", "fetch", file, "--from", disks[0].as_uri(), "--to", str(tmp_path / "again"), "--json")
    assert (ran.code, document(ran)["error"]["code"]) == (1, "backup_damaged")


@pytest.mark.parametrize(
    ("arguments", "code", "exit_code"),
    [
        (("backup_20250101_000000_no.dump",), "unknown_backup", 1),
        (("../../etc/passwd",), "unknown_backup", 1),
        (("x", "--from", "s3://nowhere"), "unknown_store", 2),
    ],
)
def test_fetch_of_what_is_not_there(project: Cli, tmp_path: Path, arguments: tuple[str, ...], code: str, exit_code: int) -> None:
    (tmp_path / "disk").mkdir()
    configure(project, store((tmp_path / "disk").as_uri()))
    ran = project("backup", "fetch", *arguments, "--json")
    assert (ran.code, document(ran)["error"]["code"]) == (exit_code, code)


def test_fetch_without_a_store_is_a_usage_error(project: Cli) -> None:
    ran = project("backup", "fetch", "x", "--json")
    assert (ran.code, document(ran)["error"]["code"]) == (2, "no_store")


def test_with_a_secret_an_unsigned_copy_is_taken_only_when_asked(project: Cli, tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    configure(project, store((tmp_path / "disk").as_uri()))
    file = made(project)["file"]
    arguments = ("backup", "fetch", file, "--to", str(tmp_path / "back"), "--json")
    ran = project(*arguments, AUTOPILOT_SECRET=SIGNING)
    assert (ran.code, document(ran)["error"]["code"]) == (1, "backup_not_signed")
    assert project(*arguments, "--allow-unsigned", AUTOPILOT_SECRET=SIGNING).code == 0


# --- prune ----------------------------------------------------------------------------------------------------------------


_NOW = datetime.now(UTC)


def aged(directory: Path, file: str, *, days: int) -> str:
    """The same backup, as if taken so long ago; returns its name, the same in every directory."""
    taken_at = _NOW - timedelta(days=days)
    name = f"backup_{taken_at:%Y%m%d_%H%M%S}_{days:08x}.dump"
    (directory / name).write_bytes((directory / file).read_bytes())
    manifest = manifests.read(directory / f"{file}.manifest.json")
    changed = msgspec.structs.replace(manifest, file=name, taken_at=taken_at, run_id=f"{days:08x}", hmac=None)
    manifests.write(changed, directory)
    return name


def test_prune_removes_only_what_is_old_and_beyond_the_last(project: Cli, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    configure(project, "backup_keep_last = 2\n" + store(disk.as_uri()))
    newest = made(project)["file"]
    names = [aged(place, newest, days=days) for place in (project.backups, disk) for days in (20, 40, 50)][:3]
    dry = document(project("backup", "prune", "--dry-run", "--json"))
    assert dry["dry_run"] is True
    for place in dry["places"]:
        assert place["prune"] == names[1:]
        assert [kept["file"] for kept in place["keep"]] == [newest, names[0]]
        assert place["removed"] == []
    assert len(files(project)) == 8
    ran = project("backup", "prune", "--json")
    assert ran.code == 0, ran.err
    assert [place["removed"] for place in document(ran)["places"]] == [names[1:], names[1:]]
    assert files(project) == sorted(name + end for name in (newest, names[0]) for end in ("", ".manifest.json"))
    assert sorted(path.name for path in disk.iterdir()) == files(project)
    assert "not older than 30 days" in project("backup", "prune", "--dry-run").out


def test_after_a_failed_backup_nothing_is_pruned_until_one_succeeds(project: Cli, database: Database) -> None:
    configure(project, "backup_keep_last = 1\n")
    old = aged(project.backups, made(project)["file"], days=40)
    database.run("create role hidden_owner; create table hidden (id int); alter table hidden owner to hidden_owner", admin=True)
    assert project("backup", "create").code == 1
    assert document(project("backup", "prune", "--json"))["places"][0]["removed"] == []
    database.run("drop table hidden; drop role hidden_owner", admin=True)
    made(project)
    assert document(project("backup", "prune", "--json"))["places"][0]["removed"] == [old]


def test_a_backup_of_a_run_that_is_not_settled_is_kept(project: Cli, database: Database) -> None:
    configure(project, "backup_keep_last = 1\n")
    assert project("migrate", "--no-deploy").code == 0
    project.write("20250101090000_more.sql", "create table more (id bigint primary key);\n")
    assert project("migrate", "--no-deploy", "--no-backup").code == 0
    newest = made(project)["file"]
    old = aged(project.backups, newest, days=40)
    database.run(
        f"insert into automation.restore_tests (backup_file, sha256, status, size_bytes) values ('{newest}', 'x', 'success', 1)",
        admin=True,
    )
    insert = "insert into automation.runs (run_id, state, triggered_by, host, tool_version, started_at) values "
    database.run(insert + f"('{40:08x}', 'stranded', 'test', 'test', '0', now())", admin=True)
    (place,) = document(project("backup", "prune", "--dry-run", "--json"))["places"]
    assert place["prune"] == []
    assert [k["why"] for k in place["keep"] if k["file"] == old] == [f"run {40:08x} is not settled"]
    database.run(insert + "('later', 'released', 'test', 'test', '0', now() + interval '1 s')", admin=True)
    (place,) = document(project("backup", "prune", "--dry-run", "--json"))["places"]
    assert place["prune"] == [old]
    database.run("delete from automation.restore_tests", admin=True)
    (place,) = document(project("backup", "prune", "--dry-run", "--json"))["places"]
    assert [k["why"] for k in place["keep"] if k["file"] == old] == ["no newer one was restored yet"]


def test_prune_without_the_database_refuses(project: Cli) -> None:
    made(project)
    ran = project("backup", "prune", "--json", SUPABASE_DB_URL=f"postgresql://u:p@127.0.0.1:{free_port()}/d")
    assert (ran.code, document(ran)["error"]["code"]) == (1, "unreachable")


# --- GnuPG ----------------------------------------------------------------------------------------------------------------


@pytest.fixture
def gnupg(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A GnuPG home with a key pair, and its fingerprint."""
    home = Path("/tmp") / f"gpg-{os.getpid()}-{tmp_path.name[-6:]}"  # its socket's path must be short
    home.mkdir(mode=0o700)
    env = {"PATH": os.environ["PATH"], "GNUPGHOME": str(home)}
    quick = ("gpg", "--batch", "--quiet", "--passphrase", "", "--quick-generate-key", "ops@example.com", "default", "default")
    subprocess.run(quick, env=env, check=True, capture_output=True)
    keys = subprocess.run(("gpg", "--batch", "--with-colons", "--list-keys"), env=env, check=True, capture_output=True, text=True)
    fingerprint = next(line.split(":")[9] for line in keys.stdout.splitlines() if line.startswith("fpr:"))
    yield home, fingerprint
    subprocess.run(("gpgconf", "--kill", "all"), env=env, check=False, capture_output=True)
    subprocess.run(("rm", "-rf", str(home)), check=True)


def test_gnupg_encrypts_and_opens_too(project: Cli, gnupg: tuple[Path, str], tmp_path: Path) -> None:
    home, fingerprint = gnupg
    configure(project, f'backup_recipients = ["gpg:{fingerprint}"]\n')
    file = made(project, GNUPGHOME=str(home))["file"]
    assert file.endswith(".dump.gpg")
    assert files(project) == [file, file + ".manifest.json"]
    opened = project("backup", "verify", "--json", GNUPGHOME=str(home))
    assert (opened.code, document(opened)[0]["read_whole"]) == (0, True), opened.err
    other = tmp_path / "empty"
    other.mkdir(mode=0o700)
    refused = project("backup", "verify", "--json", GNUPGHOME=str(other))
    assert refused.code == 1
    assert "not encrypted to any key that is here" in document(refused)[0]["why_not"]
    unknown = project("backup", "create", "--json", GNUPGHOME=str(other))
    assert (unknown.code, document(unknown)["error"]["code"]) == (1, "encryption_failed")


def test_a_manifest_proves_who_wrote_it_whatever_else_is_in_it() -> None:
    manifest = manifests.Manifest(
        format_version=1, file="backup_20250101_000000_x.dump", size_bytes=1, sha256="0" * 64, taken_at=datetime.now(UTC),
        duration_ms=1, run_id="x", commit_sha=None, database="d", database_oid=1, system_identifier="7" * 19,
        server_version="17", tool="pg_dump", tool_version="17", compression="1", lsn=None, rows={"b.ü": 2, "a": 1},
    )  # fmt: skip
    secret = Secret(SIGNING)
    raw = msgspec.json.format(msgspec.json.encode(manifests.sign(manifest, secret)))
    assert manifests.signature_state(raw, (secret,)) == "valid"
    assert manifests.signature_state(raw.replace(b'"d"', b'"e"'), (secret,)) == "forged"
    assert manifests.signature_state(raw, (Secret("other"),)) == "forged"
