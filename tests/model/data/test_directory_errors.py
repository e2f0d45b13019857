"""What is wrong with a data set's directory is said in one line that names the place and the remedy."""

from __future__ import annotations

import json
import re
import shutil
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from model.data.dataset import Dataset
from model.data.directories import open_directory
from tests.model.data.exported import label_studio_coco, label_studio_voc, label_studio_yolo
from tests.model.written import coco_2017, data_yaml, product, voc_list, voc_year, write, yolo, yolo_lists


def refused(place: Path | str) -> str:
    """The message of the error that opening raises: one line that names the place."""
    with pytest.raises(ValueError, match=re.escape(str(place))) as caught:
        open_directory(place)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_directory_without_a_data_set_says_what_was_looked_for(tmp_path: Path) -> None:
    for said in (refused(tmp_path), refused(tmp_path / "nowhere"), refused("VOC2O12.yaml")):
        for format_ in ("annotations.json", "instances_<split>.json", "data.yaml", "classes.txt", "JPEGImages"):
            assert format_ in said
    assert "neither a directory" in refused(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("written", "image"),
    [
        (product, "images/scene-3-00001.jpg"),
        (coco_2017, "train2017/scene-3-00001.jpg"),
        (yolo_lists, "images/scene-3-00001.jpg"),
        (voc_year, "JPEGImages/scene-3-00001.jpg"),
    ],
)
def test_missing_images_are_counted_and_the_first_named(
    written: Callable[[Path, Dataset], Path], image: str, scenes: Dataset, tmp_path: Path
) -> None:
    root = written(tmp_path, scenes)
    (root / image).unlink()
    (root / image.replace("-00001", "-00002")).unlink()
    assert f"2 of 6 images are missing, the first is {root / image};" in refused(root)


def edited(file: Path, change: Callable[[dict], object]) -> None:
    coco = json.loads(file.read_text())
    change(coco)
    file.write_text(json.dumps(coco))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c["images"][1].update(id=5), "1 image ids occur twice, the first is 5"),
        (lambda c: c["categories"][0].update(name="halt"), "other categories than instances_train2017.json"),
        (lambda c: [a.update(image_id=44) for a in c["annotations"]], r"annotations are of images .* of image 44"),
        (lambda c: c.pop("categories"), "no 'categories'; give a file of COCO instances"),
    ],
)
def test_coco_files_that_disagree_are_refused(
    change: Callable[[dict], object], message: str, scenes: Dataset, tmp_path: Path
) -> None:
    coco_2017(tmp_path, scenes)
    edited(tmp_path / "annotations" / "instances_val2017.json", change)
    assert re.search(message, refused(tmp_path))


@pytest.mark.parametrize(
    ("change", "said", "images"),
    [
        (
            lambda a: a.update(image_id=44),
            r"1 annotations are of images that are not listed, .* of image 44; left out",
            6,
        ),
        (lambda a: a.update(category_id=44), r"1 of 6 images are left out, .*category_id 44 is not among", 5),
        (lambda a: a.pop("bbox"), r"1 of 6 images are left out, .*annotation \d+: an entry without 'bbox'", 5),
        (lambda a: a.pop("image_id"), r"annotation \d+: an entry without 'image_id'; left out", 6),
    ],
)
def test_one_odd_annotation_is_left_out_and_named(
    change: Callable[[dict], object], said: str, images: int, scenes: Dataset, tmp_path: Path
) -> None:
    product(tmp_path, scenes)
    edited(tmp_path / "annotations.json", lambda c: change(c["annotations"][0]))
    dataset = open_directory(tmp_path)
    assert len(dataset) == images
    (note,) = dataset.notes
    assert re.search(said, note)


def test_a_coco_file_that_is_no_json_is_named(scenes: Dataset, tmp_path: Path) -> None:
    product(tmp_path, scenes)
    (tmp_path / "annotations.json").write_text("{")
    assert "annotations.json: not readable as JSON" in refused(tmp_path)


def test_a_coco_image_listed_twice_is_refused(scenes: Dataset, tmp_path: Path) -> None:
    product(tmp_path, scenes)
    edited(tmp_path / "annotations.json", lambda c: c["images"].append(c["images"][2] | {"id": 7}))
    assert "1 images are listed twice, the first is" in refused(tmp_path)


def test_a_coco_side_without_its_images_is_not_forgotten(scenes: Dataset, tmp_path: Path) -> None:
    coco_2017(tmp_path, scenes)
    shutil.rmtree(tmp_path / "train2017")
    assert "instances_train2017.json is there, but not its images; looked for train2017/" in refused(tmp_path)


