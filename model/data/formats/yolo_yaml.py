"""data.yaml and dataset.yaml: which pictures are on which side, as ultralytics, Roboflow, CVAT and FiftyOne do."""

from __future__ import annotations

import contextlib
import importlib.util
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from model.data.dataset import Dataset
from model.data.formats.text import distinct, read_text
from model.data.formats.walk import PICTURES, is_file, pictures_below, shown
from model.data.formats.yolo import LabelFinder, YoloImage, read, require_labels


def shipped(name: str) -> Path | None:
    """The data set that ultralytics ships under a name ("coco8" or "coco8.yaml")."""
    package = importlib.util.find_spec("ultralytics")
    directory = Path(str(package.origin)).parent / "cfg" / "datasets" if package else Path()
    return next((p for p in directory.glob("*.yaml") if name in (p.name, p.stem)), None)


def find(root: Path) -> Path | None:
    """The data set file in a directory: `data.yaml`, `dataset.yaml`, or the only one that names classes."""
    found = (file for end in ("yaml", "yml") for file in sorted(root.glob(f"*.{end}")))
    files = [file for file in found if not file.name.startswith(".") and is_file(file)]
    for known in ("data", "dataset"):
        if file := next((file for file in files if file.stem.lower() == known), None):
            return file
    named = [file for file in files if "names:" in file.read_text(encoding="utf-8", errors="replace")]
    return named[0] if len(named) == 1 else None


def read_yaml(file: Path) -> Dataset:
    """What an ultralytics data set file describes: `train` is the split "train", `val` and `test` are "val".

    Ids are 1, 2, ... in the order of the image paths over all splits. Where `train` and `val` are the same images, as
    in some of ultralytics' samples, or one of them is empty, there is no split. A `test` without labels, or without
    images, is a challenge's and is left out.

    Paths are those beside the file; what is not there and has a `download` is fetched by ultralytics into the
    `datasets_dir` of its settings. A download written as code runs only from the files that ultralytics ships;
    elsewhere only archives' addresses are followed.

    Raises:
        ValueError: the file, its images or its labels are not as expected, or the download failed.
    """
    data = _Data(_load(file), file)
    if data.is_elsewhere():
        data = _Data(_downloaded(file, str(data.entries.get("download") or "")), file)
    finder = LabelFinder()
    train, val, test = ({image: finder.find(image) for image in data.images(key)} for key in ("train", "val", "test"))
    if any(test.values()):
        val |= test
    has_sides = bool(train) and bool(val) and train != val
    if has_sides and (both := sorted(train.keys() & val.keys())):
        raise ValueError(
            f"{shown(file)}: {len(both)} images are in `train` and in `val` or `test` too, the first is "
            f"{shown(both[0])}; list each on one side only"
        )
    labels = train | val
    sources = [
        YoloImage(image, labels[image], ("train" if image in train else "val") if has_sides else None)
        for image in sorted(labels, key=lambda path: path.parts)
    ]
    require_labels(sources, file)
    places = sorted({label.parent for label in labels.values() if label})
    strays = finder.strays(places, file)
    return read(sources, data.names(), file, data.pose(), strays, missing_is_empty=True)


def _load(file: Path) -> dict[str, Any]:
    """The file's entries, every value as the text that was written: `no` is a name, not False."""
    try:
        entries = yaml.load(read_text(file), yaml.BaseLoader)
    except yaml.YAMLError as error:
        raise ValueError(
            f"{shown(file)}: not readable as YAML ({shown(str(error))}); indent with blanks, not with tabs"
        ) from None
    if not isinstance(entries, dict):
        raise ValueError(f"{shown(file)}: no entries; write `train`, `val` and `names`")
    return entries


