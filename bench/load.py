"""Does one backend bear fifty annotators while a training runs, and what does ordering 10,000 tasks anew take?

    make load                                                   # all of it
    python -m bench.load --requests 2000 --without-order        # three minutes

A real installation is started: Label Studio, Redis, a backend and a worker with the settings of the demo, and a project
whose tasks are predicted. One annotator without a pause first, for comparison, while no worker runs. Then "Start
training", a training without an end; and while it runs, annotators who each open a task, think for some seconds and
submit it. `bench.traffic` says what that asks of the backend: every fifth task it has to fetch and to look at.

Then `bench.importing` on Postgres, where its programs are on the PATH. What it must keep is in BARS. The last line is
JSON; the status is 1 where a bar is missed.
"""

from __future__ import annotations

import argparse
import http.client
import json
import math
import random
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

from rq.job import JobStatus

from backend.commands.demo import LABELED, TRAINING
from backend.commands.local import attempts
from backend.label_studio.client import Studio
from backend.queue.progress import describe
from bench import importing
from bench.installation import BenchError, Installation, installation, say
from bench.traffic import Request, Traffic
from model.synthetic.scenes import write_scenes

ANNOTATORS, SECONDS_A_TASK = 50, 4.0
TASKS, ALONE = 120, 60  # of the project; tasks that the one annotator opens before
PATIENCE = 120.0  # until the training trains
ANSWER_SECONDS = 100.0  # that Label Studio waits for a prediction
ENDLESS = {
    "TRAIN_MIN_STEPS": "1000000",
    "START_TRAINING_EACH_N_UPDATES": "50",  # events ask for trainings, too
    "RECONCILE_SECONDS": "86400",  # it would ask for predictions of what is left on purpose
}

BARS: dict[str, float] = {
    "errors": 0,
    "webhook_p99_ms": 100,
    "health_p99_ms": 50,
    "rss_growth_mb": 16,
    "order_10k_ratio": 1.5,
}
"""The most that each figure may be. Annotators wait for webhooks, for a second at most; Label Studio waits as long for
/health. Memory counts as flat below what one picture more takes, decoded."""


