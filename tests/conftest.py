"""What every test shares: quiet threads, a private Redis."""

from __future__ import annotations

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch: spinning threads starve a busy machine
os.environ.setdefault("OMP_NUM_THREADS", "1")  # the suite runs in more processes than there are cores

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

from backend.commands.local import LocalStack
from backend.settings import Settings

E2E = "tests/e2e/"
WORKERS_LOST = tuple(f"{E2E}test_{name}" for name in ("bucket", "cycle", "worker_lost"))
TOGETHER = (E2E, "tests/model/detectors/")


class _ByFile(LoadScopeScheduling):
    """Four processes share the tests. What needs an installation is in two of them, each with its own, which mostly
    wait for it: one keeps its worker, one starts and kills several. What needs the detectors of all families is in one;
    of the rest a file's tests stay together, for the sake of their fixtures."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        if file.startswith(WORKERS_LOST):
            return "workers lost"
        return next((folder for folder in TOGETHER if file.startswith(folder)), file)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling:
    return _ByFile(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest part first: the end-to-end tests."""
    items.sort(key=lambda item: (not item.nodeid.startswith(E2E), not item.nodeid.startswith(WORKERS_LOST)))


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
