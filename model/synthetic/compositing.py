"""Photograph-like pictures from drawn sprites: backgrounds, perspective, light, weather, lens.

Used by the road-sign scenes and by the starter weights' corpus. All randomness comes from the generator passed in.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

SPRITE = 128  # side in pixels of the square that sprites are drawn on
MIN_VISIBLE = 0.4  # an object keeps its box while this share of it can be seen


@dataclass(frozen=True)
class Placement:
    """A sprite to put into a picture: (SPRITE, SPRITE, 4) RGBA uint8, its class, its side in the picture in pixels."""

    sprite: np.ndarray
    class_id: int
    side: float


def fractal_noise(rng: np.random.Generator, height: int, width: int, octaves: int = 5) -> np.ndarray:
    """(height, width) float32 in [0, 1]: value noise, each octave twice as fine and half as strong."""
    out = np.zeros((height, width), np.float32)
    for octave in range(octaves):
        cells = 2 ** (octave + 1)
        coarse = rng.random((cells + 1, cells + 1)).astype(np.float32)
        out += cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC) / 2**octave
    out -= out.min()
    return out / max(out.max(), 1e-6)


def textured(rng: np.random.Generator, height: int, width: int, spread: float = 90) -> np.ndarray:
    """(height, width, 3) float32 in [0, 255]: two random colours mixed by noise, with grain."""
    one = rng.uniform(20, 235, 3)
    two = np.clip(one + rng.normal(0, spread, 3), 0, 255)
    mix = fractal_noise(rng, height, width, int(rng.integers(3, 7)))[..., None]
    return (one * mix + two * (1 - mix)).astype(np.float32)


def place(
    rng: np.random.Generator, canvas: np.ndarray, placements: list[Placement], tilt: float = 0.18
) -> tuple[np.ndarray, np.ndarray]:
    """Warp every sprite into `canvas` (in place), later ones in front of earlier ones.

    Returns:
        (n, 4) float32 boxes and (n,) int64 classes of the objects that stay visible, in pixels.
    """
    height, width = canvas.shape[:2]
    masks: list[list[np.ndarray]] = []
    for item in placements:
        centre = np.array([rng.uniform(0.02, 0.98) * width, rng.uniform(0.02, 0.98) * height])
        half = item.side / 2
        turn = np.deg2rad(rng.normal(0, 6))
        corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * half
        corners[:, 0] *= rng.uniform(0.75, 1.0)  # seen from the side
        corners += rng.uniform(-tilt, tilt, (4, 2)) * half
        rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
        target = (corners @ rotation.T + centre).astype(np.float32)
        source = np.array([[0, 0], [SPRITE, 0], [SPRITE, SPRITE], [0, SPRITE]], np.float32)
        warp = cv2.getPerspectiveTransform(source, target)
        small = cv2.GaussianBlur(item.sprite, (0, 0), max(0.3, SPRITE / item.side / 2.5))  # else shrinking aliases
        layer = cv2.warpPerspective(small, warp, (width, height), flags=cv2.INTER_LINEAR).astype(np.float32)
        alpha = layer[..., 3:] / 255
        shade = rng.uniform(0.55, 1.15) * (1 + rng.uniform(-0.25, 0.25) * np.linspace(-1, 1, width)[None, :, None])
        canvas[:] = canvas * (1 - alpha) + layer[..., :3] * shade * alpha
        mask = alpha[..., 0] > 0.5
        for earlier in masks:
            earlier[1] &= ~mask
        masks.append([mask, mask.copy()])
    boxes, classes = [], []
    for (full, visible), item in zip(masks, placements, strict=True):
        ys, xs = np.nonzero(full)
        if len(xs) < 25 or visible.sum() < MIN_VISIBLE * len(xs):
            continue
        boxes.append([xs.min(), ys.min(), xs.max() + 1, ys.max() + 1])
        classes.append(item.class_id)
    return np.array(boxes, np.float32).reshape(-1, 4), np.array(classes, np.int64)


def occlude(rng: np.random.Generator, canvas: np.ndarray) -> None:
    """Draw a branch, a wire or a post across the picture, in place; boxes are not told."""
    height, width = canvas.shape[:2]
    start = (int(rng.uniform(0, width)), 0 if rng.random() < 0.7 else int(rng.uniform(0, height)))
    end = (int(rng.uniform(0, width)), int(rng.uniform(0.3, 1) * height))
    colour = [float(c) for c in rng.uniform(10, 110, 3)]
    cv2.line(canvas, start, end, colour, int(rng.integers(1, 6)), cv2.LINE_AA)


def photograph(rng: np.random.Generator, canvas: np.ndarray) -> np.ndarray:
    """Light, lens and sensor: exposure, colour cast, vignette, haze, blur, noise. Returns (H, W, 3) uint8."""
    height, width = canvas.shape[:2]
    canvas = canvas * rng.uniform(0.5, 1.25) * rng.uniform(0.88, 1.12, 3).astype(np.float32)
    if rng.random() < 0.3:
        haze = rng.uniform(0.1, 0.4)
        canvas = canvas * (1 - haze) + rng.uniform(150, 230) * haze
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    canvas = canvas * (1 - rng.uniform(0, 0.35) * (x**2 + y**2) / 2)[..., None]
    kind = rng.random()
    if kind < 0.35:
        canvas = cv2.GaussianBlur(canvas, (0, 0), rng.uniform(0.4, 1.4))
    elif kind < 0.5:  # the car moves
        length = int(rng.integers(3, 8))
        kernel = np.zeros((length, length), np.float32)
        cv2.line(kernel, (0, int(rng.integers(0, length))), (length - 1, int(rng.integers(0, length))), 1.0)
        canvas = cv2.filter2D(canvas, -1, kernel / kernel.sum())
    canvas = canvas + rng.normal(0, rng.uniform(1, 11), canvas.shape)
    return np.clip(canvas, 0, 255).astype(np.uint8)
