"""Which address is asked for what a task's data names, and who may see the token."""

from __future__ import annotations

import base64
import time
from contextlib import suppress
from urllib.parse import unquote, urlsplit

import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st

from backend.label_studio.addresses import IMAGES, Address, AddressError, Addresses, data_of, names, shortened
from tests.patience import AT_ONCE_SECONDS

ROOT = Addresses("http://ls:8080")
BELOW = Addresses("http://host/ls")
PROXIED = Addresses("http://ls:8080", ("https://label.example.com/studio", "http://10.0.0.5:8081"))
BOTH = Addresses("http://ls:8080/ls", ("https://label.example.com",))  # the public name without its path
UPLOAD = "/data/upload/1/a.png"
# fmt: off
PARTS = [
    "http://", "https:", "//", "/", "\\", "?", "#", "@", ":", ";", "..", ".", "%2e", "%2f", "%5c", "%25", "[", " ",
    "\t", "\0", "ls:8080", "evil.example", "data", "upload", "/data/upload/", "/../", "/tasks/1/resolve/", "api", "ls",
]
# fmt: on
"""that addresses are made of"""


@pytest.mark.parametrize(
    ("addresses", "reference", "url"),
    [
        (ROOT, UPLOAD, "http://ls:8080/data/upload/1/a.png"),
        (ROOT, "upload/1/a.png", "http://ls:8080/data/upload/1/a.png"),
        (ROOT, "/data/local-files/?d=x/ä b.png", "http://ls:8080/data/local-files/?d=x/ä b.png"),
        (ROOT, "/static/samples/sample.jpg", "http://ls:8080/static/samples/sample.jpg"),
        (ROOT, "/ls/data/upload/1/a.png", "http://ls:8080/data/upload/1/a.png"),  # a proxy takes the path away
        (ROOT, "/data/upload/1/data/upload/a.png", "http://ls:8080/data/upload/1/data/upload/a.png"),
        (ROOT, "/data/upload/1/a#b.png", "http://ls:8080/data/upload/1/a%23b.png"),
        (ROOT, "http://ls:8080/data/upload/1/a#b.png", "http://ls:8080/data/upload/1/a%23b.png"),
        (ROOT, "HTTP://LS:8080/data/upload/1/a.png", "http://ls:8080/data/upload/1/a.png"),
        (ROOT, "http://ls.:8080/data/upload/1/a.png", "http://ls:8080/data/upload/1/a.png"),
        (ROOT, "http://me:secret@ls:8080/data/upload/1/a.png", "http://ls:8080/data/upload/1/a.png"),
        (ROOT, "//ls:8080/data/upload/1/a.png", "http://ls:8080/data/upload/1/a.png"),
        (BELOW, UPLOAD, "http://host/ls/data/upload/1/a.png"),
        (BELOW, "/ls/data/upload/1/a.png", "http://host/ls/data/upload/1/a.png"),
        (BELOW, "/ls/static/a.png", "http://host/ls/static/a.png"),
        (BELOW, "/lsx/data/upload/1/a.png", "http://host/ls/data/upload/1/a.png"),
        (ROOT, "/tasks/3/resolve/?fileuri=eA==", "http://ls:8080/tasks/3/resolve/?fileuri=eA=="),
        (ROOT, "/api/tasks/3/presign/?fileuri=eA==", "http://ls:8080/tasks/3/presign/?fileuri=eA=="),
        (ROOT, "http://ls:8080/projects/3/presign/?fileuri=eA", "http://ls:8080/projects/3/presign/?fileuri=eA"),
        (BELOW, "/ls/data/local-files/?d=ls/a.png", "http://host/ls/data/local-files/?d=ls/a.png"),
        (BELOW, "/ls/tasks/3/resolve/?fileuri=eA==", "http://host/ls/tasks/3/resolve/?fileuri=eA=="),
        (BELOW, "http://host:80/ls/data/upload/1/a.png", "http://host/ls/data/upload/1/a.png"),
        (BELOW, "https://host/ls/data/upload/1/a.png", "http://host/ls/data/upload/1/a.png"),
        (PROXIED, "https://label.example.com/studio/data/upload/1/a.png", "http://ls:8080/data/upload/1/a.png"),
        (PROXIED, "http://label.example.com/studio/data/upload/1/a.png", "http://ls:8080/data/upload/1/a.png"),
        (PROXIED, "https://LABEL.example.com:443/studio/static/a.png", "http://ls:8080/static/a.png"),
        (PROXIED, "http://10.0.0.5:8081/data/local-files/?d=a.png", "http://ls:8080/data/local-files/?d=a.png"),
        (PROXIED, "/studio/data/upload/1/a.png", "http://ls:8080/data/upload/1/a.png"),
        (PROXIED, "/studio/static/a.png", "http://ls:8080/static/a.png"),
        (BOTH, "https://label.example.com/ls/data/upload/1/a.png", "http://ls:8080/ls/data/upload/1/a.png"),
        (Addresses("http://host/data"), "/data/data/upload/1/a.png", "http://host/data/data/upload/1/a.png"),
        (Addresses("http://host/data"), UPLOAD, "http://host/data/data/upload/1/a.png"),
        (Addresses("http://[::1]:8080"), "http://[::1]:8080/data/upload/a", "http://[::1]:8080/data/upload/a"),
    ],
)
def test_label_studios_own_files_are_asked_where_it_answers(addresses: Addresses, reference: str, url: str) -> None:
    for written in (reference, f" {reference}\n"):
        assert addresses.of(written, 7) == Address(url, own=True)
    assert addresses.may_see_token(url)


