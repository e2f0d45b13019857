"""Artefacts below a directory, and below URLs where two machines see the same."""

from __future__ import annotations

import multiprocessing
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
import requests

from model import artefacts
from model.artefacts import Artefacts, ArtefactsAway, ArtefactsError
from tests.model.made import contents, full_disk
from tests.s3 import BUCKET, place, s3_service


@pytest.fixture(scope="module")
def service() -> Iterator[str]:
    with s3_service() as address:
        yield address


@pytest.fixture(params=["directory", "memory", "s3"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Of each kind."""
    if request.param == "s3":
        request.getfixturevalue("service")
    return place(request.param, tmp_path)


@pytest.fixture
def here(url: str, tmp_path: Path) -> Artefacts:
    """One machine."""
    return Artefacts(url, tmp_path / "here")


@pytest.fixture
def other(url: str, tmp_path: Path) -> Artefacts:
    """Another one; with a directory, the same disk."""
    return Artefacts(url, tmp_path / "other")


remote = pytest.mark.parametrize("url", ["file", "memory"], indirect=True)  # S3's sessions take a second each


def make(files: Artefacts, *names: str) -> None:
    for name in names:
        path = files.local / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(f"what is in {name}".encode())


def below(files: Artefacts) -> list[str]:
    return list(contents(files.local))


# -- files ------------------------------------------------------------------------------------------------------------


def test_what_one_machine_pushes_another_pulls(here: Artefacts, other: Artefacts) -> None:
    make(here, "7/v1/weights.pt", "7/v1/deep/er/file", "8/x")
    here.push("7")
    here.push("8/x")
    assert other.pull("7") == other.local / "7"
    assert (other.pull("7/v1") / "deep/er/file").read_text() == "what is in 7/v1/deep/er/file"
    assert other.pull("8/x").read_bytes() == other.read("8/x") == b"what is in 8/x"
    assert below(other) == below(here)


def test_what_is_not_there_is_not_here_either(other: Artefacts) -> None:
    assert not other.pull("7").exists()
    assert other.names() == other.names("7") == []
    assert not other.exists("7/x")
    other.remove("7")
    for name in ("7/x", "7/published.json"):
        with pytest.raises(FileNotFoundError):
            other.read(name)
    assert contents(other.local) == {}


def test_only_what_is_asked_for_is_fetched(here: Artefacts, other: Artefacts) -> None:
    make(here, "7/v1/weights.pt", "7/v1/version.json", "7/v2/weights.pt", "7/v2/version.json")
    here.push("7")
    other.pull("7", only="*/version.json")
    if other.copied:
        assert below(other) == ["7/v1/version.json", "7/v2/version.json"]
    other.pull("7/v1/weights.pt")
    assert "7/v1/weights.pt" in below(other)


def test_a_pointer_is_replaced(here: Artefacts, other: Artefacts, monkeypatch: pytest.MonkeyPatch) -> None:
    here.write("7/published.json", b"old")
    assert other.read("7/published.json") == b"old"
    assert other.pull("7").joinpath("published.json").read_bytes() == b"old"
    monkeypatch.setattr(artefacts, "KEPT_SECONDS", 0.0)
    other.forget()
    here.write("7/published.json", b"new")  # of the same size
    assert other.read("7/published.json") == b"new"
    assert (other.pull("7") / "published.json").read_bytes() == b"new"
    assert other.pull("7/published.json").read_bytes() == b"new"
    assert other.exists("7/published.json")
    make(here, "7/gain_rows.npz")
    here.push("7/gain_rows.npz")
    (here.local / "7/gain_rows.npz").write_bytes(b"replaced")
    here.push("7")
    assert other.pull("7/gain_rows.npz").read_bytes() == b"replaced"


def test_names_and_what_stays_here(here: Artefacts, other: Artefacts) -> None:
    make(here, "7/a", "7/.tmp-a", "7/published.lock", "7/sub/b", ".tmp-x/c")
    here.push("")
    assert other.names("7") == ["a", "sub"]
    assert other.names("") == other.names(kept=True) == ["7"]
    if other.copied:
        other.pull("")
        assert below(other) == ["7/a", "7/sub/b"]


def test_removing(here: Artefacts, other: Artefacts) -> None:
    make(here, "7/v1/version.json", "7/v1/weights.pt", "7/v2/version.json")
    here.push("7")
    other.pull("7")
    here.remove("7/v1")
    assert below(here) == ["7/v2/version.json"]
    other.pull("7")
    assert below(other) == ["7/v2/version.json"]
    assert other.names("7") == ["v2"]
    here.remove("7/v2/version.json")
    assert not other.exists("7/v2")


def test_a_source_takes_its_place_when_it_is_there(here: Artefacts, other: Artefacts) -> None:
    make(here, "7/.tmp-v1/version.json", "7/.tmp-v1/weights.pt")
    here.push("7/v1", source=here.local / "7/.tmp-v1")
    assert below(here) == ["7/v1/version.json", "7/v1/weights.pt"]
    assert sorted(p.name for p in other.pull("7/v1").iterdir()) == ["version.json", "weights.pt"]


@remote
def test_what_is_new_here_stays_although_it_is_not_there(here: Artefacts, other: Artefacts) -> None:
    make(here, "7/results/0.json")
    here.push("7")
    other.pull("7")
    make(other, "7/results/1.json")
    here.remove("7/results/0.json")
    other.pull("7")
    assert below(other) == ["7/results/1.json"]


@remote
def test_what_is_here_is_not_fetched_again(here: Artefacts, other: Artefacts) -> None:
    make(here, "7/a", "7/b")
    here.push("7")
    other.pull("7")
    (other.local / "7/a").write_bytes(b"?" * len(b"what is in 7/a"))
    (other.local / "7/b").write_bytes(b"torn")
    other.pull("7")
    assert (other.local / "7/a").read_bytes() == b"?" * len(b"what is in 7/a")
    assert (other.local / "7/b").read_bytes() == b"what is in 7/b"


@remote
def test_what_was_made_anew_here_goes_there(here: Artefacts, other: Artefacts) -> None:
    """A try that failed after it had pushed is repeated, with another outcome."""
    make(here, "7/a")
    here.push("7")
    half = here.local / "7/.tmp-a"
    half.write_bytes(b"?" * len(b"what is in 7/a"))
    half.rename(here.local / "7/a")
    here.push("7/a")
    assert other.read("7/a") == b"?" * len(b"what is in 7/a")


@remote
def test_a_pointer_is_asked_for_once_in_a_while(here: Artefacts, other: Artefacts) -> None:
    assert not other.exists("7/serving.json")
    here.write("7/serving.json", b"1")
    assert other.read("7/serving.json") == b"1"
    here.write("7/serving.json", b"2")
    assert here.read("7/serving.json") == b"2"  # who writes it sees it
    assert other.read("7/serving.json") == b"1"
    other.forget()
    assert other.read("7/serving.json") == b"2"


@pytest.mark.parametrize("url", ["file"], indirect=True)
def test_what_makes_a_directory_count_goes_last(here: Artefacts, tmp_path: Path) -> None:
    make(here, "7/v1/version.json", "7/v1/weights.pt", "7/v1/a.json", "7/v1/z.json")
    here.push("7/v1")
    there = sorted((tmp_path / "models/7/v1").iterdir(), key=lambda path: path.stat().st_mtime_ns)
    assert there[-1].name == "version.json"


@remote
def test_a_download_that_fails_leaves_nothing(here: Artefacts, other: Artefacts) -> None:
    (here.local / "7").mkdir(parents=True)
    (here.local / "7/weights.pt").write_bytes(b"w" * 100_000)
    here.push("7")
    with full_disk(10_000), pytest.raises(OSError, match="File too large"):
        other.pull("7/weights.pt")
    assert contents(other.local) == {}
    assert other.pull("7/weights.pt").stat().st_size == 100_000


def _pushes(files: Artefacts) -> None:
    make(files, "7/of_the_child")
    files.push("7")


@pytest.mark.parametrize("url", ["file", "s3"], indirect=True)
def test_a_forked_process_goes_on_by_itself(here: Artefacts, other: Artefacts) -> None:
    here.write("7/published.json", b"1")
    child = multiprocessing.get_context("fork").Process(target=_pushes, args=(here,))
    child.start()
    child.join(60)
    assert child.exitcode == 0
    assert other.names("7") == ["of_the_child", "published.json"]
    assert here.names("7") == ["of_the_child", "published.json"]


def test_two_installations_with_one_cache_do_not_mix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folders = {Artefacts(url, tmp_path).local for url in ("s3://a/b", "s3://a-b", "s3://a/b/c")}
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://another.example.com")
    folders.add(Artefacts("s3://a/b", tmp_path).local)
    assert len(folders) == 4
    assert Artefacts("s3://a/b/", tmp_path).local in folders
    assert Artefacts("models", tmp_path).local == Path("models")


# -- errors -----------------------------------------------------------------------------------------------------------


def said(files: Artefacts) -> list[str]:
    """What each verb says where the URL is wrong: one line that names it."""
    make(files, "7/a")
    verbs = [
        lambda: files.read("7/published.json"),
        lambda: files.names("7"),
        lambda: files.exists("7/b"),
        lambda: files.pull("7"),
        lambda: files.push("7"),
        lambda: files.write("7/published.json", b"1"),
        lambda: files.remove("7"),
    ]
    lines = []
    for verb in verbs:
        with pytest.raises(ArtefactsError) as caught:
            verb()
        assert not isinstance(caught.value, ArtefactsAway)
        lines.append(str(caught.value))
    assert all(line.startswith(f"{files.url}: ") and "\n" not in line for line in lines)
    return lines


@pytest.mark.usefixtures("service")
def test_a_bucket_that_is_not_there(tmp_path: Path) -> None:
    assert all("there is no such bucket" in line for line in said(Artefacts("s3://misspelt/models", tmp_path)))


def test_keys_that_are_refused(service: str, tmp_path: Path) -> None:
    files = Artefacts(f"s3://{BUCKET}/models", tmp_path)
    requests.post(f"{service}/moto-api/reset-auth", data="0", timeout=10)  # from now on, keys must be known
    try:
        assert all("check AWS_ACCESS_KEY_ID" in line for line in said(files))
    finally:
        requests.post(f"{service}/moto-api/reset-auth", data="inf", timeout=10)


@pytest.mark.usefixtures("service")
def test_no_keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    with pytest.raises(ArtefactsError, match="set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"):
        Artefacts(f"s3://{BUCKET}/models", tmp_path).names()


@pytest.mark.parametrize(
    ("url", "remedy"),
    [("s4://bucket/models", "a URL such as s3://bucket/prefix"), ("gs://bucket/models", "install gcsfs")],
)
def test_a_kind_of_url_that_cannot_be_opened(url: str, remedy: str, tmp_path: Path) -> None:
    assert all(remedy in line for line in said(Artefacts(url, tmp_path)))


class Overloaded(BaseHTTPRequestHandler):
    """Says to each request that the service is busy."""

    def do_GET(self) -> None:
        self.send_response(503)
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_PUT = do_HEAD = do_GET  # noqa: N815

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.mark.usefixtures("service")
@pytest.mark.parametrize("answers", [True, False], ids=["busy", "gone"])
def test_what_does_not_answer_now_is_worth_trying_again(
    answers: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = HTTPServer(("127.0.0.1", 0), Overloaded)
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_port}")
    if answers:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    else:
        server.server_close()
    files = Artefacts(f"s3://{BUCKET}/models", tmp_path)
    make(files, "7/a")
    for verb in (lambda: files.read("7/published.json"), lambda: files.push("7")):
        with pytest.raises(ArtefactsAway, match=f"^s3://{BUCKET}/models does not answer .*AWS_ENDPOINT_URL"):
            verb()
    if answers:
        server.shutdown()
        server.server_close()


def test_readers_go_on_while_the_service_is_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(artefacts, "KEPT_SECONDS", 0.0)
    with s3_service() as address:
        files = Artefacts(f"s3://{BUCKET}/models", tmp_path)
        files.write("7/published.json", b"1")
        assert files.read("7/published.json") == b"1"
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_ENDPOINT_URL", address)
    assert files.read("7/published.json") == b"1"
    files.forget()  # as writers do
    with pytest.raises(ArtefactsAway):
        files.read("7/published.json")


def test_a_plain_directory_needs_no_fsspec(tmp_path: Path) -> None:
    code = "import sys; from model.versions import VersionStore; VersionStore(sys.argv[1]).list()"
    code += "; sys.exit('fsspec' in sys.modules)"
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True)
