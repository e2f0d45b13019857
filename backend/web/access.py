"""Who may ask what: the password, how often a wrong one may be tried, and pages in browsers, which may not at all."""

from __future__ import annotations

import base64
import hmac
import ipaddress
import logging
import time
from hashlib import sha256
from urllib.parse import urlsplit

from flask import request
from limits import parse
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter

from backend.settings import Settings
from backend.web.faults import Fault

log = logging.getLogger(__name__)

OPEN = ("/", "/health", "/ready")  # paths that ask for no password
WRONG = parse("20 per minute")  # passwords, from one address
TRUSTED_SECONDS = 600  # an address that gave the right password is not locked out by others behind the same address
MOST_ADDRESSES = 1000
SAFE = ("GET", "HEAD", "OPTIONS")  # methods that change nothing


class Access:
    """What one process knows of those who ask it. Kept in memory: it works whatever becomes of Redis."""

    REFUSAL = "wrong or missing user and password: run `mgral connect` again after changing them"
    CHALLENGE = {"WWW-Authenticate": 'Basic realm="mgral", charset="UTF-8"'}  # noqa: RUF012

    def __init__(self, settings: Settings) -> None:
        self.user, self.password = settings.basic_auth_user.encode(), settings.basic_auth_pass.encode()
        self.wrong = MovingWindowRateLimiter(MemoryStorage())
        self.trusted: dict[str, float] = {}

    def check(self) -> None:
        """Raise Fault unless the request that is being answered may be."""
        self._browser()
        if request.path not in OPEN:
            self.admit(request.headers.get("Authorization", ""), request.remote_addr or "")

    def admit(self, authorization: str, address: str) -> None:
        """Raise Fault unless a header has the right password, where one is set; wrong ones are counted by address."""
        if not self.user:
            return
        address, now = _network(address), time.monotonic()
        trusted = now < self.trusted.get(address, 0.0)
        if not trusted and not self.wrong.test(WRONG, address):
            raise self._locked(address)
        if self._right(authorization):
            if not trusted:  # others change it meanwhile
                self.trusted = {a: until for a, until in list(self.trusted.items()) if until > now}
            if len(self.trusted) < MOST_ADDRESSES or address in self.trusted:
                self.trusted[address] = now + TRUSTED_SECONDS
            return
        if authorization:
            if not self.wrong.hit(WRONG, address):
                raise self._locked(address)
            if self.wrong.get_window_stats(WRONG, address).remaining == 0:
                log.warning(
                    "%s gave %d wrong passwords within a minute: it is not listened to for a while",
                    address,
                    WRONG.amount,
                )
        raise Fault(401, self.REFUSAL, self.CHALLENGE)

    def _right(self, header: str) -> bool:
        """Whether a header names the right user and password; it takes as long where it does not."""
        scheme, _, encoded = header.strip().partition(" ")
        try:
            user, colon, password = base64.b64decode(encoded.strip(), validate=True).partition(b":")
        except ValueError:
            user = colon = password = b""
        same = _equal(user, self.user) & _equal(password, self.password)
        return same and bool(colon) and scheme.lower() == "basic"

    def _locked(self, address: str) -> Fault:
        seconds = max(1, round(self.wrong.get_window_stats(WRONG, address).reset_time - time.time()))
        return Fault(429, "too many wrong passwords from this address: try again later", {"Retry-After": str(seconds)})

    def _browser(self) -> None:
        """Refuse what a page in somebody's browser asks: Label Studio is none, and names neither origin nor site.

        A page of another site may send forms here, and by a name of its own that leads here (DNS rebinding) it may even
        read: where no password is set, only this machine's own names are answered to browsers.
        """
        site, origin = request.headers.get("Sec-Fetch-Site"), request.headers.get("Origin")
        if site is None and origin is None:
            return
        foreign = site in ("cross-site", "same-site") or (origin is not None and _place(origin) != request.host)
        if request.method not in SAFE and foreign:
            raise Fault(403, "a page of another site asks this: not allowed")
        if not self.user and not _own(request.host):
            raise Fault(403, "without BASIC_AUTH_USER browsers are answered only at localhost or at an IP address")


def _equal(one: bytes, other: bytes) -> bool:
    """Takes as long whatever they are, and however long."""
    return hmac.compare_digest(sha256(one).digest(), sha256(other).digest())


def _network(address: str) -> str:
    """An address to count by: of IPv6 the network, of which one machine has all addresses."""
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    return str(ip) if ip.version == 4 else str(ipaddress.ip_network((int(ip), 64), strict=False))


def _place(origin: str) -> str:
    """Host and port of an origin; "" where it is none."""
    try:
        return urlsplit(origin).netloc
    except ValueError:
        return ""


def _own(host: str) -> bool:
    """Whether a Host header names this machine, by a name that nobody else can give it."""
    name = urlsplit(f"//{host}").hostname or ""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return name == "localhost" or name.endswith(".localhost")
    return True
