"""What each strategy chose first: a contact sheet, a line a strategy, with the true boxes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw

from agent.simulation.run import Run
from model.data.dataset import LabeledImage
from model.data.images import load_image

SHOWN = 12  # images of a batch
SIDE = 128
MARGIN = 4
NAME_WIDTH = 140
COLOURS = ("#e6194b", "#3cb44b", "#ffe119", "#4363d8", "#f58231", "#911eb4", "#46f0f0", "#f032e6", "#bcf60c", "#fabebe")


def draw_gallery(runs: Sequence[Run], path: Path) -> None:
    """Write the first images of each run's first batch, as JPEG."""
    cell = SIDE + MARGIN
    sheet = Image.new("RGB", (NAME_WIDTH + SHOWN * cell, len(runs) * cell), "white")
    pen = ImageDraw.Draw(sheet)
    for line, run in enumerate(runs):
        chosen = run.chosen(0)
        assert chosen is not None
        pen.text((MARGIN, line * cell + SIDE // 2 - 12), f"{run.strategy}\n{chosen['chosen_by']}", fill="black")
        images = {image.id: image for image in run.pool.subset(chosen["ids"][:SHOWN]).images}
        for place, image in enumerate(chosen["ids"][:SHOWN]):
            sheet.paste(_thumbnail(images[image]), (NAME_WIDTH + place * cell, line * cell))
    sheet.save(path, quality=85)


def _thumbnail(image: LabeledImage) -> Image.Image:
    picture = Image.fromarray(load_image(image.path))
    scale = SIDE / max(picture.size)
    picture = picture.resize((max(1, round(picture.width * scale)), max(1, round(picture.height * scale))))
    pen = ImageDraw.Draw(picture)
    for box, name in zip(image.xyxy.tolist(), image.class_ids.tolist(), strict=True):
        pen.rectangle([side * scale for side in box], outline=COLOURS[name % len(COLOURS)])
    return picture
