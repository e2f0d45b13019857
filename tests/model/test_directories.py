"""One small data set in every directory format: the same boxes and splits from each, and errors that say what to do."""

from __future__ import annotations

import json
import re
import shutil
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from model.dataset import Dataset, LabeledImage
from model.directories import open_directory
from model.scenes import write_scenes

TRAIN = {1, 2, 3, 4}  # ids of the six scenes; 5 and 6 evaluate


@pytest.fixture(scope="session")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Six scenes in the product's own format, four of them "train"; the last one is without objects."""
    root = tmp_path_factory.mktemp("scenes")
    write_scenes(root, 6, seed=3)
    coco = json.loads((root / "annotations.json").read_text())
    for image in coco["images"]:
        image["split"] = "train" if image["id"] in TRAIN else "val"
    coco["annotations"] = [a for a in coco["annotations"] if a["image_id"] != 6]
    (root / "annotations.json").write_text(json.dumps(coco))
    return Dataset.from_coco(coco, root / "images")


def put(source: Path, directory: Path) -> Path:
    """A copy of a file in a directory, made where it does not exist."""
    directory.mkdir(parents=True, exist_ok=True)
    return Path(shutil.copy(source, directory))


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def side(image: LabeledImage) -> str:
    return "train" if image.id in TRAIN else "val"


# -- writers of each format -------------------------------------------------------------------------------------------


def product(root: Path, scenes: Dataset) -> Path:
    shutil.copytree(scenes.images[0].path.parents[1], root, dirs_exist_ok=True)
    return root


def coco_2017(root: Path, scenes: Dataset, images: str = "") -> Path:
    coco = scenes.to_coco()
    for split, name in (("train", "train2017"), ("val", "val2017")):
        ids = {i.id for i in scenes.images if side(i) == split}
        part = {
            "images": [{k: v for k, v in i.items() if k != "split"} for i in coco["images"] if i["id"] in ids],
            "annotations": [a for a in coco["annotations"] if a["image_id"] in ids],
            "categories": coco["categories"],
        }
        write(root / "annotations" / f"instances_{name}.json", json.dumps(part))
        for image in scenes.images:
            if image.id in ids:
                put(image.path, root / images / name)
    write(root / "annotations" / "captions_val2017.json", "{}")
    write(root / "annotations" / "instances_valminusminival2017.json", "of images that are not here")
    return root


