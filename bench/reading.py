"""How long does it take to read a directory of labeled images, until its boxes are known to be right? And its pictures?

    python -m bench.reading                               # 2,000 images in each of three formats: a minute
    python -m bench.reading --before ../before            # and the same by an older tree of the product, in turn

The same road-sign scenes, each under many names and with other boxes, are written as COCO (annotations.json), YOLO
(data.yaml) and Pascal VOC. A reader opens every label, measures every picture and checks every box against it. Then all
pictures are decoded, as for training and prediction. Each reading has a process of its own, and is timed without its
imports; the files are in memory, as after a first reading. The last line is JSON: of each format the median CPU
seconds, which depend least on what else the machine does.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

IMAGES, BOXES, REPEATS = 2000, 6, 5
NAMES = [f"sign {k}" for k in range(10)]
SIZE = (320, 240)
READ = """
import time
from model.data.directories import open_directory
import model.data.images
start = time.process_time()
dataset = open_directory({place!r})
print(time.process_time() - start, len(dataset), dataset.boxes)
"""

DECODE = """
import time
from pathlib import Path
from model.data.images import load_image
files = sorted(Path({place!r}, "images").iterdir())
start = time.process_time()
for file in files:
    load_image(file)
print(time.process_time() - start, len(files), len(files) * {boxes})
"""


def write(root: Path, images: int) -> None:
    """The same labeled images as `coco/`, `yolo/` and `voc/` below a directory."""
    from model.synthetic.scenes import write_scenes

    scenes = [image.path for image in write_scenes(root / "scenes", 20, seed=0).images]
    rng = np.random.default_rng(0)
    coco: dict[str, list] = {"images": [], "annotations": [], "categories": []}
    coco["categories"] = [{"id": k, "name": name} for k, name in enumerate(NAMES)]
    for folder in ("coco/images", "yolo/images", "yolo/labels", "voc/JPEGImages", "voc/Annotations"):
        (root / folder).mkdir(parents=True)
    for number in range(images):
        name = f"{number:06d}"
        for folder in ("coco/images", "yolo/images", "voc/JPEGImages"):
            shutil.copyfile(scenes[number % len(scenes)], root / folder / f"{name}.jpg")
        low = rng.integers(1, (200, 150), (BOXES, 2))
        corners = np.concatenate([low, low + rng.integers(5, 80, (BOXES, 2))], axis=1)
        kinds = rng.integers(len(NAMES), size=BOXES).tolist()
        coco["images"].append({"id": number, "file_name": f"{name}.jpg", "width": SIZE[0], "height": SIZE[1]})
        lines, objects = [], []
        for k, (x1, y1, x2, y2) in zip(kinds, corners.tolist(), strict=True):
            box = {"id": len(coco["annotations"]), "image_id": number, "category_id": k, "iscrowd": 0}
            coco["annotations"].append(box | {"bbox": [x1, y1, x2 - x1, y2 - y1], "area": (x2 - x1) * (y2 - y1)})
            centre = ((x1 + x2) / 2 / SIZE[0], (y1 + y2) / 2 / SIZE[1], (x2 - x1) / SIZE[0], (y2 - y1) / SIZE[1])
            lines.append(" ".join(map(str, (k, *centre))))
            objects.append(
                f"<object><name>{NAMES[k]}</name><bndbox><xmin>{x1}</xmin><ymin>{y1}</ymin><xmax>{x2}</xmax>"
                f"<ymax>{y2}</ymax></bndbox></object>"
            )
        (root / "yolo/labels" / f"{name}.txt").write_text("\n".join(lines))
        (root / "voc/Annotations" / f"{name}.xml").write_text(
            f"<annotation><filename>{name}.jpg</filename><size><width>{SIZE[0]}</width><height>{SIZE[1]}</height></size>"
            f"{''.join(objects)}</annotation>"
        )
    (root / "coco/annotations.json").write_text(json.dumps(coco))
    (root / "yolo/data.yaml").write_text(json.dumps({"train": "images", "val": "images", "names": NAMES}))


def seconds(place: Path, tree: Path, code: str = READ) -> float:
    """What reading a directory takes, by the product in `tree`."""
    environment = os.environ | {"PYTHONPATH": str(tree)}
    command = [sys.executable, "-c", code.format(place=str(place), boxes=BOXES)]
    out = subprocess.run(command, cwd=tree, env=environment, capture_output=True, text=True, check=True).stdout
    took, images, boxes = out.split()
    assert int(boxes) == BOXES * int(images), out
    return float(took)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=IMAGES)
    parser.add_argument("--repeats", type=int, default=REPEATS, help="readings of each format; the median counts")
    parser.add_argument("--before", type=Path, help="a tree of an older version, read with in turn")
    options = parser.parse_args(arguments)
    here = Path(__file__).resolve().parents[1]
    trees = {"seconds": here} | ({"before": options.before.resolve()} if options.before else {})
    figures: dict[str, float] = {"images": options.images}
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory)
        write(root, options.images)
        for kind, code in (("coco", READ), ("yolo", READ), ("voc", READ), ("pictures", DECODE)):
            place = root / ("coco" if code is DECODE else kind)
            took: dict[str, list[float]] = {name: [] for name in trees}
            for _ in range(options.repeats):
                for name, tree in trees.items():
                    took[name].append(seconds(place, tree, code))
            for name, times in took.items():
                figures[f"{name}_{kind}"] = round(statistics.median(times), 3)
                print(f"{kind}, {name}: {figures[f'{name}_{kind}']} s ({min(times):.3f} to {max(times):.3f})")
            if options.before:
                figures[f"ratio_{kind}"] = round(figures[f"seconds_{kind}"] / figures[f"before_{kind}"], 3)
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
