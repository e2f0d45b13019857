"""Files of an earlier state are still read: README.md beside this says which they are and how they were made."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agent.gain.rows import Row, Rows
from agent.inner_loop.plan import Plan
from agent.match_table import MatchTable
from agent.pool.store import Encoder, PoolStore, encoder_fingerprint
from backend.project.published import Published
from model.data.dataset import Dataset, LabeledImage
from model.data.detections import Detections
from model.detectors.base import Picture
from model.detectors.network import NetworkDetector
from model.detectors.open import open_detector
from model.evaluate import detect, evaluate
from model.progress import silent
from model.versions import VersionStore

FILES = Path(__file__).parent / "files"
EXPECTED: dict[str, Any] = json.loads((FILES / "expected.json").read_text())
CLOSE = 2e-3  # of encodings and boxes: another machine adds up in another order


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A copy, because what is opened may be written to."""
    return shutil.copytree(FILES, tmp_path / "files")


def data_of(files: Path) -> Dataset:
    """The six pictures, as a plan keeps them."""
    return Dataset.from_coco(files / "plan" / "data.json", files / "images")


def serving_detector(files: Path) -> NetworkDetector:
    version = VersionStore(files / "versions").serving()
    assert version is not None
    return open_detector(version.weights)


def plain(row: Row) -> dict[str, Any]:
    """A row as JSON has it."""
    return {**asdict(row), "ids": row.ids.tolist(), "phi": row.phi.tolist(), "columns": list(row.columns)}


# -- versions ---------------------------------------------------------------------------------------------------------


def test_versions(files: Path) -> None:
    store = VersionStore(files / "versions")
    versions = [{**asdict(v), "names": list(v.names), "path": v.path.name} for v in store.list()]
    assert versions == [version | {"digest": "", "thresholds": {}} for version in EXPECTED["versions"]]  # they had none
    assert list(store.damages()) == []
    first, second = store.list()
    assert store.serving() == second
    assert second.name == EXPECTED["serving"]
    assert store.read(second.name, "ranking.json") == b"[[3, 0.0], [1, 0.5]]"
    assert store.roll_back() == first
    assert store.add_first(open_detector(second.weights), {}).number == 3


def test_weights(files: Path) -> None:
    data = data_of(files)
    paths = [image.path for image in data.images]
    for version, encodings in zip(VersionStore(files / "versions").list(), EXPECTED["encodings"], strict=True):
        detector = open_detector(version.weights)
        assert detector.names == ("red", "blue")
        np.testing.assert_allclose(detector.encode(paths), encodings, atol=CLOSE)


def test_detections_and_map(files: Path) -> None:
    data = data_of(files)
    assert data.fingerprint() == EXPECTED["data_fingerprint"]
    detections = [one.above(0.3) for one in detect(serving_detector(files), data)]
    results = [r for one, image in zip(detections, data.images, strict=True) for r in one.to_coco(image.id)]
    assert len(results) == len(EXPECTED["results"])
    for result, expected in zip(results, EXPECTED["results"], strict=True):
        assert (result["image_id"], result["category_id"]) == (expected["image_id"], expected["category_id"])
        assert result["score"] == pytest.approx(expected["score"], abs=CLOSE)
        assert result["bbox"] == pytest.approx(expected["bbox"], abs=0.1)  # pixels
    assert evaluate(data, detections).map == pytest.approx(EXPECTED["map"], abs=1e-9)


# -- the agent's files ------------------------------------------------------------------------------------------------


def test_gain_rows(files: Path) -> None:
    rows = Rows.load(files / "gain_rows.npz")
    assert [plain(row) for row in rows] == EXPECTED["rows"]
    assert [plain(row) for row in rows.aligned(("density", "novelty", "component_0"), 4)] == EXPECTED["aligned"]
    np.testing.assert_array_equal(rows.aged(5), EXPECTED["aged"])


class Pictures:
    """Some of the six as a project's images, that remember which of them were looked at."""

    def __init__(self, files: Path, count: int) -> None:
        self.images: tuple[LabeledImage, ...] = data_of(files).images[:count]
        self.opened: list[int] = []

    def keys(self) -> Sequence[tuple[int, str]]:
        return [(image.id, image.path.name) for image in self.images]

    def pictures(self, ids: Sequence[int]) -> Iterator[tuple[int, Picture]]:
        paths = {image.id: image.path for image in self.images}
        for image in ids:
            self.opened.append(image)
            yield image, paths[image]

    def contents(self, ids: Sequence[int]) -> Iterable[tuple[int, bytes]]:
        raise AssertionError(f"nobody asks for the files of {ids} in a scan")


class Sink:
    """The ids whose detections were handed out."""

    def __init__(self) -> None:
        self.ids: list[int] = []

    def keep(self, image: int, detections: Detections) -> None:
        assert len(detections) > 0
        self.ids.append(image)

    def flush(self) -> None:
        """Nothing is held."""