def test_yolo_errors(scenes: Dataset, tmp_path: Path) -> None:
    root = yolo(tmp_path, scenes)
    write(root / "data.yaml", data_yaml(scenes, train="images", val="images/val"))
    assert "2 images are in `train` and in `val` or `test` too, the first is" in refused(root)
    write(root / "data.yaml", data_yaml(scenes, train="images/gone", val="images/val"))
    assert re.search(r"`train` is .*/images/gone, which does not exist", refused(root))
    write(root / "data.yaml", data_yaml(scenes, train="images/train", val="images/gone"))
    assert re.search(r"`val` is .*/images/gone, which does not exist; correct the paths in it", refused(root))
    write(root / "data.yaml", data_yaml(scenes, val="images/gone"))
    assert re.search(r"`val` is .*/images/gone, which does not exist; correct the paths in it", refused(root))
    write(root / "data.yaml", data_yaml(scenes))
    assert "data.yaml: no `train`; write where the images are" in refused(root)
    write(root / "data.yaml", data_yaml(scenes, train="labels", val="labels"))
    assert "no images of the types .avif, .bmp" in refused(root)
    shutil.rmtree(root / "labels")
    write(root / "data.yaml", data_yaml(scenes, train="images/train", val="images/val"))
    assert re.search(r"none of 6 images has a label file; looked for .*/labels/train/scene-3-00000.txt", refused(root))


def test_code_in_a_local_yaml_is_not_run(scenes: Dataset, tmp_path: Path) -> None:
    code = f"open({str(tmp_path / 'ran')!r}, 'w')"
    write(tmp_path / "data.yaml", data_yaml(scenes, train="images", val="images", download=code))
    assert "run its `download`, which is code, yourself" in refused(tmp_path)
    assert not (tmp_path / "ran").exists()


@pytest.fixture
def nothing_served() -> Iterator[str]:
    """The address of a server on this machine that has nothing."""

    class Nothing(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_error(404)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Nothing)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_a_failed_download_is_one_line(
    nothing_served: str, scenes: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ultralytics.data.utils.DATASETS_DIR", tmp_path / "datasets")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    file = write(
        tmp_path / "far.yaml",
        data_yaml(scenes, path="far", train="images", val="images", download=f"{nothing_served}/far.zip"),
    )
    assert re.search(r"cannot open this data set: Download failure for .*far\.zip.*; check the network$", refused(file))


def test_voc_errors(scenes: Dataset, tmp_path: Path) -> None:
    year = voc_year(tmp_path, scenes)
    voc_list(year, "val", scenes.images[3:])
    assert "1 pictures are listed twice, the first is scene-3-00003" in refused(year)
    write(year / "ImageSets" / "Main" / "val.txt", "2012_000001\n2012_000002\n")
    assert re.search(r"2 of 6 listed pictures have no XML, the first is .*2012_000001\.xml", refused(year))
    write(year / "ImageSets" / "Main" / "val.txt", "scene-3-00004\n2012_000001\n")  # one of six
    dataset = open_directory(year)
    assert len(dataset) == 5
    assert "1 of 6 listed pictures have no XML" in dataset.notes[0]
    voc_list(year, "val", scenes.images[4:])
    whole = (year / "Annotations" / "scene-3-00000.xml").read_text()
    (year / "Annotations" / "scene-3-00000.xml").write_text("<annotation>")  # one of six
    assert len(open_directory(year)) == 5
    assert "scene-3-00000.xml: not readable as XML" in open_directory(year).notes[0]
    (year / "Annotations" / "scene-3-00000.xml").write_text(whole)
    assert open_directory(year).notes == ()
    for name in ("scene-3-00000", "scene-3-00001"):
        (year / "Annotations" / f"{name}.xml").write_text("<annotation>")
    assert "scene-3-00000.xml: not readable as XML" in refused(year)


def link(file: Path) -> None:
    """To a disk that is not there any more."""
    file.unlink(missing_ok=True)
    file.symlink_to(file.with_name("gone") / file.name)


def folder(file: Path) -> None:
    file.unlink(missing_ok=True)
    file.mkdir()


@pytest.mark.parametrize("spoil", [link, folder])
def test_one_label_file_that_cannot_be_opened_leaves_its_picture_out(
    spoil: Callable[[Path], None], tmp_path: Path
) -> None:
    spoil(label_studio_yolo(tmp_path) / "labels" / "p01.txt")
    dataset = open_directory(tmp_path)
    assert len(dataset) == 9
    assert "p01" not in {image.path.stem for image in dataset.images}
    assert "labels/p01.txt: cannot be opened" in dataset.notes[0]


@pytest.mark.parametrize("spoil", [link, folder])
@pytest.mark.parametrize("name", ["other.json", "other.yaml"])
def test_files_of_others_that_cannot_be_opened_are_passed_over(
    name: str, spoil: Callable[[Path], None], tmp_path: Path
) -> None:
    spoil(label_studio_yolo(tmp_path) / name)
    assert len(open_directory(tmp_path)) == 10


@pytest.mark.parametrize("spoil", [link, folder])
def test_files_that_are_needed_and_cannot_be_opened_are_named(spoil: Callable[[Path], None], tmp_path: Path) -> None:
    spoil(label_studio_yolo(tmp_path / "yolo") / "classes.txt")
    assert "classes.txt: cannot be opened" in refused(tmp_path / "yolo")
    spoil(label_studio_coco(tmp_path / "coco") / "result.json")
    assert "result.json: cannot be opened" in refused(tmp_path / "coco")


def test_a_list_of_voc_in_another_encoding_is_named(tmp_path: Path) -> None:
    write(label_studio_voc(tmp_path) / "ImageSets" / "Main" / "train.txt", "p01\np02\n")
    (tmp_path / "ImageSets" / "Main" / "val.txt").write_bytes(b"p03\nm\xfcll\n")
    assert "val.txt, line 2: not UTF-8" in refused(tmp_path)
