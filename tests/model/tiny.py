"""RetinaNet, SSD and Faster R-CNN of torchvision's own layers and losses, hundreds of times smaller than the published:
the architectures "tiny-retinanet", "tiny-ssd" and "tiny-fasterrcnn" of `TorchvisionDetector`."""

from __future__ import annotations

from collections import OrderedDict
from itertools import pairwise
from typing import Any

import torch
from torch import nn
from torchvision.models.detection import FasterRCNN, RetinaNet
from torchvision.models.detection.anchor_utils import AnchorGenerator, DefaultBoxGenerator
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.ssd import SSD
from torchvision.ops import MultiScaleRoIAlign
from torchvision.ops.misc import Conv2dNormActivation

from model.detectors.torchvision_architectures import ARCHITECTURES, Architecture

WIDTH = 64


class Backbone(nn.Module):
    """Two levels, an eighth and a sixteenth of the picture's side."""

    def __init__(self, out_channels: int | list[int]) -> None:
        super().__init__()
        self.out_channels = out_channels
        self.layers = nn.ModuleList(Conv2dNormActivation(a, b, 3, 2) for a, b in pairwise((3, 16, 32, WIDTH, WIDTH)))

    def forward(self, x: torch.Tensor) -> OrderedDict[str, torch.Tensor]:
        levels = []
        for layer in self.layers:
            x = layer(x)
            levels.append(x)
        return OrderedDict([("0", levels[-2]), ("1", levels[-1])])


def anchors() -> AnchorGenerator:
    return AnchorGenerator(((24, 40), (32, 48)), ((1.0,),) * 2)


def retinanet(columns: int, weights: Any) -> RetinaNet:  # noqa: ARG001 - the signature of a builder
    return RetinaNet(Backbone(WIDTH), columns, anchor_generator=anchors())


def ssd(columns: int, weights: Any) -> SSD:  # noqa: ARG001
    return SSD(Backbone([WIDTH] * 2), DefaultBoxGenerator([[2], [2]], scales=[0.3, 0.5, 0.7]), (64, 64), columns)


def fasterrcnn(columns: int, weights: Any) -> FasterRCNN:  # noqa: ARG001
    return FasterRCNN(
        Backbone(WIDTH),
        rpn_anchor_generator=anchors(),
        box_roi_pool=MultiScaleRoIAlign(["0", "1"], 5, 2),
        box_head=TwoMLPHead(WIDTH * 25, WIDTH),
        box_predictor=FastRCNNPredictor(WIDTH, columns),
        box_batch_size_per_image=64,
    )


ARCHITECTURES["tiny-retinanet"] = Architecture(retinanet, 0, None)
ARCHITECTURES["tiny-ssd"] = Architecture(ssd, 1, None)
ARCHITECTURES["tiny-fasterrcnn"] = Architecture(fasterrcnn, 1, None)
