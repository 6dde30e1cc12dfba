"""One contract for every kind of store; and what S3 servers answer, said in words."""

from __future__ import annotations

import hashlib
import threading
import traceback
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx2
import pytest
from tests.s3server import BUCKET, KEY, S3, SECRET, free_port, s3_server

from autopilot.backups import manifest as manifests
from autopilot.backups import stores
from autopilot.backups.manifest import Manifest
from autopilot.backups.stores import Store
from autopilot.backups.stores.objects import Access
from autopilot.errors import Refused, UsageError
from autopilot.secret import Secret

FILE = "backup_20250101_120000_c0ffee.dump.age"
OLDER = "backup_20250101_110000_c0ffee.dump.age"


@pytest.fixture(scope="module")
def server() -> Iterator[S3]:
    with s3_server() as started:
        yield started


def access(endpoint: str, **changes: Any) -> Access:
    given: dict[str, Any] = {
        "access_key_id": Secret(KEY),
        "secret_access_key": Secret(SECRET),
        "region": "us-east-1",
        "endpoint_url": endpoint,
    }
    return Access(**(given | changes))


def bucket(server: S3, url: str = f"s3://{BUCKET}/prod", **changes: Any) -> Store:
    return stores.store(url, required=True, allow_plain=False, access=access(server.endpoint, **changes))


@pytest.fixture(params=sorted(stores.STORES))
def store(request: pytest.FixtureRequest, tmp_path: Path, server: S3) -> Store:
    """One of each kind in the table, empty."""
    if request.param == "s3":
        server.empty()
        return bucket(server)
    place = tmp_path / "disk"
    place.mkdir()
    return stores.store(place.as_uri(), required=True, allow_plain=False, access=Access())


def backup(directory: Path, file: str = FILE, *, size_bytes: int = 100_000) -> tuple[Path, Manifest]:
    """A file as if it were a backup, with its manifest."""
    directory.mkdir(exist_ok=True)
    path = directory / file
    block = hashlib.sha256(file.encode()).digest() * 32768
    with path.open("wb") as stream:
        for start in range(0, size_bytes, len(block)):
            stream.write(block[: size_bytes - start])
    manifest = Manifest(
        format_version=1, file=file, size_bytes=size_bytes, sha256=manifests.sha256(path), taken_at=datetime.now(UTC),
        duration_ms=1, run_id="c0ffee", commit_sha=None, database="app", database_oid=16384, system_identifier="7",
        server_version="17.2", tool="pg_dump", tool_version="17.2", compression="zstd", lsn=None, rows={"public.notes": 2},
        encryption="age", plain_size_bytes=1, plain_sha256="0" * 64,
    )  # fmt: skip
    manifests.write(manifest, directory)
    return path, manifest


def refused(code: str) -> Any:
    return pytest.raises(Refused, check=lambda error: error.code == code and bool(error.hint))


def names(store: Store) -> set[str]:
    return set(store.objects.sizes())


def test_a_new_store_is_empty(store: Store) -> None:
    assert stores.entries(store) == ()


def test_what_was_put_is_listed_and_comes_back(store: Store, tmp_path: Path) -> None:
    path, manifest = backup(tmp_path / "here")
    older, described = backup(tmp_path / "here", OLDER)
    for each in ((path, manifest), (older, described)):
        stores.put(store, *each)
    assert [(e.file, e.state) for e in stores.entries(store, verify=True)] == [(FILE, "good"), (OLDER, "good")]
    to = tmp_path / "back"
    to.mkdir()
    fetched = stores.fetch(store, FILE, to)
    assert fetched.read_bytes() == path.read_bytes()
    assert manifests.path_of(fetched).read_bytes() == manifests.path_of(path).read_bytes()
    assert fetched.stat().st_mode & 0o777 == 0o600
    assert sorted(p.name for p in to.iterdir()) == [FILE, FILE + ".manifest.json"]


def test_a_backup_of_many_parts_is_put_whole(store: Store, tmp_path: Path) -> None:
    path, manifest = backup(tmp_path / "here", size_bytes=(20 << 20) + 7)
    told: list[int] = []
    stores.put(store, path, manifest, progress=told.append)
    assert max(told) == manifest.size_bytes
    (tmp_path / "back").mkdir()
    assert manifests.sha256(stores.fetch(store, FILE, tmp_path / "back")) == manifest.sha256