@dataclass(frozen=True)
class _Data:
    """The entries of a data set file."""

    entries: dict[str, Any]
    file: Path

    def is_elsewhere(self) -> bool:
        """Whether ultralytics knows better where the images are: it ships the file, or they would be downloaded."""
        if self.file == shipped(self.file.name):
            return True
        missing = [e for key in ("train", "val") for e in self._listed(key) if not self._place(e).exists()]
        return bool(missing) and bool(self.entries.get("download"))

    def images(self, key: str) -> list[Path]:
        """`key` names directories of images, text files that list images, or images."""
        images: list[Path] = []
        if key == "train" and not any(self._listed(k) for k in ("train", "val", "test")):
            raise ValueError(f"{shown(self.file)}: no `train`; write where the images are")
        for entry in self._listed(key):
            place = self._place(entry)
            if place.is_dir():
                images += pictures_below(place)
            elif place.suffix.lower() in PICTURES:
                images.append(place)
            elif place.is_file():
                images += [
                    self._place(line.strip(), place.parent) for line in read_text(place).splitlines() if line.strip()
                ]
            elif key != "test":
                raise ValueError(
                    f"{shown(self.file)}: `{key}` is {shown(place)}, which does not exist; correct the paths in it"
                )
        return list(dict.fromkeys(images))

    def names(self) -> list[str]:
        """The class names in the order of their numbers."""
        names, count = self.entries.get("names"), self.entries.get("nc")
        at = shown(self.file)
        if not names and str(count).isdecimal():
            return [f"class_{k}" for k in range(int(str(count)))]
        if isinstance(names, dict):
            numbers = {str(key): name for key, name in names.items()}
            if sorted(numbers) != sorted(map(str, range(len(numbers)))):
                raise ValueError(f"{at}: the numbers of `names` are not 0 to {len(numbers) - 1}; name every class")
            names = [numbers[str(k)] for k in range(len(numbers))]
        if not isinstance(names, list) or not all(isinstance(n, str) and n.strip() for n in names):
            raise ValueError(f"{at}: `names` is {names!r:.60}; write a list of class names")
        if count not in (None, "") and str(count) != str(len(names)):
            raise ValueError(f"{at}: {len(names)} `names`, but `nc` is {count}; correct one of them")
        return distinct([name.strip() for name in names], self.file)

    def pose(self) -> int:
        """How many numbers a line has where keypoints follow the box; 0: none do."""
        shape = self.entries.get("kpt_shape") or (0, 0)
        try:
            keypoints, numbers = map(int, shape)
        except (TypeError, ValueError):
            raise ValueError(f"{shown(self.file)}: `kpt_shape` is {shape!r:.60}; write two numbers") from None
        return 5 + keypoints * numbers if keypoints else 0

    def _listed(self, key: str) -> list[str]:
        entry = self.entries.get(key) or []
        return [str(each) for each in (entry if isinstance(entry, list) else [entry]) if str(each).strip()]

    def _place(self, written: str, beside: Path | None = None) -> Path:
        """What a path in the file means: below `path`, beside the file or the list, and without what Roboflow (`../`)
        and CVAT (`data/`) put before it; as written where there is no such thing."""
        given = written.replace("\\", "/")
        bare = given
        while bare.startswith(("../", "./")):
            bare = bare.split("/", 1)[1]
        path = Path(str(self.entries.get("path") or "."))
        below = self.file.parent / path  # an absolute path stays what it is
        bases = [*([beside] if beside else []), below, self.file.parent]
        for text in dict.fromkeys([given, bare, bare.removeprefix("data/")]):
            for base in bases:
                if (base / text).exists():
                    return base / text
        return bases[0] / given


def _downloaded(file: Path, download: str) -> dict[str, Any]:
    """The file's entries with absolute paths, after ultralytics downloaded what is missing."""
    import model.environment  # noqa: F401

    # isort: split
    from ultralytics.data.utils import check_det_dataset

    try:
        safe = file == shipped(file.name) or download.startswith(("http://", "https://"))
        with contextlib.redirect_stdout(sys.stderr):
            data = check_det_dataset(file, autodownload=safe)
    except Exception as error:  # ultralytics raises what its checks, its HTTP stack and the download scripts raise
        message = " ".join(str(error).replace("❌", "").split()).rstrip(".") or type(error).__name__
        remedy = "check the network" if safe and download else "correct the paths in it"
        if download and not safe:
            remedy += ", or run its `download`, which is code, yourself"
        raise ValueError(f"{file}: ultralytics cannot open this data set: {message}; {remedy}") from error
    return data | {"names": [str(data["names"][k]) for k in sorted(data["names"])], "nc": None}
