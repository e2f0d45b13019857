"""Where an image lies: what a task's data says of it, as an address that can be asked.

Label Studio has several names: LABEL_STUDIO_URL is the one that answers here, LABEL_STUDIO_PUBLIC_URL those that people
use; tasks hold either, or a path below either. Its own files are asked for under the first, with the token, which no
other host sees. Addresses are compared as parsed ones, by the parser of the library that asks them.
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass, replace
from urllib.parse import unquote, unquote_to_bytes

from urllib3.exceptions import LocationParseError
from urllib3.util import Url, parse_url

from backend.redaction import redact

CLOUD = ("s3", "gs", "azure-blob")
PORTS = {"http": 80, "https": 443}
SUFFIXES = "jpe?g|jfif|png|gif|bmp|webp|tiff?|avif"
ROUTES = re.compile(
    r"/data/upload/|/data/local-files/?(?=\?|$)|/storage-data/uploaded/|/tasks/\d+/(?:resolve|presign)/"
    r"|/projects/\d+/(?:resolve|presign|file-proxy)/"
)
"""what the paths of Label Studio's own files begin with, below the path where it is served"""
IMAGES = re.compile(
    r"/data/|/static/|/storage-data/uploaded/"
    r"|(?:/api)?/tasks/\d+/(?:resolve|presign)/|(?:/api)?/projects/\d+/(?:resolve|presign|file-proxy)/",
    re.ASCII,
)
"""paths below which Label Studio has images; others are never asked for one, because a GET there may change things"""
LEARNED = 16  # names of Label Studio that are found out
LONGEST = 16_000  # characters of an address; servers take half of that


class AddressError(ValueError):
    """Something that is no address of an image; the message says what would be one."""


@dataclass(frozen=True)
class Address:
    """An address to ask.

    Attributes:
        url: as it is asked; Label Studio's own files under LABEL_STUDIO_URL.
        own: whether it is Label Studio's, and is asked with the token.
        inside: the same file below LABEL_STUDIO_URL, if this looks like Label Studio under a name that is not known:
            worth asking when `url` refuses. None where it does not, and where `own`.
    """

    url: str
    own: bool
    inside: str | None = None


@dataclass(frozen=True)
class Addresses:
    """The names of one Label Studio.

    Attributes:
        url: where it answers, seen from here.
        public: other names of it, as the settings say.
        found: names under which files of it were found; anybody may have made them up, so they never see the token.
    """

    url: str
    public: tuple[str, ...] = ()
    found: tuple[str, ...] = ()

    def of(self, reference: str, task: int) -> Address:
        """The address of what a task's data names. Raises AddressError."""
        text = reference.strip()
        if len(text) > LONGEST:
            raise AddressError(f"{len(text):,} characters are no address")
        scheme = _scheme(text)
        if scheme in CLOUD:
            uri = scheme + text[len(scheme) :]
            encoded = base64.urlsafe_b64encode(uri.encode()).decode()
            return Address(f"{self.url.rstrip('/')}/tasks/{task}/presign/?fileuri={encoded}", True)
        if text.startswith("//"):  # as browsers take it: another host
            scheme = _parsed(self.url).scheme or "http"
            text = f"{scheme}:{text}"
        if scheme in PORTS:
            return self._of_url(scheme + text[len(scheme) :])
        if text.startswith(("/", "upload/")):
            return self._own(self._below(_escaped(text if text.startswith("/") else f"/data/{text}")))
        raise AddressError("not an upload, a local file, http(s), s3, gs or azure-blob")

    def inside(self, url: str) -> str | None:
        """The address below LABEL_STUDIO_URL of a file of Label Studio's; None for addresses of others."""
        try:
            parsed = _parsed(_escaped(url))
        except AddressError:
            return None
        for name in (self.url, *self.public, *self.found):
            rest = _rest(parsed, _parsed(name))
            if rest is not None:
                route = ROUTES.search(rest + _query(parsed))  # a public name may be given without its path
                return self.url.rstrip("/") + rest[route.start() if route else 0 :] + _query(parsed)
        return None

    def may_see_token(self, url: str) -> bool:
        """Whether the token may be sent there: to the names of Label Studio, as they are written or by https, and only
        where it has images."""
        try:
            parsed = _parsed(url)
        except AddressError:
            return False
        return any(
            (rest := _rest(parsed, base)) is not None and parsed.scheme in (base.scheme, "https") and _is_image(rest)
            for base in map(_parsed, (self.url, *self.public))
        )

    def learned(self, url: str) -> Addresses:
        """These, and the name under which an address names a file of Label Studio's."""
        parsed = _parsed(url)
        route = ROUTES.search((parsed.path or "") + _query(parsed))
        if route is None:
            return self
        name = f"{parsed.scheme}://{parsed.netloc}{(parsed.path or '')[: route.start()]}"
        if name in (*self.public, *self.found):
            return self
        return replace(self, found=(*self.found, name)[-LEARNED:])

    def _of_url(self, text: str) -> Address:
        own = self.inside(text)
        if own is not None:
            return self._own(own)
        url = _with_number_signs(text)
        parsed = _parsed(url)
        if not parsed.host:
            raise AddressError("names no host; write it as http://host/path")
        path = (parsed.path or "") + _query(parsed)
        route = ROUTES.search(path) if _plain(parsed.path) else None
        inside = self.url.rstrip("/") + _escaped(path[route.start() :]) if route else ""
        return Address(url, False, inside if self.may_see_token(inside) else None)  # the route may be in the query

    def _own(self, url: str) -> Address:
        """An address below LABEL_STUDIO_URL. Raises AddressError where it has no images there."""
        if not self.may_see_token(url):
            path = _parsed(url).path or "/"
            raise AddressError(
                f"Label Studio has no images under {path[:80]}, but below /data/upload/ or /data/local-files/?d=; "
                "an image elsewhere is named with http:// and its host"
            )
        return Address(url, True)

    def _below(self, path: str) -> str:
        """A path as browsers ask it, below LABEL_STUDIO_URL: without the part below which Label Studio is served."""
        bare = path.partition("?")[0]
        route = ROUTES.search(path)
        if route:
            return self.url.rstrip("/") + path[route.start() :]
        for name in (self.url, *self.public):
            base = (_parsed(name).path or "").rstrip("/")
            if base and (bare == base or bare.startswith(base + "/")):
                return self.url.rstrip("/") + path[len(base) :]
        return self.url.rstrip("/") + path