def test_putting_the_same_twice_changes_nothing(store: Store, tmp_path: Path) -> None:
    made = backup(tmp_path / "here")
    stores.put(store, *made)
    stores.put(store, *made)
    assert names(store) == {FILE, FILE + ".manifest.json"}


@pytest.mark.parametrize("size_bytes", [1000, 17 << 20], ids=["one request", "many parts"])
def test_nothing_is_written_over(store: Store, tmp_path: Path, size_bytes: int) -> None:
    first, _ = backup(tmp_path / "theirs", size_bytes=size_bytes + 1)
    store.objects.put(FILE, first)
    with refused("store_exists"):
        stores.put(store, *backup(tmp_path / "ours", size_bytes=size_bytes))
    assert store.objects.sizes() == {FILE: size_bytes + 1}


def test_a_copy_without_its_manifest_never_counts(store: Store, tmp_path: Path) -> None:
    path, _ = backup(tmp_path / "here")
    store.objects.put(FILE, path)
    (entry,) = stores.entries(store)
    assert entry.state == "no manifest"


def test_a_manifest_without_its_copy_is_missing_it(store: Store, tmp_path: Path) -> None:
    stores.put(store, *backup(tmp_path / "here"))
    store.objects.delete(FILE)
    (entry,) = stores.entries(store)
    assert entry.state == "missing"
    (tmp_path / "back").mkdir()
    with refused("store_lacks"):
        stores.fetch(store, FILE, tmp_path / "back")
    assert list((tmp_path / "back").iterdir()) == []


@pytest.mark.parametrize("change", ["shorter", "longer", "flipped"])
def test_a_copy_that_is_not_what_was_made_is_not_fetched(store: Store, tmp_path: Path, change: str) -> None:
    path, manifest = backup(tmp_path / "here")
    stores.put(store, path, manifest)
    raw = path.read_bytes()
    changed = {"shorter": raw[:-1], "longer": raw + b"!", "flipped": raw[:-1] + bytes([raw[-1] ^ 1])}[change]
    path.write_bytes(changed)
    store.objects.delete(FILE)
    store.objects.put(FILE, path)
    assert stores.entries(store, verify=True)[0].state == "damaged"
    (tmp_path / "back").mkdir()
    with refused("backup_damaged"):
        stores.fetch(store, FILE, tmp_path / "back")
    assert list((tmp_path / "back").iterdir()) == []


def test_a_manifest_of_another_file_is_not_believed(store: Store, tmp_path: Path) -> None:
    path, manifest = backup(tmp_path / "here")
    stores.put(store, path, manifest)
    store.objects.delete(FILE + ".manifest.json")
    other, _ = backup(tmp_path / "here", OLDER)
    store.objects.put(FILE + ".manifest.json", manifests.path_of(other))
    assert stores.entries(store)[0].state == "damaged"
    (tmp_path / "back").mkdir()
    with refused("bad_manifest"):
        stores.fetch(store, FILE, tmp_path / "back")


def test_deleting_takes_both_and_may_be_done_twice(store: Store, tmp_path: Path) -> None:
    stores.put(store, *backup(tmp_path / "here"))
    stores.delete(store, FILE)
    stores.delete(store, FILE)
    assert names(store) == set()


def test_what_is_not_ours_is_not_listed(store: Store, tmp_path: Path) -> None:
    other = tmp_path / "notes.txt"
    other.write_text("mine")
    store.objects.put("notes.txt", other)
    store.objects.put("backup_of_my_own.dump", other)
    assert stores.entries(store) == ()


def test_fetching_over_something_is_refused(store: Store, tmp_path: Path) -> None:
    path, manifest = backup(tmp_path / "here")
    stores.put(store, path, manifest)
    with refused("backup_exists"):
        stores.fetch(store, FILE, tmp_path / "here")


# --- S3 -------------------------------------------------------------------------------------------------------------------


def test_a_bucket_that_is_not_there_is_said(server: S3, tmp_path: Path) -> None:
    store = bucket(server, "s3://no-such-bucket/prod")
    with refused("store_missing"):
        stores.put(store, *backup(tmp_path / "here"))
    with refused("store_missing"):
        stores.entries(store)


def test_an_endpoint_that_does_not_answer_is_said(tmp_path: Path) -> None:
    nowhere = S3(endpoint=f"http://127.0.0.1:{free_port()}")
    for size_bytes in (1000, 17 << 20):
        with refused("store_unreachable") as caught:
            stores.put(bucket(nowhere), *backup(tmp_path / "here", size_bytes=size_bytes))
        assert caught.value.retryable


