"""Image bytes over real HTTP: a small server plays Label Studio and a foreign host."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from backend.label_studio.client import Studio, StudioAway, Task
from backend.label_studio.images import Pictures
from model.data.images import ImageError


def png() -> bytes:
    out = io.BytesIO()
    Image.fromarray(np.full((8, 12, 3), 200, np.uint8)).save(out, "PNG")
    return out.getvalue()


class Server(ThreadingHTTPServer):
    """Remembers what it was asked, with which authorization."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: list[tuple[str, str | None]] = []
        self.redirect_to = ""
        self.url = f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.asked.append((self.path, self.headers.get("Authorization")))
        if "presign" in self.path:
            self.send_response(302)
            self.send_header("Location", self.server.redirect_to)
            self.end_headers()
            return
        missing, body = "gone" in self.path, b"no picture" if "bad" in self.path else png()
        self.send_response(404 if missing else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: object) -> None:
        """Be quiet."""


@pytest.fixture
def servers() -> Iterator[tuple[Server, Server]]:
    made = (Server(), Server())
    for server in made:
        threading.Thread(target=server.serve_forever, daemon=True).start()
    yield made
    for server in made:
        server.shutdown()
        server.server_close()


@pytest.fixture
def pictures(servers: tuple[Server, Server], tmp_path: Path) -> Pictures:
    return Pictures(Studio(servers[0].url, "1" * 40), tmp_path, 1.0)


def task(image: object, number: int = 1) -> Task:
    return Task(number, {"image": image})


@pytest.mark.parametrize("reference", ["/data/upload/1/a.png", "/data/local-files/?d=x/a.png", "upload/1/a.png"])
def test_label_studios_own_files_are_read_with_the_token_once(
    pictures: Pictures, servers: tuple[Server, Server], reference: str
) -> None:
    assert pictures.decode(task(reference), "image").shape == (8, 12, 3)
    pictures.decode(task(reference), "image")
    assert len(servers[0].asked) == 1
    assert servers[0].asked[0][1] == "Token " + "1" * 40


def test_other_hosts_never_see_the_token(pictures: Pictures, servers: tuple[Server, Server]) -> None:
    pictures.read(task(f"{servers[1].url}/a.png"), "image")
    assert servers[1].asked == [("/a.png", None)]


def test_cloud_uris_go_through_label_studio_and_its_redirect_loses_the_token(
    pictures: Pictures, servers: tuple[Server, Server]
) -> None:
    servers[0].redirect_to = f"{servers[1].url}/signed.png"
    pictures.read(task("s3://bucket/a.png", 17), "image")
    asked, token = servers[0].asked[0]
    assert asked.startswith("/tasks/17/presign/?fileuri=")
    assert token
    assert servers[1].asked == [("/signed.png", None)]


@pytest.mark.parametrize(
    ("image", "said"),
    [
        ("/data/upload/1/gone.png", "404"),
        ("/data/upload/1/bad.png", "cannot be decoded"),
        ("ftp://host/a.png", "not an upload"),
        (None, "has no image"),
        (7, "has no image"),
    ],
)
def test_an_image_that_cannot_be_read_names_its_task_and_why(pictures: Pictures, image: object, said: str) -> None:
    with pytest.raises(ImageError, match=said) as error:
        pictures.decode(task(image, 42), "image")
    assert "task 42" in str(error.value)


def test_a_stream_goes_on_after_a_broken_image(pictures: Pictures) -> None:
    tasks = [task(f"/data/upload/1/{name}.png", k) for k, name in enumerate(("a", "gone", "b", "bad", "c"))]
    failed: list[str] = []
    assert [t.id for t, _ in pictures.stream(tasks, "image", failed)] == [0, 2, 4]
    assert len(failed) == 2


def test_a_dead_label_studio_is_not_taken_for_a_broken_image(tmp_path: Path) -> None:
    with pytest.raises(StudioAway, match="does not answer"):
        Pictures(Studio("http://127.0.0.1:9", "1" * 40), tmp_path, 1.0).read(task("/data/upload/1/a.png"), "image")
