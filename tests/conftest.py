"""What every test shares: quiet threads, a private Redis."""

from __future__ import annotations

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch: spinning threads starve a busy machine

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from backend.local import LocalStack
from backend.settings import Settings


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    directory = Path(tempfile.mkdtemp(prefix="mgral-redis-", dir="/tmp"))  # a Unix socket's path must be short
    try:
        with LocalStack(directory) as stack:
            stack.start_redis()
            yield stack.redis_url
    finally:
        shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture
def settings(redis_url: str, tmp_path: Path) -> Settings:
    """Settings of their own queue and directories for each test."""
    return Settings(
        _env_file=None,
        redis_url=redis_url,
        queue_name=tmp_path.name,
        model_dir=tmp_path / "models",
        cache_dir=tmp_path / "cache",
        label_studio_url="http://127.0.0.1:9",
        label_studio_api_key="0" * 40,
        weights="starter",
        image_size=64,
    )
