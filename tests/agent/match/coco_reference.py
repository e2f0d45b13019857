"""pycocotools as the oracle: matched once, then accumulated over images picked by hand."""

from __future__ import annotations

import contextlib
import copy
import io
from collections.abc import Iterable

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval


class Reference:
    """COCOeval over everything; `scores` accumulates a subset."""

    def __init__(self, ground_truth: dict, detections: list[dict], max_dets: int = 100) -> None:
        with contextlib.redirect_stdout(io.StringIO()):
            truth = COCO()
            truth.dataset = copy.deepcopy(ground_truth)
            truth.createIndex()
            if detections:
                results = truth.loadRes(copy.deepcopy(detections))
            else:
                results = COCO()
                results.dataset = {"images": truth.dataset["images"], "annotations": [], "categories": []}
                results.createIndex()
            self.run = COCOeval(truth, results, "bbox")
            self.run.params.areaRng, self.run.params.areaRngLbl = [[0, 1e10]], ["all"]
            self.run.params.maxDets = [max_dets]
            self.run.evaluate()
        self.image_ids = list(self.run.params.imgIds)
        self.category_ids = list(self.run.params.catIds)
        self.matched = self.run.evalImgs

    def scores(self, image_ids: Iterable[int]) -> tuple[float, float, float, list[float]]:
        """(mAP, AP50, AP75, AP a category) of these images.

        With fewer `params.imgIds`, accumulate() takes the first images, not those asked for: so it is given the
        matches of the right ones.
        """
        chosen = sorted({self.image_ids.index(i) for i in image_ids})
        if not chosen or not self.category_ids:
            return -1.0, -1.0, -1.0, [-1.0] * len(self.category_ids)
        n, ids = len(self.image_ids), [self.image_ids[k] for k in chosen]
        self.run.evalImgs = [self.matched[c * n + k] for c in range(len(self.category_ids)) for k in chosen]
        self.run.params.imgIds = ids
        self.run._paramsEval.imgIds = ids
        with contextlib.redirect_stdout(io.StringIO()):
            self.run.accumulate()
        precision = self.run.eval["precision"][:, :, :, 0, 0]  # IoU, recall, category

        def mean(values: np.ndarray) -> float:
            valid = values[values > -1]
            return float(valid.mean()) if len(valid) else -1.0

        return mean(precision), mean(precision[0]), mean(precision[5]), [mean(p) for p in precision.transpose(2, 0, 1)]
