"""An S3 service of its own, and places of every kind that MODEL_DIR may name."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import s3fs
from moto.server import ThreadedMotoServer

BUCKET = "mgral"


@contextmanager
def s3_service() -> Iterator[str]:
    """Its address, while it runs; the environment names it and keys for it, and there is a bucket."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    try:
        with pytest.MonkeyPatch.context() as environment:
            address = "http://{}:{}".format(*server.get_host_and_port())
            environment.setenv("AWS_ENDPOINT_URL", address)
            environment.setenv("AWS_ACCESS_KEY_ID", "test")
            environment.setenv("AWS_SECRET_ACCESS_KEY", "test")
            environment.setenv("AWS_DEFAULT_REGION", "us-east-1")
            with suppress(FileExistsError):  # the services of one process share their buckets
                s3fs.S3FileSystem(skip_instance_cache=True).mkdir(BUCKET)
            yield address
    finally:
        server.stop()


def place(kind: str, tmp_path: Path) -> str:
    """An empty MODEL_DIR: a "directory", or the URL of a "file", "memory" or "s3" place; the last needs a service."""
    return {
        "directory": str(tmp_path / "models"),
        "file": f"file://{tmp_path}/models",
        "memory": f"memory://{uuid.uuid4().hex}/models",
        "s3": f"s3://{BUCKET}/{uuid.uuid4().hex}",
    }[kind]
