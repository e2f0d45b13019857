"""A pool as it comes, made of photographs: frames of one scene again and again, empty images, a long tail of classes.

    python -m bench.wild_pool DATA OUT [--seed 0] [--images 500] [--frames .55] [--empty .25] [--tail 100]

DATA is a labeled directory. OUT gets a COCO one: split "train" is the pool, "val" are images as they are, of which the
pool has nothing. A scene is a photograph that a camera looks at for a while: it drifts, turns, zooms and is lit
differently from frame to frame, so that frames far apart differ more than neighbours. How long a camera looks is
unequal: a few scenes have most of the frames. Empty images are parts of photographs without any object, seen again and
again as by a camera at which nothing happens. Which classes are common is the seed's choice; the rarest is `tail` times
as rare as the commonest.

`group` of an image in annotations.json says which scene it is of: for looking at what was chosen, never for choosing.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from model.data.dataset import Dataset, LabeledImage
from model.data.directories import open_directory
from model.data.images import load_image

TRIES = 200  # crops looked at for one without an object
QUALITY = 90  # of the JPEG
SMALLEST = 2.0  # pixels of a box's side
VISIBLE = 0.4  # share of a box's area that has to be inside


@dataclass(frozen=True)
class WildConfig:
    """What a pool is made of.

    Attributes:
        images: of the pool.
        frames, empty: shares of it that are further frames of a scene, and without any object.
        tail: how many times commoner the commonest class is kept than the rarest.
    """

    images: int = 500
    frames: float = 0.55
    empty: float = 0.25
    tail: float = 100.0


@dataclass
class Picture:
    """(h, w, 3) uint8 RGB, (n, 4) float64 xyxy, (n,) class ids, and the scene that it is of."""

    pixels: np.ndarray
    xyxy: np.ndarray
    class_ids: np.ndarray
    group: int


def wild(data: Dataset, config: WildConfig, seed: int) -> tuple[list[Picture], list[LabeledImage]]:
    """The pool in a random order, and the evaluation: images of the other splits, and those that the pool has nothing
    of. The same seed gives the same pool."""
    rng = np.random.default_rng([7, seed])
    pool, evaluation = data.pool_and_evaluation()
    scenes = _scenes(pool, config, rng)
    pictures: list[Picture] = []
    for group, (image, length) in enumerate(scenes):
        pictures += clip(_picture(image, group), length, rng)
    used = {image.id for image, _ in scenes}
    count = round(config.images * config.empty)
    for image in (pool.images[k] for k in rng.permutation(len(pool))):
        if count <= 0:
            break
        background = hole(_picture(image, len(scenes) + image.id), rng)
        if background is not None:
            used.add(image.id)
            length = min(count, max(1, round(4 * rng.pareto(1.5))))  # how long nothing happens
            pictures += clip(background, length, rng)
            count -= length
    rest = [image for image in pool.images if image.id not in used]
    return [pictures[k] for k in rng.permutation(len(pictures))], [*evaluation.images, *rest]


def clip(first: Picture, length: int, rng: np.random.Generator) -> Iterator[Picture]:
    """The first frame and what the camera sees after it: a random walk of its place, turn, zoom and light."""
    yield first
    h, w = first.pixels.shape[:2]
    place: np.ndarray = np.zeros(5)  # right and down in shares of the sides, degrees, zoom, light
    step = np.array([0.02, 0.02, 0.8, 0.02, 0.05])
    bound = np.array([0.1, 0.1, 4.0, 0.12, 0.25])
    for _ in range(length - 1):
        place = np.clip(0.95 * place + rng.normal(0, step), -bound, bound)
        zoom = 1.06 + place[3]
        turned: np.ndarray = cv2.getRotationMatrix2D((w / 2, h / 2), place[2], zoom)
        turned[:, 2] += place[:2] * np.array([w, h])
        pixels = cv2.warpAffine(first.pixels, turned, (w, h), borderMode=cv2.BORDER_REFLECT_101).astype(np.float32)
        pixels = pixels * (1 + place[4]) + rng.normal(0, 3, pixels.shape)
        xyxy, inside = _moved(first.xyxy, turned, zoom, (w, h))
        yield Picture(np.clip(pixels, 0, 255).astype(np.uint8), xyxy[inside], first.class_ids[inside], first.group)


def hole(picture: Picture, rng: np.random.Generator) -> Picture | None:
    """The largest of some random crops of the picture's proportions without any part of an object, at its size."""
    h, w = picture.pixels.shape[:2]
    best, largest = None, 0.0
    for share in rng.uniform(0.25, 0.8, TRIES):
        wide, high = int(w * share), int(h * share)
        x, y = rng.integers(0, w - wide + 1), rng.integers(0, h - high + 1)
        left, top, right, bottom = picture.xyxy.T
        if share > largest and ((right <= x) | (left >= x + wide) | (bottom <= y) | (top >= y + high)).all():
            best, largest = picture.pixels[y : y + high, x : x + wide], share
    if best is None:
        return None
    return Picture(cv2.resize(best, (w, h)), np.zeros((0, 4)), np.zeros(0, np.int64), picture.group)


