"""How far can asking for images with many boxes go? The curves of choosers that know every box.

    python -m bench.curves --out OUT
    python -m bench.oracle --out OUT --sets cards --seeds 0   # three minutes for each set, seed and oracle

Same trainer, start and budget. "oracle-boxes" takes the images with most true boxes; "oracle-law" the batch that the
law of `agent.gain.class_curves` finds best, image by image, given the true boxes. On pools as they come
(`bench.wild_pool`), instead of the first, "oracle-scenes": the same as the second, but only the first image of a scene
counts, and who chooses knows every scene. The last line is JSON.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch

import numpy as np

from agent.gain.class_curves import curve, half_learned
from agent.gain.model import GainModel
from agent.policy.policy import greedy
from agent.pool.newness import Newness
from agent.simulation.report import collect, summarise
from agent.simulation.run import CHOSEN, Run
from bench.curves import directory_of, markdown
from bench.kept_curves import Kept, class_ap, counts, learned
from bench.wild_pool import scenes_of
from model.atomic import write_file
from model.data.dataset import LabeledImage
from model.progress import Watch
from model.versions import VersionStore

ORACLES = ("oracle-boxes", "oracle-law")
OF_SCENES = ("oracle-law", "oracle-scenes")  # where it is known which images are of one scene


@dataclass(frozen=True)
class OracleRun(Run):
    """A run whose batches are chosen by the true boxes; `scenes` tells the one of an image, by its id."""

    scenes: dict[int, int] = field(default_factory=dict)

    def _choose(self, cycle: int, store: VersionStore, watch: Watch) -> None:  # noqa: ARG002
        measured, version = self.measured(cycle), store.serving()
        assert measured is not None
        assert version is not None
        known = set(measured["labeled"])
        left = [image for image in self.pool.images if image.id not in known]
        boxes = counts(left, len(self.pool.names))
        if self.strategy == "oracle-boxes":
            rows = np.argsort(-boxes.sum(axis=1), kind="stable")[: self.config.batch]
        else:
            law = Law(learned(self, measured["labeled"]), class_ap(version, self.pool.names))
            rows = greedy(law, boxes, self.config.batch, self._newness(known, left))
        body = {"ids": [left[row].id for row in rows], "chosen_by": self.strategy, "seconds": {}}
        write_file(self.folder / str(cycle) / CHOSEN, json.dumps(body).encode())

    def _newness(self, known: set[int], left: Sequence[LabeledImage]) -> Newness | None:
        """1 for an image of another scene than those labeled or chosen before, and 0 for one of the same."""
        if self.strategy != "oracle-scenes":
            return None
        scene = np.array([self.scenes[image.id] for image in left])
        seen = np.isin(scene, [self.scenes[image] for image in known])
        return Newness(scene[:, None].astype(np.float32), (~seen).astype(np.float32), reach=0.0)


class Law(GainModel):
    """What the law of `agent.gain.class_curves` alone says of batches by their boxes: an image's code is its boxes.

    Of classes with boxes `learned` (C,) from which they reached `ap` (C,), -1 where unknown.
    """

    def __init__(self, learned: np.ndarray, ap: np.ndarray) -> None:
        self.learned, self.half = learned, half_learned(ap, learned)

    def codes(self, phi: np.ndarray) -> np.ndarray:
        """The boxes (n, C) themselves."""
        return phi.astype(np.float32)

    def draws(self, sums: np.ndarray) -> np.ndarray:
        """(E, 2): nothing is in doubt, so both refits say the same."""
        gained = curve(self.learned + sums, self.half) - curve(self.learned, self.half)
        return np.repeat(gained.sum(axis=1)[:, None], 2, axis=1)


def main(arguments: Sequence[str] | None = None) -> None:
    kept = Kept.asked("python -m bench.oracle", __doc__, arguments)
    summaries = {}
    for name, runs in kept.runs("random"):
        missing = [run.folder for run in runs if run.measured(run.config.cycles) is None]
        if missing:
            raise SystemExit(f"{missing[0]} is not finished: run bench.curves --strategies random first")
        scenes = scenes_of(directory_of(name, kept.out))
        which = OF_SCENES if scenes else ORACLES
        oracles = [OracleRun(**vars(run) | {"strategy": one}, scenes=scenes) for run in runs for one in which]
        for run in oracles:
            run.folder.mkdir(parents=True, exist_ok=True)
            print(f"{name}, {run.strategy}, seed {run.seed}", flush=True)
            run.go(told)
        summaries[name] = summarise(collect([*runs, *oracles]))
    print(markdown(summaries))
    print(json.dumps(summaries))


def told(stage: str, done: int, total: int, **figures: float) -> None:
    """A line for every cycle."""
    if stage == "cycle":
        print(f"  cycle {done} of {total}: mAP {figures['map']:.4f}", flush=True)


if __name__ == "__main__":
    main()
