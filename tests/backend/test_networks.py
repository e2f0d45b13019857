"""Which addresses are public, and what a setting may add to them."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from backend.networks import Networks, NetworksError, is_public

PUBLIC = "8.8.8.8 4.4.4.4 93.184.216.34 1.1.1.1 172.15.255.255 172.32.0.0 11.0.0.0 100.63.255.255 100.128.0.0 \
192.167.255.255 192.169.0.0 126.255.255.255 128.0.0.0 169.253.255.255 198.20.0.0 223.255.255.255 \
2606:4700:4700::1111 2a00:1450:4001:81b::200e ::ffff:8.8.8.8 64:ff9b::8.8.8.8 64:ff9b::808:808 2a00::5efe:808:808"

LOCAL = "0.0.0.0 0.255.255.255 10.0.0.0 10.255.255.255 100.64.0.1 100.100.100.200 100.127.255.255 127.0.0.0 127.0.0.1 \
127.255.255.255 168.63.129.16 169.254.0.1 169.254.169.254 169.254.170.2 172.16.0.0 172.31.255.255 192.0.0.192 \
192.0.2.1 192.88.99.1 192.168.0.0 192.168.255.255 198.18.0.1 198.19.255.255 198.51.100.1 203.0.113.1 224.0.0.1 \
233.252.0.1 239.255.255.255 240.0.0.1 255.255.255.255 \
:: ::1 ::127.0.0.1 ::8.8.8.8 ::ffff:127.0.0.1 ::ffff:7f00:1 ::ffff:0:127.0.0.1 ::ffff:10.0.0.1 ::ffff:169.254.169.254 \
64:ff9b::127.0.0.1 64:ff9b::a9fe:a9fe 64:ff9b::10.0.0.1 64:ff9b:1::10.0.0.1 64:ff9b:1::8.8.8.8 \
2002:7f00:1:: 2002:a9fe:a9fe:: 2002:a00:1:: 2001:0:4136:e378:8000:63bf:3fff:fdd2 2001:0:7f00:1:: 2001:0::1 \
2001:10::1 2001:20::1 2001:db8::1 3fff::1 2a00::5efe:10.0.0.1 2a00::200:5efe:127.0.0.1 \
100::1 5f00::1 fc00::1 fd00:ec2::254 fd20:ce::254 fe80::1 fe80::1%1 febf::1 fec0::1 ff02::1 ff0e::1"


@pytest.mark.parametrize("address", PUBLIC.split())
def test_public_addresses_may_be_asked(address: str) -> None:
    assert is_public(ip_address(address))
    assert Networks().may_ask("host", 443, [address])


@pytest.mark.parametrize("address", LOCAL.split())
def test_addresses_that_mean_something_here_may_not(address: str) -> None:
    assert not is_public(ip_address(address))
    assert not Networks().may_ask("host", 443, [address])
    assert not Networks().may_ask("host", 443, ["8.8.8.8", address]), "one of several answers is enough"


@pytest.mark.parametrize("port", [22, 25, 6379, 6667, 0])
def test_ports_that_no_browser_asks_are_not_asked(port: int) -> None:
    assert not Networks().may_ask("host", port, ["8.8.8.8"])
    assert not Networks.parse("10.0.0.0/8").may_ask("host", port, ["10.0.0.1"])


@pytest.mark.parametrize(
    ("setting", "host", "port", "address", "asked"),
    [
        ("10.1.0.0/16", "x", 80, "10.1.2.3", True),
        ("10.1.0.0/16", "x", 80, "::ffff:10.1.2.3", True),
        ("10.1.0.0/16", "x", 80, "10.2.0.1", False),
        ("10.1.2.3", "x", 80, "10.1.2.3", True),
        ("10.1.2.3, fd12::/16", "x", 80, "fd12::1", True),
        ("[::1]", "x", 80, "::1", True),
        ("0.0.0.0/0,::/0", "x", 80, "10.2.0.1", True),
        ("0.0.0.0/0,::/0", "x", 80, "169.254.169.254", False),
        ("0.0.0.0/0,::/0", "x", 80, "fe80::1", False),
        ("0.0.0.0/0,::/0", "x", 80, "::ffff:169.254.169.254", False),
        ("0.0.0.0/0,::/0", "x", 80, "64:ff9b::a9fe:a9fe", False),
        ("0.0.0.0/0,::/0", "x", 80, "100.100.100.200", False),
        ("100.64.0.0/10", "x", 80, "100.100.100.200", False),
        ("100.64.0.0/10", "x", 80, "100.100.100.201", True),
        ("100.100.100.200", "x", 80, "100.100.100.200", True),
        ("0.0.0.0/0", "x", 80, "168.63.129.16", False),
        ("192.0.0.0/8", "x", 80, "192.0.0.192", False),
        ("fd00::/8", "x", 80, "fd00:ec2::254", False),
        ("fc00::/7", "x", 80, "fd20:ce::254", False),
        ("fc00::/7", "x", 80, "fd00:42::42", False),
        ("fd00::/8", "x", 80, "fd12::1", True),
        ("fd00:ec2::254", "x", 80, "fd00:ec2::254", True),
        ("*.internal", "metadata.google.internal", 80, "169.254.169.254", False),
        ("*.internal", "metadata.google.internal", 80, "::ffff:a9fe:a9fe", False),
        ("*.internal", "images.internal", 80, "10.0.0.1", True),
        ("metadata.google.internal", "metadata.google.internal", 80, "169.254.169.254", True),
        ("169.254.0.0/16", "x", 80, "169.254.1.1", True),
        ("minio:9000", "minio", 9000, "172.18.0.3", True),
        ("minio:9000", "MINIO.", 9000, "172.18.0.3", True),
        ("minio:9000", "minio", 9001, "172.18.0.3", False),
        ("minio:9000", "minio.evil.example", 9000, "172.18.0.3", False),
        ("minio", "minio", 81, "172.18.0.3", True),
        ("*.images.internal", "a.images.internal", 80, "10.0.0.1", True),
        (".images.internal", "a.b.images.internal", 80, "10.0.0.1", True),
        ("*.images.internal", "evilimages.internal", 80, "10.0.0.1", False),
        ("*.images.internal", "images.internal", 80, "10.0.0.1", False),
    ],
)
def test_the_setting_names_networks_and_hosts(setting: str, host: str, port: int, address: str, asked: bool) -> None:
    assert Networks.parse(setting).may_ask(host, port, [address]) is asked


@pytest.mark.parametrize(
    "setting",
    [
        "10.1.0.0/33",
        "10.1.2.3/16",
        "http://minio:9000",
        "me@minio",
        "minio:port",
        "minio:123456",
        "*",
        "*.",
        ".",
        "a b",
    ],
)
def test_what_is_neither_is_named(setting: str) -> None:
    with pytest.raises(NetworksError, match=r"write it as|neither a network"):
        Networks.parse(f"10.0.0.0/8, {setting}")


def test_nothing_is_added_by_default() -> None:
    assert Networks.parse(" , ") == Networks()
    assert not Networks().may_ask("nowhere", 80, [])
