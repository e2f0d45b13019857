"""Addresses that strangers name: which are asked, over real HTTP."""

from __future__ import annotations

import datetime
import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import suppress
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from backend.label_studio import guard
from backend.label_studio.client import Studio, Task
from backend.label_studio.downloads import Limits
from backend.label_studio.images import Pictures
from backend.networks import Networks
from model.data.images import ImageError
from tests.backend.label_studio.web import TOKEN, Answer, Server, png, running
from tests.patience import AT_ONCE_SECONDS

HERE = Limits(networks=Networks.parse("127.0.0.0/8"))


@pytest.fixture
def servers() -> Iterator[tuple[Server, Server]]:
    """Label Studio, and another server on this machine."""
    with running() as studio, running() as other:
        yield studio, other


@pytest.fixture(scope="module")
def nowhere() -> Studio:
    """A Label Studio that does not answer."""
    return Studio("http://127.0.0.1:9", TOKEN)


@pytest.fixture(scope="module")
def guarded(nowhere: Studio, tmp_path_factory: pytest.TempPathFactory) -> Pictures:
    """May ask public addresses only."""
    return Pictures(nowhere, tmp_path_factory.mktemp("guarded"), 1.0)


@pytest.fixture
def open_here(servers: tuple[Server, Server], tmp_path: Path) -> Pictures:
    """May ask this machine too."""
    return Pictures(Studio(servers[0].url, TOKEN), tmp_path / "open", 1.0, HERE)


def task(image: str) -> Task:
    return Task(1, {"image": image})


def named(monkeypatch: pytest.MonkeyPatch, **answers: list[str]) -> list[str]:
    """Let a name server give these answers, one after the other; returns the names that it is asked for."""
    asked: list[str] = []
    ask = socket.getaddrinfo

    def answer(host: Any, port: Any, *rest: Any, **more: Any) -> Any:
        waiting = answers.get(str(host).replace(".", "_"))
        if waiting is None:
            return ask(host, port, *rest, **more)
        asked.append(host)
        found = waiting.pop(0) if len(waiting) > 1 else waiting[0]
        if not found:
            raise socket.gaierror(socket.EAI_NONAME, "unknown")
        family = {True: socket.AF_INET6, False: socket.AF_INET}
        return [(family[":" in one], socket.SOCK_STREAM, 6, "", (one, port)) for one in found.split()]

    monkeypatch.setattr(socket, "getaddrinfo", answer)
    return asked


# -- forms -------------------------------------------------------------------------------------------------------------

LOOPBACK = "127.0.0.1 127.1 127.0.1 127.255.255.254 2130706433 0x7f000001 0x7f.1 0x7f.0.0.1 017700000001 0177.0.0.1 \
0177.0.0.01 0 0.0.0.0 0x0 localhost LOCALHOST localhost. localhost.localdomain [::1] [::] [0:0:0:0:0:0:0:1] \
[::ffff:127.0.0.1] [::ffff:7f00:1] [::127.0.0.1] [64:ff9b::127.0.0.1] [2002:7f00:1::] [2001:0:7f00:1::] \
[::ffff:0:127.0.0.1] user@127.0.0.1 8.8.8.8@127.0.0.1 8.8.8.8:80@127.0.0.1 user:8.8.8.8@127.0.0.1 \
127.0.0.1#@8.8.8.8 127.0.0.1?@8.8.8.8 127.0.0.1\\@8.8.8.8 ①②⑦.⓪.⓪.① 127。0。0。1 127.0.0.1%00.example.com"


@pytest.fixture(scope="module")
def neighbour() -> Iterator[Server]:
    """A server on this machine that nobody may ask."""
    with running() as server:
        yield server


@pytest.mark.parametrize("host", LOOPBACK.split())
@pytest.mark.parametrize("scheme", ["http", "HTTPS"])
def test_no_form_of_this_machine_is_asked(guarded: Pictures, neighbour: Server, host: str, scheme: str) -> None:
    before, sign, after = next((host.partition(sign) for sign in "#?" if sign in host), (host, "", ""))
    with pytest.raises(ImageError, match=r"no public address|cannot be asked|no address that can be asked"):
        guarded.read(task(f"{scheme}://{before}:{neighbour.server_port}/a.png{sign}{after}"), "image")
    assert neighbour.asked == []


