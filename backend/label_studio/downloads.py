"""Bytes of images by what tasks say of them: which address is asked, with or without the token, and how long."""

from __future__ import annotations

import logging
import math
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from urllib.parse import urljoin

import requests
from urllib3.exceptions import HTTPError, IncompleteRead
from urllib3.util import parse_url

from backend.label_studio.addresses import AddressError, data_of, host_of, is_data, shortened
from backend.label_studio.client import AWAY, Studio, StudioAway, token_refused
from backend.label_studio.deadline import within
from backend.label_studio.guard import Connections, GuardedAdapter, NotAllowedError, OwnAdapter, session
from backend.networks import Networks
from backend.settings import Settings
from model.data.images import ImageError
from model.data.undecodable import is_page, title

logging.getLogger("urllib3.connectionpool").setLevel(logging.INFO)  # below, it writes addresses with their signatures

ATTEMPTS = 3
PAUSES = (0.5, 1.0, 2.0, 4.0, 8.0)  # seconds between tries, the last for all that follow
REDIRECTS = 5
AT_ONCE = 8


@dataclass(frozen=True)
class Limits:
    """What downloads may take.

    Attributes:
        seconds: of one image, tries and redirects included.
        megabytes: of one image.
        networks: where images may lie beside public addresses.
        at_once: downloads of this process.
        until: when all of them have to be done, by `time.monotonic`.
    """

    seconds: float = 60.0
    megabytes: float = 100.0
    networks: Networks = field(default_factory=Networks)
    at_once: int = AT_ONCE
    until: float = math.inf

    @classmethod
    def of(cls, settings: Settings) -> Limits:
        """Those that the settings name."""
        return cls(settings.image_seconds, settings.image_megabytes, Networks.parse(settings.image_networks))


@dataclass(eq=False)
class _Failure(Exception):
    """One try that gave no image.

    Attributes:
        why: for people.
        tries: that are worth it; None: as many as the deadline allows.
        after: seconds that the host asks to wait.
        refused: as Label Studio under an unknown name would, when it is not shown the token.
        away: the host as a whole is failing, not this image.
        host, own: what was asked last, and whether that was Label Studio.
    """

    why: str
    tries: int | None = 1
    after: float = 0.0
    refused: bool = False
    away: bool = False
    host: str = ""
    own: bool = False


