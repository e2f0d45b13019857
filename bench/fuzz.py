"""Wrong requests against a running backend: none may be answered 500, none may leave a traceback in the log.

    python -m bench.fuzz --url http://127.0.0.1:9090 --log serve.log --requests 10000

Without --url a backend and a Redis of its own are started. The last line is JSON. Each request follows from its number,
so that one that fails can be sent again: --first N --requests 1.
"""

from __future__ import annotations

import argparse
import base64
import json
import random
import shutil
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests
from requests.adapters import HTTPAdapter

from backend.commands.local import LocalStack
from backend.project.published import Publication
from backend.project.serving import published_of, store_of
from model.detectors.open import open_detector

CONFIG = (
    '<View><Image name="image" value="$image"/><RectangleLabels name="label" toName="image">'
    '<Label value="Car"/></RectangleLabels></View>'
)
PIXEL = (  # 8 x 8, so that requests reach the detector
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAgAAAAIAQMAAAD+wSzIAAAABlBMVEX///+/v7+jQ3Y5AAAADklEQVQI12P4AIX8EAgALgAD/aNpbtEAAAAA"
    "SUVORK5CYII="
)
TASK = {"id": 1, "project": 1, "data": {"image": PIXEL}, "annotations": [], "predictions": []}
VALUE = {"x": 1, "y": 1, "width": 5, "height": 5, "rectanglelabels": ["Car"]}
REGION = {"id": "a", "from_name": "label", "to_name": "image", "type": "rectanglelabels", "value": VALUE}
ABOUT = {"id": 1, "title": "x", "total_annotations_number": 3, "label_config": CONFIG}
RIGHT: list[tuple[str, str, Any]] = [
    ("GET", "/", None),
    ("GET", "/health", None),
    ("GET", "/versions", None),
    ("POST", "/setup", {"project": "1.1", "schema": CONFIG, "hostname": "x", "access_token": "x", "extra_params": {}}),
    ("POST", "/predict", {"tasks": [TASK], "project": "1.1", "label_config": CONFIG, "params": {"context": None}}),
    (
        "POST",
        "/predict",
        {"tasks": [TASK], "project": "1.1", "label_config": CONFIG, "params": {"context": {"result": [REGION]}}},
    ),
    ("POST", "/webhook", {"action": "START_TRAINING", "project": ABOUT}),
    (
        "POST",
        "/webhook",
        {"action": "ANNOTATION_CREATED", "project": ABOUT, "annotation": {"id": 1, "result": [REGION]}},
    ),
    ("POST", "/webhook", {"action": "TASKS_CREATED", "project": ABOUT, "tasks": [TASK]}),
    ("POST", "/webhook", {"action": "PROJECT_UPDATED", "project": ABOUT}),
    ("POST", "/job_status", {"job": "nonsense"}),
    ("GET", "/api/projects/1", None),
]
CANCEL = ("POST", "/api/projects/1/cancel", None)  # it takes a while: one in a hundred
TEXTS = [
    *(
        "",
        " ",
        "a b",
        "²",
        "٣",
        "1.1",
        "-1",
        "1e999",
        "NaN",
        "null",
        "\x00",
        "\n",
        "\r\nX: y",
        "\u202e",
        "💥",
        "\ud800",
    ),
    *(
        "../../etc/passwd",
        "/etc/passwd",
        "file:///etc/passwd",
        "http://127.0.0.1:1/",
        "data:image/png;base64,AAAA",
        "s3://b/a",
    ),
    *(
        "<View/>",
        "<View>",
        "<View>" * 500,
        CONFIG.replace("$image", "$a.b"),
        '<!DOCTYPE x [<!ENTITY a "b">]><View>&a;</View>',
    ),
    *("{{7*7}}", "%s%s%n", "' OR 1=1 --", "$(id)", "x" * 5000, "START_TRAINING", "1" * 400),
]
NUMBERS = [0, -1, 1, 2, 2**31, 2**63, 2**64, 10**40, -(10**40), 0.5, -0.0, 1e308, float("nan"), float("inf")]
METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"]
PATHS = [
    "/nothing",
    "//",
    "/..",
    "/%00",
    "/%2e%2e/etc",
    "/api/projects/",
    "/api/projects/²",
    "/static/x",
    "/api/projects/" + "9" * 300,
]
HEADERS = [
    {"Authorization": "Basic !!!"},
    {"Authorization": "Basic " + base64.b64encode(b"\xff:\xff").decode()},
    {"Content-Type": "text/plain"},
    {"Content-Type": "application/json; charset=utf-16"},
    {"Content-Encoding": "gzip"},
    {"Accept": "text/html"},
    {"Host": "evil.example"},
    {"Origin": "https://evil.example"},
    {"Origin": "http://[::1"},
    {"Host": "[::1"},
    {"X-Forwarded-For": "' OR 1=1"},
    {"X-HTTP-Method-Override": "DELETE"},
    {"Range": "bytes=0-"},
    {"Cookie": "a=b; " * 50},
]


