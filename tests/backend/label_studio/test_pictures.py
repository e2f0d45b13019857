"""Image bytes over real HTTP: a small server plays Label Studio and a foreign host."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from backend.label_studio.client import Studio, StudioAway, StudioError, Task
from backend.label_studio.downloads import Limits
from backend.label_studio.images import Pictures
from backend.networks import Networks
from model.data.images import ImageError
from tests.backend.label_studio.web import PAGE, TOKEN, Answer, Server, png, running
from tests.patience import AT_ONCE_SECONDS

HERE = Limits(networks=Networks.parse("127.0.0.0/8"))


@pytest.fixture
def servers() -> Iterator[tuple[Server, Server]]:
    with running() as studio, running() as other:
        yield studio, other


@pytest.fixture
def pictures(servers: tuple[Server, Server], tmp_path: Path) -> Pictures:
    return Pictures(Studio(servers[0].url, TOKEN), tmp_path, 1.0, HERE)


def broken(server: Server) -> None:
    server.answers["/data/upload/1/gone"] = [Answer(404, b"")]
    server.answers["/data/upload/1/bad"] = [Answer(body=b"no picture")]


def task(image: object, number: int = 1) -> Task:
    return Task(number, {"image": image})


@pytest.mark.parametrize("reference", ["/data/upload/1/a.png", "/data/local-files/?d=x/a.png", "upload/1/a.png"])
def test_label_studios_own_files_are_read_with_the_token_once(
    pictures: Pictures, servers: tuple[Server, Server], reference: str
) -> None:
    assert pictures.decode(task(reference), "image").shape == (8, 12, 3)
    pictures.decode(task(reference), "image")
    assert len(servers[0].asked) == 1
    assert servers[0].asked[0][1] == f"Token {TOKEN}"


def test_other_hosts_never_see_the_token(pictures: Pictures, servers: tuple[Server, Server]) -> None:
    pictures.read(task(f"{servers[1].url}/a.png"), "image")
    assert servers[1].asked == [("/a.png", None)]


def test_cloud_uris_go_through_label_studio_and_its_redirect_loses_the_token(
    pictures: Pictures, servers: tuple[Server, Server]
) -> None:
    servers[0].answers["/tasks/"] = [Answer(302, headers={"Location": f"{servers[1].url}/signed.png"})]
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
        (7, "holds a int, '7' under 'image'"),
        (["/a.png", "/b.png"], "holds a list"),
        ("  ", "has no image"),
        ("data:image/png;base64,iVBORw0KGgo", "cannot be decoded"),
        ("data:image/png;base64,i", "base64 cannot be read"),
        ("data:nothing", "without a comma"),
    ],
)
def test_an_image_that_cannot_be_read_names_its_task_and_why(
    pictures: Pictures, servers: tuple[Server, Server], image: object, said: str
) -> None:
    broken(servers[0])
    with pytest.raises(ImageError, match=said) as error:
        pictures.decode(task(image, 42), "image")
    assert "task 42" in str(error.value)


@pytest.mark.parametrize("name", ["slow.png", "slow%20head.png"])
def test_an_image_that_drips_is_given_up_at_the_deadline(
    servers: tuple[Server, Server], tmp_path: Path, name: str
) -> None:
    pictures = Pictures(Studio(servers[0].url, TOKEN), tmp_path, 1.0, replace(HERE, seconds=1.0))
    start = time.monotonic()
    with pytest.raises(ImageError, match=r"of task 42: was not there after 1 s.*IMAGE_SECONDS") as error:
        pictures.read(task(f"{servers[1].url}/{name}", 42), "image")
    assert name in str(error.value)
    assert time.monotonic() - start < AT_ONCE_SECONDS
    assert servers[1].left.wait(5), "the connection was not ended"


def test_what_a_stream_leaves_out_is_noted(servers: tuple[Server, Server], tmp_path: Path) -> None:
    broken(servers[0])
    noted: list[tuple[int, str]] = []
    studio = Studio(servers[0].url, TOKEN)
    pictures = Pictures(studio, tmp_path, 1.0, HERE, note=lambda task, why: noted.append((task.id, why)))
    assert list(pictures.stream([task("/data/upload/1/gone.png", 7)], "image")) == []
    assert [number for number, _ in noted] == [7]
    assert "404" in noted[0][1]


def test_a_stream_goes_on_after_a_broken_image(pictures: Pictures, servers: tuple[Server, Server]) -> None:
    broken(servers[0])
    tasks = [task(f"/data/upload/1/{name}.png", k) for k, name in enumerate(("a", "gone", "b", "bad", "c"))]
    failed: list[str] = []
    assert [t.id for t, _ in pictures.stream(tasks, "image", failed)] == [0, 2, 4]
    assert len(failed) == 2


def test_a_dead_label_studio_is_not_taken_for_a_broken_image(tmp_path: Path) -> None:
    with pytest.raises(StudioAway, match="does not answer"):
        Pictures(Studio("http://127.0.0.1:9", TOKEN), tmp_path, 1.0, HERE).read(task("/data/upload/1/a.png"), "image")


# -- names of Label Studio ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "reference", ["/ls/data/upload/1/a.png", "/data/upload/1/a.png", "{url}/ls/data/upload/1/a.png"]
)
def test_uploads_below_a_path_are_read(servers: tuple[Server, Server], tmp_path: Path, reference: str) -> None:
    pictures = Pictures(Studio(f"{servers[0].url}/ls", TOKEN), tmp_path, 1.0, HERE)
    pictures.read(task(reference.format(url=servers[0].url)), "image")
    assert servers[0].asked == [("/ls/data/upload/1/a.png", f"Token {TOKEN}")]


def test_a_public_name_is_asked_inside_with_the_token(servers: tuple[Server, Server], tmp_path: Path) -> None:
    pictures = Pictures(Studio(servers[0].url, TOKEN, [servers[1].url]), tmp_path, 1.0, HERE)
    pictures.read(task(f"{servers[1].url}/data/local-files/?d=x/a%20b.png"), "image")
    assert servers[0].asked == [("/data/local-files/?d=x/a%20b.png", f"Token {TOKEN}")]
    assert servers[1].asked == []


@pytest.mark.parametrize(
    "answer", [Answer(401, b"{}"), Answer(403, b""), Answer(200, PAGE)], ids=["401", "403", "page"]
)
def test_a_name_that_refuses_is_taken_for_label_studios_once_its_file_is_found_inside(
    servers: tuple[Server, Server], pictures: Pictures, answer: Answer
) -> None:
    studio, public = servers
    public.answers["/"] = [answer]
    for number in (1, 2):
        pictures.read(task(f"{public.url}/data/upload/{number}/a.png"), "image")
    assert public.asked == [("/data/upload/1/a.png", None)]
    assert studio.asked == [(f"/data/upload/{number}/a.png", f"Token {TOKEN}") for number in (1, 2)]


def test_a_public_name_that_is_not_reached_from_here_is_asked_inside(
    servers: tuple[Server, Server], pictures: Pictures
) -> None:
    pictures.read(task("http://127.0.0.1:9/ls/tasks/3/resolve/?fileuri=czM6Ly8"), "image")
    assert servers[0].asked == [("/tasks/3/resolve/?fileuri=czM6Ly8", f"Token {TOKEN}")]


def test_an_image_that_neither_name_gives_names_the_setting(servers: tuple[Server, Server], pictures: Pictures) -> None:
    servers[0].answers["/data/"] = [Answer(404, b"")]
    servers[1].answers["/data/"] = [Answer(401, b"")]
    with pytest.raises(ImageError, match=r"answered 401 .* answered 404 .* set LABEL_STUDIO_PUBLIC_URL"):
        pictures.read(task(f"{servers[1].url}/data/upload/1/a.png"), "image")


def test_other_folders_of_its_host_never_see_the_token(servers: tuple[Server, Server], tmp_path: Path) -> None:
    pictures = Pictures(Studio(f"{servers[0].url}/ls", TOKEN), tmp_path, 1.0, HERE)
    for path in ("/elsewhere/a.png", "/ls/../b.png", "/ls/%2e%2e/c.png", "/lsx/d.png"):
        pictures.read(task(servers[0].url + path), "image")
    assert [token for _, token in servers[0].asked] == [None] * 4


def test_a_redirect_to_the_public_name_stays_inside(servers: tuple[Server, Server], tmp_path: Path) -> None:
    studio, public = servers
    studio.answers["/tasks/"] = [Answer(302, headers={"Location": f"{public.url}/data/upload/1/a.png"})]
    Pictures(Studio(studio.url, TOKEN, [public.url]), tmp_path, 1.0, HERE).read(task("gs://bucket/a.png"), "image")
    assert studio.asked[1] == ("/data/upload/1/a.png", f"Token {TOKEN}")
    assert public.asked == []


def test_a_foreign_redirect_to_label_studio_is_not_given_the_token(
    servers: tuple[Server, Server], pictures: Pictures
) -> None:
    servers[1].answers["/a.png"] = [Answer(302, headers={"Location": f"{servers[0].url}/data/upload/1/a.png"})]
    pictures.read(task(f"{servers[1].url}/a.png"), "image")
    assert servers[0].asked == [("/data/upload/1/a.png", None)]


# -- how addresses are written -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reference", "path"),
    [
        ("/data/upload/1/a#1.png", "/data/upload/1/a%231.png"),
        ("/data/local-files/?d=x/a#1.png", "/data/local-files/?d=x/a%231.png"),
        (" /data/upload/1/a.png\n", "/data/upload/1/a.png"),
        ("HTTP://{host}/data/a.png", "/data/a.png"),
        ("\t{url}/data/a.png ", "/data/a.png"),
        ("{url}/data/a#1.png", "/data/a%231.png"),
        ("//{host}/data/a.png", "/data/a.png"),
        ("S3://bucket/a#1.png", "/tasks/1/presign/?fileuri=czM6Ly9idWNrZXQvYSMxLnBuZw=="),
    ],
)
def test_addresses_are_read_as_people_write_them(
    servers: tuple[Server, Server], pictures: Pictures, reference: str, path: str
) -> None:
    url = servers[0].url
    pictures.read(task(reference.format(url=url, host=url.removeprefix("http://"))), "image")
    assert [asked for asked, _ in servers[0].asked] == [path]


def test_a_picture_within_the_task_is_read_and_not_written_into_logs(
    pictures: Pictures, caplog: pytest.LogCaptureFixture
) -> None:
    import base64

    packed = base64.b64encode(png()).decode()
    assert pictures.decode(task(f" data:image/png;base64,{packed}"), "image").shape == (8, 12, 3)
    failed: list[str] = []
    assert list(pictures.stream([task("data:image/png;base64," + "AAAA" * 500, 3)], "image", failed)) == []
    assert "data:image/png;base64,... (2022 characters) of task 3" in failed[0]
    assert max(map(len, (*failed, caplog.text))) < 400


# -- what passes by itself ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
@pytest.mark.parametrize("which", [0, 1], ids=["Label Studio", "another host"])
def test_what_fails_for_a_moment_is_asked_again(
    servers: tuple[Server, Server], pictures: Pictures, status: int, which: int
) -> None:
    servers[which].answers["/"] = [Answer(status, b"", {"Retry-After": "0"}), Answer()]
    pictures.read(task("/data/upload/1/a.png" if which == 0 else f"{servers[1].url}/a.png"), "image")
    assert len(servers[which].asked) == 2


@pytest.mark.parametrize("status", [429, 503])
def test_label_studio_that_asks_to_wait_is_waited_for_and_no_image_is_left_out(
    servers: tuple[Server, Server], pictures: Pictures, status: int
) -> None:
    servers[0].answers["/"] = [Answer(status, b"", {"Retry-After": "3600"})]
    failed: list[str] = []
    with pytest.raises(StudioAway, match=str(status)):
        list(pictures.stream([task("/data/upload/1/a.png")], "image", failed))
    assert failed == []


def test_a_host_that_is_down_is_waited_for_once_not_for_each_image(
    servers: tuple[Server, Server], tmp_path: Path
) -> None:
    servers[1].answers["/"] = [Answer(503, b"")]
    pictures = Pictures(Studio(servers[0].url, TOKEN), tmp_path, 1.0, replace(HERE, seconds=1.0))
    for number, most in ((1, 9), (2, 1)):
        asked = len(servers[1].asked)
        with pytest.raises(ImageError, match="answered 503"):
            pictures.read(task(f"{servers[1].url}/{number}.png"), "image")
        assert 1 <= len(servers[1].asked) - asked <= most


def test_a_storage_that_is_down_behind_label_studio_is_not_label_studio(
    servers: tuple[Server, Server], tmp_path: Path
) -> None:
    servers[0].answers["/tasks/"] = [Answer(302, headers={"Location": f"{servers[1].url}/signed.png"})]
    servers[1].answers["/"] = [Answer(503, b"")]
    pictures = Pictures(Studio(servers[0].url, TOKEN), tmp_path, 1.0, replace(HERE, seconds=1.0))
    with pytest.raises(ImageError, match=r"'s3://bucket/a\.png' of task 1: answered 503"):
        pictures.read(task("s3://bucket/a.png"), "image")
    assert len(servers[1].asked) > 1
    pictures.read(task("/data/upload/1/a.png"), "image")


def test_one_image_that_makes_it_fail_ends_nothing(servers: tuple[Server, Server], pictures: Pictures) -> None:
    servers[0].answers["/data/upload/1/odd"] = [Answer(500, b"", {"Retry-After": "0"})]
    failed: list[str] = []
    tasks = [task(f"/data/upload/1/{name}.png", k) for k, name in enumerate(("a", "odd", "b"))]
    assert [t.id for t, _ in pictures.stream(tasks, "image", failed)] == [0, 2]
    assert "answered 500" in failed[0]


def test_a_refused_token_is_no_matter_of_one_image(servers: tuple[Server, Server], pictures: Pictures) -> None:
    servers[0].answers["/"] = [Answer(401, b"{}")]
    with pytest.raises(StudioError, match="refused the token"):
        pictures.read(task("/data/upload/1/a.png"), "image")


def test_an_answer_that_breaks_off_is_asked_again_and_then_says_after_how_much(
    servers: tuple[Server, Server], pictures: Pictures
) -> None:
    servers[0].answers["/data/upload/1/a"] = [Answer(body=png()[:20], length=len(png())), Answer()]
    pictures.decode(task("/data/upload/1/a.png"), "image")
    servers[0].answers["/data/upload/1/b"] = [Answer(body=png()[:20], length=len(png()))]
    with pytest.raises(ImageError, match=f"broke off after 20 of {len(png())} bytes"):
        pictures.read(task("/data/upload/1/b.png"), "image")


@pytest.mark.parametrize("which", [0, 1], ids=["Label Studio", "another host"])
def test_a_login_page_in_the_place_of_an_image_is_said_to_be_one_and_not_kept(
    servers: tuple[Server, Server], pictures: Pictures, which: int
) -> None:
    server = servers[which]
    server.answers["/data/a.png"] = [Answer(302, headers={"Location": "/login"}), Answer()]
    server.answers["/login"] = [Answer(200, PAGE, {"Content-Type": "text/html"})]
    said = "leads to /login.*is LABEL_STUDIO_URL" if which == 0 else "web page titled 'Log in'.*private window"
    one = task("/data/a.png" if which == 0 else f"{server.url}/data/a.png")
    with pytest.raises(ImageError, match=said):
        pictures.decode(one, "image")
    assert pictures.decode(one, "image").shape == (8, 12, 3)


def test_a_stream_decodes_no_more_ahead_than_a_few(pictures: Pictures, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures of 96 pixels, of which 300 may wait."""
    monkeypatch.setattr("backend.label_studio.images.AHEAD", 300)
    decoded: list[int] = []
    decode = pictures.decode

    def counted(task: Task, key: str) -> np.ndarray:
        decoded.append(task.id)
        return decode(task, key)

    monkeypatch.setattr(pictures, "decode", counted)
    tasks = [task(f"/data/upload/1/{k}.png", k) for k in range(12)]
    for number, (taken, _) in enumerate(pictures.stream(tasks, "image")):
        assert taken.id == number
        assert len(decoded) <= number + 3
    assert len(decoded) == 12