class Downloads:
    """Fetches images; remembers which hosts were away, and under which names Label Studio was found."""

    def __init__(self, studio: Studio, limits: Limits) -> None:
        self.studio, self.limits, self.addresses = studio, limits, studio.addresses
        self.away: set[str] = set()  # hosts that failed for the whole time once: asked once an image until they answer
        self.own, self.others = session(OwnAdapter()), session(GuardedAdapter(limits.networks))

    def fetch(self, reference: str, task: int) -> bytes:
        """The encoded image.

        Raises:
            ImageError: this image cannot be read; the line names it and says why.
            StudioAway: Label Studio does not answer, or asks to wait.
            StudioError: it refuses the token.
        """
        named = f"image {shortened(reference)!r} of task {task}"
        try:
            if is_data(reference):
                return data_of(reference)
            address = self.addresses.of(reference, task)
        except AddressError as error:
            raise ImageError(f"{named}: {error}") from None
        try:
            return self._patiently(address.url, address.own, guessed=address.inside is not None)
        except _Failure as failure:
            outside = failure
        if address.inside is None or not outside.refused:
            raise ImageError(f"{named}: {outside.why}")
        host = host_of(address.url)
        try:
            data = self._patiently(address.inside, True)
        except _Failure as inner:
            raise ImageError(
                f"{named}: {outside.why} ({host}), and {inner.why} ({self.studio.url}); if {host} is Label Studio too, "
                "set LABEL_STUDIO_PUBLIC_URL to its address"
            ) from None
        self.addresses = self.addresses.learned(address.url)
        return data

    def _patiently(self, url: str, own: bool, guessed: bool = False) -> bytes:
        """The bytes, tried again as long as it is worth it. `guessed`: another address is asked if this one fails."""
        now, tries = time.monotonic(), 0
        end = min(now + self.limits.seconds, self.limits.until)
        late = _Failure(
            f"was not there after {max(0.0, end - now):.0f} s; put it where it is read faster, or set IMAGE_SECONDS"
        )
        while True:
            try:
                return self._once(url, own, end, late)
            except _Failure as failure:
                tries += 1
                most = 1 if failure.host in self.away or (guessed and failure.refused) else failure.tries
                pause = max(failure.after, PAUSES[min(tries, len(PAUSES)) - 1])
                if (most is None or tries < most) and time.monotonic() + pause < end:
                    time.sleep(pause)
                    continue
                if failure.away and failure.own:
                    raise StudioAway(f"Label Studio at {self.studio.url}: {failure.why}") from None
                if failure.away:
                    self.away.add(failure.host)
                raise

    def _once(self, url: str, own: bool, end: float, late: _Failure) -> bytes:
        """One try: redirects are followed by hand, because a presigned address must not be sent the token."""
        for _ in range(REDIRECTS):
            try:
                data, target = self._in_time(url, own, end, late)
            except _Failure as failure:
                failure.host, failure.own = host_of(url), own
                raise
            if not target:
                self.away.discard(host_of(url))
                return data
            url, own = self._redirected(url, target, own)
        raise _Failure("redirects in a circle")

    def _in_time(self, url: str, own: bool, end: float, late: _Failure) -> tuple[bytes, str]:
        """As `_get`; at the end of the time all that it waits for is ended. Raises _Failure."""
        slots, connections, replies = _slots(self.limits.at_once), Connections(), list[requests.Response]()
        if not slots.acquire(timeout=max(0.0, end - time.monotonic())):
            raise late
        if time.monotonic() >= end:
            slots.release()
            raise late

        def get() -> tuple[bytes, str]:
            try:
                with connections.recorded():
                    return self._get(url, own, replies)
            finally:
                slots.release()  # not before: whoever does not wait any more has not freed it

        try:
            return within(end - time.monotonic(), get)
        except TimeoutError:
            connections.end()
            for reply in replies:
                with suppress(ValueError, OSError):  # it has ended this moment
                    reply.raw.shutdown()
            raise late from None

    def _get(self, url: str, own: bool, replies: list[requests.Response]) -> tuple[bytes, str]:
        """The bytes, or where a redirect leads; the answer goes into `replies` before it is read, for whoever wants to
        end that. Raises _Failure."""
        if own and not self.addresses.may_see_token(url):  # whatever led here
            raise _Failure(f"Label Studio has no images under {parse_url(url).path}")
        headers = self.studio.authorization() if own else {}
        timeout = (5, self.limits.seconds)
        try:
            with (self.own if own else self.others).get(
                url, headers=headers, timeout=timeout, stream=True, allow_redirects=False
            ) as reply:
                replies.append(reply)
                if reply.is_redirect:
                    return b"", urljoin(url, reply.headers["location"])
                if not reply.ok:
                    raise self._refusal(reply, own)
                return _body(reply, own, self.limits.megabytes), ""
        except NotAllowedError as error:
            raise _Failure(str(error), refused=True) from None
        except requests.exceptions.ChunkedEncodingError as error:
            raise _Failure(_broken_off(error), tries=ATTEMPTS) from None
        except requests.Timeout:
            raise _Failure("timed out", tries=ATTEMPTS, refused=True) from None
        except requests.ConnectionError:
            tries = 1 if own else ATTEMPTS
            raise _Failure(f"{host_of(url)} does not answer", tries, refused=True, away=True) from None
        except (requests.RequestException, HTTPError, ValueError) as error:
            raise _Failure(f"cannot be asked ({type(error).__name__})") from None  # its text holds the whole address

    def _redirected(self, url: str, target: str, own: bool) -> tuple[str, bool]:
        """Where a redirect leads, and whether with the token: only from Label Studio to itself."""
        inside = self.addresses.inside(target) if own else None
        if inside is not None and inside != url:
            if not self.addresses.may_see_token(inside):
                raise _Failure(
                    f"leads to {parse_url(inside).path}, where Label Studio has no images; is LABEL_STUDIO_URL its own "
                    "address, and no login or proxy before it?"
                )
            return inside, True
        return target, own and self.addresses.may_see_token(target)

    def _refusal(self, reply: requests.Response, own: bool) -> Exception:
        status = reply.status_code
        if status == 401 and own:
            return token_refused(self.studio.url)
        if status == 429 or status >= 500:
            away = status in AWAY
            return _Failure(f"answered {status}", None if away and not own else ATTEMPTS, _wait(reply), away=away)
        hint = " (may this token see the project's storage?)" if own and status == 403 else ""
        return _Failure(f"answered {status}{hint}", refused=status in (401, 403))


@lru_cache
def _slots(count: int) -> threading.BoundedSemaphore:
    """Of the whole process."""
    return threading.BoundedSemaphore(count)


def _body(reply: requests.Response, own: bool, megabytes: float) -> bytes:
    most, data = round(megabytes * 1e6), bytearray()
    too_large = _Failure(f"is larger than {megabytes:g} MB: IMAGE_MEGABYTES")
    declared = reply.headers.get("Content-Length", "")
    if declared.isdecimal() and len(declared) < 20 and int(declared) > most:
        raise too_large
    for chunk in reply.iter_content(1 << 18):
        data += chunk
        if len(data) > most:
            raise too_large
    if is_page(bytes(data[:1000])):
        name = title(bytes(data))
        page = f"a web page titled {name!r}" if name else "a web page"
        check = (
            "is LABEL_STUDIO_URL Label Studio's own address, and no login or proxy before it?"
            if own
            else "does it want a login? Open it in a private window of a browser"
        )
        raise _Failure(f"answered with {page}, no image; {check}", refused=True)
    return bytes(data)


def _wait(reply: requests.Response) -> float:
    """The seconds of the header Retry-After; 0 where it is absent, a date or damaged."""
    try:
        return max(0.0, float(reply.headers.get("Retry-After", "")))
    except ValueError:
        return 0.0


def _broken_off(error: requests.RequestException) -> str:
    """After how much an answer ended, as far as it is known."""
    cause: BaseException | None = error
    for _ in range(4):
        for found in (cause, *getattr(cause, "args", ())):
            if isinstance(found, IncompleteRead) and found.expected is not None:
                return f"broke off after {found.partial} of {found.partial + found.expected} bytes"
        cause = next((arg for arg in getattr(cause, "args", ()) if isinstance(arg, BaseException)), None)
    return "broke off"