def label_lines(image: LabeledImage) -> str:
    x1, y1, x2, y2 = (image.xyxy / [*image.size, *image.size]).T
    columns = zip(image.class_ids, (x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1, strict=True)
    return "".join(f"{k} {cx:.6f} {cy:.6f} {w:.6f} {h:.6f}\n" for k, cx, cy, w, h in columns)


def yolo_files(root: Path, scenes: Dataset, by_split: bool = True) -> None:
    for image in scenes.images:
        below = side(image) if by_split else "."
        put(image.path, root / "images" / below)
        if len(image.class_ids):  # as exporters do, no file where there is nothing to say
            write(root / "labels" / below / f"{image.path.stem}.txt", label_lines(image))


def data_yaml(scenes: Dataset, **entries: Any) -> str:
    return json.dumps({"names": dict(enumerate(scenes.names))} | entries)  # JSON is YAML


def yolo(root: Path, scenes: Dataset) -> Path:
    yolo_files(root, scenes)
    write(root / "data.yaml", data_yaml(scenes, train="images/train", val="images/val"))
    return root


def yolo_yaml_elsewhere(root: Path, scenes: Dataset) -> Path:
    yolo_files(root / "data", scenes)
    return write(
        root / "mine.yaml", data_yaml(scenes, path=str(root / "data"), train=["images/train"], val="images/val")
    )


def yolo_lists(root: Path, scenes: Dataset) -> Path:
    """As ultralytics' COCO: text files list the images; the test images' labels are withheld."""
    yolo_files(root, scenes, by_split=False)
    for split in ("train", "val"):
        lines = [f"./images/{i.path.name}\n" for i in scenes.images if side(i) == split]
        write(root / f"{split}.txt", "".join(lines))
    write(root / "test.txt", "./images/withheld.jpg\n")
    write(root / "data.yaml", data_yaml(scenes, train="train.txt", val=["val.txt"], test="test.txt"))
    return root


def yolo_test(root: Path, scenes: Dataset) -> Path:
    """A labeled test split evaluates too; here `val` and `test` overlap, as in ultralytics' VOC.yaml."""
    yolo_lists(root, scenes)
    write(root / "val.txt", f"images/{scenes.images[4].path.name}\n")
    write(root / "test.txt", "".join(f"{root}/images/{i.path.name}\n" for i in scenes.images[4:]))
    return root


def yolo_polygons(root: Path, scenes: Dataset) -> Path:
    """As ultralytics' COCO labels: outlines instead of boxes."""
    yolo(root, scenes)
    for file in (root / "labels").rglob("*.txt"):
        rows = [[float(v) for v in line.split()] for line in file.read_text().splitlines()]
        diamonds = [(k, (x - w / 2, y), (x, y - h / 2), (x + w / 2, y), (x, y + h / 2)) for k, x, y, w, h in rows]
        file.write_text("".join(f"{k:g} " + " ".join(f"{x} {y}" for x, y in xy) + "\n" for k, *xy in diamonds))
    return root


def yolo_without_yaml(root: Path, scenes: Dataset) -> Path:
    yolo_files(root, scenes)
    write(root / "classes.txt", "\n".join(scenes.names) + "\n")
    return root


def voc_files(year: Path, scenes: Dataset) -> None:
    for image in scenes.images:
        put(image.path, year / "JPEGImages")
        objects = [
            f"<object><name>{scenes.names[k]}</name><difficult>0</difficult><bndbox><xmin>{x1 + 1}</xmin>"
            f"<ymin>{y1 + 1}</ymin><xmax>{x2}</xmax><ymax>{y2}</ymax></bndbox></object>"
            for k, (x1, y1, x2, y2) in zip(image.class_ids, image.xyxy.round().astype(int), strict=True)
        ]
        write(
            year / "Annotations" / f"{image.path.stem}.xml",
            f"<annotation><filename>{image.path.name}</filename><size><width>{image.size[0]}</width>"
            f"<height>{image.size[1]}</height></size>{''.join(objects)}</annotation>",
        )


def voc_list(year: Path, name: str, images: list[LabeledImage] | tuple[LabeledImage, ...]) -> None:
    write(year / "ImageSets" / "Main" / f"{name}.txt", "".join(f"{i.path.stem}\n" for i in images))


def voc_devkit(root: Path, scenes: Dataset) -> Path:
    """07+12: scenes 1, 2, 5, 6 are of 2007, the last two its test set; 3, 4 of 2012, whose lists are train and val."""
    old, new = (Dataset(tuple(scenes.images[k] for k in ks), scenes.names) for ks in ((0, 1, 4, 5), (2, 3)))
    voc_files(root / "VOC2007", old)
    voc_files(root / "VOC2012", new)
    voc_list(root / "VOC2007", "trainval", old.images[:2])
    voc_list(root / "VOC2007", "train", old.images[:1])
    voc_list(root / "VOC2007", "test", old.images[2:])
    voc_list(root / "VOC2012", "train", new.images[:1])
    voc_list(root / "VOC2012", "val", new.images[1:])
    write(root / "VOC2012" / "ImageSets" / "Main" / "stop_train.txt", f"{new.images[0].path.stem} -1\n")
    write(root / "VOC2012" / "Annotations" / "of_no_list.xml", "<annotation></annotation>")
    return root


def voc_year(root: Path, scenes: Dataset) -> Path:
    """VOC2012 alone has no labeled test set: val evaluates."""
    voc_files(root / "VOC2012", scenes)
    voc_list(root / "VOC2012", "trainval", scenes.images)
    voc_list(root / "VOC2012", "train", scenes.images[:4])
    voc_list(root / "VOC2012", "val", scenes.images[4:])
    return root / "VOC2012"


FORMATS: list[Callable[[Path, Dataset], Path]] = [
    product,
    coco_2017,
    yolo,
    yolo_yaml_elsewhere,
    yolo_lists,
    yolo_test,
    yolo_polygons,
    yolo_without_yaml,
    voc_devkit,
    voc_year,
]


# -- what is read -----------------------------------------------------------------------------------------------------


def objects(dataset: Dataset, image: LabeledImage) -> list[tuple[str, list[float]]]:
    """An image's class names and boxes in an order of their own: formats differ in both orders."""
    return sorted((dataset.names[k], box) for k, box in zip(image.class_ids, image.xyxy.tolist(), strict=True))


def assert_same_objects(found: Dataset, scenes: Dataset) -> None:
    there = {image.path.name: image for image in found.images}
    assert there.keys() == {image.path.name for image in scenes.images}
    assert len(found) == len(scenes)
    for image in scenes.images:
        again = there[image.path.name]
        assert again.path.exists()
        assert again.size == image.size
        want, have = objects(scenes, image), objects(found, again)
        assert [name for name, _ in have] == [name for name, _ in want]
        for (_, box), (_, truth) in zip(have, want, strict=True):
            np.testing.assert_allclose(box, truth, atol=1)


@pytest.mark.parametrize("written", FORMATS)
def test_every_format_gives_the_same_boxes_and_sides(
    written: Callable[[Path, Dataset], Path], scenes: Dataset, tmp_path: Path
) -> None:
    found = open_directory(written(tmp_path, scenes))
    assert_same_objects(found, scenes)
    assert len({image.id for image in found.images}) == len(scenes)
    pool, evaluation = found.pool_and_evaluation()
    assert {image.path.name for image in pool.images} == {i.path.name for i in scenes.images[:4]}
    assert {image.path.name for image in evaluation.images} == {i.path.name for i in scenes.images[4:]}


@pytest.mark.parametrize("written", FORMATS[2:])
def test_formats_without_ids_number_the_images_in_order(
    written: Callable[[Path, Dataset], Path], scenes: Dataset, tmp_path: Path
) -> None:
    found = open_directory(written(tmp_path, scenes))
    assert [image.id for image in found.images] == [1, 2, 3, 4, 5, 6]
    assert [image.path for image in found.images] == sorted(image.path for image in found.images)


def test_coco_keeps_its_ids_and_may_have_its_images_below_images(scenes: Dataset, tmp_path: Path) -> None:
    found = open_directory(coco_2017(tmp_path, scenes, images="images"))
    assert [(image.id, image.split) for image in found.images] == [(i.id, side(i)) for i in scenes.images]
    assert found.images[0].path.parent == tmp_path / "images" / "train2017"
    assert found.fingerprint() == scenes.fingerprint()


def test_a_relative_path_works(scenes: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for written in (coco_2017, voc_year, yolo):
        (tmp_path / written.__name__).mkdir()
        place = written(tmp_path / written.__name__, scenes).relative_to(tmp_path)
        monkeypatch.chdir(tmp_path)
        assert_same_objects(open_directory(place), scenes)
        assert_same_objects(open_directory(str(place)), scenes)


def without_split_file(root: Path, scenes: Dataset) -> Path:
    product(root, scenes)
    coco = json.loads((root / "annotations.json").read_text())
    coco["images"] = [{k: v for k, v in image.items() if k != "split"} for image in coco["images"]]
    write(root / "annotations.json", json.dumps(coco))
    return root


def one_coco_file(root: Path, scenes: Dataset) -> Path:
    for image in scenes.images:
        put(image.path, root / "val2017")
    coco = scenes.to_coco()
    coco["images"] = [{k: v for k, v in image.items() if k != "split"} for image in coco["images"]]
    write(root / "annotations" / "instances_val2017.json", json.dumps(coco))
    return root


def train_is_val(root: Path, scenes: Dataset) -> Path:
    """As ultralytics' coco128."""
    yolo_files(root, scenes, by_split=False)
    write(root / "data.yaml", data_yaml(scenes, train="images", val="images"))
    return root


def flat_yolo(root: Path, scenes: Dataset) -> Path:
    yolo_files(root, scenes, by_split=False)
    write(root / "classes.txt", "\n".join(scenes.names))
    return root


def voc_without_lists(root: Path, scenes: Dataset) -> Path:
    voc_files(root, scenes)
    return root


def voc_trainval_only(root: Path, scenes: Dataset) -> Path:
    voc_files(root, scenes)
    voc_list(root, "trainval", scenes.images)
    return root


def voc_test_only(root: Path, scenes: Dataset) -> Path:
    voc_files(root, scenes)
    voc_list(root, "test", scenes.images)
    return root


@pytest.mark.parametrize(
    "written",
    [
        without_split_file,
        one_coco_file,
        train_is_val,
        flat_yolo,
        voc_without_lists,
        voc_trainval_only,
        voc_test_only,
    ],
)
def test_where_the_source_knows_no_two_sides_a_stable_quarter_evaluates(
    written: Callable[[Path, Dataset], Path], scenes: Dataset, tmp_path: Path
) -> None:
    found = open_directory(written(tmp_path, scenes))
    assert_same_objects(found, scenes)
    assert [(image.id, image.split) for image in found.images] == [(k, None) for k in range(1, 7)]
    pool, evaluation = found.pool_and_evaluation()
    assert [i.id for i in pool.images] == [1, 2, 3, 6]
    assert [i.id for i in evaluation.images] == [4, 5]


def test_voc_names_its_test_split_and_orders_by_year(scenes: Dataset, tmp_path: Path) -> None:
    found = open_directory(voc_devkit(tmp_path, scenes))
    assert [(i.id, i.path.parents[1].name, i.split) for i in found.images] == [
        (1, "VOC2007", "train"),
        (2, "VOC2007", "train"),
        (3, "VOC2007", "test"),
        (4, "VOC2007", "test"),
        (5, "VOC2012", "train"),
        (6, "VOC2012", "train"),
    ]


def test_voc_leaves_difficult_objects_out(scenes: Dataset, tmp_path: Path) -> None:
    voc_year(tmp_path, scenes)
    for file in (tmp_path / "VOC2012" / "Annotations").glob("*.xml"):
        file.write_text(file.read_text().replace("<difficult>0", "<difficult>1"))
    found = open_directory(tmp_path)
    assert len(found) == 6
    assert found.names == ()


def test_pose_labels_keep_the_box_and_drop_the_keypoints(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    Image.new("RGB", (100, 50)).save(tmp_path / "images" / "a.png")
    write(tmp_path / "labels" / "a.txt", "0 .5 .5 .2 .4 .1 .1 .9 .9\n")
    write(
        tmp_path / "data.yaml", json.dumps({"train": "images", "val": "images", "names": ["dog"], "kpt_shape": [2, 2]})
    )
    np.testing.assert_allclose(open_directory(tmp_path).images[0].xyxy, [[40, 15, 60, 35]], atol=1e-5)


# -- errors -----------------------------------------------------------------------------------------------------------


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
        (lambda c: c["images"][1].update(id=3), "1 image ids occur twice, the first is 3"),
        (lambda c: c["categories"][0].update(name="halt"), "other categories than instances_train2017.json"),
        (lambda c: c["annotations"][0].update(image_id=44), r"1 annotations are of images .* of image 44"),
        (lambda c: c["annotations"][0].update(category_id=44), "category_id 44 is not among"),
        (lambda c: c["annotations"][0].pop("bbox"), "an entry of 'annotations' without 'bbox'"),
        (lambda c: c.pop("categories"), "no 'categories'; give a file of COCO instances"),
    ],
)
def test_coco_files_that_disagree_are_refused(
    change: Callable[[dict], object], message: str, scenes: Dataset, tmp_path: Path
) -> None:
    coco_2017(tmp_path, scenes)
    edited(tmp_path / "annotations" / "instances_val2017.json", change)
    assert re.search(message, refused(tmp_path))


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
    assert re.search(r"images not found.*/images/gone.*correct the paths in it", refused(root))
    write(root / "data.yaml", data_yaml(scenes, val="images/gone"))
    assert "'train:' key missing" in refused(root)
    write(root / "data.yaml", data_yaml(scenes, train="labels", val="labels"))
    assert "no images of the types .bmp, .jpeg" in refused(root)
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
    voc_list(year, "val", scenes.images[4:])
    (year / "Annotations" / "scene-3-00000.xml").write_text("<annotation>")
    assert "scene-3-00000.xml: not readable as XML" in refused(year)
