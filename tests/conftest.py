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


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist reads the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Two processes share the tests: what needs the installation stays in one, which begins with it; of the rest a
    file's tests stay together, for the sake of their fixtures."""
    end_to_end = Path(__file__).parent / "e2e"
    for item in items:
        group = "e2e" if end_to_end in item.path.parents else str(item.path)
        item.add_marker(pytest.mark.xdist_group(group))
    items.sort(key=lambda item: end_to_end not in item.path.parents)


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
