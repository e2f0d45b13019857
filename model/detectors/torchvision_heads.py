"""From levels of features to losses and boxes: RetinaNet, SSD and Faster R-CNN, by torchvision's own layers.

torchvision's forward pass also resizes pictures, which here are squares of the right size already, and keeps one class
a box, where here every class's score is asked for. So the pass is written out, and its parts are called.
"""

from __future__ import annotations

from typing import Any

import torch
from torchvision.models.detection import FasterRCNN
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.ssd import SSD
from torchvision.ops import batched_nms, box_iou, clip_boxes_to_image

from model.detectors.network import MAX_BOXES, Boxes

CANDIDATES = 3000  # boxes of a picture that suppression looks at; torchvision: 1000 a level, or 400 a class
SMALLEST = 1e-2  # pixels, the narrowest box


def loss(module: Any, levels: list[torch.Tensor], targets: list[dict[str, torch.Tensor]], size: int) -> torch.Tensor:
    """The module's own losses, added up: (), the mean over the pictures.

    Args:
        levels: what its backbone gave.
        targets: `boxes` (n, 4) float32 xyxy in pixels and `labels` (n,) int64 of each picture.
        size: side in pixels of the square pictures.
    """
    images = _images(levels, size)
    if isinstance(module, FasterRCNN):
        features = _by_name(module, levels)
        proposals, losses = module.rpn(images, features, targets)
        losses |= module.roi_heads(features, proposals, images.image_sizes, targets)[1]
        return sum(losses.values())
    outputs, anchors = module.head(levels), module.anchor_generator(images, levels)
    matches = []
    if isinstance(module, SSD):
        for target, boxes in zip(targets, anchors, strict=True):
            nothing = torch.full((len(boxes),), -1, device=boxes.device)
            some = len(target["boxes"]) > 0
            matches.append(module.proposal_matcher(box_iou(target["boxes"], boxes)) if some else nothing)
        return sum(module.compute_loss(targets, outputs, anchors, matches).values())
    return sum(module.compute_loss(targets, outputs, anchors).values())


def candidates(module: Any, levels: list[torch.Tensor], size: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Of each picture (n, 4) boxes xyxy in pixels, one for each anchor or proposal, and (n, C) scores of the classes.

    Faster R-CNN moves a proposal differently for each class; the box is that of the likeliest.
    """
    images = _images(levels, size)
    if isinstance(module, FasterRCNN):
        features, heads = _by_name(module, levels), module.roi_heads
        proposals, _ = module.rpn(images, features)
        crops = heads.box_roi_pool(features, proposals, images.image_sizes)
        logits, codes = heads.box_predictor(heads.box_head(crops))
        scores = logits.softmax(dim=1)[:, 1:]
        boxes = heads.box_coder.decode(codes, proposals).reshape(*logits.shape, 4)[:, 1:]
        boxes = boxes[torch.arange(len(boxes)), scores.argmax(dim=1)]
        counts = [len(one) for one in proposals]
        return list(zip(boxes.split(counts), scores.split(counts), strict=True))
    outputs, anchors = module.head(levels), module.anchor_generator(images, levels)
    logits = outputs["cls_logits"]
    scores = logits.softmax(dim=2)[..., 1:] if isinstance(module, SSD) else logits.sigmoid()
    boxes = [
        module.box_coder.decode_single(codes, one)
        for codes, one in zip(outputs["bbox_regression"], anchors, strict=True)
    ]
    return list(zip(boxes, scores, strict=True))


def suppress(module: Any, boxes: torch.Tensor, scores: torch.Tensor, size: int, threshold: float) -> Boxes:
    """One picture's candidates, inside it, that score above `threshold` and lie on no better box of their class.

    As torchvision's own, but a candidate counts once, as its likeliest class, not again as every other.
    """
    boxes = clip_boxes_to_image(boxes, (size, size))
    best, labels = scores.max(dim=1)
    large = (boxes[:, 2:] - boxes[:, :2] >= SMALLEST).all(dim=1)
    (rows,) = torch.where((best > threshold) & large)
    rows = rows[best[rows].argsort(descending=True, stable=True)[:CANDIDATES]]
    overlap = module.roi_heads.nms_thresh if isinstance(module, FasterRCNN) else module.nms_thresh
    survivors = batched_nms(boxes[rows], best[rows], labels[rows], overlap)
    rows = rows[survivors.sort().values[:MAX_BOXES]]  # in the order above: equal scores stay where they were
    return Boxes(boxes[rows].cpu(), best[rows].cpu(), labels[rows].cpu(), scores[rows].cpu())


def _images(levels: list[torch.Tensor], size: int) -> ImageList:
    """What anchors are made from: the pictures' number and sizes, without the pictures."""
    count = len(levels[0])
    return ImageList(levels[0].new_empty((count, 0, size, size)), [(size, size)] * count)


def _by_name(module: FasterRCNN, levels: list[torch.Tensor]) -> dict[str, torch.Tensor]:
    """The levels as the pooling knows them, and the coarsest one, which only proposals come from."""
    return dict(zip((*module.roi_heads.box_roi_pool.featmap_names, "pool"), levels, strict=False))
