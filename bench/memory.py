"""How much memory does a cycle take on photographs of 12 megapixels?

    python -m bench.memory --out OUT                               # 60 labeled, 100 others: some minutes
    python -m bench.memory --out OUT --labeled 400 --tasks 2000    # an hour on two cores
    python -m bench.memory --out OUT --decode                      # bytes a pixel while each format is decoded

The photographs are made: a few files of 4000 x 3000 pixels, about 5 MB each, under as many names as there are tasks,
and handed out by a web server as a foreign host would. Every part of a cycle that sees pictures is run in a process of
its own, as a worker runs its jobs, on weights that are trained for one epoch only: memory does not depend on how long.
The last line is JSON: the greatest resident size of each part in MB, and of all of them. What is finished lies in OUT
and is not done again.
"""

from __future__ import annotations

import argparse
import functools
import json
import multiprocessing
import os
import threading
import time
from collections.abc import Callable
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from model.data.dataset import Dataset, LabeledImage
from model.progress import silent

WIDTH, HEIGHT = 4000, 3000
FILES = 8  # that differ
SIDE = 8192  # of the pictures whose decoding is measured
CLASSES = ("red", "blue")
PARTS = ("train", "scan", "plan", "control", "variant")


def photograph(path: Path, number: int) -> None:
    """Two boxes on noise that compresses as a photograph does."""
    rng = np.random.default_rng(number)
    coarse = cv2.resize(rng.integers(60, 190, (HEIGHT // 8, WIDTH // 8, 3), dtype=np.uint8), (WIDTH, HEIGHT))
    pixels = cv2.add(coarse, rng.integers(0, 30, (HEIGHT, WIDTH, 3), dtype=np.uint8))
    for (x1, y1, x2, y2), colour in zip(boxes(number), ((40, 40, 220), (220, 60, 30)), strict=True):
        cv2.rectangle(pixels, (int(x1), int(y1)), (int(x2), int(y2)), colour, -1)
    cv2.imwrite(str(path), pixels, [cv2.IMWRITE_JPEG_QUALITY, 90])


def boxes(number: int) -> np.ndarray:
    """(2, 4) float32 corners, one of each class."""
    left, top = np.random.default_rng(number).integers(100, 1200, 2)
    return np.array([[left, top, left + 900, top + 700], [left + 1500, top + 800, left + 2300, top + 1500]], np.float32)


def data(folder: Path, tasks: int) -> Dataset:
    """The photographs, ids 1, 2, ..."""
    folder.mkdir(parents=True, exist_ok=True)
    images = []
    for number in range(1, tasks + 1):
        path, first = folder / str(number), folder / str((number - 1) % FILES + 1)
        if not path.exists():
            if path == first:
                photograph(path.with_suffix(".jpg"), number)
                path.with_suffix(".jpg").rename(path)
            else:
                os.link(first, path)
        corners = boxes((number - 1) % FILES + 1)
        images.append(LabeledImage(number, path, (WIDTH, HEIGHT), corners, np.arange(2, dtype=np.int64)))
    return Dataset(tuple(images), CLASSES)


def run(part: str, out: Path, labeled: int, tasks: int, size: int, url: str) -> None:
    """One part of the cycle, and how much memory this process had for it."""
    from agent.cycle import Cycle, CycleConfig  # torch is a part of what is measured
    from agent.inner_loop.plan import Plan
    from agent.inner_loop.planning import PlanConfig
    from agent.inner_loop.values import SurrogateConfig
    from agent.learning import learn
    from agent.pool.store import Encoder, PoolStore
    from backend.label_studio.client import Studio, Task
    from backend.label_studio.downloads import Limits
    from backend.label_studio.images import Pictures
    from backend.networks import Networks
    from backend.project.images import TaskImages
    from model.detectors.base import FitConfig
    from model.detectors.open import open_detector
    from model.versions import VersionStore

    everything = data(out / "images", tasks)
    known, folder = everything.subset(range(1, labeled + 1)), out / "cycle"
    fit = FitConfig(epochs=1, min_steps=1, image_size=size)
    store = VersionStore(out / "versions")
    networks = Networks.parse("127.0.0.0/8")
    pictures = Pictures(Studio("http://127.0.0.1:9", "0" * 40), out / "cache", 1.0, Limits(networks=networks))
    listed = [Task(image.id, {"image": f"{url}/{image.id}"}) for image in everything.images]
    config = CycleConfig(
        fit=fit, budget=16, plan=PlanConfig(hindsight=2, training=SurrogateConfig(steps=10)), seconds=1e9
    )
    cycle = Cycle(TaskImages(listed, pictures, "image", []), config, lambda *_, **__: None)
    folder.mkdir(exist_ok=True)
    start = time.monotonic()
    if part == "train":
        detector = open_detector("starter")
        detector.image_size = size
        learn(folder, store, store.add_first(detector, {}), detector, known, fit, lambda *_, **__: None)
    else:
        version = store.list()[-1]
        detector = open_detector(version.weights)
        if part == "scan":
            cycle.look(PoolStore(out / "pool"), Encoder(detector, "bench"), {image.id for image in known.images}, None)
        elif part == "plan":
            first = store.list()[0]
            learned = learn(folder, store, first, open_detector(first.weights), known, fit, lambda *_, **__: None)
            pool = cycle.look(PoolStore(out / "pool"), Encoder(detector, "bench"), {i.id for i in known.images}, None)
            hindsight = cycle.look_back(folder, known, None, open_detector(first.weights))
            (folder / "images").mkdir(exist_ok=True)
            for image in known.images:
                if not (folder / "images" / str(image.id)).exists():
                    os.link(image.path, folder / "images" / str(image.id))
            cycle.plan(folder, known, pool, detector, learned, hindsight)
        else:
            plan = Plan.load(folder)
            plan.run(plan.pending(controls=part == "control")[0], silent)
    result = {"peak_mb": round(peak() / 1e6), "seconds": round(time.monotonic() - start)}
    (out / f"{part}.json").write_text(json.dumps(result))


def peak() -> int:
    """The greatest resident size that this process ever had, in bytes; Linux only. What `getrusage` says may be the
    size of the process that started it."""
    status = Path("/proc/self/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM:"))) * 1024


def decode(kind: str, out: Path) -> None:
    """How many bytes a pixel it takes to decode a picture of a kind, beyond what the process has before."""
    from model.data.images import load_image

    data = (out / kind).read_bytes()
    before = peak()
    load_image(data)
    (out / f"{kind}.json").write_text(json.dumps(round((peak() - before) / SIDE**2, 1)))


def write_kinds(folder: Path) -> list[str]:
    """Pictures of SIDE x SIDE pixels, a file each; returns their names."""
    folder.mkdir(parents=True, exist_ok=True)
    plain, turned = Image.new("RGB", (SIDE, SIDE), (10, 20, 30)), Image.Exif()
    turned[0x0112] = 6
    for kind in ("PNG", "JPEG", "WEBP", "GIF", "BMP", "AVIF", "TIFF"):
        plain.save(folder / kind, kind)
    plain.save(folder / "JPEG turned", "JPEG", exif=turned)
    Image.new("RGBA", (SIDE, SIDE), (10, 20, 30, 40)).save(folder / "PNG transparent", "PNG")
    deep = np.full((SIDE, SIDE, 3), 60_000, np.uint16)
    (folder / "PNG 16 bits").write_bytes(cv2.imencode(".png", deep)[1].tobytes())
    Image.fromarray(deep[..., 0].astype(np.float32)).save(folder / "TIFF floats", "TIFF")
    return sorted(path.name for path in folder.iterdir() if path.suffix != ".json")


def apart(work: Callable[..., None], *arguments: object) -> None:
    """Do it in a process of its own, which computes on as many threads as `mgral work` does."""
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // 2)))
    process = multiprocessing.get_context("spawn").Process(target=work, args=arguments)
    process.start()
    process.join()
    if process.exitcode:
        raise SystemExit(f"{arguments[0]} ended with status {process.exitcode}")


def serve(folder: Path) -> str:
    """Hand the files of a folder out; returns the address."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            """Be quiet."""

    handler: Callable[..., SimpleHTTPRequestHandler] = functools.partial(Quiet, directory=str(folder))
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{server.server_port}"


def main() -> None:
    """Run what is not finished."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--out", type=Path, required=True)
    options.add_argument("--labeled", type=int, default=60)
    options.add_argument("--tasks", type=int, default=160)
    options.add_argument("--image-size", type=int, default=320)
    options.add_argument("--decode", action="store_true")
    asked = options.parse_args()
    if asked.decode:
        folder, costs = asked.out / "kinds", {}
        for kind in write_kinds(folder):
            apart(decode, kind, folder)
            costs[kind] = json.loads((folder / f"{kind}.json").read_text())
        print(json.dumps({"bytes_a_pixel": costs}))
        return
    data(asked.out / "images", asked.tasks)
    url = serve(asked.out / "images")
    results = {}
    for part in PARTS:
        kept = asked.out / f"{part}.json"
        if not kept.exists():
            arguments = (part, asked.out, asked.labeled, asked.tasks, asked.image_size, url)
            apart(run, *arguments)
        results[part] = json.loads(kept.read_text())
        print(f"{part}: {results[part]['peak_mb']} MB, {results[part]['seconds']} s", flush=True)
    print(
        json.dumps(
            {
                "labeled": asked.labeled,
                "tasks": asked.tasks,
                "image_size": asked.image_size,
                "peak_mb": {part: result["peak_mb"] for part, result in results.items()},
                "most_mb": max(result["peak_mb"] for result in results.values()),
            }
        )
    )


if __name__ == "__main__":
    main()