@pytest.mark.parametrize(
    "url",
    [
        "http://169.254.169.254/latest/meta-data/",
        "http://[fd00:ec2::254]/latest/meta-data/",
        "http://[::ffff:a9fe:a9fe]/latest/meta-data/",
        "http://[64:ff9b::a9fe:a9fe]/",
        "http://[2002:a9fe:a9fe::]/",
        "http://0xa9fea9fe/",
        "http://2852039166/",
        "http://169.254.170.2/v2/credentials",
        "http://100.100.100.200/latest/meta-data/",
        "http://168.63.129.16/machine",
        "http://10.0.0.1/a.png",
        "http://172.16.0.1/a.png",
        "http://192.168.1.1/a.png",
        "http://100.64.0.1/a.png",
        "http://224.0.0.1/a.png",
        "http://255.255.255.255/a.png",
        "http://[fe80::1]/a.png",
        "http://[fe80::1%25lo]/a.png",
        "http://[ff02::1]/a.png",
        "http://[fc00::1]/a.png",
        "http://8.8.8.8:22/a.png",
        "http://8.8.8.8:6379/a.png",
    ],
)
def test_addresses_that_are_not_public_are_refused_at_once(guarded: Pictures, url: str) -> None:
    start = time.monotonic()
    with pytest.raises(ImageError, match=r"no public address|none that images lie on|cannot be asked"):
        guarded.read(task(url), "image")
    assert time.monotonic() - start < AT_ONCE_SECONDS


@pytest.mark.parametrize(
    "url",
    ["ftp://8.8.8.8/a", "file:///etc/passwd", "gopher://127.0.0.1:70/_x", "dict://127.0.0.1:11/", "unix:/a", "//"],
)
def test_other_schemes_are_refused(guarded: Pictures, url: str) -> None:
    with pytest.raises(ImageError):
        guarded.read(task(url), "image")


# -- names -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "answer", ["127.0.0.1", "8.8.8.8 127.0.0.1", "127.0.0.1 8.8.8.8", "2606:4700::1 fd00::1", "8.8.8.8 ::ffff:10.0.0.1"]
)
def test_a_name_is_refused_for_any_of_its_addresses(
    guarded: Pictures, servers: tuple[Server, Server], monkeypatch: pytest.MonkeyPatch, answer: str
) -> None:
    named(monkeypatch, pictures_example=[answer])
    with pytest.raises(ImageError, match="has no public address"):
        guarded.read(task(f"http://pictures.example:{servers[1].server_port}/a.png"), "image")
    assert servers[1].asked == []


