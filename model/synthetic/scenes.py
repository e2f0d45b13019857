"""Procedural road-sign photographs: the offline stand-in for a real data set.

Nine classes with a long tail (a stop sign is thirty times as frequent as a tram sign), seen in perspective, blurred,
noisy, in changing light, half hidden, before textured backgrounds. The same seed gives the same bytes.
"""

from __future__ import annotations

import json
import math
from pathlib import Path

import cv2
import numpy as np

from model.data.dataset import Dataset
from model.synthetic.compositing import SPRITE, Placement, fractal_noise, occlude, photograph, place, textured

NAMES = (
    "stop",
    "speed limit",
    "yield",
    "no entry",
    "priority road",
    "parking",
    "warning",
    "roundabout",
    "tram",
)
FREQUENCY = 0.66 ** np.arange(len(NAMES))
WIDTH, HEIGHT = 320, 240

RED, WHITE, BLUE, YELLOW, BLACK = (200, 20, 30), (245, 245, 245), (20, 70, 180), (245, 200, 30), (20, 20, 20)


def write_scenes(directory: str | Path, count: int, seed: int = 0) -> Dataset:
    """Write `count` scenes as `images/*.jpg` and `annotations.json` (COCO) below `directory`, and return them.

    Scene k depends on (seed, k) alone: asking for more scenes keeps the earlier ones.
    """
    directory = Path(directory)
    (directory / "images").mkdir(parents=True, exist_ok=True)
    coco: dict = {
        "images": [],
        "annotations": [],
        "categories": [{"id": k + 1, "name": name} for k, name in enumerate(NAMES)],
    }
    for index in range(count):
        picture, boxes, classes = scene(seed, index)
        name = f"scene-{seed}-{index:05d}.jpg"
        cv2.imwrite(str(directory / "images" / name), picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 90])
        coco["images"].append({"id": index + 1, "file_name": name, "width": WIDTH, "height": HEIGHT})
        for (x1, y1, x2, y2), k in zip(boxes.tolist(), classes.tolist(), strict=True):
            coco["annotations"].append(
                {
                    "id": len(coco["annotations"]) + 1,
                    "image_id": index + 1,
                    "category_id": k + 1,
                    "bbox": [x1, y1, x2 - x1, y2 - y1],
                    "area": (x2 - x1) * (y2 - y1),
                    "iscrowd": 0,
                }
            )
    (directory / "annotations.json").write_text(json.dumps(coco))
    return Dataset.from_coco(coco, directory / "images")


