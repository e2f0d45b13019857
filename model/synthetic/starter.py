"""How the starter weights are made: a nano YOLO trained on procedural shapes, so that a fine-tune does not start blind.

    make starter            # writes model/weights/starter.pt, and beside it starter.json with the time that it took

The corpus has twenty classes of shapes, letters and blobs in any colour before any texture; none of them is a class of
the road-sign scenes or of a real data set. The run is resumable only by running it again; it is deterministic by seed.
"""

from __future__ import annotations

import argparse
import json
import math
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from model.data.dataset import Dataset, LabeledImage
from model.detectors.base import FitConfig
from model.detectors.open import STARTER
from model.detectors.yolo import YoloDetector
from model.evaluate import detect, evaluate
from model.synthetic.compositing import SPRITE, Placement, fractal_noise, occlude, photograph, place, textured

POLYGONS = {"triangle": 3, "square": 4, "pentagon": 5, "hexagon": 6, "octagon": 8}
LETTERS = "AEHKPRSX"
NAMES = (*POLYGONS, "disc", "ring", "star", "cross", "blob", "ellipse", "crescent", *(f"letter {c}" for c in LETTERS))
SIDE = 256


def shape(rng: np.random.Generator, class_id: int) -> np.ndarray:
    """Draw one object of the corpus, (SPRITE, SPRITE, 4) uint8 RGBA."""
    name, c, r = NAMES[class_id], SPRITE // 2, SPRITE * 0.46
    mask = np.zeros((SPRITE, SPRITE), np.uint8)
    turn = rng.uniform(0, 2 * math.pi)
    if name in POLYGONS:
        angles: np.ndarray = turn + 2 * math.pi * np.arange(POLYGONS[name]) / POLYGONS[name]
        _fill(mask, angles, np.full(len(angles), r))
    elif name == "star":
        angles = turn + math.pi * np.arange(10) / 5
        _fill(mask, angles, np.where(np.arange(10) % 2, r * rng.uniform(0.35, 0.5), r))
    elif name == "blob":
        angles = np.linspace(0, 2 * math.pi, 60, endpoint=False)
        wave = sum(rng.normal(0, 0.12) * np.cos(k * angles + rng.uniform(0, 6)) for k in range(2, 6))
        _fill(mask, angles, r * np.clip(0.8 + wave, 0.3, 1))
    elif name == "cross":
        w = int(rng.uniform(10, 18))
        cv2.rectangle(mask, (c - w, 6), (c + w, SPRITE - 6), 255, -1)
        cv2.rectangle(mask, (6, c - w), (SPRITE - 6, c + w), 255, -1)
    elif name == "ellipse":
        axes = (int(r), int(r * rng.uniform(0.35, 0.65)))
        cv2.ellipse(mask, (c, c), axes, math.degrees(turn), 0, 360, 255, -1, cv2.LINE_AA)
    elif name.startswith("letter"):
        font = int(rng.choice([cv2.FONT_HERSHEY_SIMPLEX, cv2.FONT_HERSHEY_DUPLEX, cv2.FONT_HERSHEY_TRIPLEX]))
        cv2.putText(mask, name[-1], (14, 114), font, 4.4, 255, int(rng.integers(9, 20)), cv2.LINE_AA)
    else:  # disc, ring, crescent
        cv2.circle(mask, (c, c), int(r), 255, -1, cv2.LINE_AA)
        if name == "ring":
            cv2.circle(mask, (c, c), int(r * rng.uniform(0.45, 0.7)), 0, -1, cv2.LINE_AA)
        elif name == "crescent":
            offset = (c + int(r * 0.5 * math.cos(turn)), c + int(r * 0.5 * math.sin(turn)))
            cv2.circle(mask, offset, int(r * 0.75), 0, -1, cv2.LINE_AA)
    image = np.zeros((SPRITE, SPRITE, 4), np.float32)
    image[..., :3] = textured(rng, SPRITE, SPRITE, 30) if rng.random() < 0.5 else rng.uniform(0, 255, 3)
    edge = cv2.erode(mask, np.ones((int(rng.integers(3, 19)),) * 2, np.uint8))
    if rng.random() < 0.5:  # a border of another colour
        image[edge < 128, :3] = rng.uniform(0, 255, 3)
    if rng.random() < 0.3:  # a core of another colour, as cells have
        core = (fractal_noise(rng, SPRITE, SPRITE, 3) > rng.uniform(0.4, 0.7)) & (edge > 128)
        image[core, :3] = rng.uniform(0, 255, 3)
    alpha: np.ndarray = mask.astype(np.float32)
    if rng.random() < 0.35:  # soft or translucent, as under a microscope
        alpha = cv2.GaussianBlur(alpha, (0, 0), rng.uniform(1, 5)) * rng.uniform(0.65, 1)
    image[..., 3] = alpha
    return image.astype(np.uint8)


