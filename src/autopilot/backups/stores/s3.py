"""Any S3-compatible object store: AWS, Supabase Storage, Cloudflare R2, MinIO, …"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, TypeVar
from urllib.parse import urlsplit

from autopilot.backups import manifest as manifests
from autopilot.backups.stores.objects import Access, Objects
from autopilot.errors import Refused, UsageError
from autopilot.meanwhile import meanwhile
from autopilot.postgres import tls

if TYPE_CHECKING:
    from obstore.store import S3Config, S3Store

T = TypeVar("T")

_PART_BYTES = 8 << 20
#: S3 takes at most 10,000 parts.
_MOST_PARTS = 9_000
#: Up to this size one request does it, and the store itself refuses to write over something.
_ONE_REQUEST_BYTES = 16 << 20
_READ_BYTES = 4 << 20
_CONNECT = timedelta(seconds=10)
_SILENCE = timedelta(seconds=60)
_REQUEST = timedelta(hours=12)
_TRIES = 3
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,61}[A-Za-z0-9]")
_CODE = re.compile(r"<Code>(\w{1,64})</Code>")
_STATUS = re.compile(r"status code: (\d{3})")


def opened(url: str, access: Access) -> Objects:
    """Raises UsageError (`bad_store`, `no_store_keys`)."""
    parts = urlsplit(url)
    bucket, prefix = parts.netloc, parts.path.strip("/")
    if not _BUCKET.fullmatch(bucket) or "//" in prefix or ".." in prefix.split("/"):
        raise _bad(url, "is not s3://bucket/prefix", "Name the bucket and, after a slash, a prefix of your choice.")
    if access.access_key_id is None or access.secret_access_key is None:
        raise UsageError(
            f"No keys for the backup store {url} are set.",
            code="no_store_keys",
            hint="Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (and AWS_REGION, AWS_ENDPOINT_URL where it is not AWS).",
        )
    return _Bucket(url=url, bucket=bucket, prefix=prefix, access=access, allow_http=_allow_http(url, access.endpoint_url))


def _allow_http(url: str, endpoint_url: str) -> bool:
    """Unencrypted to this machine and private addresses only, as to databases."""
    if not endpoint_url:
        return False
    try:
        parts = urlsplit(endpoint_url)
        host, fine = parts.hostname or "", parts.scheme in {"http", "https"} and parts.username is None and (parts.port or 1) > 0
    except ValueError:
        host, fine = "", False
    if not host or not fine:
        raise _bad(url, "cannot be reached: AWS_ENDPOINT_URL is no http(s) URL", "Set it to https://HOST, without user or key.")
    if parts.scheme == "http" and tls.place({"host": host}) == "remote":
        raise _bad(url, "would be reached unencrypted: AWS_ENDPOINT_URL begins with http:", "Write https:// there.")
    return parts.scheme == "http"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Bucket:
    url: str
    bucket: str
    prefix: str
    access: Access
    allow_http: bool

    def put(self, name: str, source: Path, *, midway: Callable[[], None] = lambda: None) -> None:
        with manifests.regular(source) as stream, self._told(name):
            _waited(lambda: self._put(name, stream, source.stat().st_size, midway))

    def _put(self, name: str, stream: BinaryIO, size_bytes: int, midway: Callable[[], None]) -> None:
        import obstore

        store = self._store()
        if size_bytes <= _ONE_REQUEST_BYTES:
            midway()
            if self._put_at_once(store, name, stream.read()):
                return
        # Parts cannot be put on a condition; a name holds its run's random id, so that only the same file would race.
        if name in self._listed(store):
            raise _exists(self.url, name)
        stream.seek(0)
        part_bytes = max(_PART_BYTES, -(-size_bytes // _MOST_PARTS))
        obstore.put(
            store, name, _pieces(stream, part_bytes, midway), use_multipart=True, chunk_size=part_bytes, max_concurrency=4
        )

    def _put_at_once(self, store: S3Store, name: str, body: bytes) -> bool:
        """Whether it is done: some stores do not know how to refuse writing over something, and say so."""
        import obstore
        import obstore.exceptions

        try:
            obstore.put(store, name, body, mode="create", use_multipart=False)
        except obstore.exceptions.BaseError as cause:
            if not {"NotImplemented", "501"} & set(_answers(str(cause))):
                raise
            return False
        return True

    def chunks(self, name: str) -> Iterator[bytes]:
        import obstore

        with self._told(name):
            pieces = iter(_waited(lambda: obstore.get(self._store(), name).stream(min_chunk_size=_READ_BYTES)))
            while (piece := _waited(lambda: next(pieces, None))) is not None:
                yield bytes(piece)

    def sizes(self) -> Mapping[str, int]:
        with self._told("it"):
            return _waited(lambda: self._listed(self._store()))

    def require_room(self, size_bytes: int) -> None:
        """Whether what lies there is listed is asked by whoever wants the sizes; more shows only when something is put."""

    def delete(self, name: str) -> None:
        import obstore

        with self._told(name):
            _waited(lambda: obstore.delete(self._store(), name))

    def _listed(self, store: S3Store) -> Mapping[str, int]:
        import obstore

        return {item["path"]: item["size"] for page in obstore.list(store) for item in page if "/" not in item["path"]}

    def _store(self) -> S3Store:
        from obstore.store import S3Store

        access = self.access
        if access.access_key_id is None or access.secret_access_key is None:  # pragma: no cover - `opened` saw to it
            raise AssertionError
        config: S3Config = {
            "access_key_id": access.access_key_id.reveal(),
            "secret_access_key": access.secret_access_key.reveal(),
            "region": access.region or "us-east-1",
        }
        if access.session_token is not None:
            config["session_token"] = access.session_token.reveal()
        if access.endpoint_url:
            config["endpoint"] = access.endpoint_url
        return S3Store(
            self.bucket, prefix=self.prefix or None, config=config,
            client_options={
                "allow_http": self.allow_http, "connect_timeout": _CONNECT, "read_timeout": _SILENCE, "timeout": _REQUEST,
            },
            retry_config={"max_retries": _TRIES, "retry_timeout": timedelta(minutes=2)},
        )  # fmt: skip

    @contextmanager
    def _told(self, name: str) -> Iterator[None]:
        """What the store answers, in words of ours: its own hold addresses and keys' names."""
        import obstore.exceptions

        try:
            yield
        except (obstore.exceptions.BaseError, FileNotFoundError) as cause:
            raise _failure(self.url, name, cause) from None