@pytest.mark.parametrize(
    "path",
    [
        "/api/projects/1/next",
        "/api/projects/1/next?x=/data/upload",
        "/api/projects/1/next/%2e%2e/next",
        "/data/../api/projects/1/next",
        "/data/%2e%2e/api/projects/1/next",
        "/data/%252e%252e/api/projects/1/next",
        "/data/upload/..%2f..%2fapi/projects/1/next",
        "/data/upload/1/..;/..;/api/projects/1/next",
        "/data\\..\\api/projects/1/next",
        "/data/..%00/..%09/api/projects/1/next",
        "/data/..%20/api/projects/1/next",
        "/static/%2e%2e/api/projects/1/next",
        "//ls:8080/api/projects/1/next",
        "/tasks/1/",
        "/tasks/1/resolve",
        "/tasks/x/resolve/",
        "/tasks/²/resolve/",
        "/api/tasks/1/annotations/",
        "/projects/1/",
        "/user/login/",
        "/data",
        "/datax/a.png",
        "/",
    ],
)
@pytest.mark.parametrize("beginning", ["", "http://ls:8080", "http://LS.:8080", "https://label.example.com/studio"])
def test_label_studio_is_asked_for_images_only(path: str, beginning: str) -> None:
    if path.startswith("//") and beginning:
        return
    with suppress(AddressError):
        assert not PROXIED.of(beginning + path, 7).own
    assert not PROXIED.may_see_token(f"http://ls:8080{path}") or path.startswith("//")


@pytest.mark.parametrize("reference", ["s3://b/x y#1.png", "S3://b/x y#1.png", "gs://b/a.png", "azure-blob://c/a.png"])
@pytest.mark.parametrize("addresses", [ROOT, BELOW])
def test_cloud_storage_is_resolved_by_label_studio(addresses: Addresses, reference: str) -> None:
    address = addresses.of(reference, 7)
    beginning, _, encoded = address.url.partition("fileuri=")
    assert beginning == f"{addresses.url}/tasks/7/presign/?"
    scheme, _, rest = reference.partition(":")
    assert base64.urlsafe_b64decode(encoded).decode() == f"{scheme.lower()}:{rest}"
    assert address.own


@pytest.mark.parametrize(
    ("addresses", "reference", "inside"),
    [
        (ROOT, "http://ls:8081/a.png", None),
        (ROOT, "http://ls/a.png", None),
        (ROOT, "http://ls:8080@evil.example/a.png", None),
        (ROOT, "http://evil.example/http://ls:8080/a.png", None),
        (ROOT, "https://ls.evil.example:8080/a.png", None),
        (BELOW, "http://host/other/a.png", None),
        (BELOW, "http://host/lsx/a.png", None),
        (BELOW, "http://host/ls/../other/a.png", None),
        (BELOW, "http://host/ls/%2e%2e/other/a.png", None),
        (ROOT, "http://public/data/upload/1/a.png", "http://ls:8080/data/upload/1/a.png"),
        (ROOT, "https://public/ls/data/local-files/?d=a b.png", "http://ls:8080/data/local-files/?d=a%20b.png"),
        (BELOW, "https://public/x/tasks/3/presign/?fileuri=eA", "http://host/ls/tasks/3/presign/?fileuri=eA"),
        (ROOT, "https://public/storage-data/uploaded/?filepath=a", "http://ls:8080/storage-data/uploaded/?filepath=a"),
        (ROOT, "http://x/?a=/data/upload/1.png", "http://ls:8080/data/upload/1.png"),
        (ROOT, "http://x/?a=/data/upload/../../api/projects/1/next", None),
        (ROOT, "http://x/a?/tasks/1/resolve/../../../api/projects/1/next", None),
        (ROOT, "http://x/a?/data/upload/%2e%2e/%2e%2e/api/projects/1/next", None),
        (ROOT, "http://x/?/storage-data/uploaded/..%2f..%2fapi/users", None),
        (ROOT, "http://x/?/data/upload/%5c..%5c..%5capi/users", None),
        (ROOT, "http://x/?/data/upload/..;/..;/api/users", None),
    ],
)
def test_other_addresses_are_asked_without_the_token(addresses: Addresses, reference: str, inside: str | None) -> None:
    address = addresses.of(reference, 7)
    assert (address.own, address.inside) == (False, inside)
    assert not addresses.may_see_token(address.url)


