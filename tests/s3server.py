"""A real S3-compatible server (moto's) on loopback, as a process of its own."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

KEY, SECRET = "AKIATESTTESTTESTTEST", "test-secret-access-key-0123456789abcdef"
BUCKET = "copies"


@dataclass(frozen=True, kw_only=True)
class S3:
    endpoint: str

    def environment(self, **changes: str) -> dict[str, Any]:
        return {
            "AWS_ACCESS_KEY_ID": KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_REGION": "us-east-1",
            "AWS_ENDPOINT_URL": self.endpoint,
        } | changes

    def client(self) -> Any:
        import boto3

        return boto3.client(
            "s3", endpoint_url=self.endpoint, aws_access_key_id=KEY, aws_secret_access_key=SECRET, region_name="us-east-1"
        )

    def names(self, bucket: str = BUCKET) -> list[str]:
        return sorted(item["Key"] for item in self.client().list_objects_v2(Bucket=bucket).get("Contents", []))

    def read(self, name: str) -> bytes:
        found: bytes = self.client().get_object(Bucket=BUCKET, Key=name)["Body"].read()
        return found

    def write(self, name: str, body: bytes) -> None:
        self.client().put_object(Bucket=BUCKET, Key=name, Body=body)

    def empty(self) -> None:
        for name in self.names():
            self.client().delete_object(Bucket=BUCKET, Key=name)


@contextlib.contextmanager
def s3_server(*, free_actions: int | None = None) -> Iterator[S3]:
    """With `free_actions`, keys are checked once so many requests were answered: none of ours is known there."""
    env = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR") if name in os.environ}
    if free_actions is not None:
        env["INITIAL_NO_AUTH_ACTION_COUNT"] = str(free_actions)
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        found = S3(endpoint=f"http://127.0.0.1:{port}")
        _until_it_answers(found, process)
        found.client().create_bucket(Bucket=BUCKET)
        yield found
    finally:
        process.terminate()
        process.wait(20)


def _until_it_answers(server: S3, process: subprocess.Popen[bytes]) -> None:
    deadline_s = time.monotonic() + 60
    while True:
        try:
            with urllib.request.urlopen(f"{server.endpoint}/moto-api/", timeout=5):
                return
        except (urllib.error.URLError, OSError):
            assert process.poll() is None
            assert time.monotonic() < deadline_s
            time.sleep(0.1)


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])
