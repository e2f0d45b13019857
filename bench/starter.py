"""What the starter weights are worth: the same short fine-tune from them and from scratch.

    python -m bench.starter                              # road-sign scenes
    python -m bench.starter --data ../shared/data/bccd   # and a labeled COCO directory

Forty training images, the same steps, seeds and trainer; only the first weights differ. Scored on images neither saw.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch

from model.data.dataset import Dataset
from model.detectors.base import FitConfig
from model.detectors.open import open_detector
from model.evaluate import detect, evaluate
from model.synthetic.scenes import write_scenes


def measure(name: str, train: Dataset, test: Dataset, config: FitConfig) -> dict:
    """mAP and seconds of both starts."""
    starter = open_detector("starter")
    figures: dict = {"data": name, "train_images": len(train), "test_images": len(test), "steps": config.min_steps}
    for start, from_scratch in (("starter", False), ("scratch", True)):
        clock = time.monotonic()
        detector = starter.fit(train, config, from_scratch=from_scratch)
        seconds = time.monotonic() - clock
        metrics = evaluate(test, detect(detector, test))
        print(f"{name:8} from {start}: {metrics}   {seconds:.0f} s", flush=True)
        figures[start] = {"map": round(metrics.map, 4), "map50": round(metrics.map50, 4), "seconds": round(seconds, 1)}
    return figures


def main() -> None:
    """Measure on scenes, and on `--data` where it is given."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--images", type=int, default=40)
    parser.add_argument("--steps", type=int, default=120)
    parser.add_argument("--image-size", type=int, default=224)
    args = parser.parse_args()
    config = FitConfig(epochs=1, min_steps=args.steps, image_size=args.image_size)
    results = []
    with tempfile.TemporaryDirectory() as directory:
        scenes = write_scenes(directory, args.images + 100, seed=11)
        ids = [image.id for image in scenes.images]
        train, test = scenes.subset(ids[: args.images]), scenes.subset(ids[args.images :])
        results.append(measure("scenes", train, test, config))
    if args.data:
        data = Dataset.from_coco(args.data / "annotations.json", args.data / "images")
        pool = [image.id for image in data.images if image.split == "train"][: args.images]
        rest = [image.id for image in data.images if image.split not in (None, "train")]
        results.append(measure(args.data.name, data.subset(pool), data.subset(rest), config))
    print(json.dumps(results))


if __name__ == "__main__":
    main()