def test_what_is_connected_to_is_what_was_checked(
    guarded: Pictures, servers: tuple[Server, Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    """DNS rebinding: the second answer of the name server leads here."""
    asked = named(monkeypatch, pictures_example=["8.8.8.8", "127.0.0.1"])
    connected: list[str] = []

    def connect(address: tuple[str, int], *_: object) -> socket.socket:
        connected.append(address[0])
        raise OSError("no network")

    monkeypatch.setattr(guard.connection, "create_connection", connect)
    monkeypatch.setattr("backend.label_studio.downloads.ATTEMPTS", 1)
    with pytest.raises(ImageError, match="does not answer"):
        guarded.read(task(f"http://pictures.example:{servers[1].server_port}/a.png"), "image")
    assert (asked, connected) == (["pictures.example"], ["8.8.8.8"])
    monkeypatch.undo()
    assert servers[1].asked == []


def test_a_named_host_is_asked_wherever_it_lies(
    servers: tuple[Server, Server], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    named(monkeypatch, minio=["127.0.0.1"], other=["127.0.0.1"])
    port = servers[1].server_port
    limits = Limits(networks=Networks.parse(f"minio:{port}"))
    pictures = Pictures(Studio(servers[0].url, TOKEN), tmp_path, 1.0, limits)
    pictures.read(task(f"http://minio:{port}/a.png"), "image")
    with pytest.raises(ImageError, match=f"name other:{port} in IMAGE_NETWORKS"):
        pictures.read(task(f"http://other:{port}/a.png"), "image")
    assert [asked for asked, _ in servers[1].asked] == ["/a.png"]


def test_an_unknown_name_and_one_of_this_network_are_told_alike(
    guarded: Pictures, monkeypatch: pytest.MonkeyPatch
) -> None:
    named(monkeypatch, intranet=["10.0.0.1"], nowhere=[""])
    said = []
    for name in ("intranet", "nowhere"):
        with pytest.raises(ImageError) as error:
            guarded.read(task(f"http://{name}/a.png"), "image")
        said.append(str(error.value).replace(name, "HOST"))
    assert said[0] == said[1]


def test_an_open_port_and_a_closed_one_are_told_alike(guarded: Pictures, servers: tuple[Server, Server]) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        closed = probe.getsockname()[1]
    said, took = [], []
    for port in (servers[1].server_port, closed):
        start = time.monotonic()
        with pytest.raises(ImageError) as error:
            guarded.read(task(f"http://127.0.0.1:{port}/a.png"), "image")
        took.append(time.monotonic() - start)
        said.append(str(error.value).replace(str(port), "PORT"))
    assert said[0] == said[1]
    assert max(took) < AT_ONCE_SECONDS


# -- redirects ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "target",
    [
        "http://127.1:{port}/a.png",
        "http://[::1]:{port}/a.png",
        "//localhost:{port}/a.png",
        "file:///etc/passwd",
        "ftp://x/a",
    ],
)
@pytest.mark.parametrize("which", [0, 1], ids=["Label Studio", "another host"])
def test_redirects_are_checked_too(servers: tuple[Server, Server], tmp_path: Path, target: str, which: int) -> None:
    limits = Limits(networks=Networks.parse(f"127.0.0.1:{servers[1].server_port}"))
    pictures = Pictures(Studio(servers[0].url, TOKEN), tmp_path, 1.0, limits)
    with running() as inner:
        location = target.format(port=inner.server_port)
        for status in (301, 302, 303, 307, 308):
            path = f"/data/upload/{status}/a.png" if which == 0 else f"/{status}/a.png"
            servers[which].answers[path] = [Answer(status, b"", {"Location": location})]
            with pytest.raises(ImageError, match=r"no public address|cannot be asked"):
                pictures.read(task(path if which == 0 else f"{servers[1].url}{path}"), "image")
        assert inner.asked == []


@pytest.mark.parametrize("path", ["/api/projects/1/next", "/user/login/", "/data/%2e%2e/api/projects/1/next"])
def test_label_studio_leads_nowhere_but_to_images(
    open_here: Pictures, servers: tuple[Server, Server], path: str
) -> None:
    servers[0].answers["/data/upload/"] = [Answer(302, b"", {"Location": path})]
    with suppress(ImageError):
        open_here.read(task("/data/upload/1/a.png"), "image")
    assert all(token is None for asked, token in servers[0].asked if not asked.startswith("/data/upload/"))


@pytest.mark.parametrize("host", ["127.0.0.1:9", "10.0.0.1", "other"])
def test_the_query_of_an_address_elsewhere_leads_to_no_page_of_label_studio(
    open_here: Pictures, servers: tuple[Server, Server], host: str
) -> None:
    studio, other = servers
    other.answers["/"] = [Answer(401, b"")]
    place = other.url if host == "other" else f"http://{host}"
    for query in ("/data/upload/../../api/projects/1/next", "a=/tasks/1/resolve/%2e%2e/%2e%2e/%2e%2e/api/users"):
        with pytest.raises(ImageError):
            open_here.read(task(f"{place}/a.png?{query}"), "image")
    assert studio.asked == []


def test_a_name_that_was_found_out_never_sees_the_token(open_here: Pictures, servers: tuple[Server, Server]) -> None:
    studio, other = servers
    other.answers["/"] = [Answer(401, b"")]
    open_here.read(task(f"{other.url}/data/upload/1/a.png"), "image")
    studio.answers["/data/upload/2/"] = [Answer(302, b"", {"Location": f"{other.url}/data/upload/2/b.png"})]
    with pytest.raises(ImageError):
        open_here.read(task(f"{other.url}/data/upload/2/b.png"), "image")
    assert {token for _, token in other.asked} == {None}


# -- what the environment holds ----------------------------------------------------------------------------------------


def test_a_proxy_is_asked_for_public_hosts_only(
    guarded: Pictures, servers: tuple[Server, Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", servers[1].url)
    monkeypatch.setenv("no_proxy", "")
    guarded.read(task("http://8.8.8.8/a.png"), "image")
    with pytest.raises(ImageError, match="has no public address"):
        guarded.read(task("http://127.1:81/b.png"), "image")
    assert servers[1].asked == [("http://8.8.8.8/a.png", None)]


def test_passwords_of_this_machine_are_not_sent(
    open_here: Pictures, servers: tuple[Server, Server], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login me password secret\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    servers[1].answers["/"] = [Answer(headers={"Set-Cookie": "a=b"})]
    open_here.read(task(f"{servers[1].url}/a.png"), "image")
    open_here.read(task("/data/upload/1/a.png"), "image")
    assert servers[1].asked == [("/a.png", None)]
    assert servers[0].asked == [("/data/upload/1/a.png", f"Token {TOKEN}")]


def certificate(name: str, folder: Path) -> Path:
    """A file with a key, and a certificate that says it is `name`'s, signed by itself."""
    key, subject = (
        ec.generate_private_key(ec.SECP256R1()),
        x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)]),
    )
    now = datetime.datetime.now(datetime.UTC)
    names = x509.SubjectAlternativeName([x509.DNSName(name), x509.IPAddress(IPv4Address("127.0.0.2"))])
    made = (
        x509.CertificateBuilder()
        .issuer_name(subject)
        .subject_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now)
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(names, critical=True)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    file = folder / "certificate.pem"
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    file.write_bytes(private + made.public_bytes(pem))
    return file


def test_tls_verifies_the_hosts_name_although_its_address_is_asked(
    open_here: Pictures, servers: tuple[Server, Server], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = certificate("right.example", tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    servers[1].socket = context.wrap_socket(servers[1].socket, server_side=True)
    named(monkeypatch, right_example=["127.0.0.1"], wrong_example=["127.0.0.1"])
    monkeypatch.setattr("backend.label_studio.downloads.ATTEMPTS", 1)
    port = servers[1].server_port
    with pytest.raises(ImageError):  # nobody knows who signed it
        open_here.read(task(f"https://right.example:{port}/a.png"), "image")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(file))
    open_here.read(task(f"https://right.example:{port}/a.png"), "image")
    with pytest.raises(ImageError):
        open_here.read(task(f"https://wrong.example:{port}/a.png"), "image")
    assert [asked for asked, _ in servers[1].asked] == ["/a.png"]


def test_addresses_with_signatures_are_written_nowhere(
    open_here: Pictures, servers: tuple[Server, Server], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    servers[1].answers["/gone"] = [Answer(404, b"")]
    servers[1].answers["/cut"] = [Answer(body=png()[:20], length=len(png()))]
    secrets = "?X-Amz-Signature=s3cr3t&sig=s3cr3t"
    host = servers[1].url.removeprefix("http://")
    failed: list[str] = []
    addresses = [f"http://me:s3cr3t@{host}/{path}.png{secrets}" for path in ("gone", "cut")]
    addresses += [
        f"http://me:s3cr3t@127.0.0.1:1/closed.png{secrets}",
        f"http://x y/{secrets}",
        f"ftp://me:s3cr3t@x/{secrets}",
    ]
    list(open_here.stream(map(task, addresses), "image", failed))
    assert len(failed) == len(addresses)
    assert "gone.png" in failed[0]
    assert "s3cr3t" not in "".join(failed) + caplog.text