def scan(files: Path, directory: str, count: int) -> tuple[PoolStore, list[int], list[int]]:
    """(store, ids that it describes, ids looked at) after the serving version scanned the first `count` pictures."""
    detector = serving_detector(files)
    weights = files / "versions" / EXPECTED["serving"] / "weights.pt"
    encoder = Encoder(detector, encoder_fingerprint(weights, detector))
    assert encoder.fingerprint == EXPECTED["pool"]["fingerprint"]
    store, pictures, sink = PoolStore(files / directory), Pictures(files, count), Sink()
    ids = store.scan(encoder, pictures, sink)
    assert pictures.opened == sink.ids
    return store, ids, pictures.opened


def assert_same_pool(store: PoolStore, tolerance: float) -> None:
    pool = store.pool([1, 2, 3], [4, 5], np.array([0.5, -1.0]), ("red", "blue"))
    for name, values in EXPECTED["pool"].items():
        if name not in ("fingerprint", "ids", "labeled_descriptors"):  # the last nobody reads any more
            np.testing.assert_allclose(getattr(pool, name)[:], values, rtol=tolerance, atol=tolerance, err_msg=name)


def test_a_pool_store_needs_no_second_look(files: Path) -> None:
    store, ids, opened = scan(files, "pool", 5)
    assert (ids, opened) == (EXPECTED["pool"]["ids"], [])
    assert_same_pool(store, 1e-5)
    *_, opened = scan(files, "pool", 6)
    assert opened == [6]


def test_a_pool_store_made_anew_says_the_same(files: Path) -> None:
    store, ids, opened = scan(files, "another", 5)
    assert ids == opened == EXPECTED["pool"]["ids"]
    assert_same_pool(store, 0.02)


def test_a_match_table(files: Path) -> None:
    table, expected = MatchTable.load(files / "detections.table"), EXPECTED["table"]
    assert [list(table.names), table.detections] == [expected["names"], expected["detections"]]
    assert [table.fingerprint, table.truth_fingerprint] == [expected["fingerprint"], expected["truth_fingerprint"]]
    assert (table.evaluate().map, table.evaluate([1, 4]).map) == (expected["map"], expected["map_of_two"])
    assert table.evaluate().ap.tolist() == expected["ap"]
    truth = MatchTable.from_dataset(data_of(files), detect(serving_detector(files), data_of(files))).truth_fingerprint
    assert truth == table.truth_fingerprint


def test_a_plan(files: Path) -> None:
    plan, expected = Plan.load(files / "plan"), EXPECTED["plan"]
    assert plan.past is not None

    def as_json(value: Any) -> Any:
        return json.loads(json.dumps(asdict(value)))

    def without(body: dict[str, Any], name: str) -> dict[str, Any]:
        return {key: value for key, value in body.items() if key != name}

    assert [plan.cycle, as_json(plan.past)] == [expected["cycle"], expected["past"]]
    assert {name: without(as_json(group), "config") for name, group in plan.groups.items()} == {
        "hindsight": without(expected["group"], "config")
    }
    config = expected["group"]["config"]
    assert as_json(plan.groups["hindsight"].config).items() <= config.items()  # earlier releases stopped early
    assert [as_json(variant) for variant in plan.variants] == expected["variants"]
    for index, result in enumerate([expected["control"], expected["result"]]):
        assert as_json(plan.result(index)) == without(result, "stopped_early")
    assert [plain(row) for row in plan.rows()] == expected["rows"]


def test_a_plan_goes_on_where_it_was_left(files: Path) -> None:
    """Its variant is trained again, against the control of before."""
    shutil.copytree(files / "images", files / "plan" / "images")
    (files / "plan" / "results" / "1.json").unlink()
    plan = Plan.load(files / "plan")
    assert (plan.pending(controls=True), plan.pending(controls=False)) == ([], [1])
    plan.run(1, silent)
    gains = dict(plan.result(1).curve)
    assert list(gains) == [step for step, _ in EXPECTED["plan"]["result"]["curve"]]
    assert plan.result(1).gain == pytest.approx(np.mean(list(gains.values())))


# -- the service's files ----------------------------------------------------------------------------------------------


def test_what_annotators_see(files: Path) -> None:
    published = Published(files / "published")
    later = {"boxes_by": "", "threshold": None, "ranked": ""}  # not known of an earlier state
    assert [asdict(entry) for entry in published.history()] == [entry | later for entry in EXPECTED["published"]]
    live = published.current()
    assert live is not None
    predictions = published.predictions(live.model_version)
    assert [list(row) for row in predictions] == EXPECTED["predictions"]
    assert predictions.get([7, 9]) == {7: ("/data/7.png", 0.75, [{"type": "rectanglelabels"}])}
    assert published.next_name(live.version).endswith("-r003")
