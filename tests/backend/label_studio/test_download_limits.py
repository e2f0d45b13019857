"""What strangers' addresses may cost, over real HTTP: how long, how many at once, how large."""

from __future__ import annotations

import gzip
import socket
import threading
import time
import tracemalloc
from dataclasses import replace
from pathlib import Path

import pytest

from backend.label_studio.client import Studio, Task
from backend.label_studio.downloads import Limits
from backend.label_studio.images import Pictures
from backend.networks import Networks
from model.data.images import ImageError
from tests.backend.label_studio.web import TOKEN, Answer, running
from tests.patience import AT_ONCE_SECONDS

HERE = Limits(networks=Networks.parse("127.0.0.0/8"))


@pytest.fixture(scope="module")
def nowhere() -> Studio:
    """A Label Studio that does not answer."""
    return Studio("http://127.0.0.1:9", TOKEN)


def task(image: str) -> Task:
    return Task(1, {"image": image})


@pytest.mark.parametrize("own", [True, False])
def test_a_host_that_accepts_and_never_answers_costs_the_deadline(tmp_path: Path, own: bool) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        studio = Studio(url if own else "http://127.0.0.1:9", TOKEN)
        pictures = Pictures(studio, tmp_path, 1.0, replace(HERE, seconds=0.5))
        start, threads = time.monotonic(), threading.active_count()
        with pytest.raises(ImageError, match=r"was not there after|timed out"):
            pictures.read(task("/data/upload/1/a.png" if own else f"{url}/a.png"), "image")
        assert time.monotonic() - start < AT_ONCE_SECONDS
        for _ in range(20):  # the thread that asked has ended too
            if threading.active_count() <= threads:
                return
            time.sleep(0.05)
        raise AssertionError(f"{threading.active_count()} threads, {threads} before")


def test_all_that_a_request_waits_for_has_one_end(nowhere: Studio, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        limits = replace(HERE, at_once=3, until=time.monotonic() + 0.7)
        pictures = Pictures(nowhere, tmp_path, 1.0, limits)
        start, failed = time.monotonic(), list[str]()
        tasks = [task(f"http://127.0.0.1:{silent.getsockname()[1]}/{k}.png") for k in range(20)]
        assert list(pictures.stream(tasks, "image", failed)) == []
        assert time.monotonic() - start < AT_ONCE_SECONDS
        assert len(failed) == 20


def test_no_more_are_fetched_at_once_than_allowed(nowhere: Studio, tmp_path: Path) -> None:
    with running() as host:
        pictures = Pictures(nowhere, tmp_path, 1.0, replace(HERE, at_once=2, seconds=1.0))
        tasks = [task(f"{host.url}/slow{k}.png") for k in range(6)]
        reading = threading.Thread(target=lambda: list(pictures.stream(tasks, "image", [])))
        reading.start()
        time.sleep(0.7)
        assert len(host.asked) == 2, "the others wait for their turn"
        reading.join()


@pytest.mark.parametrize("way", ["declared", "not declared", "packed"])
def test_a_file_that_is_too_large_is_not_read_to_its_end(nowhere: Studio, tmp_path: Path, way: str) -> None:
    zeros = b"\0" * 3_000_000
    with running() as host:
        packed = gzip.compress(zeros)
        answers = {
            "declared": Answer(body=zeros),
            "not declared": Answer(body=zeros, length=0),
            "packed": Answer(body=packed, headers={"Content-Encoding": "gzip"}),
        }
        answers["not declared"].headers["Transfer-Encoding"] = "chunked"
        if way == "not declared":
            answers[way].body = b"%x\r\n" % len(zeros) + zeros + b"\r\n0\r\n\r\n"
        host.answers["/"] = [answers[way]]
        pictures = Pictures(nowhere, tmp_path, 1.0, replace(HERE, megabytes=1.0))
        with pytest.raises(ImageError, match=r"is larger than 1 MB: IMAGE_MEGABYTES"):
            pictures.read(task(f"{host.url}/a.png"), "image")


def test_what_a_redirect_says_beside_its_target_is_not_read(nowhere: Studio, tmp_path: Path) -> None:
    with running() as host:
        host.answers["/a.png"] = [Answer(302, b"x" * 50_000_000, {"Location": "/b.png"})]
        pictures = Pictures(nowhere, tmp_path, 1.0, HERE)
        tracemalloc.start()
        try:
            pictures.read(task(f"{host.url}/a.png"), "image")
            assert tracemalloc.get_traced_memory()[1] < 20e6
        finally:
            tracemalloc.stop()
    assert [path for path, _ in host.asked] == ["/a.png", "/b.png"]