class Answers:
    """How long each request took, and what was wrong; filled by many threads."""

    def __init__(self) -> None:
        self.milliseconds: dict[str, list[float]] = {"health": [], "setup": [], "predict": [], "webhook": []}
        self.faults: Counter[str] = Counter()
        self.left = 0  # unknown tasks that were left to the worker, because too many came at once

    def __len__(self) -> int:
        return sum(map(len, self.milliseconds.values()))

    def ask(self, url: str, request: Request) -> None:
        """Send a request over a connection of its own, as Label Studio does, and note what came back."""
        began = time.monotonic()
        try:
            status, answer = _answer(url, request)
            fault = "" if status < 300 else f"{status} {str(answer)[:200]}"
        except (OSError, http.client.HTTPException, ValueError) as error:
            answer, fault = {}, repr(error)
        self.milliseconds[request.kind].append(1000 * (time.monotonic() - began))
        if request.kind == "predict" and not fault:
            (result,) = answer["results"]
            if not result and request.known:
                fault = "a task that was predicted has no boxes"
            self.left += not result and not request.known
        if fault:
            self.faults[f"/{request.kind}: {fault}"] += 1

    def p99(self, kind: str) -> float:
        """Of the requests of a kind, in milliseconds."""
        return percentile(self.milliseconds[kind], 99)

    def table(self, title: str) -> str:
        """For people."""
        head = f"{title:24}{'requests':>9}{'median':>9}{'99 %':>9}{'longest':>9}  ms"
        rows = [
            f"/{kind:23}{len(all_):9}{median(all_):9.1f}{percentile(all_, 99):9.1f}{max(all_):9.1f}"
            for kind, all_ in self.milliseconds.items()
            if all_
        ]
        return "\n".join([head, *rows])


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest of the values that at least so many percent of them do not exceed. Raises ValueError without any."""
    if not values:
        raise ValueError("no values, so no percentile")
    return sorted(values)[max(0, math.ceil(percent / 100 * len(values)) - 1)]


def growth(sizes: Sequence[float]) -> float:
    """By how much memory grew: the median of the last fifth of its sizes above that of the second fifth. In the first
    one threads get their stacks and caches fill. Raises ValueError for fewer than five."""
    fifth = len(sizes) // 5
    if not fifth:
        raise ValueError(f"{len(sizes)} sizes are too few to see whether memory grows: at least 5")
    return median(sizes[-fifth:]) - median(sizes[fifth : 2 * fifth])


def missed(figures: dict[str, Any]) -> list[str]:
    """A line for each bar that is missed; a figure that could not be measured misses none."""
    return [
        f"{name} is {figures[name]}, more than {most:g}"
        for name, most in BARS.items()
        if figures[name] is not None and figures[name] > most
    ]


def finish(figures: dict[str, Any]) -> int:
    """Say which bars are missed and print the last line; the exit status."""
    lines = missed(figures)
    for line in lines:
        print(f"missed: {line}")
    print(json.dumps(figures), flush=True)
    return 1 if lines else 0


def resident(leader: int) -> float:
    """MB that the processes of a group have in memory, what they share counted for each."""
    pages = 0
    for folder in Path("/proc").iterdir():
        try:
            if folder.name.isdigit() and int((folder / "stat").read_text().rpartition(")")[2].split()[2]) == leader:
                pages += int((folder / "statm").read_text().split()[1])
        except (FileNotFoundError, ProcessLookupError):  # it has ended this moment
            continue
    return pages * 4096 / 1e6


@contextmanager
def watched(leader: int, answers: Answers, whole: int) -> Iterator[list[float]]:
    """The sizes of a group of processes, twice a second; every tenth of the requests is told to people."""
    sizes: list[float] = []
    ended = threading.Event()

    def look() -> None:
        told = 0
        while not ended.wait(0.5):
            sizes.append(resident(leader))
            if 10 * len(answers) // whole > told:
                told = 10 * len(answers) // whole
                say(f"{len(answers):,} of {whole:,} requests, {len(answers.faults)} faults, {sizes[-1]:.0f} MB")

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield sizes
    finally:
        ended.set()
        thread.join()


def annotate(url: str, traffic: Traffic, visits: range, annotators: int, seconds: float, answers: Answers) -> None:
    """Open and submit a task for each number of `visits`; each annotator thinks for about so many seconds between."""
    numbers, one = iter(visits), threading.Lock()

    def work(annotator: int) -> None:
        think = random.Random(annotator)
        time.sleep(think.random() * seconds)  # they do not all begin at once
        while True:
            with one:
                number = next(numbers, None)
            if number is None:
                return
            for request in traffic.opened(number):
                answers.ask(url, request)
            time.sleep(think.uniform(0.5, 1.5) * seconds)
            answers.ask(url, traffic.submitted(number))

    with ThreadPoolExecutor(annotators) as pool:
        for ended in [pool.submit(work, annotator) for annotator in range(annotators)]:
            ended.result()


def load(bench: Installation, requests: int, annotators: int, seconds: float) -> dict[str, Any]:
    """The figures of the backend."""
    truth = write_scenes(bench.stack.directory / "scenes", TASKS, seed=0)
    bench.start_worker("work")
    project, annotator = bench.project("load", truth)
    bench.ended("rank", project)
    bench.stack.stop("work")
    for number in range(min(LABELED, TASKS // 2)):
        say(f"labeled {number} of {LABELED}") if number % 20 == 0 else None
        annotator.label_next(project)
    traffic = traffic_of(bench.studio, project, annotator.result(next(iter(annotator.by_task))))
    url, leader = bench.stack.backend_url, bench.stack.processes["serve"].pid
    visits = math.ceil(requests / 4)
    alone = Answers()
    annotate(url, traffic, range(visits, visits + ALONE), 1, 0.0, alone)
    print(alone.table("one annotator, alone"), flush=True)
    bench.jobs.enqueue("train", project)
    bench.start_worker("work")
    training = _training(bench, project)
    say(f"a training runs; {annotators} annotators begin")
    answers, began = Answers(), time.monotonic()
    with watched(leader, answers, 4 * visits) as sizes:
        annotate(url, traffic, range(visits), annotators, seconds, answers)
    took = time.monotonic() - began
    head = bench.jobs.head(project)
    if head is None or head.id != training or head.get_status() != JobStatus.STARTED:
        raise BenchError("the training ended before the requests did: nothing was measured")
    bench.jobs.cancel(project)
    answers.faults["tracebacks in the backend's log"] = bench.stack.log("serve").read_text().count("Traceback")
    print(answers.table(f"{annotators} annotators, training"))
    print(f"{len(answers) / took:.0f} requests a second; {answers.left} unknown tasks were left to the worker")
    for fault, count in (+answers.faults).most_common(10):
        print(f"{count} times {fault}")
    return {
        "requests": len(answers),
        "errors": answers.faults.total(),
        "webhook_p99_ms": round(answers.p99("webhook"), 1),
        "health_p99_ms": round(answers.p99("health"), 1),
        "predict_p99_ms": round(answers.p99("predict"), 1),
        "rss_growth_mb": round(growth(sizes), 1),
    }


def traffic_of(studio: Studio, project: int, result: Sequence[dict[str, Any]]) -> Traffic:
    """What the annotators of a project ask."""
    about = studio.call("GET", f"/api/projects/{project}/")
    return Traffic(about, [(task.id, task.data["image"]) for task in studio.tasks(project)], result)


def order() -> float | None:
    """`order_10k_ratio`; None where Postgres is missing."""
    if importing.pg_ctl() is None:
        say("order_10k_ratio is not measured: there is no pg_ctl on the PATH; install Postgres")
        return None
    return importing.figures(10_000, on_postgres=True, batches=importing.BATCHES[-1:])["order_10k_ratio"]


def main(arguments: Sequence[str] | None = None) -> int:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--annotators", type=int, default=ANNOTATORS)
    parser.add_argument("--seconds-a-task", type=float, default=SECONDS_A_TASK, help="that each annotator thinks")
    parser.add_argument("--without-order", action="store_true", help="leave the ordering of 10,000 tasks out")
    asked = parser.parse_args(arguments)
    with installation(**TRAINING | ENDLESS) as bench:
        figures = load(bench, asked.requests, asked.annotators, asked.seconds_a_task)
    return finish(figures | {"order_10k_ratio": None if asked.without_order else order()})


def _answer(url: str, request: Request) -> tuple[int, Any]:
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=ANSWER_SECONDS)
    try:
        if request.body is None:
            connection.request("GET", request.path)
        else:
            data = json.dumps(request.body).encode()
            connection.request("POST", request.path, data, {"Content-Type": "application/json"})
        reply = connection.getresponse()
        return reply.status, json.loads(reply.read())
    finally:
        connection.close()


def _training(bench: Installation, project: int) -> str:
    """The job that trains, once it does."""
    for _ in attempts(PATIENCE):
        head = bench.jobs.head(project)
        if head is None:
            raise BenchError("the training ended before it began to learn")
        told = describe(head)
        if told["stage"] == "train" and told["status"] == "started" and told["done"]:
            return head.id
    raise BenchError(f"no training began within {PATIENCE:.0f} s: {bench.stack.tail('work', 1)}")


if __name__ == "__main__":
    sys.exit(main())
