"""One run of a simulation: a strategy under a seed, cycle by cycle, each step on disk as soon as it is done.

OUT/seed-0/start/                   the first training, which all strategies share
OUT/seed-0/entropy/1/measured.json  the labels of cycle 1, and what the model trained on them reaches
OUT/seed-0/entropy/1/table          its match table on the evaluation images
OUT/seed-0/entropy/1/chosen.json    the batch that was revealed after it, and why
"""

from __future__ import annotations

import json
import os
import shutil
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from agent.cycle import Cycle, rank
from agent.gain.rows import Rows
from agent.inner_loop.planning import copied
from agent.learning import Learned, learn
from agent.match_table import MatchTable
from agent.pool.images import DatasetImages
from agent.pool.pool import Pool
from agent.pool.store import Encoder, PoolStore, encoder_fingerprint
from agent.simulation.config import SimulationConfig
from agent.strategies.mgral import Mgral
from agent.strategies.past import Past, evidence
from model.atomic import TEMPORARY, remove, write_file
from model.data.dataset import Dataset
from model.detectors.base import Detector
from model.detectors.open import open_detector
from model.evaluate import Metrics, detect, evaluate
from model.progress import Watch
from model.versions import Version, VersionStore

MEASURED, CHOSEN, TABLE = "measured.json", "chosen.json", "table"


