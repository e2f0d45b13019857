"""The torchvision detectors that can be opened by name, built so that every image size and every start works.

They are torchvision's own, as its builders make them, but for three things:

- Batch norm is ordinary. The builders freeze it where the backbone is pretrained, because they train two pictures a
  GPU, and leave it free where it is not, because frozen it could never learn the pictures' statistics. A batch here is
  large enough to learn them in both cases (torchvision's own second versions do the same), and with one rule a network
  has the same layers whatever it started from, so any of them can be fitted, saved and opened alike.
- No layer of a pretrained backbone is kept from learning.
- SSD takes any size, not 300 alone: see `ssd`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import nn
from torchvision.models import ResNet50_Weights, VGG16_Weights
from torchvision.models.detection import FasterRCNN, RetinaNet
from torchvision.models.detection.anchor_utils import DefaultBoxGenerator
from torchvision.models.detection.backbone_utils import BackboneWithFPN, resnet_fpn_backbone
from torchvision.models.detection.ssd import SSD, SSDFeatureExtractorVGG
from torchvision.models.vgg import cfgs, make_layers
from torchvision.ops.feature_pyramid_network import LastLevelP6P7


@dataclass(frozen=True)
class Architecture:
    """One kind of network.

    Attributes:
        build: makes it, given its number of columns (classes, and the background where it has one) and the weights of
            its backbone (a member of torchvision's enumeration, or None for random ones).
        background: 1 where its first class is the background (softmax), 0 where there is none (sigmoid).
        imagenet: the weights of its backbone as trained to classify ImageNet.
    """

    build: Callable[[int, Any], nn.Module]
    background: int
    imagenet: Any


def resnet50(weights: Any, **kwargs: Any) -> BackboneWithFPN:
    """ResNet-50 with a feature pyramid."""
    return resnet_fpn_backbone(
        backbone_name="resnet50", weights=weights, norm_layer=nn.BatchNorm2d, trainable_layers=5, **kwargs
    )


def retinanet(columns: int, weights: Any) -> RetinaNet:
    """RetinaNet as in Lin et al. (ICCV 2017): anchors on five levels, from stride 8 on."""
    return RetinaNet(resnet50(weights, returned_layers=[2, 3, 4], extra_blocks=LastLevelP6P7(256, 256)), columns)


def fasterrcnn(columns: int, weights: Any) -> FasterRCNN:
    """Faster R-CNN as in Ren et al. (NeurIPS 2015), on a feature pyramid."""
    return FasterRCNN(resnet50(weights), columns)


def ssd(columns: int, weights: Any) -> SSD:
    """SSD as in Liu et al. (ECCV 2016), on VGG-16, for any size.

    At 300 pixels its last two convolutions shrink maps of 5 and 3 cells by their borders, to 3 and 1. Smaller pictures
    have no cells to spare and larger ones would keep many, so here they halve the map, as the paper's SSD512 does; and
    the centres of the default boxes are those of the cells, instead of steps measured at 300 pixels.
    """
    features = make_layers(cfgs["D"])  # not `vgg16`: seconds to make a classifier that would be thrown away
    if weights is None:
        for layer in features:
            if isinstance(layer, nn.Conv2d):  # as `vgg16` does
                nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
                nn.init.zeros_(layer.get_parameter("bias"))
    else:
        state = weights.get_state_dict(progress=False, weights_only=True)
        features.load_state_dict({k.removeprefix("features."): v for k, v in state.items() if "features" in k})
    backbone = SSDFeatureExtractorVGG(features, highres=False)
    for block in backbone.extra[-2:]:
        block[2].stride, block[2].padding = (2, 2), (1, 1)
    anchors = DefaultBoxGenerator(
        [[2], [2, 3], [2, 3], [2, 3], [2], [2]], scales=[0.07, 0.15, 0.33, 0.51, 0.69, 0.87, 1.05]
    )
    return SSD(backbone, anchors, (300, 300), columns)  # a size that only torchvision's own forward pass would look at


ARCHITECTURES = {
    "retinanet": Architecture(retinanet, 0, ResNet50_Weights.IMAGENET1K_V1),
    "ssd": Architecture(ssd, 1, VGG16_Weights.IMAGENET1K_V1),
    "fasterrcnn": Architecture(fasterrcnn, 1, ResNet50_Weights.IMAGENET1K_V1),
}
