"""What Label Studio's own converter exports of ten annotated images, one of them turned by EXIF, read alike."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from label_studio_sdk.converter import Converter

from backend.commands.annotator import label_config
from backend.label_studio.regions import region
from model.data.directories import open_directory
from tests.model.data.exported import NAMES, objects_of, ten
from tests.model.data.pictures import write_picture

TURNED = 3  # the image that is stored on its side
FORMATS = {"COCO": 0.001, "COCO_WITH_IMAGES": 0.001, "YOLO_WITH_IMAGES": 0.001, "VOC": 2.0}
"""and how far boxes may be off, in pixels: VOC's are whole numbers, cut off twice"""


@pytest.fixture(scope="module")
def exports(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("label-studio")
    tasks = []
    for image in ten().images:
        name = f"0000000{image.id:x}-{image.path.name}"
        stored = image.size[::-1] if image.id == TURNED else image.size
        write_picture(root / "media" / "upload" / "1" / name, *stored, orientation=6 if image.id == TURNED else 1)
        drawn = zip(image.xyxy.tolist(), image.class_ids.tolist(), strict=True)
        result = [region(f"r{k}", "label", "image", image.size, box, NAMES[c]) for k, (box, c) in enumerate(drawn)]
        annotation = {"id": image.id, "completed_by": 1, "was_cancelled": False, "result": result}
        tasks.append({"id": image.id, "data": {"image": f"/data/upload/1/{name}"}, "annotations": [annotation]})
    (root / "tasks.json").write_text(json.dumps(tasks))
    for kind in FORMATS:
        converter = Converter(label_config(NAMES), str(root / "media"), upload_dir=str(root / "media" / "upload"))
        converter.convert(str(root / "tasks.json"), str(root / kind), kind, is_dir=False)
    return root


@pytest.mark.parametrize(("kind", "off"), FORMATS.items())
def test_what_label_studio_exports_is_read_alike(kind: str, off: float, exports: Path) -> None:
    dataset = open_directory(exports / kind)
    assert set(dataset.names) == set(NAMES)
    want = {image.path.stem: image for image in ten().images if kind != "VOC" or len(image.class_ids)}
    found = {image.path.stem.partition("-")[2]: image for image in dataset.images}
    assert found.keys() == want.keys()
    for stem, image in found.items():
        assert image.size == want[stem].size
        have, truth = objects_of(dataset, image), objects_of(ten(), want[stem])
        assert [name for name, *_ in have] == [name for name, *_ in truth]
        np.testing.assert_allclose([box for _, *box in have], [box for _, *box in truth], atol=off)


def test_what_was_done_to_them_is_said(exports: Path) -> None:
    (note,) = open_directory(exports / "COCO").notes
    assert "1 of 10 images are declared in the size before EXIF turns them; their boxes were put onto" in note
    (note,) = open_directory(exports / "VOC").notes  # Label Studio writes no XML where nothing was drawn
    assert "2 images have no XML and are left out" in note
    assert open_directory(exports / "YOLO_WITH_IMAGES").notes == ()
