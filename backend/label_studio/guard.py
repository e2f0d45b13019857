"""HTTP for addresses that strangers name: a session that connects to allowed addresses only, and can be ended.

A host is resolved once, all that its name stands for is checked, and the connection goes to what was checked, so no
second answer of a name server can lead elsewhere (DNS rebinding). TLS verifies the host's name as ever. What is checked
is the address that is connected to, so there is no way to write one that is read differently here and there.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from http.cookiejar import DefaultCookiePolicy
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from requests.auth import HTTPBasicAuth
from requests.utils import get_auth_from_url, select_proxy
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import ConnectTimeoutError, NameResolutionError, NewConnectionError
from urllib3.util import connection, parse_url

from backend.networks import BAD_PORTS, Networks

CONNECTIONS = 16  # that are kept
ADDRESSES = 3  # of one host that are tried


class NotAllowedError(ValueError):
    """A host that may not be asked, or that no name server knows: nobody outside is to tell one from the other."""

    def __init__(self, host: str, port: int) -> None:
        why = f"port {port} is none that images lie on" if port in BAD_PORTS else f"{host} has no public address"
        super().__init__(f"{why}; if it is yours, name {host}:{port} in IMAGE_NETWORKS")


class Connections:
    """The connections that a piece of work uses, so that whoever waits for it can end them."""

    def __init__(self) -> None:
        self.used: list[HTTPConnection] = []
        self.ended = False

    @contextmanager
    def recorded(self) -> Iterator[None]:
        """Within, what this thread uses is recorded here."""
        _here.connections = self
        try:
            yield
        finally:
            _here.connections = None

    def add(self, used: HTTPConnection) -> None:
        """Called by a connection before it is used. Raises OSError where the work was ended meanwhile."""
        if self.ended:
            raise OSError("ended")
        self.used.append(used)

    def end(self) -> None:
        """End them, whatever they wait for."""
        self.ended = True
        for used in self.used:
            with suppress(OSError, ValueError, AttributeError):  # it has ended this moment
                used.sock.shutdown(socket.SHUT_RDWR)


_here = threading.local()


class _Recorded(HTTPConnection):
    def connect(self) -> None:
        self._record()
        super().connect()

    def request(self, *arguments: Any, **named: Any) -> None:  # on a connection that was kept
        self._record()
        super().request(*arguments, **named)

    def _record(self) -> None:
        connections: Connections | None = getattr(_here, "connections", None)
        if connections is not None:
            connections.add(self)


class _Guarded(_Recorded):
    networks = Networks()

    def _new_conn(self) -> socket.socket:
        addresses = resolved(self._dns_host, self.port)
        if addresses is None:
            raise NameResolutionError(self.host, self, socket.gaierror("try again"))
        if not self.networks.may_ask(self.host, self.port, addresses):
            raise NotAllowedError(self.host, self.port)
        failure: OSError | None = None
        for address in addresses[:ADDRESSES]:
            try:
                return connection.create_connection(
                    (address, self.port), self.timeout, self.source_address, self.socket_options
                )
            except OSError as error:
                failure = error
        if isinstance(failure, TimeoutError):
            raise ConnectTimeoutError(self, f"{self.host} timed out") from None
        raise NewConnectionError(self, f"{self.host} cannot be connected to") from None


def resolved(host: str, port: int) -> list[str] | None:
    """The addresses that a name stands for; none where nobody knows it, None where the name server does not answer."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (UnicodeError, ValueError):
        return []
    except socket.gaierror as error:
        return None if error.errno == socket.EAI_AGAIN else []
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


class GuardedAdapter(HTTPAdapter):
    """Connects to public addresses and those of `networks` only.

    Where the environment names a proxy, that one resolves names and is what is connected to. The host is checked
    before, as it is resolved here; a name that is not known here is left to the proxy.
    """

    def __init__(self, networks: Networks) -> None:
        self.networks = networks
        super().__init__(pool_maxsize=CONNECTIONS)

    def init_poolmanager(self, *arguments: Any, **named: Any) -> None:
        """As `HTTPAdapter` does, with connections that are checked."""
        super().init_poolmanager(*arguments, **named)
        self.poolmanager.pool_classes_by_scheme = _guarded(self.networks)

    def send(self, request: requests.PreparedRequest, *arguments: Any, **named: Any) -> requests.Response:
        """Raises NotAllowedError."""
        asked = request.url or ""
        url = parse_url(asked)
        proxies = named.get("proxies") or (arguments[4] if len(arguments) > 4 else None)
        if select_proxy(asked, proxies):
            host, port = url.host or "", url.port or (443 if url.scheme == "https" else 80)
            addresses = resolved(host.strip("[]"), port)
            if addresses and not self.networks.may_ask(host, port, addresses):
                raise NotAllowedError(host, port)
        return super().send(request, *arguments, **named)


class OwnAdapter(HTTPAdapter):
    """Connects wherever it is told to, as to Label Studio; what it uses can be ended."""

    def init_poolmanager(self, *arguments: Any, **named: Any) -> None:
        """As `HTTPAdapter` does, with connections that are recorded."""
        super().init_poolmanager(*arguments, **named)
        self.poolmanager.pool_classes_by_scheme = _recorded()


def session(adapter: HTTPAdapter) -> requests.Session:
    """A session of one adapter that keeps no cookies and sends no password but one in the address itself."""
    made = _Session()
    made.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    made.auth = _from_address  # else requests looks into ~/.netrc
    for scheme in ("http://", "https://"):
        made.mount(scheme, adapter)
    return made


class _Session(requests.Session):
    """Whoever asks follows redirects; requests looks where one leads even if it is told not to follow it, and for that
    reads the whole body of the answer into memory."""

    def get_redirect_target(self, resp: requests.Response) -> str | None:  # noqa: ARG002
        """None."""
        return None


def _from_address(request: requests.PreparedRequest) -> requests.PreparedRequest:
    user, password = get_auth_from_url(request.url or "")
    return HTTPBasicAuth(user, password)(request) if user or password else request


@lru_cache
def _guarded(allowed: Networks) -> dict[str, type[HTTPConnectionPool]]:
    """Pools of connections to what is public or allowed; made once, because every request has its own adapter."""

    class Plain(_Guarded):
        networks = allowed

    class Secure(_Guarded, HTTPSConnection):
        networks = allowed

    return _pools(Plain, Secure)


@lru_cache
def _recorded() -> dict[str, type[HTTPConnectionPool]]:
    class Secure(_Recorded, HTTPSConnection):
        pass

    return _pools(_Recorded, Secure)


def _pools(plain: type[HTTPConnection], secure: type[HTTPConnection]) -> dict[str, type[HTTPConnectionPool]]:
    class Plain(HTTPConnectionPool):
        ConnectionCls = plain

    class Secure(HTTPSConnectionPool):
        ConnectionCls = secure  # type: ignore[assignment]

    return {"http": Plain, "https": Secure}