def scene(seed: int, index: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """One picture (HEIGHT, WIDTH, 3) uint8 RGB, its boxes (n, 4) and classes (n,)."""
    rng = np.random.default_rng([seed, index])
    canvas = street(rng)
    count = int(rng.choice([0, 1, 2, 3, 4, 5], p=[0.04, 0.26, 0.30, 0.22, 0.12, 0.06]))
    kinds = rng.choice(len(NAMES), size=count, p=FREQUENCY / FREQUENCY.sum())
    placements = [Placement(sign(rng, int(k)), int(k), 24 * 2 ** rng.uniform(0, 2)) for k in kinds]
    boxes, classes = place(rng, canvas, placements)
    for _ in range(int(rng.integers(0, 3))):
        occlude(rng, canvas)
    return photograph(rng, canvas), boxes, classes


def street(rng: np.random.Generator) -> np.ndarray:
    """A background without signs, (HEIGHT, WIDTH, 3) float32: sky, ground, houses, trees, and things that mislead."""
    canvas = textured(rng, HEIGHT, WIDTH, 40)
    horizon = int(HEIGHT * rng.uniform(0.35, 0.8))
    canvas[horizon:] = textured(rng, HEIGHT - horizon, WIDTH, 30) * 0.7
    for _ in range(int(rng.integers(1, 6))):  # houses with windows
        x, w = int(rng.uniform(-40, WIDTH)), int(rng.uniform(30, 130))
        top = int(rng.uniform(0.05, 0.9) * horizon)
        x0, x1 = max(x, 0), min(x + w, WIDTH)
        if x1 - x0 < 8 or horizon - top < 8:
            continue
        canvas[top:horizon, x0:x1] = textured(rng, horizon - top, x1 - x0, 25)
        step, colour = int(rng.integers(12, 26)), [float(c) for c in rng.uniform(20, 240, 3)]
        for wy in range(top + 5, horizon - 10, step):
            for wx in range(x0 + 5, x1 - 8, step):
                cv2.rectangle(canvas, (wx, wy), (wx + step // 2, wy + step // 2), colour, -1)
    for _ in range(int(rng.integers(0, 4))):  # trees
        centre = (int(rng.uniform(0, WIDTH)), int(horizon - rng.uniform(0, 60)))
        crown = np.zeros((HEIGHT, WIDTH), np.float32)
        cv2.circle(crown, centre, int(rng.uniform(15, 50)), 1.0, -1, cv2.LINE_AA)
        crown = (crown * fractal_noise(rng, HEIGHT, WIDTH, 6) > 0.35).astype(np.float32)[..., None]
        canvas[:] = canvas * (1 - crown) + crown * rng.uniform([10, 50, 5], [90, 140, 70])
    for _ in range(int(rng.integers(0, 5))):  # lamps, bins, adverts: coloured shapes that are no signs
        colour = [float(c) for c in rng.uniform(0, 255, 3)]
        x, y, r = int(rng.uniform(0, WIDTH)), int(rng.uniform(0, HEIGHT)), int(rng.uniform(4, 22))
        if rng.random() < 0.5:
            cv2.circle(canvas, (x, y), r, colour, -1 if rng.random() < 0.6 else 2, cv2.LINE_AA)
        else:
            cv2.rectangle(canvas, (x, y), (x + 2 * r, y + int(r * rng.uniform(0.4, 3))), colour, -1)
    return canvas


def sign(rng: np.random.Generator, class_id: int) -> np.ndarray:
    """Draw one sign, (SPRITE, SPRITE, 4) uint8 RGBA, slightly worn."""
    image = np.zeros((SPRITE, SPRITE, 4), np.uint8)
    name, c, r = NAMES[class_id], SPRITE // 2, SPRITE // 2 - 4
    if name == "stop":
        _fill(image, _polygon(8, r, math.pi / 8), WHITE)
        _fill(image, _polygon(8, r - 5, math.pi / 8), RED)
        _text(image, "STOP", WHITE, 1.15, 4)
    elif name == "speed limit":
        _disc(image, r, RED)
        _disc(image, r - 14, WHITE)
        _text(image, str(int(rng.choice([30, 50, 60, 70, 80]))), BLACK, 1.7, 6)
    elif name == "yield":
        _fill(image, _polygon(3, r, math.pi / 2), RED)
        _fill(image, _polygon(3, r - 24, math.pi / 2), WHITE)
    elif name == "no entry":
        _disc(image, r, RED)
        cv2.rectangle(image, (22, c - 11), (SPRITE - 22, c + 11), (*WHITE, 255), -1)
    elif name == "priority road":
        _fill(image, _polygon(4, r, 0), WHITE)
        _fill(image, _polygon(4, r - 16, 0), YELLOW)
    elif name == "parking":
        cv2.rectangle(image, (10, 10), (SPRITE - 10, SPRITE - 10), (*BLUE, 255), -1)
        _text(image, "P", WHITE, 3.0, 12)
    elif name == "warning":
        _fill(image, _polygon(3, r, -math.pi / 2), RED)
        _fill(image, _polygon(3, r - 22, -math.pi / 2), WHITE)
        cv2.line(image, (c, c - 18), (c, c + 8), (*BLACK, 255), 9)
        cv2.circle(image, (c, c + 22), 5, (*BLACK, 255), -1)
    elif name == "roundabout":
        _disc(image, r, BLUE)
        for start in (10, 130, 250):
            cv2.ellipse(image, (c, c), (32, 32), 0, start, start + 80, (*WHITE, 255), 9, cv2.LINE_AA)
    else:  # tram
        cv2.rectangle(image, (10, 10), (SPRITE - 10, SPRITE - 10), (*BLUE, 255), -1)
        cv2.rectangle(image, (34, 40), (SPRITE - 34, SPRITE - 30), (*WHITE, 255), -1)
        cv2.rectangle(image, (42, 50), (SPRITE - 42, 74), (*BLUE, 255), -1)
        cv2.line(image, (c, 40), (c, 22), (*WHITE, 255), 5)
    wear = 0.75 + 0.25 * fractal_noise(rng, SPRITE, SPRITE, 4)[..., None]
    image[..., :3] = (image[..., :3] * wear).astype(np.uint8)
    return image


def _polygon(corners: int, radius: float, turn: float) -> np.ndarray:
    angles = turn + 2 * math.pi * np.arange(corners) / corners
    return np.stack([np.cos(angles), np.sin(angles)], 1) * radius + SPRITE / 2


def _fill(image: np.ndarray, points: np.ndarray, colour: tuple[int, int, int]) -> None:
    cv2.fillPoly(image, [points.astype(np.int32)], (*colour, 255), cv2.LINE_AA)


def _disc(image: np.ndarray, radius: int, colour: tuple[int, int, int]) -> None:
    cv2.circle(image, (SPRITE // 2, SPRITE // 2), radius, (*colour, 255), -1, cv2.LINE_AA)


def _text(image: np.ndarray, text: str, colour: tuple[int, int, int], scale: float, thickness: int) -> None:
    (w, h), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, scale, thickness)
    at = ((SPRITE - w) // 2, (SPRITE + h) // 2)
    cv2.putText(image, text, at, cv2.FONT_HERSHEY_SIMPLEX, scale, (*colour, 255), thickness, cv2.LINE_AA)