@dataclass(frozen=True)
class Run:
    """A strategy under a seed, in a simulation's directory `out`; what is done there is not done again."""

    out: Path
    pool: Dataset
    evaluation: Dataset
    config: SimulationConfig
    strategy: str
    seed: int

    @property
    def start(self) -> Path:
        """What all strategies of the seed share."""
        return self.out / f"seed-{self.seed}" / "start"

    @property
    def folder(self) -> Path:
        """What belongs to this run alone."""
        return self.out / f"seed-{self.seed}" / self.strategy

    def at(self, cycle: int) -> Path:
        """Where a cycle's model is measured."""
        return self.folder / str(cycle) if cycle else self.start

    def measured(self, cycle: int) -> dict[str, Any] | None:
        """What a cycle's model reaches; None where that is not known yet."""
        return _read(self.at(cycle) / MEASURED)

    def chosen(self, cycle: int) -> dict[str, Any] | None:
        """The batch that was revealed after a cycle, and why; None where it is not chosen yet."""
        return _read(self.folder / str(cycle) / CHOSEN)

    def table(self, cycle: int) -> MatchTable:
        """The match table of a cycle's model on the evaluation images."""
        return MatchTable.load(self.at(cycle) / TABLE)

    def begin(self, watch: Watch) -> None:
        """Train and measure the model that every strategy of the seed starts from, and let it see the pool."""
        store = VersionStore(self.start / "versions")
        if not store.list():
            weights = open_detector(self.config.weights)
            weights.image_size = self.config.fit.image_size
            shared = {name: name for name in weights.names if name in self.pool.names}
            store.add_first(weights, shared)
        if self.measured(0) is None:
            self._measure(0, store, self.initial(), watch)
        self._look(0, store, watch)

    def initial(self) -> list[int]:
        """The images that are labeled at the start."""
        ids = [image.id for image in self.pool.images]
        return sorted(np.random.default_rng(self.seed).choice(ids, self.config.initial, replace=False).tolist())

    def go(self, watch: Watch) -> None:
        """Do what is missing of every cycle, and tell `watch("cycle", k, cycles, map=...)` when it is done."""
        _clone(self.start / "versions", self.folder / "versions")
        store = VersionStore(self.folder / "versions")
        for cycle in range(self.config.cycles + 1):
            (self.folder / str(cycle)).mkdir(exist_ok=True)
            if self.measured(cycle) is None:
                before, batch = self.measured(cycle - 1), self.chosen(cycle - 1)
                assert before is not None
                assert batch is not None
                self._measure(cycle, store, sorted(before["labeled"] + batch["ids"]), watch)
            if cycle < self.config.cycles and self.chosen(cycle) is None:
                self._choose(cycle, store, watch)
            measured = self.measured(cycle)
            assert measured is not None
            watch("cycle", cycle, self.config.cycles, map=measured["map"])
        for part in ("pool", "work"):  # what only a next cycle needs, and makes again
            if (self.folder / part).exists():
                remove(self.folder / part)

    def _learned(self, cycle: int, store: VersionStore, labeled: Dataset, watch: Watch) -> Learned:
        """Train on the labels; or what that gave, where it was done before."""
        work = (self.folder if cycle else self.start) / "work"
        work.mkdir(parents=True, exist_ok=True)
        serving = store.serving()
        assert serving is not None
        fit = replace(self.config.fit, seed=self.seed)
        if not cycle:
            fit = replace(fit, min_steps=max(fit.min_steps, self.config.first_steps))
        base = self._untrained() if self.config.base == "start" else None
        remark = "; ".join(labeled.notes)
        return learn(work, store, serving, open_detector(serving.weights), labeled, fit, watch, base, remark)

    def _untrained(self) -> Detector:
        return open_detector(VersionStore(self.start / "versions").list()[0].weights)

    def _measure(self, cycle: int, store: VersionStore, ids: list[int], watch: Watch) -> None:
        """Train on the labels of a cycle, and measure the model that then serves."""
        labeled = self.pool.subset(ids)
        store.prune(2)
        learned = self._learned(cycle, store, labeled, watch)
        if learned.promote or self.config.base != "serving":
            store.promote(learned.version.name)
        version, detector = _serving(store)
        began = time.monotonic()
        watch("evaluate", 0, len(self.evaluation))
        detections = detect(detector, self.evaluation, version.label_map)
        metrics = evaluate(self.evaluation, detections)
        MatchTable.from_dataset(self.evaluation, detections).save(self.at(cycle) / TABLE)
        body = {
            "labeled": ids,
            "boxes": labeled.boxes,
            "map": metrics.map,
            "map50": metrics.map50,
            "per_class": metrics.per_class,
            "promoted": learned.promote,
            "gain": learned.gain,
            "seconds": {"train": learned.seconds, "evaluate": time.monotonic() - began},
        }
        write_file(self.at(cycle) / MEASURED, json.dumps(body).encode())

    def _look(self, cycle: int, store: VersionStore, watch: Watch) -> Pool:
        """The images that are not labeled yet, as the model of a cycle sees them."""
        version, detector = _serving(store)
        measured = self.measured(cycle)
        assert measured is not None
        return self._cycle(watch).look(
            PoolStore((self.folder if cycle else self.start) / "pool"),
            Encoder(detector, encoder_fingerprint(version.weights, detector)),
            set(measured["labeled"]),
            Metrics(**version.metrics) if version.metrics else None,
        )

    def _cycle(self, watch: Watch) -> Cycle:
        return Cycle(DatasetImages(self.pool), self.config.of_run(self.strategy, self.seed), watch)

    def _measured_rows(self, cycle: int, store: VersionStore, pool: Pool, detector: Detector, watch: Watch) -> Rows:
        """What this cycle and those before it measured."""
        rows, measured = _rows(self.folder), self.measured(cycle)
        assert measured is not None
        shared = store if cycle else VersionStore(self.start / "versions")
        labeled = self.pool.subset(measured["labeled"])
        learned = self._learned(cycle, shared, labeled, watch)
        if self.config.of_run(self.strategy, self.seed).plan.why_not(learned.held_out, learned.error):
            return rows
        folder = self.folder / "work"
        labeled, inner = copied(labeled, folder), self._cycle(watch)
        hindsight = inner.look_back(folder, labeled, learned.earlier, self._untrained())
        plan = inner.plan(folder, labeled, pool, detector, learned, hindsight)
        plan.finish(watch)
        rows = rows.renewed(plan.cycle, plan.rows())
        rows.save(self.folder / "rows.npz")
        return rows

    def _past(self, cycle: int) -> tuple[Past, ...]:
        """What the batches before a cycle brought."""
        past = []
        for before in range(cycle):
            chosen, measured = self.chosen(before), self.measured(before + 1)
            if not chosen or not measured or not chosen.get("gains"):
                continue
            held_out = len(self.pool.subset(measured["labeled"]).holdout()[1])
            if told := evidence(chosen["chosen_by"], measured.get("gain"), held_out, chosen["gains"]["random"][0]):
                past.append(told)
        return tuple(past)

    def _choose(self, cycle: int, store: VersionStore, watch: Watch) -> None:
        """Rank the pool by the strategy; what mgral measures for it is kept for the cycles after."""
        config = self.config.of_run(self.strategy, self.seed)
        config = replace(config, agent=replace(config.agent, past=self._past(cycle)))
        marks = [time.monotonic()]
        pool = self._look(cycle, store, watch)
        marks.append(time.monotonic())
        version, detector = _serving(store)
        rows = self._measured_rows(cycle, store, pool, detector, watch) if config.strategy == Mgral.name else Rows()
        marks.append(time.monotonic())
        ranking = rank(pool, rows, version.number, config, watch)
        marks.append(time.monotonic())
        details = {key: ranking.details.get(key) for key in ("why", "rho", "rho_interval", "model", "rows", "gains")}
        body = {
            "ids": [int(image) for image in ranking.order[: self.config.batch]],
            "chosen_by": ranking.details.get("chosen", ranking.strategy),
            **details,
            "seconds": dict(zip(("look", "measure", "rank"), np.diff(marks).tolist(), strict=True)),
        }
        write_file(self.folder / str(cycle) / CHOSEN, json.dumps(body).encode())


def _serving(store: VersionStore) -> tuple[Version, Detector]:
    version = store.serving()
    assert version is not None
    return version, open_detector(version.weights)


def _read(path: Path) -> dict[str, Any] | None:
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:
        return None


def _rows(folder: Path) -> Rows:
    try:
        return Rows.load(folder / "rows.npz")
    except FileNotFoundError:
        return Rows()


def _clone(source: Path, target: Path) -> None:
    """A second store of the same versions, whose files take no place of their own; all of it or nothing."""
    if target.exists():
        return
    temporary = target.with_name(f"{TEMPORARY}{target.name}")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.parent.mkdir(parents=True, exist_ok=True)
    shutil.copytree(source, temporary, copy_function=os.link, ignore=shutil.ignore_patterns(".lock"))
    temporary.rename(target)