@pytest.mark.parametrize(
    ("reference", "url"),
    [
        ("http://x/a#1.png", "http://x/a%231.png"),
        ("http://x/a#1.PNG?w=3", "http://x/a%231.PNG?w=3"),
        ("http://x/a.png#t=1", "http://x/a.png"),
        ("http://x/a.png?v=1#top", "http://x/a.png?v=1"),
        ("HTTPS://x/a.png?sig=%2B/=", "https://x/a.png?sig=%2B/="),
        ("http://me:secret@x/a.png", "http://me:secret@x/a.png"),
        ("//x/a.png", "http://x/a.png"),
    ],
)
def test_addresses_elsewhere_stay_as_they_are_written(reference: str, url: str) -> None:
    assert ROOT.of(reference, 7) == Address(url, own=False)


@pytest.mark.parametrize(
    "reference",
    ["ftp://x/a.png", "a.png", "C:\\a.png", "http://", "http:///a.png", "http://[x/a.png", "http://x/" + "a" * 20_000],
)
def test_what_is_no_address_is_refused(reference: str) -> None:
    with pytest.raises(AddressError):
        ROOT.of(reference, 7)


def test_the_token_never_leaves_https() -> None:
    secure = Addresses("https://host/ls")
    assert secure.may_see_token("https://host/ls/data/a")
    assert not secure.may_see_token("http://host/ls/data/a")
    assert Addresses("http://host").may_see_token("https://host/data/a")
    assert not secure.may_see_token("no address")


@given(st.lists(st.sampled_from(PARTS), max_size=12))
def test_whatever_is_written_the_token_goes_to_images_of_label_studio(parts: list[str]) -> None:
    try:
        address = ROOT.of("".join(parts), 7)
    except AddressError:
        return
    for url in (address.url if address.own else None, address.inside):
        if url is not None:
            sent = urlsplit(requests.Request("GET", url).prepare().url or "")  # by the parser of what connects
            assert (sent.hostname, sent.port) == ("ls", 8080)
            assert IMAGES.match(sent.path)
            assert ".." not in unquote(unquote(sent.path)).replace("\\", "/").split("/")


def test_a_learned_name_is_asked_inside_from_then_on() -> None:
    learned = BELOW.learned("https://public/x/data/upload/1/a.png")
    assert learned.found == ("https://public/x",)
    assert not learned.may_see_token("https://public/x/data/upload/1/a.png"), "anybody may have made the name up"
    assert learned.of("https://public/x/data/upload/2/b.png", 7).url == "http://host/ls/data/upload/2/b.png"
    assert learned.learned("https://public/x/data/upload/2/b.png") == learned
    assert BELOW.learned("https://public/a.png") == BELOW


def test_names_are_separated_by_commas() -> None:
    assert names(" http://a/ls/ ,https://b,, ") == ("http://a/ls", "https://b")
    assert names("") == ()
    with pytest.raises(AddressError, match=r"'label\.example\.com': must be"):
        names("http://a, label.example.com")


@pytest.mark.parametrize(
    "reference",
    [
        "data:image/png;base64,AP9/",
        " DATA:image/png;charset=x;BASE64,AP9%2F\n",
        "data:;base64,AP9_",
        "data:image/png;base64,AP\n9/",
        "data:image/png,%00%FF%7F",
    ],
)
def test_data_uris_are_read(reference: str) -> None:
    assert data_of(reference) == b"\x00\xff\x7f"


def test_a_signature_after_a_blank_is_cut_too() -> None:
    assert shortened("http://x/a b.png?sig=ab cd\u2028ef") == "http://x/a b.png?sig=***"


def test_what_is_much_too_long_is_not_looked_at() -> None:
    for reference in ("token" + ":" * 3_000_000, "http://x/?sig=" + "s" * 3_000_000, "http://x/" + "é" * 3_000_000):
        start = time.process_time()
        with pytest.raises(AddressError):
            ROOT.of(reference, 7)
        assert len(shortened(reference)) < 250
        assert "sss" not in shortened(reference)
        assert time.process_time() - start < AT_ONCE_SECONDS


def test_what_is_long_is_shortened() -> None:
    assert shortened("data:image/png;base64," + "A" * 10**6) == "data:image/png;base64,... (1000022 characters)"
    assert shortened("s3://bucket/a.png") == "s3://bucket/a.png"
    assert len(shortened("http://x/" + "a" * 5000 + ".png")) < 220
    assert shortened("http://x/" + "a" * 5000 + ".png").endswith(".png")
