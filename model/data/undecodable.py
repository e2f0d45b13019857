"""What bytes that are no picture look like, for the line that people read."""

from __future__ import annotations

import io
import re

from model.data.limits import TooLargeError, decoding

HEAD = 1000  # bytes that are looked at
KINDS = (
    (rb"%PDF", "it is a PDF"),
    (rb"....ftyp(heic|heix|hevc|mif1|msf1)", "it is a HEIC photo, which browsers do not show either"),
    (rb"....ftyp", "it is a video"),
    (rb"\x1aE\xdf\xa3|RIFF....AVI ", "it is a video"),
    (rb"PK\x03\x04|\x1f\x8b|7z\xbc\xaf|Rar!", "it is an archive; unpack it first"),
    (rb"version https://git-lfs", "it is a Git LFS pointer; fetch the file itself"),
    (rb"<(\?xml|\w+)[^>]*>.*<Code>(?P<name>\w+)</Code>", "it is a storage's answer: {name}"),
    (rb"[\[{]", "it is JSON"),
    (rb"<", "it is XML"),
)


class CutOffError(ValueError):
    """A picture whose end is missing; the message says after how much."""


def is_page(data: bytes) -> bool:
    """Whether these bytes are an HTML page, as login pages and maintenance pages are."""
    text = _head(data)
    return text.startswith((b"<!doctype html", b"<html", b"<head")) or (text.startswith(b"<") and b"<html" in text)


def title(data: bytes) -> str:
    """The title of an HTML page, shortened; empty where it has none."""
    found = re.search(rb"<title[^>]*>(.*?)</title>", data[:20_000], re.IGNORECASE | re.DOTALL)
    return " ".join(found[1].decode("utf-8", "replace").split())[:80] if found else ""


def what_it_is(data: bytes, error: Exception) -> str:
    """Why bytes could not be decoded: what they are instead, where the picture ends, or else the decoder's word."""
    if not data:
        return "it is empty: 0 bytes"
    if not data.strip(b"\0"):
        return f"it holds nothing but {len(data)} zero bytes"
    if is_page(data):
        name = title(data)
        return "it is a web page, perhaps a login page" + (f", titled {name!r}" if name else "")
    text = _head(data)
    if b"<svg" in text and text.startswith(b"<"):
        return "it is an SVG drawing, which has no pixels"
    if isinstance(error, (CutOffError, TooLargeError)):
        return str(error)
    for pattern, said in KINDS:
        if found := re.match(pattern, data[:HEAD].lstrip(b"\xef\xbb\xbf \t\r\n"), re.DOTALL):
            return said.format(**{k: v.decode("ascii", "replace") for k, v in found.groupdict().items()})
    if cut := _cut_off(data):
        return cut
    beginning = data[:40].decode("ascii", "replace")
    if beginning.isprintable() or beginning.isspace():
        return f"it is text: {beginning!r}"
    try:
        with decoding(io.BytesIO(data)) as image:
            return f"a damaged {image.format}: {error}"
    except Exception:  # noqa: BLE001 - broken files make Pillow's parsers raise almost anything
        return f"no picture that is known: {len(data)} bytes that begin with {data[:8].hex(' ')}"


def with_end(data: bytes) -> bytes:
    """A JPEG whose last bytes are missing, with an end, if all of its pixels are there; browsers show it too.

    Whether they are is seen by decoding it with two different paddings: a missing pixel depends on them.

    Raises:
        CutOffError: pixels are missing.
        TooLargeError: it has too many.
    """
    body, end = data.rstrip(b"\xff"), b"\xff\xd9"
    first, second = (_rows(body + padding * 64 + end) for padding in (b"\0", b"\x55"))
    differing = next((row for row, pair in enumerate(zip(first, second, strict=True)) if len(set(pair)) > 1), None)
    if differing is not None:
        raise CutOffError(f"truncated after {differing} of {len(first)} rows")
    return body + end


def _rows(data: bytes) -> list[int]:
    """A number for each row of pixels that changes with them."""
    with decoding(io.BytesIO(data)) as image:
        image.load()
        return [hash(image.crop((0, row, image.width, row + 1)).tobytes()) for row in range(image.height)]


def _cut_off(data: bytes) -> str:
    """How much of a picture there is, if its end is missing; "" if it is not."""
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        declared = int.from_bytes(data[4:8], "little") + 8
        return f"truncated after {len(data)} of {declared} bytes" if len(data) < declared else ""
    try:
        with decoding(io.BytesIO(data)) as image:
            try:
                image.load()
            except OSError as error:
                if "truncated" not in str(error).lower():
                    return ""
                try:
                    box = image.im.getbbox()  # of what was decoded: the rest is 0
                except ValueError:
                    box = None
                rows = box[3] - box[1] if box else 0
                return f"truncated after about {rows} of {image.height} rows"
    except Exception as error:  # noqa: BLE001 - as above
        return "truncated within its head" if "truncated" in str(error).lower() else ""
    return ""


def _head(data: bytes) -> bytes:
    """The first bytes in small letters, without what may stand before the first element."""
    text = data[:HEAD].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    return re.sub(rb"\A(<\?xml.*?\?>|<!--.*?-->|\s)+", b"", text, flags=re.DOTALL)