class Between(ThreadingHTTPServer):
    """Stands between us and the real server, and has its own ideas."""

    def __init__(self, server: S3, *, no_conditions: bool = False, bends: bool = False) -> None:
        super().__init__(("127.0.0.1", 0), _Passing)
        self.behind, self.no_conditions, self.bends = server.endpoint, no_conditions, bends

    def __enter__(self) -> S3:  # type: ignore[override]
        threading.Thread(target=self.serve_forever, daemon=True).start()
        return S3(endpoint=f"http://127.0.0.1:{self.server_port}")

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()


class _Passing(BaseHTTPRequestHandler):
    server: Between

    def _pass_on(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        if self.server.no_conditions and "if-none-match" in self.headers:
            self._answer(501, {}, b"<Error><Code>NotImplemented</Code></Error>")
            return
        headers = {name: value for name, value in self.headers.items() if name.lower() not in {"host", "connection"}}
        reply = httpx2.request(self.command, self.server.behind + self.path, headers=headers, content=body)
        found = reply.content
        if self.server.bends and self.command == "GET" and ".dump" in self.path and found:
            found = found[:-1] + bytes([found[-1] ^ 1])
        self._answer(reply.status_code, dict(reply.headers), found)

    def _answer(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.send_response(status)
        for name, value in headers.items():
            if name.lower() not in {"content-length", "transfer-encoding", "connection", "date", "server"}:
                self.send_header(name, value)
        length = len(body) if self.command != "HEAD" else int(headers.get("content-length", 0))
        self.send_header("content-length", str(length))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = _pass_on  # noqa: N815

    def log_message(self, *_: object) -> None:
        pass


def test_a_store_that_knows_no_conditions_is_asked_first(server: S3, tmp_path: Path) -> None:
    server.empty()
    with Between(server, no_conditions=True) as old:
        path, manifest = backup(tmp_path / "here")
        stores.put(bucket(old), path, manifest)
        assert server.read(f"prod/{FILE}") == path.read_bytes()
        with refused("store_exists"):
            bucket(old).objects.put(FILE, path)


@pytest.mark.parametrize("size_bytes", [1000, 17 << 20], ids=["one request", "many parts"])
def test_a_store_that_gives_back_something_else_is_found_out(server: S3, tmp_path: Path, size_bytes: int) -> None:
    server.empty()
    with Between(server, bends=True) as bad, refused("store_damaged"):
        stores.put(bucket(bad), *backup(tmp_path / "here", size_bytes=size_bytes))
    assert server.names() == []


def test_keys_that_are_not_accepted_are_said_and_not_shown(tmp_path: Path) -> None:
    with s3_server(free_actions=1) as strict:
        for size_bytes in (1000, 17 << 20):
            with refused("store_denied") as caught:
                stores.put(bucket(strict), *backup(tmp_path / "here", size_bytes=size_bytes))
            words = caught.value.hint + "".join(traceback.format_exception(caught.value))
            assert KEY not in words
            assert SECRET not in words
            assert strict.endpoint not in words


@pytest.mark.parametrize(
    "url", ["s3://key:secret-word@bucket/x", "s3://bucket/x?secret-word", "s3://bucket/x#secret-word", "s3://[secret-word/x"]
)
def test_an_address_with_more_than_a_place_is_refused_without_repeating_it(url: str) -> None:
    with pytest.raises(UsageError) as caught:
        stores.store(url, required=True, allow_plain=True, access=access("http://127.0.0.1:1"))
    assert caught.value.code == "bad_store"


@pytest.mark.parametrize(
    ("endpoint", "is_fine"),
    [
        ("https://s3.example.com", True),
        ("http://localhost:9000", True),
        ("http://minio:9000", True),
        ("http://10.0.0.3", True),
        ("http://s3.example.com", False),
        ("https://key:word@s3.example.com", False),
        ("s3.example.com", False),
        ("https://", False),
    ],
)
def test_an_endpoint_is_reached_encrypted_or_near(endpoint: str, is_fine: bool) -> None:
    if is_fine:
        bucket(S3(endpoint=endpoint))
        return
    with pytest.raises(UsageError) as caught:
        bucket(S3(endpoint=endpoint))
    assert caught.value.code == "bad_store"
    assert "word" not in str(caught.value)


def test_the_keys_do_not_show_themselves(server: S3) -> None:
    assert KEY not in repr(bucket(server))
    assert SECRET not in repr(bucket(server))