def names(text: str) -> tuple[str, ...]:
    """Addresses that are separated by commas. Raises AddressError naming one that is none."""
    found = tuple(part.strip().rstrip("/") for part in text.split(",") if part.strip())
    for name in found:
        if _scheme(name) not in PORTS or not _parsed(name).host:
            raise AddressError(f"{name!r}: must be an address that begins with http:// or https://")
    return found


def is_data(reference: str) -> bool:
    """Whether the image itself is in the task, as a data: URI."""
    return _scheme(reference.strip()) == "data"


def data_of(reference: str) -> bytes:
    """The bytes of a data: URI. Raises AddressError."""
    head, comma, body = reference.strip().partition(",")
    if not comma:
        raise AddressError("a data: URI without a comma; write it as data:image/png;base64,...")
    data = unquote_to_bytes(body)
    if not head.lower().endswith(";base64"):
        return data
    try:
        packed = re.sub(rb"\s", b"", data).rstrip(b"=").translate(bytes.maketrans(b"-_", b"+/"))
        return base64.b64decode(packed + b"=" * (-len(packed) % 4), validate=True)
    except ValueError as error:
        raise AddressError(f"a data: URI whose base64 cannot be read ({error}); import the task again") from error


def shortened(reference: str, length: int = 200) -> str:
    """A reference for messages and logs, without passwords and signatures: of a data: URI the kind and size, of what is
    long both ends."""
    if is_data(reference):
        head = reference.strip().partition(",")[0][:60]
        return f"{head},... ({len(reference)} characters)"
    if len(reference) > LONGEST:  # what is cut between could be half a signature
        return f"{redact(reference[:length])[:length]}... ({len(reference)} characters)"
    address, mark, query = reference.partition("?")
    reference = redact(address + mark + re.sub(r"\s", "%20", query))
    if len(reference) <= length:
        return reference
    return f"{reference[: length * 2 // 3]}...{reference[-length // 3 :]}"


def host_of(url: str) -> str:
    """Host and port of an address, for messages."""
    try:
        return _parsed(url).netloc or url
    except AddressError:
        return shortened(url)


def _scheme(text: str) -> str:
    found = re.match(r"([a-zA-Z][a-zA-Z0-9+.-]*):", text)
    return found[1].lower() if found else ""


def _parsed(url: str) -> Url:
    """Small letters for scheme and host, dots in the path resolved, no user and no password."""
    try:
        return parse_url(url)._replace(auth=None)
    except LocationParseError:  # its text holds the whole address
        raise AddressError("no address that can be asked: its host or its port is none") from None


def _rest(url: Url, base: Url) -> str | None:
    """The path of an address below another one; None where it is not below. http and https of one host are one, if
    both have their usual port."""
    if url.scheme not in PORTS or not url.host or not base.host or not _plain(url.path):
        return None
    if url.host.rstrip(".") != base.host.rstrip("."):
        return None
    port, base_port = (u.port or PORTS[u.scheme or "http"] for u in (url, base))
    if port != base_port and {port, base_port} != set(PORTS.values()):
        return None
    path, below = url.path or "/", (base.path or "").rstrip("/")
    return path[len(below) :] if path == below or path.startswith(below + "/") else None


def _plain(path: str | None) -> bool:
    """Whether a path holds no escaped dots, which a server might take for the folder above; some unescape twice."""
    once = unquote(path or "")
    parts = re.split(r"[/\\]", f"{once}/{unquote(once)}")
    return not any(re.sub(r"[\0-\x20]|;.*", "", part, flags=re.DOTALL) in ("..", ".") for part in parts)


def _is_image(path: str) -> bool:
    """Whether Label Studio may have an image under a path of its own."""
    return IMAGES.match(path) is not None and _plain(path)


def _query(url: Url) -> str:
    return "" if url.query is None else f"?{url.query}"


def _escaped(text: str) -> str:
    """Label Studio's own addresses have no fragment: # belongs to the file's name."""
    return text.replace("#", "%23")


def _with_number_signs(text: str) -> str:
    """An address elsewhere: # belongs to the file's name where a picture's suffix follows it, else begins a fragment,
    which is not sent."""
    before, sign, after = text.partition("#")
    if sign and re.search(rf"\.({SUFFIXES})(\?|$)", after, re.IGNORECASE):
        return _escaped(text)
    return before
