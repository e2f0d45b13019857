"""What people compute AP with, behind one interface: everything that does not depend on the subset is done beforehand.

`pycocotools` and `faster_coco_eval` match and accumulate at area = all and maxDets = 100 only, which saves them two
thirds of their usual work. For ultralytics even matching is done beforehand.
"""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np

Query = Callable[
    [list[int]], dict[str, float]
]  # image ids -> {"map": ..., "map50": ..., "map75": ..., category id: AP}


def coco_eval(module: str, ground_truth: dict, detections: list[dict]) -> Query:
    """A query of `pycocotools` or `faster_coco_eval`."""
    if module == "pycocotools":
        from pycocotools.coco import COCO
        from pycocotools.cocoeval import COCOeval
    else:
        from faster_coco_eval import COCO
        from faster_coco_eval import COCOeval_faster as COCOeval
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = ground_truth
        truth.createIndex()
        found = truth.loadRes([dict(d) for d in detections])

    def query(image_ids: list[int]) -> dict:
        with contextlib.redirect_stdout(io.StringIO()):
            run = COCOeval(truth, found, "bbox")
            run.params.imgIds = sorted(image_ids)
            run.params.areaRng, run.params.areaRngLbl, run.params.maxDets = [[0, 1e10]], ["all"], [100]
            run.evaluate()
            run.accumulate()
        precision = run.eval["precision"][:, :, :, 0, 0]  # IoU, recall, category

        def mean(values: np.ndarray) -> float:
            seen = values[values > -1]
            return float(seen.mean()) if len(seen) else -1.0

        head = {"map": mean(precision), "map50": mean(precision[0]), "map75": mean(precision[5])}
        return head | {c: mean(precision[:, :, k]) for k, c in enumerate(run.params.catIds)}

    return query


def torchmetrics(ground_truth: dict, detections: list[dict]) -> Query:
    """A query of torchmetrics' MeanAveragePrecision with its default backend; the tensors exist beforehand."""
    import torch
    from torchmetrics.detection import MeanAveragePrecision

    truth, found = _by_image(ground_truth["annotations"]), _by_image(detections)
    targets, predictions = {}, {}
    for image in ground_truth["images"]:
        boxes, dets = truth.get(image["id"], []), found.get(image["id"], [])
        targets[image["id"]] = {
            "boxes": torch.tensor([b["bbox"] for b in boxes], dtype=torch.float64).reshape(-1, 4),
            "labels": torch.tensor([b["category_id"] for b in boxes], dtype=torch.int64),
            "iscrowd": torch.tensor([b["iscrowd"] for b in boxes], dtype=torch.int64),
            "area": torch.tensor([b["area"] for b in boxes], dtype=torch.float64),
        }
        predictions[image["id"]] = {
            "boxes": torch.tensor([d["bbox"] for d in dets], dtype=torch.float64).reshape(-1, 4),
            "labels": torch.tensor([d["category_id"] for d in dets], dtype=torch.int64),
            "scores": torch.tensor([d["score"] for d in dets], dtype=torch.float64),
        }

    def query(image_ids: list[int]) -> dict:
        metric = MeanAveragePrecision(box_format="xywh", iou_type="bbox")
        metric.warn_on_many_detections = False
        metric.update([predictions[i] for i in image_ids], [targets[i] for i in image_ids])
        result = metric.compute()
        return {"map": float(result["map"]), "map50": float(result["map_50"]), "map75": float(result["map_75"])}

    return query


def ultralytics(ground_truth: dict, detections: list[dict]) -> Query:
    """A query of ultralytics' `ap_per_class`, what `yolo val` prints; it knows no crowd regions."""
    os.environ.setdefault("YOLO_VERBOSE", "False")
    import torch
    from ultralytics.engine.validator import BaseValidator
    from ultralytics.utils.metrics import ap_per_class, box_iou

    validator: Any = SimpleNamespace(iouv=torch.linspace(0.5, 0.95, 10))
    truth = _by_image([a for a in ground_truth["annotations"] if not a["iscrowd"]])
    found = _by_image(detections)
    matched: dict[int, tuple[np.ndarray, ...]] = {}
    for image in ground_truth["images"]:
        boxes = truth.get(image["id"], [])
        dets = sorted(found.get(image["id"], []), key=lambda d: -d["score"])
        classes, wanted = (torch.tensor([b["category_id"] for b in rows]) for rows in (dets, boxes))
        hits = np.zeros((len(dets), 10), bool)
        if boxes and dets:
            iou = box_iou(_corners(boxes), _corners(dets))
            hits = BaseValidator.match_predictions(validator, classes, wanted, iou).numpy()
        matched[image["id"]] = hits, np.array([d["score"] for d in dets]), classes.numpy(), wanted.numpy()

    def query(image_ids: list[int]) -> dict:
        tp, score, category, wanted = map(np.concatenate, zip(*(matched[i] for i in image_ids), strict=True))
        ap = ap_per_class(tp, score, category, wanted)[5]
        return {"map": float(ap.mean()), "map50": float(ap[:, 0].mean()), "map75": float(ap[:, 5].mean())}

    return query


def _corners(rows: list[dict]) -> Any:
    import torch

    xywh = torch.tensor([r["bbox"] for r in rows], dtype=torch.float64)
    return torch.cat([xywh[:, :2], xywh[:, :2] + xywh[:, 2:]], dim=1)


def _by_image(rows: list[dict]) -> dict[int, list[dict]]:
    grouped: dict[int, list[dict]] = {}
    for row in rows:
        grouped.setdefault(row["image_id"], []).append(row)
    return grouped
