"""The inner loop as files: which variants a ranking wants trained, and what each reached.

A plan is a directory that any worker on any machine can take a variant from: the pictures, the weights to start from,
and one result a variant, written whole or not at all. A worker that dies costs its own variant only, and the same plan
gives the same rows whoever runs it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from agent.gain.rows import Row
from agent.inner_loop.values import Described, Group, Past, Result, SurrogateConfig, Variant
from agent.match_table import MatchTable
from model.atomic import write_file
from model.damage import DamagedError, reading, warn
from model.data.dataset import Dataset
from model.detectors.base import Detector
from model.detectors.open import open_detector
from model.progress import Report, Watch, silent

RESAMPLES = 200  # of the evaluation images, for the error of a ΔmAP
T = TypeVar("T", SurrogateConfig, Result)
HINDSIGHT, SURROGATE = "hindsight", "surrogate"  # groups, and the sources of their rows


class Plan:
    """The variants of one ranking, in a directory.

    Attributes:
        folder: `plan.json`, `data.json` (COCO; images without labels have no boxes), `images/`, `<group>.pt`,
            `<group>.npz`, `results/`.
        groups, variants: what is to be run; a variant's index is its place. Controls come first.
        cycle: the number of the cycle.
        past: a row that needs no training.
    """

    def __init__(
        self, folder: Path, groups: Mapping[str, Group], variants: Iterable[Variant], cycle: int, past: Past | None
    ) -> None:
        self.folder = folder
        self.groups = dict(groups)
        self.variants = tuple(sorted(variants, key=lambda v: not v.control))
        self.cycle = cycle
        self.past = past

    def save(
        self,
        data: Dataset,
        starts: Mapping[str, Detector],
        described: Mapping[str, Described],
    ) -> None:
        """Write everything a worker needs; the pictures must lie in `images/` already.

        Args:
            data: every image that a variant needs, with the boxes that are known.
            starts: a group's detector to start from.
            described: a group's images, before any of them was learned from.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "data.json").write_text(json.dumps(data.to_coco()))
        for name, detector in starts.items():
            detector.save(self.folder / f"{name}.pt")
        for name, images in described.items():
            np.savez(self.folder / f"{name}.npz", **asdict(images))
        body = {
            "cycle": self.cycle,
            "past": asdict(self.past) if self.past else None,
            "groups": {name: asdict(group) for name, group in self.groups.items()},
            "variants": [asdict(variant) for variant in self.variants],
        }
        write_file(self.folder / "plan.json", json.dumps(body).encode())  # last: a plan that is there is complete

    @classmethod
    def load(cls, folder: Path) -> Plan:
        """The plan in a directory. Raises FileNotFoundError where none was finished, and DamagedError."""
        with reading(folder / "plan.json", "nothing that it measured is used"):
            body: dict[str, Any] = json.loads((folder / "plan.json").read_bytes())
            groups = {
                name: Group(tuple(g["labeled"]), tuple(g["evaluation"]), _known(SurrogateConfig, g["config"]))
                for name, g in body["groups"].items()
            }
            variants = [Variant(v["group"], v["kind"], tuple(v["ids"])) for v in body["variants"]]
            past = body["past"] and Past(tuple(body["past"]["ids"]), body["past"]["gain"], body["past"]["error"])
            return cls(folder, groups, variants, int(body["cycle"]), past)

    def pending(self, *, controls: bool) -> list[int]:
        """Indices of controls, or of the others, that have no result yet."""
        return [k for k, v in enumerate(self.variants) if v.control == controls and not self.done(k)]

    def done(self, index: int) -> bool:
        """Whether a variant has its result."""
        return has_result(self.folder, index)

    def finish(self, watch: Watch) -> None:
        """Run what has no result yet, one after the other."""
        for index in [*self.pending(controls=True), *self.pending(controls=False)]:
            self.run(index, silent)
            watch("variants", sum(map(self.done, range(len(self.variants)))), len(self.variants))

    def result(self, index: int) -> Result:
        """A finished variant's result. Raises DamagedError."""
        with reading(result_file(self.folder, index), "it is left out"):
            body = json.loads(result_file(self.folder, index).read_bytes())
            body["curve"] = tuple((int(step), float(value)) for step, value in body["curve"])
            return _known(Result, body)

    def run(self, index: int, report: Report) -> None:
        """Train one variant and write its result. A variant needs its group's control to be done.

        Raises ValueError where it is not.
        """
        from agent.inner_loop.surrogate import (
            train_variant,  # torch takes seconds to import: only where something is trained
        )

        start = time.monotonic()
        variant = self.variants[index]
        if not variant.control and not any(
            v.control and v.group == variant.group and self.done(k) for k, v in enumerate(self.variants)
        ):
            raise ValueError(f"the control of {variant.group!r} has no result: run it first")
        (self.folder / "results").mkdir(exist_ok=True)  # an object store has no empty folders
        group = self.groups[variant.group]
        data = Dataset.from_coco(self.folder / "data.json", self.folder / "images")
        detector = open_detector(self.folder / f"{variant.group}.pt")
        labeled = data.subset(group.labeled)
        images = [k for k in group.evaluation if k not in set(variant.ids)]
        evaluation = data.subset(images)
        if variant.control:
            curve = train_variant(detector, labeled, labeled, evaluation, group.config, labels=True, report=report)
            for step, table in zip(curve.steps, curve.tables, strict=True):
                table.save(self._table(variant.group, step))
            values = [(step, table.evaluate().map) for step, table in zip(curve.steps, curve.tables, strict=True)]
            self._write(index, Result(0.0, 0.0, tuple(values), time.monotonic() - start))
            return
        curve = train_variant(
            detector,
            labeled,
            data.subset(variant.ids),
            evaluation,
            group.config,
            labels=variant.group == HINDSIGHT,
            report=report,
        )
        gains = tuple(
            (step, table.evaluate().map - self._control(variant.group, step).evaluate(images).map)
            for step, table in zip(curve.steps, curve.tables, strict=True)
        )
        error = self._error(variant.group, curve.steps[-1], curve.tables[-1], images)
        gain = float(np.mean([gain for _, gain in gains]))
        self._write(index, Result(gain, error, gains, time.monotonic() - start))

    def rows(self) -> list[Row]:
        """What the finished variants, and the past, say about gains. A damaged result is left out.

        Raises DamagedError where what describes the images cannot be read.
        """
        described = {}
        for name in self.groups:
            file = self.folder / f"{name}.npz"
            with reading(file, "nothing that was measured is used"), np.load(file) as arrays:
                described[name] = Described(**arrays)

        def row(group: str, ids: tuple[int, ...], gain: float, error: float, source: str) -> Row:
            images = described[group]
            chosen = images.rows(ids)
            names = [str(name) for name in images.names]
            return Row(
                np.array(ids, np.int64),
                images.phi[chosen].astype(np.float32),
                gain,
                error,
                source,
                f"{self.cycle}:{source}",
                self.cycle,
                tuple(str(column) for column in images.columns),
                dict(zip(names, images.expected[chosen].sum(axis=0, dtype=np.float64).tolist(), strict=True)),
                dict(zip(names, images.known.tolist(), strict=True)),
            )

        rows = []
        for index, variant in enumerate(self.variants):
            if not variant.control and self.done(index):
                try:
                    with reading(result_file(self.folder, index), "it is left out"):
                        result = self.result(index)
                        rows.append(row(variant.group, variant.ids, result.gain, result.error, variant.group))
                except DamagedError as error:
                    warn(str(error))
        if self.past is not None:
            rows.append(row(HINDSIGHT, self.past.ids, self.past.gain, self.past.error, "cycle"))
        return rows

    def _error(self, group: str, step: int, table: MatchTable, images: list[int]) -> float:
        """The paired bootstrap's standard error of a ΔmAP. The tables hold different images: resampled by weights."""
        control = self._control(group, step)
        draws = np.random.default_rng(0).multinomial(len(images), np.full(len(images), 1 / len(images)), RESAMPLES)
        ours = table.evaluate_many(draws, images)
        theirs = control.evaluate_many(draws, images)
        return float(np.std(ours.map - theirs.map, ddof=1))

    def _write(self, index: int, result: Result) -> None:
        write_file(result_file(self.folder, index), json.dumps(asdict(result)).encode())

    def _table(self, group: str, step: int) -> Path:
        return self.folder / "results" / f"{group}-{step}.table"

    def _control(self, group: str, step: int) -> MatchTable:
        path = self._table(group, step)
        if not path.exists():
            raise ValueError(f"the control of {group!r} has no measurement after {step} updates: run it first")
        with reading(path, "the variants that are compared with it are left out"):
            return MatchTable.load(path)


def _known(kind: type[T], values: Mapping[str, Any]) -> T:
    """A `SurrogateConfig` or `Result` of what a file says of it; earlier releases said more."""
    return kind(**{field.name: values[field.name] for field in fields(kind) if field.name in values})


def run_variant(folder: Path, index: int, report: Report) -> None:
    """Train variant `index` of the plan in `folder`: what a queued job calls."""
    Plan.load(folder).run(index, report)


def result_file(folder: Path, index: int) -> Path:
    """Where a variant's result is."""
    return folder / "results" / f"{index}.json"


def has_result(folder: Path, index: int) -> bool:
    """Whether a variant of the plan in `folder` has its result."""
    return result_file(folder, index).exists()