def picture(seed: int, index: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """One corpus picture (SIDE, SIDE, 3) uint8 RGB, its boxes (n, 4) and classes (n,)."""
    rng = np.random.default_rng([7, seed, index])
    canvas = textured(rng, SIDE, SIDE, rng.choice([15, 50, 110]))
    for _ in range(int(rng.integers(0, 8))):  # clutter: patches and strokes that are no objects
        x, y, w, h = (int(v) for v in rng.uniform(0, SIDE, 4))
        patch = canvas[y : y + h // 2 + 1, x : x + w // 2 + 1]
        patch[:] = textured(rng, patch.shape[0], patch.shape[1], 40)
    for _ in range(int(rng.integers(0, 4))):
        occlude(rng, canvas)
    crowded = rng.random() < 0.3  # many of one or two kinds, of one size, as in a smear
    count = int(rng.integers(8, 20)) if crowded else int(rng.integers(1, 8))
    kinds = rng.choice(len(NAMES), 2) if crowded else np.arange(len(NAMES))
    base = rng.uniform(22, 56)
    placements = []
    for k in rng.choice(kinds, count).tolist():
        side = base * rng.uniform(0.85, 1.2) if crowded else 18 * 2 ** rng.uniform(0, 2.7)
        placements.append(Placement(shape(rng, k), k, side))
    boxes, classes = place(rng, canvas, placements, tilt=0.25)
    if rng.random() < 0.3:
        occlude(rng, canvas)
    return photograph(rng, canvas), boxes, classes


def corpus(directory: Path, count: int, seed: int) -> Dataset:
    """Write `count` pictures below `directory` and return them as a data set."""
    with ProcessPoolExecutor() as processes:
        images = processes.map(partial(_write, directory, seed), range(count), chunksize=50)
        return Dataset(tuple(images), NAMES)


def main() -> None:
    """Make the corpus, train on it, score on pictures of another seed, write the weights."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=4000)
    parser.add_argument("--epochs", type=int, default=9)
    parser.add_argument("--image-size", type=int, default=192)
    parser.add_argument("--architecture", default="yolo11n.yaml")
    parser.add_argument("--out", type=Path, default=STARTER)
    args = parser.parse_args()
    start = time.monotonic()

    def report(done: int, total: int, **figures: float) -> None:
        print(f"epoch {done}/{total}  loss {figures['loss']:.3f}  {time.monotonic() - start:.0f} s", flush=True)

    with tempfile.TemporaryDirectory() as directory:
        train = corpus(Path(directory), args.images, seed=0)
        test = corpus(Path(directory), 300, seed=1)
        config = FitConfig(
            epochs=args.epochs, min_steps=1, batch=16, image_size=args.image_size, learning_rate=2e-3, seed=0
        )
        untrained = YoloDetector.new(args.architecture, NAMES, args.image_size)
        detector = untrained.fit(train, config, from_scratch=True, report=report)
        metrics = evaluate(test, detect(detector, test))
    print(metrics)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    detector.save(args.out)
    record = {"command": "make starter", "seconds": round(time.monotonic() - start), **vars(args), "out": args.out.name}
    args.out.with_suffix(".json").write_text(json.dumps({**record, "metrics": metrics.to_dict()}, indent=1) + "\n")


def _write(directory: Path, seed: int, index: int) -> LabeledImage:
    pixels, boxes, classes = picture(seed, index)
    path = directory / f"{seed}-{index:05d}.jpg"
    cv2.imwrite(str(path), pixels[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 90])
    return LabeledImage(index + 1, path, (SIDE, SIDE), boxes, classes)


def _fill(mask: np.ndarray, angles: np.ndarray, radii: np.ndarray) -> None:
    points = np.stack([np.cos(angles), np.sin(angles)], 1) * radii[:, None] + SPRITE / 2
    cv2.fillPoly(mask, [points.astype(np.int32)], 255, cv2.LINE_AA)


if __name__ == "__main__":
    main()