def _pieces(stream: BinaryIO, part_bytes: int, midway: Callable[[], None]) -> Iterator[bytes]:
    yield stream.read(part_bytes)
    midway()
    while piece := stream.read(part_bytes):
        yield piece


def _waited(work: Callable[[], T]) -> T:
    """The result of a request, which Ctrl-C and SIGTERM do not wait for: obstore itself hears no signal before its end."""
    return meanwhile(work, name="store")()


#: What an S3 store calls it → our code, what it means, what to do.
_ANSWERS = {
    "NoSuchBucket": ("store_missing", "has no such bucket", "Make the bucket, or correct its name in autopilot.toml."),
    "NoSuchKey": ("store_lacks", "holds no {name}", "`autopilot backup list` shows what lies where."),
    "404": ("store_lacks", "holds no {name}", "`autopilot backup list` shows what lies where."),
    "PreconditionFailed": ("store_exists", "holds a {name} already", "Remove that one by hand: nothing is written over it."),
    "412": ("store_exists", "holds a {name} already", "Remove that one by hand: nothing is written over it."),
    "ExpiredToken": ("store_denied", "says that the token has expired", "Get new AWS_… keys."),
    "RequestTimeTooSkewed": ("store_denied", "says that this machine's clock is wrong", "Set the clock."),
    "401": ("store_denied", "does not accept the keys", "Check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN."),
    "403": ("store_denied", "does not accept the keys, or they may not do this", "Check the AWS_… keys and their rights."),
    "301": ("store_failed", "is in another region", "Set AWS_REGION to the bucket's."),
}  # fmt: skip


def _failure(url: str, name: str, cause: Exception) -> Refused:
    words = str(cause)
    keys = _answers(words)
    for key in keys:
        if key in _ANSWERS:
            code, means, hint = _ANSWERS[key]
            return Refused(f"The backup store {url} {means.format(name=name)}.", code=code, hint=hint)
    if not keys and "already exists" in words:
        return _exists(url, name)
    if not keys:
        return Refused(
            f"The backup store {url} does not answer.",
            code="store_unreachable",
            hint="Check AWS_ENDPOINT_URL, AWS_REGION and the network, then run again.",
            retryable=True,
        )
    return Refused(
        f"The backup store {url} failed ({', '.join(keys)}).",
        code="store_failed",
        hint="See what it says of that.",
        retryable=True,
    )


def _answers(words: str) -> list[str]:
    """The store's own code and the HTTP status, where it answered."""
    return [match[1] for match in (_CODE.search(words), _STATUS.search(words)) if match is not None]


def _exists(url: str, name: str) -> Refused:
    code, means, hint = _ANSWERS["412"]
    return Refused(f"The backup store {url} {means.format(name=name)}.", code=code, hint=hint)


def _bad(url: str, why: str, hint: str) -> UsageError:
    return UsageError(f"The backup store {url} {why}.", code="bad_store", hint=hint)