def write(pictures: Sequence[Picture], evaluation: Sequence[LabeledImage], names: Sequence[str], out: Path) -> None:
    """A COCO directory."""
    (out / "images").mkdir(parents=True, exist_ok=True)
    images: list[dict] = []
    boxes: list[dict] = []
    whole = [(p, "train") for p in pictures] + [(_picture(image, -1), "val") for image in evaluation]
    for number, (picture, split) in enumerate(whole, 1):
        name, (h, w) = f"{number:05d}.jpg", picture.pixels.shape[:2]
        bgr = cv2.cvtColor(picture.pixels, cv2.COLOR_RGB2BGR)
        cv2.imwrite(str(out / "images" / name), bgr, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
        about = {"id": number, "file_name": name, "width": w, "height": h, "split": split, "group": picture.group}
        images.append(about)
        for (x1, y1, x2, y2), class_id in zip(picture.xyxy.tolist(), picture.class_ids.tolist(), strict=True):
            bbox = [round(v, 2) for v in (x1, y1, x2 - x1, y2 - y1)]
            boxes.append({"id": len(boxes) + 1, "image_id": number, "category_id": class_id + 1, "bbox": bbox})
    categories = [{"id": k, "name": name} for k, name in enumerate(names, 1)]
    body = {"images": images, "annotations": boxes, "categories": categories}
    (out / "annotations.json").write_text(json.dumps(body))


def scenes_of(folder: Path) -> dict[int, int]:
    """The scene of each image of a pool as it comes, by its id; nothing of another directory."""
    images = json.loads((folder / "annotations.json").read_text())["images"]
    return {image["id"]: image["group"] for image in images if "group" in image}


def write_wild(source: Path, out: Path, config: WildConfig | None = None, seed: int = 0) -> dict[str, int]:
    """A COCO directory `out` with a pool as it comes, made of the labeled directory `source`, and what it has."""
    data = open_directory(source)
    pictures, evaluation = wild(data, config or WildConfig(), seed)
    write(pictures, evaluation, data.names, out)
    return {
        "pool": len(pictures),
        "scenes": len({p.group for p in pictures if len(p.class_ids)}),
        "empty": sum(not len(p.class_ids) for p in pictures),
        "boxes": int(sum(len(p.class_ids) for p in pictures)),
        "evaluation": len(evaluation),
    }


def _scenes(pool: Dataset, config: WildConfig, rng: np.random.Generator) -> list[tuple[LabeledImage, int]]:
    """Which photographs are scenes, and how many images each gives."""
    count = round(config.images * (1 - config.frames - config.empty))
    ranks = rng.permutation(len(pool.names))
    keep = config.tail ** (-ranks / max(len(pool.names) - 1, 1))
    full = [image for image in pool.images if len(image.class_ids)]
    # an image is kept by the mean rarity of its boxes, without replacement (Efraimidis and Spirakis, 2006)
    wanted = np.array([math.exp(float(np.log(keep[image.class_ids]).mean())) for image in full])
    chosen = np.argsort(-(rng.random(len(full)) ** (1 / wanted)), kind="stable")[:count]
    share = 1.0 / (rng.permutation(len(chosen)) + 1.0)
    frames = rng.multinomial(round(config.images * config.frames), share / share.sum())
    return [(full[k], 1 + int(more)) for k, more in zip(chosen, frames, strict=True)]


def _moved(xyxy: np.ndarray, turned: np.ndarray, zoom: float, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Boxes of the same proportions around the moved middles, cut at the picture's edge; and which are still there."""
    if not len(xyxy):
        return xyxy, np.zeros(0, bool)
    middles = np.concatenate([(xyxy[:, :2] + xyxy[:, 2:]) / 2, np.ones((len(xyxy), 1))], axis=1) @ turned.T
    half = (xyxy[:, 2:] - xyxy[:, :2]) * zoom / 2
    whole = np.concatenate([middles - half, middles + half], axis=1)
    cut = np.clip(whole, 0, np.array([*size, *size]))
    sides, area = cut[:, 2:] - cut[:, :2], (4 * half).prod(axis=1) / 4
    return cut, (sides > SMALLEST).all(axis=1) & (sides.prod(axis=1) > VISIBLE * area)


def _picture(image: LabeledImage, group: int) -> Picture:
    return Picture(load_image(image.path), image.xyxy.astype(np.float64), image.class_ids, group)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.wild_pool", description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    defaults = WildConfig()
    for name in ("images", "frames", "empty", "tail"):
        value = getattr(defaults, name)
        parser.add_argument(f"--{name}", type=type(value), default=value)
    options = parser.parse_args(arguments)
    config = WildConfig(options.images, options.frames, options.empty, options.tail)
    print(json.dumps(write_wild(options.data, options.out, config, options.seed)))


if __name__ == "__main__":
    main()
