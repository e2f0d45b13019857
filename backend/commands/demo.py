"""`mgral demo`: the main job, live, on one machine and without a network.

Starts the four processes, makes a project, labels forty tasks as an annotator would, presses "Start training", shows
every stage, and leaves the project open for a look.
"""

from __future__ import annotations

import json
import shutil
import signal
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from rich.console import Console
from rich.progress import track
from rq.job import Job

from backend.commands.annotator import Annotator
from backend.commands.local import LocalStack, StartError
from backend.commands.watch import watch
from backend.label_studio.client import Studio, StudioError
from backend.project.connect import connect
from backend.project.serving import published_of, store_of
from backend.queue.enqueue import Jobs
from backend.queue.progress import describe
from model.data.dataset import Dataset
from model.data.directories import open_directory
from model.synthetic.scenes import write_scenes

TASKS, MOST_TASKS, LABELED = 120, 400, 40
CHECKED = 10
TRAINING = {"IMAGE_SIZE": "224", "TRAIN_MIN_STEPS": "120", "WEIGHTS": "starter", "BUDGET": "20", "LOG_LEVEL": "INFO"}


ENDING = (signal.SIGINT, signal.SIGTERM)


class _Ended(KeyboardInterrupt):
    """Somebody ended the demo; no `except Exception` on the way holds it up."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.signal = number


def _end(number: int, _frame: object) -> None:
    """The first signal begins the closing; nothing interrupts that."""
    for again in ENDING:
        signal.signal(again, signal.SIG_IGN)
    raise _Ended(number)


class DemoError(RuntimeError):
    """The demo could not go on; the message says why."""


def run(data: Path | None, check: bool) -> int:
    """Run the demo; with `check` it ends by itself and prints JSON as its last line.

    SIGINT and SIGTERM end it, also in the background, where a shell lets its jobs ignore SIGINT.

    Returns the exit status: 0 where it was ended by a signal or `check` found all well, 1 where something failed, 128 +
    the signal where that ended it in the middle of a `check`.
    """
    console = Console(soft_wrap=True)
    for number in ENDING:
        signal.signal(number, _end)
    try:
        with ExitStack() as stack:
            directory = Path(tempfile.mkdtemp(prefix="mgral-demo-"))
            stack.callback(shutil.rmtree, directory, ignore_errors=True)
            installation = stack.enter_context(LocalStack(directory))
            try:
                result = _show(installation, data, check, console)
            except (DemoError, StudioError):
                for name in ("work", "serve"):
                    console.print(
                        f"--- end of {name}.log\n{installation.tail(name, 30)}", markup=False, highlight=False
                    )
                raise
            if not check:
                console.print("\nOpen it, press [b]Label All Tasks[/b]; Ctrl-C ends the demo and removes it.")
                signal.pause()
    except _Ended as ended:
        console.print("ended")
        return 128 + ended.signal if check else 0
    except (DemoError, StartError, StudioError, OSError, ValueError) as error:
        console.print(f"the demo stopped: {error}", style="red", markup=False)
        return 1
    print(json.dumps(result), flush=True)
    return 0 if result["next_is_top"] and result["order_matches"] == CHECKED and result["predicted"] else 1


def _show(installation: LocalStack, data: Path | None, check: bool, console: Console) -> dict:
    start = time.monotonic()

    def stage(text: str) -> None:
        console.print(f"[{time.monotonic() - start:5.1f} s] {text}", markup=False, highlight=False)

    truth = labeled(data, stage) if data else None
    stage("starting Redis and Label Studio")
    installation.start_redis()
    installation.start_label_studio()
    if truth is None:
        truth = write_scenes(installation.directory / "scenes", TASKS, seed=0)
        stage(f"made {TASKS} road-sign scenes")
    installation.start_backend(**TRAINING)
    installation.start_worker(**TRAINING)
    stage(f"backend and worker are up; what they do: {installation.backend_url}/ui")
    installation.wait_for_label_studio()
    stage(f"Label Studio is up at {installation.label_studio_url}")

    settings = installation.settings(**TRAINING)
    studio = Studio.from_settings(settings)
    annotator = Annotator(studio, truth)
    project = annotator.create_project("Road signs" if data is None else data.resolve().name)
    annotator.upload(project, truth.images)
    stage(f"project {project} with {len(truth)} tasks")
    jobs = Jobs(settings)
    for line in connect(studio, settings, project, installation.backend_url, jobs):
        stage(line)
    first = jobs.last("rank", project)
    if first is not None:
        _finish(first, console)
    stage("the first order covers the pool: nothing is labeled yet")
    count = min(LABELED, len(truth) // 2)
    for _ in track(range(count), "an annotator labels", console=console, disable=not console.is_terminal):
        annotator.label_next(project)
    stage(f"{count} tasks labeled")

    (backend,) = studio.call("GET", "/api/ml", params={"project": project})
    studio.call("POST", f"/api/ml/{backend['id']}/train", json={})
    job = jobs.last("train", project)
    if job is None:
        raise DemoError("Label Studio took 'Start training', but no job came; see serve.log")
    stage("pressed Start training")
    _finish(job, console)
    seconds = time.monotonic() - start
    stages = describe(job)["stages"]
    stage("live; seconds a stage: " + ", ".join(f"{name} {took:.1f}" for name, took in stages.items()))
    return _report(installation, annotator, project, seconds, check, console)


def _report(
    installation: LocalStack, annotator: Annotator, project: int, seconds: float, check: bool, console: Console
) -> dict:
    settings = installation.settings(**TRAINING)
    store = store_of(settings, project)
    live = published_of(settings, project).current()
    if live is None:
        raise DemoError("nothing was published")
    newest = store.list()[-1]
    record = json.loads(store.read(live.version, "ranking.json"))
    before = float(record.get("map_before") or 0.0)
    after = float(newest.metrics["map"]) if newest.metrics else None
    console.print(f"\nthe tasks:  {installation.label_studio_url}/projects/{project}/data", highlight=False)
    console.print(f"the models: {installation.backend_url}/ui", highlight=False)
    console.print(f"login {installation.username}   password {installation.password}", markup=False, highlight=False)
    shown = f"{after:.3f}" if after is not None else "unknown (no holdout)"
    console.print(
        f"mAP on the holdout: {before:.3f} before, {shown} after   ({newest.note})", markup=False, highlight=False
    )
    console.print(f"next to label, by {record['strategy']}: {record.get('why', '')}", markup=False, highlight=False)
    for place, (task, reason) in enumerate(zip(record["order"][:5], record["reasons"], strict=False), 1):
        console.print(f"  {place}. task {task}: {reason}", markup=False, highlight=False)
    result = {
        "tasks": len(annotator.by_task),
        "predicted": annotator.studio.model_versions(project).get(live.model_version, 0),
        "version": live.model_version,
        "map_before": round(before, 4),
        "map_after": round(after, 4) if after is not None else None,
        "strategy": record["strategy"],
        "why": record.get("why"),
        "rho": record.get("rho"),
        "variants": record["variants"],
        "estimated_gain": record.get("gains", {}).get(record["strategy"]),
        "next_is_top": None,
        "order_matches": None,
        "seconds": round(seconds, 1),
    }
    if check:
        served = [annotator.label_next(project) for _ in range(min(CHECKED, len(record["order"])))]
        matches = sum(a == b for a, b in zip(served, record["order"], strict=False))
        result |= {"next_is_top": served[0] == record["order"][0], "order_matches": matches}
    return result


def _finish(job: Job, console: Console) -> None:
    if error := watch(job, console):
        raise DemoError(error)


def labeled(data: Path, stage: Callable[[str], None]) -> Dataset:
    """At most MOST_TASKS labeled images of a directory; what was mended or left out is said. Raises ValueError."""
    dataset = open_directory(data)
    for note in dataset.notes:
        stage(note)
    more = f"; the first {MOST_TASKS} are shown" if len(dataset) > MOST_TASKS else ""
    stage(f"{data}: {dataset}{more}")
    return Dataset(dataset.images[:MOST_TASKS], dataset.names, dataset.notes)