@dataclass(frozen=True)
class Case:
    """One request."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes | None


def case(number: int) -> Case:
    """The request of a number: a right one, in which a few things are wrong."""
    rng = random.Random(number)
    method, path, body = rng.choice(RIGHT) if rng.random() < 0.99 else CANCEL
    headers = {"Content-Type": "application/json"} if body is not None else {}
    for _ in range(rng.choice((0, 1, 1, 1, 2, 5))):
        body = _wrong(rng, body)
    if rng.random() < 0.1:
        method = rng.choice(METHODS)
    if rng.random() < 0.05:
        path = rng.choice(PATHS)
    if rng.random() < 0.1:
        headers |= rng.choice(HEADERS)
    data = None if body is None else json.dumps(body).encode()
    if data is not None and rng.random() < 0.1:
        data = _damaged(rng, data)
    return Case(method, path, headers, data)


def _wrong(rng: random.Random, body: Any) -> Any:
    """JSON with something wrong in one place, deeper ones rather than the whole."""
    if isinstance(body, dict) and body and rng.random() < 0.85:
        key = rng.choice(list(body))
        if rng.random() < 0.1:
            return {name: value for name, value in body.items() if name != key}
        if rng.random() < 0.1:
            return body | {_text(rng): _value(rng)}
        return body | {key: _wrong(rng, body[key])}
    if isinstance(body, list) and body and rng.random() < 0.85:
        place = rng.randrange(len(body))
        return [*body[:place], _wrong(rng, body[place]), *body[place + 1 :]]
    return _value(rng)


def _value(rng: random.Random, depth: int = 0) -> Any:
    kind = rng.randrange(8 if depth < 4 else 5)
    if kind == 0:
        return rng.choice((None, True, False))
    if kind in (1, 2):
        return rng.choice(NUMBERS)
    if kind in (3, 4):
        return _text(rng)
    if kind == 5:
        deep: Any = []
        for _ in range(rng.choice((1, 50, 300))):
            deep = [deep] if rng.random() < 0.5 else {"a": deep}
        return deep
    inner = [_value(rng, depth + 1) for _ in range(rng.randrange(4))]
    return inner if kind == 6 else {_text(rng): value for value in inner}


def _text(rng: random.Random) -> str:
    return rng.choice(TEXTS) if rng.random() < 0.8 else "".join(chr(rng.randrange(0xD7FF)) for _ in range(8))


def _damaged(rng: random.Random, data: bytes) -> bytes:
    place = rng.randrange(len(data) + 1)
    return rng.choice(
        (
            data[:place],
            data[:place] + bytes(rng.randrange(256) for _ in range(5)) + data[place:],
            data.decode().encode("utf-16"),
            b"[" * 50_000,
            b'{"a":' * 20_000,
            b"\xef\xbb\xbf" + data,
            data * 2,
            b"",
        )
    )


def fuzz(url: str, first: int, count: int, threads: int) -> dict[str, Any]:
    """Send the requests; the figures of the answers."""
    session = requests.Session()
    session.mount("http://", HTTPAdapter(pool_maxsize=threads))
    statuses: Counter[int] = Counter()
    times: list[float] = []
    faults: list[int] = []

    def send(number: int) -> None:
        one = case(number)
        began = time.monotonic()
        try:
            request = requests.Request(one.method, url, headers=one.headers, data=one.body).prepare()
            request.url = url + one.path  # as it is: requests would put it right
            answer = session.send(request, timeout=30)
            status = answer.status_code
            lines = answer.json().get("error", "") if status >= 400 and answer.content else ""
        except (requests.RequestException, ValueError) as error:
            print(f"request {number}: {error}", flush=True)
            status, lines = 0, ""
        times.append(time.monotonic() - began)
        statuses[status] += 1
        if status in (0, 500) or "\n" in lines or "Traceback" in lines:
            faults.append(number)

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(send, range(first, first + count)))
    times.sort()
    return {
        "requests": count,
        "errors": len(faults),
        "first_errors": sorted(faults)[:10],
        "statuses": {str(status): number for status, number in sorted(statuses.items())},
        "p99_ms": round(1000 * times[int(0.99 * len(times))], 1),
    }


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", help="a running backend; without it one is started")
    parser.add_argument("--log", type=Path, help="its log, in which tracebacks are looked for")
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--threads", type=int, default=8)
    asked = parser.parse_args()
    with ExitStack() as ending:
        url, log = asked.url, asked.log
        if url is None:
            directory = Path(tempfile.mkdtemp(prefix="mgral-fuzz-", dir="/tmp"))
            ending.callback(shutil.rmtree, directory, ignore_errors=True)
            stack = ending.enter_context(LocalStack(directory))
            stack.label_studio_url = "http://127.0.0.1:9"
            stack.start_redis()
            settings = stack.settings()
            version = store_of(settings, 1).add_first(open_detector("starter"), {})
            published_of(settings, 1).publish(Publication("v1-r001", version.name, "entropy", 0))
            stack.start_backend(IMAGE_SIZE="64")
            url, log = stack.backend_url, stack.log("serve")
        figures = fuzz(url, asked.first, asked.requests, asked.threads)
        if log:
            said = log.read_text(errors="replace")
            figures["tracebacks"] = said.count("Traceback")
            if figures["tracebacks"]:
                print(said[said.index("Traceback") :][:5000])
        print(json.dumps(figures))


if __name__ == "__main__":
    main()
