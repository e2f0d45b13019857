"""How long does Label Studio take to get the boxes and the order of a project anew?

    python -m bench.importing --tasks 10000               # Label Studio on SQLite
    python -m bench.importing --tasks 10000 --postgres    # on Postgres, whose programs are looked for on the PATH

A real Label Studio. The same predictions are imported raw, in batches of several sizes, each time into a project of its
own that has one publication already; then through `backend.project.publish.Publisher`, as a ranking does, and once more
with nothing changed. `order_10k_ratio` is the Publisher's time over the fastest raw import. The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from backend.commands.local import LocalStack, free_port
from backend.label_studio.client import Studio
from backend.project.publish import Publisher, items
from backend.project.published import Publication
from backend.project.serving import published_of, store_of
from bench.installation import say
from model.detectors.open import open_detector
from model.progress import silent

BATCHES = (2000, 10_000)
BOXES = 5  # of a task
CONFIG = (
    '<View><Image name="image" value="$image"/><RectangleLabels name="label" toName="image">'
    '<Label value="car"/></RectangleLabels></View>'
)


def pg_ctl() -> str | None:
    """Postgres' own starter, where it is installed."""
    return shutil.which("pg_ctl")


@contextmanager
def postgres(directory: Path) -> Iterator[dict[str, str]]:
    """A private Postgres on a free port; the variables by which Label Studio finds it."""
    program = pg_ctl()
    if program is None:
        raise SystemExit("--postgres: there is no pg_ctl on the PATH; install Postgres (apt-get install postgresql)")
    data, port = directory / "postgres", str(free_port())
    user = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []  # it refuses to run as root
    data.mkdir()
    if user:
        directory.chmod(0o755)
        shutil.chown(data, "postgres", "postgres")

    def run(*command: str) -> None:
        subprocess.run([*user, *command], check=True, stdout=subprocess.DEVNULL, cwd="/tmp")

    folder = Path(program).resolve().parent
    run(str(folder / "initdb"), "-D", str(data), "-U", "postgres", "--auth", "trust", "--encoding", "UTF8")
    run(program, "-D", str(data), "-w", "-o", f"-p {port} -k {data} -h 127.0.0.1", "-l", str(data / "log"), "start")
    try:
        yield {"DJANGO_DB": "default", "POSTGRE_HOST": "127.0.0.1", "POSTGRE_PORT": port}
    finally:
        run(program, "-D", str(data), "-m", "immediate", "stop")


def regions(rng: random.Random) -> list[dict]:
    """BOXES boxes."""
    return [
        {
            "id": f"{rng.getrandbits(40):010x}",
            "from_name": "label",
            "to_name": "image",
            "type": "rectanglelabels",
            "original_width": 640,
            "original_height": 480,
            "score": round(rng.random(), 4),
            "value": {axis: round(rng.random() * 50, 4) for axis in ("x", "y", "width", "height")}
            | {"rotation": 0, "rectanglelabels": ["car"]},
        }
        for _ in range(BOXES)
    ]


def project(studio: Studio, count: int) -> tuple[int, list[int]]:
    """A project of so many tasks; its number, and the tasks'."""
    number = studio.call("POST", "/api/projects", json={"title": "bench", "label_config": CONFIG})["id"]
    tasks = [{"data": {"image": f"http://example.com/{k}.jpg"}} for k in range(count)]
    for start in range(0, count, 5000):
        studio.call("POST", f"/api/projects/{number}/import", json=tasks[start : start + 5000])
    return number, [task.id for task in studio.tasks(number)]


def raw(studio: Studio, number: int, rows: Sequence[dict], batch: int) -> float:
    """Seconds of an import in batches of so many."""
    began = time.monotonic()
    for start in range(0, len(rows), batch):
        studio.call("POST", f"/api/projects/{number}/import/predictions", json=rows[start : start + batch])
    return time.monotonic() - began


def measure(stack: LocalStack, count: int, batches: Sequence[int]) -> dict[str, Any]:
    """Every figure; `batches`: the sizes of the raw imports."""
    studio = Studio(stack.label_studio_url, stack.token)
    rng = random.Random(0)
    results = [regions(rng) for _ in range(count)]

    def predicted(tasks: Sequence[int]) -> list[tuple[int, float, list[dict]]]:
        order = rng.sample(range(len(tasks)), len(tasks))
        return [(task, (order[k] + 0.5) / count, results[k]) for k, task in enumerate(tasks)]

    seconds: dict[str, float] = {}
    for batch in batches:
        number, tasks = project(studio, count)
        raw(studio, number, list(items(predicted(tasks), "v1-r001")), 10_000)
        seconds[f"raw_{batch}_s"] = raw(studio, number, list(items(predicted(tasks), "v1-r002")), batch)
        say(f"raw, in batches of {batch}: {seconds[f'raw_{batch}_s']:.1f} s")

    number, tasks = project(studio, count)
    settings = stack.settings()
    store, published = store_of(settings, number), published_of(settings, number)
    version = store.add_first(open_detector("starter"), {}).name
    publisher = Publisher(studio, number, store, published)
    for name in ("v1-r001", "v1-r002"):
        published.predictions(name).put((task, "", score, result) for task, score, result in predicted(tasks))
        began = time.monotonic()
        publisher.bring(Publication(name, version, "entropy", 0), say, silent)
        publisher.switch(Publication(name, version, "entropy", 0), say)
        seconds["ours_s"] = time.monotonic() - began
    began = time.monotonic()
    publisher.bring(Publication("v1-r002", version, "entropy", 0), say, silent)
    publisher.switch(Publication("v1-r002", version, "entropy", 0), say)
    seconds["nothing_changed_s"] = time.monotonic() - began
    fastest = min(seconds[f"raw_{batch}_s"] for batch in batches)
    return {name: round(value, 1) for name, value in seconds.items()} | {
        "order_10k_ratio": round(seconds["ours_s"] / fastest, 2)
    }


def figures(count: int, *, on_postgres: bool, batches: Sequence[int] = BATCHES) -> dict[str, Any]:
    """Every figure of an installation of its own."""
    directory = Path(tempfile.mkdtemp(prefix="mgral-import-", dir="/tmp"))
    try:
        with postgres(directory) if on_postgres else sqlite() as database, LocalStack(directory) as stack:
            say("starting Label Studio")
            stack.start_label_studio(**database)
            stack.wait_for_label_studio()
            return measure(stack, count, batches)
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", type=int, default=10_000)
    parser.add_argument("--postgres", action="store_true")
    arguments = parser.parse_args()
    measured = figures(arguments.tasks, on_postgres=arguments.postgres)
    about = {"tasks": arguments.tasks, "boxes": BOXES, "database": "Postgres" if arguments.postgres else "SQLite"}
    print(json.dumps(about | measured))


@contextmanager
def sqlite() -> Iterator[dict[str, str]]:
    """Label Studio's own file."""
    yield {"DJANGO_DB": "sqlite"}


if __name__ == "__main__":
    main()
